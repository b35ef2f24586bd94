//! notification: what a person is sent, at most once.
//!
//! | a request | with a fresh reply right | without, address known | without, address unknown |
//! |---|---|---|---|
//! | becomes | a reply item | a push item | failed: no address |
//!
//! An item is one call to a vendor's sending API. It is settled once; whoever settles it again is
//! told how it was settled. A reply that a sender is about to make is written down before it is made:
//! the vendor has no key that makes a reply safe to repeat, and no count of the broker's survives its
//! crash.
//!
//! Invariants: one request gives at most one item; an item is settled at most once; a reply right
//! is used by at most one item, because each request carries its own.

use std::time::Duration;

use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};

use crate::configuration::{Configuration, MESSAGES_AT_MOST, Mode, TEXT_AT_MOST};
use crate::person::Address;
use crate::routing::MessageRequest;
use crate::{At, ChannelId, CustomerId, Decider, Decision, ItemId, Refusal, RefusalCode, Wakeup};

/// A reply right older than this, counted from when ingress took the delivery, is not used: LINE
/// takes it for about a minute, and the call needs some of that.
pub const REPLY_WITHIN: Duration = Duration::from_secs(50);

/// A settled item is remembered for this long after its end: longer than LINE remembers a retry
/// key (24 h) and than a sender may try (23 h). Its records stay in the ledger.
pub const SETTLED_FOR: Duration = Duration::from_hours(72);

/// The rules.
#[derive(Debug)]
pub struct Notification;

/// What notification remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    addresses: OrdMap<CustomerId, OrdMap<ChannelId, String>>,
    /// Customers whose addresses moved, and the survivor that has them now: a request that was
    /// decided before the merge may come after it.
    aliases: OrdMap<CustomerId, CustomerId>,
    items: OrdMap<ItemId, Item>,
    /// Settled items, by the moment of their end.
    settled: Vector<(At, ItemId)>,
}

/// One call to a vendor's sending API, with everything it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Whom it tells.
    pub customer: CustomerId,
    /// Where.
    pub address: Address,
    /// How.
    pub way: Way,
    /// What it says, one message each; at most 5.
    pub texts: Vec<String>,
    /// When it was decided.
    pub asked_at: At,
    /// The attempts to reply that senders began, oldest first, until it has ended.
    pub attempts: Vec<String>,
    /// How it ended, when it has.
    pub outcome: Option<Outcome>,
}

/// How an item goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// As the answer to an event, by its token; free of charge.
    Reply {
        /// LINE's reply token.
        token: String,
    },
    /// On our own account.
    Push,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The vendor took it.
    Sent,
    /// The vendor will never take it, or nobody knows whether it did and asking again could tell
    /// a person twice.
    Failed {
        /// Why, without personal data.
        reason: String,
    },
}

/// What can happen to notification.
#[derive(Clone, Debug)]
pub enum Input {
    /// A customer was seen at an address.
    Seen {
        /// The customer.
        customer: CustomerId,
        /// The address.
        address: Address,
    },
    /// Two customers are one.
    Merged {
        /// Keeps its id.
        survivor: CustomerId,
        /// An alias from now on.
        absorbed: CustomerId,
    },
    /// Routing wants a customer told something.
    Requested {
        /// What tells this request from all others: the id of routing's record.
        id: String,
        /// The request.
        request: MessageRequest,
    },
    /// A caller wants a customer told something.
    Send {
        /// What tells this request from all others.
        id: String,
        /// The customer.
        customer: CustomerId,
        /// Where.
        channel: ChannelId,
        /// What.
        text: String,
    },
    /// A sender is about to make the call of an item.
    Begin {
        /// The item.
        item: ItemId,
        /// What tells this attempt from all others.
        attempt: String,
    },
    /// A sender says how an item ended.
    Record {
        /// The item.
        item: ItemId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The engine's own.
    Wakeup(Wakeup),
}

impl From<Wakeup> for Input {
    fn from(wakeup: Wakeup) -> Self {
        Self::Wakeup(wakeup)
    }
}

/// What notification decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A customer can be reached there.
    AddressLearned {
        /// The customer.
        customer: CustomerId,
        /// The address.
        address: Address,
    },
    /// A customer's addresses belong to another one now.
    AddressesMoved {
        /// The customer that was absorbed.
        from: CustomerId,
        /// The survivor.
        to: CustomerId,
    },
    /// An item is on its way to the sender; the broker copies it to the outbox.
    Queued {
        /// The item.
        id: ItemId,
        /// All of it.
        item: Item,
    },
    /// A request ended without an item: nothing is to be said there now.
    Suppressed {
        /// The item that it would have been.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// Where.
        channel: ChannelId,
        /// Why.
        reason: String,
    },
    /// A request ended without an item.
    Failed {
        /// The item that it would have been.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// Where.
        channel: ChannelId,
        /// Why.
        reason: String,
    },
    /// A sender is about to reply. A push is not written down: its retry key makes it safe.
    Begun {
        /// The item.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// What tells this attempt from all others.
        attempt: String,
    },
    /// An item ended.
    Settled {
        /// The item.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// How.
        outcome: Outcome,
    },
}

/// An item with its id, as commands are answered and reads are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The id.
    pub id: ItemId,
    /// The rest.
    pub item: Item,
}

impl State {
    /// An item by its id.
    #[must_use]
    pub fn delivery(&self, id: ItemId) -> Option<Delivery> {
        self.items.get(&id).map(|item| Delivery { id, item: item.clone() })
    }

    /// Items asked for and how many of them are still waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.items.values().filter(|item| item.outcome.is_none()).count()
    }

    fn current(&self, customer: CustomerId) -> CustomerId {
        self.aliases.get(&customer).copied().unwrap_or(customer)
    }

    fn address(&self, customer: CustomerId, channel: &ChannelId) -> Option<Address> {
        let user = self.addresses.get(&self.current(customer))?.get(channel)?;
        Some(Address { channel: channel.clone(), user: user.clone() })
    }
}

impl Decider for Notification {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = Delivery;

    fn decide(
        state: &State,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Decision<Event, Delivery> {
        match input {
            Input::Seen { customer, address } => {
                let known = state.address(*customer, &address.channel).as_ref() == Some(address);
                let learned =
                    Event::AddressLearned { customer: *customer, address: address.clone() };
                Decision::events((!known).then_some(learned).into_iter().collect())
            }
            Input::Merged { survivor, absorbed } => {
                let knows = state.addresses.contains_key(absorbed);
                let moved = Event::AddressesMoved { from: *absorbed, to: *survivor };
                Decision::events(knows.then_some(moved).into_iter().collect())
            }
            Input::Requested { id, request } => {
                let known = state.items.contains_key(&ItemId::derive(id));
                let decided = (!known).then(|| request_item(state, configuration, id, request, at));
                Decision::events(decided.into_iter().collect())
            }
            Input::Send { id, customer, channel, text } => {
                let mode = configuration.mode(channel);
                send(state, id, *customer, channel, text, mode, at)
                    .unwrap_or_else(Decision::refused)
            }
            Input::Begin { item, attempt } => {
                begin(state, *item, attempt).unwrap_or_else(Decision::refused)
            }
            Input::Record { item, outcome } => {
                record(state, *item, outcome).unwrap_or_else(Decision::refused)
            }
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => Decision::silent(),
        }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        match event {
            Event::AddressLearned { customer, address } => {
                state
                    .addresses
                    .entry(state.aliases.get(customer).copied().unwrap_or(*customer))
                    .or_default()
                    .insert(address.channel.clone(), address.user.clone());
            }
            Event::AddressesMoved { from, to } => {
                let moved = state.addresses.remove(from).unwrap_or_default();
                let kept = state.addresses.entry(*to).or_default();
                for (channel, user) in moved {
                    kept.entry(channel).or_insert(user);
                }
                let earlier: Vec<_> = state
                    .aliases
                    .iter()
                    .filter(|(_, survivor)| *survivor == from)
                    .map(|(alias, _)| *alias)
                    .collect();
                for alias in earlier.into_iter().chain([*from]) {
                    state.aliases.insert(alias, *to);
                }
            }
            Event::Queued { id, item } => {
                state.items.insert(*id, item.clone());
            }
            Event::Begun { id, attempt, .. } => {
                if let Some(item) = state.items.get_mut(id) {
                    item.attempts.push(attempt.clone());
                }
            }
            Event::Settled { id, outcome, .. } => {
                if let Some(item) = state.items.get_mut(id) {
                    item.attempts = Vec::new();
                    item.outcome = Some(outcome.clone());
                    state.settled.push_back((at, *id));
                }
                while state.settled.front().is_some_and(|(since, _)| at.since(*since) > SETTLED_FOR)
                {
                    let Some((_, old)) = state.settled.pop_front() else { break };
                    state.items.remove(&old);
                }
            }
            Event::Suppressed { .. } | Event::Failed { .. } => {}
        }
    }

    fn due(_state: &State) -> Option<At> {
        None
    }
}

fn request_item(
    state: &State,
    configuration: &Configuration,
    id: &str,
    request: &MessageRequest,
    at: At,
) -> Event {
    let id = ItemId::derive(id);
    let failed = |reason: &str| Event::Failed {
        id,
        customer: request.customer,
        channel: request.channel.clone(),
        reason: reason.to_owned(),
    };
    if request.mode == Mode::Shadow {
        return Event::Suppressed {
            id,
            customer: request.customer,
            channel: request.channel.clone(),
            reason: "the channel is in shadow".to_owned(),
        };
    }
    let case = request.case.map(|case| case.to_string()).unwrap_or_default();
    let texts = request.templates.iter().take(MESSAGES_AT_MOST);
    let texts: Option<Vec<_>> =
        texts.map(|name| configuration.text(name, request.brand.as_ref(), &case)).collect();
    let Some(texts) = texts.filter(|texts| !texts.is_empty()) else {
        return failed("no such template");
    };
    let Some(address) = state.address(request.customer, &request.channel) else {
        return failed("no address");
    };
    let way = match &request.reply {
        Some(right) if at.since(right.received_at) < REPLY_WITHIN => {
            Way::Reply { token: right.token.clone() }
        }
        _ => Way::Push,
    };
    let customer = state.current(request.customer);
    let (attempts, outcome) = (Vec::new(), None);
    Event::Queued {
        id,
        item: Item { customer, address, way, texts, asked_at: at, attempts, outcome },
    }
}

fn send(
    state: &State,
    id: &str,
    customer: CustomerId,
    channel: &ChannelId,
    text: &str,
    mode: Mode,
    at: At,
) -> Result<Decision<Event, Delivery>, Refusal> {
    if mode == Mode::Shadow {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "CHANNEL_IN_SHADOW",
            format!("channel {channel} is in shadow, the incumbent speaks there; use another one"),
        ));
    }
    let units = text.encode_utf16().count();
    if !(1..=TEXT_AT_MOST).contains(&units) {
        let limit = format!("has {units} UTF-16 units; LINE takes 1 to {TEXT_AT_MOST}");
        return Err(Refusal::field("text", limit));
    }
    let Some(address) = state.address(customer, channel) else {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "NO_ADDRESS",
            format!("customer {customer} was never seen on channel {channel}"),
        ));
    };
    // With the moment: the same request_id asks for another item when its receipt is gone.
    let id = ItemId::derive(&format!("{id}/{}", at.as_millis()));
    if let Some(delivery) = state.delivery(id) {
        return Ok(Decision::answered(Vec::new(), delivery));
    }
    let item = Item {
        customer: state.current(customer),
        address,
        way: Way::Push,
        texts: vec![text.to_owned()],
        asked_at: at,
        attempts: Vec::new(),
        outcome: None,
    };
    let delivery = Delivery { id, item: item.clone() };
    Ok(Decision::answered(vec![Event::Queued { id, item }], delivery))
}

fn begin(state: &State, id: ItemId, attempt: &str) -> Result<Decision<Event, Delivery>, Refusal> {
    let mut delivery = state.delivery(id).ok_or_else(|| Refusal::not_found("item", id.as_str()))?;
    let Item { customer, way, attempts, outcome, .. } = &mut delivery.item;
    if outcome.is_some() || *way == Way::Push || attempts.iter().any(|begun| begun == attempt) {
        return Ok(Decision::answered(Vec::new(), delivery));
    }
    attempts.push(attempt.to_owned());
    let begun = Event::Begun { id, customer: *customer, attempt: attempt.to_owned() };
    Ok(Decision::answered(vec![begun], delivery))
}

fn record(
    state: &State,
    id: ItemId,
    outcome: &Outcome,
) -> Result<Decision<Event, Delivery>, Refusal> {
    let mut delivery = state.delivery(id).ok_or_else(|| Refusal::not_found("item", id.as_str()))?;
    // The first outcome stands: a sender that comes back after a crash learns it here.
    if delivery.item.outcome.is_some() {
        return Ok(Decision::answered(Vec::new(), delivery));
    }
    delivery.item.attempts = Vec::new();
    delivery.item.outcome = Some(outcome.clone());
    let customer = delivery.item.customer;
    let settled = Event::Settled { id, customer, outcome: outcome.clone() };
    Ok(Decision::answered(vec![settled], delivery))
}
