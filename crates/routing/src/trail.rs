//! What the state knows about whose records are, and who may see them. It stands behind no face: only
//! this service asks, on behalf of a caller.

use mainstem_bus::record::{Headers, Record};
use mainstem_bus::{Call, Keeper, Machine as _, Stored, read_request};
use mainstem_domain::access::Caller;
use mainstem_domain::person::Carrier;
use mainstem_domain::routing::{Input, State};
use mainstem_domain::{BrandId, CaseId, ConversationId, CustomerId, Refusal, StoreId};
use mainstem_proto::decision;
use mainstem_proto::wire::routing as wire;
use serde::{Deserialize, Serialize};

use crate::RoutingMachine;
use crate::{conversations, machine};

/// The name under which the machine is asked for a [`Trail`].
pub(crate) const TRAIL: &str = "Trail";

/// The name under which the machine is asked for a [`Sight`].
pub(crate) const SIGHT: &str = "Sight";

/// Whose trail, by any id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AskTrail {
    pub(crate) customer: CustomerId,
    /// The record of an event: the subject that it stands under, and what it hangs on.
    #[serde(default)]
    pub(crate) event: Option<(String, Option<Carrier>)>,
}

/// Where a customer's records stand.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trail {
    /// The id of now, then its aliases.
    pub(crate) ids: Vec<CustomerId>,
    /// Records of some customers may stand under another.
    pub(crate) dividing: bool,
    /// The record of the event belongs to whom it stands under.
    pub(crate) own: bool,
}

/// What is to be shown of a decision.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AskSight {
    /// The store and the brand of the event.
    pub(crate) store: Option<StoreId>,
    pub(crate) brand: Option<BrandId>,
    pub(crate) case: Option<CaseId>,
    /// The conversation, and the store and the brand that its records name.
    pub(crate) conversation: Option<(ConversationId, Option<StoreId>, Option<BrandId>)>,
    /// Records of which it is not known whose they are: subject, kind and body of each.
    pub(crate) doubtful: Vec<(String, String, String)>,
}

/// What the caller may see of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sight {
    /// The event is in the caller's scope.
    pub(crate) event: bool,
    /// So is the case.
    pub(crate) case: bool,
    /// So is the conversation.
    pub(crate) conversation: bool,
    /// How that stands now; none: it is remembered no more.
    pub(crate) talk: Option<wire::Talk>,
    /// Whether each doubtful record belongs to whom it stands under.
    pub(crate) own: Vec<bool>,
}

/// Answers [`TRAIL`] and [`SIGHT`]; `None`: something else is asked.
pub(crate) fn call(
    state: &State,
    method: &str,
    caller: &Caller,
    body: &[u8],
) -> Option<Result<Call<Input>, Refusal>> {
    let answer = match method {
        TRAIL => read_request(body).map(|ask| json(&trail(state, &ask))),
        SIGHT => read_request(body).map(|ask| json(&sight(state, caller, &ask))),
        _ => return None,
    };
    Some(answer.map(Call::Read))
}

fn json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}

fn trail(state: &State, ask: &AskTrail) -> Trail {
    let own = ask.event.as_ref().is_none_or(|(subject, carrier)| {
        Keeper::of(state.custody(), subject, *carrier) == Keeper::Stays
    });
    Trail { ids: state.ids(ask.customer), dividing: state.custody().is_dividing(), own }
}

fn sight(state: &State, caller: &Caller, ask: &AskSight) -> Sight {
    let case = ask.case.and_then(|id| state.case(id));
    let known = ask.conversation.as_ref();
    let conversation = known.and_then(|(id, ..)| state.conversation(*id));
    let reached = match (&conversation, known) {
        (Some(view), _) => conversations::reaches(state, caller, &view.conversation),
        (None, Some((_, store, brand))) => caller.reaches(store.as_ref(), None, brand.as_ref()),
        (None, None) => false,
    };
    let own = ask.doubtful.iter().map(|(subject, kind, body)| {
        let mut headers = Headers::default();
        headers.set(mainstem_bus::record::header::TYPE, kind.as_str());
        let record = Record { subject: subject.clone(), headers, body: body.clone().into() };
        let message = Stored { sequence: 0, stored_at: 0, record };
        RoutingMachine::keeper_of(state, &message) == Keeper::Stays
    });
    Sight {
        event: caller.reaches(ask.store.as_ref(), None, ask.brand.as_ref()),
        case: case.is_some_and(|view| machine::reaches(caller, &view.case)),
        conversation: reached,
        talk: conversation.map(|view| decision::talk(&view.conversation.stage)),
        own: own.collect(),
    }
}
