//! What is decided on what people do, what is asked for, and what senders report.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::Event;
use super::person::{Preferences, Told, Trait};
use super::policy::{self, Verdict};
use super::request::{
    CANCELLED, Class, Deferred, Item, LATE, LATE_UNKNOWN, Outcome, REPLACED, Request, Standing,
    Wait, Way, Words,
};
use super::state::{Delivery, State};
use super::{Deed, Notification};
use crate::configuration::{Configuration, Mode, TEXT_AT_MOST};
use crate::person::{Address, Carrier};
use crate::routing::MessageRequest;
use crate::{At, CustomerId, Decider, Decision, ItemId, Refusal, RefusalCode, voice};

/// The reason of the refusal to take back what is on its way.
pub const ALREADY_QUEUED: &str = "ALREADY_QUEUED";
/// The reason of the refusal of a call that names a request which goes out with another one.
pub const IN_DIGEST: &str = "IN_DIGEST";
/// The reason of the refusal of one more marketing message, when the account has too many on their
/// way; the same request may be sent again.
pub const OUTBOX_FULL: &str = "OUTBOX_FULL";

/// What a call is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Where a request stands.
    Delivery(Delivery),
    /// What would become of a request.
    Preview(Verdict),
    /// What is set from now on.
    Preferences(Preferences),
    /// How much of marketing a customer can bear.
    Budget(Budgeted),
}

/// How much of marketing a customer can bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgeted {
    /// How many count in each span of the budget now, how many may, and how long it is for this
    /// person, in the order of the configuration.
    pub spans: Vec<(usize, usize, std::time::Duration)>,
    /// The last two found no answer, so every span is twice as long.
    pub tired: bool,
    /// When there is room for one more: now, or later.
    pub room_at: At,
    /// When quiet hours are over for marketing: now, or later.
    pub quiet_until: At,
    /// The person refuses all of it.
    pub refused: bool,
}

/// What was heard of a customer.
pub(super) struct Heard<'a> {
    pub(super) customer: CustomerId,
    pub(super) address: Option<&'a Address>,
    pub(super) carrier: Option<Carrier>,
    pub(super) deed: Deed,
    pub(super) occurred_at: At,
}

/// Decides step by step: what was decided before counts for what comes after it.
struct Steps<'a> {
    configuration: &'a Configuration,
    state: State,
    events: Vec<Event>,
    at: At,
}

impl<'a> Steps<'a> {
    fn new(state: &State, configuration: &'a Configuration, at: At) -> Self {
        Self { configuration, state: state.clone(), events: Vec::new(), at }
    }

    fn take(&mut self, event: Event) {
        Notification::evolve(&mut self.state, &event, self.at);
        self.events.push(event);
    }

    /// Judges a deferred request again. One that must wait on as it did says nothing, nor one that has
    /// gone out with another meanwhile.
    fn release(&mut self, id: ItemId) {
        let Some(deferred) = self.state.deferred(id) else { return };
        let known = (deferred.until, deferred.wait);
        let mut events = Vec::new();
        let request = deferred.request.clone();
        settle(&self.state, self.configuration, id, request, self.at, &mut events);
        if let [Event::Deferred { deferred, .. }] = &events[..]
            && (deferred.until, deferred.wait) == known
        {
            return;
        }
        for event in events {
            self.take(event);
        }
    }
}

/// What becomes of a request now; the last event says it.
fn settle(
    state: &State,
    configuration: &Configuration,
    id: ItemId,
    mut request: Request,
    at: At,
    events: &mut Vec<Event>,
) {
    let Some(customer) = state.whose(request.customer, request.carrier) else {
        return events.push(Event::RequestVoided { id });
    };
    let waits = state.deferred(id);
    // One that waits stays where it stands.
    request.customer = waits.as_ref().map_or(customer, |waits| waits.request.customer);
    match policy::decide(state, configuration, Some(id), customer, &request, at) {
        Verdict::Queue(item) => {
            let stands = (item.customer, item.carrier);
            let joined = item.joined.iter().filter_map(|id| Some((*id, state.deferred(*id)?)));
            for (id, deferred) in waits.map(|waits| (id, waits)).into_iter().chain(joined) {
                let (customer, carrier) = (deferred.request.customer, deferred.request.carrier);
                if (customer, carrier) != stands {
                    events.push(Event::Released { id, customer, carrier });
                }
            }
            events.push(Event::Queued { id, item });
        }
        Verdict::Defer { until, wait } => {
            // A right to reply lives shorter than anything waits.
            request.reply = None;
            events.push(Event::Deferred {
                id,
                deferred: Arc::new(Deferred { request, until, wait }),
            });
        }
        Verdict::End(outcome) => events.push(ended(id, &request, outcome)),
    }
}

/// Those that wait under a collapse key, if the new one with that key goes out or waits.
fn replaced(state: &State, new: &Event, collapse_key: &str) -> Vec<Event> {
    let goes_on = matches!(new, Event::Queued { .. } | Event::Deferred { .. });
    let (Some(customer), true) = (new.owner(), goes_on) else { return Vec::new() };
    let waiting = state.deferred_of(customer).into_iter();
    let same = waiting.filter(|(_, old)| old.request.collapse_key.as_deref() == Some(collapse_key));
    same.map(|(id, old)| ended(id, &old.request, Outcome::suppressed(REPLACED))).collect()
}

/// Two customers are one, and one of them has at most one request that waits under a collapse key:
/// the newest.
pub(super) fn merged(
    state: &State,
    configuration: &Configuration,
    survivor: CustomerId,
    absorbed: CustomerId,
    at: At,
) -> Vec<Event> {
    if [survivor, absorbed].iter().any(|id| state.custody().is_erased(*id)) {
        return Vec::new();
    }
    let mut steps = Steps::new(state, configuration, at);
    steps.take(Event::PersonMoved { from: absorbed, to: survivor });
    let waiting = steps.state.deferred_of(survivor);
    for (index, (id, old)) in waiting.iter().enumerate() {
        if waiting[index + 1..].iter().any(|(_, new)| new.request.replaces(&old.request)) {
            steps.take(ended(*id, &old.request, Outcome::suppressed(REPLACED)));
        }
    }
    steps.events
}

fn ended(id: ItemId, request: &Request, outcome: Outcome) -> Event {
    Event::Ended {
        id,
        customer: request.customer,
        carrier: request.carrier,
        class: request.class,
        channel: request.channel.clone(),
        asked_at: request.asked_at,
        outcome,
    }
}

/// Something was heard of a customer: an address, a follow or a block, a sign of life.
pub(super) fn hear(
    state: &State,
    configuration: &Configuration,
    heard: &Heard<'_>,
    at: At,
) -> Vec<Event> {
    let Heard { customer, carrier, .. } = *heard;
    let person = state.person(customer);
    let learned = heard.address.filter(|address| {
        let last = person.and_then(|person| {
            person.places.iter().rfind(|place| place.channel == address.channel)
        });
        !last.is_some_and(|place| {
            place.user == address.user && (carrier.is_none() || place.carrier == carrier)
        })
    });
    let follows = heard.address.filter(|_| matches!(heard.deed, Deed::Followed | Deed::Blocked));
    let acts = matches!(heard.deed, Deed::Followed | Deed::Acted);
    let engages =
        acts && person.is_some_and(|person| person.pushes.iter().any(|push| push.unanswered));
    // Nearly everything that people do is no news here.
    if learned.is_none() && follows.is_none() && !engages {
        return Vec::new();
    }
    let mut steps = Steps::new(state, configuration, at);
    if let Some(address) = learned.cloned() {
        steps.take(Event::AddressLearned { customer, address, carrier });
    }
    if let Some(event) = follows.and_then(|address| followed(&steps.state, address, heard)) {
        steps.take(event);
    }
    if engages {
        steps.take(Event::Engaged { customer });
        // The spans may be shorter now.
        for (id, deferred) in steps.state.deferred_of(customer) {
            if deferred.wait == Wait::Budget {
                steps.release(id);
            }
        }
    }
    steps.events
}

/// Follows and blocks may come late: the later one holds; of the same moment, the block.
fn followed(state: &State, address: &Address, heard: &Heard<'_>) -> Option<Event> {
    let blocked = match heard.deed {
        Deed::Followed => false,
        Deed::Blocked => true,
        Deed::Acted | Deed::Nothing => return None,
    };
    let person = state.person(heard.customer)?;
    let place = person.places.iter().rfind(|place| place.channel == address.channel)?;
    let told_at = heard.occurred_at;
    let known = place.followed_at.map(|known| (known, place.blocked));
    known.is_none_or(|known| known < (told_at, blocked)).then(|| Event::Followed {
        customer: heard.customer,
        channel: place.channel.clone(),
        carrier: place.carrier,
        blocked,
        told_at,
    })
}

/// What was told of a person's language or zone, as far as it is news.
pub(super) fn told(state: &State, customer: CustomerId, told: &[Told]) -> Vec<Event> {
    let known = state.person(customer).map_or(&[][..], |person| &person.rare().told);
    let same = |one: &Told, other: &Told| {
        one.carrier == other.carrier
            && matches!(
                (&one.what, &other.what),
                (Trait::Language(_), Trait::Language(_)) | (Trait::Zone(_), Trait::Zone(_))
            )
    };
    let news = told.iter().filter(|told| {
        let known = known.iter().find(|known| same(known, told));
        // The same told later is news: what others told in between is old.
        let weight = |told: &Told| (told.verified, told.told_at);
        known.is_none_or(|known| {
            weight(known) < weight(told)
                || (weight(known) == weight(told) && known.what != told.what)
        })
    });
    news.map(|told| Event::TraitTold { customer, told: told.clone() }).collect()
}

impl Request {
    /// What routing asks for. Answers go out where the person waits for them; news of a case may go
    /// to another account, and the newest of a case take the place of those that wait.
    pub(super) fn of_routing(request: &MessageRequest, at: At) -> Self {
        let answers = request.reply.is_some() || request.text.is_some();
        Self {
            customer: request.customer,
            carrier: request.carrier,
            class: if request.text.is_some() { Class::Reply } else { Class::Service },
            channel: Some(request.channel.clone()),
            elsewhere: !answers,
            mode: request.mode,
            brand: request.brand.clone(),
            words: Words {
                templates: request.templates.clone(),
                text: request.text.clone(),
                variables: BTreeMap::new(),
                case: request.case,
                staff: request.staff.clone(),
            },
            reply: request.reply.clone(),
            collapse_key: request.case.filter(|_| !answers).map(|case| case.to_string()),
            deadline: None,
            digest: false,
            asked_at: at,
        }
    }
}

pub(super) fn requested(
    state: &State,
    configuration: &Configuration,
    id: ItemId,
    request: Request,
    at: At,
) -> Vec<Event> {
    let collapse_key = request.collapse_key.clone();
    let mut events = Vec::with_capacity(1);
    settle(state, configuration, id, request, at, &mut events);
    if let (Some(collapse_key), Some(new)) = (collapse_key, events.last()) {
        let replaced = replaced(state, new, &collapse_key);
        events.splice(..0, replaced);
    }
    events
}

/// Whether a request of a caller can be asked at all; then with what is filled in.
fn asked(
    state: &State,
    configuration: &Configuration,
    request: &Request,
    at: At,
) -> Result<Request, Refusal> {
    let Words { templates, text, .. } = &request.words;
    if let Some(text) = text {
        let units = text.encode_utf16().count();
        if !(1..=TEXT_AT_MOST).contains(&units) {
            let limit = format!("has {units} UTF-16 units; LINE takes 1 to {TEXT_AT_MOST}");
            return Err(Refusal::field("text", limit));
        }
    }
    if let Some(missing) =
        templates.iter().find(|name| !configuration.templates.contains_key(*name))
    {
        return Err(Refusal::field(
            "template",
            format!("there is no template {missing:?}; apply one, or use one that is there"),
        ));
    }
    voice::check(configuration, &request.words, request.class)?;
    if request.deadline.is_some_and(|deadline| deadline <= at) {
        return Err(Refusal::field("expire_time", "is over; give one that is still to come"));
    }
    let customer = state
        .whose(request.customer, None)
        .ok_or_else(|| Refusal::not_found("customer", request.customer.as_str()))?;
    let mut carrier = request.carrier;
    if let Some(channel) = &request.channel {
        if configuration.mode(channel) == Mode::Shadow {
            return Err(Refusal::new(
                RefusalCode::FailedPrecondition,
                "CHANNEL_IN_SHADOW",
                format!(
                    "channel {channel} is in shadow, the incumbent speaks there; use another one"
                ),
            ));
        }
        let Some(place) = state.person(customer).and_then(|person| person.place(channel)) else {
            return Err(Refusal::new(
                RefusalCode::FailedPrecondition,
                "NO_ADDRESS",
                format!("customer {customer} was never seen on channel {channel}"),
            ));
        };
        carrier = carrier.or(place.carrier);
    }
    let deadline = request.deadline.or_else(|| {
        let within = configuration.notification.marketing_within.duration();
        (request.class == Class::Marketing).then(|| at.after(within))
    });
    Ok(Request { customer, carrier, deadline, asked_at: at, ..request.clone() })
}

pub(super) fn send(
    state: &State,
    configuration: &Configuration,
    id: &str,
    request: &Request,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    // With the moment: the same request_id asks for another item when its receipt is gone.
    let id = ItemId::derive(&format!("{id}/{}", at.as_millis()));
    if let Some(delivery) = state.delivery(id) {
        return Ok(Decision::answered(Vec::new(), Answer::Delivery(delivery)));
    }
    let request = asked(state, configuration, request, at)?;
    let events = requested(state, configuration, id, request, at);
    if let Some(Event::Queued { item, .. }) = events.last() {
        has_room(state, configuration, item)?;
    }
    Ok(answered(id, None, events, at))
}

/// Whether the account takes one more item.
fn has_room(state: &State, configuration: &Configuration, item: &Item) -> Result<(), Refusal> {
    let waiting = state.pushes_on(&item.address.channel);
    if item.class != Class::Marketing || waiting < configuration.notification.waiting_at_most {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::ResourceExhausted,
        OUTBOX_FULL,
        format!(
            "too many messages wait on channel {}; send the same request again later",
            item.address.channel
        ),
    ))
}

/// The events, the last of which is about the request, and where it stands after them.
fn answered(
    id: ItemId,
    before: Option<&Standing>,
    events: Vec<Event>,
    at: At,
) -> Decision<Event, Answer> {
    let after = events.last().and_then(|event| event.standing(before, at));
    match after.or_else(|| before.cloned()) {
        Some(standing) => Decision::answered(events, Answer::Delivery(Delivery { id, standing })),
        None => Decision::events(events),
    }
}

pub(super) fn preview(
    state: &State,
    configuration: &Configuration,
    request: &Request,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    let request = asked(state, configuration, request, at)?;
    let verdict = policy::decide(state, configuration, None, request.customer, &request, at);
    if let Verdict::Queue(item) = &verdict {
        has_room(state, configuration, item)?;
    }
    Ok(Decision::answered(Vec::new(), Answer::Preview(verdict)))
}

pub(super) fn cancel(
    state: &State,
    id: ItemId,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    match state.known(id)? {
        before @ Standing::Ended(_) => Ok(answered(id, Some(before), Vec::new(), at)),
        Standing::Queued(_) => Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            ALREADY_QUEUED,
            format!("item {id} is on its way to the vendor and cannot be taken back"),
        )),
        before @ Standing::Deferred(deferred) => {
            let event = ended(id, &deferred.request, Outcome::suppressed(CANCELLED));
            Ok(answered(id, Some(before), vec![event], at))
        }
    }
}

pub(super) fn set_preferences(
    state: &State,
    customer: CustomerId,
    preferences: &Preferences,
) -> Result<Decision<Event, Answer>, Refusal> {
    let customer = known_customer(state, customer)?;
    let set = state.person(customer).is_some_and(|person| *person.preferences() == *preferences);
    let event = Event::PreferencesSet { customer, preferences: preferences.clone() };
    let events = (!set).then_some(event).into_iter().collect();
    Ok(Decision::answered(events, Answer::Preferences(preferences.clone())))
}

fn known_customer(state: &State, customer: CustomerId) -> Result<CustomerId, Refusal> {
    let known = state.whose(customer, None).filter(|customer| state.knows(*customer));
    known.ok_or_else(|| Refusal::not_found("customer", customer.as_str()))
}

pub(super) fn budget(
    state: &State,
    configuration: &Configuration,
    customer: CustomerId,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    let customer = known_customer(state, customer)?;
    let Some(person) = state.person(customer) else {
        return Err(Refusal::not_found("customer", customer.as_str()));
    };
    let budgets = &configuration.notification.marketing;
    let spans = budgets.iter().map(|budget| {
        let span = person.span(budget);
        (person.pushes_within(span, at), usize::from(budget.at_most), span)
    });
    let budget = Budgeted {
        spans: spans.collect(),
        tired: person.is_tired(),
        room_at: person.room_at(budgets, at),
        quiet_until: policy::quiet_until(configuration, person, Class::Marketing, at),
        refused: person.refuses_marketing(),
    };
    Ok(Decision::answered(Vec::new(), Answer::Budget(budget)))
}

/// An item that a sender asks about: the one of a call.
fn item(state: &State, id: ItemId) -> Result<&Standing, Refusal> {
    let standing = state.known(id)?;
    match standing {
        Standing::Queued(item) if item.joined.contains(&id) => Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            IN_DIGEST,
            format!("item {id} goes out with another one, and ends as that does"),
        )),
        Standing::Deferred(_) => Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "NOT_QUEUED",
            format!("item {id} still waits and has nothing to send"),
        )),
        Standing::Queued(_) | Standing::Ended(_) => Ok(standing),
    }
}

pub(super) fn begin(
    state: &State,
    id: ItemId,
    attempt: &str,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    let before = item(state, id)?;
    let Standing::Queued(item) = before else {
        return Ok(answered(id, Some(before), Vec::new(), at));
    };
    let (customer, carrier) = (item.customer, item.carrier);
    let late = item.deadline.is_some_and(|deadline| at > deadline);
    let begun = match item.way {
        Way::Push => item.deadline.is_none() || !item.attempts.is_empty(),
        Way::Reply { .. } => item.attempts.iter().any(|begun| begun == attempt),
    };
    let event = if late {
        // What was tried may have come, so it is not said that it did not, nor tried once more.
        let outcome = if item.attempts.is_empty() {
            Outcome::expired(LATE)
        } else {
            Outcome::failed(LATE_UNKNOWN)
        };
        Some(Event::Settled { id, customer, outcome, carrier })
    } else if begun {
        None
    } else {
        Some(Event::Begun { id, customer, attempt: attempt.to_owned(), carrier })
    };
    Ok(answered(id, Some(before), event.into_iter().collect(), at))
}

pub(super) fn record(
    state: &State,
    id: ItemId,
    outcome: &Outcome,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    // The first outcome stands: a sender that comes back after a crash learns it here.
    let before = item(state, id)?;
    let Standing::Queued(item) = before else {
        return Ok(answered(id, Some(before), Vec::new(), at));
    };
    let (customer, carrier) = (item.customer, item.carrier);
    let settled = Event::Settled { id, customer, outcome: outcome.clone(), carrier };
    Ok(answered(id, Some(before), vec![settled], at))
}

/// Looks again at the deferred requests whose time has come, the earliest first.
pub(super) fn release(
    state: &State,
    configuration: &Configuration,
    at_most: usize,
    at: At,
) -> Vec<Event> {
    let mut steps = Steps::new(state, configuration, at);
    for _ in 0..at_most {
        let Some(id) = steps.state.due_at(at) else { break };
        steps.release(id);
    }
    steps.events
}
