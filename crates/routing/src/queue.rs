//! What becomes of the cases of one queue, as it happens.

use std::time::Duration;

use futures::StreamExt as _;
use mainstem_bus::nats::{InForce, News, Page, Scene, Thing, show};
use mainstem_bus::{Call, Draft, Machine as _, Stored, read_request, topology};
use mainstem_domain::access::Caller;
use mainstem_domain::routing::{CaseView, Event, Input, State, Withdrawn};
use mainstem_domain::{CaseId, QueueId, Refusal, RefusalCode};
use mainstem_proto::FieldError;
use mainstem_proto::field::{parse_optional, parse_queue, timestamp};
use mainstem_proto::pause::queue_to_wire;
use mainstem_proto::routing;
use mainstem_proto::watch::{present_case, present_pause, queue_change};
use mainstem_proto::wire::routing as wire;
use mainstem_runtime::service::{Told, Watch};
use serde::{Deserialize, Serialize};

use crate::RoutingMachine;
use crate::machine::{page_size, serves};

/// In real time: for clients that ask themselves whether anybody is there.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// How many things are asked for at once.
pub(crate) const PAGE: usize = 500;

/// The key of what is said about the queue itself; it comes before every case's.
const PAUSE: &str = "!";

/// The method behind the pages, which no face offers.
pub(crate) const METHOD: &str = "ListQueue";

#[derive(Serialize, Deserialize)]
struct Ask {
    queue: QueueId,
    after: String,
}

struct Queue {
    asked: Watch,
    queue: QueueId,
}

/// Opens `WatchQueue`.
///
/// A record that was moved after a split is no news, and is passed over: the case was said again of the
/// customer whose it is.
pub(crate) async fn open(
    asked: Watch,
    request: wire::WatchQueueRequest,
) -> Result<Told<wire::WatchQueueResponse>, Refusal> {
    let queue = parse_queue("queue", &request.queue)?;
    serves(&asked.caller, &queue)?;
    let (service, ledger) = (RoutingMachine::SERVICE, RoutingMachine::LEDGER);
    let directory = InForce::of(asked.bus.clone(), service, ledger).other_than(None).await;
    let directory = directory.map_err(|error| no_broker(&error))?.unwrap_or_default();
    if !directory.configuration.queues.contains_key(&queue) {
        return Err(Refusal::not_found("queue", queue.as_str()));
    }
    let (bus, stop) = (asked.bus.clone(), asked.stop.clone());
    let scene = Queue { asked, queue };
    let told = show::<RoutingMachine, _>(&bus, scene, &request.resume_token, HEARTBEAT, stop);
    Ok(told.await?.map(|news| news.map(response)).boxed())
}

fn response(news: News<wire::WatchQueueResponse>) -> wire::WatchQueueResponse {
    let News { resume_token, record } = news;
    wire::WatchQueueResponse { resume_token, ..record.unwrap_or_default() }
}

impl Scene for Queue {
    type Told = wire::WatchQueueResponse;

    fn name(&self) -> String {
        format!("queue {}", self.queue)
    }

    fn subjects(&self) -> Vec<String> {
        vec![
            topology::ALL_CASES.to_owned(),
            topology::queued_on(&self.queue),
            topology::ledger_subject(RoutingMachine::SERVICE, topology::WITHDRAWN),
            topology::ledger_subject(RoutingMachine::SERVICE, topology::PAUSES),
        ]
    }

    async fn page(&self, after: &str) -> Result<String, Refusal> {
        let ask = Ask { queue: self.queue.clone(), after: after.to_owned() };
        let body = serde_json::to_string(&ask).unwrap_or_default();
        let Watch { handle, caller, call_id, .. } = &self.asked;
        handle.ask(METHOD, caller.clone(), body, format!("{call_id}/{after}")).await
    }

    async fn read(
        &mut self,
        message: &Stored,
    ) -> Result<Option<Thing<wire::WatchQueueResponse>>, Refusal> {
        let Some(event) = event_of(message)? else { return Ok(None) };
        let told = queue_change(&event).filter(|told| {
            told.queue == self.queue.as_str() || told.to_queue == self.queue.as_str()
        });
        Ok(told.map(|told| Thing {
            key: if told.case.is_empty() { PAUSE.to_owned() } else { told.case.clone() },
            told: wire::WatchQueueResponse {
                time: Some(timestamp(message.decided_at())),
                sequence: message.sequence,
                ..told
            },
        }))
    }
}

/// What a record says, unless it is a copy.
pub(crate) fn event_of(message: &Stored) -> Result<Option<Event>, Refusal> {
    if message.record.is_moved() {
        return Ok(None);
    }
    RoutingMachine::decode(message).map(Some).map_err(|error| {
        tracing::error!(sequence = message.sequence, %error, "a watch cannot read a record");
        Refusal::new(
            RefusalCode::Unavailable,
            "OTHER_VERSION",
            "another version of routing has written; watch again with the last resume_token",
        )
    })
}

pub(crate) fn no_broker(error: &mainstem_bus::nats::StoreError) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "NO_BROKER", error.to_string())
}

/// Queues of the caller on which a case is open, or that are paused.
pub(crate) fn queues(
    state: &State,
    caller: &Caller,
    request: &wire::ListQueuesRequest,
) -> Result<Call<Input>, Refusal> {
    let after: Option<QueueId> =
        parse_optional("page_token", &request.page_token).map_err(|_| {
            let rule = "is none that this method gave; begin at the first page";
            FieldError::new("page_token", rule)
        })?;
    let size = page_size(request.page_size)?;
    let found = state.queues_after(after.as_ref());
    let mut found = found.filter(|view| caller.reaches(None, Some(&view.queue), None));
    let queues: Vec<_> = found.by_ref().take(size).map(|view| queue_to_wire(&view)).collect();
    let next_page_token = match queues.last().filter(|_| found.next().is_some()) {
        Some(last) => last.queue.clone(),
        None => String::new(),
    };
    let response = wire::ListQueuesResponse { queues, next_page_token };
    Ok(Call::Read(serde_json::to_string(&response).unwrap_or_default()))
}

/// That the queue is paused, and the cases on it that somebody still has to do.
pub(crate) fn list(state: &State, caller: &Caller, body: &[u8]) -> Result<Call<Input>, Refusal> {
    let Ask { queue, after } = read_request(body)?;
    serves(caller, &queue)?;
    let pause = state.queue(&queue).pause.filter(|_| after.is_empty());
    let pause =
        pause.map(|pause| Thing { key: PAUSE.to_owned(), told: present_pause(&queue, &pause) });
    let after = if after == PAUSE { "" } else { after.as_str() };
    let after: Option<CaseId> = parse_optional("after", after)?;
    let found = state.unfinished_after(after).filter(|(_, case)| case.queue == queue);
    let cases = found.map(|(id, case)| Thing {
        key: id.to_string(),
        told: present_case(&CaseView { id: *id, case: case.clone() }),
    });
    let things: Vec<_> = pause.into_iter().chain(cases).take(PAGE).collect();
    let more = things.len() == PAGE;
    Ok(Call::Look(serde_json::to_string(&Page { things, more }).unwrap_or_default()))
}

/// How it stands in the ledger that something was forgotten with its customer: under nobody.
pub(crate) fn draft(what: &Withdrawn) -> Draft {
    let encoded = routing::encode(&Event::Withdrawn(what.clone()));
    Draft {
        subject: topology::ledger_subject(RoutingMachine::SERVICE, topology::WITHDRAWN),
        kind: encoded.kind.into(),
        body: encoded.body,
        headers: Vec::new(),
    }
}
