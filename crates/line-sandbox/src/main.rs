//! `mainstem-line-sandbox serve`: the stand-in of LINE as a process.

mod play;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use mainstem_line::Channels;
use mainstem_line_sandbox::{Faults, Sandbox, run};
use mainstem_runtime::Config;
use mainstem_runtime::clock::Clock;
use mainstem_runtime::lifecycle::Lifecycle;
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(version, about = "A stand-in for LINE's platform, for demos, tests and benches")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers LINE's calls, and plays days of webhooks at POST /sandbox/play.
    Serve(Serve),
    /// Asks a stand-in that runs elsewhere to play a day.
    Play(play::Play),
}

#[derive(clap::Args)]
struct Serve {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The channels file that ingress and sender have too.
    #[arg(long)]
    channels: PathBuf,
    /// Where to write the port once it listens.
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// Mainstem's configuration file, for the clock that all processes share.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A plan of what goes wrong on purpose (TOML); also set at PUT /sandbox/faults.
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Seeds what goes wrong on purpose, in place of the plan's own seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Where webhooks go: ingress, e.g. http://127.0.0.1:7700. A played day says it itself.
    #[arg(long)]
    webhooks: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let serve = match Arguments::parse().command {
        Command::Serve(serve) => serve,
        Command::Play(play) => return play.run().await,
    };
    let config = Config::load(serve.config.as_deref(), mainstem_runtime::config::environment())?;
    let clock = Clock::new(&config.clock);
    let signals = Lifecycle::signals()?;
    let channels = std::fs::read_to_string(&serve.channels)
        .with_context(|| format!("cannot read {}", serve.channels.display()))?;
    let channels = Channels::parse(&channels)?;
    let mut faults = match &serve.faults {
        Some(file) => plan(file)?,
        None => Faults::default(),
    };
    faults.seed = serve.seed.unwrap_or(faults.seed);
    let speed = clock.clone();
    let sandbox = Sandbox::new(channels, faults, Arc::new(move || clock.now()))?
        .with_speed(Arc::new(move |span| speed.real_duration(span)));
    if let Some(base) = &serve.webhooks {
        sandbox.set_webhook_base(base);
    }
    let sandbox = Arc::new(sandbox);

    let listener = TcpListener::bind(serve.listen)
        .await
        .with_context(|| format!("cannot listen on {}", serve.listen))?;
    let address = listener.local_addr().context("cannot tell the port")?;
    if let Some(file) = &serve.port_file {
        write_port(file, address.port())?;
    }
    println!("listening on http://{address}");

    let lifecycle = Lifecycle::new(config.engine.drain);
    lifecycle.spawn("line-sandbox", run(sandbox, listener, lifecycle.stopping()));
    lifecycle.run_until(signals).await
}

fn plan(file: &Path) -> anyhow::Result<Faults> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("--faults: cannot read {}", file.display()))?;
    Faults::parse(&text).with_context(|| format!("--faults: {}", file.display()))
}

/// Whoever waits for the file never reads half of it.
fn write_port(file: &Path, port: u16) -> anyhow::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    std::fs::write(&draft, format!("{port}\n"))
        .and_then(|()| std::fs::rename(&draft, file))
        .with_context(|| format!("cannot write {}", file.display()))
}
