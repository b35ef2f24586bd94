//! What instances share: the broker, the connections to it, leases, the time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mainstem_bus::engine::{Ack, Answer, Append, Applied, Ticket};
use mainstem_bus::{Record, topology};
use mainstem_domain::At;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::broker::{Reply, SimBroker};

/// An append came although its writer was gone.
pub const LATE: &str = "an append came late";

/// Tells lines apart.
pub type LineId = usize;

/// Tells instances apart.
pub type InstanceId = usize;

/// An answer on its way to a client.
#[derive(Debug)]
pub struct Told {
    /// Of which call.
    pub ticket: Ticket,
    /// What it says.
    pub answer: Answer,
    /// Whether the request was refused before it was decided, so that no receipt stands for it.
    pub early: bool,
}

/// Everything outside the instances.
#[derive(Debug)]
pub struct Net {
    /// The broker.
    pub broker: SimBroker,
    /// The only chance in the world.
    pub rng: ChaCha8Rng,
    /// The moment, the same for everybody; moves between phases only.
    pub now: At,
    /// Steps since the world began.
    pub step: u64,
    /// Whether nothing goes wrong.
    pub calm: bool,
    /// Answers on their way to clients.
    pub answers: VecDeque<Told>,
    /// Configurations by digest, as the object store has them.
    pub configurations: BTreeMap<String, Arc<Applied>>,
    /// What has happened, and how often; shows that a test has tried what it claims to try.
    pub happened: BTreeMap<&'static str, u64>,
    lines: BTreeMap<LineId, Line>,
    next_line: LineId,
    leases: BTreeMap<&'static str, InstanceId>,
    /// Whoever asks is given this lease until then.
    given_to_all: BTreeMap<&'static str, u64>,
}

/// One writer's connection to the broker: first in, first out, in both directions.
#[derive(Debug)]
struct Line {
    stream: &'static str,
    /// Numbered, so that a writer sees a gap.
    requests: VecDeque<(u64, Append)>,
    replies: VecDeque<(u64, Ack)>,
    /// Whether somebody still reads the replies.
    open: bool,
    stalled_until: u64,
}

impl Net {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, calm: bool) -> Self {
        Self {
            broker: SimBroker::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: At::default(),
            step: 0,
            calm,
            answers: VecDeque::new(),
            configurations: BTreeMap::from([(String::new(), Arc::default())]),
            happened: BTreeMap::new(),
            lines: BTreeMap::new(),
            next_line: 0,
            leases: BTreeMap::new(),
            given_to_all: BTreeMap::new(),
        }
    }

    /// Puts the world's clock forward.
    pub fn set_time(&mut self, now: At) {
        self.now = now;
        self.broker.set_time(now.as_millis() * 1_000_000);
    }

    /// True once in `times`; never in a calm world.
    pub fn mishap(&mut self, times: u32) -> bool {
        !self.calm && self.rng.random_ratio(1, times)
    }

    /// Takes note that this has happened.
    pub fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// A connection that appends to `stream`.
    pub fn open_line(&mut self, stream: &'static str) -> LineId {
        let id = self.next_line;
        self.next_line += 1;
        let line = Line {
            stream,
            requests: VecDeque::new(),
            replies: VecDeque::new(),
            open: true,
            stalled_until: 0,
        };
        self.lines.insert(id, line);
        id
    }

    /// Puts an append on its way.
    pub fn send(&mut self, line: LineId, number: u64, append: Append) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.requests.push_back((number, append));
        }
    }

    /// The next acknowledgement that has come, with the number of its append.
    pub fn receive(&mut self, line: LineId) -> Option<(u64, Ack)> {
        self.lines.get_mut(&line)?.replies.pop_front()
    }

    /// Nobody reads the replies any more; what was sent goes on its way all the same.
    pub fn abandon(&mut self, line: LineId) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.open = false;
        }
    }

    /// Brings some appends of one line to the broker; `false` when none was on its way.
    pub fn deliver(&mut self) -> bool {
        self.lines.retain(|_, line| line.open || !line.requests.is_empty());
        let step = self.step;
        let ready = self
            .lines
            .iter()
            .filter(|(_, line)| !line.requests.is_empty() && line.stalled_until <= step);
        let ready: Vec<LineId> = ready.map(|(id, _)| *id).collect();
        let Some(id) = self.pick(&ready) else { return false };
        let Some(line) = self.lines.get_mut(&id) else { return false };
        for _ in 0..self.rng.random_range(1..=3) {
            let Some((number, append)) = line.requests.pop_front() else { break };
            let reply = match append {
                Append::One { expect, record } => {
                    self.broker.append(line.stream, &record, Some(expect))
                }
                Append::Batch { expect, records } => {
                    self.broker.append_batch(line.stream, &records, Some(expect))
                }
            };
            let ack = match reply {
                Reply::Stored { sequence, duplicate } => Ack::Stored { sequence, duplicate },
                Reply::Refused { code, reason } => Ack::Refused(format!("{reason} ({code})")),
            };
            line.replies.push_back((number, ack));
            if !line.open {
                *self.happened.entry(LATE).or_default() += 1;
            }
        }
        true
    }

    /// Whether any append is still on its way.
    #[must_use]
    pub fn silent(&self) -> bool {
        self.lines.values().all(|line| line.requests.is_empty())
    }

    /// Lines with appends on their way.
    #[must_use]
    pub fn busy_lines(&self) -> Vec<LineId> {
        let busy = self.lines.iter().filter(|(_, line)| !line.requests.is_empty());
        busy.map(|(id, _)| *id).collect()
    }

    /// Every line.
    #[must_use]
    pub fn lines(&self) -> Vec<LineId> {
        self.lines.keys().copied().collect()
    }

    /// Nothing arrives from this line for so many steps.
    pub fn stall(&mut self, line: LineId, steps: u64) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.stalled_until = self.step + steps;
        }
    }

    /// The first appends on their way are lost, the later ones arrive, as on a reconnect.
    pub fn lose_head(&mut self, line: LineId, count: usize) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.requests.drain(..count.min(line.requests.len()));
        }
    }

    /// All but the first appends on their way are lost, as when the writer's machine dies.
    pub fn lose_tail(&mut self, line: LineId, kept: usize) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.requests.truncate(kept);
        }
    }

    /// The replies on their way are lost.
    pub fn lose_replies(&mut self, line: LineId) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.replies.clear();
        }
    }

    /// The stream that a line appends to.
    #[must_use]
    pub fn stream_of(&self, line: LineId) -> Option<&'static str> {
        self.lines.get(&line).map(|line| line.stream)
    }

    /// Somebody who may not writes a record, past everybody.
    pub fn write_as_stranger(&mut self, stream: &str, record: &Record) {
        self.broker.append(stream, record, None);
    }

    /// Who has a service's lease.
    #[must_use]
    pub fn lease(&self, service: &str) -> Option<InstanceId> {
        self.leases.get(service).copied()
    }

    /// Takes a service's lease if nobody has it.
    pub fn take_lease(&mut self, service: &'static str, instance: InstanceId) -> bool {
        if self.given_to_all.get(service).is_some_and(|until| self.step < *until) {
            self.leases.insert(service, instance);
        }
        *self.leases.entry(service).or_insert(instance) == instance
    }

    /// For so many steps a lease is no lease.
    pub fn give_lease_to_all(&mut self, service: &'static str, steps: u64) {
        self.given_to_all.insert(service, self.step + steps);
    }

    /// The lease runs out; its holder is not told.
    pub fn end_lease(&mut self, service: &str) {
        self.leases.remove(service);
    }

    /// Stores a dead letter as the services do: once for each origin.
    pub fn bury(&mut self, service: &str, origin: &str, reason: &str) {
        let id = format!("{service}/{origin}");
        let mut record = Record {
            subject: topology::dead_subject(service),
            headers: mainstem_bus::Headers::default(),
            body: reason.to_owned().into(),
        };
        record.headers.set(super::broker::MESSAGE_ID, id);
        self.broker.append(topology::DEADLETTER, &record, None);
    }

    /// Any of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.rng.random_range(0..from.len())])
    }
}
