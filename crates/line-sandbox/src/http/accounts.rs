//! Accounts and people: set, and told of.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use mainstem_domain::ChannelId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Refused, body, invalid, unknown_channel};
use crate::{Figures, Friendship, Person, Sandbox, Settings};

type Shared = State<Arc<Sandbox>>;

pub(super) fn routes() -> Router<Arc<Sandbox>> {
    Router::new()
        .route("/sandbox/accounts", get(accounts))
        .route("/sandbox/accounts/{channel}", get(account).patch(change_account))
        .route("/sandbox/accounts/{channel}/quota-used", put(set_quota_used))
        .route("/sandbox/accounts/{channel}/revoke-tokens", post(revoke_tokens))
        .route("/sandbox/accounts/{channel}/friends/{user}", put(befriend))
        .route("/sandbox/figures", get(figures))
        .route("/sandbox/people", post(create_person))
        .route("/sandbox/people/{user}", get(person).patch(change_person))
}

async fn accounts(State(sandbox): Shared) -> Json<BTreeMap<ChannelId, Settings>> {
    let platform = sandbox.platform();
    let settings = |id: &ChannelId| Some((id.clone(), platform.settings(id)?.clone()));
    Json(sandbox.channels.iter().filter_map(|(id, _)| settings(id)).collect())
}

async fn account(
    State(sandbox): Shared,
    Path(channel): Path<ChannelId>,
) -> Result<Json<Settings>, Refused> {
    sandbox.platform().settings(&channel).cloned().map(Json).ok_or_else(unknown_channel)
}

/// A JSON merge patch (RFC 7396) of the settings.
async fn change_account(
    State(sandbox): Shared,
    Path(channel): Path<ChannelId>,
    request: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Settings>, Refused> {
    let change = body(request)?;
    let mut platform = sandbox.platform();
    let settings = platform.settings(&channel).ok_or_else(unknown_channel)?;
    let settings: Settings = patched(settings, change)?;
    platform.change(&channel, settings.clone());
    Ok(Json(settings))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaUsed {
    messages: u64,
}

async fn set_quota_used(
    State(sandbox): Shared,
    Path(channel): Path<ChannelId>,
    request: Result<Json<QuotaUsed>, JsonRejection>,
) -> Result<Json<Figures>, Refused> {
    let used = body(request)?;
    let (at, mut platform) = (sandbox.now(), sandbox.platform());
    platform.set_quota_used(&channel, used.messages, at);
    platform.figures(at).remove(&channel).map(Json).ok_or_else(unknown_channel)
}

async fn revoke_tokens(
    State(sandbox): Shared,
    Path(channel): Path<ChannelId>,
) -> Result<Json<Value>, Refused> {
    if sandbox.channel(&channel).is_none() {
        return Err(unknown_channel());
    }
    Ok(Json(json!({"revoked": sandbox.platform().revoke_tokens(&channel)})))
}

/// Makes a person a friend or one who blocked, without a webhook.
async fn befriend(
    State(sandbox): Shared,
    Path((channel, user)): Path<(ChannelId, String)>,
    request: Result<Json<Friendship>, JsonRejection>,
) -> Result<Response, Refused> {
    let friendship = body(request)?;
    if sandbox.channel(&channel).is_none() {
        return Err(unknown_channel());
    }
    sandbox.platform().befriend(&channel, &user, friendship == Friendship::Friend);
    Ok(axum::http::StatusCode::NO_CONTENT.into_response())
}

/// An account's figures, with what is asked of its latency most.
#[derive(Serialize)]
struct FiguresOf {
    #[serde(flatten)]
    figures: Figures,
    latency_p50_ms: u32,
    latency_p99_ms: u32,
}

async fn figures(State(sandbox): Shared) -> Json<BTreeMap<ChannelId, FiguresOf>> {
    let figures = sandbox.platform().figures(sandbox.now()).into_iter();
    let shown = figures.map(|(id, figures)| {
        let (latency_p50_ms, latency_p99_ms) =
            (figures.latency.per_mille(500), figures.latency.per_mille(990));
        (id, FiguresOf { figures, latency_p50_ms, latency_p99_ms })
    });
    Json(shown.collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPerson {
    name: String,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    status: Option<String>,
}

/// The id of a new person, and what they tell of themselves.
#[derive(Serialize)]
pub(super) struct Known {
    user: String,
    #[serde(flatten)]
    person: Person,
}

async fn create_person(
    State(sandbox): Shared,
    request: Result<Json<NewPerson>, JsonRejection>,
) -> Result<Json<Known>, Refused> {
    let NewPerson { name, language, status } = body(request)?;
    if name.trim().is_empty() {
        return Err(invalid("name: must not be empty"));
    }
    let person = Person { name, language, status, deleted: false };
    let user = sandbox.platform().create_person(person.clone(), sandbox.now());
    Ok(Json(Known { user, person }))
}

async fn person(State(sandbox): Shared, Path(user): Path<String>) -> Json<Known> {
    let person = sandbox.platform().people().person(&user);
    Json(Known { user, person })
}

/// A JSON merge patch (RFC 7396) of what a person tells.
async fn change_person(
    State(sandbox): Shared,
    Path(user): Path<String>,
    request: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Known>, Refused> {
    let change = body(request)?;
    let mut platform = sandbox.platform();
    let person: Person = patched(&platform.people().person(&user), change)?;
    platform.change_person(&user, person.clone());
    Ok(Json(Known { user, person }))
}

fn patched<T: Serialize + DeserializeOwned>(whole: &T, change: Value) -> Result<T, Refused> {
    let mut whole = serde_json::to_value(whole).map_err(|error| invalid(&error.to_string()))?;
    merge(&mut whole, change);
    serde_json::from_value(whole).map_err(|error| invalid(&error.to_string()))
}

fn merge(whole: &mut Value, change: Value) {
    match change {
        Value::Object(change) => {
            if !whole.is_object() {
                *whole = json!({});
            }
            let Some(fields) = whole.as_object_mut() else { return };
            for (name, value) in change {
                // What may be missing stays in the struct as null.
                merge(fields.entry(name).or_insert(Value::Null), value);
            }
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => *whole = other,
    }
}
