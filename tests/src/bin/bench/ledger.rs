//! `cargo xtask bench ledger`: how fast a ledger is written, folded, asked and taken over, beside
//! what the same server takes from a bare publisher in the same run.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use mainstem_bus::engine::{Ack, Append, Engine, Offered, Settings, Span};
use mainstem_bus::nats::{
    Appender, Bus, Counted, Handle, Host, Inbound, InboundMessage, Instance, Log, Login,
    Surroundings, provision,
};
use mainstem_bus::record::header;
use mainstem_bus::{Headers, Machine as _, Position, Record, Stored, TraceContext, topology};
use mainstem_domain::At;
use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_identity_merge::IdentityMachine;
use mainstem_tests::nats_server::NatsServer;
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{Latencies, Sync, rate, start};

#[derive(clap::Args)]
pub(crate) struct LedgerArguments {
    /// One JSON object for each run on standard output.
    #[arg(long)]
    json: bool,
    /// The server's sync_interval; both if not given.
    #[arg(long)]
    sync: Option<Sync>,
    /// Records to append.
    #[arg(long, default_value_t = 200_000)]
    records: usize,
    /// Commands to send, one after the other.
    #[arg(long, default_value_t = 2_000)]
    commands: usize,
}

#[derive(Serialize)]
struct Figures {
    sync_interval: &'static str,
    floor_publish_per_s: f64,
    floor_with_headers_per_s: f64,
    append_per_s: f64,
    append_of_floor: f64,
    append_of_floor_with_headers: f64,
    spread: Spread,
    fold_per_s: f64,
    command_p50_ms: f64,
    command_p99_ms: f64,
    takeover_s: f64,
    bytes_per_record: usize,
    records: usize,
}

/// The slowest and the fastest round of each, per second.
#[derive(Serialize)]
struct Spread {
    floor_publish: [f64; 2],
    floor_with_headers: [f64; 2],
    append: [f64; 2],
}

/// Rounds in which floors and append take turns, so that none gets the fresher part of the
/// server's store.
const ROUNDS: usize = 5;

pub(crate) async fn run(arguments: &LedgerArguments) -> anyhow::Result<()> {
    for sync in Sync::asked(arguments.sync) {
        // Every stored message is an fsync there: a tenth tells as much.
        let records = if sync == Sync::Always { arguments.records / 10 } else { arguments.records };
        let figures = Box::pin(measure(sync, records, arguments)).await?;
        if arguments.json {
            println!("{}", serde_json::to_string(&figures)?);
        } else {
            print(&figures);
        }
    }
    Ok(())
}

fn print(figures: &Figures) {
    println!("sync_interval {}", figures.sync_interval);
    let line = |name: &str, rate: f64, [low, high]: [f64; 2]| {
        println!("  {name:<21} {rate:>10.0} /s   {low:.0} to {high:.0}");
    };
    let spread = &figures.spread;
    line("floor, bare publish", figures.floor_publish_per_s, spread.floor_publish);
    line("floor with headers", figures.floor_with_headers_per_s, spread.floor_with_headers);
    line("append", figures.append_per_s, spread.append);
    println!(
        "  {:.2} of the bare floor, {:.2} of the floor with headers, {} bytes each",
        figures.append_of_floor, figures.append_of_floor_with_headers, figures.bytes_per_record
    );
    println!("  fold                  {:>10.0} /s", figures.fold_per_s);
    println!("  command p50           {:>10.2} ms", figures.command_p50_ms);
    println!("  command p99           {:>10.2} ms", figures.command_p99_ms);
    println!("  take-over             {:>10.2} s\n", figures.takeover_s);
}

async fn measure(
    sync: Sync,
    records: usize,
    arguments: &LedgerArguments,
) -> anyhow::Result<Figures> {
    let folder = tempfile::TempDir::new()?;
    let config = folder.path().join("nats.conf");
    std::fs::write(&config, sync.config())?;
    let config = config.display().to_string();
    let provisioned = async || {
        let server =
            NatsServer::start_with(&["-c", &config]).context("no nats-server to measure on")?;
        let login = Login { url: server.url(), name: "bench".to_owned(), ..Login::default() };
        let bus = Bus::connect(&login).await?;
        provision(&bus, 1).await?;
        anyhow::Ok((server, login, bus))
    };
    let (server, _, bus) = provisioned().await?;

    eprintln!("appending {records} records");
    let sample = sample()?;
    let bytes = sample.headers.size() + sample.body.len();
    let (mut bare, mut headed, mut appends) = (Vec::new(), Vec::new(), Vec::new());
    let mut engine = begin(&bus).await?;
    let mut sequence = 0;
    for _ in 0..ROUNDS {
        let round = records / ROUNDS;
        bare.push(floor(&server.url(), round, &Floor::Bare(bytes)).await?);
        headed.push(floor(&server.url(), round, &Floor::Headed(&sample)).await?);
        appends.push(append(&bus, &mut engine, &mut sequence, round).await?);
    }
    let fold_per_s = fold(&bus, records).await?;
    // What was appended came from no upstream, so a host would refuse this ledger.
    drop((server, bus));
    let (_server, login, bus) = provisioned().await?;
    eprintln!("sending {} commands", arguments.commands);
    let commands = commands(&bus, arguments.commands).await?;
    eprintln!("taking over");
    let takeover_s = takeover(&login).await?;
    let spread = Spread {
        floor_publish: ends(&bare),
        floor_with_headers: ends(&headed),
        append: ends(&appends),
    };
    let (bare, headed, append) = (median(&mut bare), median(&mut headed), median(&mut appends));
    Ok(Figures {
        sync_interval: sync.name(),
        floor_publish_per_s: bare,
        floor_with_headers_per_s: headed,
        append_per_s: append,
        append_of_floor: append / bare,
        append_of_floor_with_headers: append / headed,
        spread,
        fold_per_s,
        command_p50_ms: commands.p50_ms,
        command_p99_ms: commands.p99_ms,
        takeover_s,
        bytes_per_record: bytes,
        records,
    })
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

fn ends(rates: &[f64]) -> [f64; 2] {
    let low = rates.iter().copied().fold(f64::INFINITY, f64::min);
    [low, rates.iter().copied().fold(0.0, f64::max)]
}

/// A message of INBOUND: somebody taps a menu.
fn inbound(sequence: usize, customers: usize) -> Stored {
    let user = format!("U{:032x}", sequence % customers);
    let body = json!({
        "id": format!("01J{sequence:023}"),
        "channel": "line-taipei-1",
        "store": "taipei-1",
        "brand": "aurora",
        "text": "請問這台咖啡機的濾網要多久換一次？謝謝",
        "identifiers": [{"identifier": format!("line:p1:{user}"), "verified": true}],
        "occurTime": "2026-11-21T09:00:00.000Z",
        "receiveTime": "2026-11-21T09:00:00.120Z",
        "replyToken": format!("{sequence:032x}"),
        "raw": {"type": "message", "message": {"type": "text", "id": "468789577898262530"}},
    });
    let mut headers = Headers::default();
    headers.set(header::ID, format!("01J{sequence:023}"));
    headers.set(header::SOURCE, "/channel/line-taipei-1");
    headers.set(header::TYPE, "mainstem.channel.line.message.v1");
    headers.set(header::TIME, "2026-11-21T09:00:00.000Z");
    headers.set(header::TRACE, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    headers.set(header::CHANNEL, "line-taipei-1");
    headers.set(header::STORE, "taipei-1");
    headers.set(header::BRAND, "aurora");
    Stored {
        sequence: sequence as u64,
        stored_at: 0,
        record: Record { subject: String::new(), headers, body: body.to_string().into() },
    }
}

/// A record as the engine appends it.
fn sample() -> anyhow::Result<Record> {
    let mut engine = Engine::<IdentityMachine>::new(Settings::default());
    engine.fence(At::from_millis(0));
    let _ = engine.next_append();
    engine.acknowledge(&Ack::Stored { sequence: 65, duplicate: false })?;
    let mut sample = None;
    for sequence in 1..=3 {
        engine.offer(topology::INBOUND, &inbound(sequence, 1), At::from_millis(0));
        while let Some(Append::One { record, .. }) = engine.next_append() {
            sample = Some(record);
        }
    }
    sample.context("the engine appended nothing")
}

/// What is published beside the engine.
enum Floor<'a> {
    /// So many bytes, and nothing else.
    Bare(usize),
    /// A record with all its headers, and where it is expected: what the broker and the client
    /// need for a record before anything is decided.
    Headed(&'a Record),
}

/// A bare publisher with the engine's window: no rules.
async fn floor(url: &str, count: usize, floor: &Floor<'_>) -> anyhow::Result<f64> {
    let client = async_nats::connect(url).await?;
    let jetstream = async_nats::jetstream::new(client.clone());
    let config = async_nats::jetstream::stream::Config {
        name: "FLOOR".to_owned(),
        subjects: vec!["floor.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(config).await?;
    let inbox = client.new_inbox();
    let mut acks = client.subscribe(format!("{inbox}.*")).await?;
    let (headers, payload) = match floor {
        Floor::Bare(bytes) => (None, Bytes::from(vec![b'x'; *bytes])),
        Floor::Headed(record) => {
            let headers: async_nats::HeaderMap = record
                .headers
                .iter()
                .map(|(name, value)| Ok((name.parse()?, value.parse()?)))
                .collect::<anyhow::Result<_>>()?;
            (Some(headers), record.body.clone())
        }
    };
    let started = start();
    let (mut sent, mut stored) = (0, 0);
    while stored < count {
        while sent < count && sent - stored < Settings::default().window {
            let expect = sent;
            sent += 1;
            let subject = format!("floor.{}", sent % 1_000);
            let (reply, payload) = (format!("{inbox}.{sent}"), payload.clone());
            match &headers {
                None => client.publish_with_reply(subject, reply, payload).await?,
                Some(headers) => {
                    let mut headers = headers.clone();
                    headers.insert("Nats-Expected-Last-Sequence", expect.to_string());
                    client.publish_with_reply_and_headers(subject, reply, headers, payload).await?;
                }
            }
        }
        acks.next().await.context("the connection closed")?;
        stored += 1;
        while let Some(Some(_)) = acks.next().now_or_never() {
            stored += 1;
        }
    }
    let rate = rate(count, started);
    anyhow::ensure!(
        jetstream.get_stream("FLOOR").await?.cached_info().state.messages == count as u64,
        "the floor was not stored"
    );
    jetstream.delete_stream("FLOOR").await?;
    Ok(rate)
}

type Identity = (Engine<IdentityMachine>, Appender);

async fn begin(bus: &Bus) -> anyhow::Result<Identity> {
    let mut engine = Engine::<IdentityMachine>::new(Settings::default());
    let mut appender = Appender::new(bus).await?;
    engine.fence(At::from_millis(1));
    while !engine.settled() {
        while let Some(append) = engine.next_append() {
            appender.send(append).await?;
        }
        appender.flush().await?;
        engine.acknowledge(&appender.next().await?)?;
    }
    Ok((engine, appender))
}

async fn append(
    bus: &Bus,
    (engine, appender): &mut Identity,
    sequence: &mut usize,
    count: usize,
) -> anyhow::Result<f64> {
    bus.flush().await;
    let messages: Vec<_> =
        (*sequence + 1..=*sequence + count).map(|sequence| inbound(sequence, 1_000)).collect();
    *sequence += count;
    let before = engine.sequence();
    let started = start();
    let mut messages = messages.iter();
    loop {
        while let Some(append) = engine.next_append() {
            appender.send(append).await?;
        }
        if engine.ready()
            && let Some(message) = messages.next()
        {
            let offered = engine.offer(topology::INBOUND, message, At::from_millis(1));
            anyhow::ensure!(offered == Offered::Taken, "{offered:?}");
            continue;
        }
        appender.flush().await?;
        if engine.settled() {
            break;
        }
        engine.acknowledge(&appender.next().await?)?;
        while appender.in_flight()
            && let Some(ack) = appender.next().now_or_never()
        {
            engine.acknowledge(&ack?)?;
        }
    }
    let records = engine.sequence() - before;
    Ok(rate(usize::try_from(records)?, started))
}

async fn fold(bus: &Bus, records: usize) -> anyhow::Result<f64> {
    let mut log = Log::open(bus, IdentityMachine::LEDGER, Position::default()).await?;
    let (_, last) = log.end().await?;
    let mut engine = Engine::<IdentityMachine>::new(Settings::default());
    eprintln!("folding {records} records");
    let started = start();
    while engine.sequence() < last {
        let message = log.next().await?;
        engine.fold(&message)?;
    }
    Ok(rate(usize::try_from(last)?, started))
}

struct Real;

impl Surroundings for Real {
    #[expect(clippy::disallowed_methods, reason = "a bench runs in real time")]
    fn now(&self) -> At {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        At::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    }
    fn observe(&self, _broker: i64) {}
    fn real(&self, span: Duration) -> Duration {
        span
    }
    #[expect(clippy::disallowed_methods, reason = "a bench runs in real time")]
    fn monotonic(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
    fn count(&self, _service: &'static str, _what: Counted) {}
    fn span_start(&self) -> Option<SystemTime> {
        None
    }
    fn span_end(&self, _start: SystemTime, _service: &'static str, _span: Span) {}
}

struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: tokio::task::JoinSet<()>,
}

async fn host(bus: &Bus, name: &str) -> anyhow::Result<Running> {
    let instance = Instance {
        name: name.to_owned(),
        settings: Settings::default(),
        lease_renew: Duration::from_secs(1),
        snapshot_every_records: 1_000_000,
        snapshot_every: Duration::from_hours(1),
        drain: Duration::from_secs(5),
        surroundings: Arc::new(Real),
    };
    let (host, handle) = Host::<IdentityMachine>::open(bus.clone(), instance).await?;
    let stop = CancellationToken::new();
    let mut task = tokio::task::JoinSet::new();
    let token = stop.clone();
    task.spawn(async move {
        if let Err(error) = Box::pin(host.run(token)).await {
            eprintln!("the host ended: {error}");
        }
    });
    Ok(Running { handle, stop, task })
}

async fn commands(bus: &Bus, count: usize) -> anyhow::Result<Latencies> {
    let mut running = host(bus, "commands").await?;
    running.handle.wait_until(|status| status.writer).await;
    let caller = Caller {
        name: "service/bench".to_owned(),
        role: Role::Service,
        scope: Scope { all: true, ..Scope::default() },
    };
    let id = "01J00000000000000000000000";
    let Stored { record, .. } = inbound(1, 1);
    let message = InboundMessage {
        kind: record.kind().to_owned(),
        id: id.parse()?,
        channel: "line-taipei-1".parse()?,
        handle: "h".to_owned(),
        store: None,
        brand: None,
        occurred_at: At::from_millis(0),
        media: None,
        trace: TraceContext::root(id),
        body: record.body,
    };
    Inbound::new(bus.clone()).publish(message).await?;
    running.handle.wait_until(|status| !status.positions.is_empty()).await;
    let resolve = json!({"identifier": format!("line:p1:U{:032x}", 0)}).to_string();
    let found = running
        .handle
        .call("ResolveCustomer", caller.clone(), resolve.as_bytes(), None, "resolve".to_owned())
        .await?;
    let found: serde_json::Value = serde_json::from_str(&found)?;
    let customer = found["customer"]["customer"].as_str().context("no customer")?.to_owned();
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        // A receipt each, and an identifier as long as there is room for one more.
        let body = json!({
            "requestId": format!("bench-{number}"),
            "customer": customer,
            "identifier": format!("external:bench:n{}", number % 40),
        });
        let (body, caller) = (body.to_string(), caller.clone());
        let started = start();
        running
            .handle
            .call("AttachIdentifier", caller, body.as_bytes(), None, format!("call-{number}"))
            .await?;
        took.push(started.elapsed());
    }
    running.stop.cancel();
    while running.task.join_next().await.is_some() {}
    Ok(Latencies::of(took))
}

/// From the writer's death, which gives nothing back, to the standby's first epoch.
async fn takeover(login: &Login) -> anyhow::Result<f64> {
    let (one, other) = (Bus::connect(login).await?, Bus::connect(login).await?);
    let mut first = host(&one, "first").await?;
    first.handle.wait_until(|status| status.writer).await;
    let second = host(&other, "second").await?;
    second.handle.wait_until(|status| status.epoch > 0).await;
    first.task.abort_all();
    while first.task.join_next().await.is_some() {}
    let started = start();
    second.handle.wait_until(|status| status.writer).await;
    Ok(started.elapsed().as_secs_f64())
}
