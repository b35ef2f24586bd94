//! identity-merge's rules alone: decided and folded in memory, by the engine's own snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use mainstem_bus::engine::{Engine, LOOK_AHEAD, Settings, Snapshot};
use mainstem_bus::record::{Headers, Record, Stored, header};
use mainstem_bus::{Machine as _, Positions};
use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Identity, Input, State};
use mainstem_domain::person::{Act, ChannelEvent, Sighting};
use mainstem_domain::{At, ChannelId, Decider as _};
use mainstem_identity_merge::IdentityMachine;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::start;

#[derive(Args)]
pub(crate) struct IdentityArguments {
    /// Identifiers to load
    #[arg(long, default_value_t = 10_000_000)]
    identifiers: usize,
    /// Events of known identifiers to decide
    #[arg(long, default_value_t = 2_000_000)]
    events: usize,
    /// Records of log behind the snapshot at the restart
    #[arg(long, default_value_t = 100_000)]
    log: usize,
    /// Another seed makes other traffic
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

/// Identifiers of one customer: a LINE user id, a phone number, and a cookie or an e-mail address.
const EACH: usize = 3;

/// Events that are made ahead, so that making them is not measured.
const AHEAD: usize = 4_096;

/// Milliseconds between two events.
const PACE: i64 = 2;

/// Identifiers of the component that is split.
const SPLIT: usize = 1_000;

/// So many are split, each once; the fastest counts, as the machine may be busy with others.
const ATTEMPTS: usize = 100;

#[derive(serde::Serialize)]
struct Figures {
    new_customers_per_s: f64,
    known_events_per_s: f64,
    bytes_per_identifier: f64,
    rss_mib: f64,
    snapshot_mib: f64,
    snapshot_s: f64,
    snapshot_max_pause_ms: f64,
    pauses_us: BTreeMap<&'static str, f64>,
    restart_s_10m: f64,
    restart_snapshot_s: f64,
    restart_log_s: f64,
    split_1000_ms: f64,
}

pub(crate) fn run(arguments: &IdentityArguments) -> anyhow::Result<()> {
    let customers = arguments.identifiers.div_ceil(EACH);
    println!("identity-merge in memory: {} identifiers of {customers} customers", customers * EACH);
    let empty = resident()?;
    let mut world = World::new(arguments.seed);
    let new_customers_per_s = world.load(customers);
    let loaded = resident()?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let bytes_per_identifier =
        loaded.saturating_sub(empty) as f64 / world.state.identifiers() as f64;
    println!(
        "  new customers   {new_customers_per_s:>10.0}/s, {bytes_per_identifier:.0} bytes for each identifier"
    );
    let known_events_per_s = world.known(customers, arguments.events);
    println!("  known events    {known_events_per_s:>10.0}/s");
    let split_1000_ms = split();
    println!("  split of {SPLIT}   {split_1000_ms:>10.2} ms");

    let taken = world.snapshot(customers)?;
    println!(
        "  snapshot        {:>10.1} s beside the traffic, {:.0} MiB; longest step {:.2} ms",
        taken.took.as_secs_f64(),
        mib(taken.bytes.len()),
        taken.max_ms
    );
    println!("  steps           {}", pauses(&taken.steps));
    let tail = world.tail(customers, arguments.log);
    let expected = world.state.customers();
    drop(world);
    let restart = restart(&taken.bytes, &tail, expected)?;
    println!(
        "  restart         {:>10.1} s: snapshot {:.1} s, {} records {:.1} s",
        (restart.0 + restart.1).as_secs_f64(),
        restart.0.as_secs_f64(),
        arguments.log,
        restart.1.as_secs_f64()
    );
    let figures = Figures {
        new_customers_per_s,
        known_events_per_s,
        bytes_per_identifier,
        rss_mib: mib(loaded),
        snapshot_mib: mib(taken.bytes.len()),
        snapshot_s: taken.took.as_secs_f64(),
        snapshot_max_pause_ms: taken.max_ms,
        pauses_us: quantiles(&taken.steps),
        restart_s_10m: (restart.0 + restart.1).as_secs_f64(),
        restart_snapshot_s: restart.0.as_secs_f64(),
        restart_log_s: restart.1.as_secs_f64(),
        split_1000_ms,
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / (1_024.0 * 1_024.0)
}

/// Bytes of memory that the process holds.
fn resident() -> anyhow::Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").context("needs Linux's /proc")?;
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    Ok(pages.context("/proc/self/statm has another shape")? * rustix::param::page_size())
}

struct World {
    configuration: Configuration,
    state: State,
    random: ChaCha8Rng,
    at: At,
    events: u64,
    channels: Vec<ChannelId>,
}

struct Taken {
    bytes: Vec<u8>,
    took: Duration,
    max_ms: f64,
    /// How long each step took while the snapshot was taken, shortest first.
    steps: Vec<Duration>,
}

impl World {
    fn new(seed: u64) -> Self {
        let channels = (1..=76).filter_map(|number| format!("line-{number:02}").parse().ok());
        Self {
            configuration: Configuration::default(),
            state: State::default(),
            random: ChaCha8Rng::seed_from_u64(seed),
            at: At::from_millis(1_795_219_200_000),
            events: 0,
            channels: channels.collect(),
        }
    }

    fn event(&mut self, identifiers: Vec<Identifier>) -> Input {
        self.events += 1;
        let channel = self.channels[self.random.random_range(0..self.channels.len())].clone();
        // As LINE's webhookEventId: a ULID.
        let id = format!("01KAR{:021}", self.events);
        let sightings =
            identifiers.into_iter().map(|identifier| Sighting { identifier, verified: true });
        Input::Inbound {
            event: ChannelEvent {
                id: id.parse().expect("an event id"),
                channel,
                mode: Mode::Live,
                store: None,
                brand: None,
                act: Act::Follow,
                sightings: sightings.collect(),
                occurred_at: At::default(),
                received_at: At::default(),
                reply_token: None,
                attributes: Vec::new(),
                consents: Vec::new(),
                message: None,
            },
            tokens: Vec::new(),
        }
    }

    fn step(&mut self, input: &Input) {
        let decision = Identity::decide(&self.state, &self.configuration, input, self.at);
        for event in &decision.events {
            Identity::evolve(&mut self.state, event, self.at);
        }
    }

    /// As the engine's writer does with messages that have come.
    fn take(&mut self, inputs: &[Input]) {
        for inputs in inputs.chunks(LOOK_AHEAD) {
            Identity::approach(&self.state, inputs.iter());
            for input in inputs {
                self.at = At::from_millis(self.at.as_millis() + PACE);
                self.step(input);
            }
        }
    }

    /// Every customer comes once, with all that tells it. New customers each second.
    fn load(&mut self, customers: usize) -> f64 {
        let mut spent = Duration::ZERO;
        for from in (0..customers).step_by(AHEAD) {
            let inputs: Vec<_> = (from..customers.min(from + AHEAD))
                .map(|customer| self.event((0..EACH).map(|n| identifier(customer, n)).collect()))
                .collect();
            let started = start();
            self.take(&inputs);
            spent += started.elapsed();
        }
        per_second(customers, spent)
    }

    fn known_inputs(&mut self, customers: usize, count: usize) -> Vec<Input> {
        (0..count)
            .map(|_| {
                let customer = self.random.random_range(0..customers);
                let which = self.random.random_range(0..EACH);
                self.event(vec![identifier(customer, which)])
            })
            .collect()
    }

    /// Events of customers who are known by what they carry. Events each second.
    fn known(&mut self, customers: usize, events: usize) -> f64 {
        let mut spent = Duration::ZERO;
        for from in (0..events).step_by(AHEAD) {
            let inputs = self.known_inputs(customers, AHEAD.min(events - from));
            let started = start();
            self.take(&inputs);
            spent += started.elapsed();
        }
        per_second(events, spent)
    }

    /// Takes a snapshot as the engine does, in the middle of traffic: the state is shared, then
    /// packed by another thread. A step is one event decided and folded; the first one includes
    /// the sharing.
    fn snapshot(&mut self, customers: usize) -> anyhow::Result<Taken> {
        let mut steps = Vec::new();
        let packed = Arc::new(AtomicBool::new(false));
        let mut packing = None;
        let mut inputs = Vec::new().into_iter();
        let begun = start();
        while !packed.load(Ordering::Acquire) || packing.is_none() {
            let Some(input) = inputs.next() else {
                inputs = self.known_inputs(customers, AHEAD).into_iter();
                continue;
            };
            let started = start();
            if packing.is_none() {
                let snapshot = snapshot_of(&self.state, self.at);
                let packed = Arc::clone(&packed);
                packing = Some(std::thread::spawn(move || {
                    let bytes = snapshot.encode();
                    drop(snapshot);
                    packed.store(true, Ordering::Release);
                    bytes
                }));
            }
            self.at = At::from_millis(self.at.as_millis() + PACE);
            self.step(&input);
            steps.push(started.elapsed());
        }
        let took = begun.elapsed();
        let bytes =
            packing.and_then(|thread| thread.join().ok()).context("it was not packed")??;
        steps.sort_unstable();
        let max_ms = steps.last().copied().unwrap_or_default().as_secs_f64() * 1_000.0;
        Ok(Taken { bytes, took, max_ms, steps })
    }

    /// Records as the ledger holds them: half of them of new customers.
    fn tail(&mut self, customers: usize, records: usize) -> Vec<Stored> {
        let mut tail: Vec<Stored> = Vec::with_capacity(records + 2);
        let mut new = customers;
        while tail.len() < records {
            let input = if self.random.random_bool(0.5) {
                new += 1;
                self.event((0..EACH).map(|n| identifier(new, n)).collect())
            } else {
                let customer = self.random.random_range(0..customers);
                self.event(vec![identifier(customer, 0)])
            };
            self.at = At::from_millis(self.at.as_millis() + PACE);
            let decision = Identity::decide(&self.state, &self.configuration, &input, self.at);
            for event in &decision.events {
                Identity::evolve(&mut self.state, event, self.at);
                let draft = IdentityMachine::encode(event, None);
                let mut headers = Headers::default();
                headers.set(header::TYPE, draft.kind);
                for (name, value) in draft.headers {
                    headers.set(name, value);
                }
                headers.set(header::RECORDED_TIME, self.at.to_string());
                headers.set(header::EPOCH, "1");
                headers.set(header::POSITIONS, Positions::default().to_string());
                let record = Record { subject: draft.subject, headers, body: draft.body };
                let sequence = tail.len() as u64 + 2;
                tail.push(Stored { sequence, stored_at: 0, record });
            }
        }
        tail
    }
}

/// As the engine would share it.
fn snapshot_of(state: &State, at: At) -> Snapshot<IdentityMachine> {
    Snapshot::of_state(state.clone(), 1, 1, at)
}

/// How long a start takes: the snapshot unpacked, then the log behind it folded.
fn restart(
    bytes: &[u8],
    tail: &[Stored],
    customers: usize,
) -> anyhow::Result<(Duration, Duration)> {
    let started = start();
    let snapshot = Snapshot::<IdentityMachine>::decode(bytes)?;
    let mut engine = Engine::restore(Settings::default(), snapshot);
    let unpacked = started.elapsed();
    let started = start();
    for stored in tail {
        engine.fold(stored)?;
    }
    let folded = started.elapsed();
    anyhow::ensure!(engine.state().customers() == customers, "the state did not come back");
    Ok((unpacked, folded))
}

/// How long it takes to decide and fold the split of one component.
fn split() -> f64 {
    let cookie = |number: usize| Identifier::Cookie(format!("c{number:031x}").into());
    let mut best = f64::MAX;
    for attempt in 0..ATTEMPTS {
        // A chain: each event carries one identifier that is known and one that is new.
        let limits = serde_json::json!({"identity": {"limits": {"cookie": SPLIT}}});
        let mut world = World::new(1);
        world.configuration = serde_json::from_value(limits).expect("limits");
        for number in 1..SPLIT {
            let input = world.event(vec![cookie(number - 1), cookie(number)]);
            world.step(&input);
        }
        let customer = world.state.owner(&cookie(0)).expect("a customer");
        let input = Input::Split {
            customer,
            identifiers: (SPLIT / 2..SPLIT).map(cookie).collect(),
            origin: format!("bench/{attempt}"),
            validate_only: false,
        };
        let started = start();
        let decision = Identity::decide(&world.state, &world.configuration, &input, world.at);
        for event in &decision.events {
            Identity::evolve(&mut world.state, event, world.at);
        }
        best = best.min(started.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(world.state.customers(), 2, "the component did not fall apart");
    }
    best
}

/// What tells a customer: realistic in length and alphabet.
fn identifier(customer: usize, which: usize) -> Identifier {
    let number = customer as u64;
    // Spreads the numbers, so that neighbours do not look alike.
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) ^ number;
    match which {
        0 => Identifier::Line {
            provider: "1656895000".into(),
            user: format!("U{mixed:016x}{number:016x}").into(),
        },
        1 => Identifier::Phone(format!("+8869{number:08}").into()),
        _ if customer.is_multiple_of(2) => {
            Identifier::Email(format!("user{number}@mail.example.com").into())
        }
        _ => Identifier::Cookie(format!("{mixed:016x}{number:016x}").into()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_second(count: usize, spent: Duration) -> f64 {
    count as f64 / spent.as_secs_f64()
}

const QUANTILES: [(&str, usize); 5] =
    [("p50", 5_000), ("p90", 9_000), ("p99", 9_900), ("p99_9", 9_990), ("p99_99", 9_999)];

/// In microseconds.
fn quantiles(sorted: &[Duration]) -> BTreeMap<&'static str, f64> {
    let micros = |step: &Duration| step.as_secs_f64() * 1_000_000.0;
    let at = |part: usize| sorted.get(sorted.len() * part / 10_000).map(micros);
    let mut quantiles: BTreeMap<_, _> =
        QUANTILES.into_iter().filter_map(|(name, part)| Some((name, at(part)?))).collect();
    quantiles.extend(sorted.last().map(|last| ("max", micros(last))));
    quantiles
}

fn pauses(sorted: &[Duration]) -> String {
    let quantiles = quantiles(sorted);
    let one = |(name, micros): (&&str, &f64)| format!("{name} {micros:.1} µs");
    format!(
        "{} while it was packed: {}",
        sorted.len(),
        quantiles.iter().map(one).collect::<Vec<_>>().join(", ")
    )
}
