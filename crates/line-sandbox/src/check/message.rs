//! Each type of message.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::action::QUICK_REPLY;
use super::form::{Field, Form, Shape, Walk, https, may, must, shape, text};
use super::imagemap::IMAGEMAP;
use super::template::TEMPLATE_KINDS;

pub(super) static MESSAGES: Form = Form::Kinds(KINDS);

const KINDS: &[(&str, &Shape)] = &[
    ("text", &TEXT),
    ("textV2", &TEXT_V2),
    ("sticker", &STICKER),
    ("image", &IMAGE),
    ("video", &VIDEO),
    ("audio", &AUDIO),
    ("location", &LOCATION),
    ("imagemap", &IMAGEMAP),
    ("template", &TEMPLATE),
    ("flex", &FLEX),
    ("coupon", &COUPON),
];

/// What every message can carry.
pub(super) const COMMON: &[Field] =
    &[may("quickReply", Form::Object(&QUICK_REPLIES)), may("sender", Form::Object(&SENDER))];

static SENDER: Shape = Shape {
    fields: &[may("name", text(1, 20)), may("iconUrl", https(2_000))],
    more: &[],
    rule: Some(sender),
};
static QUICK_REPLIES: Shape =
    shape(&[must("items", Form::List { least: 1, most: 13, of: &Form::Object(&QUICK_ITEM) })]);
static QUICK_ITEM: Shape = shape(&[
    may("type", Form::Word(&["action"])),
    may("imageUrl", https(2_000)),
    must("action", Form::Action(&QUICK_REPLY)),
]);

const fn message(fields: &'static [Field]) -> Shape {
    Shape { fields, more: COMMON, rule: None }
}

static TEXT: Shape = message(&[
    must("text", text(1, 5_000)),
    may("emojis", Form::List { least: 1, most: 20, of: &Form::Object(&EMOJI) }),
    may("quoteToken", text(1, 1_000)),
]);
static EMOJI: Shape = shape(&[
    must("index", Form::Integer { least: 0, most: 4_999 }),
    must("productId", text(1, 100)),
    must("emojiId", text(1, 100)),
]);

static TEXT_V2: Shape = Shape {
    fields: &[
        must("text", text(1, 5_000)),
        may("substitution", Form::Keyed { most: 100, key: is_key, of: &SUBSTITUTION }),
        may("quoteToken", text(1, 1_000)),
    ],
    more: COMMON,
    rule: Some(placeholders),
};
static SUBSTITUTION: Form = Form::Kinds(&[("mention", &MENTION), ("emoji", &EMOJI_V2)]);
static MENTION: Shape =
    shape(&[must("mentionee", Form::Kinds(&[("user", &MENTIONED_USER), ("all", &MENTIONED_ALL)]))]);
static MENTIONED_USER: Shape = shape(&[must("userId", text(1, 100))]);
static MENTIONED_ALL: Shape = shape(&[]);
static EMOJI_V2: Shape = shape(&[must("productId", text(1, 100)), must("emojiId", text(1, 100))]);

static STICKER: Shape = message(&[
    must("packageId", text(1, 20)),
    must("stickerId", text(1, 20)),
    may("quoteToken", text(1, 1_000)),
]);
static IMAGE: Shape =
    message(&[must("originalContentUrl", https(2_000)), must("previewImageUrl", https(2_000))]);
static VIDEO: Shape = message(&[
    must("originalContentUrl", https(2_000)),
    must("previewImageUrl", https(2_000)),
    may("trackingId", Form::Like(is_tracking_id)),
]);
static AUDIO: Shape = message(&[
    must("originalContentUrl", https(2_000)),
    must("duration", Form::Integer { least: 1, most: 86_400_000 }),
]);
static LOCATION: Shape = message(&[
    must("title", text(1, 100)),
    must("address", text(1, 100)),
    must("latitude", Form::Number { least: -90.0, most: 90.0 }),
    must("longitude", Form::Number { least: -180.0, most: 180.0 }),
]);
static TEMPLATE: Shape =
    message(&[must("altText", text(1, 1_500)), must("template", Form::Kinds(TEMPLATE_KINDS))]);
static FLEX: Shape = message(&[must("altText", text(1, 1_500)), must("contents", Form::Flex)]);
static COUPON: Shape = message(&[must("couponId", text(1, 100)), may("deliveryTag", text(1, 30))]);

/// Nobody may pass for LINE.
fn sender(object: &Map<String, Value>, walk: &mut Walk) {
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.to_lowercase().contains("line") {
        walk.at("name", |walk| walk.wrong("Must not contain a reserved word", "invalid property"));
    }
}

fn is_key(key: &str) -> bool {
    (1..=20).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_tracking_id(id: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-.=,+*()%$&;:@{}!?<>[]".contains(&byte);
    (1..=100).contains(&id.len()) && id.bytes().all(plain)
}

/// Every `{key}` is said what it stands for; `{{` and `}}` are braces.
fn placeholders(object: &Map<String, Value>, walk: &mut Walk) {
    let text = object.get("text").and_then(Value::as_str).unwrap_or_default();
    let known = object.get("substitution").and_then(Value::as_object);
    let mut used = BTreeSet::new();
    let mut rest = text;
    while let Some(place) = rest.find(['{', '}']) {
        let brace = &rest[place..=place];
        rest = &rest[place + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            rest = after;
            continue;
        }
        let end = rest.find(['{', '}']).filter(|end| brace == "{" && rest[*end..].starts_with('}'));
        let Some(end) = end else {
            return walk.at("text", |walk| walk.wrong("A brace stands alone", "invalid property"));
        };
        used.insert(&rest[..end]);
        rest = &rest[end + 1..];
    }
    for key in used {
        if !known.is_some_and(|known| known.contains_key(key)) {
            walk.at("substitution", |walk| walk.at(key, Walk::missing));
        }
    }
}
