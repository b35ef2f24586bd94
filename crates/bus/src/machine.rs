use std::borrow::Cow;

use bytes::Bytes;
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::{Decider, Refusal, RefusalCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::custody::{Chore, Counts, Keeper, Message};
use crate::record::{Record, Stored, Unreadable};

/// A stream that a decider reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The stream's name.
    pub stream: &'static str,
    /// Whether it is a ledger, whose records carry epochs and positions.
    pub ledger: bool,
}

/// A decider with its place on the bus: what it reads, how its events stand in its ledger, and
/// what its methods do.
pub trait Machine: Send + Sync + 'static {
    /// The rules.
    type Decider: Decider;

    /// The service's name, e.g. `identity-merge`.
    const SERVICE: &'static str;
    /// The stream that it alone writes.
    const LEDGER: &'static str;
    /// The streams that it reads.
    const UPSTREAMS: &'static [Upstream];
    /// Raised whenever a state cannot be read from an older snapshot any more; such a snapshot is
    /// passed over and the log is folded instead.
    const SNAPSHOT_VERSION: u32;
    /// The service's methods.
    const METHODS: &'static [Method];

    /// Reads a message of an upstream; `None` when it is nothing for this decider.
    ///
    /// # Errors
    /// [`Unreadable`] sends the message to the dead letters.
    fn input(upstream: &str, message: &Stored) -> Result<Option<InputOf<Self>>, Unreadable>;

    /// How an event stands in the ledger.
    fn encode(event: &EventOf<Self>, cause: Option<&Stored>) -> Draft;

    /// Reads back what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`Unreadable`] stops the reader: a ledger is written by nobody else.
    fn decode(message: &Stored) -> Result<EventOf<Self>, Unreadable>;

    /// The JSON body of the response that carries an answer.
    fn answer(answer: &<Self::Decider as Decider>::Answer) -> String;

    /// What a call of one of the service's methods asks for.
    ///
    /// `request_id` names the call: the client's, or one made for it. The role was checked; the
    /// scope is checked here, against the state.
    ///
    /// # Errors
    /// The refusal that the caller gets.
    fn call(
        state: &StateOf<Self>,
        method: &str,
        caller: &Caller,
        request_id: &str,
        body: &[u8],
    ) -> Result<Call<InputOf<Self>>, Refusal>;

    /// How much there is of what operators watch. Asked for several times a second.
    #[must_use]
    fn gauges(state: &StateOf<Self>) -> Vec<Gauge> {
        let _ = state;
        Vec::new()
    }

    /// The jobs that are open: what is to be moved or erased in the ledger. In a fixed order, each
    /// under a name of its own, from the record that opens it until the one that
    /// [`chore_done`](Self::chore_done) leads to. Asked for after every event, so it must cost no
    /// more than a look at how many there are.
    #[must_use]
    fn chores(state: &StateOf<Self>) -> Vec<Chore> {
        let _ = state;
        Vec::new()
    }

    /// Whose a record is, when its customer was split. Some time may have gone by since: the one it
    /// belongs to may have been forgotten, and then it is nobody's.
    #[must_use]
    fn keeper_of(state: &StateOf<Self>, message: &Stored) -> Keeper {
        let _ = (state, message);
        Keeper::Stays
    }

    /// What is left of a body without a message that was taken back; `None` when it does not hold it.
    /// Asked for records of the ledger and of upstreams, each as often as a job looks at it.
    #[must_use]
    fn without(message: &Message, record: &Record) -> Option<Bytes> {
        let _ = (message, record);
        None
    }

    /// Whether what an event says can be hidden: then no other record of its input carries it.
    #[must_use]
    fn stands_alone(event: &EventOf<Self>, cause: Option<&Stored>) -> bool {
        let _ = (event, cause);
        false
    }

    /// What a record that was moved under its owner, or hidden, says again. Its original was folded before, or
    /// never will be, because it is deleted; so what the event does must do nothing when it was
    /// done.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn moved(message: &Stored) -> Result<Option<EventOf<Self>>, Unreadable> {
        let _ = message;
        Ok(None)
    }

    /// The command that ends a job, whose last record is deleted; `counts` says how many were at
    /// each place.
    #[must_use]
    fn chore_done(job: &str, counts: Counts) -> Option<InputOf<Self>> {
        let _ = (job, counts);
        None
    }
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// The metric's name, e.g. `mainstem.identity.customers`.
    pub name: &'static str,
    /// How much.
    pub value: u64,
    /// A warning for operators whenever it rises.
    pub alert: Option<&'static str>,
}

/// The state of a machine's decider.
pub type StateOf<M> = <<M as Machine>::Decider as Decider>::State;
/// The input of a machine's decider.
pub type InputOf<M> = <<M as Machine>::Decider as Decider>::Input;
/// The event of a machine's decider.
pub type EventOf<M> = <<M as Machine>::Decider as Decider>::Event;

/// A method of a service. One use case with two faces: a gRPC method and a NATS endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The gRPC method, e.g. `AcceptCase`.
    pub name: &'static str,
    /// The NATS endpoint, e.g. `accept-case`.
    pub endpoint: &'static str,
    /// Who may call it.
    pub roles: &'static [Role],
}

/// Reads the JSON body of a request.
///
/// # Errors
/// `INVALID_ARGUMENT` that says where the body is wrong, and not what stands there.
pub fn read_request<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "has a field of the wrong type",
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => "is no JSON object",
        };
        Refusal::field(
            "body",
            format!("{what} at line {}, column {}", error.line(), error.column()),
        )
    })
}

/// Refuses a caller whose scope is not everything, for what has no store, queue or brand.
///
/// # Errors
/// `PERMISSION_DENIED` with the reason `OUT_OF_SCOPE`.
pub fn need_whole_scope(caller: &Caller) -> Result<(), Refusal> {
    if caller.scope.all {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::PermissionDenied,
        "OUT_OF_SCOPE",
        "this needs a caller whose scope is everything",
    ))
}

/// The refusal of a method that the service does not have.
#[must_use]
pub fn no_such_method(service: &str, method: &str) -> Refusal {
    Refusal::not_found("method", &format!("{service}.{method}"))
}

/// What a call asks for.
#[derive(Debug)]
pub enum Call<Input> {
    /// Only to look: the JSON body of the response.
    Read(String),
    /// The same, for whoever reads the ledger on from there: the answer is a [`Looked`].
    Look(String),
    /// To decide a command.
    Command(Input),
}

/// What was seen in the state, and up to which record of the ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct Looked<T> {
    /// Everything up to this sequence was taken in, and nothing after it.
    pub sequence: u64,
    /// What was seen.
    pub body: T,
}

/// The JSON of a [`Looked`] with this JSON body.
pub(crate) fn looked(sequence: u64, body: &str) -> String {
    format!("{{\"sequence\":{sequence},\"body\":{body}}}")
}

/// A record before the engine adds what it knows: id, times, epoch, positions, trace.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where it goes.
    pub subject: String,
    /// The event's name.
    pub kind: Cow<'static, str>,
    /// Its body.
    pub body: Bytes,
    /// More headers. One that the engine would set as well, such as the id of an event that is
    /// only passed on, wins over the engine's.
    pub headers: Vec<(&'static str, String)>,
}
