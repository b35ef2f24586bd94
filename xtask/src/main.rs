//! The project's own tool: what a person or a pipeline runs on this repository.
//!
//! It depends on no crate of the workspace, so that it builds in seconds and still works when they do not build. What it
//! needs to know from them it learns by running the `mainstem` binary and `cargo metadata`.

mod ci;
mod flow;
mod launch;
mod line_clients;
mod nats_cli;
mod nats_server;
mod process;
mod tidy;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use workspace::Workspace;

/// Tasks for those who work on Mainstem.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the whole of Mainstem on this machine against a stand-in LINE platform
    Demo(launch::Demo),
    /// Run every test of the workspace against a real nats-server
    Test(launch::Test),
    /// Run every check that a change must pass
    Ci,
    /// Print the flow table that the topology declares
    Flow {
        /// Also put it into README.md, between the flow markers
        #[arg(long)]
        write: bool,
    },
    /// Check the rules of this repository that no compiler knows
    Tidy,
    /// Measure with the load driver of `tests/`
    Bench(launch::Bench),
    /// Print the path of the pinned nats-server, fetching it when it is missing
    NatsServer,
    /// Print the path of the pinned `nats` command line, building it when it is missing
    NatsCli,
    /// Print the folder of the pinned official LINE clients, installing them when they are missing
    LineClients,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::load()?;
    match task {
        Task::Demo(demo) => demo.run(&workspace),
        Task::Test(test) => test.run(&workspace),
        Task::Ci => ci::run(&workspace),
        Task::Flow { write } => flow::run(&workspace, write),
        Task::Tidy => tidy::run(&workspace),
        Task::Bench(bench) => bench.run(&workspace),
        Task::NatsServer => {
            println!("{}", nats_server::find(&workspace)?.display());
            Ok(())
        }
        Task::NatsCli => {
            println!("{}", nats_cli::find(&workspace)?.display());
            Ok(())
        }
        Task::LineClients => {
            println!("{}", line_clients::find(&workspace)?.display());
            Ok(())
        }
    }
}
