//! The jobs on a real server: what is readable before and after, and what a crash changes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use mainstem_bus::engine::{Engine, Settings, Snapshot, Span, kind};
use mainstem_bus::nats::{
    Bus, Counted, Handle, Host, Inbound, InboundMessage, Instance, Log, Surroundings, diagnose,
    provision,
};
use mainstem_bus::record::header;
use mainstem_bus::{Machine, Position, Stored, TraceContext, sha256_hex, topology};
use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::{At, CustomerId};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, connect, way};
use crate::engine::customer;
use crate::machine::{Heard, Notes, Reader, Second, State, name_of};

/// Stands in every text, so that it can be looked for.
const PLANTED: &str = "planted-";

struct Around;

#[expect(clippy::disallowed_methods, reason = "the broker's clock is the machine's")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

impl Surroundings for Around {
    fn now(&self) -> At {
        At::from_millis(i64::try_from(since_1970().as_millis()).unwrap())
    }
    fn observe(&self, _: i64) {}
    fn real(&self, span: Duration) -> Duration {
        span
    }
    fn monotonic(&self) -> Duration {
        since_1970()
    }
    fn count(&self, _: &'static str, _: Counted) {}
    fn span_start(&self) -> Option<SystemTime> {
        None
    }
    fn span_end(&self, _: SystemTime, _: &'static str, _: Span) {}
}

struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinSet<()>,
}

async fn host<M: Machine>(bus: &Bus) -> Option<Running> {
    let instance = Instance {
        name: "test".to_owned(),
        settings: Settings { position_every_inputs: 1, ..Settings::default() },
        lease_renew: Duration::from_secs(1),
        snapshot_every_records: 1_000_000,
        snapshot_every: Duration::from_hours(1),
        drain: Duration::from_secs(5),
        surroundings: Arc::new(Around),
    };
    let (host, handle) = Host::<M>::open(bus.clone(), instance).await.ok()?;
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn({
        let stop = stop.clone();
        async move { Box::pin(host.run(stop)).await.unwrap() }
    });
    Some(Running { handle, stop, task })
}

impl Running {
    async fn writes(self) -> Self {
        self.handle.wait_until(|status| status.writer).await;
        self
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.task.join_next().await.unwrap().unwrap();
    }
}

async fn call(handle: &Handle, method: &str, customers: &[CustomerId]) -> String {
    // It is stored, so it must not say what is hidden.
    let request_id = match method.split_once(' ') {
        Some((method, text)) => format!("{method}-{}", &name_of(text)[..8]),
        None if customers.is_empty() => String::new(),
        None => method.to_owned(),
    };
    call_as(handle, method, customers, &request_id).await
}

async fn call_as(
    handle: &Handle,
    method: &str,
    customers: &[CustomerId],
    request_id: &str,
) -> String {
    // `Hide text`
    let (method, text) = method.split_once(' ').unwrap_or((method, ""));
    let scope = Scope { all: true, ..Scope::default() };
    let caller = Caller { name: "operator/test".to_owned(), role: Role::Operator, scope };
    let body = serde_json::json!({ "customers": customers, "requestId": request_id, "text": text });
    let body = body.to_string();
    let id = format!("{method}-1");
    handle.call(method, caller, body.as_bytes(), None, id).await.unwrap()
}

struct World {
    broker: Broker,
    inbound: Inbound,
    admin: Bus,
    raw: async_nats::jetstream::Context,
    sent: u32,
}

/// Those who read CUSTOMER.
struct Downstream {
    reader: Running,
    second: Running,
}

impl World {
    /// Three customers with notes, and a snapshot that holds them; `None` without a server. Nobody
    /// downstream has run yet.
    async fn start() -> Option<Self> {
        let broker = Broker::start()?;
        let admin = broker.connect("admin").await;
        provision(&admin, 1).await.unwrap();
        let inbound = Inbound::new(broker.connect("ingress").await);
        let raw = broker.raw().await;
        let mut world = Self { broker, inbound, admin, raw, sent: 0 };
        let (a, c) = (customer("a"), customer("c"));
        // The person behind `hb` is known as a, as long as the two are not split.
        for (handle, owner, texts) in [
            ("ha", a, vec!["a1", "a2"]),
            ("hb", a, vec!["b1", "b2"]),
            ("ha", a, vec!["x1"]),
            ("hc", c, vec!["c1"]),
            ("hb", a, vec![]),
            ("hb", a, vec!["b3"]),
            ("hm", a, vec!["a3", "b4"]),
            ("hc", c, vec!["c2", "c3"]),
        ] {
            world.note(handle, owner, &texts).await;
        }
        let bus = world.broker.connect("identity-merge").await;
        let notes = host::<Notes>(&bus).await?.writes().await;
        let sent = u64::from(world.sent);
        notes.handle.wait_until(|status| status.positions.get("INBOUND").sequence >= sent).await;
        notes.end().await;
        Some(world)
    }

    /// More notes, which are read before this ends.
    async fn more(&mut self, notes: &[(&str, CustomerId, &[&str])]) {
        for (handle, owner, texts) in notes {
            self.note(handle, *owner, texts).await;
        }
        let running = self.begin::<Notes>().await;
        let sent = u64::from(self.sent);
        running.handle.wait_until(|status| status.positions.get("INBOUND").sequence >= sent).await;
        running.end().await;
    }

    async fn downstream(&self) -> Downstream {
        Downstream { reader: self.begin::<Reader>().await, second: self.begin::<Second>().await }
    }

    async fn begin<M: Machine>(&self) -> Running {
        host::<M>(&self.broker.connect(M::SERVICE).await).await.unwrap().writes().await
    }

    async fn note(&mut self, handle: &str, owner: CustomerId, texts: &[&str]) {
        self.sent += 1;
        let notes: Vec<_> = texts.iter().map(|text| (owner, planted(text))).collect();
        let id = format!("{:026}", self.sent);
        let message = InboundMessage {
            kind: "mainstem.channel.line.message.v1".to_owned(),
            trace: TraceContext::root(&id),
            id: id.parse().unwrap(),
            channel: "line-1".parse().unwrap(),
            handle: handle.to_owned(),
            store: None,
            brand: None,
            occurred_at: At::from_millis(1),
            media: None,
            body: serde_json::to_vec(&notes).unwrap().into(),
        };
        self.inbound.publish(message).await.unwrap();
    }

    /// Has a command done and its job with it, by instances each of which dies at the step that
    /// `dies_at` says. Says how many died.
    async fn run(
        &self,
        method: &str,
        customers: &[CustomerId],
        dies_at: impl Fn(usize) -> usize,
    ) -> usize {
        let mut log = Log::open(&self.admin, "CUSTOMER", self.end().await).await.unwrap();
        let mut asked = false;
        for lives in 1.. {
            let way = way(&self.broker, dies_at(lives)).await;
            let work = async {
                let bus = connect(way.port, "identity-merge").await;
                let running = host::<Notes>(&bus).await.unwrap().writes().await;
                if !asked {
                    call(&running.handle, method, customers).await;
                    asked = true;
                }
                while log.next().await.unwrap().record.kind() != "done.v1" {}
                running
            };
            // Dropped with everything it does, as if its process had died.
            let through = tokio::select! {
                () = way.broken.cancelled() => false,
                running = work => {
                    drop(running);
                    true
                }
            };
            // Or else its successor waits until the lease runs out.
            let leases = self.raw.get_key_value(topology::LEASES).await.unwrap();
            leases.delete(Notes::SERVICE).await.unwrap();
            if through {
                return lives - 1;
            }
        }
        unreachable!("an instance lives long enough")
    }

    async fn end(&self) -> Position {
        let mut log = Log::open(&self.admin, "CUSTOMER", Position::default()).await.unwrap();
        let (sequence, _) = log.end().await.unwrap();
        let stream = self.raw.get_stream("CUSTOMER").await.unwrap();
        let message = stream.get_raw_message(sequence).await.unwrap();
        let stored_at = i64::try_from(message.time.unix_timestamp_nanos()).unwrap();
        Position { sequence, stored_at, ..Position::default() }
    }

    /// Waits until a reader has read everything, and says what it has heard.
    async fn all_heard(&self, reader: &Running) -> Heard {
        let end = self.end().await.sequence;
        let reader = &reader.handle;
        reader.wait_until(|status| status.positions.get("CUSTOMER").sequence >= end).await;
        serde_json::from_str(&call(reader, "Heard", &[]).await).unwrap()
    }

    /// Waits until the custodian has looked how far the last is who reads, and has done from then
    /// on what it can do: of three looks the first may be an old one, and the third is the next.
    async fn looked(&self) {
        let client = self.raw.client();
        let asks = "$JS.API.STREAM.MSG.GET.NOTIFICATION";
        let mut looks = client.subscribe(asks).await.unwrap();
        client.flush().await.unwrap();
        for _ in 0..3 {
            looks.next().await.unwrap();
        }
    }

    async fn records(&self, stream: &'static str) -> Vec<Stored> {
        let mut log = Log::open(&self.admin, stream, Position::default()).await.unwrap();
        let (_, present) = log.end().await.unwrap();
        let mut records = Vec::new();
        while records.last().is_none_or(|last: &Stored| last.sequence < present) && present > 0 {
            records.push(log.next().await.unwrap());
        }
        records
    }

    /// Whose record holds each note.
    async fn notes(&self) -> Vec<(String, CustomerId)> {
        let records = self.records("CUSTOMER").await;
        let notes = records.iter().filter(|message| message.record.kind() == "note.v1");
        let mut notes: Vec<_> = notes
            .map(|message| {
                let text = String::from_utf8_lossy(&message.record.body);
                let text = text.split('"').rfind(|part| part.contains(PLANTED)).unwrap();
                let owner = topology::customer_of(&message.record.subject).unwrap();
                assert_eq!(message.record.header(header::CUSTOMER), Some(owner.as_str()));
                (text.to_owned(), owner)
            })
            .collect();
        notes.sort_unstable();
        notes
    }

    /// The state as an instance that starts now finds it.
    async fn state(&self) -> State {
        let bus = self.broker.connect("identity-merge").await;
        let running = host::<Notes>(&bus).await.unwrap().writes().await;
        let state = serde_json::from_str(&call(&running.handle, "Look", &[]).await).unwrap();
        running.end().await;
        let diagnosis = diagnose::<Notes>(&self.admin).await.unwrap();
        assert!(diagnosis.equal, "{diagnosis:?}");
        assert!(diagnosis.snapshot.is_some() && diagnosis.missing > 0, "{diagnosis:?}");
        assert_eq!(diagnosis.bad_snapshots, 0);
        state
    }

    /// Every snapshot there is, as bytes.
    async fn snapshots(&self) -> Vec<Vec<u8>> {
        let bucket = topology::snapshots(Notes::SERVICE);
        let bucket = self.raw.get_object_store(bucket).await.unwrap();
        let mut list = bucket.list().await.unwrap();
        let mut all = Vec::new();
        while let Some(object) = list.next().await {
            let mut bytes = Vec::new();
            let mut object = bucket.get(object.unwrap().name).await.unwrap();
            object.read_to_end(&mut bytes).await.unwrap();
            all.push(bytes);
        }
        all
    }
}

fn planted(text: &str) -> String {
    format!("{text}-{PLANTED}{text}")
}

fn owned(notes: &[(&str, CustomerId)]) -> Vec<(String, CustomerId)> {
    notes.iter().map(|(text, owner)| (planted(text), *owner)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_moved_and_erased_whatever_dies_in_between() {
    let Some(world) = World::start().await else { return };
    let downstream = world.downstream().await;
    let (a, b, c) = (customer("a"), customer("b"), customer("c"));
    world.all_heard(&downstream.reader).await;
    world.all_heard(&downstream.second).await;
    let all = ["a1", "a2", "a3", "b1", "b2", "b3", "b4", "c1", "c2", "c3", "x1"];
    for text in all {
        assert!(world.broker.readable("CUSTOMER", planted(text).as_bytes()) > 0, "{text}");
    }

    // At every single step.
    let died = world.run("Split", &[a, b], |_| 1).await;
    assert!(died > 8, "{died} instances died");
    let left = [
        ("a1", a),
        ("a2", a),
        ("a3", a),
        ("b1", b),
        ("b2", b),
        ("b3", b),
        ("b4", b),
        ("c1", c),
        ("c2", c),
        ("c3", c),
    ];
    assert_eq!(world.notes().await, owned(&left));
    let state = Box::pin(world.state()).await;
    assert_eq!(state.notes, owned(&left).into_iter().collect());
    assert_eq!(state.done[&format!("split-{a}")]["CUSTOMER moved"], 5, "a3 and the four of b");
    assert_eq!(world.broker.readable("CUSTOMER", planted("x1").as_bytes()), 0);
    for text in ["b1", "b2", "b3", "b4"] {
        assert_eq!(world.broker.readable("CUSTOMER", planted(text).as_bytes()), 1, "{text}");
    }

    let old = world.snapshots().await;
    assert!(!old.is_empty());
    // Each begins with a snapshot, so each must live longer than the one before.
    let died = world.run("Erase", &[b, c], |lives| lives).await;
    assert!(died > 5, "{died} instances died");
    assert_eq!(world.notes().await, owned(&left[..3]));
    for text in ["b1", "b2", "b3", "c1", "c2", "c3"] {
        assert_eq!(world.broker.readable("", planted(text).as_bytes()), 0, "{text}");
    }
    for text in ["a1", "a2"] {
        assert!(world.broker.readable("INBOUND", planted(text).as_bytes()) > 0, "{text}");
    }
    for bytes in &old {
        assert_eq!(world.broker.readable("OBJ_", &bytes[16..]), 0, "an old snapshot");
    }
    for bytes in world.snapshots().await {
        let snapshot = Snapshot::<Notes>::decode(&bytes).unwrap();
        let engine = Engine::restore(Settings::default(), snapshot);
        assert!(engine.state().notes.values().all(|owner| *owner == a));
    }
    let state = Box::pin(world.state()).await;
    assert_eq!(state.notes, owned(&left[..3]).into_iter().collect());
    let counts = &state.done[&format!("erase-{b}")];
    assert_eq!(counts["CUSTOMER customer.*.channel"], 7, "{counts:?}");
    assert_eq!(counts[&topology::snapshots(Notes::SERVICE)], old.len() as u64, "{counts:?}");

    assert_eq!(counts["INBOUND"], 6, "{counts:?}");
    assert_eq!(counts["CUSTOMER ledger.identity-merge.receipt"], 1, "{counts:?}");
    let names_b =
        |message: &Stored| message.record.body.windows(17).any(|w| w == b.as_str().as_bytes());
    let records = world.records("CUSTOMER").await;
    assert!(!records.iter().any(|m| m.record.kind() == kind::RECEIPT && names_b(m)));
    let inbound: Vec<_> = world.records("INBOUND").await;
    assert!(
        inbound.iter().all(|message| message.record.subject.split('.').next_back() == Some("ha"))
    );

    for reader in [downstream.reader, downstream.second] {
        assert_eq!(world.all_heard(&reader).await, heard(&all));
        reader.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_hidden_whatever_dies_in_between() {
    let Some(mut world) = World::start().await else { return };
    let (a, b, c) = (customer("a"), customer("b"), customer("c"));
    world
        .more(&[
            ("ha", a, &["a4", "m1"]),
            ("ha", a, &["m2"]),
            // Once more, under another id that the same person had.
            ("ha", c, &["m1"]),
            ("hb", a, &["bm3"]),
        ])
        .await;
    let downstream = world.downstream().await;
    world.all_heard(&downstream.reader).await;
    world.all_heard(&downstream.second).await;
    let readable = |world: &World, stream: &str, text: &str| {
        world.broker.readable(stream, planted(text).as_bytes())
    };
    for stream in ["CUSTOMER", "INBOUND"] {
        assert!(readable(&world, stream, "m1") > 1);
    }

    // At every single step.
    let hide = |text: &str| format!("Hide {}", planted(text));
    let died = world.run(&hide("m1"), &[a, c], |_| 1).await;
    assert!(died > 5, "{died} instances died");
    assert_eq!(readable(&world, "", "m1"), 0);
    for stays in ["a1", "m2", "bm3", "c1"] {
        assert!(readable(&world, "CUSTOMER", stays) > 0, "{stays}");
        assert!(readable(&world, "INBOUND", stays) > 0, "{stays}");
    }
    let state = Box::pin(world.state()).await;
    let counts = &state.done[&format!("hide-{}", &name_of(&planted("m1"))[..8])];
    assert_eq!(counts["CUSTOMER customer.*.channel"], 2, "{counts:?}");

    // Who took it back is another one than under whom it stood, as long as it is not moved.
    let died = world.run("Split", &[a, b], |_| 1).await;
    assert!(died > 0);
    world.run(&hide("bm3"), &[b], |lives| lives).await;
    assert_eq!(readable(&world, "", "bm3"), 0);
    assert_eq!(readable(&world, "CUSTOMER", "b1"), 1);
    Box::pin(world.state()).await;
    let all =
        ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "bm3", "c1", "c2", "c3", "m1", "m2", "x1"];
    for reader in [downstream.reader, downstream.second] {
        // m1 twice, as it came twice.
        let Heard(texts, times) = world.all_heard(&reader).await;
        assert_eq!((texts, times), (heard(&all).0, 16));
        reader.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_hidden_before_it_was_read_and_moved() {
    let Some(mut world) = World::start().await else { return };
    let (a, b) = (customer("a"), customer("b"));
    world.more(&[("hb", a, &["bm3"])]).await;
    let mut log = Log::open(&world.admin, "CUSTOMER", world.end().await).await.unwrap();
    let mut done = async || loop {
        let record = log.next().await.unwrap().record;
        if record.kind() == "done.v1" {
            break String::from_utf8_lossy(&record.body).into_owned();
        }
    };
    let notes = world.begin::<Notes>().await;
    call(&notes.handle, "Split", &[a, b]).await;
    let hide = format!("Hide {}", planted("bm3"));
    call_as(&notes.handle, &hide, &[b], "hide").await;
    tokio::select! {
        () = world.looked() => {}
        job = done() => panic!("{job} was done"),
    }
    assert_eq!(world.broker.readable("CUSTOMER", planted("bm3").as_bytes()), 1);
    let downstream = world.downstream().await;
    assert!(done().await.contains("split-"));
    assert!(done().await.contains("hide-"));
    for stream in ["CUSTOMER", "INBOUND"] {
        assert_eq!(world.broker.readable(stream, planted("bm3").as_bytes()), 0);
    }
    for running in [downstream.reader, downstream.second, notes] {
        running.end().await;
    }
}

/// Each of these once.
fn heard(texts: &[&str]) -> Heard {
    let hashes = texts.iter().map(|text| sha256_hex(planted(text).as_bytes()));
    Heard(hashes.collect(), texts.len() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_moved_before_everybody_downstream_has_read_it() {
    let Some(world) = World::start().await else { return };
    let (a, b, c) = (customer("a"), customer("b"), customer("c"));
    let mut log = Log::open(&world.admin, "CUSTOMER", world.end().await).await.unwrap();
    let mut done = async || loop {
        let record = log.next().await.unwrap().record;
        if record.kind() == "done.v1" {
            break String::from_utf8_lossy(&record.body).into_owned();
        }
    };
    let before = world.notes().await;

    // Nobody downstream has ever run, and one customer is split, another is forgotten.
    let notes = world.begin::<Notes>().await;
    call(&notes.handle, "Split", &[a, b]).await;
    call_as(&notes.handle, "Erase", &[c], "erase-c").await;
    let first = done().await;
    assert!(first.contains(&format!("erase-{c}")), "not {first}: an erasure waits for nobody");
    let without_c: Vec<_> = before.into_iter().filter(|(_, owner)| *owner != c).collect();
    tokio::select! {
        () = world.looked() => {}
        job = done() => panic!("{job} was done"),
    }
    assert_eq!(world.notes().await, without_c);

    // One begins, reads everything, and ends: what it has read it has read. The other has not.
    let reader = world.begin::<Reader>().await;
    let all = heard(&["a1", "a2", "a3", "b1", "b2", "b3", "b4", "x1"]);
    assert_eq!(world.all_heard(&reader).await, all);
    reader.end().await;
    // The one who was split is forgotten as well, but not with what is another's.
    call_as(&notes.handle, "Erase", &[a], "erase-a").await;
    tokio::select! {
        () = world.looked() => {}
        job = done() => panic!("{job} was done"),
    }
    assert_eq!(world.notes().await, without_c);

    let second = world.begin::<Second>().await;
    assert!(done().await.contains(&format!("split-{a}")));
    assert!(done().await.contains(&format!("erase-{a}")));
    assert_eq!(world.all_heard(&second).await, all);
    let left = [("b1", b), ("b2", b), ("b3", b), ("b4", b)];
    assert_eq!(world.notes().await, owned(&left));
    let reader = world.begin::<Reader>().await;
    assert_eq!(world.all_heard(&reader).await, all);
    for running in [reader, second, notes] {
        running.end().await;
    }
}
