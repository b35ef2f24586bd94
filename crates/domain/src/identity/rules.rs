use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::graph::{Graph, Who};
use super::similarity::Weights;
use crate::At;
use crate::identifier::{Identifier, Kind};

/// The section `identity` of the configuration: what may belong to one customer.
///
/// A limit that is lowered takes nothing from anybody: who has more keeps it and gets no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// How many identifiers of each kind one customer can have.
    pub limits: Limits,
    /// The retailer's own numbers and addresses, and whatever else tells nobody. Placeholders
    /// such as `null` need not stand here.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub blocked: BTreeSet<Identifier>,
    /// When an identifier is one that many people share.
    pub hub: HubRule,
    /// When two customers are so alike that a person should look at them.
    pub similarity: Weights,
}

impl Rules {
    /// Whether an identifier never ties anybody to anybody.
    #[must_use]
    pub fn blocks(&self, identifier: &Identifier) -> bool {
        identifier.is_placeholder()
            || (!self.blocked.is_empty() && self.blocked.contains(identifier))
    }
}

/// An identifier that events of more than so many distinct customers carried within so many days
/// is a hub (a shop's tablet, a family's phone) and ties nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubRule {
    /// So many customers may share an identifier.
    pub customers: u16,
    /// Within so many days.
    pub days: u16,
}

impl Default for HubRule {
    fn default() -> Self {
        Self { customers: 8, days: 30 }
    }
}

impl HubRule {
    pub(super) fn window(self) -> Duration {
        days(self.days)
    }
}

fn days(days: u16) -> Duration {
    Duration::from_hours(u64::from(days) * 24)
}

/// How many identifiers of each kind one customer can have.
///
/// The defaults: member 1, phone 5, email 5, line 100, external 50, cookie 100.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of membership numbers.
    pub member: Limit,
    /// Of phone numbers.
    pub phone: Limit,
    /// Of e-mail addresses.
    pub email: Limit,
    /// Of LINE user ids; each provider gives its own.
    pub line: Limit,
    /// Of ids in other systems, all systems together.
    pub external: Limit,
    /// Of browser cookies.
    pub cookie: Limit,
}

impl Default for Limits {
    fn default() -> Self {
        let ever = |at_most| Limit { at_most, within: Window::Ever };
        Self {
            member: ever(1),
            phone: ever(5),
            email: ever(5),
            line: ever(100),
            external: ever(50),
            cookie: ever(100),
        }
    }
}

impl Limits {
    /// The limit of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Limit {
        match kind {
            Kind::Member => self.member,
            Kind::Phone => self.phone,
            Kind::Email => self.email,
            Kind::Line => self.line,
            Kind::External => self.external,
            Kind::Cookie => self.cookie,
        }
    }
}

/// One limit. Written as a number, `5`, or with a window, `{ at_most: 5, within: 30d }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Limit {
    at_most: u16,
    within: Window,
}

/// Over which time a limit counts: those identifiers that a customer got within it, half open, so
/// that one of exactly 30 days ago is out of `30d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// All of them.
    #[default]
    #[serde(rename = "ever")]
    Ever,
    /// The last 7 days.
    #[serde(rename = "7d")]
    Days7,
    /// The last 30 days.
    #[serde(rename = "30d")]
    Days30,
    /// The last 365 days.
    #[serde(rename = "365d")]
    Days365,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u16),
    Window(WithWindow),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithWindow {
    at_most: u16,
    #[serde(default)]
    within: Window,
}

impl TryFrom<Written> for Limit {
    type Error = &'static str;
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let (at_most, within) = match written {
            Written::Number(at_most) => (at_most, Window::Ever),
            Written::Window(WithWindow { at_most, within }) => (at_most, within),
        };
        match at_most {
            1..=1_000 => Ok(Self { at_most, within }),
            _ => Err("a limit of identifiers must be 1 to 1,000"),
        }
    }
}

impl From<Limit> for Written {
    fn from(Limit { at_most, within }: Limit) -> Self {
        match within {
            Window::Ever => Self::Number(at_most),
            Window::Days7 | Window::Days30 | Window::Days365 => {
                Self::Window(WithWindow { at_most, within })
            }
        }
    }
}

impl Limit {
    /// How many one customer can have.
    #[must_use]
    pub fn at_most(&self) -> usize {
        usize::from(self.at_most)
    }

    /// Whether an identifier counts that a customer got at `attached_at`.
    #[must_use]
    pub fn counts(&self, attached_at: At, at: At) -> bool {
        let window = match self.within {
            Window::Ever => return true,
            Window::Days7 => days(7),
            Window::Days30 => days(30),
            Window::Days365 => days(365),
        };
        at.since(attached_at) < window
    }
}

/// How many identifiers there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts([usize; Kind::ALL.len()]);

impl Counts {
    /// Of a customer, those that count by the limits at this moment.
    pub(super) fn of(graph: &Graph, who: Who, limits: &Limits, at: At) -> Self {
        let mut counts = Self::default();
        for node in graph.nodes(who) {
            let kind = graph.kind(node);
            if limits.of(kind).counts(graph.attached_at(node), at) {
                counts.add(kind);
            }
        }
        counts
    }

    pub(super) fn get(&self, kind: Kind) -> usize {
        self.0[kind as usize]
    }

    pub(super) fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub(super) fn remove(&mut self, kind: Kind) {
        self.0[kind as usize] -= 1;
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }

    pub(super) fn remove_all(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own -= other;
        }
    }

    /// The strongest kind of which there are too many.
    pub(super) fn exceeds(&self, limits: &Limits) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| self.get(*kind) > limits.of(*kind).at_most())
    }
}
