use std::borrow::Cow;

use mainstem_bus::record::header;
use mainstem_bus::{
    Call, Chore, Counts, Draft, Gauge, Keeper, Machine, Method, Stored, Unreadable, Upstream,
    no_such_method, read_request, topology,
};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::custody;
use mainstem_domain::routing::{
    Answer, Case, CaseView, Event, HandOver, Input, IssuedCode, Routing, Stage, State,
};
use mainstem_domain::{
    CaseId, CustomerId, QueueId, Refusal, RefusalCode, identity::Event as IdentityEvent,
};
use mainstem_proto::field::{parse_case, parse_customer, parse_queue};
use mainstem_proto::pause::queue_to_wire;
use mainstem_proto::wire::{channel, routing as wire};
use mainstem_proto::{FieldError, channel as channel_event, identity, routing};
use mainstem_runtime::erasure;

use crate::wish::{reason, wish};
use crate::{bindings, code, conversations, desk, queue, trail};

/// routing on the bus: reads `CUSTOMER`, writes `ROUTING`.
#[derive(Debug)]
pub struct RoutingMachine;

const READERS: &[Role] = &[Role::Store, Role::Desk, Role::Unit, Role::Operator, Role::Service];
const WORKERS: &[Role] = &[Role::Unit, Role::Operator];
const COUNTERS: &[Role] = &[Role::Store, Role::Desk, Role::Unit, Role::Operator];
const OPENERS: &[Role] = &[Role::Store, Role::Desk, Role::Unit, Role::Operator, Role::Service];
pub(crate) const WATCHERS: &[Role] = &[Role::Unit, Role::Operator, Role::Service];
const KEEPERS: &[Role] = &[Role::Operator, Role::Service];
const ISSUERS: &[Role] = &[Role::Store, Role::Desk, Role::Operator];
const ENDERS: &[Role] = &[Role::Desk, Role::Operator];
const OPERATORS: &[Role] = &[Role::Operator];
pub(crate) const TALKERS: &[Role] = &[Role::Store, Role::Desk, Role::Operator, Role::Service];

/// What is on one page when the caller does not say, and at most.
const PAGE: (usize, usize) = (50, 500);

impl Machine for RoutingMachine {
    type Decider = Routing;

    const SERVICE: &'static str = "routing";
    const LEDGER: &'static str = topology::ROUTING;
    const UPSTREAMS: &'static [Upstream] = &[Upstream { stream: topology::CUSTOMER, ledger: true }];
    const SNAPSHOT_VERSION: u32 = 7;
    const METHODS: &'static [Method] = &[
        Method { name: "GetCase", endpoint: "get-case", roles: READERS },
        Method { name: "ListCases", endpoint: "list-cases", roles: READERS },
        Method { name: "OpenCase", endpoint: "open-case", roles: OPENERS },
        Method { name: "AcceptCase", endpoint: "accept-case", roles: WORKERS },
        Method { name: "ClaimNext", endpoint: "claim-next", roles: WORKERS },
        Method { name: "StartCase", endpoint: "start-case", roles: WORKERS },
        Method { name: "WaitCase", endpoint: "wait-case", roles: WORKERS },
        Method { name: "ResolveCase", endpoint: "resolve-case", roles: WORKERS },
        Method { name: "CloseCase", endpoint: "close-case", roles: COUNTERS },
        Method { name: "ReopenCase", endpoint: "reopen-case", roles: COUNTERS },
        Method { name: "TransferCase", endpoint: "transfer-case", roles: WORKERS },
        Method { name: "SetPriority", endpoint: "set-priority", roles: COUNTERS },
        Method { name: "CancelCase", endpoint: "cancel-case", roles: WORKERS },
        Method { name: "RequeueCase", endpoint: "requeue-case", roles: KEEPERS },
        Method { name: "IssueBindingCode", endpoint: "issue-binding-code", roles: ISSUERS },
        Method { name: "RevokeBindingCode", endpoint: "revoke-binding-code", roles: ISSUERS },
        Method { name: "ListBindings", endpoint: "list-bindings", roles: READERS },
        Method { name: "EndBinding", endpoint: "end-binding", roles: ENDERS },
        Method { name: "HandOver", endpoint: "hand-over", roles: OPERATORS },
        Method { name: "PauseQueue", endpoint: "pause-queue", roles: WORKERS },
        Method { name: "ResumeQueue", endpoint: "resume-queue", roles: WORKERS },
        Method { name: "ListQueues", endpoint: "list-queues", roles: READERS },
        Method { name: "ExplainDecision", endpoint: "explain-decision", roles: READERS },
        Method { name: "GetConversation", endpoint: "get-conversation", roles: TALKERS },
        Method { name: "ListConversations", endpoint: "list-conversations", roles: TALKERS },
        Method { name: "AcceptConversation", endpoint: "accept-conversation", roles: TALKERS },
        Method { name: "RejectConversation", endpoint: "reject-conversation", roles: TALKERS },
        Method { name: "TransferConversation", endpoint: "transfer-conversation", roles: TALKERS },
        Method { name: "ReplyConversation", endpoint: "reply-conversation", roles: TALKERS },
        Method { name: "CloseConversation", endpoint: "close-conversation", roles: TALKERS },
        Method { name: "SetPresence", endpoint: "set-presence", roles: TALKERS },
        Method { name: "ListStaff", endpoint: "list-staff", roles: TALKERS },
    ];

    fn input(_upstream: &str, message: &Stored) -> Result<Option<Input>, Unreadable> {
        let record = &message.record;
        if record.kind().starts_with("mainstem.identity.") {
            let event = identity::decode(record.kind(), &record.body).map_err(unreadable)?;
            if let Some(input) = custody::Input::of_identity(&event) {
                return Ok(Some(Input::Custody(input)));
            }
            let IdentityEvent::Merged { survivor, absorbed, .. } = event else { return Ok(None) };
            return Ok(Some(Input::Merged { survivor, absorbed }));
        }
        let Some(customer) = record.header(header::CUSTOMER) else { return Ok(None) };
        let customer: CustomerId =
            customer.parse().map_err(|_| Unreadable("ce-customer is malformed".to_owned()))?;
        let event: channel::ChannelEvent = serde_json::from_slice(&record.body)
            .map_err(|_| Unreadable("the body is no channel event".to_owned()))?;
        let event = channel_event::decode(event).map_err(unreadable)?.event;
        let address = channel_event::address_of(&event);
        let code = code::presented(&event.act);
        Ok(Some(Input::Channel { customer, event: Box::new(event), address, code }))
    }

    fn encode(event: &Event, _cause: Option<&Stored>) -> Draft {
        let (customer, subject, place) = match event {
            Event::Custody(event) => return custody_draft(event),
            Event::Conversation(event) => return conversations::draft(event),
            Event::Withdrawn(what) => return queue::draft(what),
            Event::Opened { case, .. } | Event::CaseRestated { case, .. } => {
                (case.customer, topology::case_subject(case.customer), place(case))
            }
            Event::Queued { id, case } => {
                let subject =
                    topology::queued_subject(case.customer, &case.queue, case.priority, *id);
                (case.customer, subject, offer(*id, case))
            }
            Event::Accepted { customer, .. }
            | Event::Started { customer, .. }
            | Event::Waits { customer, .. }
            | Event::Resolved { customer, .. }
            | Event::Closed { customer, .. }
            | Event::Reopened { customer, .. }
            | Event::Transferred { customer, .. }
            | Event::Prioritised { customer, .. }
            | Event::Warned { customer, .. }
            | Event::Escalated { customer, .. }
            | Event::SerialShared { customer, .. }
            | Event::Cancelled { customer, .. } => {
                (*customer, topology::case_subject(*customer), Vec::new())
            }
            Event::PurchaseNoted { customer, purchase } => (
                *customer,
                topology::conversation_subject(*customer),
                topology::place_headers(None, None, Some(&purchase.brand)),
            ),
            Event::Moved { to, .. } => (*to, topology::case_subject(*to), Vec::new()),
            Event::CodeIssued { code: IssuedCode { staff, .. }, .. }
            | Event::CodeRevoked { staff, .. }
            | Event::HandOverBegun(HandOver { from: staff, .. })
            | Event::HandOverDone { from: staff, .. } => {
                return bindings::staff_draft(event, Some(staff));
            }
            Event::CodeRefused { staff, .. } => {
                return bindings::staff_draft(event, staff.as_ref());
            }
            Event::Bound { customer, binding }
            | Event::BindingEnded { customer, binding }
            | Event::BindingRestated { customer, binding } => (
                *customer,
                topology::conversation_subject(*customer),
                topology::place_headers(
                    Some(&binding.channel),
                    binding.store.as_ref(),
                    binding.brand.as_ref(),
                ),
            ),
            Event::RulesTried(tried) => (
                tried.customer,
                topology::conversation_subject(tried.customer),
                topology::place_headers(Some(&tried.channel), None, None),
            ),
            Event::RuleFailed(_) => return own_draft(event, topology::RULES),
            Event::QueuePaused { .. } | Event::QueueResumed { .. } => {
                return own_draft(event, topology::PAUSES);
            }
            Event::MessageRequested(request) => (
                request.customer,
                topology::conversation_subject(request.customer),
                topology::place_headers(Some(&request.channel), None, request.brand.as_ref()),
            ),
        };
        let encoded = routing::encode(event);
        let mut headers = place;
        headers.push((header::CUSTOMER, customer.to_string()));
        Draft { subject, kind: Cow::Borrowed(encoded.kind), body: encoded.body, headers }
    }

    fn decode(message: &Stored) -> Result<Event, Unreadable> {
        routing::decode(message.record.kind(), &message.record.body)
            .map_err(|error| Unreadable(error.to_string()))
    }

    fn chores(state: &State) -> Vec<Chore> {
        state.custody().jobs().into_iter().map(Chore::from).collect()
    }

    fn keeper_of(state: &State, message: &Stored) -> Keeper {
        let Ok(event) = Self::decode(message) else { return Keeper::Stays };
        let subject = &message.record.subject;
        Keeper::of(state.custody(), subject, state.carrier_of(&event))
    }

    fn chore_done(job: &str, counts: Counts) -> Option<Input> {
        Some(Input::Custody(custody::Input::JobDone { job: job.to_owned(), counts }))
    }

    fn gauges(state: &State) -> Vec<Gauge> {
        let waiting = Gauge {
            name: "mainstem.routing.conversations_waiting",
            value: u64::try_from(state.waiting()).unwrap_or(u64::MAX),
            alert: None,
        };
        let failed = Gauge {
            name: "mainstem.routing.rules_failed",
            value: state.rules_failed(),
            alert: Some("the condition of a rule cannot be evaluated for some events"),
        };
        bindings::gauges(state).into_iter().chain([waiting, failed]).collect()
    }

    fn answer(answer: &Answer) -> String {
        if let Some(body) = bindings::answer(answer).or_else(|| conversations::answer(answer)) {
            return body;
        }
        if let Answer::Paused(view) | Answer::Queue(view) = answer {
            let response = wire::PauseQueueResponse { queue: Some(queue_to_wire(view)) };
            return serde_json::to_string(&response).unwrap_or_default();
        }
        let case = answer.case().map(wire::Case::from);
        let existing = matches!(answer, Answer::Existing(_));
        let response = wire::OpenCaseResponse { case, existing };
        serde_json::to_string(&response).unwrap_or_default()
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each method")]
    fn call(
        state: &State,
        method: &str,
        caller: &Caller,
        request_id: &str,
        body: &[u8],
    ) -> Result<Call<Input>, Refusal> {
        match method {
            "GetCase" => {
                let request: wire::GetCaseRequest = read_request(body)?;
                Ok(Call::Read(response(Some(&seen(state, caller, &request.case)?))))
            }
            "ListCases" => list(state, caller, &read_request(body)?),
            "OpenCase" => {
                let wish = wish(caller, read_request(body)?)?;
                Ok(Call::Command(Input::Open(Box::new(wish))))
            }
            "AcceptCase" => {
                let request: wire::AcceptCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                Ok(Call::Command(Input::Accept { case, by: caller.name.clone() }))
            }
            "ResolveCase" => {
                let request: wire::ResolveCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                Ok(Call::Command(Input::Resolve { case, by: caller.name.clone() }))
            }
            "ClaimNext" => {
                let request: wire::ClaimNextRequest = read_request(body)?;
                let queue = parse_queue("queue", &request.queue)?;
                serves(caller, &queue)?;
                Ok(Call::Command(Input::Claim { queue, by: caller.name.clone() }))
            }
            "StartCase" => {
                let request: wire::StartCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                Ok(Call::Command(Input::Start { case, by: caller.name.clone() }))
            }
            "WaitCase" => {
                let request: wire::WaitCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                Ok(Call::Command(Input::Wait { case, by: caller.name.clone() }))
            }
            "CloseCase" => {
                let request: wire::CloseCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                Ok(Call::Command(Input::Close { case, by: caller.name.clone() }))
            }
            "ReopenCase" => {
                let request: wire::ReopenCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                Ok(Call::Command(Input::Reopen { case, by: caller.name.clone() }))
            }
            "TransferCase" => {
                let request: wire::TransferCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                let to = parse_queue("queue", &request.queue)?;
                let reason = reason(&request.reason)?;
                let overrules = caller.role == Role::Operator;
                let by = caller.name.clone();
                Ok(Call::Command(Input::Transfer { case, to, by, overrules, reason }))
            }
            "SetPriority" => {
                let request: wire::SetPriorityRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                let priority = routing::parse_priority("priority", &request.priority)?;
                let by = caller.name.clone();
                Ok(Call::Command(Input::Prioritise { case, priority, by }))
            }
            "CancelCase" => {
                let request: wire::CancelCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                let reason = reason(&request.reason)?;
                let overrules = caller.role == Role::Operator;
                let by = caller.name.clone();
                Ok(Call::Command(Input::Cancel { case, by, overrules, reason }))
            }
            "RequeueCase" => {
                let request: wire::RequeueCaseRequest = read_request(body)?;
                let case = seen(state, caller, &request.case)?.id;
                Ok(Call::Command(Input::Requeue { case, by: caller.name.clone() }))
            }
            "PauseQueue" => {
                let request: wire::PauseQueueRequest = read_request(body)?;
                let queue = parse_queue("queue", &request.queue)?;
                serves(caller, &queue)?;
                let (by, reason) = (caller.name.clone(), reason(&request.reason)?);
                Ok(Call::Command(Input::Pause { queue, by, reason }))
            }
            "ResumeQueue" => {
                let request: wire::ResumeQueueRequest = read_request(body)?;
                let queue = parse_queue("queue", &request.queue)?;
                serves(caller, &queue)?;
                Ok(Call::Command(Input::Resume { queue, by: caller.name.clone() }))
            }
            "ListQueues" => queue::queues(state, caller, &read_request(body)?),
            "IssueBindingCode" => bindings::issue(caller, request_id, &read_request(body)?),
            "RevokeBindingCode" => bindings::revoke(state, caller, &read_request(body)?),
            "ListBindings" => bindings::list(state, caller, &read_request(body)?),
            "EndBinding" => bindings::end(state, caller, &read_request(body)?),
            "HandOver" => bindings::hand_over(caller, &read_request(body)?),
            queue::METHOD => queue::list(state, caller, body),
            desk::METHOD => desk::list(state, caller, body),
            erasure::UNREPORTED => Ok(Call::Read(erasure::unreported(state.custody()))),
            erasure::CONFIRM => {
                Ok(Call::Command(Input::Custody(erasure::confirmed(&read_request(body)?)?)))
            }
            _ => conversations::call(state, method, caller, body)
                .or_else(|| trail::call(state, method, caller, body))
                .unwrap_or_else(|| Err(no_such_method(Self::SERVICE, method))),
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> Unreadable {
    Unreadable(error.to_string())
}

/// What names no customer.
fn own_draft(event: &Event, what: &str) -> Draft {
    let encoded = routing::encode(event);
    Draft {
        subject: topology::ledger_subject(RoutingMachine::SERVICE, what),
        kind: Cow::Borrowed(encoded.kind),
        body: encoded.body,
        headers: Vec::new(),
    }
}

/// Whose records are whose: under the customer's cases, or nobody's.
fn custody_draft(event: &custody::Event) -> Draft {
    let customer = event.owner();
    let encoded = routing::encode(&Event::Custody(event.clone()));
    let headers = customer.map(|customer| (header::CUSTOMER, customer.to_string()));
    Draft {
        subject: customer.map_or_else(
            || topology::ledger_subject(RoutingMachine::SERVICE, topology::ERASED),
            topology::case_subject,
        ),
        kind: Cow::Borrowed(encoded.kind),
        body: encoded.body,
        headers: headers.into_iter().collect(),
    }
}

fn place(case: &Case) -> Vec<(&'static str, String)> {
    topology::place_headers(Some(&case.channel), case.store.as_ref(), case.brand.as_ref())
}

/// What a worker sees of an item without reading its body; [`topology::place_headers`] are for
/// readers of every stream.
fn offer(id: CaseId, case: &Case) -> Vec<(&'static str, String)> {
    let mut headers = place(case);
    headers.push(("Case-Id", id.to_string()));
    headers.push(("Priority", case.priority.to_string()));
    headers.extend(case.timing.due_at.map(|due| ("Due-At", due.to_string())));
    headers.extend(case.store.as_ref().map(|store| ("Store", store.to_string())));
    headers.extend(case.brand.as_ref().map(|brand| ("Brand", brand.to_string())));
    headers
}

pub(crate) fn reaches(caller: &Caller, case: &Case) -> bool {
    caller.reaches(case.store.as_ref(), Some(&case.queue), case.brand.as_ref())
}

/// A case out of the caller's scope does not exist for that caller.
fn seen(state: &State, caller: &Caller, id: &str) -> Result<CaseView, Refusal> {
    let id = parse_case("case", id)?;
    state
        .case(id)
        .filter(|view| reaches(caller, &view.case))
        .ok_or_else(|| Refusal::not_found("case", id.as_str()))
}

/// How many are on a page.
pub(crate) fn page_size(asked: i32) -> Result<usize, FieldError> {
    let size =
        usize::try_from(asked).map_err(|_| FieldError::new("page_size", "must not be negative"))?;
    Ok(if size == 0 { PAGE.0 } else { size.min(PAGE.1) })
}

fn list(
    state: &State,
    caller: &Caller,
    request: &wire::ListCasesRequest,
) -> Result<Call<Input>, Refusal> {
    let queue = match request.queue.as_str() {
        "" => None,
        queue => Some(parse_queue("queue", queue)?),
    };
    let customer = match request.customer.as_str() {
        "" => None,
        customer => Some(parse_customer("customer", customer)?),
    };
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(parse_case("page_token", token).map_err(|_| {
            FieldError::new("page_token", "is none that this method gave; begin at the first page")
        })?),
    };
    let size = page_size(request.page_size)?;
    if let Some(queue) = &queue
        && caller.role == Role::Unit
    {
        serves(caller, queue)?;
    }
    let wanted = |case: &Case| {
        queue.as_ref().is_none_or(|queue| *queue == case.queue)
            && customer.is_none_or(|customer| customer == case.customer)
            && (request.state() == wire::CaseState::Unspecified
                || request.state() == state_of(case))
            && reaches(caller, case)
    };
    let unfinished = match request.state() {
        wire::CaseState::Open
        | wire::CaseState::Accepted
        | wire::CaseState::InProgress
        | wire::CaseState::WaitingCustomer => true,
        wire::CaseState::Unspecified
        | wire::CaseState::Resolved
        | wire::CaseState::Closed
        | wire::CaseState::Cancelled => false,
    };
    let found: Box<dyn Iterator<Item = (&CaseId, &Case)>> = if unfinished {
        Box::new(state.unfinished_after(after))
    } else {
        Box::new(state.cases_after(after))
    };
    let mut found = found.filter(|(_, case)| wanted(case));
    let cases: Vec<_> = found
        .by_ref()
        .take(size)
        .map(|(id, case)| wire::Case::from(&CaseView { id: *id, case: case.clone() }))
        .collect();
    let next_page_token = match cases.last().filter(|_| found.next().is_some()) {
        Some(last) => last.case.clone(),
        None => String::new(),
    };
    let response = wire::ListCasesResponse { cases, next_page_token };
    Ok(Call::Read(serde_json::to_string(&response).unwrap_or_default()))
}

/// A caller that takes from a queue must have it in its scope.
pub(crate) fn serves(caller: &Caller, queue: &QueueId) -> Result<(), Refusal> {
    if caller.reaches(None, Some(queue), None) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::PermissionDenied,
        "OUT_OF_SCOPE",
        format!("queue {queue} is not among the caller's"),
    ))
}

fn state_of(case: &Case) -> wire::CaseState {
    match case.stage {
        Stage::Open => wire::CaseState::Open,
        Stage::Accepted { .. } => wire::CaseState::Accepted,
        Stage::InProgress { .. } => wire::CaseState::InProgress,
        Stage::Waiting { .. } => wire::CaseState::WaitingCustomer,
        Stage::Resolved { .. } => wire::CaseState::Resolved,
        Stage::Closed { .. } => wire::CaseState::Closed,
        Stage::Cancelled { .. } => wire::CaseState::Cancelled,
    }
}

/// Every method about one case answers with `{"case": …}`.
fn response(view: Option<&CaseView>) -> String {
    let case = view.map(wire::Case::from);
    serde_json::to_string(&wire::GetCaseResponse { case }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mainstem_domain::access::Scope;
    use mainstem_domain::configuration::Priority;
    use mainstem_domain::routing::{Details, Opener, REASON_AT_MOST, Timing};
    use mainstem_domain::{At, Decider as _};
    use serde_json::{Value, json};

    use super::*;
    use crate::wish::{DETAIL_AT_MOST, PHOTOS_AT_MOST};

    fn case() -> Case {
        Case {
            customer: CustomerId::derive("1"),
            channel: "line-1".parse().unwrap(),
            brand: Some("aurora".parse().unwrap()),
            store: None,
            queue: "repair".parse().unwrap(),
            priority: Priority::P2,
            opener: Opener::Event { rule: "menu".to_owned(), event: "e1".parse().unwrap() },
            details: Details::default(),
            carrier: None,
            opened_at: At::default(),
            queued_at: At::default(),
            queued_times: 1,
            stage: Stage::Open,
            tags: std::collections::BTreeSet::new(),
            timing: Timing { due_at: Some(At::from_millis(1_500)), ..Timing::default() },
            shared_serial: false,
        }
    }

    fn ask(role: Role, method: &str, body: &Value) -> Result<Input, Refusal> {
        let mut state = State::default();
        let opened = Event::Opened { id: CaseId::derive("1"), case: case() };
        Routing::evolve(&mut state, &opened, At::default());
        let queues = ["repair".parse().unwrap()].into();
        let scope = Scope { queues, ..Scope::default() };
        let caller = Caller { name: "somebody".to_owned(), role, scope };
        match RoutingMachine::call(&state, method, &caller, "r", body.to_string().as_bytes())? {
            Call::Command(input) => Ok(input),
            Call::Read(answer) | Call::Look(answer) => panic!("{method} only reads: {answer}"),
        }
    }

    #[test]
    fn a_unit_claims_from_its_own_queues_only() {
        let claim = |queue: &str| ask(Role::Unit, "ClaimNext", &json!({"queue": queue}));
        assert!(matches!(claim("repair"), Ok(Input::Claim { .. })));
        assert_eq!(claim("parts").unwrap_err().reason, "OUT_OF_SCOPE");
        assert_eq!(claim("").unwrap_err().violations[0].field, "queue");
    }

    #[test]
    fn staff_open_a_case_within_their_scope_and_limits() {
        let open = |change: &dyn Fn(&mut Value)| {
            let customer = CustomerId::derive("1");
            let mut body = json!({
                "customer": customer.as_str(), "queue": "repair", "details": {"serial": "sn-1"},
            });
            change(&mut body);
            ask(Role::Unit, "OpenCase", &body)
        };
        let Ok(Input::Open(wish)) = open(&|_| {}) else { panic!("a unit opens on its queue") };
        assert_eq!((wish.priority, wish.details.serial.as_str()), (Priority::P3, "sn-1"));
        let refused = |change: &dyn Fn(&mut Value)| open(change).unwrap_err();
        assert_eq!(refused(&|body| body["queue"] = "parts".into()).reason, "OUT_OF_SCOPE");
        let field = |change: &dyn Fn(&mut Value)| refused(change).violations[0].field.clone();
        assert_eq!(field(&|body| body["customer"] = "x".into()), "customer");
        assert_eq!(field(&|body| body["priority"] = "P5".into()), "priority");
        let long = "x".repeat(DETAIL_AT_MOST + 1);
        let symptom = field(&|body| body["details"]["symptom"] = long.as_str().into());
        assert_eq!(symptom, "details.symptom");
        let many = vec!["x"; PHOTOS_AT_MOST + 1];
        assert_eq!(field(&|body| body["details"]["photos"] = json!(many)), "details.photos");
    }

    #[test]
    fn the_cases_of_a_customer_are_found_alone() {
        let mut state = State::default();
        for (id, customer) in [("1", "1"), ("2", "2"), ("3", "2")] {
            let case = Case { customer: CustomerId::derive(customer), ..case() };
            let opened = Event::Opened { id: CaseId::derive(id), case };
            Routing::evolve(&mut state, &opened, At::default());
        }
        let scope = Scope { all: true, ..Scope::default() };
        let caller = Caller { name: "somebody".to_owned(), role: Role::Service, scope };
        let list = |customer: &str| {
            let body = json!({"customer": customer, "state": "CASE_STATE_OPEN"}).to_string();
            match RoutingMachine::call(&state, "ListCases", &caller, "r", body.as_bytes())? {
                Call::Read(answer) => Ok(serde_json::from_str::<Value>(&answer).unwrap()),
                Call::Look(_) | Call::Command(_) => panic!("a list only reads"),
            }
        };
        let found = |customer: &str| list(customer).unwrap()["cases"].as_array().map(Vec::len);
        assert_eq!(found(CustomerId::derive("1").as_str()), Some(1));
        assert_eq!(found(CustomerId::derive("2").as_str()), Some(2));
        assert_eq!(found(CustomerId::derive("3").as_str()), None);
        assert_eq!(found(""), Some(3));
        let refusal: Refusal = list("x").unwrap_err();
        assert_eq!(refusal.violations[0].field, "customer");
    }

    #[test]
    fn an_operator_overrules_a_holder_and_everybody_says_why() {
        let cancel = |role, reason: &str| {
            let case = CaseId::derive("1");
            ask(role, "CancelCase", &json!({"case": case.as_str(), "reason": reason}))
        };
        for (role, may) in [(Role::Unit, false), (Role::Operator, true)] {
            let Ok(Input::Cancel { overrules, reason, .. }) = cancel(role, " no parts ") else {
                panic!("{role:?} may cancel")
            };
            assert_eq!((overrules, reason.as_str()), (may, "no parts"));
        }
        for reason in ["", " ", &"x".repeat(REASON_AT_MOST + 1)] {
            assert_eq!(cancel(Role::Unit, reason).unwrap_err().violations[0].field, "reason");
        }
        assert!(cancel(Role::Unit, &"修".repeat(REASON_AT_MOST)).is_ok());
    }

    #[test]
    fn an_item_can_be_told_from_its_headers() {
        let draft =
            RoutingMachine::encode(&Event::Queued { id: CaseId::derive("1"), case: case() }, None);
        let header = |name: &str| {
            let found = draft.headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(header("Case-Id"), Some(CaseId::derive("1").as_str()));
        assert_eq!((header("Priority"), header("Brand")), (Some("P2"), Some("aurora")));
        assert_eq!((header("Store"), header("Due-At")), (None, Some("1970-01-01T00:00:01.500Z")));
    }
}
