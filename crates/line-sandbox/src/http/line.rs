//! LINE's own paths. What `api-data.line.me` and `access.line.me` answer is answered here too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use bytes::Bytes;
use futures::stream;
use mainstem_line::api;
use serde::Deserialize;
use serde_json::json;

use super::Connection;
use crate::faults::Lost;
use crate::platform::{Answer, Body as AnswerBody, Call, Request, Unread};
use crate::{Endpoint, Sandbox};

/// A caller that is still there after this is let go.
const HANG: Duration = Duration::from_mins(10);
const DROPS: u32 = 16;
const FOLLOWERS: usize = 300;

type Shared = State<Arc<Sandbox>>;

pub(super) fn routes() -> Router<Arc<Sandbox>> {
    let sends = |endpoint| post(move |state, head, body| with_body(endpoint, state, head, body));
    let asks = |endpoint| get(move |state, head| without(endpoint, state, head));
    let of = |endpoint| move |state, head, id| about(endpoint, state, head, id);
    Router::new()
        .route(api::REPLY_PATH, sends(Endpoint::Reply))
        .route(api::PUSH_PATH, sends(Endpoint::Push))
        .route("/v2/bot/message/multicast", sends(Endpoint::Multicast))
        .route("/v2/bot/message/narrowcast", sends(Endpoint::Narrowcast))
        .route("/v2/bot/message/broadcast", sends(Endpoint::Broadcast))
        .route("/v2/bot/message/validate/{kind}", post(validate))
        .route("/v2/bot/message/progress/narrowcast", get(progress))
        .route("/v2/bot/message/quota", asks(Endpoint::Quota))
        .route("/v2/bot/message/quota/consumption", asks(Endpoint::QuotaConsumption))
        .route("/v2/bot/message/{id}/content", get(content))
        .route("/v2/bot/message/{id}/content/{part}", get(content_part))
        .route("/v2/bot/profile/{id}", get(of(Endpoint::Profile)))
        .route("/v2/bot/user/{id}/linkToken", post(of(Endpoint::LinkToken)))
        .route("/v2/bot/followers/ids", get(followers))
        .route("/v2/bot/info", asks(Endpoint::BotInfo))
        .route("/v2/bot/chat/loading/start", sends(Endpoint::Loading))
        .route(
            "/v2/bot/channel/webhook/endpoint",
            asks(Endpoint::WebhookEndpoint)
                .put(|state, head, body| with_body(Endpoint::WebhookEndpoint, state, head, body)),
        )
        .route("/v2/bot/channel/webhook/test", post(test_webhook))
        .route("/oauth2/v3/token", post(issue_token))
        .route("/v2/oauth/revoke", post(revoke_token))
        .route("/dialog/bot/accountLink", get(link))
}

/// What stands before the body of a call.
struct Head {
    headers: HeaderMap,
    /// Served by a listener that is not ours, a connection cannot be reset; its call hangs instead.
    connection: Option<Connection>,
}

impl<S: Sync> axum::extract::FromRequestParts<S> for Head {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self { headers: parts.headers.clone(), connection: connection(&parts.extensions) })
    }
}

fn connection(extensions: &Extensions) -> Option<Connection> {
    let known = extensions.get::<ConnectInfo<Connection>>();
    known.map(|ConnectInfo(connection)| connection.clone())
}

type ReadBody = Result<Bytes, BytesRejection>;

async fn with_body(endpoint: Endpoint, state: Shared, head: Head, body: ReadBody) -> Response {
    let body = body.as_deref().map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Unread::TooLarge,
        _ => Unread::BrokenOff,
    });
    answer(&state, endpoint, &head, Request::Body(body)).await
}

async fn without(endpoint: Endpoint, state: Shared, head: Head) -> Response {
    answer(&state, endpoint, &head, Request::Nothing).await
}

async fn about(endpoint: Endpoint, state: Shared, head: Head, Path(id): Path<String>) -> Response {
    answer(&state, endpoint, &head, Request::Of(&id)).await
}

/// Messages are the same by whatever call they are sent.
async fn validate(state: Shared, head: Head, _: Path<String>, body: ReadBody) -> Response {
    with_body(Endpoint::Validate, state, head, body).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfRequest {
    request_id: String,
}

async fn progress(state: Shared, head: Head, Query(of): Query<OfRequest>) -> Response {
    let request = Request::Of(&of.request_id);
    answer(&state, Endpoint::NarrowcastProgress, &head, request).await
}

async fn content(state: Shared, head: Head, Path(message): Path<String>) -> Response {
    let request = Request::Content { message: &message, part: "" };
    answer(&state, Endpoint::Content, &head, request).await
}

async fn content_part(
    state: Shared,
    head: Head,
    Path((message, part)): Path<(String, String)>,
) -> Response {
    if !matches!(part.as_str(), "preview" | "transcoding") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let request = Request::Content { message: &message, part: &part };
    answer(&state, Endpoint::Content, &head, request).await
}

#[derive(Deserialize)]
struct Page {
    start: Option<String>,
    limit: Option<usize>,
}

async fn followers(state: Shared, head: Head, Query(page): Query<Page>) -> Response {
    let limit = page.limit.unwrap_or(FOLLOWERS);
    let request = Request::Page { start: page.start.as_deref(), limit };
    answer(&state, Endpoint::Followers, &head, request).await
}

/// Sends the account's webhook without events, and says how it was answered.
async fn test_webhook(State(sandbox): Shared, head: Head) -> Response {
    let asked = respond(&sandbox, Endpoint::BotInfo, &head, Request::Nothing);
    let AnswerBody::Json(bot) = &asked.body else { return StatusCode::NOT_FOUND.into_response() };
    let bot: serde_json::Value = serde_json::from_str(bot).unwrap_or_default();
    let mut all = sandbox.channels.iter();
    let account = all.find(|(_, channel)| bot["userId"] == channel.destination.as_str());
    let Some((id, _)) = account.filter(|_| asked.status == 200) else {
        return write(&head, asked);
    };
    let status = sandbox.verify_webhook(id).await;
    let success = status.is_some_and(|status| (200..300).contains(&status));
    let status = status.unwrap_or_default();
    let reason = if success { "OK" } else { "ERROR_STATUS_CODE" };
    Json(json!({"success": success, "timestamp": sandbox.now().to_string(), "statusCode": status,
        "reason": reason, "detail": status.to_string()}))
    .into_response()
}

#[derive(Deserialize)]
struct Credentials {
    grant_type: String,
    #[serde(default, rename = "client_id")]
    id: String,
    #[serde(default, rename = "client_secret")]
    secret: String,
}

async fn issue_token(State(sandbox): Shared, Form(client): Form<Credentials>) -> Response {
    let refuse = |status, error: &str, description: &str| {
        (status, Json(json!({"error": error, "error_description": description}))).into_response()
    };
    if client.grant_type != "client_credentials" {
        let description = "grant_type must be client_credentials";
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", description);
    }
    let (at, mut platform) = (sandbox.now(), sandbox.platform());
    let Some((token, seconds)) = platform.issue_access_token(&client.id, &client.secret, at) else {
        let description = "client_id or client_secret is invalid";
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client", description);
    };
    Json(json!({"token_type": "Bearer", "access_token": token, "expires_in": seconds}))
        .into_response()
}

#[derive(Deserialize)]
struct Revoked {
    access_token: String,
}

async fn revoke_token(State(sandbox): Shared, Form(revoked): Form<Revoked>) -> StatusCode {
    sandbox.platform().revoke_token(&revoked.access_token);
    StatusCode::OK
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    link_token: String,
    nonce: String,
}

/// Where our own page sends a person who wants to be known.
async fn link(State(sandbox): Shared, Query(link): Query<Link>) -> Response {
    match sandbox.link(&link.link_token, &link.nonce).await {
        Ok(acted) => Json(acted).into_response(),
        Err(error) => super::webhooks::refused(error).into_response(),
    }
}

async fn answer(
    sandbox: &Sandbox,
    endpoint: Endpoint,
    head: &Head,
    request: Request<'_>,
) -> Response {
    let answer = respond(sandbox, endpoint, head, request);
    if endpoint.way().is_some() {
        sandbox.tell_change();
    }
    let wait = match answer.lost {
        Some(Lost::Hang) => answer.latency + HANG,
        Some(Lost::Reset) if head.connection.is_none() => answer.latency + HANG,
        Some(Lost::Reset | Lost::Status500) | None => answer.latency,
    };
    if !wait.is_zero() {
        // A connection that waits would keep the process.
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = sandbox.stopping.cancelled() => {}
        }
    }
    write(head, answer)
}

fn respond(sandbox: &Sandbox, endpoint: Endpoint, head: &Head, request: Request<'_>) -> Answer {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let call = Call {
        endpoint,
        authorization: text("authorization"),
        retry_key: text(api::RETRY_KEY_HEADER),
        traceparent: text("traceparent"),
        at: sandbox.now(),
        request,
    };
    sandbox.platform().call(&call)
}

fn write(head: &Head, answer: Answer) -> Response {
    if let Some(connection) = head.connection.as_ref().filter(|_| answer.lost.is_some()) {
        connection.reset();
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (media_type, bytes) = match answer.body {
        AnswerBody::Json(json) => ("application/json".to_owned(), Bytes::from(json)),
        AnswerBody::Content(content) => (content.media_type, content.bytes),
    };
    let length = bytes.len();
    let body = if answer.slow_body.is_zero() {
        Body::from(bytes)
    } else {
        drop_by_drop(bytes, answer.slow_body)
    };
    let head = [(header::CONTENT_TYPE, media_type), (header::CONTENT_LENGTH, length.to_string())];
    let request_id = [("x-line-request-id", answer.request_id)];
    let accepted = answer.accepted_request_id.map(|id| [(api::ACCEPTED_REQUEST_HEADER, id)]);
    match accepted {
        Some(accepted) => (status, request_id, accepted, head, body).into_response(),
        None => (status, request_id, head, body).into_response(),
    }
}

/// A body in drops, evenly over that time.
fn drop_by_drop(bytes: Bytes, over: Duration) -> Body {
    let size = bytes.len().div_ceil(DROPS as usize).max(1);
    let pause = over / DROPS;
    Body::from_stream(stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let drop = rest.split_to(size.min(rest.len()));
        Some((Ok::<_, Infallible>(drop), rest))
    }))
}
