//! `cargo xtask bench`: how fast Mainstem is on this machine, on a nats-server of the bench's own.

mod accounts;
mod chain;
mod identity;
mod ledger;
mod notification;
mod path;
mod restart;
mod routing;
mod traffic;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(about = "Measures Mainstem on a nats-server of its own, on loopback")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// The whole path, from a webhook to LINE's API, beside a bare chain of streams
    Path(path::PathArguments),
    /// What one slow LINE account costs the others
    Accounts(accounts::AccountsArguments),
    /// The rules of identity-merge in memory, without a broker: speed, size, pauses, restart
    Identity(identity::IdentityArguments),
    /// The rules of routing in memory, with the example's directory and rules: speed and size
    Routing(routing::RoutingArguments),
    /// The rules of notification in memory, with the example's policies: speed and size
    Notification(notification::NotificationArguments),
    /// How well identity-merge brings records of one person together, on a set that says who is who
    Linkage(LinkageArguments),
    /// A ledger: append, fold, commands, take-over
    Ledger(ledger::LedgerArguments),
}

#[derive(clap::Args)]
struct LinkageArguments {
    /// The set: CSV with unique_id, first_name, surname, dob, city, email and cluster
    file: std::path::PathBuf,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

fn linkage(arguments: &LinkageArguments) -> anyhow::Result<()> {
    let linkage = mainstem_tests::linkage::link(&arguments.file)?;
    println!(
        "{} records, {} pairs of one person\n  merged               precision {:.4}, recall {:.4}\n  merged or suggested  precision {:.4}, recall {:.4}",
        linkage.records,
        linkage.of_one_person,
        linkage.precision(),
        linkage.recall(),
        linkage.suggested_precision(),
        linkage.suggested_recall()
    );
    if arguments.json {
        println!("{}", serde_json::to_string(&linkage)?);
    }
    Ok(())
}

/// `sync_interval` of nats-server.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sync {
    Default,
    Always,
}

impl Sync {
    /// The one that was asked for, or both.
    fn asked(asked: Option<Self>) -> Vec<Self> {
        asked.map_or_else(|| vec![Self::Always, Self::Default], |sync| vec![sync])
    }

    fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Always => "always",
        }
    }

    /// What nats-server reads with `-c`.
    fn config(self) -> &'static str {
        match self {
            Self::Default => "max_payload: 4MB\njetstream {}\n",
            Self::Always => "max_payload: 4MB\njetstream { sync_interval: always }\n",
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match &arguments.bench {
                Bench::Path(arguments) => Box::pin(path::run(arguments)).await,
                Bench::Accounts(arguments) => Box::pin(accounts::run(arguments)).await,
                Bench::Identity(arguments) => {
                    // As the process itself does.
                    mainstem_runtime::without_huge_pages();
                    identity::run(arguments)
                }
                Bench::Routing(arguments) => routing::run(arguments),
                Bench::Notification(arguments) => notification::run(arguments),
                Bench::Linkage(arguments) => linkage(arguments),
                Bench::Ledger(arguments) => Box::pin(ledger::run(arguments)).await,
            }
        })
    });
    mainstem_runtime::exit(ended)
}

/// How long things took, in milliseconds.
struct Latencies {
    p50_ms: f64,
    p99_ms: f64,
}

impl Latencies {
    fn of(took: impl IntoIterator<Item = Duration>) -> Self {
        let mut took: Vec<_> = took.into_iter().collect();
        took.sort_unstable();
        let at = |percent: usize| {
            let found = took.get(took.len() * percent / 100).copied().unwrap_or_default();
            found.as_secs_f64() * 1_000.0
        };
        Self { p50_ms: at(50), p99_ms: at(99) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn rate(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn start() -> Instant {
    Instant::now()
}
