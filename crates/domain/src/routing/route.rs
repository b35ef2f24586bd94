//! What an event of a customer leads to.

use std::fmt;

use super::case::{Case, Details, Opener, Stage};
use super::clock::Timing;
use super::event::Event;
use super::message::{MessageRequest, RulesTried};
use super::open::{Key, new_id};
use super::state::{Purchase, State};
use super::talk;
use crate::configuration::{Bought, Configuration, Facts, MOVED, Mode, Tried, parameter};
use crate::person::{Act, Carrier, ChannelEvent, ReplyRight};
use crate::{At, BrandId, CustomerId};

pub(super) fn route(
    state: &State,
    configuration: &Configuration,
    customer: CustomerId,
    event: &ChannelEvent,
    reachable: bool,
    at: At,
) -> Vec<Event> {
    // Hashed for what hangs on it alone: most events leave nothing that does.
    let carrier = || Carrier::of_event(event);
    let brand = brand(state, configuration, customer, event);
    let binding = state.binding(customer, brand.as_ref());
    let known = state.floor.find(customer, &event.channel, brand.as_ref());
    let purchases = Purchases { state, customer };
    let facts = Facts {
        event,
        kind: configuration.kind(&event.channel),
        at,
        brand: brand.as_ref(),
        purchase: Some(&purchases),
        staff: binding.map(|binding| &binding.staff),
        store: binding.and_then(|binding| binding.store.as_ref()),
        conversation: known.map_or("", |(_, one)| one.stage.name()),
    };
    let Tried { rule, failed } = configuration.rule_for(&facts);
    let mut events: Vec<_> = purchase(state, customer, event, at).into_iter().collect();
    let (mut about, mut opened) = (None, false);
    if let Some((rule, open)) = rule.and_then(|rule| Some((rule, rule.open.as_ref()?))) {
        let case = Case {
            customer,
            channel: event.channel.clone(),
            brand: brand.clone(),
            store: event.store.clone(),
            queue: open.queue.clone(),
            priority: open.priority,
            opener: Opener::Event { rule: rule.name.clone(), event: event.id.clone() },
            details: Details::default(),
            carrier: carrier(),
            opened_at: at,
            queued_at: at,
            queued_times: 1,
            stage: Stage::Open,
            timing: Timing::default().running(configuration, &open.queue, open.priority, at),
            tags: rule.tags.clone(),
            shared_serial: false,
        };
        about = state.same(&Key::of(&case), at);
        if about.is_none() {
            let id = new_id(state, &format!("{}/{}", event.channel, event.id));
            (about, opened) = (Some(id), true);
            events.push(Event::Opened { id, case: case.clone() });
            events.push(Event::Queued { id, case });
        }
    }
    let reply =
        event.reply_token.clone().map(|token| ReplyRight { token, received_at: event.received_at });
    let whose = (customer, brand.as_ref());
    events.extend(known.zip(rule).and_then(|((id, one), rule)| talk::tagged(id, one, rule)));
    if let Some(rule) = rule.filter(|rule| rule.close) {
        let closed = talk::closed_by_rule(known, rule).into_iter().collect();
        events.extend(talk::settled(state, configuration, closed, at).1);
    }
    let heard = talk::hear(state, configuration, whose, known, event, rule, at);
    // In the middle of a conversation nobody is told again that somebody will answer, but of a new case
    // everybody is told.
    let goes_on = heard.as_ref().is_some_and(|heard| !heard.begins);
    let said = rule.filter(|rule| rule.targets.is_empty() || !goes_on || opened);
    events.extend(heard.map(|heard| Event::Conversation(heard.event)));
    let mut templates: Vec<_> = said.and_then(|rule| rule.reply.clone()).into_iter().collect();
    // Shown by reply alone: a push that only says where else to go would be a disturbance.
    if event.mode == Mode::Retired && reply.is_some() {
        templates.push(MOVED.to_owned());
    }
    if reachable && !templates.is_empty() {
        talk::right_is_used(&mut events);
        events.push(Event::MessageRequested(MessageRequest {
            customer,
            channel: event.channel.clone(),
            brand,
            templates,
            text: None,
            case: about,
            reply,
            mode: event.mode,
            carrier: carrier(),
            staff: None,
            rule: rule.map(|rule| rule.name.clone()),
        }));
    }
    let told = !events.iter().all(|event| matches!(event, Event::PurchaseNoted { .. }));
    if !failed.is_empty() || (rule.is_some() && !told) {
        let rule = rule.map(|rule| rule.name.clone());
        let (channel, id) = (event.channel.clone(), event.id.clone());
        events.extend(failed.iter().cloned().map(Event::RuleFailed));
        events.push(Event::RulesTried(RulesTried {
            customer,
            channel,
            event: id,
            carrier: carrier(),
            rule,
            failed,
        }));
    }
    events
}

/// The brand that an event is about: the menu's, if the directory has it; else the event's own,
/// which is its store's; else, of a text, that of the conversation that was active last; else that
/// of the last purchase.
pub(super) fn brand(
    state: &State,
    configuration: &Configuration,
    customer: CustomerId,
    event: &ChannelEvent,
) -> Option<BrandId> {
    let menu = match &event.act {
        Act::Postback(data) => parameter(data, "brand").and_then(|text| text.parse().ok()),
        Act::Text(_)
        | Act::Follow
        | Act::Unfollow
        | Act::Media(_)
        | Act::Unsend(_)
        | Act::Business(_)
        | Act::Other => None,
    };
    menu.filter(|brand| configuration.brands.contains_key(brand))
        .or_else(|| event.brand.clone())
        .or_else(|| {
            // What is written without saying of what goes on with what was spoken of last.
            let writes = matches!(event.act, Act::Text(_) | Act::Media(_));
            let last = state.floor.last_active(customer, &event.channel).filter(|_| writes);
            last.and_then(|one| one.brand.clone())
        })
        .or_else(|| state.purchase(customer).map(|purchase| purchase.brand.clone()))
}

/// One customer's.
struct Purchases<'a> {
    state: &'a State,
    customer: CustomerId,
}

impl Bought for Purchases<'_> {
    fn last(&self) -> Option<&BrandId> {
        self.state.purchase(self.customer).map(|purchase| &purchase.brand)
    }
}

impl fmt::Debug for Purchases<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Purchases").field(&self.last()).finish()
    }
}

/// A purchase of another brand than the last one, unless it was made before that.
fn purchase(state: &State, customer: CustomerId, event: &ChannelEvent, at: At) -> Option<Event> {
    let Act::Business(kind) = &event.act else { return None };
    let brand = event.brand.clone().filter(|_| kind.is_purchase())?;
    // A clock that is ahead must not keep a brand for ever.
    let purchase =
        Purchase { brand, at: event.occurred_at.min(at), carrier: Carrier::of_event(event) };
    let news = state
        .purchase(customer)
        .is_none_or(|known| known.brand != purchase.brand && known.at <= purchase.at);
    news.then_some(Event::PurchaseNoted { customer, purchase })
}
