//! Clock, fault plan, ledger: what a test holds in its hand.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use mainstem_domain::At;
use serde::{Deserialize, Serialize};

use super::{Refused, body, invalid};
use crate::{Faults, Ledger, Sandbox, SeenByUser};

type Shared = State<Arc<Sandbox>>;

pub(super) fn routes() -> Router<Arc<Sandbox>> {
    Router::new()
        .route("/sandbox/clock", get(clock).post(set_clock))
        .route("/sandbox/faults", get(faults).put(set_faults).delete(clear_faults))
        .route("/sandbox/ledger", get(ledger))
        .route("/sandbox/seen/{user}", get(seen))
}

/// What time it is.
#[derive(Serialize)]
struct Time {
    at: String,
}

/// Either or both: the clock is set, then advanced.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetClock {
    #[serde(default)]
    set: Option<String>,
    #[serde(default)]
    advance_ms: u64,
}

async fn clock(State(sandbox): Shared) -> Json<Time> {
    Json(Time { at: sandbox.now().to_string() })
}

async fn set_clock(
    State(sandbox): Shared,
    request: Result<Json<SetClock>, JsonRejection>,
) -> Result<Json<Time>, Refused> {
    let SetClock { set, advance_ms } = body(request)?;
    if let Some(text) = set {
        let at = At::parse(&text)
            .ok_or_else(|| invalid("set: must be RFC 3339, e.g. 2026-11-21T09:00:00Z"))?;
        sandbox.set_clock(at);
    }
    sandbox.advance_clock(Duration::from_millis(advance_ms));
    Ok(Json(Time { at: sandbox.now().to_string() }))
}

async fn faults(State(sandbox): Shared) -> Json<Faults> {
    Json(sandbox.platform().faults().clone())
}

async fn set_faults(
    State(sandbox): Shared,
    request: Result<Json<Faults>, JsonRejection>,
) -> Result<Json<Faults>, Refused> {
    let plan = body(request)?;
    plan.check().map_err(|error| invalid(&error.to_string()))?;
    sandbox.platform().set_faults(plan.clone());
    Ok(Json(plan))
}

async fn clear_faults(State(sandbox): Shared) -> Json<Faults> {
    sandbox.platform().set_faults(Faults::default());
    Json(Faults::default())
}

async fn ledger(State(sandbox): Shared) -> Json<Ledger> {
    Json(sandbox.ledger())
}

async fn seen(State(sandbox): Shared, Path(user): Path<String>) -> Json<SeenByUser> {
    Json(sandbox.platform().seen_by(&user))
}
