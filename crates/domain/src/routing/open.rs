//! Cases that staff open, and which wishes are about the same.

use std::collections::BTreeSet;
use std::time::Duration;

use unicode_normalization::UnicodeNormalization as _;

use super::case::{Case, CaseView, Opener, Stage};
use super::clock::Timing;
use super::event::{Answer, Event, NewCase};
use super::serial::Serial;
use super::state::State;
use super::step::told;
use crate::configuration::{CASE_OPENED, ChannelKind, Configuration, Mode};
use crate::custody::RESTATED_AT_MOST;
use crate::{At, BrandId, CaseId, ChannelId, CustomerId, Decision, QueueId, Refusal};

/// A wish about a machine without a serial number is the same as an earlier one for so long.
///
/// | what is asked for | is the same case while |
/// |---|---|
/// | a serial number, at a counter | a case of the same customer, brand and [`Serial`] is neither closed nor cancelled; so a resolved one comes up, and can be reopened |
/// | a menu choice or words that a rule takes | a case of the same customer, brand and rule was opened less than this ago and somebody still has to do it |
/// | no serial number, at a counter | the same with the queue and the product instead of the rule |
///
/// After that a second wish is a second machine: two cases of one wish can be seen and one of them
/// cancelled, while a wish that was taken for an older one would be lost.
pub const REPEATED_WITHIN: Duration = Duration::from_mins(30);

/// What a case is about: two with the same key may be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Serial(CustomerId, Option<BrandId>, Serial),
    Rule(CustomerId, Option<BrandId>, String),
    Counter(CustomerId, Option<BrandId>, QueueId, String),
}

impl Key {
    pub(super) fn customer(&self) -> CustomerId {
        let (Self::Serial(customer, ..) | Self::Rule(customer, ..) | Self::Counter(customer, ..)) =
            self;
        *customer
    }

    pub(super) fn of(case: &Case) -> Self {
        let (customer, brand) = (case.customer, case.brand.clone());
        match (case.serial(), &case.opener) {
            (Some(serial), _) => Self::Serial(customer, brand, serial),
            (None, Opener::Event { rule, .. }) => Self::Rule(customer, brand, rule.clone()),
            (None, Opener::Staff { .. }) => {
                let product = case.details.product.nfkc().flat_map(char::to_lowercase);
                let product: String = product.filter(|letter| !letter.is_whitespace()).collect();
                Self::Counter(customer, brand, case.queue.clone(), product)
            }
        }
    }
}

/// A case that staff ask for, unless there is one about the same.
pub(super) fn open(
    state: &State,
    configuration: &Configuration,
    wish: &NewCase,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    let customer = state.current(wish.customer);
    if state.custody.is_erased(customer) {
        return Err(Refusal::not_found("customer", wish.customer.as_str()));
    }
    if !configuration.queues.contains_key(&wish.queue) {
        return Err(Refusal::not_found("queue", wish.queue.as_str()));
    }
    if let Some(brand) = wish.brand.as_ref().filter(|id| !configuration.brands.contains_key(*id)) {
        return Err(Refusal::not_found("brand", brand.as_str()));
    }
    if let Some(store) = wish.store.as_ref().filter(|id| !configuration.stores.contains_key(*id)) {
        return Err(Refusal::not_found("store", store.as_str()));
    }
    let timing = Timing::default().running(configuration, &wish.queue, wish.priority, at);
    let case = Case {
        customer,
        channel: channel(configuration, wish)?,
        brand: wish.brand.clone(),
        store: wish.store.clone(),
        queue: wish.queue.clone(),
        priority: wish.priority,
        opener: Opener::Staff { by: wish.by.clone() },
        details: wish.details.clone(),
        carrier: None,
        opened_at: at,
        queued_at: at,
        queued_times: 1,
        stage: Stage::Open,
        timing,
        tags: BTreeSet::new(),
        shared_serial: false,
    };
    if let Some(view) = state.same(&Key::of(&case), at).and_then(|id| state.case(id)) {
        return Ok(Decision::answered(Vec::new(), Answer::Existing(view)));
    }
    let strangers = state.strangers(&case);
    let case = Case { shared_serial: !strangers.is_empty(), ..case };
    let id = new_id(state, &format!("staff/{customer}/{at}"));
    let mut events =
        vec![Event::Opened { id, case: case.clone() }, Event::Queued { id, case: case.clone() }];
    let news = strangers.into_iter().filter(|view| !view.case.shared_serial);
    events.extend(
        news.map(|view| Event::SerialShared {
            id: view.id,
            customer: view.case.customer,
            queue: Some(view.case.queue),
        })
        .take(RESTATED_AT_MOST),
    );
    events.extend(told(configuration, id, &case, CASE_OPENED));
    Ok(Decision::answered(events, Answer::Case(CaseView { id, case })))
}

/// Where news about a case goes.
fn channel(configuration: &Configuration, wish: &NewCase) -> Result<ChannelId, Refusal> {
    if let Some(channel) = &wish.channel {
        let known = configuration.channels.contains_key(channel);
        let unknown = || Refusal::not_found("channel", channel.as_str());
        return if known { Ok(channel.clone()) } else { Err(unknown()) };
    }
    let mut accounts = configuration.channels.iter().filter(|(_, channel)| {
        let theirs = wish.store.is_some() && channel.store == wish.store;
        theirs && channel.kind == ChannelKind::Line && channel.mode != Mode::Retired
    });
    let account = accounts.next().map(|(id, _)| id);
    account.or(configuration.entry.as_ref().map(|entry| &entry.channel)).cloned().ok_or_else(|| {
        Refusal::field(
            "channel",
            "must be given: the store has no account of its own, and there is no single entry",
        )
    })
}

/// Made of where it comes from, so that the same input has the same case wherever it is decided. A
/// source may use an event's id again after a long while; no case is overwritten then.
pub(super) fn new_id(state: &State, origin: &str) -> CaseId {
    let mut origin = origin.to_owned();
    let mut id = CaseId::derive(&origin);
    while state.is_used(id) {
        origin.push('+');
        id = CaseId::derive(&origin);
    }
    id
}
