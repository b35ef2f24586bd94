//! The bodies of the calls that send.

use serde_json::Value;

use super::form::{Field, Form, Notation, Shape, Walk, may, must, shape, text};
use super::message::MESSAGES;
use super::{Invalid, flex};
use crate::Endpoint;

const MESSAGE_LIST: Field = must("messages", Form::List { least: 1, most: 5, of: &MESSAGES });
const SILENT: Field = may("notificationDisabled", Form::Truth);
const UNITS: Field =
    may("customAggregationUnits", Form::List { least: 0, most: 1, of: &Form::Like(is_unit) });

static REPLY: Shape = shape(&[must("replyToken", text(1, 1_000)), MESSAGE_LIST, SILENT]);
static PUSH: Shape = shape(&[must("to", text(1, 100)), MESSAGE_LIST, SILENT, UNITS]);
static MULTICAST: Shape = shape(&[
    must("to", Form::List { least: 1, most: 500, of: &Form::Text { least: 1, most: 100 } }),
    MESSAGE_LIST,
    SILENT,
    UNITS,
]);
static BROADCAST: Shape = shape(&[MESSAGE_LIST, SILENT]);
static NARROWCAST: Shape = shape(&[
    MESSAGE_LIST,
    may("recipient", Form::Any),
    may("filter", Form::Any),
    may("limit", Form::Object(&LIMIT)),
    SILENT,
]);
static LIMIT: Shape = shape(&[
    may("max", Form::Integer { least: 1, most: i32::MAX as i64 }),
    may("upToRemainingQuota", Form::Truth),
    may("forbidPartialDelivery", Form::Truth),
]);
static VALIDATE: Shape = shape(&[MESSAGE_LIST]);
static LOADING: Shape = shape(&[
    must("chatId", text(1, 100)),
    may("loadingSeconds", Form::Integer { least: 5, most: 60 }),
]);

fn is_unit(text: &str) -> bool {
    (1..=30).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Compares a body with what LINE takes at that endpoint; at one that takes no messages, anything is
/// right.
///
/// # Errors
/// Everything that LINE would refuse, in its words.
pub fn check(endpoint: Endpoint, body: &Value) -> Result<(), Invalid> {
    let shape = match endpoint {
        Endpoint::Reply => &REPLY,
        Endpoint::Push => &PUSH,
        Endpoint::Multicast => &MULTICAST,
        Endpoint::Broadcast => &BROADCAST,
        Endpoint::Narrowcast => &NARROWCAST,
        Endpoint::Validate => &VALIDATE,
        Endpoint::Loading => &LOADING,
        Endpoint::NarrowcastProgress
        | Endpoint::Quota
        | Endpoint::QuotaConsumption
        | Endpoint::Profile
        | Endpoint::Followers
        | Endpoint::Content
        | Endpoint::LinkToken
        | Endpoint::BotInfo
        | Endpoint::WebhookEndpoint => return Ok(()),
    };
    let mut walk = Walk::new(Notation::Dotted);
    walk.value(&Form::Object(shape), body);
    if !walk.found.is_empty() {
        return Err(Invalid::fields(walk.found));
    }
    flex::check(body.get("messages").and_then(Value::as_array).map_or(&[], Vec::as_slice))
}
