//! Whether, when and where a request is sent.
//!
//! A request is judged in this order, and the first that holds decides:
//!
//! 1. the channel is in shadow: suppressed;
//! 2. there is nothing to say: failed;
//! 3. nowhere to reach the person: failed, or suppressed where they blocked it;
//! 4. marketing that the person refuses: suppressed;
//! 5. its deadline is over: expired;
//! 6. quiet hours, of service and marketing: deferred to their end, or expired where the deadline of
//!    marketing comes first;
//! 7. over budget, of marketing: deferred until there is room where it may join a digest and its
//!    deadline allows, else expired;
//! 8. queued.
//!
//! A deferred one is judged again when its time has come, by all of it. Whatever the person may be
//! told in the night (replies, transactions) looks at neither quiet hours nor budget, and counts in
//! no budget.

use std::sync::Arc;

use super::person::{Person, Place};
use super::request::{
    BLOCKED, Class, Item, LATE, NO_ADDRESS, NO_CONSENT, NO_TEMPLATE, OVER_BUDGET, Outcome,
    QUIET_TOO_LONG, Request, SHADOW, Wait, Way,
};
use super::state::State;
use crate::configuration::{Calendar, ChannelKind, Configuration, MESSAGES_AT_MOST, Mode};
use crate::person::Address;
use crate::voice::{self, Message, Voice};
use crate::{At, BrandId, ChannelId, CustomerId, ItemId};

use super::REPLY_WITHIN;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out now.
    Queue(Arc<Item>),
    /// It is judged again at `until`.
    Defer {
        /// When.
        until: At,
        /// What it waits for.
        wait: Wait,
    },
    /// It is over.
    End(Outcome),
}

/// What becomes of a request of this customer, who is the owner of it now, and of those that go out
/// with it. `id`: its own, when it has one.
pub(super) fn decide(
    state: &State,
    configuration: &Configuration,
    id: Option<ItemId>,
    customer: CustomerId,
    request: &Request,
    at: At,
) -> Verdict {
    let mut verdict = judge(state, configuration, customer, request, at);
    if let Verdict::Queue(item) = &mut verdict
        && item.class == Class::Marketing
    {
        join(state, configuration, id, request, Arc::make_mut(item), at);
    }
    verdict
}

/// Judges a request alone.
fn judge(
    state: &State,
    configuration: &Configuration,
    customer: CustomerId,
    request: &Request,
    at: At,
) -> Verdict {
    let nobody = Person::default();
    let person = state.person(customer).unwrap_or(&nobody);
    if request.mode == Mode::Shadow {
        return Verdict::End(Outcome::suppressed(SHADOW));
    }
    let Some(messages) = render(configuration, person, request) else {
        return Verdict::End(Outcome::failed(NO_TEMPLATE));
    };
    let place = match place(configuration, person, request) {
        Ok(place) => place,
        Err(outcome) => return Verdict::End(outcome),
    };
    if configuration.mode(&place.channel) == Mode::Shadow {
        return Verdict::End(Outcome::suppressed(SHADOW));
    }
    let right = request.reply.as_ref();
    let right = right.filter(|right| at.since(right.received_at) < REPLY_WITHIN);
    let class = if right.is_some() { Class::Reply } else { request.class };
    let way = right.map_or(Way::Push, |right| Way::Reply { token: right.token.clone() });
    if class == Class::Marketing && person.refuses_marketing() {
        return Verdict::End(Outcome::suppressed(NO_CONSENT));
    }
    if request.deadline.is_some_and(|deadline| at > deadline) {
        return Verdict::End(Outcome::expired(LATE));
    }
    if let Some(verdict) = check_quiet(configuration, person, class, request, at) {
        return verdict;
    }
    if let Some(verdict) = check_budget(configuration, person, class, request, at) {
        return verdict;
    }
    Verdict::Queue(Arc::new(Item {
        customer,
        carrier: place.carrier,
        class,
        address: Address { channel: place.channel.clone(), user: place.user.clone() },
        way,
        messages,
        asked_at: request.asked_at,
        deadline: request.deadline,
        joined: Vec::new(),
        attempts: Vec::new(),
    }))
}

fn check_quiet(
    configuration: &Configuration,
    person: &Person,
    class: Class,
    request: &Request,
    at: At,
) -> Option<Verdict> {
    let until = quiet_until(configuration, person, class, at);
    if until == at {
        return None;
    }
    if class == Class::Marketing && request.deadline.is_some_and(|deadline| until > deadline) {
        return Some(Verdict::End(Outcome::expired(QUIET_TOO_LONG)));
    }
    Some(Verdict::Defer { until, wait: Wait::QuietHours })
}

/// When a message of a class may be sent again as far as the time of the day is concerned: `at`
/// itself, when it may now.
pub(super) fn quiet_until(
    configuration: &Configuration,
    person: &Person,
    class: Class,
    at: At,
) -> At {
    let policies = &configuration.notification;
    let holidays =
        || -> Option<&Calendar> { configuration.calendars.get(policies.holidays.as_ref()?) };
    let holidays = match class {
        Class::Reply | Class::Transactional => return at,
        Class::Service => None,
        Class::Marketing => holidays(),
    };
    let zone = person.zone().unwrap_or(&policies.zone);
    match person.preferences().quiet_hours.or(policies.quiet_hours) {
        Some(hours) => hours.quiet_until(zone, holidays, at),
        None => at,
    }
}

fn check_budget(
    configuration: &Configuration,
    person: &Person,
    class: Class,
    request: &Request,
    at: At,
) -> Option<Verdict> {
    if class != Class::Marketing {
        return None;
    }
    let room = person.room_at(&configuration.notification.marketing, at);
    if room == at {
        return None;
    }
    if !request.digest || request.deadline.is_some_and(|deadline| room > deadline) {
        return Some(Verdict::End(Outcome::expired(OVER_BUDGET)));
    }
    Some(Verdict::Defer { until: room, wait: Wait::Budget })
}

/// The one account on which the person is told.
///
/// Where the request names one, it is that; where it may go elsewhere, or names none: the single
/// entry, else an account of the request's brand, else the one where the person was seen first last.
/// Only accounts that are live speak up there, and none that the person blocked.
fn place<'a>(
    configuration: &Configuration,
    person: &'a Person,
    request: &Request,
) -> Result<&'a Place, Outcome> {
    let named = request.channel.as_ref().and_then(|channel| person.place(channel));
    if let Some(place) = named.filter(|place| !place.blocked) {
        return Ok(place);
    }
    let chosen = if request.channel.is_none() || request.elsewhere {
        choose(configuration, &person.places, request)
    } else {
        None
    };
    let blocked = match &request.channel {
        Some(_) if !request.elsewhere => named.is_some(),
        _ => person.places.iter().any(|place| place.blocked),
    };
    chosen.ok_or_else(|| {
        if blocked { Outcome::suppressed(BLOCKED) } else { Outcome::failed(NO_ADDRESS) }
    })
}

fn choose<'a>(
    configuration: &Configuration,
    places: &'a [Place],
    request: &Request,
) -> Option<&'a Place> {
    let entry = configuration.entry.as_ref().map(|entry| &entry.channel);
    let of_brand = |channel: &ChannelId| {
        let of_channel = |brand: &BrandId| {
            let channel = configuration.channels.get(channel)?;
            Some(channel.brand.as_ref()? == brand)
        };
        request.brand.as_ref().and_then(of_channel).unwrap_or(false)
    };
    let speaks = |channel: &ChannelId| {
        let channel = configuration.channels.get(channel);
        channel.is_none_or(|it| it.kind == ChannelKind::Line && it.mode == Mode::Live)
    };
    let candidates = places.iter().enumerate();
    let candidates = candidates.filter(|(_, place)| !place.blocked && speaks(&place.channel));
    let rank = |(index, place): &(usize, &Place)| {
        (Some(&place.channel) == entry, of_brand(&place.channel), *index)
    };
    candidates.max_by_key(rank).map(|(_, place)| place)
}

/// What a request says; `None`, when that is nothing.
fn render(
    configuration: &Configuration,
    person: &Person,
    request: &Request,
) -> Option<Vec<Message>> {
    let voice = Voice {
        brand: request.brand.as_ref(),
        language: person.language().unwrap_or_default(),
        zone: person.zone().unwrap_or(&configuration.notification.zone),
    };
    voice::render(configuration, &request.words, voice).ok()
}

/// The deferred requests that go out with this item of marketing as a digest: of the same person on
/// the same account, as many as one call takes, the one that was asked for first being the first. Not those
/// that it replaces.
fn join(
    state: &State,
    configuration: &Configuration,
    id: Option<ItemId>,
    new: &Request,
    item: &mut Item,
    at: At,
) {
    for (other, deferred) in state.deferred_of(item.customer) {
        let request = &deferred.request;
        let may = id != Some(other) && request.digest && deferred.wait == Wait::Budget;
        if !may
            || new.replaces(request)
            || state.whose(request.customer, request.carrier) != Some(item.customer)
        {
            continue;
        }
        let Verdict::Queue(joined) = judge(state, configuration, item.customer, request, at) else {
            continue;
        };
        if joined.address != item.address
            || item.messages.len() + joined.messages.len() > MESSAGES_AT_MOST
        {
            continue;
        }
        item.messages.extend_from_slice(&joined.messages);
        item.joined.push(other);
    }
}
