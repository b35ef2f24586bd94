//! The stand-in over HTTP: LINE's own paths, and `/sandbox/…` for whoever looks at it from above.

mod accounts;
mod connection;
mod control;
mod line;
mod page;
mod webhooks;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;

use crate::Sandbox;

pub(crate) use connection::{Connection, Listener};

/// LINE takes no more.
const MOST_BODY_BYTES: usize = 2 * 1024 * 1024;
/// A picture in base 64.
const MOST_ACT_BYTES: usize = 16 * 1024 * 1024;

/// LINE's calls, the page at `/`, and `/sandbox/…`.
pub fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new()
        .merge(line::routes())
        .merge(control::routes())
        .merge(accounts::routes())
        .merge(webhooks::routes())
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .merge(page::routes().layer(DefaultBodyLimit::max(MOST_ACT_BYTES)))
        .with_state(sandbox)
}

/// What the stand-in itself does not take; LINE's own refusals have LINE's form.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
    }
}

fn refuse(status: StatusCode, code: &'static str, message: &str) -> Refused {
    Refused { status, code, message: message.to_owned() }
}

fn unknown_channel() -> Refused {
    refuse(StatusCode::NOT_FOUND, "unknown_channel", "the channels file lacks it")
}

fn invalid(message: &str) -> Refused {
    refuse(StatusCode::BAD_REQUEST, "invalid", message)
}

/// The body, or the answer to one that is none.
fn body<T>(request: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
    request.map(|Json(body)| body).map_err(|error| invalid(&error.body_text()))
}
