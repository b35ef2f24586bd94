//! Flex messages: every container and component.

use serde_json::{Map, Value};

use super::action::{FLEX_BUTTON, UNSEEN};
use super::form::{Field, Form, HTTPS, Notation, Shape, Walk, may, must, shape, text};
use super::{Detail, Invalid};

const MOST_BUBBLE_BYTES: usize = 30 * 1024;
const MOST_CAROUSEL_BYTES: usize = 50 * 1024;

const CONTAINERS: &[(&str, &Shape)] = &[("bubble", &BUBBLE), ("carousel", &CAROUSEL)];

/// Each message that is a flex message, checked: LINE does it after everything else.
pub(super) fn check(messages: &[Value]) -> Result<(), Invalid> {
    for (index, message) in messages.iter().enumerate() {
        let contents = message.get("contents").filter(|_| message["type"] == "flex");
        let Some(contents) = contents else { continue };
        let details = wrong(contents);
        if !details.is_empty() {
            return Err(Invalid::flex(index, details));
        }
    }
    Ok(())
}

/// What [`check`] takes up later.
pub(super) fn only_an_object(value: &Value, walk: &mut Walk) {
    if !value.is_object() {
        walk.wrong("Must be an object", "invalid property");
    }
}

fn wrong(contents: &Value) -> Vec<Detail> {
    let mut walk = Walk::new(Notation::Pointer);
    walk.kinds(CONTAINERS, contents);
    let bytes = contents.to_string().len();
    let most = if contents["type"] == "carousel" { MOST_CAROUSEL_BYTES } else { MOST_BUBBLE_BYTES };
    if bytes > most {
        let message = format!("must not be larger than {most} bytes");
        walk.wrong(message.clone(), message);
    }
    walk.found
}

static CAROUSEL: Shape = Shape {
    fields: &[must("contents", Form::List { least: 1, most: 12, of: &BUBBLES })],
    more: &[],
    rule: Some(one_width),
};
static BUBBLES: Form = Form::Kinds(&[("bubble", &BUBBLE)]);
static BUBBLE: Shape = Shape {
    fields: &[
        may("size", Form::Word(&["nano", "micro", "deca", "hecto", "kilo", "mega", "giga"])),
        may("direction", Form::Word(&["ltr", "rtl"])),
        may("header", BLOCK),
        may("hero", Form::Kinds(&[("box", &BOX), ("image", &IMAGE), ("video", &VIDEO)])),
        may("body", BLOCK),
        may("footer", BLOCK),
        may("styles", Form::Object(&STYLES)),
        may("action", TAP),
    ],
    more: &[],
    rule: Some(bubble),
};
const BLOCK: Form = Form::Kinds(&[("box", &BOX)]);
const TAP: Form = Form::Action(&UNSEEN);
static STYLES: Shape = shape(&[
    may("header", Form::Object(&STYLE)),
    may("hero", Form::Object(&STYLE)),
    may("body", Form::Object(&STYLE)),
    may("footer", Form::Object(&STYLE)),
]);
static STYLE: Shape = shape(&[
    may("backgroundColor", COLOUR),
    may("separator", Form::Truth),
    may("separatorColor", COLOUR),
]);

/// What a box holds, but for one in a single line of text.
static COMPONENT: Form = Form::Kinds(&[
    ("box", &BOX),
    ("button", &BUTTON),
    ("image", &IMAGE),
    ("text", &TEXT),
    ("separator", &SEPARATOR),
    ("filler", &FILLER),
]);
/// What a box of the layout `baseline` holds.
static IN_LINE: Form = Form::Kinds(&[("icon", &ICON), ("text", &TEXT), ("filler", &FILLER)]);

const FLEX: Form = Form::Integer { least: 0, most: 1_000 };
const COLOUR: Form = Form::Like(is_colour);
const GRAVITY: Form = Form::Word(&["top", "bottom", "center"]);
const ALIGN: Form = Form::Word(&["start", "end", "center"]);
const WEIGHT: Form = Form::Word(&["regular", "bold"]);
const STYLE_OF_TEXT: Form = Form::Word(&["normal", "italic"]);
const DECORATION: Form = Form::Word(&["none", "underline", "line-through"]);
const SHRINK: Form = Form::Word(&["shrink-to-fit"]);
const SPACE: Form = Form::Like(is_space);
const LENGTH: Form = Form::Like(is_length);
const FONT: Form = Form::Like(is_font);
const RATIO: Form = Form::Like(is_ratio);
/// An address of a picture or a video.
const MEDIA: Form = Form::Url { starts: HTTPS, most: 2_000 };

/// Where a component stands.
const PLACED: &[Field] = &[
    may("flex", FLEX),
    may("margin", SPACE),
    may("position", Form::Word(&["relative", "absolute"])),
    may("offsetTop", OFFSET),
    may("offsetBottom", OFFSET),
    may("offsetStart", OFFSET),
    may("offsetEnd", OFFSET),
];
const OFFSET: Form = Form::Like(is_offset);

static BOX: Shape = Shape {
    fields: &[
        must("layout", Form::Word(&["horizontal", "vertical", "baseline"])),
        // By its layout: see `contents`.
        must("contents", Form::Any),
        may("spacing", SPACE),
        may("backgroundColor", COLOUR),
        may("borderColor", COLOUR),
        may("borderWidth", Form::Like(is_border)),
        may("cornerRadius", SPACE),
        may("width", LENGTH),
        may("maxWidth", LENGTH),
        may("height", LENGTH),
        may("maxHeight", LENGTH),
        may("paddingAll", OFFSET),
        may("paddingTop", OFFSET),
        may("paddingBottom", OFFSET),
        may("paddingStart", OFFSET),
        may("paddingEnd", OFFSET),
        may("action", TAP),
        may(
            "justifyContent",
            Form::Word(&[
                "center",
                "flex-start",
                "flex-end",
                "space-between",
                "space-around",
                "space-evenly",
            ]),
        ),
        may("alignItems", Form::Word(&["center", "flex-start", "flex-end"])),
        may("background", Form::Kinds(&[("linearGradient", &GRADIENT)])),
    ],
    more: PLACED,
    rule: Some(contents),
};
static GRADIENT: Shape = shape(&[
    must("angle", Form::Like(is_angle)),
    must("startColor", COLOUR),
    must("endColor", COLOUR),
    may("centerColor", COLOUR),
    may("centerPosition", Form::Like(is_percent)),
]);
static BUTTON: Shape = Shape {
    fields: &[
        must("action", Form::Action(&FLEX_BUTTON)),
        may("color", COLOUR),
        may("style", Form::Word(&["primary", "secondary", "link"])),
        may("gravity", GRAVITY),
        may("height", Form::Word(&["sm", "md"])),
        may("adjustMode", SHRINK),
        may("scaling", Form::Truth),
    ],
    more: PLACED,
    rule: None,
};
static IMAGE: Shape = Shape {
    fields: &[
        must("url", MEDIA),
        may("align", ALIGN),
        may("gravity", GRAVITY),
        may("size", Form::Like(is_image_size)),
        may("aspectRatio", RATIO),
        may("aspectMode", Form::Word(&["cover", "fit"])),
        may("backgroundColor", COLOUR),
        may("action", TAP),
        may("animated", Form::Truth),
    ],
    more: PLACED,
    rule: None,
};
static VIDEO: Shape = shape(&[
    must("url", MEDIA),
    must("previewUrl", MEDIA),
    must("altContent", Form::Kinds(&[("box", &BOX), ("image", &IMAGE)])),
    may("aspectRatio", RATIO),
    may("action", TAP),
]);
static ICON: Shape = Shape {
    fields: &[
        must("url", MEDIA),
        may("size", FONT),
        may("aspectRatio", RATIO),
        may("scaling", Form::Truth),
    ],
    more: PLACED,
    rule: None,
};
static TEXT: Shape = Shape {
    fields: &[
        may("text", text(1, MOST_BUBBLE_BYTES)),
        may("contents", Form::List { least: 1, most: 100, of: &SPANS }),
        may("size", FONT),
        may("align", ALIGN),
        may("gravity", GRAVITY),
        may("color", COLOUR),
        may("weight", WEIGHT),
        may("style", STYLE_OF_TEXT),
        may("decoration", DECORATION),
        may("wrap", Form::Truth),
        may("lineSpacing", Form::Like(is_pixels)),
        may("action", TAP),
        may("maxLines", Form::Integer { least: 0, most: 1_000 }),
        may("adjustMode", SHRINK),
        may("scaling", Form::Truth),
    ],
    more: PLACED,
    rule: Some(text_or_spans),
};
static SPANS: Form = Form::Kinds(&[("span", &SPAN)]);
static SPAN: Shape = shape(&[
    must("text", text(1, MOST_BUBBLE_BYTES)),
    may("size", FONT),
    may("color", COLOUR),
    may("weight", WEIGHT),
    may("style", STYLE_OF_TEXT),
    may("decoration", DECORATION),
]);
static SEPARATOR: Shape = shape(&[may("margin", SPACE), may("color", COLOUR)]);
static FILLER: Shape = shape(&[may("flex", FLEX)]);

fn contents(object: &Map<String, Value>, walk: &mut Walk) {
    let of = if object["layout"] == "baseline" { &IN_LINE } else { &COMPONENT };
    walk.at("contents", |walk| {
        walk.value(&Form::List { least: 0, most: 1_000, of }, &object["contents"]);
    });
}

fn bubble(object: &Map<String, Value>, walk: &mut Walk) {
    if !["header", "hero", "body", "footer"].iter().any(|block| object.contains_key(*block)) {
        let message = "At least one block must be specified";
        walk.wrong(message, message);
    }
    // A video needs a wide card, and a card whose other blocks LINE can lay out beside it.
    let video = object.get("hero").is_some_and(|hero| hero["type"] == "video");
    let size = object.get("size").and_then(Value::as_str).unwrap_or("mega");
    if video && !matches!(size, "kilo" | "mega" | "giga") {
        walk.at("size", |walk| walk.wrong("Must be wide", "invalid property"));
    }
}

fn one_width(object: &Map<String, Value>, walk: &mut Walk) {
    let Some(bubbles) = object["contents"].as_array() else { return };
    let width = |bubble: &Value| bubble["size"].as_str().unwrap_or("mega").to_owned();
    let mut widths = bubbles.iter().map(width);
    if let Some(first) = widths.next()
        && widths.any(|width| width != first)
    {
        let message = "all bubbles must have the same size";
        walk.at("contents", |walk| walk.wrong(message, message));
    }
    if bubbles.iter().any(|bubble| bubble["hero"]["type"] == "video") {
        let message = "a video must not stand in a carousel";
        walk.at("contents", |walk| walk.wrong(message, message));
    }
}

fn text_or_spans(object: &Map<String, Value>, walk: &mut Walk) {
    if !object.contains_key("text") && !object.contains_key("contents") {
        walk.at("text", Walk::missing);
    }
}

/// `#rrggbb` or `#rrggbbaa`
fn is_colour(text: &str) -> bool {
    let hex = text.strip_prefix('#').unwrap_or_default();
    matches!(hex.len(), 6 | 8) && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_number_of(text: &str, unit: &str) -> bool {
    let Some(number) = text.strip_suffix(unit) else { return false };
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    number.bytes().all(plain) && number.parse::<f64>().is_ok()
}

fn is_pixels(text: &str) -> bool {
    is_number_of(text, "px")
}

fn is_percent(text: &str) -> bool {
    is_number_of(text, "%")
}

/// A width or a height.
fn is_length(text: &str) -> bool {
    is_pixels(text) || is_percent(text)
}

fn is_angle(text: &str) -> bool {
    is_number_of(text, "deg")
}

fn is_space(text: &str) -> bool {
    matches!(text, "none" | "xs" | "sm" | "md" | "lg" | "xl" | "xxl") || is_pixels(text)
}

/// Inside a box also by its size, and outside of it also to the other side.
fn is_offset(text: &str) -> bool {
    is_space(text) || is_percent(text) || text.strip_prefix('-').is_some_and(is_length)
}

fn is_border(text: &str) -> bool {
    matches!(text, "none" | "light" | "normal" | "medium" | "semi-bold" | "bold") || is_pixels(text)
}

fn is_font(text: &str) -> bool {
    matches!(text, "xxs" | "xs" | "sm" | "md" | "lg" | "xl" | "xxl" | "3xl" | "4xl" | "5xl")
        || is_pixels(text)
}

fn is_image_size(text: &str) -> bool {
    text == "full" || is_font(text) || is_percent(text)
}

/// `20:13`; the height is at most three times the width.
fn is_ratio(text: &str) -> bool {
    let sides = text.split_once(':').and_then(|(width, height)| {
        Some((width.parse::<u32>().ok()?, height.parse::<u32>().ok()?))
    });
    sides.is_some_and(|(width, height)| {
        (1..=100_000).contains(&width) && (1..=100_000).contains(&height) && height <= width * 3
    })
}
