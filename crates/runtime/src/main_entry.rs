//! What every `main` does.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::config::environment;
use crate::{Config, Lifecycle, Process, Telemetry};

/// How long the last traces and metrics may take.
const FLUSH: Duration = Duration::from_secs(3);

/// The command line of a service.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Configuration over the defaults; else the file that MAINSTEM_CONFIG names.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Runs one service as a process of its own: reads the command line and the configuration, starts
/// what `start` starts, and ends with a signal or with the first task that ends by itself.
pub fn main(
    service: &'static str,
    start: impl AsyncFnOnce(&Process) -> anyhow::Result<()>,
) -> ExitCode {
    let arguments = Arguments::parse();
    exit(
        Config::load(arguments.config.as_deref(), environment())
            .map_err(anyhow::Error::from)
            .and_then(|config| run(service, config, start)),
    )
}

/// The same for a process whose command line was read already.
///
/// # Errors
/// Why the process could not start or go on.
pub fn run(
    service: &'static str,
    config: Config,
    start: impl AsyncFnOnce(&Process) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let signals = Lifecycle::signals()?;
        let telemetry = Telemetry::start(&config.telemetry, service)?;
        let process = Process::new(config)?;
        let ended = match start(&process).await {
            Ok(()) => process.lifecycle.run_until(signals).await,
            Err(error) => Err(error),
        };
        telemetry.shutdown(FLUSH).await;
        ended
    });
    // A task that blocks its thread must not keep a process that has failed alive.
    runtime.shutdown_background();
    ended
}

/// Tells the error, if there is one, and how the process ends.
pub fn exit(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
