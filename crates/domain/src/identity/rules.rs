use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Customer;
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
}

impl Rules {
    /// Whether an identifier never ties anybody to anybody.
    #[must_use]
    pub fn blocks(&self, identifier: &Identifier) -> bool {
        identifier.is_placeholder() || self.blocked.contains(identifier)
    }
}

/// How many identifiers of each kind one customer can have at any time.
///
/// The defaults are RULES.md's: member 1, phone 5, email 5, line 100, external 50, cookie 100.
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
        Self {
            member: Limit(1),
            phone: Limit(5),
            email: Limit(5),
            line: Limit(100),
            external: Limit(50),
            cookie: Limit(100),
        }
    }
}

impl Limits {
    /// The limit of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> usize {
        let limit = match kind {
            Kind::Member => self.member,
            Kind::Phone => self.phone,
            Kind::Email => self.email,
            Kind::Line => self.line,
            Kind::External => self.external,
            Kind::Cookie => self.cookie,
        };
        usize::from(limit.0)
    }
}

/// One limit: 1 to 150, so that what one event decides about one customer, a record for each
/// identifier at most, fits an atomic batch of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Limit(u16);

impl TryFrom<u16> for Limit {
    type Error = &'static str;
    fn try_from(number: u16) -> Result<Self, Self::Error> {
        match number {
            1..=150 => Ok(Self(number)),
            _ => Err("a limit of identifiers must be 1 to 150"),
        }
    }
}

impl From<Limit> for u16 {
    fn from(limit: Limit) -> u16 {
        limit.0
    }
}

/// How many identifiers there are of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts([usize; Kind::ALL.len()]);

impl Counts {
    pub(super) fn of(customer: &Customer) -> Self {
        let mut counts = Self::default();
        for identifier in &customer.identifiers {
            counts.add(identifier.kind());
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
        Kind::ALL.into_iter().find(|kind| self.get(*kind) > limits.of(*kind))
    }
}
