//! The whole path: a webhook's POST, four services, and the call that LINE gets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use mainstem_bus::nats::Configurations;
use mainstem_tests::deployment::{Deployment, Service, eventually};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::traffic::{self, Line, Poster, Webhook};
use crate::{Latencies, Sync, chain, rate, restart, start};

#[derive(clap::Args)]
pub(crate) struct PathArguments {
    /// One JSON object for each run too, on the last lines
    #[arg(long)]
    json: bool,
    /// The server's sync_interval; both if not given
    #[arg(long)]
    sync: Option<Sync>,
    /// Webhooks that are posted to ingress while nothing else runs
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Events that go all the way as fast as they can
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// How long 500 events come in each second
    #[arg(long, default_value_t = 20)]
    seconds: usize,
    /// Customers of the deployment that is started again; 0 leaves that out
    #[arg(long, default_value_t = 1_000_000)]
    customers: usize,
}

/// Named by `cargo xtask bench --json`.
#[derive(Serialize)]
struct Figures {
    sync_interval: &'static str,
    ingress_requests_per_s: f64,
    end_to_end_events_per_s: f64,
    floor_chain_events_per_s: f64,
    p50_ms_at_500: f64,
    p99_ms_at_500: f64,
    floor_p50_ms_at_500: f64,
    floor_p99_ms_at_500: f64,
    /// Of two cores; what is left of 2.0 waited.
    cores_end_to_end: BTreeMap<&'static str, f64>,
    rss_mib: BTreeMap<&'static str, f64>,
    #[serde(flatten)]
    restart: Option<restart::Figures>,
    events: usize,
    requests: usize,
    seconds_at_500: usize,
}

const PER_SECOND: usize = 500;
/// LINE puts what happens at once into one webhook.
const EVENTS_PER_WEBHOOK: usize = 5;
/// Webhooks under way at once.
const POSTS: usize = 32;
/// Every stored message is an fsync there: a fifth tells as much.
const FEWER_WITH_FSYNC: usize = 5;

pub(crate) async fn run(arguments: &PathArguments) -> anyhow::Result<()> {
    let service = service()?;
    let syncs = Sync::asked(arguments.sync);
    let mut all = Vec::new();
    for sync in &syncs {
        all.push(measure(&service, *sync, arguments).await?);
    }
    if arguments.customers > 0 {
        let restarts = restart::measure(&service, &syncs, arguments.customers).await?;
        for (figures, restart) in all.iter_mut().zip(restarts) {
            figures.restart = Some(restart);
        }
    }
    for figures in &all {
        print(figures);
    }
    if arguments.json {
        for figures in &all {
            println!("{}", serde_json::to_string(figures)?);
        }
    }
    Ok(())
}

/// The program of this name beside this one.
pub(crate) fn service() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("service");
    anyhow::ensure!(program.is_file(), "{} is not built", program.display());
    Ok(program)
}

fn print(figures: &Figures) {
    println!("sync_interval {}", figures.sync_interval);
    let line = |name: &str, figure: f64, unit: &str| println!("  {name:<34} {figure:>10.1} {unit}");
    line("ingress, webhooks of one event", figures.ingress_requests_per_s, "/s");
    line("end to end, each event answered", figures.end_to_end_events_per_s, "/s");
    line("floor: three streams, two relays", figures.floor_chain_events_per_s, "/s");
    line("end to end at 500/s, p50", figures.p50_ms_at_500, "ms");
    line("end to end at 500/s, p99", figures.p99_ms_at_500, "ms");
    line("floor at 500/s, p50", figures.floor_p50_ms_at_500, "ms");
    line("floor at 500/s, p99", figures.floor_p99_ms_at_500, "ms");
    for (name, rss) in &figures.rss_mib {
        let cores = figures.cores_end_to_end.get(name).copied().unwrap_or_default();
        println!("  {name:<34} {rss:>10.1} MiB, {cores:.2} cores end to end");
    }
    if let Some(restart) = &figures.restart {
        let customers = restart.customers;
        line(&format!("restart with {customers} customers"), restart.restart_s_1m_customers, "s");
        for (name, rss) in &restart.rss_mib_1m_customers {
            println!("    {name:<32} {rss:>10.1} MiB");
        }
    }
    println!();
}

/// What runs, by name.
pub(crate) struct Running {
    pub(crate) deployment: Deployment,
    services: BTreeMap<&'static str, Service>,
    /// What a sender is told besides.
    settings: [(&'static str, String); 3],
    pub(crate) line: Line,
    pub(crate) poster: Poster,
}

impl Running {
    pub(crate) async fn start(service: &Path, sync: Sync) -> anyhow::Result<Self> {
        let service = service.to_str().context("a path of UTF-8")?;
        let deployment = Deployment::start_on(service, false, sync.config())
            .await
            .context("no nats-server to measure on; `cargo xtask bench` finds one")?;
        let channels = deployment.folder().join("bench-channels.toml");
        std::fs::write(&channels, traffic::channels_file())?;
        let channels = channels.to_str().context("a path of UTF-8")?.to_owned();
        let line = Line::listen().await?;
        let settings = [
            ("MAINSTEM__INGRESS__CHANNELS_FILE", channels.clone()),
            ("MAINSTEM__SENDER__CHANNELS_FILE", channels),
            ("MAINSTEM__SENDER__LINE_API_URL", line.url.clone()),
        ];
        let names = ["identity-merge", "routing", "notification", "ingress", "sender"];
        let start = |name| (name, process(&deployment, name, &settings));
        let services: BTreeMap<_, _> = names.into_iter().map(start).collect();
        let configuration = traffic::configuration()?;
        deployment.apply(&configuration, &["identity-merge", "routing", "notification"]).await;
        let address = eventually("ingress listens", async || services.get("ingress")?.http()).await;
        let poster = Poster::new(&address)?;
        let digest = Configurations::open(&deployment.bus).await?.put(&configuration).await?;
        poster.follows(&digest).await?;
        Ok(Self { deployment, services, settings, line, poster })
    }

    /// Ends the sender, as a deployment does.
    pub(crate) fn stop_sender(&mut self) -> anyhow::Result<()> {
        let sender = self.services.get_mut("sender").context("there is a sender")?;
        anyhow::ensure!(sender.stop(), "the sender did not end well: {}", sender.log());
        Ok(())
    }

    pub(crate) fn start_sender(&mut self) {
        let sender = process(&self.deployment, "sender", &self.settings);
        self.services.insert("sender", sender);
    }

    fn processes(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let services = self.services.iter().map(|(name, service)| (*name, service.id()));
        let server = self.deployment.server.id().map(|id| ("nats-server", id));
        services.chain(server).chain([("bench", std::process::id())])
    }
}

fn process(deployment: &Deployment, name: &str, settings: &[(&'static str, String)]) -> Service {
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    deployment.service_with(name, &settings)
}

async fn measure(service: &Path, sync: Sync, arguments: &PathArguments) -> anyhow::Result<Figures> {
    let fewer = if sync == Sync::Always { FEWER_WITH_FSYNC } else { 1 };
    let (events, requests) = (arguments.events / fewer, arguments.requests / fewer);
    let mut running = Running::start(service, sync).await?;
    eprintln!("sync_interval {}: the floor", sync.name());
    let url = running.deployment.server.url();
    let floor = chain::measure(&url, 4 * events, PER_SECOND, arguments.seconds).await?;

    eprintln!("{events} events, end to end");
    // The first ones find cold caches and no connections; nobody counts them.
    let warm_up = events / 10;
    flood(&running, 0..warm_up).await?;
    let before = cpu_seconds(&running);
    let started = start();
    flood(&running, warm_up..warm_up + events).await?;
    let end_to_end_events_per_s = rate(events, started);
    let elapsed = started.elapsed().as_secs_f64();
    let cores_end_to_end = cpu_seconds(&running)
        .into_iter()
        .map(|(name, after)| (name, (after - before.get(name).unwrap_or(&0.0)) / elapsed))
        .collect();

    eprintln!("{} s of 500 events/s, end to end", arguments.seconds);
    let first = warm_up + events;
    let latencies = steadily(&running, first, arguments.seconds).await?;
    let rss_mib = rss_mib(running.processes());

    eprintln!("{requests} webhooks to ingress alone");
    for (name, service) in &mut running.services {
        anyhow::ensure!(*name == "ingress" || service.stop(), "{name} did not end well");
    }
    let first = first + PER_SECOND * arguments.seconds;
    let webhooks = Webhook::all(first..first + requests, 1);
    let started = start();
    post(&running.poster, &webhooks).await?;
    Ok(Figures {
        sync_interval: sync.name(),
        ingress_requests_per_s: rate(requests, started),
        end_to_end_events_per_s,
        floor_chain_events_per_s: floor.events_per_s,
        p50_ms_at_500: latencies.p50_ms,
        p99_ms_at_500: latencies.p99_ms,
        floor_p50_ms_at_500: floor.latencies.p50_ms,
        floor_p99_ms_at_500: floor.latencies.p99_ms,
        cores_end_to_end,
        rss_mib,
        restart: None,
        events,
        requests,
        seconds_at_500: arguments.seconds,
    })
}

/// Posts these taps as fast as ingress takes them, and waits until LINE has every answer.
async fn flood(running: &Running, taps: std::ops::Range<usize>) -> anyhow::Result<()> {
    let end = taps.end;
    post(&running.poster, &Webhook::all(taps, EVENTS_PER_WEBHOOK)).await?;
    running.line.answered(end).await
}

pub(crate) async fn post(poster: &Poster, webhooks: &[Webhook]) -> anyhow::Result<()> {
    let posts = futures::stream::iter(webhooks).map(|webhook| poster.post(webhook));
    posts.buffer_unordered(POSTS).try_collect::<()>().await
}

/// A fixed number of taps in each second, whatever becomes of them; each takes from the moment at
/// which it had to be posted until LINE has its answer.
async fn steadily(running: &Running, first: usize, seconds: usize) -> anyhow::Result<Latencies> {
    let taps = PER_SECOND * seconds;
    let mut pace = chain::pace(PER_SECOND);
    let mut due = Vec::with_capacity(taps);
    let mut posts = JoinSet::new();
    for webhook in Webhook::all(first..first + taps, 1) {
        due.push(pace.tick().await.into_std());
        let poster = running.poster.clone();
        posts.spawn(async move { poster.post(&webhook).await });
    }
    while let Some(posted) = posts.join_next().await {
        posted??;
    }
    running.line.answered(first + taps).await?;
    let took: Option<Vec<_>> = due
        .into_iter()
        .zip(first..)
        .map(|(due, tap): (Instant, usize)| Some(running.line.answer(tap)? - due))
        .collect();
    Ok(Latencies::of(took.context("a tap was answered that was not made")?))
}

/// Memory in use by process.
pub(crate) fn rss_mib(
    processes: impl Iterator<Item = (&'static str, u32)>,
) -> BTreeMap<&'static str, f64> {
    let rss = |id: u32| -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    };
    processes.filter_map(|(name, id)| Some((name, rss(id)?))).collect()
}

/// What each process has computed so far.
fn cpu_seconds(running: &Running) -> BTreeMap<&'static str, f64> {
    /// `USER_HZ`, which Linux fixes for what it tells programs.
    const TICKS_PER_SECOND: f64 = 100.0;
    let seconds = |id: u32| -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name of the program may hold anything; after it user time is the 12th word and
        // system time the 13th.
        let (_, words) = stat.rsplit_once(')')?;
        let ticks = words.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Some(ticks.sum::<Result<f64, _>>().ok()? / TICKS_PER_SECOND)
    };
    running.processes().filter_map(|(name, id)| Some((name, seconds(id)?))).collect()
}
