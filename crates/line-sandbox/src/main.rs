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
    /// Of 100 accepted calls so many are answered 500 although the user sees the message.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    answer_lost_percent: u8,
    /// Of 100 accepted calls so many are answered 200 with a body that is no JSON.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    malformed_percent: u8,
    /// Of 100 calls so many are answered 500 and nothing is stored.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    failed_percent: u8,
    /// Each call is answered so many milliseconds late at least.
    #[arg(long, default_value_t = 0)]
    least_latency_ms: u16,
    /// And so many at most.
    #[arg(long, default_value_t = 0)]
    most_latency_ms: u16,
    /// Seeds what goes wrong on purpose.
    #[arg(long, default_value_t = 0)]
    seed: u64,
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
    let faults = Faults {
        seed: serve.seed,
        answer_lost_percent: serve.answer_lost_percent,
        malformed_percent: serve.malformed_percent,
        failed_percent: serve.failed_percent,
        least_latency_ms: serve.least_latency_ms,
        most_latency_ms: serve.most_latency_ms,
    };
    let speed = clock.clone();
    let sandbox = Sandbox::new(channels, faults, Arc::new(move || clock.now()))?
        .with_speed(Arc::new(move |span| speed.real_duration(span)));
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

/// Whoever waits for the file never reads half of it.
fn write_port(file: &Path, port: u16) -> anyhow::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    std::fs::write(&draft, format!("{port}\n"))
        .and_then(|()| std::fs::rename(&draft, file))
        .with_context(|| format!("cannot write {}", file.display()))
}
