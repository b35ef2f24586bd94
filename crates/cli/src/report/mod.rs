//! `mainstem report`: what went through, and what should not have happened.

mod tally;

use std::collections::BTreeMap;

use anyhow::Context as _;
use mainstem_bus::Position;
use mainstem_bus::nats::{Bus, Log, ReadError};
use mainstem_bus::topology::{self, CUSTOMER, DEADLETTER, INBOUND, NOTIFICATION, ROUTING};
use mainstem_domain::ChannelId;
use mainstem_domain::configuration::ChannelKind;
use mainstem_domain::person::Business;
use mainstem_line_sandbox::Ledger;
use mainstem_runtime::Config;

use crate::operator::Operator;
use crate::table::table;

pub(crate) use tally::{Delivered, Seen, Tally};
pub use tally::{Report, Requests};

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
        let report = report(&operator.bus, self.sandbox.as_deref()).await?;
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print!("{}", shown(&report, &[]));
        }
        Ok(())
    }
}

/// Counts the streams as they are now, and what the stand-in of LINE knows, if its address is given.
///
/// # Errors
/// A stream or the stand-in cannot be read.
pub async fn report(bus: &Bus, sandbox: Option<&str>) -> anyhow::Result<Report> {
    let seen = match sandbox {
        Some(url) => seen(&get(url, "ledger").await?, |_| false),
        None => Seen::default(),
    };
    Ok(read(bus, Tally::default()).await?.finish(&seen))
}

/// Reads every stream once, from its start to the end that it has now. Read in the order in which
/// a message goes through them, so that no effect is seen without its cause.
pub(crate) async fn read(bus: &Bus, mut tally: Tally) -> anyhow::Result<Tally> {
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
    Ok(tally)
}

/// What the stand-in of LINE knows. `in_shadow` says which channels owe their incumbents what they
/// took.
pub(crate) fn seen(ledger: &Ledger, in_shadow: impl Fn(&ChannelId) -> bool) -> Seen {
    let totals = ledger.totals;
    let events = ledger.events.iter().flat_map(|(channel, events)| {
        events.iter().map(|(id, times)| ((channel.to_string(), id.clone()), *times))
    });
    let owed = ledger.incumbents.iter().filter(|(channel, _)| in_shadow(channel));
    Seen {
        taken: events.collect(),
        line: Some(Delivered {
            accepted: totals.accepted,
            replies: totals.replies,
            pushes: totals.pushes.saturating_sub(totals.undelivered),
            unseen: totals.undelivered,
            // The first misses what went out once by reply and once by push.
            doubled: ledger.doubled.max(ledger.doubled_by_trace),
        }),
        relayed: ledger.incumbents.values().map(|relayed| relayed.came).sum(),
        not_relayed: owed.map(|(_, relayed)| relayed.taken.saturating_sub(relayed.came)).sum(),
    }
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

/// The report for people, with what else its reader asked of the streams.
pub(crate) fn shown(report: &Report, asked: &[(&str, u64)]) -> String {
    let row = |name: &str, count: u64| vec![name.to_owned(), count.to_string()];
    let parts = |counts: &BTreeMap<String, u64>, before: &str| {
        counts
            .iter()
            .map(|(name, count)| row(&format!("  {before}{name}"), *count))
            .collect::<Vec<_>>()
    };
    let mut rows = vec![row("events accepted", report.accepted)];
    rows.extend(parts(&report.by_kind, "from "));
    // Nobody sent them: ingress asked LINE.
    let profiles = topology::inbound_kind(ChannelKind::Line, Business::MemberUpdated.name());
    let profiles = report.by_type.get(&profiles).copied().unwrap_or(0);
    rows.push(row("  of these, profiles that LINE was asked for", profiles));
    rows.push(row("customers", report.customers));
    rows.push(row("  merged into another", report.merges));
    rows.push(row("cases opened", report.cases_by_queue.values().sum()));
    rows.extend(parts(&report.cases_by_queue, "on "));
    rows.extend([
        row("  resolved", report.cases_resolved),
        row("customers bound by a code", report.bindings),
        row("conversations begun", report.conversations),
        row("  offered to somebody", report.conversations_offered),
        row("  taken", report.conversations_accepted),
        row("messages to customers", report.replies_delivered + report.pushes_delivered),
        row("  by reply", report.replies_delivered),
        row("  by push", report.pushes_delivered),
        row("  pushed to one who blocked the account", report.pushes_unseen),
        row("  still on their way", report.deliveries_waiting),
        row("requests to tell a customer something", report.requests.asked),
        row("  sent", report.requests.sent),
        row("  suppressed: in shadow, blocked, no consent", report.requests.suppressed),
        row("  expired", report.requests.expired),
        row("  failed", report.requests.failed),
        row("  waiting", report.requests.waiting),
        row("webhooks relayed to incumbents", report.relayed),
    ]);
    rows.extend(asked.iter().map(|(name, count)| row(name, *count)));
    rows.extend([
        row("duplicates dropped", report.duplicates_dropped),
        row("dead letters", report.dead_lettered),
        row("voided records", report.voided),
        row("lost", report.lost),
        row("doubled", report.doubled),
        row("out of order", report.out_of_order),
    ]);
    table(&["what", "count"], &rows)
}
