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
//! When a customer is split, addresses and items follow the LINE identifier that the address was
//! seen with ([`Carrier`]); a request that was decided before goes where its own carrier went. Of a
//! customer who is erased everything that waits fails, and everything is forgotten but the ids of
//! items that a sender may still ask about; a request that comes later ends without naming anybody.
//! See [`custody`](mod@crate::custody).
//!
//! Invariants: one request gives at most one item; an item is settled at most once; a reply right
//! is used by at most one item, because each request carries its own.

use std::time::Duration;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use crate::configuration::{Configuration, MESSAGES_AT_MOST, Mode, TEXT_AT_MOST};
use crate::custody::{self, Custody, ERASED, Owner, Partings, RESTATED_AT_MOST};
use crate::person::{Address, Carrier};
use crate::routing::MessageRequest;
use crate::{At, ChannelId, CustomerId, Decider, Decision, ItemId, Refusal, RefusalCode, Wakeup};

/// A reply right older than this, counted from when ingress took the delivery, is not used: LINE
/// takes it for about a minute, and the call needs some of that.
pub const REPLY_WITHIN: Duration = Duration::from_secs(50);

/// A settled item is remembered for this long after its end: longer than LINE remembers a retry
/// key (24 h) and than a sender may try (23 h). Its records stay in the ledger.
pub const SETTLED_FOR: Duration = Duration::from_hours(72);

/// The reason of the refusal of an item whose customer was erased.
pub const ITEM_ERASED: &str = "ITEM_ERASED";

/// The rules.
#[derive(Debug)]
pub struct Notification;

/// What notification remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// By channel, each with what it hangs on, the last one last.
    addresses: OrdMap<CustomerId, OrdMap<ChannelId, Vector<Place>>>,
    /// Customers whose addresses moved, and the survivor that has them now: a request that was
    /// decided before the merge may come after it.
    aliases: OrdMap<CustomerId, CustomerId>,
    items: OrdMap<ItemId, Item>,
    by_customer: OrdMap<CustomerId, OrdSet<ItemId>>,
    /// Settled and void items, by the moment of their end.
    settled: OrdSet<(At, ItemId)>,
    /// Items of customers who were erased, that a sender may still ask about.
    void: OrdSet<ItemId>,
    custody: Custody,
    partings: Partings,
}

/// A user of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    user: String,
    carrier: Option<Carrier>,
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
    /// When it ended, when it has.
    pub ended_at: Option<At>,
    /// What it hangs on: what its address was seen with; none, when nobody knows.
    pub carrier: Option<Carrier>,
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
        /// What the address hangs on: the identifier that it was seen with.
        carrier: Option<Carrier>,
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
    /// A customer is taken apart or forgotten.
    Custody(custody::Input),
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
        /// What it hangs on.
        carrier: Option<Carrier>,
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
        /// What the request hangs on.
        carrier: Option<Carrier>,
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
        /// What the request hangs on.
        carrier: Option<Carrier>,
    },
    /// A sender is about to reply. A push is not written down: its retry key makes it safe.
    Begun {
        /// The item.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// What tells this attempt from all others.
        attempt: String,
        /// What the item hangs on.
        carrier: Option<Carrier>,
    },
    /// An item ended.
    Settled {
        /// The item.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// How.
        outcome: Outcome,
        /// What the item hangs on.
        carrier: Option<Carrier>,
    },
    /// An item belongs to a piece of the customer that it belonged to. Everything else is as it was,
    /// and it is not sent by this.
    ItemRestated {
        /// The item.
        id: ItemId,
        /// All of it.
        item: Item,
    },
    /// A request of a customer who was erased ended without an item. Names nobody.
    RequestVoided {
        /// The item that it would have been.
        id: ItemId,
    },
    /// Items of a customer who was forgotten by the same input. Names nobody.
    ItemsVoided {
        /// The items.
        items: Vec<ItemId>,
    },
    /// Whose records are whose.
    Custody(custody::Event),
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

    /// Splits and erasures that are under way.
    #[must_use]
    pub fn custody(&self) -> &Custody {
        &self.custody
    }

    /// Whose a request is that may have been decided before a merge, a split or an erasure; `None`
    /// when the customer was erased.
    fn whose(&self, customer: CustomerId, carrier: Option<Carrier>) -> Option<CustomerId> {
        let customer = match self.custody.owner(customer, carrier) {
            Owner::Same => self.current(customer),
            Owner::Other(owner) => owner,
            Owner::Nobody => return None,
        };
        Some(customer).filter(|customer| !self.custody.is_erased(*customer))
    }

    fn current(&self, customer: CustomerId) -> CustomerId {
        self.aliases.get(&customer).copied().unwrap_or(customer)
    }

    /// Where a customer was seen last on a channel.
    fn place(&self, customer: CustomerId, channel: &ChannelId) -> Option<&Place> {
        self.addresses.get(&self.current(customer))?.get(channel)?.last()
    }

    fn known(&self, id: ItemId) -> Result<Delivery, Refusal> {
        if self.void.contains(&id) {
            return Err(Refusal::new(
                RefusalCode::FailedPrecondition,
                ITEM_ERASED,
                format!("the customer of item {id} was erased; drop it"),
            ));
        }
        self.delivery(id).ok_or_else(|| Refusal::not_found("item", id.as_str()))
    }

    fn put(&mut self, id: ItemId, item: Item) {
        self.take(id);
        if let Some(ended_at) = item.ended_at {
            self.settled.insert((ended_at, id));
        }
        self.by_customer.entry(item.customer).or_default().insert(id);
        self.items.insert(id, item);
    }

    fn take(&mut self, id: ItemId) -> Option<Item> {
        let item = self.items.remove(&id)?;
        if let Some(ended_at) = item.ended_at {
            self.settled.remove(&(ended_at, id));
        }
        if let Some(ids) = self.by_customer.get_mut(&item.customer) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_customer.remove(&item.customer);
            }
        }
        Some(item)
    }

    fn items_of(&self, customer: CustomerId) -> impl Iterator<Item = (ItemId, &Item)> {
        let ids = self.by_customer.get(&customer).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.items.get(id)?)))
    }

    /// Behind all others; what hung on the same is replaced.
    fn learn(&mut self, customer: CustomerId, channel: ChannelId, place: Place) {
        let places = self.addresses.entry(customer).or_default().entry(channel).or_default();
        places.retain(|known| known.carrier != place.carrier);
        places.push_back(place);
    }

    /// Forgets where a customer was seen, as far as it hangs on one of these.
    fn unlearn(&mut self, customer: CustomerId, carriers: &[Carrier]) {
        let Some(channels) = self.addresses.remove(&customer) else { return };
        let mut kept = OrdMap::new();
        for (channel, mut places) in channels {
            places.retain(|place| place.carrier.is_none_or(|one| !carriers.contains(&one)));
            if !places.is_empty() {
                kept.insert(channel, places);
            }
        }
        if !kept.is_empty() {
            self.addresses.insert(customer, kept);
        }
    }

    /// Forgets what ended long ago.
    fn expire(&mut self, at: At) {
        while let Some((since, old)) = self.settled.get_min().copied()
            && at.since(since) > SETTLED_FOR
        {
            self.settled.remove(&(since, old));
            self.void.remove(&old);
            self.take(old);
        }
    }

    fn divide(&mut self, part: &custody::Part) {
        let mut partings = std::mem::take(&mut self.partings);
        for (place, carriers) in partings.places(part, |id| self.current(id)) {
            self.unlearn(place, &carriers);
        }
        self.partings = partings;
        self.aliases.remove(&part.customer);
        for alias in part.aliases.iter().filter(|alias| **alias != part.customer) {
            self.addresses.remove(alias);
            self.aliases.insert(*alias, part.customer);
        }
    }

    fn forget(&mut self, customers: &[CustomerId]) {
        for customer in customers {
            let items: Vec<_> = self.items_of(*customer).map(|(id, _)| id).collect();
            for id in items {
                self.take(id);
            }
            self.addresses.remove(customer);
            self.partings.forget(*customer);
        }
        let aliases = self
            .aliases
            .iter()
            .filter(|(alias, survivor)| customers.contains(alias) || customers.contains(survivor));
        for alias in aliases.map(|(alias, _)| *alias).collect::<Vec<_>>() {
            self.aliases.remove(&alias);
        }
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
            // An id that nothing may be written under any more.
            Input::Seen { customer, .. } if state.custody.is_erased(*customer) => {
                Decision::silent()
            }
            Input::Seen { customer, address, carrier } => {
                let known = state.place(*customer, &address.channel).is_some_and(|place| {
                    place.user == address.user && (carrier.is_none() || place.carrier == *carrier)
                });
                let (customer, address) = (*customer, address.clone());
                let learned = Event::AddressLearned { customer, address, carrier: *carrier };
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
                record(state, *item, outcome, at).unwrap_or_else(Decision::refused)
            }
            Input::Custody(input) => Decision::events(take_custody(state, input)),
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => Decision::silent(),
        }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        match event {
            Event::AddressLearned { customer, address, carrier } => {
                let place = Place { user: address.user.clone(), carrier: *carrier };
                state.learn(state.current(*customer), address.channel.clone(), place);
            }
            Event::AddressesMoved { from, to } => {
                // The survivor's own are the last.
                let kept = state.addresses.remove(to).unwrap_or_default();
                let moved = state.addresses.remove(from).unwrap_or_default();
                for (channel, place) in places(moved).chain(places(kept)) {
                    state.learn(*to, channel, place);
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
            Event::Queued { id, item } => state.put(*id, item.clone()),
            Event::ItemRestated { id, item } => {
                state.put(*id, item.clone());
                state.expire(at);
            }
            Event::Begun { id, attempt, .. } => {
                if let Some(item) = state.items.get_mut(id) {
                    item.attempts.push(attempt.clone());
                }
            }
            Event::Settled { id, outcome, .. } => {
                if let Some(mut item) = state.take(*id) {
                    item.attempts = Vec::new();
                    item.outcome = Some(outcome.clone());
                    item.ended_at = Some(at);
                    state.put(*id, item);
                }
                state.expire(at);
            }
            Event::ItemsVoided { items } => {
                for id in items {
                    state.void.insert(*id);
                    state.settled.insert((at, *id));
                }
            }
            Event::Suppressed { .. } | Event::Failed { .. } | Event::RequestVoided { .. } => {}
            Event::Custody(event) => {
                match event {
                    custody::Event::Divided(part) => state.divide(part),
                    custody::Event::CustomersForgotten { customers, .. } => {
                        state.forget(customers);
                    }
                    custody::Event::SplitBegun(_)
                    | custody::Event::UpstreamMoved { .. }
                    | custody::Event::RecordsMoved { .. }
                    | custody::Event::ErasureDone { .. }
                    | custody::Event::ErasureReported { .. } => {}
                }
                state.custody.evolve(event, true, at);
                // Who folds what is left of a log sees fewer ends, and forgets no later than here.
                state.expire(at);
            }
        }
    }

    fn due(_state: &State) -> Option<At> {
        None
    }
}

fn places(channels: OrdMap<ChannelId, Vector<Place>>) -> impl Iterator<Item = (ChannelId, Place)> {
    channels
        .into_iter()
        .flat_map(|(channel, places)| places.into_iter().map(move |place| (channel.clone(), place)))
}

/// A customer is taken apart or forgotten.
fn take_custody(state: &State, input: &custody::Input) -> Vec<Event> {
    let decided = state.custody.decide(input).into_iter().map(Event::Custody);
    match input {
        custody::Input::Part(part) => decided.chain(restated(state, part)).collect(),
        custody::Input::Erased { customers, .. } => {
            let (mut events, mut items) = (Vec::new(), Vec::new());
            for (id, item) in customers.iter().flat_map(|customer| state.items_of(*customer)) {
                items.push(id);
                if item.outcome.is_none() && events.len() < RESTATED_AT_MOST {
                    let (customer, carrier) = (item.customer, item.carrier);
                    let outcome = Outcome::Failed { reason: ERASED.to_owned() };
                    events.push(Event::Settled { id, customer, outcome, carrier });
                }
            }
            // Last: what is forgotten takes the place of its end along.
            let voided = (!items.is_empty()).then_some(Event::ItemsVoided { items });
            events.into_iter().chain(decided).chain(voided).collect()
        }
        custody::Input::Split(_)
        | custody::Input::UpstreamMoved { .. }
        | custody::Input::JobDone { .. }
        | custody::Input::Reported(_) => decided.collect(),
    }
}

/// What hangs on the carriers of a part, said again of its piece: also the addresses of the one
/// that keeps the id, as some of their records may stand under another id that took part.
fn restated(state: &State, part: &custody::Part) -> Vec<Event> {
    let theirs = |carrier: Option<Carrier>| carrier.is_some_and(|one| part.carriers.contains(&one));
    let known = state.addresses.get(&part.before).cloned().unwrap_or_default();
    let addresses = places(known).filter(|(_, place)| theirs(place.carrier));
    let addresses = addresses.map(|(channel, Place { user, carrier })| Event::AddressLearned {
        customer: part.customer,
        address: Address { channel, user },
        carrier,
    });
    let involved = state.custody.involved(part);
    let items = involved.iter().flat_map(|customer| state.items_of(*customer));
    let items = items.filter(|(_, item)| theirs(item.carrier) && item.customer != part.customer);
    let items = items.map(|(id, item)| Event::ItemRestated {
        id,
        item: Item { customer: part.customer, ..item.clone() },
    });
    addresses.chain(items).take(RESTATED_AT_MOST).collect()
}

impl Event {
    /// What it hangs on.
    #[must_use]
    pub fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::AddressLearned { carrier, .. }
            | Self::Suppressed { carrier, .. }
            | Self::Failed { carrier, .. }
            | Self::Begun { carrier, .. }
            | Self::Settled { carrier, .. } => *carrier,
            Self::Queued { item, .. } | Self::ItemRestated { item, .. } => item.carrier,
            Self::AddressesMoved { .. }
            | Self::RequestVoided { .. }
            | Self::ItemsVoided { .. }
            | Self::Custody(_) => None,
        }
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
    let Some(customer) = state.whose(request.customer, request.carrier) else {
        return Event::RequestVoided { id };
    };
    let place = state.place(customer, &request.channel);
    let carrier = place.and_then(|place| place.carrier).or(request.carrier);
    let failed = |why: &str| {
        let (channel, reason) = (request.channel.clone(), why.to_owned());
        Event::Failed { id, customer, channel, reason, carrier }
    };
    if request.mode == Mode::Shadow {
        let reason = "the channel is in shadow".to_owned();
        return Event::Suppressed {
            id,
            customer,
            channel: request.channel.clone(),
            reason,
            carrier,
        };
    }
    let case = request.case.map(|case| case.to_string()).unwrap_or_default();
    let texts = request.templates.iter().take(MESSAGES_AT_MOST);
    let (brand, staff) = (request.brand.as_ref(), request.staff.as_ref());
    let texts: Option<Vec<_>> = match &request.text {
        Some(text) => Some(vec![text.clone()]),
        None => texts.map(|name| configuration.text(name, brand, &case, staff)).collect(),
    };
    let Some(texts) = texts.filter(|texts| !texts.is_empty()) else {
        return failed("no such template");
    };
    let Some(Place { user, carrier }) = place.cloned() else { return failed("no address") };
    let address = Address { channel: request.channel.clone(), user };
    let way = match &request.reply {
        Some(right) if at.since(right.received_at) < REPLY_WITHIN => {
            Way::Reply { token: right.token.clone() }
        }
        _ => Way::Push,
    };
    let item = Item {
        customer,
        address,
        way,
        texts,
        asked_at: at,
        attempts: Vec::new(),
        outcome: None,
        ended_at: None,
        carrier,
    };
    Event::Queued { id, item }
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
    let Some(Place { user, carrier }) = state.place(customer, channel).cloned() else {
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
        address: Address { channel: channel.clone(), user },
        way: Way::Push,
        texts: vec![text.to_owned()],
        asked_at: at,
        attempts: Vec::new(),
        outcome: None,
        ended_at: None,
        carrier,
    };
    let delivery = Delivery { id, item: item.clone() };
    Ok(Decision::answered(vec![Event::Queued { id, item }], delivery))
}

fn begin(state: &State, id: ItemId, attempt: &str) -> Result<Decision<Event, Delivery>, Refusal> {
    let mut delivery = state.known(id)?;
    let Item { customer, way, attempts, outcome, carrier, .. } = &mut delivery.item;
    if outcome.is_some() || *way == Way::Push || attempts.iter().any(|begun| begun == attempt) {
        return Ok(Decision::answered(Vec::new(), delivery));
    }
    attempts.push(attempt.to_owned());
    let (customer, attempt, carrier) = (*customer, attempt.to_owned(), *carrier);
    let begun = Event::Begun { id, customer, attempt, carrier };
    Ok(Decision::answered(vec![begun], delivery))
}

fn record(
    state: &State,
    id: ItemId,
    outcome: &Outcome,
    at: At,
) -> Result<Decision<Event, Delivery>, Refusal> {
    let mut delivery = state.known(id)?;
    // The first outcome stands: a sender that comes back after a crash learns it here.
    if delivery.item.outcome.is_some() {
        return Ok(Decision::answered(Vec::new(), delivery));
    }
    delivery.item.attempts = Vec::new();
    delivery.item.outcome = Some(outcome.clone());
    delivery.item.ended_at = Some(at);
    let Item { customer, carrier, .. } = delivery.item;
    let settled = Event::Settled { id, customer, outcome: outcome.clone(), carrier };
    Ok(Decision::answered(vec![settled], delivery))
}
