//! Shapes of JSON objects, and the walk that compares a value with one.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Detail;
use super::action::Place;

/// What a value must be.
pub(super) enum Form {
    /// Anything; somebody else looks at it.
    Any,
    /// So many UTF-16 units.
    Text {
        least: usize,
        most: usize,
    },
    /// A URL of at most so many units, with one of these beginnings.
    Url {
        starts: &'static [&'static str],
        most: usize,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text that a function knows.
    Like(fn(&str) -> bool),
    Integer {
        least: i64,
        most: i64,
    },
    Number {
        least: f64,
        most: f64,
    },
    Truth,
    Object(&'static Shape),
    /// Told apart by `type`.
    Kinds(&'static [(&'static str, &'static Shape)]),
    List {
        least: usize,
        most: usize,
        of: &'static Form,
    },
    /// At most so many values under keys that a function knows.
    Keyed {
        most: usize,
        key: fn(&str) -> bool,
        of: &'static Form,
    },
    /// What a tap does, and what is asked of it in this place.
    Action(&'static Place),
    /// The contents of a flex message: checked apart.
    Flex,
}

/// The fields of an object. Any other field is refused.
pub(super) struct Shape {
    pub(super) fields: &'static [Field],
    /// Fields that it shares with others.
    pub(super) more: &'static [Field],
    /// What no single field can tell.
    pub(super) rule: Option<Rule>,
}

type Rule = fn(&Map<String, Value>, &mut Walk);

pub(super) struct Field {
    name: &'static str,
    form: Form,
    needed: bool,
}

/// A field that must be there.
pub(super) const fn must(name: &'static str, form: Form) -> Field {
    Field { name, form, needed: true }
}

/// A field that may be there.
pub(super) const fn may(name: &'static str, form: Form) -> Field {
    Field { name, form, needed: false }
}

pub(super) const fn shape(fields: &'static [Field]) -> Shape {
    Shape { fields, more: &[], rule: None }
}

pub(super) const HTTPS: &[&str] = &["https://"];

pub(super) const fn https(most: usize) -> Form {
    Form::Url { starts: HTTPS, most }
}

pub(super) const fn text(least: usize, most: usize) -> Form {
    Form::Text { least, most }
}

/// How places are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    /// `messages[0].text`
    Dotted,
    /// `/body/contents/0`
    Pointer,
}

/// Where the walk is, and what it found.
pub(super) struct Walk {
    notation: Notation,
    path: String,
    pub(super) found: Vec<Detail>,
}

impl Walk {
    pub(super) fn new(notation: Notation) -> Self {
        Self { notation, path: String::new(), found: Vec::new() }
    }

    /// Goes to a field, and comes back.
    pub(super) fn at(&mut self, name: &str, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        match self.notation {
            Notation::Dotted if length == 0 => {}
            Notation::Dotted => self.path.push('.'),
            Notation::Pointer => self.path.push('/'),
        }
        self.path += name;
        visit(self);
        self.path.truncate(length);
    }

    fn nth(&mut self, index: usize, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        let _ = match self.notation {
            Notation::Dotted => write!(self.path, "[{index}]"),
            Notation::Pointer => write!(self.path, "/{index}"),
        };
        visit(self);
        self.path.truncate(length);
    }

    /// Something is wrong here. LINE's flex messages are checked by other words.
    pub(super) fn wrong(&mut self, dotted: impl Into<String>, pointer: impl Into<String>) {
        let (message, property) = match self.notation {
            Notation::Dotted => (dotted.into(), self.path.clone()),
            // The whole of it is `/`.
            Notation::Pointer if self.path.is_empty() => (pointer.into(), "/".to_owned()),
            Notation::Pointer => (pointer.into(), self.path.clone()),
        };
        self.found.push(Detail { message, property });
    }

    /// The value is of another kind.
    fn invalid(&mut self, expected: &str) {
        self.wrong(format!("Must be {expected}"), "invalid property");
    }

    pub(super) fn missing(&mut self) {
        self.wrong("May not be empty", "must be specified");
    }

    pub(super) fn unknown(&mut self) {
        self.wrong("Unknown property", "unknown field");
    }

    /// `null` is as good as nothing. `typed`: the type is looked at already.
    fn object(&mut self, shape: &Shape, object: &Map<String, Value>, typed: bool) {
        let before = self.found.len();
        let fields = || shape.fields.iter().chain(shape.more);
        for field in fields() {
            match object.get(field.name).filter(|value| !value.is_null()) {
                Some(value) => self.at(field.name, |walk| walk.value(&field.form, value)),
                None if field.needed => self.at(field.name, Self::missing),
                None => {}
            }
        }
        for name in object.keys() {
            let known = typed && name == "type" || fields().any(|field| field.name == name);
            if !known {
                self.at(name, Self::unknown);
            }
        }
        // A rule may take each field for what it should be.
        if let (Some(rule), true) = (shape.rule, self.found.len() == before) {
            rule(object, self);
        }
    }

    pub(super) fn value(&mut self, form: &Form, value: &Value) {
        match form {
            Form::Any => {}
            Form::Text { least, most } => match value.as_str() {
                Some(text) => self.length(text, *least, *most),
                None => self.invalid("a text"),
            },
            Form::Url { starts, most } => match value.as_str() {
                Some(url) => self.url(url, starts, *most),
                None => self.invalid("a URL"),
            },
            Form::Word(words) => {
                if !value.as_str().is_some_and(|word| words.contains(&word)) {
                    let words = words.join(", ");
                    self.wrong(
                        format!("Must be one of the following values: [{words}]"),
                        "invalid property",
                    );
                }
            }
            Form::Like(fits) => {
                if !value.as_str().is_some_and(fits) {
                    self.invalid("in the documented form");
                }
            }
            Form::Integer { least, most } => match value.as_i64() {
                Some(number) if (*least..=*most).contains(&number) => {}
                _ => self.invalid(&format!("an integer from {least} to {most}")),
            },
            Form::Number { least, most } => match value.as_f64() {
                Some(number) if (*least..=*most).contains(&number) => {}
                _ => self.invalid(&format!("a number from {least} to {most}")),
            },
            Form::Truth => {
                if !value.is_boolean() {
                    self.invalid("true or false");
                }
            }
            Form::Object(shape) => match value.as_object() {
                Some(object) => self.object(shape, object, false),
                None => self.invalid("an object"),
            },
            Form::Kinds(kinds) => self.kinds(kinds, value),
            Form::List { least, most, of } => match value.as_array() {
                Some(list) => self.list(list, *least, *most, of),
                None => self.invalid("an array"),
            },
            Form::Keyed { most, key, of } => match value.as_object() {
                Some(object) => self.keyed(object, *most, *key, of),
                None => self.invalid("an object"),
            },
            Form::Action(place) => place.check(value, self),
            Form::Flex => super::flex::only_an_object(value, self),
        }
    }

    pub(super) fn kinds(&mut self, kinds: &[(&str, &'static Shape)], value: &Value) {
        let Some(object) = value.as_object() else { return self.invalid("an object") };
        let kind = object.get("type").and_then(Value::as_str);
        match kinds.iter().find(|(name, _)| Some(*name) == kind) {
            Some((_, shape)) => self.object(shape, object, true),
            None if self.notation == Notation::Dotted || kind.is_none() => {
                let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
                let words = names.join(", ");
                self.at("type", |walk| {
                    walk.wrong(
                        format!("Must be one of the following values: [{words}]"),
                        "must be specified",
                    );
                });
            }
            // A component that may not stand in this place.
            None => self.invalid("of a known type"),
        }
    }

    fn length(&mut self, text: &str, least: usize, most: usize) {
        let units = text.encode_utf16().count();
        if units == 0 && least > 0 {
            self.wrong("May not be empty", "must be non-empty text");
        } else if !(least..=most).contains(&units) {
            self.wrong(
                format!("Length must be between {least} and {most}"),
                format!("must not be longer than {most} characters"),
            );
        }
    }

    fn url(&mut self, url: &str, starts: &[&str], most: usize) {
        self.length(url, 1, most);
        let fits = |start: &&str| {
            url.get(..start.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(start))
                && url.len() > start.len()
        };
        let whole = !url.chars().any(|letter| letter.is_whitespace() || letter.is_control());
        let fits = starts.iter().any(fits) && whole;
        if !fits && !url.is_empty() {
            let schemes = starts.join(", ");
            self.wrong(format!("Must be a URL with {schemes}"), "invalid uri scheme");
        }
    }

    fn list(&mut self, list: &[Value], least: usize, most: usize, of: &Form) {
        if !(least..=most).contains(&list.len()) {
            self.wrong(
                format!("Size must be between {least} and {most}"),
                format!("size must be between {least} and {most}"),
            );
        }
        for (index, value) in list.iter().enumerate().take(most) {
            self.nth(index, |walk| walk.value(of, value));
        }
    }

    fn keyed(
        &mut self,
        object: &Map<String, Value>,
        most: usize,
        fits: fn(&str) -> bool,
        of: &Form,
    ) {
        if object.len() > most {
            self.invalid(&format!("at most {most} entries"));
        }
        for (key, value) in object {
            self.at(key, |walk| {
                if fits(key) { walk.value(of, value) } else { walk.invalid("under a shorter key") }
            });
        }
    }
}
