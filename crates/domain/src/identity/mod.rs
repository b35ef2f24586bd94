//! identity-merge: whose event is it?
//!
//! | the event's identifiers lead to | what happens | the event itself goes to |
//! |---|---|---|
//! | nothing: it has none, or only blocked ones | recorded on the channel | nobody |
//! | nobody | a customer is created, with all of them | the new customer |
//! | one customer | what is new is attached | that customer |
//! | several, verified, their union within the limits | merge; the oldest survives; what is new is attached | the survivor |
//! | one or several, but a limit forbids it | the lowest-ranked identifier of the event is set aside, and the table is read again; a `conflict` is recorded | whoever the rest leads to |
//! | several, joined only by asserted identifiers | no merge; a `suggestion` is recorded; what is new is attached | see below |
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
//! The limits are defaults of the configuration ([`Rules`]).
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
//! be merged, because a limit forbids it, there is nothing to suggest: its identifiers are set
//! aside, and the conflict names it.
//!
//! **Where an event goes when nothing is verified**: to the owner of its first identifier in that
//! order. It is never shown under two people, a person is told by the suggestion, and a merge
//! brings together what belongs together.
//!
//! Invariants: an identifier belongs to exactly one customer and is never lost; a customer id once
//! given stays valid, as a customer or as an alias of one; the alias of an alias is never needed;
//! one event leads to less than 1,000 records, which is one atomic batch of the broker.
//!
//! Deliberately absent: normalisation (whoever writes an event writes identifiers as they are to
//! be compared), split and cannot-link, hubs, disputes, and limits with a window.

mod command;
mod resolve;
mod review;
mod rules;

use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::identifier::{Identifier, Kind};
use crate::person::{ChannelEvent, Sighting};
use crate::{
    At, ChannelId, ConflictId, CustomerId, Decider, Decision, EventId, Refusal, SuggestionId,
    Wakeup,
};

use review::Review;
pub use review::{CONFLICTS_AT_MOST, Conflict, Suggestion};
pub use rules::{Limit, Limits, Rules};

/// How long a delivery of an event is remembered, so that a later one leaves no second trace.
pub const SEEN_FOR: Duration = Duration::from_hours(3 * 24);

/// How many events are remembered at most; the oldest goes first.
pub const SEEN_AT_MOST: usize = 1_000_000;

/// How many customers one event can suggest. Identifiers that lead to more are set aside.
pub const SUGGESTIONS_AT_MOST: usize = 20;

/// How many identifiers, and how many customers, one conflict lists.
pub const LISTED_AT_MOST: usize = 100;

/// The rules.
#[derive(Debug)]
pub struct Identity;

/// What identity-merge remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    customers: OrdMap<CustomerId, Customer>,
    owners: OrdMap<Identifier, CustomerId>,
    aliases: OrdMap<CustomerId, CustomerId>,
    review: Review,
    seen: OrdSet<(ChannelId, EventId)>,
    seen_order: Vector<(At, ChannelId, EventId)>,
}

/// One membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// When the customer was first seen.
    pub created_at: At,
    /// Everything that tells this customer from others.
    pub identifiers: OrdSet<Identifier>,
    /// Ids that customers absorbed by this one had.
    pub aliases: OrdSet<CustomerId>,
}

/// Why something was decided: an event, and those of its identifiers that led to it. Never an
/// identifier that the event did not carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where the event came in.
    pub channel: ChannelId,
    /// The source's id of it.
    pub event: EventId,
    /// What led there.
    pub by: Vec<Sighting>,
}

/// What can happen to identity-merge.
#[derive(Clone, Debug)]
pub enum Input {
    /// An event came in.
    Inbound(ChannelEvent),
    /// Attach an identifier to a customer.
    Attach {
        /// The customer, or an alias of it.
        customer: CustomerId,
        /// The identifier.
        identifier: Identifier,
    },
    /// Make two customers one.
    Merge {
        /// The one.
        customer: CustomerId,
        /// The other.
        other: CustomerId,
        /// Decide and answer, but change nothing.
        validate_only: bool,
    },
    /// The engine's own.
    Wakeup(Wakeup),
}

impl From<Wakeup> for Input {
    fn from(wakeup: Wakeup) -> Self {
        Self::Wakeup(wakeup)
    }
}

/// What identity-merge decides. Evidence is absent where a command decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody new.
    Created {
        /// The new customer.
        customer: CustomerId,
        /// What told it apart, all of one event.
        sightings: Vec<Sighting>,
        /// The event; `by` is empty, as nothing led there.
        evidence: Option<Evidence>,
    },
    /// A customer is known by one identifier more.
    Attached {
        /// The customer.
        customer: CustomerId,
        /// The identifier; asserted, where a command attached it.
        sighting: Sighting,
        /// The strongest identifier that led to the customer.
        evidence: Option<Evidence>,
    },
    /// Two customers are one.
    Merged {
        /// The older of the two; keeps its id.
        survivor: CustomerId,
        /// From now on an alias of the survivor.
        absorbed: CustomerId,
        /// The strongest verified identifier that led to the survivor, and to the absorbed.
        evidence: Option<Evidence>,
    },
    /// Two customers may be one person.
    Suggested {
        /// The new suggestion.
        id: SuggestionId,
        /// Whose the event is.
        customer: CustomerId,
        /// Who may be the same person.
        other: CustomerId,
        /// The strongest identifier that led to `customer`, then those that led to `other`, no
        /// more than [`LISTED_AT_MOST`] together.
        evidence: Evidence,
    },
    /// Something was set aside; see [`Conflict`].
    Conflicted {
        /// The new conflict.
        id: ConflictId,
        /// Whose the event is.
        customer: CustomerId,
        /// Who has what was set aside.
        others: Vec<CustomerId>,
        /// What was set aside.
        set_aside: Vec<Sighting>,
        /// How many more were.
        unlisted: u32,
        /// Of what there would have been too many.
        kinds: Vec<Kind>,
        /// The strongest identifier that was not set aside.
        evidence: Evidence,
    },
    /// A channel event was told to belong to a customer, or to nobody. Its body is the inbound
    /// event's, unchanged.
    Channel {
        /// Whose it is.
        customer: Option<CustomerId>,
        /// Where it came in.
        channel: ChannelId,
        /// The source's id of it.
        event: EventId,
    },
}

/// A customer as commands are answered and reads are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The id; never an alias.
    pub id: CustomerId,
    /// The rest.
    pub customer: Customer,
}

impl State {
    /// The id that a customer has now: itself, or the one that absorbed it.
    #[must_use]
    pub fn current(&self, id: CustomerId) -> CustomerId {
        self.aliases.get(&id).copied().unwrap_or(id)
    }

    /// A customer by its id or an alias.
    #[must_use]
    pub fn customer(&self, id: CustomerId) -> Option<Profile> {
        let id = self.current(id);
        self.customers.get(&id).map(|customer| Profile { id, customer: customer.clone() })
    }

    /// The customer that an identifier belongs to.
    #[must_use]
    pub fn owner(&self, identifier: &Identifier) -> Option<CustomerId> {
        self.owners.get(identifier).copied()
    }

    /// Customers now, not counting aliases.
    #[must_use]
    pub fn customers(&self) -> usize {
        self.customers.len()
    }

    /// Customers in the order of their ids, from the one after `after` on.
    pub fn customers_after(
        &self,
        after: Option<CustomerId>,
    ) -> impl Iterator<Item = (&CustomerId, &Customer)> {
        self.customers.range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    /// A suggestion that stands.
    #[must_use]
    pub fn suggestion(&self, id: SuggestionId) -> Option<&Suggestion> {
        self.review.suggestion(id)
    }

    /// Suggestions that stand, in the order of their ids, from the one after `after` on.
    pub fn suggestions_after(
        &self,
        after: Option<SuggestionId>,
    ) -> impl Iterator<Item = (&SuggestionId, &Suggestion)> {
        self.review.suggestions_after(after)
    }

    /// Conflicts in the order of their ids, from the one after `after` on. Customers in them may
    /// have been absorbed since: see [`current`](Self::current).
    pub fn conflicts_after(
        &self,
        after: Option<ConflictId>,
    ) -> impl Iterator<Item = (&ConflictId, &Conflict)> {
        self.review.conflicts_after(after)
    }

    /// Has this event been taken already?
    #[must_use]
    pub fn has_seen(&self, channel: &ChannelId, event: &EventId) -> bool {
        self.seen.contains(&(channel.clone(), event.clone()))
    }

    fn known(&self, id: CustomerId) -> Result<Profile, Refusal> {
        self.customer(id).ok_or_else(|| Refusal::not_found("customer", id.as_str()))
    }

    /// Less is older. Two of the same moment go by their ids, so that every run says the same.
    fn age(&self, id: CustomerId) -> (Option<At>, CustomerId) {
        (self.customers.get(&id).map(|customer| customer.created_at), id)
    }
}

impl Decider for Identity {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = Profile;

    fn decide(
        state: &State,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Decision<Event, Profile> {
        let rules = &configuration.identity;
        match input {
            Input::Inbound(event) => Decision::events(resolve::resolve(state, rules, event)),
            Input::Attach { customer, identifier } => {
                command::attach(state, rules, *customer, identifier)
                    .unwrap_or_else(Decision::refused)
            }
            Input::Merge { customer, other, validate_only } => {
                command::merge(state, &rules.limits, (*customer, *other), *validate_only, at)
                    .unwrap_or_else(Decision::refused)
            }
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => Decision::silent(),
        }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        match event {
            Event::Created { customer, sightings, .. } => {
                let identifiers = sightings.iter().map(|sighting| sighting.identifier.clone());
                let created = Customer {
                    created_at: at,
                    identifiers: identifiers.collect(),
                    aliases: OrdSet::new(),
                };
                for identifier in &created.identifiers {
                    state.owners.insert(identifier.clone(), *customer);
                }
                state.customers.insert(*customer, created);
            }
            Event::Attached { customer, sighting, .. } => {
                state.owners.insert(sighting.identifier.clone(), *customer);
                if let Some(customer) = state.customers.get_mut(customer) {
                    customer.identifiers.insert(sighting.identifier.clone());
                }
            }
            Event::Merged { survivor, absorbed, .. } => merged(state, *survivor, *absorbed),
            Event::Suggested { id, customer, other, evidence } => {
                let suggestion = Suggestion {
                    customer: *customer,
                    other: *other,
                    suggested_at: at,
                    evidence: evidence.clone(),
                };
                state.review.suggest(*id, suggestion);
            }
            Event::Conflicted { id, customer, others, set_aside, unlisted, kinds, evidence } => {
                let conflict = Conflict {
                    customer: *customer,
                    others: others.clone(),
                    set_aside: set_aside.clone(),
                    unlisted: *unlisted,
                    kinds: kinds.clone(),
                    recorded_at: at,
                    evidence: evidence.clone(),
                };
                state.review.conflict_recorded(*id, conflict);
            }
            Event::Channel { channel, event, .. } => {
                state.seen.insert((channel.clone(), event.clone()));
                state.seen_order.push_back((at, channel.clone(), event.clone()));
                while state.seen_order.len() > SEEN_AT_MOST
                    || state.seen_order.front().is_some_and(|(seen, ..)| at.since(*seen) > SEEN_FOR)
                {
                    let Some((_, channel, event)) = state.seen_order.pop_front() else { break };
                    state.seen.remove(&(channel, event));
                }
            }
        }
    }

    fn due(_state: &State) -> Option<At> {
        None
    }
}

fn merged(state: &mut State, survivor: CustomerId, absorbed: CustomerId) {
    let Some(gone) = state.customers.remove(&absorbed) else { return };
    for identifier in &gone.identifiers {
        state.owners.insert(identifier.clone(), survivor);
    }
    for alias in gone.aliases.iter().chain([&absorbed]) {
        state.aliases.insert(*alias, survivor);
    }
    if let Some(customer) = state.customers.get_mut(&survivor) {
        customer.identifiers.extend(gone.identifiers);
        customer.aliases.extend(gone.aliases);
        customer.aliases.insert(absorbed);
    }
    state.review.merged(survivor, absorbed);
}
