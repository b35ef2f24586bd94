//! `mainstem report`: what went through, and what should not have happened.

mod tally;

use anyhow::Context as _;
use mainstem_bus::Position;
use mainstem_bus::nats::{Bus, Log, ReadError};
use mainstem_bus::topology::{CUSTOMER, DEADLETTER, INBOUND, NOTIFICATION, ROUTING};
use mainstem_line_sandbox::{Ledger, Progress};
use mainstem_runtime::Config;

use crate::operator::Operator;
use crate::table::table;

pub(crate) use tally::{Report, Seen, Tally};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// The stand-in of LINE, for what people saw, e.g. http://127.0.0.1:7710
    #[arg(long)]
    sandbox: Option<String>,
}

impl Args {
    pub(crate) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let operator = Operator::connect(config).await?;
        let seen = match &self.sandbox {
            Some(url) => seen(url).await?,
            None => Seen::default(),
        };
        let report = report(&operator.bus, seen).await?;
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print!("{}", shown(&report));
        }
        Ok(())
    }
}

/// Reads every stream from its start to the end that it has now. Read in the order in which a
/// message goes through them, so that no effect is seen without its cause.
pub(crate) async fn report(bus: &Bus, seen: Seen) -> anyhow::Result<Report> {
    let mut tally = Tally::default();
    for stream in [INBOUND, CUSTOMER, ROUTING, NOTIFICATION, DEADLETTER] {
        let mut log = Log::open(bus, stream, Position::default()).await?;
        let (_, last) = log.end().await?;
        let mut read = 0;
        while read < last {
            match log.next().await {
                Ok(message) => {
                    read = message.sequence;
                    tally.take(stream, &message)?;
                }
                // It goes on where it stopped.
                Err(ReadError::Broker { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(tally.finish(seen))
}

/// What the stand-in of LINE knows.
pub(crate) async fn seen(sandbox: &str) -> anyhow::Result<Seen> {
    let ledger: Ledger = get(sandbox, "ledger").await?;
    let progress: Progress = get(sandbox, "progress").await?;
    Ok(Seen {
        // The first misses what went out once by reply and once by push.
        doubled: ledger.doubled.max(ledger.doubled_by_trace),
        events_repeated: progress.events_repeated,
    })
}

pub(crate) async fn get<T: serde::de::DeserializeOwned>(
    sandbox: &str,
    what: &str,
) -> anyhow::Result<T> {
    let url = format!("{}/sandbox/{what}", sandbox.trim_end_matches('/'));
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(&url).send().await;
    let answer = answer.with_context(|| format!("{url} does not answer; is it the sandbox?"))?;
    answer.json().await.with_context(|| format!("{url} is no sandbox of this version"))
}

/// The report for people.
pub(crate) fn shown(report: &Report) -> String {
    let row = |name: &str, count: u64| vec![name.to_owned(), count.to_string()];
    let mut rows = vec![row("events accepted", report.accepted)];
    rows.extend(report.by_kind.iter().map(|(kind, count)| row(&format!("  {kind}"), *count)));
    rows.push(row("customers", report.customers));
    rows.push(row("  merged into another", report.merges));
    rows.push(row("cases opened", report.cases_by_queue.values().sum()));
    rows.extend(
        report.cases_by_queue.iter().map(|(queue, count)| row(&format!("  on {queue}"), *count)),
    );
    rows.extend([
        row("  resolved", report.cases_resolved),
        row("messages to customers", report.replies_delivered + report.pushes_delivered),
        row("  by reply", report.replies_delivered),
        row("  by push", report.pushes_delivered),
        row("  still waiting", report.deliveries_waiting),
        row("  suppressed", report.deliveries_suppressed),
        row("  failed", report.deliveries_failed),
        row("duplicates dropped", report.duplicates_dropped),
        row("dead letters", report.dead_lettered),
        row("voided records", report.voided),
        row("lost", report.lost),
        row("doubled", report.doubled),
        row("out of order", report.out_of_order),
    ]);
    table(&["what", "count"], &rows)
}
