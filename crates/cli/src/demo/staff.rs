//! The staff of the stores and desks, as they play in the demo.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures::stream::{self, FuturesUnordered};
use futures::{StreamExt as _, TryStreamExt as _};
use mainstem_bus::TraceContext;
use mainstem_bus::nats::ServiceClient;
use mainstem_domain::{RefusalCode, StaffId};
use mainstem_proto::wire::routing::{
    AcceptConversationRequest, CloseConversationRequest, Conversation, ConversationState,
    ListConversationsRequest, ListConversationsResponse, RejectConversationRequest,
    ReplyConversationRequest, SetPresenceRequest, SetPresenceResponse,
};
use serde::Serialize;

use super::stage::Stage;
use crate::operator::{call, connect};

/// Who come at the same time.
const AT_ONCE: usize = 16;
/// How often somebody looks whether there is an offer.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A talk takes from so long to four times as long, by the clock of the day.
const LEAST_TALK: Duration = Duration::from_secs(30);
/// Of so many offers one is turned down, and one is not seen in time.
const OFFERS: usize = 8;

/// Everybody is there and answers whoever is handed to them, until something goes wrong.
pub(super) async fn work(stage: &Stage) -> anyhow::Error {
    match talk(stage).await {
        Ok(never) => match never {},
        Err(error) => error.context("the staff work"),
    }
}

async fn talk(stage: &Stage) -> anyhow::Result<std::convert::Infallible> {
    let config = &stage.process.config;
    let bus = connect(config, Some("backoffice"), &stage.secret.of("backoffice")).await?;
    let routing = ServiceClient::new(bus, &stage.secret.of("desk/demo"));
    come(stage, &routing).await.context("they say that they are there")?;
    let mut seen = BTreeSet::new();
    let mut talks = FuturesUnordered::new();
    loop {
        for offer in offered(&routing).await? {
            let talk = offer.talk.clone().unwrap_or_default();
            let until = talk.offer_end_time.map(|time| (time.seconds, time.nanos));
            if seen.insert((offer.conversation.clone(), talk.staff.clone(), until)) {
                let number = seen.len();
                talks.push(answer(stage, &routing, offer.conversation, talk.staff, number));
            }
        }
        // What has ended by now; the rest goes on while the next offers are looked for.
        let look = tokio::time::sleep(LOOK_EVERY);
        tokio::pin!(look);
        loop {
            tokio::select! {
                Some(ended) = talks.next() => ended?,
                () = &mut look => break,
            }
        }
    }
}

async fn come(stage: &Stage, routing: &ServiceClient) -> anyhow::Result<()> {
    let staff: Vec<&StaffId> = stage.example.staff.keys().collect();
    stream::iter(staff)
        .map(async |staff| {
            let request = SetPresenceRequest {
                request_id: format!("there-{staff}"),
                staff: staff.to_string(),
                available: true,
                capacity: 0,
            };
            let answer: SetPresenceResponse =
                call(routing, "routing", "set-presence", &request).await?;
            anyhow::Ok(answer)
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |_| Ok(()))
        .await
}

async fn offered(routing: &ServiceClient) -> anyhow::Result<Vec<Conversation>> {
    let request = ListConversationsRequest {
        state: ConversationState::Offered.into(),
        page_size: 500,
        ..ListConversationsRequest::default()
    };
    let page: ListConversationsResponse =
        call(routing, "routing", "list-conversations", &request).await?;
    Ok(page.conversations)
}

/// What one person does with one offer. It may be somebody else's by then: the person is told so, and
/// that is that.
async fn answer(
    stage: &Stage,
    routing: &ServiceClient,
    conversation: String,
    staff: String,
    number: usize,
) -> anyhow::Result<()> {
    let request_id = format!("{conversation}-{number}");
    let clock = &stage.process.clock;
    if number % OFFERS == 1 {
        // Not seen in time.
        return Ok(());
    }
    if number % OFFERS == 2 {
        let reject = RejectConversationRequest { request_id, conversation, staff };
        return ask(routing, "reject-conversation", &reject).await.map(|_| ());
    }
    let accept = AcceptConversationRequest {
        request_id: format!("accept-{request_id}"),
        conversation: conversation.clone(),
        staff: staff.clone(),
    };
    if !ask(routing, "accept-conversation", &accept).await? {
        return Ok(());
    }
    let share = u32::try_from(number % 4)? + 1;
    clock.sleep_until(clock.now().after(LEAST_TALK * share)).await;
    let reply = ReplyConversationRequest {
        request_id: format!("reply-{request_id}"),
        conversation: conversation.clone(),
        staff: staff.clone(),
        text: "您好，已為您確認，有任何問題歡迎再告訴我們。".to_owned(),
    };
    ask(routing, "reply-conversation", &reply).await?;
    let close =
        CloseConversationRequest { request_id: format!("close-{request_id}"), conversation, staff };
    ask(routing, "close-conversation", &close).await?;
    Ok(())
}

/// Whether it was done: what was meant may be over by now.
async fn ask(
    routing: &ServiceClient,
    endpoint: &str,
    request: &impl Serialize,
) -> anyhow::Result<bool> {
    let trace = TraceContext::root(endpoint);
    let body = Bytes::from(serde_json::to_vec(request)?);
    match routing.call("routing", endpoint, body, &trace).await {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.code == RefusalCode::FailedPrecondition => Ok(false),
        Err(refusal) => Err(refusal).context(endpoint.to_owned()),
    }
}
