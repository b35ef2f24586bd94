//! Buttons, a choice of two, and rows of cards.

use serde_json::{Map, Value};

use super::action::{IMAGE_CAROUSEL, TEMPLATE, UNSEEN};
use super::form::{Form, Shape, Walk, https, may, must, shape, text};

pub(super) const TEMPLATE_KINDS: &[(&str, &Shape)] = &[
    ("buttons", &BUTTONS),
    ("confirm", &CONFIRM),
    ("carousel", &CAROUSEL),
    ("image_carousel", &IMAGES),
];

const RATIO: Form = Form::Word(&["rectangle", "square"]);
const SIZE: Form = Form::Word(&["cover", "contain"]);

static ACTION: Form = Form::Action(&TEMPLATE);

static BUTTONS: Shape = Shape {
    fields: &[
        may("thumbnailImageUrl", https(2_000)),
        may("imageAspectRatio", RATIO),
        may("imageSize", SIZE),
        may("imageBackgroundColor", Form::Like(is_colour)),
        may("title", text(1, 40)),
        must("text", text(1, 160)),
        may("defaultAction", Form::Action(&UNSEEN)),
        must("actions", Form::List { least: 1, most: 4, of: &ACTION }),
    ],
    more: &[],
    rule: Some(|object, walk| beside_a_picture(object, 60, walk)),
};
static CONFIRM: Shape = shape(&[
    must("text", text(1, 240)),
    must("actions", Form::List { least: 2, most: 2, of: &ACTION }),
]);
static CAROUSEL: Shape = Shape {
    fields: &[
        must("columns", Form::List { least: 1, most: 10, of: &Form::Object(&COLUMN) }),
        may("imageAspectRatio", RATIO),
        may("imageSize", SIZE),
    ],
    more: &[],
    rule: Some(alike),
};
static COLUMN: Shape = Shape {
    fields: &[
        may("thumbnailImageUrl", https(2_000)),
        may("imageBackgroundColor", Form::Like(is_colour)),
        may("title", text(1, 40)),
        must("text", text(1, 120)),
        may("defaultAction", Form::Action(&UNSEEN)),
        must("actions", Form::List { least: 1, most: 3, of: &ACTION }),
    ],
    more: &[],
    rule: Some(|object, walk| beside_a_picture(object, 60, walk)),
};
static IMAGES: Shape =
    shape(&[must("columns", Form::List { least: 1, most: 10, of: &Form::Object(&IMAGE_COLUMN) })]);
static IMAGE_COLUMN: Shape =
    shape(&[must("imageUrl", https(2_000)), must("action", Form::Action(&IMAGE_CAROUSEL))]);

/// `#rrggbb`
fn is_colour(text: &str) -> bool {
    text.len() == 7
        && text
            .strip_prefix('#')
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A text is shorter where a picture or a title takes its room.
fn beside_a_picture(object: &Map<String, Value>, most: usize, walk: &mut Walk) {
    let beside = ["thumbnailImageUrl", "title"].iter().any(|name| object.contains_key(*name));
    if let (true, Some(words)) = (beside, object.get("text")) {
        walk.at("text", |walk| walk.value(&text(1, most), words));
    }
}

/// All cards of a row have as many buttons, and a picture and a title all or none.
fn alike(object: &Map<String, Value>, walk: &mut Walk) {
    let columns = object.get("columns").and_then(Value::as_array);
    let Some((first, others)) = columns.and_then(|columns| columns.split_first()) else { return };
    let look = |column: &Value| {
        let actions = column.get("actions").and_then(Value::as_array).map_or(0, Vec::len);
        let has = |name| column.get(name).is_some_and(|value| !value.is_null());
        (actions, has("thumbnailImageUrl"), has("title"))
    };
    if others.iter().any(|column| look(column) != look(first)) {
        let message = "All columns must have the same number of actions, and an image and a title \
                       all or none";
        walk.at("columns", |walk| walk.wrong(message, message));
    }
}
