//! Conditions in a form of our own, many times faster than the general evaluator: most rules of most
//! configurations only compare texts.
//!
//! What cannot be written in it, such as numbers, is left to the general evaluator. Invariant: a
//! condition that has this form means the same in both; the properties below hold the two against each
//! other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cel::common::ast::{Expr, IdedExpr, LiteralValue};

use super::Calendar;
use super::condition::qualified;
use super::facts::{Facts, VARIABLES, parameter};
use crate::CalendarId;

/// Something that is true or false.
#[derive(Debug)]
pub(super) enum Test {
    Constant(bool),
    Equal(Text, Text),
    OneOf(Text, Vec<Text>),
    Contains(Text, Text),
    StartsWith(Text, Text),
    EndsWith(Text, Text),
    Open(CalendarId),
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    If(Box<Test>, Box<Test>, Box<Test>),
}

/// Something that is a text.
#[derive(Debug)]
pub(super) enum Text {
    Literal(String),
    /// Of [`VARIABLES`], by its place.
    Variable(usize),
    Lower(Box<Text>),
    Parameter(Box<Text>),
}

impl Test {
    /// `None`: it cannot be written like this.
    pub(super) fn compile(expression: &IdedExpr) -> Option<Self> {
        let call = match &expression.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => {
                return Some(Self::Constant(*value.inner()));
            }
            Expr::Call(call) => call,
            Expr::Literal(_)
            | Expr::Ident(_)
            | Expr::Select(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Comprehension(_)
            | Expr::Unspecified => return None,
        };
        let boxed = |part: &IdedExpr| Some(Box::new(Self::compile(part)?));
        let test = match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            ("_==_", None, [one, other]) => Self::Equal(Text::compile(one)?, Text::compile(other)?),
            ("_!=_", None, [one, other]) => {
                Self::Not(Box::new(Self::Equal(Text::compile(one)?, Text::compile(other)?)))
            }
            ("_&&_", None, [one, other]) => Self::And(boxed(one)?, boxed(other)?),
            ("_||_", None, [one, other]) => Self::Or(boxed(one)?, boxed(other)?),
            ("!_", None, [one]) => Self::Not(boxed(one)?),
            ("_?_:_", None, [test, yes, no]) => Self::If(boxed(test)?, boxed(yes)?, boxed(no)?),
            ("@in", None, [one, list]) => {
                let Expr::List(list) = &list.expr else { return None };
                let list = list.elements.iter().map(Text::compile);
                Self::OneOf(Text::compile(one)?, list.collect::<Option<_>>()?)
            }
            ("contains", Some(text), [part]) => {
                Self::Contains(Text::compile(text)?, Text::compile(part)?)
            }
            ("startsWith", Some(text), [part]) => {
                Self::StartsWith(Text::compile(text)?, Text::compile(part)?)
            }
            ("endsWith", Some(text), [part]) => {
                Self::EndsWith(Text::compile(text)?, Text::compile(part)?)
            }
            ("open", None, [name]) => match Text::compile(name)? {
                Text::Literal(name) => Self::Open(name.parse().ok()?),
                Text::Variable(_) | Text::Lower(_) | Text::Parameter(_) => return None,
            },
            _ => return None,
        };
        Some(test)
    }

    pub(super) fn holds(
        &self,
        facts: &Facts<'_>,
        calendars: &BTreeMap<CalendarId, Calendar>,
    ) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Equal(one, other) => one.of(facts) == other.of(facts),
            Self::OneOf(one, list) => {
                let one = one.of(facts);
                list.iter().any(|other| other.of(facts) == one)
            }
            Self::Contains(text, part) => text.of(facts).contains(part.of(facts).as_ref()),
            Self::StartsWith(text, part) => text.of(facts).starts_with(part.of(facts).as_ref()),
            Self::EndsWith(text, part) => text.of(facts).ends_with(part.of(facts).as_ref()),
            Self::Open(id) => calendars.get(id).is_some_and(|open| open.standing(facts.at).0),
            Self::Not(test) => !test.holds(facts, calendars),
            Self::And(one, other) => one.holds(facts, calendars) && other.holds(facts, calendars),
            Self::Or(one, other) => one.holds(facts, calendars) || other.holds(facts, calendars),
            Self::If(test, yes, no) => {
                if test.holds(facts, calendars) { yes } else { no }.holds(facts, calendars)
            }
        }
    }
}

impl Text {
    fn compile(expression: &IdedExpr) -> Option<Self> {
        match &expression.expr {
            Expr::Literal(LiteralValue::String(text)) => {
                Some(Self::Literal(text.inner().to_owned()))
            }
            Expr::Ident(_) | Expr::Select(_) => {
                let name = qualified(&expression.expr)?;
                VARIABLES.iter().position(|known| *known == name).map(Self::Variable)
            }
            Expr::Call(call) => {
                let target = call.target.as_deref();
                match (call.func_name.as_str(), target, call.args.as_slice()) {
                    ("lowerAscii", Some(text), []) => {
                        Some(Self::Lower(Box::new(Self::compile(text)?)))
                    }
                    ("param", None, [name]) => {
                        Some(Self::Parameter(Box::new(Self::compile(name)?)))
                    }
                    _ => None,
                }
            }
            Expr::Literal(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Comprehension(_)
            | Expr::Unspecified => None,
        }
    }

    fn of<'a>(&'a self, facts: &'a Facts<'_>) -> Cow<'a, str> {
        match self {
            Self::Literal(text) => Cow::Borrowed(text),
            Self::Variable(place) => Cow::Borrowed(facts.variable(*place)),
            Self::Lower(text) => {
                let text = text.of(facts);
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    Cow::Owned(text.to_ascii_lowercase())
                } else {
                    text
                }
            }
            Self::Parameter(name) => {
                Cow::Borrowed(parameter(facts.postback(), &name.of(facts)).unwrap_or_default())
            }
        }
    }
}
