//! identity-merge: whose event is it?
//!
//! | the event's identifiers lead to | what happens |
//! |---|---|
//! | nothing: it has none | recorded on the channel, no customer |
//! | nobody | a customer is created |
//! | one customer | new identifiers are attached |
//! | several | the event goes to the owner of the first identifier; merging is by command |
//!
//! Invariants: an identifier belongs to exactly one customer; a customer id once given stays
//! valid, as a customer or as an alias of one; the alias of an alias is never needed.

use std::time::Duration;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::identifier::Identifier;
use crate::person::{ChannelEvent, Sighting};
use crate::{At, ChannelId, CustomerId, Decider, Decision, EventId, Refusal, RefusalCode, Wakeup};

/// How long a delivery of an event is remembered, so that a later one leaves no second trace.
pub const SEEN_FOR: Duration = Duration::from_hours(3 * 24);

/// How many events are remembered at most; the oldest goes first.
pub const SEEN_AT_MOST: usize = 1_000_000;

/// How many identifiers one customer can have.
pub const IDENTIFIERS_AT_MOST: usize = 100;

/// The rules.
#[derive(Debug)]
pub struct Identity;

/// What identity-merge remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    customers: OrdMap<CustomerId, Customer>,
    owners: OrdMap<Identifier, CustomerId>,
    aliases: OrdMap<CustomerId, CustomerId>,
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

/// What identity-merge decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody new.
    Created {
        /// The new customer.
        customer: CustomerId,
        /// What told it apart.
        identifiers: Vec<Identifier>,
    },
    /// A customer is known by one identifier more.
    Attached {
        /// The customer.
        customer: CustomerId,
        /// The identifier.
        identifier: Identifier,
    },
    /// Two customers are one.
    Merged {
        /// The older of the two; keeps its id.
        survivor: CustomerId,
        /// From now on an alias of the survivor.
        absorbed: CustomerId,
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

    /// Has this event been taken already?
    #[must_use]
    pub fn has_seen(&self, channel: &ChannelId, event: &EventId) -> bool {
        self.seen.contains(&(channel.clone(), event.clone()))
    }

    fn known(&self, id: CustomerId) -> Result<Profile, Refusal> {
        self.customer(id).ok_or_else(|| Refusal::not_found("customer", id.as_str()))
    }

    fn survivor(one: Profile, other: Profile) -> (Profile, Profile) {
        if (one.customer.created_at, one.id) <= (other.customer.created_at, other.id) {
            (one, other)
        } else {
            (other, one)
        }
    }
}

impl Decider for Identity {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = Profile;

    fn decide(
        state: &State,
        _configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Decision<Event, Profile> {
        match input {
            Input::Inbound(event) => Decision::events(resolve(state, event)),
            Input::Attach { customer, identifier } => {
                attach(state, *customer, identifier).unwrap_or_else(Decision::refused)
            }
            Input::Merge { customer, other, validate_only } => {
                merge(state, *customer, *other, *validate_only, at)
                    .unwrap_or_else(Decision::refused)
            }
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => Decision::silent(),
        }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        match event {
            Event::Created { customer, identifiers } => {
                for identifier in identifiers {
                    state.owners.insert(identifier.clone(), *customer);
                }
                let created = Customer {
                    created_at: at,
                    identifiers: identifiers.iter().cloned().collect(),
                    aliases: OrdSet::new(),
                };
                state.customers.insert(*customer, created);
            }
            Event::Attached { customer, identifier } => {
                state.owners.insert(identifier.clone(), *customer);
                if let Some(customer) = state.customers.get_mut(customer) {
                    customer.identifiers.insert(identifier.clone());
                }
            }
            Event::Merged { survivor, absorbed } => {
                let Some(gone) = state.customers.remove(absorbed) else { return };
                for identifier in &gone.identifiers {
                    state.owners.insert(identifier.clone(), *survivor);
                }
                for alias in gone.aliases.iter().chain([absorbed]) {
                    state.aliases.insert(*alias, *survivor);
                }
                if let Some(customer) = state.customers.get_mut(survivor) {
                    customer.identifiers.extend(gone.identifiers);
                    customer.aliases.extend(gone.aliases);
                    customer.aliases.insert(*absorbed);
                }
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

fn resolve(state: &State, event: &ChannelEvent) -> Vec<Event> {
    if state.has_seen(&event.channel, &event.id) {
        return Vec::new();
    }
    let channel = |customer| Event::Channel {
        customer,
        channel: event.channel.clone(),
        event: event.id.clone(),
    };
    if event.sightings.is_empty() {
        return vec![channel(None)];
    }
    let owner = event.sightings.iter().find_map(|sighting| state.owner(&sighting.identifier));
    let Some(customer) = owner else {
        let customer = unused_id(state, event);
        let identifiers = distinct(&event.sightings).take(IDENTIFIERS_AT_MOST).cloned().collect();
        let created = Event::Created { customer, identifiers };
        return vec![created, channel(Some(customer))];
    };
    let room = IDENTIFIERS_AT_MOST.saturating_sub(
        state.customer(customer).map_or(0, |known| known.customer.identifiers.len()),
    );
    let mut events: Vec<_> = distinct(&event.sightings)
        .filter(|identifier| state.owner(identifier).is_none())
        .take(room)
        .map(|identifier| Event::Attached { customer, identifier: identifier.clone() })
        .collect();
    events.push(channel(Some(customer)));
    events
}

/// Each identifier once, in the order of the event.
fn distinct(sightings: &[Sighting]) -> impl Iterator<Item = &Identifier> {
    let mut seen = std::collections::BTreeSet::new();
    sightings.iter().map(|s| &s.identifier).filter(move |identifier| seen.insert(*identifier))
}

/// The id comes from the event that made the customer known. Where a source used an event id
/// twice, days apart and for two people, the second gets another one.
fn unused_id(state: &State, event: &ChannelEvent) -> CustomerId {
    let mut origin = format!("{}/{}", event.channel, event.id);
    loop {
        let id = CustomerId::derive(&origin);
        if !state.customers.contains_key(&id) && !state.aliases.contains_key(&id) {
            return id;
        }
        origin.push('+');
    }
}

fn attach(
    state: &State,
    customer: CustomerId,
    identifier: &Identifier,
) -> Result<Decision<Event, Profile>, Refusal> {
    let mut profile = state.known(customer)?;
    match state.owner(identifier) {
        Some(owner) if owner == profile.id => Ok(Decision::answered(Vec::new(), profile)),
        // The owner is not named: the caller may not be allowed to know of that customer.
        Some(_) => Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "IDENTIFIER_TAKEN",
            "the identifier belongs to another customer; merge the two if they are one person",
        )),
        None if profile.customer.identifiers.len() >= IDENTIFIERS_AT_MOST => Err(Refusal::new(
            RefusalCode::ResourceExhausted,
            "TOO_MANY_IDENTIFIERS",
            format!("a customer has at most {IDENTIFIERS_AT_MOST} identifiers"),
        )),
        None => {
            let event = Event::Attached { customer: profile.id, identifier: identifier.clone() };
            profile.customer.identifiers.insert(identifier.clone());
            Ok(Decision::answered(vec![event], profile))
        }
    }
}

fn merge(
    state: &State,
    customer: CustomerId,
    other: CustomerId,
    validate_only: bool,
    at: At,
) -> Result<Decision<Event, Profile>, Refusal> {
    let (one, other) = (state.known(customer)?, state.known(other)?);
    if one.id == other.id {
        return Ok(Decision::answered(Vec::new(), one));
    }
    let union = one.customer.identifiers.len() + other.customer.identifiers.len();
    if union > IDENTIFIERS_AT_MOST {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "TOO_MANY_IDENTIFIERS",
            format!(
                "together they have {union} identifiers; a customer has at most {IDENTIFIERS_AT_MOST}"
            ),
        ));
    }
    let (survivor, absorbed) = State::survivor(one, other);
    let event = Event::Merged { survivor: survivor.id, absorbed: absorbed.id };
    let mut merged = state.clone();
    Identity::evolve(&mut merged, &event, at);
    let profile = merged.customer(survivor.id).unwrap_or(survivor);
    let events = if validate_only { Vec::new() } else { vec![event] };
    Ok(Decision::answered(events, profile))
}
