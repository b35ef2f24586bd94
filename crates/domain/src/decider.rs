use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::At;
use crate::configuration::Configuration;
use crate::refusal::Refusal;

/// A service's rules: a pure function from state, configuration, input and time to events, and
/// the fold of those events back into the state.
///
/// The state is nothing but the fold of the events: an input that decides no event changes
/// nothing. [`evolve`](Self::evolve) never fails and takes every event that was ever decided.
pub trait Decider: Send + Sync + 'static {
    /// Everything that is remembered between inputs. Cloning must be cheap (persistent maps): a
    /// snapshot is a clone taken while the writer goes on.
    type State: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What can happen from outside: a message of an upstream stream, a command, a [`Wakeup`].
    type Input: From<Wakeup> + Send + 'static;
    /// What was decided, as it will stand in the ledger.
    type Event;
    /// What a command is answered with when it is not refused.
    type Answer;

    /// Decides one input.
    fn decide(
        state: &Self::State,
        configuration: &Configuration,
        input: &Self::Input,
        at: At,
    ) -> Decision<Self::Event, Self::Answer>;

    /// Reads what deciding these inputs will read, and decides nothing: so a state that is larger
    /// than the processor's caches waits for memory once for all of them, rather than for each.
    fn approach<'a>(_state: &Self::State, _inputs: impl Iterator<Item = &'a Self::Input>) {}

    /// Takes one event into the state.
    fn evolve(state: &mut Self::State, event: &Self::Event, at: At);

    /// The earliest deadline in the state, if any. When it has come, the decider gets
    /// [`Wakeup::Due`], and must answer with events that move the deadline.
    fn due(state: &Self::State) -> Option<At>;
}

/// Inputs that come from the engine itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// The earliest deadline has come.
    Due,
    /// Another configuration is in force from this input on.
    Configured,
}

/// What an input led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<Event, Answer> {
    /// In the order in which they happen.
    pub events: Vec<Event>,
    /// For a command; `None` for every other input.
    pub answer: Option<Result<Answer, Refusal>>,
}

impl<Event, Answer> Decision<Event, Answer> {
    /// Nothing happened.
    #[must_use]
    pub fn silent() -> Self {
        Self { events: Vec::new(), answer: None }
    }

    /// These events, for an input that expects no answer.
    #[must_use]
    pub fn events(events: Vec<Event>) -> Self {
        Self { events, answer: None }
    }

    /// These events, and this answer to a command.
    #[must_use]
    pub fn answered(events: Vec<Event>, answer: Answer) -> Self {
        Self { events, answer: Some(Ok(answer)) }
    }

    /// A command is refused; nothing happened.
    #[must_use]
    pub fn refused(refusal: Refusal) -> Self {
        Self { events: Vec::new(), answer: Some(Err(refusal)) }
    }
}
