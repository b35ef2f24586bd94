use std::time::Duration;

use anyhow::bail;
use mainstem_bus::Position;
use mainstem_bus::nats::{Bus, Log};
use mainstem_bus::topology::{CUSTOMER, INBOUND, OUTBOX, QUEUES, RELAY, ROUTING};
use mainstem_proto::wire::engine::{GetStatusRequest, GetStatusResponse};
use mainstem_proto::wire::routing::{
    CaseState, ConversationState, ListCasesRequest, ListCasesResponse, ListConversationsRequest,
    ListConversationsResponse,
};

use super::feed::Feed;
use super::progress::Progress;
use super::stage::Stage;
use crate::report::{self, Tally};

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A small day takes seconds; a large one is given a second more for each so many events.
const PATIENCE: Duration = Duration::from_mins(2);
const EVENTS_PER_SECOND: u64 = 20;

/// Who reads what; a reader that has read its streams to their ends has nothing left to do.
const READERS: [(&str, &[&str]); 3] = [
    ("identity-merge", &[INBOUND]),
    ("routing", &[CUSTOMER]),
    ("notification", &[CUSTOMER, ROUTING]),
];

/// Waits until nobody has anything left to do, and gives the tally of what the streams hold then.
pub(super) async fn wait(stage: &Stage, progress: &Progress, feed: &Feed) -> anyhow::Result<Tally> {
    let mut waits_for = Vec::new();
    let waiting = async {
        loop {
            waits_for = look(stage).await?;
            if waits_for.is_empty() {
                progress.say("reading the streams");
                let tally = report::read(&stage.operator.bus, feed.tally()).await?;
                // The broker copies to OUTBOX a moment later, so an empty one says little.
                match tally.waiting() {
                    0 => return anyhow::Ok(tally),
                    waiting => waits_for.push(format!("{waiting} messages are to be sent")),
                }
            }
            progress.say(&format!("waiting: {}", waits_for.join("; ")));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let patience = PATIENCE + Duration::from_secs(feed.count() / EVENTS_PER_SECOND);
    match tokio::time::timeout(patience, waiting).await {
        Ok(quiet) => quiet,
        Err(_) => bail!("after {} s still waiting: {}", patience.as_secs(), waits_for.join("; ")),
    }
}

/// What there is still to do.
async fn look(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let operator = &stage.operator;
    let mut waits_for = Vec::new();
    for (service, streams) in READERS {
        // The ends first: what comes later is somebody's who is looked at later.
        let mut ends = Vec::new();
        for stream in streams {
            ends.push((stream, end(&operator.bus, stream).await?));
        }
        let status: GetStatusResponse =
            operator.call(service, "get-status", &GetStatusRequest {}).await?;
        for (stream, (_, last)) in ends {
            let position = status.positions.iter().find(|position| position.stream == **stream);
            let read = position.map_or(0, |position| position.sequence);
            if read < last {
                waits_for.push(format!("{service} has read {read} of {last} from {stream}"));
            }
        }
    }
    for (state, name) in
        [(ConversationState::Offered, "on offer"), (ConversationState::InProgress, "under way")]
    {
        let request = ListConversationsRequest {
            state: state.into(),
            page_size: 500,
            ..ListConversationsRequest::default()
        };
        let found: ListConversationsResponse =
            operator.call("routing", "list-conversations", &request).await?;
        if !found.conversations.is_empty() {
            waits_for.push(format!("{} conversations are {name}", found.conversations.len()));
        }
    }
    for (state, name) in [(CaseState::Open, "open"), (CaseState::Accepted, "in work")] {
        let request =
            ListCasesRequest { state: state.into(), page_size: 500, ..ListCasesRequest::default() };
        let found: ListCasesResponse = operator.call("routing", "list-cases", &request).await?;
        if !found.cases.is_empty() {
            waits_for.push(format!("{} cases are {name}", found.cases.len()));
        }
    }
    for stream in [QUEUES, OUTBOX, RELAY] {
        if end(&operator.bus, stream).await?.1 > 0 {
            waits_for.push(format!("{stream} is not empty"));
        }
    }
    Ok(waits_for)
}

async fn end(bus: &Bus, stream: &'static str) -> anyhow::Result<(u64, u64)> {
    Ok(Log::open(bus, stream, Position::default()).await?.end().await?)
}
