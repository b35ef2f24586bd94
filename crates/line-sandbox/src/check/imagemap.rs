//! A picture with places to tap.

use super::form::{Form, Shape, https, may, must, shape, text};
use super::message::COMMON;

const HERE: Form = Form::Object(&AREA);
const LABEL: Form = text(1, 100);

pub(super) static IMAGEMAP: Shape = Shape {
    fields: &[
        must("baseUrl", https(2_000)),
        must("altText", text(1, 1_500)),
        must("baseSize", Form::Object(&SIZE)),
        must("actions", Form::List { least: 0, most: 50, of: &ACTION }),
        may("video", Form::Object(&VIDEO)),
    ],
    more: COMMON,
    rule: None,
};

static SIZE: Shape = shape(&[
    // LINE scales everything from a width of 1,040.
    must("width", Form::Integer { least: 1_040, most: 1_040 }),
    must("height", Form::Integer { least: 1, most: 100_000 }),
]);
static AREA: Shape = shape(&[
    must("x", Form::Integer { least: 0, most: 100_000 }),
    must("y", Form::Integer { least: 0, most: 100_000 }),
    must("width", Form::Integer { least: 1, most: 100_000 }),
    must("height", Form::Integer { least: 1, most: 100_000 }),
]);
static ACTION: Form =
    Form::Kinds(&[("uri", &URI), ("message", &MESSAGE), ("clipboard", &CLIPBOARD)]);
const LINKS: &[&str] = &["http://", "https://", "line://", "tel:"];
static URI: Shape = shape(&[
    must("linkUri", Form::Url { starts: LINKS, most: 1_000 }),
    must("area", HERE),
    may("label", LABEL),
]);
static MESSAGE: Shape =
    shape(&[must("text", text(1, 400)), must("area", HERE), may("label", LABEL)]);
static CLIPBOARD: Shape =
    shape(&[must("clipboardText", text(1, 1_000)), must("area", HERE), may("label", LABEL)]);
static VIDEO: Shape = shape(&[
    must("originalContentUrl", https(2_000)),
    must("previewImageUrl", https(2_000)),
    must("area", HERE),
    may("externalLink", Form::Object(&LINK)),
]);
static LINK: Shape =
    shape(&[must("linkUri", Form::Url { starts: LINKS, most: 1_000 }), must("label", text(1, 30))]);
