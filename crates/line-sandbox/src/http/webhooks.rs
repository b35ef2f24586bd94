//! What LINE sends, on request.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use mainstem_domain::ChannelId;
use mainstem_line::signature;
use serde_json::{Value, json};

use super::{Refused, body, invalid, refuse, unknown_channel};
use crate::{ActError, DeliverRequest, PlayError, PlayRequest, Progress, Sandbox};

type Shared = State<Arc<Sandbox>>;

pub(super) fn routes() -> Router<Arc<Sandbox>> {
    Router::new()
        .route("/sandbox/play", post(play))
        .route("/sandbox/progress", get(progress))
        .route("/sandbox/deliver", post(deliver))
        .route("/sandbox/verify/{channel}", post(verify))
        .route("/sandbox/incumbent/{channel}", post(incumbent))
}

async fn progress(State(sandbox): Shared) -> Json<Progress> {
    Json(sandbox.progress())
}

async fn play(
    State(sandbox): Shared,
    request: Result<Json<PlayRequest>, JsonRejection>,
) -> Result<Json<Progress>, Refused> {
    let request = body(request)?;
    sandbox.play(&request).await.map(Json).map_err(|error| match error {
        PlayError::Busy => refuse(StatusCode::CONFLICT, "busy", "a day is being played"),
        PlayError::Invalid(message) => invalid(message),
    })
}

/// One body that somebody wrote, sent as it is. The answer is the receiver's status.
async fn deliver(
    State(sandbox): Shared,
    request: Result<Json<DeliverRequest>, JsonRejection>,
) -> Result<Json<Value>, Refused> {
    let request = body(request)?;
    let status = sandbox.deliver_body(&request).await.map_err(|message| invalid(&message))?;
    Ok(Json(json!({"status": status})))
}

/// The console's check of a webhook: no events. The answer is the receiver's status.
async fn verify(
    State(sandbox): Shared,
    Path(channel): Path<ChannelId>,
) -> Result<Json<Value>, Refused> {
    if sandbox.channel(&channel).is_none() {
        return Err(unknown_channel());
    }
    match sandbox.verify_webhook(&channel).await {
        Some(status) => Ok(Json(json!({"status": status}))),
        None => Err(refuse(StatusCode::CONFLICT, "no_webhook", "the account has no webhook")),
    }
}

/// The system that a shadow channel's customers are still answered by.
async fn incumbent(
    State(sandbox): Shared,
    Path(channel): Path<ChannelId>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(account) = sandbox.channel(&channel) else {
        return unknown_channel().into_response();
    };
    let claimed = headers.get(signature::HEADER).and_then(|value| value.to_str().ok());
    let claimed = claimed.unwrap_or_default();
    let signed = account.signed(&body, claimed);
    sandbox.record().came(&channel, claimed, signed);
    if signed {
        return StatusCode::OK.into_response();
    }
    let message = "x-line-signature is missing or was not made over these bytes";
    refuse(StatusCode::UNAUTHORIZED, "bad_signature", message).into_response()
}

/// What a person cannot do.
pub(super) fn refused(error: ActError) -> Refused {
    match error {
        ActError::UnknownChannel => unknown_channel(),
        ActError::Invalid(message) => invalid(message),
    }
}
