//! `mainstem demo`: a short day in the life of a retailer, on this machine alone.
//!
//! ```text
//! nats-server (child) ◄── all services (this process) ◄── stand-in of LINE (child)
//!                                      ▲
//!                  back office, desk ──┘
//! ```
//!
//! Invariant: whatever way it ends, what it started ends with it.

mod backoffice;
mod broker;
mod child;
mod day;
mod files;
mod progress;
mod quiet;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use futures::StreamExt as _;
use mainstem_runtime::service::wall_clock;
use tokio::signal::unix::{SignalKind, signal};

use crate::report::{self, Report};
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
    /// How many events customers send
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    events: u64,
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

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
        let progress = Progress::new();
        progress.say("starting nats-server, the services and a stand-in of LINE");
        let stage = tokio::select! {
            stage = Stage::set(&self.nats_server, &self.sandbox, self.seed) => stage?,
            () = &mut interrupted => return Ok(Ended::Interrupted),
        };
        let services = stage.process.lifecycle.clone().run_until(futures::stream::pending());
        tokio::pin!(services);
        let ended = tokio::select! {
            ended = self.scenes(&stage, &progress) => ended,
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

    async fn scenes(&self, stage: &Stage, progress: &Progress) -> anyhow::Result<Ended> {
        progress.say("applying deploy/example");
        stage.ready().await?;
        let digest = crate::apply::apply(&stage.operator, &stage.example).await?;
        tracing::info!(digest, "the example is in force");

        let start = wall_clock();
        let day = day::Day { events: self.events, seed: self.seed };
        tokio::select! {
            played = async {
                tokio::try_join!(day.play(stage, progress), day.desk(stage))?;
                quiet::wait(stage, progress, self.events).await
            } => played?,
            error = backoffice::work(stage) => return Err(error),
        }
        let seconds = wall_clock().duration_since(start).unwrap_or_default().as_secs_f64();
        let report = report::report(&stage.operator.bus, report::seen(&stage.line).await?).await?;
        progress.end();
        print!("{}", report::shown(&report));
        println!("\n{} events in {seconds:.1} s, an hour of the day in a minute", report.accepted);
        if self.keep {
            print!("{}", stage.guide());
        }
        if self.json {
            println!("{}", json(&report, seconds)?);
        }
        if self.keep {
            std::future::pending::<()>().await;
        }
        let Report { lost, doubled, out_of_order, .. } = report;
        Ok(if lost + doubled + out_of_order == 0 { Ended::Well } else { Ended::Badly })
    }
}

fn json(report: &Report, seconds: f64) -> anyhow::Result<String> {
    let mut json = serde_json::to_value(report)?;
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
