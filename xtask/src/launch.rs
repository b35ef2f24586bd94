//! Tasks that build part of the workspace and run it against the pinned nats-server.

use crate::workspace::Workspace;
use crate::{line_clients, nats_cli, nats_server, process};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Print the result as JSON, one object on the last line
    #[arg(long)]
    json: bool,
    /// Replay the demo of this seed
    #[arg(long)]
    seed: Option<u64>,
    /// How many events happen; 2,000 without --release, 12,000 with it
    #[arg(long)]
    events: Option<u64>,
    /// Feed the invoices of this folder's *.csv files too, as orders of the tills
    #[arg(long, value_name = "DIR")]
    orders: Option<PathBuf>,
    /// Feed the webhook bodies of this folder's *.json files too, byte for byte
    #[arg(long, value_name = "DIR")]
    webhooks: Option<PathBuf>,
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Build with optimisations
    #[arg(long)]
    release: bool,
}

impl Demo {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let server = nats_server::find(workspace)?;
        let profile = if self.release { "release" } else { "debug" };
        workspace.build(&["mainstem", "mainstem-line-sandbox"], profile)?;
        let mut demo = Command::new(workspace.binary("mainstem", profile));
        demo.arg("demo").arg("--nats-server").arg(server);
        demo.arg("--sandbox").arg(workspace.binary("mainstem-line-sandbox", profile));
        if self.json {
            demo.arg("--json");
        }
        if let Some(seed) = self.seed {
            demo.arg("--seed").arg(seed.to_string());
        }
        if let Some(events) = self.events {
            demo.arg("--events").arg(events.to_string());
        }
        for (flag, folder) in [("--orders", &self.orders), ("--webhooks", &self.webhooks)] {
            if let Some(folder) = folder {
                demo.arg(flag).arg(folder);
            }
        }
        if self.keep {
            demo.arg("--keep");
        }
        process::become_command(&mut demo)
    }
}

#[derive(clap::Args, Default)]
pub(crate) struct Test {
    /// How many seeds the simulation tries
    #[arg(long)]
    seeds: Option<u64>,
    /// The one seed that the simulation tries, and that says when processes are killed
    #[arg(long)]
    seed: Option<u64>,
    /// How many service processes are killed in the middle of the demo's traffic, and a fifth as often nats-server
    #[arg(long)]
    kills: Option<u64>,
    /// Run only tests whose name contains one of these; flags go to the test binaries
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filters: Vec<String>,
}

impl Test {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let server = nats_server::find(workspace)?;
        eprintln!("tests use nats-server {} at {}", nats_server::VERSION, server.display());
        let mut test = process::cargo();
        test.args(["test", "--workspace"]).env(nats_server::VARIABLE, server);
        if let Some(cli) = nats_cli::present(workspace) {
            test.env(nats_cli::VARIABLE, cli);
        }
        if let Some(clients) = line_clients::present(workspace) {
            test.env(line_clients::VARIABLE, clients);
        }
        let numbers = [
            ("MAINSTEM_SEEDS", self.seeds),
            ("MAINSTEM_SEED", self.seed),
            ("MAINSTEM_KILLS", self.kills),
        ];
        for (variable, number) in numbers {
            if let Some(number) = number {
                test.env(variable, number.to_string());
            }
        }
        test.arg("--").args(&self.filters);
        process::run(test.current_dir(&workspace.root))
    }
}

#[derive(clap::Args)]
pub(crate) struct Bench {
    /// `ledger` measures the ledger alone, `identity`, `routing` and `notification` their rules in memory, `linkage FILE` how well they
    /// join records of one person; without a name the whole path is measured. Then flags, for example `--json`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Bench {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let server = nats_server::find(workspace)?;
        workspace.build(&["bench", "service"], "release")?;
        let mut bench = Command::new(workspace.binary("bench", "release"));
        bench.env(nats_server::VARIABLE, server);
        if self.arguments.first().is_none_or(|first| first.starts_with('-')) {
            bench.arg("path");
        }
        process::become_command(bench.args(&self.arguments))
    }
}
