//! The engine: one decider over one ledger, without I/O.
//!
//! Whoever runs it reads the ledger and the upstreams, hands over what was read and what time it
//! is, sends the appends it asks for, and tells it what became of them. The same code runs on the
//! real broker and in the simulation.
//!
//! A life: fold the ledger ([`Engine::fold`]) as long as another instance writes; with the lease,
//! fold to the end and [`Engine::fence`]; then [`Engine::offer`], [`Engine::command`],
//! [`Engine::due`]. A record is sent by [`Engine::next_append`], and an answer leaves by
//! [`Engine::next_answer`] when everything it saw is stored. On [`Lost`] the engine is dropped and
//! a new one folds from the snapshot.
//!
//! Invariants:
//! - What was decided is what was written: the state is the fold of the records.
//! - At most `window` records are in flight, and an epoch begins with `window + 1` records in one
//!   atomic batch, so no append of an older writer can meet the sequence that it expects.
//! - All records of one input count, or none of them do, as soon as a writer has begun.
//! - An input is decided after everything that its writer had seen.

mod custodian;
mod memory;
mod snapshot;
mod write;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mainstem_domain::configuration::Configuration;
use mainstem_domain::{At, Decider as _, Refusal};

use crate::custody::Counts;
use crate::machine::{EventOf, InputOf, Machine, StateOf};
use crate::positions::{Epoch, Position, Positions};
use crate::record::{Record, Stored, Unreadable, header};
use crate::trace::TraceContext;

pub(crate) use memory::ConfigurationBody;
use memory::Memory;
pub use memory::{RECEIPTS_AT_MOST, RECEIPTS_FOR};
pub use snapshot::{BadSnapshot, Snapshot};

/// The engine's own records. They change nothing that a decider knows.
pub mod kind {
    /// What all of them start with.
    pub const OWN: &str = "mainstem.ledger.";
    /// A writer begins.
    pub const EPOCH: &str = "mainstem.ledger.epoch.v1";
    /// A decider has read further and decided nothing.
    pub const POSITION: &str = "mainstem.ledger.position.v1";
    /// A configuration is in force from here on.
    pub const CONFIGURATION: &str = "mainstem.ledger.configuration.v1";
    /// The answer of a command that changed nothing, that is too long for a header, or that names
    /// another customer than the first record.
    pub const RECEIPT: &str = "mainstem.ledger.receipt.v1";
    /// How many records a job will erase.
    pub const CUSTODY: &str = "mainstem.ledger.custody.v1";
}

/// The most records that one atomic batch can hold (the server's limit).
pub const BATCH_AT_MOST: usize = 1_000;

/// How an engine works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Appends in flight at most.
    pub window: usize,
    /// A silent decider writes how far it has read after this many inputs.
    pub position_every_inputs: u64,
    /// A silent decider writes how far it has read after this long.
    pub position_every: Duration,
    /// A promise that is broken on purpose, to show that the simulation finds it.
    #[doc(hidden)]
    pub broken: Option<BrokenPromise>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 64,
            position_every_inputs: 1_000,
            position_every: Duration::from_secs(10),
            broken: None,
        }
    }
}

/// The engine's promises that tests of the simulation break, one at a time.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenPromise {
    /// An epoch begins with one record instead of `window + 1`.
    OneEpochRecord,
    /// Inputs are decided as they come, causes or not.
    NoCausalHold,
    /// A record carries the position of its own cause only.
    OneCause,
    /// Whoever finds an input cut off leaves it so.
    NoCompletion,
    /// Records carry a deduplication id, and a duplicate counts as stored.
    DuplicateIsSuccess,
    /// A snapshot is taken although an input is cut off.
    SnapshotInsideInput,
}

/// What the ledger showed to an instance that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    /// It counts.
    Taken,
    /// It does not count: of an older epoch, or by a stranger. Raise the alarm.
    Void,
}

/// The ledger cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Provide the configuration with this digest ([`Engine::configure`]) and fold again.
    #[error("the configuration {0} is needed first")]
    NeedsConfiguration(String),
    /// A record that counts makes no sense. No writer of this version does that.
    #[error(
        "{ledger} is damaged at sequence {sequence}: {what}; restore it from a backup, or run the version that wrote it"
    )]
    Damaged {
        /// The stream.
        ledger: &'static str,
        /// Where.
        sequence: u64,
        /// What is wrong, without content.
        what: String,
    },
}

/// The writer is not alone, or cannot know whether it is: begin anew from the ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an append was not stored where it was expected: {0}")]
pub struct Lost(pub String);

/// What the broker said to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It is stored; of a batch, the last of it.
    Stored {
        /// Where.
        sequence: u64,
        /// Whether the broker took it for one that it had already, and stored nothing.
        duplicate: bool,
    },
    /// It is not stored.
    Refused(String),
}

/// Something to send to the broker, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Append {
    /// One record, after the record with the sequence `expect`.
    One {
        /// The last sequence of the stream before it.
        expect: u64,
        /// The record.
        record: Record,
    },
    /// All of these or none, after the record with the sequence `expect`.
    Batch {
        /// The last sequence of the stream before them.
        expect: u64,
        /// The records.
        records: Vec<Record>,
    },
}

/// What became of an offered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It was decided.
    Taken,
    /// It does not count, as in [`Folded::Void`].
    Void,
    /// It must wait until this stream was read up to this sequence; offer it again then.
    Held {
        /// The stream.
        stream: String,
        /// The sequence.
        sequence: u64,
    },
    /// It cannot be read: store it as a dead letter, then [`Engine::skip`] it.
    Unreadable(Unreadable),
}

/// Tells the answers of one process apart.
pub type Ticket = u64;

/// A command to decide.
#[derive(Clone, Debug)]
pub struct Command<Input> {
    /// For the answer.
    pub ticket: Ticket,
    /// What makes the command idempotent for [`RECEIPTS_FOR`], if the client wants that.
    pub request_id: Option<String>,
    /// What tells this call from all others: the `request_id`, or an id made for it.
    pub id: String,
    /// A hash of caller, method and body: the same `request_id` with another one is refused.
    pub hash: String,
    /// Who asks.
    pub actor: String,
    /// The caller's trace.
    pub trace: Option<String>,
    /// What is asked.
    pub ask: Ask<Input>,
}

/// What a command asks.
#[derive(Clone, Debug)]
pub enum Ask<Input> {
    /// Something of the decider.
    Decider(Input),
    /// Take this configuration.
    Configure(Arc<Applied>),
    /// Only to look: this is the answer, as soon as all that it saw is stored.
    Read(String),
    /// Refused by what the state was then, as soon as all that was seen is stored.
    Refused(Refusal),
    /// From the custodian, never from a client: what is to be done with this record by this job.
    /// A record that belongs to another is copied first.
    Move {
        /// The job.
        job: String,
        /// The record.
        original: Box<Stored>,
    },
    /// From the custodian, never from a client: what is to be done with this record by this job. One
    /// that holds what was taken back is copied without it first.
    Hide {
        /// The job.
        job: String,
        /// The record.
        original: Box<Stored>,
    },
    /// From the custodian, never from a client: this is what this job will erase.
    Plan {
        /// The job.
        job: String,
        /// How many records at each place.
        counts: Counts,
    },
}

/// A configuration with its digest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// SHA-256 of the canonical JSON, in hexadecimal; empty for the empty one before the first.
    pub digest: String,
    /// The content.
    pub configuration: Configuration,
}

/// The answer of a command: the JSON body of the response, or why not.
pub type Answer = Result<String, Refusal>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Following,
    Writing,
}

/// One decider over one ledger. See the module's documentation.
pub struct Engine<M: Machine> {
    settings: Settings,
    memory: Memory<StateOf<M>>,
    applied: Arc<Applied>,
    mode: Mode,
    /// Up to here everything is stored.
    stored: u64,
    unsent: VecDeque<Append>,
    in_flight: VecDeque<InFlight>,
    /// Whether the window was full, and half of it is not acknowledged yet.
    full: bool,
    answers: VecDeque<(u64, Ticket, Answer)>,
    silent_inputs: u64,
    silent_since: Option<At>,
    records_since_snapshot: u64,
    planned: Option<Snapshot<M>>,
    span: Option<Span>,
}

/// Where the processing of an input stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The span that the input came from.
    pub parent: Option<TraceContext>,
    /// The span of the processing, which the input's records carry on.
    pub context: TraceContext,
    /// The stream of the input, or `command`, `due`, `position`.
    pub from: &'static str,
}

/// An append that was sent: the last sequence that it will have.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    last: u64,
    records: usize,
}

impl<M: Machine> Engine<M> {
    /// An engine that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_memory(settings, Memory::default(), Arc::default())
    }

    fn with_memory(settings: Settings, memory: Memory<StateOf<M>>, applied: Arc<Applied>) -> Self {
        Self {
            settings,
            stored: memory.sequence,
            memory,
            applied,
            mode: Mode::Following,
            unsent: VecDeque::new(),
            in_flight: VecDeque::new(),
            full: false,
            answers: VecDeque::new(),
            silent_inputs: 0,
            silent_since: None,
            records_since_snapshot: 0,
            planned: None,
            span: None,
        }
    }

    /// The decider's state.
    #[must_use]
    pub fn state(&self) -> &StateOf<M> {
        &self.memory.state
    }

    /// The configuration in force.
    #[must_use]
    pub fn configuration(&self) -> &Arc<Applied> {
        &self.applied
    }

    /// The last sequence of the ledger that was folded, or will be when all appends are stored.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.memory.sequence
    }

    /// How far the upstreams were read.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.memory.positions
    }

    /// The epoch in force.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.memory.epoch
    }

    /// Whether this engine writes.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.mode == Mode::Writing
    }

    /// Whether the next input can be decided: an epoch has begun, and everything is sent.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.writes() && self.unsent.is_empty()
    }

    /// Whether every append is stored.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.unsent.is_empty() && self.in_flight.is_empty()
    }

    /// Records of the ledger taken since the last snapshot.
    #[must_use]
    pub fn records_since_snapshot(&self) -> u64 {
        self.records_since_snapshot
    }

    /// The decider's earliest deadline.
    #[must_use]
    pub fn next_due(&self) -> Option<At> {
        M::Decider::due(&self.memory.state)
    }

    /// Provides a configuration that [`FoldError::NeedsConfiguration`] asked for.
    pub fn configure(&mut self, applied: Arc<Applied>) {
        self.applied = applied;
    }

    /// Takes the next record of the ledger, as an instance that does not write.
    ///
    /// # Errors
    /// See [`FoldError`]; the record was not taken.
    pub fn fold(&mut self, message: &Stored) -> Result<Folded, FoldError> {
        let damaged = |what: String| FoldError::Damaged {
            ledger: M::LEDGER,
            sequence: message.sequence,
            what,
        };
        let record = &message.record;
        // What is missing was deleted.
        let missing = message.sequence.saturating_sub(self.memory.sequence + 1);
        let mut epoch = self.memory.epoch;
        let carried = record.header(header::EPOCH).and_then(|text| text.parse().ok());
        if !epoch.admit(carried, record.kind() == kind::EPOCH) {
            self.memory.epoch = epoch;
            self.memory.void(message.sequence);
            self.memory.pass_holes(missing);
            self.passed(message.sequence);
            return Ok(Folded::Void);
        }
        let stamp = memory::Stamp::read(record).map_err(|error| damaged(error.0))?;
        let own = record.kind().starts_with(kind::OWN);
        if record.kind() == kind::CONFIGURATION {
            let digest = memory::configuration_digest(record).map_err(|e| damaged(e.0))?;
            if self.applied.digest != digest {
                return Err(FoldError::NeedsConfiguration(digest));
            }
            self.memory.configuration = digest;
        }
        self.memory.pass_holes(missing);
        if !own || record.kind() == kind::RECEIPT {
            self.memory.check_rest(record).map_err(|error| damaged(error.0))?;
        }
        if record.kind() == kind::CUSTODY {
            self.fold_plan(message).map_err(|error| damaged(error.0))?;
        } else if record.is_moved() {
            self.fold_moved(message, &stamp).map_err(|error| damaged(error.0))?;
        } else if !own {
            let event = M::decode(message).map_err(|error| damaged(error.0))?;
            self.evolve(&event, stamp.at, message.sequence, &stamp.positions);
        }
        self.memory.epoch = epoch;
        self.memory.take(stamp);
        self.passed(message.sequence);
        Ok(Folded::Taken)
    }

    /// Takes an event of the record at `sequence`, which was decided with the upstreams read so
    /// far.
    fn evolve(&mut self, event: &EventOf<M>, at: At, sequence: u64, read: &Positions) {
        M::Decider::evolve(&mut self.memory.state, event, at);
        self.memory.decided += 1;
        self.memory.list_jobs(&M::chores(&self.memory.state), sequence, read);
    }

    fn passed(&mut self, sequence: u64) {
        self.memory.sequence = sequence;
        self.stored = sequence;
        self.records_since_snapshot += 1;
    }

    /// Takes note that the ledger's last sequence is this one: what is missing up to it was
    /// deleted, and its place is taken all the same.
    pub fn folded_to(&mut self, last_sequence: u64) {
        if last_sequence > self.memory.sequence {
            self.memory.pass_holes(last_sequence - self.memory.sequence);
            self.memory.sequence = last_sequence;
            self.stored = last_sequence;
        }
    }

    /// What an instance needs to go on from here without the log before; `None` in the middle of
    /// an input, or while something in it is not stored. Ask again then: a writer that never
    /// rests gets the snapshot that the first call planned.
    ///
    /// Cheap: the state is shared until it changes. Encode it elsewhere.
    #[must_use]
    pub fn snapshot(&mut self) -> Option<Snapshot<M>> {
        let cut = !self.memory.rest.is_empty();
        let inside = self.settings.broken == Some(BrokenPromise::SnapshotInsideInput);
        if self.planned.is_none() && (!cut || inside) {
            self.records_since_snapshot = 0;
            self.planned = Some(Snapshot::of(self.memory.clone(), Arc::clone(&self.applied)));
        }
        self.planned.take_if(|planned| planned.sequence() <= self.stored)
    }

    /// Do both come from the same records of the ledger? One may have read its upstreams further.
    #[must_use]
    pub fn same_fold(&self, other: &Self) -> bool {
        self.memory.same_fold(&other.memory)
    }

    /// An engine that goes on from a snapshot.
    #[must_use]
    pub fn restore(settings: Settings, snapshot: Snapshot<M>) -> Self {
        let (memory, applied) = snapshot.into_parts();
        Self::with_memory(settings, memory, applied)
    }

    /// The message's position, given what was read of its stream before.
    fn position_after(&self, upstream: &crate::Upstream, message: &Stored) -> (Position, bool) {
        let mut epoch = self.memory.positions.get(upstream.stream).epoch;
        let counts = !upstream.ledger || {
            let carried = message.record.header(header::EPOCH).and_then(|text| text.parse().ok());
            epoch.admit(carried, message.record.kind() == kind::EPOCH)
        };
        let position = Position { sequence: message.sequence, stored_at: message.stored_at, epoch };
        (position, counts)
    }
}

impl<M: Machine> std::fmt::Debug for Engine<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("service", &M::SERVICE)
            .field("mode", &self.mode)
            .field("sequence", &self.memory.sequence)
            .field("stored", &self.stored)
            .field("epoch", &self.memory.epoch)
            .finish_non_exhaustive()
    }
}

/// How many messages of one upstream a writer reads before it offers them one by one, if so many
/// have come; see [`Engine::approach`].
pub const LOOK_AHEAD: usize = 32;

/// What a message says to the decider; see [`Engine::read`].
pub type Read<M> = Result<Option<InputOf<M>>, Unreadable>;
