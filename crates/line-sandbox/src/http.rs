use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use mainstem_domain::ChannelId;
use mainstem_line::{api, signature};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::platform::{Answer, Platform, SendCall};
use crate::{DeliverRequest, Ledger, PlayError, PlayRequest, Progress, Sandbox, chat};

const MOST_BODY_BYTES: usize = 2 * 1024 * 1024;
const MOST_CHATS: usize = 200;
const UNAUTHORIZED: &str = "Authentication failed. Confirm that the access token in the \
                            authorization header is valid.";

/// LINE's two calls, and `/sandbox/…` for whoever looks at it from above.
pub fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new()
        .route(api::REPLY_PATH, post(reply))
        .route(api::PUSH_PATH, post(push))
        .route("/sandbox/ledger", get(ledger))
        .route("/sandbox/play", post(play))
        .route("/sandbox/deliver", post(deliver))
        .route("/sandbox/incumbent/{channel}", post(incumbent))
        .route("/sandbox/chats", get(chats))
        .route("/sandbox/chat/{channel}/{user}", get(chat_page))
        .route("/sandbox/progress", get(progress))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(sandbox)
}

type Body = Result<Bytes, BytesRejection>;

async fn reply(State(sandbox): State<Arc<Sandbox>>, headers: HeaderMap, body: Body) -> Response {
    send(&sandbox, &headers, &body, Platform::reply).await
}

async fn push(State(sandbox): State<Arc<Sandbox>>, headers: HeaderMap, body: Body) -> Response {
    send(&sandbox, &headers, &body, Platform::push).await
}

async fn send(
    sandbox: &Sandbox,
    headers: &HeaderMap,
    body: &Body,
    call: impl FnOnce(&mut Platform, SendCall<'_>) -> Answer,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let late = sandbox.platform().latency();
    if !late.is_zero() {
        tokio::time::sleep(late).await;
    }
    let at = (sandbox.now)();
    let mut platform = sandbox.platform();
    let answer = match (account(sandbox, text("authorization")), body) {
        (None, _) => platform.refuse(401, UNAUTHORIZED),
        (_, Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            platform.refuse(413, "The request body is larger than 2 MB")
        }
        (_, Err(_)) => platform.refuse(400, "The request body broke off"),
        (Some(channel), Ok(body)) => call(
            &mut platform,
            SendCall {
                channel,
                body,
                retry_key: text(api::RETRY_KEY_HEADER),
                traceparent: text("traceparent"),
                at,
            },
        ),
    };
    drop(platform);
    let json = [("content-type", "application/json")];
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let request_id = [("x-line-request-id", answer.request_id)];
    let accepted = answer.accepted_request_id.map(|id| [(api::ACCEPTED_REQUEST_HEADER, id)]);
    match accepted {
        Some(accepted) => (status, request_id, accepted, json, answer.body).into_response(),
        None => (status, request_id, json, answer.body).into_response(),
    }
}

/// The account whose access token this is.
fn account<'a>(sandbox: &'a Sandbox, authorization: Option<&str>) -> Option<&'a ChannelId> {
    let token = authorization?.strip_prefix("Bearer ")?;
    let holds = |channel: &mainstem_line::Channel| channel.access_token.expose_secret() == token;
    sandbox.channels.iter().find_map(|(id, channel)| holds(channel).then_some(id))
}

async fn ledger(State(sandbox): State<Arc<Sandbox>>) -> Json<Ledger> {
    Json(sandbox.ledger())
}

async fn progress(State(sandbox): State<Arc<Sandbox>>) -> Json<Progress> {
    Json(sandbox.progress())
}

async fn play(
    State(sandbox): State<Arc<Sandbox>>,
    request: Result<Json<PlayRequest>, JsonRejection>,
) -> Response {
    let Json(request) = match request {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "invalid", &error.body_text()),
    };
    match sandbox.play(&request).await {
        Ok(summary) => Json(summary).into_response(),
        Err(PlayError::Busy) => refuse(StatusCode::CONFLICT, "busy", "a day is being played"),
        Err(PlayError::Invalid(message)) => refuse(StatusCode::BAD_REQUEST, "invalid", message),
    }
}

/// One body that somebody wrote, sent as it is. The answer is the receiver's status.
async fn deliver(
    State(sandbox): State<Arc<Sandbox>>,
    request: Result<Json<DeliverRequest>, JsonRejection>,
) -> Response {
    let Json(request) = match request {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "invalid", &error.body_text()),
    };
    match sandbox.deliver_body(&request).await {
        Ok(status) => Json(json!({"status": status})).into_response(),
        Err(message) => refuse(StatusCode::BAD_REQUEST, "invalid", &message),
    }
}

/// The system that a shadow channel's customers are still answered by.
async fn incumbent(
    State(sandbox): State<Arc<Sandbox>>,
    Path(channel): Path<ChannelId>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(account) = sandbox.channels.get(&channel) else {
        return refuse(StatusCode::NOT_FOUND, "unknown_channel", "the channels file lacks it");
    };
    let claimed = headers.get(signature::HEADER).and_then(|value| value.to_str().ok());
    let claimed = claimed.unwrap_or_default();
    let signed = account.signed(&body, claimed);
    sandbox.webhooks().came(&channel, claimed, signed);
    if signed {
        return StatusCode::OK.into_response();
    }
    let message = "x-line-signature is missing or was not made over these bytes";
    refuse(StatusCode::UNAUTHORIZED, "bad_signature", message)
}

async fn chats(State(sandbox): State<Arc<Sandbox>>) -> Html<String> {
    Html(chat::list(&sandbox.platform().people().longest(MOST_CHATS)))
}

async fn chat_page(
    State(sandbox): State<Arc<Sandbox>>,
    Path((channel, user)): Path<(ChannelId, String)>,
) -> Html<String> {
    let platform = sandbox.platform();
    Html(chat::page(&channel, &user, platform.people().chat(&channel, &user)))
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}
