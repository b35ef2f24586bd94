//! identity-merge: whose event is it?
//!
//! | the event's identifiers lead to | what happens | the event itself goes to |
//! |---|---|---|
//! | nothing: it has none, or only blocked ones | recorded on the channel | nobody |
//! | nobody | a customer is created, with all of them | the new customer |
//! | one customer | what is new is attached | that customer |
//! | several, verified, their union within the limits, none cut off another | merge; the oldest survives; what is new is attached | the survivor |
//! | one or several, but a limit or a cut forbids it | the lowest-ranked identifier of the event is set aside, and the table is read again; a `conflict` is recorded | whoever the rest leads to |
//! | several, joined only by asserted identifiers | no merge; a `suggestion` is recorded; what is new is attached | see below |
//! | an identifier of a hub, or a disputed one | it counts as not there | whoever the rest leads to |
//!
//! | kind | rank | limit for each customer |
//! |---|---|---|
//! | member | 1 | 1 |
//! | phone | 2 | 5 |
//! | email | 3 | 5 |
//! | line | 4 | 100 |
//! | external | 5 | 50 |
//! | cookie | 6 | 100 |
//!
//! The limits are defaults of the configuration ([`Rules`]); one with a window counts what a
//! customer got within it.
//!
//! **Verified evidence.** Customers are merged only where, for each of them, at least one verified
//! identifier of this very event leads there. What was verified earlier does not count: that two
//! things belong together must be said by whoever owns both, at once.
//!
//! **The order of an event's identifiers** is: verified before asserted, then by rank, then as they
//! stand in the event. The last one is set aside first. So whoever only asserts something can
//! neither push a verified identifier out nor draw somebody's event to another customer. Among
//! identifiers of one standing the rule is the rank alone: a new member id with a known e-mail
//! makes a new customer.
//!
//! **Some verified, some asserted.** Customers that verified identifiers lead to are merged. One
//! that only asserted identifiers lead to stays apart, and is suggested. Where the two could never
//! be merged, because a limit or a cut forbids it, there is nothing to suggest: its identifiers are
//! set aside, and the conflict names it.
//!
//! **Where an event goes when nothing is verified**: to the owner of its first identifier in that
//! order. It is never shown under two people, a person is told by the suggestion, and a merge
//! brings together what belongs together.
//!
//! **Evidence is what is true, customers follow from it.** Each event leaves a tie between its
//! strongest identifier and each other that it carried for the same customer, unless there is one;
//! a person who attaches or merges leaves one too. A customer is what ties connect. A **split**
//! takes the ties between two sides away, and cuts each piece of the one side off each of the other,
//! tied or not: two customers with identifiers on both sides of one cut are not tied by events
//! again, only by a person. Whatever is still connected is a piece; it gets the id back that the
//! oldest customer which began with one of its identifiers had, or a new one. All pieces are then
//! restated whole, so that older records can go: see [`Event::Split`].
//!
//! **A hub** is an identifier that events of more than 8 distinct customers carried within 30 days;
//! whoever has it counts as one of them. Who carried it is counted anew once whoever has it is taken
//! apart or erased. **A dispute** arises where a phone or an e-mail that was verified for a member is
//! now verified for another, and the limit on members keeps the two apart.
//! Both are taken from whoever has them, and tie nobody until a person decides; whoever had them
//! still refuses what was refused by them, and stays cut off what they were cut off.
//!
//! **Consent.** An answer stands on every identifier that the customer has when it is given, so it
//! stays with every piece after a split; of two customers who become one, the stricter counts, until
//! a later grant. An answer that is not later than all that the customer ever answered changes
//! nothing, so that what comes again after a merge lifts no refusal.
//!
//! **A message that was taken back** stands in the records of whoever took it back. [`Event::Unsent`]
//! says so, and [`Event::Hidden`] that none holds it any more. One that comes when it was taken back
//! already, or comes again, is taken back at once; for [`SEEN_FOR`].
//!
//! Invariants: an identifier belongs to exactly one customer, unless it is a hub or disputed, and is
//! never lost but by erasure or when a person releases it to nobody; a customer id once given stays
//! valid, as a customer or as an alias of one, until it is erased; the alias of an alias is never
//! needed; one event leads to less than 1,000 records, which is one atomic batch of the broker: what
//! waits is said again after a split as far as it fits, the newest first, and a hub whose owner would
//! fall into more pieces than fit is found by the next event that carries it.
//!
//! Deliberately absent: normalisation, which is done where an event is read.

mod about;
mod approach;
mod command;
mod doubt;
mod entry;
mod event;
mod evolve;
mod facts;
mod graph;
mod index;
mod likeness;
mod mentioned;
mod pack;
mod pages;
mod parts;
mod resolve;
mod review;
mod rules;
mod saved;
mod seen;
mod similarity;
mod split;
mod state;
mod ties;

use std::collections::{BTreeMap, BTreeSet};

use crate::configuration::Configuration;
use crate::identifier::Identifier;
use crate::person::ChannelEvent;
use crate::{
    At, CaseId, CustomerId, Decider, Decision, DisputeId, ErasureId, SplitId, SuggestionId,
    UnsendId, Wakeup,
};

pub use event::{Alias, Event, Evidence, Restated, Source};
pub use facts::{Fact, Facts, Told};
pub use graph::{Cuts, Kept};
pub use review::{CONFLICTS_AT_MOST, Conflict, Dispute, Hub, Suggestion};
pub use rules::{HubRule, Limit, Limits, Rules, Window};
pub use seen::{SEEN_AT_MOST, SEEN_FOR};
pub use similarity::{
    BirthDateWeights, Bits, CityWeights, EmailWeights, FamilyNameWeights, Field, FieldScore,
    GivenNameWeights, Level, NameWeights, PhoneWeights, Score, Traits, Weight, Weights, blocks,
    compare,
};
pub use state::{Erasure, Known, Profile, Splitting, State, Token, Unsend};
pub use ties::Tie;

/// How many identifiers of one event count; the strongest do.
pub const IDENTIFIERS_AT_MOST: usize = 100;

/// How many customers one event can suggest. Identifiers that lead to more are set aside.
pub const SUGGESTIONS_AT_MOST: usize = 20;

/// How many identifiers, and how many customers, one conflict lists.
pub const LISTED_AT_MOST: usize = 100;

/// The service that decides all this, as it reports an erasure.
pub const SERVICE: &str = "identity-merge";

/// The rules.
#[derive(Debug)]
pub struct Identity;

/// What can happen to identity-merge.
#[derive(Clone, Debug)]
pub enum Input {
    /// An event came in.
    Inbound {
        /// The event.
        event: ChannelEvent,
        /// A [`Token`] for each of its sightings, or none at all where no key is known.
        tokens: Vec<Token>,
    },
    /// Attach an identifier to a customer.
    Attach {
        /// The customer, or an alias of it.
        customer: CustomerId,
        /// The identifier.
        identifier: Identifier,
    },
    /// Make two customers one. It lifts a cut between them.
    Merge {
        /// The one.
        customer: CustomerId,
        /// The other.
        other: CustomerId,
        /// Decide and answer, but change nothing.
        validate_only: bool,
    },
    /// Take a customer apart.
    Split {
        /// The customer, or an alias of it.
        customer: CustomerId,
        /// What belongs to somebody else.
        identifiers: BTreeSet<Identifier>,
        /// Tells this command from all others.
        origin: String,
        /// Decide and answer, but change nothing.
        validate_only: bool,
    },
    /// Make the two customers of a suggestion one.
    AcceptSuggestion(SuggestionId),
    /// The two customers of a suggestion are two people; it is not made again.
    RejectSuggestion(SuggestionId),
    /// An identifier is no hub any more; the next event that carries it may attach it.
    ReleaseHub(Identifier),
    /// An identifier belongs to one of those who claim it, or to nobody.
    SettleDispute {
        /// The dispute.
        dispute: DisputeId,
        /// One of the claimants; none: the next event that carries it may attach it.
        customer: Option<CustomerId>,
    },
    /// Forget a customer.
    Erase {
        /// The customer, or an alias of it.
        customer: CustomerId,
        /// Also while cases are open.
        force: bool,
        /// The customer's open cases, as routing knows them.
        open_cases: Vec<CaseId>,
        /// A [`Token`] for each identifier of the customer that one is known for.
        tokens: BTreeMap<Identifier, Token>,
        /// Tells this command from all others.
        origin: String,
    },
    /// A service has taken an erased customer out of all its places.
    ReportErasure {
        /// The erasure.
        erasure: ErasureId,
        /// The service.
        service: String,
        /// How much was taken out of each place.
        counts: BTreeMap<String, u64>,
    },
    /// The records of a split all stand under their owners.
    Moved {
        /// The split.
        split: SplitId,
        /// How many were moved, and how many were deleted.
        counts: BTreeMap<String, u64>,
    },
    /// No record holds a message any more that was taken back.
    Hidden {
        /// What took it back.
        unsend: UnsendId,
        /// How many were replaced or deleted at each place.
        counts: BTreeMap<String, u64>,
    },
    /// The engine's own.
    Wakeup(Wakeup),
}

impl From<Wakeup> for Input {
    fn from(wakeup: Wakeup) -> Self {
        Self::Wakeup(wakeup)
    }
}

/// What a command is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The customer as it is then.
    Customer(Profile),
    /// The pieces of a customer, as they are then.
    Pieces(Vec<Profile>),
    /// An erasure has begun.
    Erasure(ErasureId),
    /// Nothing to tell.
    Done,
}

impl Decider for Identity {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = Answer;

    fn decide(
        state: &State,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Decision<Event, Answer> {
        let rules = &configuration.identity;
        let decided = match input {
            Input::Inbound { event, tokens } => {
                return Decision::events(resolve::resolve(state, rules, event, tokens, at));
            }
            Input::Attach { customer, identifier } => {
                command::attach(state, rules, *customer, identifier, at)
            }
            Input::Merge { customer, other, validate_only } => {
                command::merge(state, &rules.limits, (*customer, *other), *validate_only, at)
            }
            Input::Split { customer, identifiers, origin, validate_only } => {
                split::split(state, *customer, identifiers, origin, *validate_only, at)
            }
            Input::AcceptSuggestion(id) => command::accept(state, &rules.limits, *id, at),
            Input::RejectSuggestion(id) => command::reject(state, *id),
            Input::ReleaseHub(identifier) => command::release(state, identifier),
            Input::SettleDispute { dispute, customer } => {
                command::settle(state, rules, *dispute, *customer, at)
            }
            Input::Erase { customer, force, open_cases, tokens, origin } => {
                command::erase(state, *customer, *force, open_cases, tokens, origin)
            }
            Input::ReportErasure { erasure, service, counts } => {
                command::report_erasure(state, *erasure, service, counts)
            }
            Input::Moved { split, counts } => return command::moved(state, *split, counts),
            Input::Hidden { unsend, counts } => return command::hidden(state, *unsend, counts),
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => return Decision::silent(),
        };
        decided.unwrap_or_else(Decision::refused)
    }

    fn approach<'a>(state: &State, inputs: impl Iterator<Item = &'a Input>) {
        let events = inputs.filter_map(|input| {
            let Input::Inbound { event, .. } = input else { return None };
            Some(event)
        });
        approach::approach(state, events);
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        state.take(event, at);
    }

    fn due(_state: &State) -> Option<At> {
        None
    }
}
