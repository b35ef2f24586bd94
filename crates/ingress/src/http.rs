use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path, Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mainstem_domain::ChannelId;
use mainstem_line::signature;
use serde_json::json;

use crate::Ingress;
use crate::accept::{Refused, Request, accept};

/// `POST /webhooks/line/{channel}` and `GET /healthz`.
pub fn router(ingress: Arc<Ingress>) -> Router {
    let body_limit = DefaultBodyLimit::max(ingress.limits.body_bytes);
    Router::new()
        .route("/webhooks/line/{channel}", post(webhook))
        .route("/healthz", get(async || Json(json!({"status": "ok"}))))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "not_found", "nothing is here"))
        .method_not_allowed_fallback(async || {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "webhooks come by POST")
        })
        .layer(body_limit)
        .with_state(ingress)
}

async fn webhook(
    State(ingress): State<Arc<Ingress>>,
    path: Result<Path<String>, PathRejection>,
    request: HttpRequest,
) -> Response {
    let channel = path.ok().and_then(|Path(channel)| channel.parse::<ChannelId>().ok());
    let known = channel.filter(|channel| ingress.channels.get(channel).is_some());
    let label = known.as_ref().map_or("unknown", ChannelId::as_str);
    let outcome = match &known {
        Some(channel) => take(&ingress, channel, request).await,
        None => Err(refused(StatusCode::NOT_FOUND, "unknown_channel", "no channel has this path")),
    };
    match outcome {
        Ok(()) => Json(json!({})).into_response(),
        Err(Refused { status, code, message }) => {
            ingress.metrics.refused(label, code);
            tracing::warn!(channel = label, reason = code, "webhook refused");
            refuse(status, code, message)
        }
    }
}

async fn take(ingress: &Ingress, id: &ChannelId, request: HttpRequest) -> Result<(), Refused> {
    let headers = request.headers().clone();
    let body = read(ingress, request).await?;
    let request = Request {
        signature: text(&headers, signature::HEADER),
        traceparent: text(&headers, "traceparent"),
        body: &body,
        received_at: (ingress.now)(),
    };
    let Some(channel) = ingress.channels.get(id) else {
        return Err(refused(StatusCode::NOT_FOUND, "unknown_channel", "no channel has this path"));
    };
    let accepted = accept(id, channel, &ingress.handles, request)?;
    let stored = tokio::time::timeout(ingress.limits.store_within, ingress.store(id, accepted));
    match stored.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(channel = %id, %error, "cannot store");
            Err(refused(StatusCode::SERVICE_UNAVAILABLE, "not_stored", "not stored; send again"))
        }
        Err(_) => Err(refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_stored_in_time",
            "not stored in time; send again",
        )),
    }
}

async fn read(ingress: &Ingress, request: HttpRequest) -> Result<Bytes, Refused> {
    let body = Bytes::from_request(request, &());
    match tokio::time::timeout(ingress.limits.read_within, body).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(refused(rejection.status(), "body_too_large", "the body is larger than is taken"))
        }
        Ok(Err(_)) => {
            Err(refused(StatusCode::BAD_REQUEST, "body_broken_off", "the body broke off"))
        }
        Err(_) => {
            Err(refused(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body took too long"))
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refused(status: StatusCode, code: &'static str, message: &'static str) -> Refused {
    Refused { status, code, message }
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}
