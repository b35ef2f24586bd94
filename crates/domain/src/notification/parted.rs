//! A customer is taken apart or forgotten.

use std::collections::BTreeSet;

use super::event::Event;
use super::person::Consent;
use super::request::{Outcome, Standing};
use super::state::State;
use crate::ItemId;
use crate::custody::{self, ERASED, RESTATED_AT_MOST};

/// What hangs on the carriers of a part, said again of its piece: also of the one that keeps the id,
/// as some of its records may stand under another id that took part.
pub(super) fn part(state: &State, part: &custody::Part, consent: Option<Consent>) -> Vec<Event> {
    let decided = state.custody().decide(&custody::Input::Part(part.clone()));
    // Also where nothing is left: the piece before may have taken all but what this one refuses.
    let before = state.person(part.before).cloned().unwrap_or_default();
    let restated = before.portions(&part.carriers).into_iter().map(|(carrier, portion)| {
        Event::PersonRestated { customer: part.customer, carrier, portion }
    });
    let wishes = Event::WishesRestated {
        customer: part.customer,
        consent,
        preferences: before.preferences().clone(),
        last: part.last,
    };
    let involved: BTreeSet<_> =
        state.custody().involved(part).into_iter().map(|id| state.current(id)).collect();
    let standings = involved.into_iter().flat_map(|customer| state.standings_of(customer));
    let theirs = standings.filter(|(_, standing)| {
        standing.customer() != part.customer
            && standing.carrier().is_some_and(|carrier| part.carriers.contains(&carrier))
    });
    let theirs = theirs.flat_map(|(id, standing)| {
        // What stands under an alias stays there, and the alias may go apart one day.
        let (customer, carrier) = standing.stands();
        let released = Event::Released { id, customer, carrier };
        let released = (customer != part.before).then_some(released);
        let standing = standing.restated(part.customer);
        released.into_iter().chain([Event::Restated { id, standing }])
    });
    let restated = restated.chain([wishes]).chain(theirs).take(RESTATED_AT_MOST);
    decided.into_iter().map(Event::Custody).chain(restated).collect()
}

/// Everything else that can happen to the records of customers.
pub(super) fn custody(state: &State, input: &custody::Input) -> Vec<Event> {
    match input {
        custody::Input::Part(one) => part(state, one, None),
        custody::Input::Erased { customers, .. } => {
            let decided = state.custody().decide(input).into_iter().map(Event::Custody);
            let customers: BTreeSet<_> = customers.iter().map(|id| state.current(*id)).collect();
            let all = customers.into_iter().flat_map(|customer| state.standings_of(customer));
            let (mut events, mut items) = (Vec::new(), Vec::new());
            for (id, standing) in all {
                items.push(id);
                if events.len() < RESTATED_AT_MOST {
                    events.extend(erased(id, standing));
                }
            }
            // Last: what is forgotten takes the place of its end along.
            let voided = (!items.is_empty()).then_some(Event::ItemsVoided { items });
            events.into_iter().chain(decided).chain(voided).collect()
        }
        custody::Input::Split(_)
        | custody::Input::UpstreamMoved { .. }
        | custody::Input::JobDone { .. }
        | custody::Input::Reported(_) => {
            state.custody().decide(input).into_iter().map(Event::Custody).collect()
        }
    }
}

/// How a request ends whose customer goes, if it has not ended.
fn erased(id: ItemId, standing: &Standing) -> Option<Event> {
    let outcome = Outcome::Failed { reason: ERASED.into() };
    match standing {
        // With the item that it joined.
        Standing::Queued(item) if item.joined.contains(&id) => None,
        Standing::Queued(item) => {
            let (customer, carrier) = (item.customer, item.carrier);
            Some(Event::Settled { id, customer, outcome, carrier })
        }
        Standing::Deferred(deferred) => Some(Event::Ended {
            id,
            customer: deferred.request.customer,
            carrier: deferred.request.carrier,
            class: deferred.request.class,
            channel: deferred.request.channel.clone(),
            asked_at: deferred.request.asked_at,
            outcome,
        }),
        Standing::Ended(_) => None,
    }
}
