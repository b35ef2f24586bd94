//! `mainstem demo`: a short day in the life of a retailer, on this machine alone.
//!
//! ```text
//! nats-server (child) ◄── all services (this process) ◄── stand-in of LINE (child)
//!                                      ▲
//!  web shop, tills, phone desk,        │
//!  back office, central desk ──────────┘
//! ```
//!
//! Invariant: whatever way it ends, what it started ends with it.

mod backoffice;
mod bodies;
mod broker;
mod child;
mod day;
mod feed;
mod files;
mod progress;
mod quiet;
mod staff;
mod stage;
mod systems;

use std::path::PathBuf;
use std::process::ExitCode;

use futures::StreamExt as _;
use mainstem_domain::ChannelId;
use mainstem_domain::configuration::Mode;
use mainstem_runtime::service::wall_clock;
use tokio::signal::unix::{SignalKind, signal};

use crate::report::{self, Report};
use feed::{Feed, Folders, Orders};
use progress::Progress;
use stage::Stage;

#[derive(clap::Args)]
pub(crate) struct Demo {
    /// The nats-server to start
    #[arg(long)]
    nats_server: PathBuf,
    /// The stand-in of LINE to start, mainstem-line-sandbox
    #[arg(long)]
    sandbox: PathBuf,
    /// Print the result as JSON too, one object on the last line
    #[arg(long)]
    json: bool,
    /// Another seed is another day
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many events happen: chats on LINE, and what the web shop, the tills and the phone desk
    /// tell. 2,000 unless the build has optimisations
    #[arg(long, default_value_t = EVENTS, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    events: u64,
    /// Feed the invoices of this folder's *.csv files too, as orders of the tills
    #[arg(long, value_name = "DIR")]
    orders: Option<PathBuf>,
    /// Feed the webhook bodies of this folder's *.json files too, byte for byte
    #[arg(long, value_name = "DIR")]
    webhooks: Option<PathBuf>,
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// A day that ends within a minute on two cores.
const EVENTS: u64 = if cfg!(debug_assertions) { 2_000 } else { 12_000 };

/// How the demo ended when nothing broke.
enum Ended {
    Well,
    /// Something was lost, doubled or out of order.
    Badly,
    Interrupted,
}

/// What shells say of a command that ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

impl Demo {
    pub(crate) fn run(&self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return mainstem_runtime::exit(Err(error.into())),
        };
        match runtime.block_on(self.play()) {
            Ok(Ended::Well) => ExitCode::SUCCESS,
            Ok(Ended::Badly) => ExitCode::FAILURE,
            Ok(Ended::Interrupted) => ExitCode::from(INTERRUPTED),
            Err(error) => mainstem_runtime::exit(Err(error)),
        }
    }

    async fn play(&self) -> anyhow::Result<Ended> {
        let interrupted = interrupted()?;
        tokio::pin!(interrupted);
        let folders =
            Folders { orders: self.orders.as_deref(), webhooks: self.webhooks.as_deref() };
        let example = stage::directory()?;
        let feed = Feed::plan(self.seed, self.events, folders, &example)?;
        let progress = Progress::new();
        progress.say("starting nats-server, the services and a stand-in of LINE");
        let stage = tokio::select! {
            stage = Stage::set(&self.nats_server, &self.sandbox, example, &feed) => stage?,
            () = &mut interrupted => return Ok(Ended::Interrupted),
        };
        let services = stage.process.lifecycle.clone().run_until(futures::stream::pending());
        tokio::pin!(services);
        let ended = tokio::select! {
            ended = Box::pin(self.scenes(&stage, &feed, &progress)) => ended,
            ended = &mut services => Err(match ended {
                Ok(()) => anyhow::anyhow!("the services ended by themselves"),
                Err(error) => error,
            }),
            () = &mut interrupted => Ok(Ended::Interrupted),
        };
        progress.end();
        // Whatever happened: the services end first, then what they depend on.
        stage.process.lifecycle.stop();
        let stopped = if ended.is_ok() { services.await } else { Ok(()) };
        stage.strike(ended.is_err() || stopped.is_err()).await;
        stopped.and(ended)
    }

    async fn scenes(
        &self,
        stage: &Stage,
        feed: &Feed,
        progress: &Progress,
    ) -> anyhow::Result<Ended> {
        progress.say("applying deploy/example");
        stage.ready().await?;
        let digest = crate::apply::apply(&stage.operator, &stage.example).await?;
        stage.follows(&digest).await?;
        tracing::info!(digest, "the example is in force");

        let start = wall_clock();
        let day = day::Day::new(stage, feed)?;
        let tally = tokio::select! {
            tally = async {
                tokio::try_join!(day.play(progress), day.desk())?;
                quiet::wait(stage, progress, feed).await
            } => tally?,
            error = backoffice::work(stage) => return Err(error),
            error = staff::work(stage) => return Err(error),
        };
        let seconds = wall_clock().duration_since(start).unwrap_or_default().as_secs_f64();
        let (claims, orders) = feed.outcome(&tally);
        let report = tally.finish(&seen(stage, &day).await?);
        progress.end();
        print!("{}", report::shown(&report, &asked(claims, orders)));
        println!("\n{} events in {seconds:.1} s, an hour of the day in a minute", report.accepted);
        if self.keep {
            print!("{}", stage.guide());
        }
        if self.json {
            println!("{}", json(&report, orders, seconds)?);
        }
        if self.keep {
            std::future::pending::<()>().await;
        }
        let Report { lost, doubled, out_of_order, .. } = report;
        let well = lost + doubled + out_of_order == 0 && claims.attached == claims.claimed;
        Ok(if well { Ended::Well } else { Ended::Badly })
    }
}

/// What those know who sent the day.
async fn seen(stage: &Stage, day: &day::Day<'_>) -> anyhow::Result<report::Seen> {
    let ledger = report::get(&stage.line, "ledger").await?;
    let mode = |channel: &ChannelId| stage.example.mode(channel);
    let mut seen = report::seen(&ledger, |channel| mode(channel) == Mode::Shadow);
    let told = day.teller.taken().into_iter();
    seen.taken.extend(told.map(|((channel, id), times)| ((channel.to_string(), id), times)));
    Ok(seen)
}

/// What came of receipts and invoices, for people.
fn asked(claims: Orders, orders: Option<Orders>) -> Vec<(&'static str, u64)> {
    let mut asked = Vec::new();
    if let Some(Orders { invoices, placed, claimed, attached }) = orders {
        asked.extend([
            ("invoices fed", invoices),
            ("  on CUSTOMER", placed),
            ("  receipts claimed later by a member", claimed),
            ("  now that member's", attached),
        ]);
    }
    asked.push(("all receipts claimed later by a member", claims.claimed));
    asked.push(("  now that member's", claims.attached));
    asked
}

fn json(report: &Report, orders: Option<Orders>, seconds: f64) -> anyhow::Result<String> {
    let mut json = serde_json::to_value(report)?;
    if let Some(orders) = orders {
        json["orders"] = serde_json::to_value(orders)?;
    }
    // To a tenth: more than that is chance.
    json["seconds"] = ((seconds * 10.0).round() / 10.0).into();
    Ok(json.to_string())
}

/// Resolves at the first signal that asks to end.
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let signals = kinds.into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
    Ok(async move {
        let mut any: futures::stream::SelectAll<_> = signals
            .into_iter()
            .map(|signal| {
                futures::stream::unfold(signal, async |mut signal| {
                    signal.recv().await.map(|()| ((), signal))
                })
                .boxed()
            })
            .collect();
        any.next().await;
    })
}
