use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path, Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mainstem_bus::nats::Published;
use mainstem_domain::ChannelId;
use mainstem_line::signature;
use serde_json::{Value, json};

use crate::accept::{Accepted, Refused, Request, accept};
use crate::events::{EventsRequest, accept_events};
use crate::intake::Stored;
use crate::{Ingress, Place};

/// `POST /webhooks/line/{channel}`, `POST /events/{channel}` and `GET /healthz`.
pub fn router(ingress: Arc<Ingress>) -> Router {
    let body_limit = DefaultBodyLimit::max(ingress.limits.body_bytes);
    Router::new()
        .route("/webhooks/line/{channel}", post(webhook))
        .route("/events/{channel}", post(events))
        .route("/healthz", get(health))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "not_found", "nothing is here"))
        .method_not_allowed_fallback(async || {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "webhooks come by POST")
        })
        .layer(body_limit)
        .with_state(ingress)
}

type ChannelPath = Result<Path<String>, PathRejection>;

/// Well, and by which directory it works: empty as long as there is none.
async fn health(State(ingress): State<Arc<Ingress>>) -> Json<serde_json::Value> {
    let applied = ingress.directory.current();
    let digest = applied.as_ref().map_or("", |applied| applied.digest.as_str());
    Json(json!({"status": "ok", "configuration": digest}))
}

async fn webhook(
    State(ingress): State<Arc<Ingress>>,
    path: ChannelPath,
    request: HttpRequest,
) -> Response {
    let known = named(path).filter(|channel| ingress.channels.get(channel).is_some());
    let outcome = match &known {
        Some(channel) => take_webhook(&ingress, channel, request).await.map(|_| json!({})),
        None => Err(unknown()),
    };
    answer(&ingress, known.as_ref(), outcome)
}

async fn take_webhook(
    ingress: &Ingress,
    id: &ChannelId,
    request: HttpRequest,
) -> Result<Stored, Refused> {
    let headers = request.headers().clone();
    let body = read(ingress, request).await?;
    let request = Request {
        signature: text(&headers, signature::HEADER),
        content_type: text(&headers, "content-type"),
        traceparent: text(&headers, "traceparent"),
        body: &body,
        received_at: (ingress.now)(),
    };
    let credentials = ingress.channels.get(id).ok_or_else(unknown)?;
    let applied = ingress.directory.current();
    let place = applied.as_ref().and_then(|applied| Place::of(id, &applied.configuration));
    let accepted = accept(id, credentials, place.as_ref(), &ingress.handles, request)?;
    store(ingress, id, accepted).await
}

async fn events(
    State(ingress): State<Arc<Ingress>>,
    path: ChannelPath,
    request: HttpRequest,
) -> Response {
    let known = named(path).filter(|channel| ingress.sources.get(channel).is_some());
    let outcome = match &known {
        Some(channel) => take_events(&ingress, channel, request).await.map(|stored| {
            let duplicates = stored.events.iter().filter(|one| **one == Published::Duplicate);
            let duplicates = duplicates.count();
            json!({
                "stored": stored.events.len() - duplicates,
                "duplicates": duplicates,
                "dead_lettered": stored.dead_lettered,
            })
        }),
        None => Err(unknown()),
    };
    answer(&ingress, known.as_ref(), outcome)
}

async fn take_events(
    ingress: &Ingress,
    id: &ChannelId,
    request: HttpRequest,
) -> Result<Stored, Refused> {
    let headers = request.headers().clone();
    let body = read(ingress, request).await?;
    let request = EventsRequest { headers: &headers, body: &body, received_at: (ingress.now)() };
    let source = ingress.sources.get(id).ok_or_else(unknown)?;
    let applied = ingress.directory.current();
    let place = applied.as_ref().and_then(|applied| Place::of(id, &applied.configuration));
    let accepted = accept_events(source, place.as_ref(), &ingress.handles, request)?;
    store(ingress, id, accepted).await
}

async fn store(ingress: &Ingress, id: &ChannelId, accepted: Accepted) -> Result<Stored, Refused> {
    ingress.store(id, accepted, ingress.limits.store_within).await.map_err(|error| {
        tracing::error!(channel = %id, %error, "cannot store");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "not_stored", "not stored; send again")
    })
}

fn answer(
    ingress: &Ingress,
    known: Option<&ChannelId>,
    outcome: Result<Value, Refused>,
) -> Response {
    match outcome {
        Ok(answer) => Json(answer).into_response(),
        Err(Refused { status, code, message }) => {
            let label = known.map_or("unknown", ChannelId::as_str);
            ingress.metrics.refused(label, code);
            tracing::warn!(channel = label, reason = code, "request refused");
            refuse(status, code, message)
        }
    }
}

fn named(path: ChannelPath) -> Option<ChannelId> {
    path.ok().and_then(|Path(channel)| channel.parse().ok())
}

fn unknown() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "unknown_channel", "no channel has this path")
}

async fn read(ingress: &Ingress, request: HttpRequest) -> Result<Bytes, Refused> {
    let body = Bytes::from_request(request, &());
    match tokio::time::timeout(ingress.limits.read_within, body).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(
            Refused::new(rejection.status(), "body_too_large", "the body is larger than is taken"),
        ),
        Ok(Err(_)) => {
            Err(Refused::new(StatusCode::BAD_REQUEST, "body_broken_off", "the body broke off"))
        }
        Err(_) => Err(Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            "the body took too long",
        )),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}
