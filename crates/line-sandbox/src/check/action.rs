//! What a tap does.

use serde_json::{Map, Value};

use super::form::{Form, Shape, Walk, may, must, shape, text};

/// Where an action stands: what it may be, and how long its label.
pub(super) struct Place {
    pub(super) most_label: usize,
    pub(super) needs_label: bool,
    /// Camera, photos and location are asked for by a quick reply alone.
    pub(super) quick: bool,
}

pub(super) static QUICK_REPLY: Place = Place { most_label: 20, needs_label: true, quick: true };
pub(super) static TEMPLATE: Place = Place { most_label: 20, needs_label: true, quick: false };
pub(super) static IMAGE_CAROUSEL: Place =
    Place { most_label: 12, needs_label: false, quick: false };
/// A tap on a picture or a whole card, where no label is seen.
pub(super) static UNSEEN: Place = Place { most_label: 40, needs_label: false, quick: false };
pub(super) static FLEX_BUTTON: Place = Place { most_label: 40, needs_label: true, quick: false };

const KINDS: &[(&str, &Shape)] = &[
    ("postback", &POSTBACK),
    ("message", &MESSAGE),
    ("uri", &URI),
    ("datetimepicker", &PICKER),
    ("clipboard", &CLIPBOARD),
];
const QUICK_KINDS: &[(&str, &Shape)] = &[
    ("postback", &POSTBACK),
    ("message", &MESSAGE),
    ("uri", &URI),
    ("datetimepicker", &PICKER),
    ("clipboard", &CLIPBOARD),
    ("camera", &NOTHING_MORE),
    ("cameraRoll", &NOTHING_MORE),
    ("location", &NOTHING_MORE),
];

/// What a link may open.
const SCHEMES: &[&str] = &["http://", "https://", "line://", "tel:"];

static POSTBACK: Shape = Shape {
    fields: &[
        must("data", text(1, 300)),
        may("displayText", text(1, 300)),
        may("text", text(1, 300)),
        may(
            "inputOption",
            Form::Word(&["closeRichMenu", "openRichMenu", "openKeyboard", "openVoice"]),
        ),
        may("fillInText", text(1, 300)),
        may("label", Form::Any),
    ],
    more: &[],
    rule: Some(postback),
};
static MESSAGE: Shape = shape(&[must("text", text(1, 300)), may("label", Form::Any)]);
static URI: Shape = shape(&[
    must("uri", Form::Url { starts: SCHEMES, most: 1_000 }),
    may("altUri", Form::Object(&ALT_URI)),
    may("label", Form::Any),
]);
static ALT_URI: Shape = shape(&[must("desktop", Form::Url { starts: SCHEMES, most: 1_000 })]);
static PICKER: Shape = Shape {
    fields: &[
        must("data", text(1, 300)),
        must("mode", Form::Word(&["date", "time", "datetime"])),
        may("initial", text(1, 16)),
        may("max", text(1, 16)),
        may("min", text(1, 16)),
        may("label", Form::Any),
    ],
    more: &[],
    rule: Some(picker),
};
static CLIPBOARD: Shape = shape(&[must("clipboardText", text(1, 1_000)), may("label", Form::Any)]);
static NOTHING_MORE: Shape = shape(&[may("label", Form::Any)]);

impl Place {
    pub(super) fn check(&self, value: &Value, walk: &mut Walk) {
        walk.kinds(if self.quick { QUICK_KINDS } else { KINDS }, value);
        match value.get("label").filter(|label| !label.is_null()) {
            Some(label) => walk.at("label", |walk| walk.value(&text(1, self.most_label), label)),
            None if self.needs_label && value.is_object() => walk.at("label", Walk::missing),
            None => {}
        }
    }
}

fn postback(object: &Map<String, Value>, walk: &mut Walk) {
    let fills = object.contains_key("fillInText");
    if fills && object.get("inputOption").is_none_or(|option| option != "openKeyboard") {
        walk.at("fillInText", Walk::unknown);
    }
    // The old name and the new one of what is shown in the chat.
    if object.contains_key("displayText") && object.contains_key("text") {
        walk.at("text", Walk::unknown);
    }
}

fn picker(object: &Map<String, Value>, walk: &mut Walk) {
    let mode = object.get("mode").and_then(Value::as_str).unwrap_or_default();
    for name in ["initial", "max", "min"] {
        let moment = object.get(name).and_then(Value::as_str);
        if moment.is_some_and(|moment| !is_moment(mode, moment)) {
            walk.at(name, |walk| {
                walk.wrong("Must be in the form of the mode", "invalid property");
            });
        }
    }
}

/// `2026-11-21`, `09:30`, or both with `T` or `t` between.
fn is_moment(mode: &str, text: &str) -> bool {
    let like = |pattern: &str| {
        let same = |(expected, byte): (u8, u8)| match expected {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't'),
            expected => byte == expected,
        };
        text.len() == pattern.len() && pattern.bytes().zip(text.bytes()).all(same)
    };
    match mode {
        "date" => like("0000-00-00"),
        "time" => like("00:00"),
        _ => like("0000-00-00T00:00"),
    }
}
