//! `mainstem`: what an operator does with Mainstem, one command for each.
//!
//! Every command reads the configuration (`--config`, else `MAINSTEM_CONFIG`, over the defaults)
//! and acts as its `[operator]`, so it may do what that NATS user and that caller may do.
//!
//! Invariant: a command decides nothing. It shows what the streams and the services say, or asks a
//! service.

mod apply;
mod demo;
mod difference;
mod doctor;
mod explain;
mod healthcheck;
mod operator;
mod provision;
mod replay;
pub mod report;
mod status;
mod table;
mod timeline;
pub mod tree;
mod up;
pub mod what_if;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mainstem_bus::{permissions, topology};
use mainstem_runtime::Config;
use mainstem_runtime::config::environment;

/// Many store channels, one customer stream.
#[derive(Parser)]
#[command(name = "mainstem", version, about)]
struct Arguments {
    /// Configuration over the defaults; else the file that MAINSTEM_CONFIG names
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every service in this process
    Up,
    /// Create or update the streams and buckets; deletes nothing
    Provision(provision::Provision),
    /// Lint a directory, rules and templates, and put them in force in all services
    Apply(apply::Apply),
    /// Show what the services are doing
    Status,
    /// Prove that each ledger alone gives the state that its service runs on
    Doctor,
    /// Decide the past again, under other rules, and show what would differ
    Replay(replay::Replay),
    /// Count what went through, and what should not have happened
    Report(report::Args),
    /// Show the whole journey of a customer; it is personal data
    Timeline(timeline::Timeline),
    /// Show why an inbound event went where it went
    Explain(explain::Explain),
    /// Ask a service whether it can work; exit code 0 or 1
    Healthcheck(healthcheck::Healthcheck),
    /// Play a short day through the whole of Mainstem, on this machine
    Demo(demo::Demo),
    /// Print the table of streams, their writers and readers
    Flow,
    /// Print the users of the NATS server and what each may do
    ServerUsers,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let config = || Config::load(config.as_deref(), environment());
    let ended = match command {
        Command::Up => config().map_err(Into::into).and_then(up::run),
        Command::Provision(provision) => with(config, async |config| provision.run(&config).await),
        Command::Apply(apply) => with(config, async |config| apply.run(&config).await),
        Command::Status => with(config, async |config| status::run(&config).await),
        Command::Doctor => with(config, async |config| Box::pin(doctor::run(&config)).await),
        Command::Replay(replay) => with(config, async |config| replay.run(&config).await),
        Command::Report(report) => with(config, async |config| report.run(&config).await),
        Command::Timeline(timeline) => with(config, async |config| timeline.run(&config).await),
        Command::Explain(explain) => with(config, async |config| explain.run(&config).await),
        Command::Healthcheck(check) => with(config, async |_| check.run().await),
        Command::Demo(demo) => return demo.run(),
        Command::Flow => {
            print!("{}", topology::flow_table());
            Ok(())
        }
        Command::ServerUsers => {
            print!("{}", permissions::server_users());
            Ok(())
        }
    };
    mainstem_runtime::exit(ended)
}

/// Runs a command that calls others; what goes wrong on the way is told on stderr.
fn with<E: Into<anyhow::Error>>(
    config: impl FnOnce() -> Result<Config, E>,
    command: impl AsyncFnOnce(Config) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = config().map_err(Into::into)?;
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command(config))
}

#[cfg(test)]
mod tests {
    use mainstem_bus::{Machine, topology};
    use mainstem_identity_merge::IdentityMachine;
    use mainstem_notification::NotificationMachine;
    use mainstem_routing::RoutingMachine;

    fn reads_what_is_declared<M: Machine>() {
        let read: Vec<_> = M::UPSTREAMS.iter().map(|upstream| upstream.stream).collect();
        assert_eq!(read, topology::upstreams_of(M::SERVICE), "{}", M::SERVICE);
        assert!(topology::LEDGERS.contains(&(M::SERVICE, M::LEDGER)), "{}", M::SERVICE);
    }

    #[test]
    fn every_service_reads_what_the_topology_says() {
        reads_what_is_declared::<IdentityMachine>();
        reads_what_is_declared::<RoutingMachine>();
        reads_what_is_declared::<NotificationMachine>();
    }

    #[test]
    fn the_deployment_has_the_users_of_the_topology() {
        assert_eq!(
            include_str!("../../../deploy/nats-users.conf"),
            super::permissions::server_users(),
            "run `mainstem server-users > deploy/nats-users.conf`"
        );
    }
}
