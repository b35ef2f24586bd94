//! Who speaks with customers, and to whom a rule hands them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::directory::is_default;
use crate::{BrandId, CalendarId, DeskId, StaffId, StoreId};

/// More conversations at once than this can nobody have.
pub const CAPACITY_AT_MOST: u32 = 100;

/// The longest that a target may be tried.
const WITHIN_AT_MOST: Duration = Duration::from_hours(24);

/// A desk that speaks for some brands, or for all: then it is the central one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desk {
    /// As staff see it.
    pub name: String,
    /// The brands that it speaks for; empty: the central desk, which speaks for all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub brands: BTreeSet<BrandId>,
}

impl Desk {
    /// Whether it speaks for all brands.
    #[must_use]
    pub fn is_central(&self) -> bool {
        self.brands.is_empty()
    }
}

/// Somebody who speaks with customers, in a store or at a desk.
///
/// Whoever has left is taken out of the directory: nobody is offered anything then, and what the person
/// had is offered on. Bindings stay until they are handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaffMember {
    /// As customers see it, e.g. in the news of a binding.
    pub name: String,
    /// The store that the person works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// The desk that the person works at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desk: Option<DeskId>,
    /// The brands that the person speaks for; empty: all of the store or the desk.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub brands: BTreeSet<BrandId>,
    /// The shifts that the person works; none: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<CalendarId>,
    /// How many conversations the person can have at once, offers included.
    #[serde(default = "three", skip_serializing_if = "is_three")]
    pub capacity: u32,
    /// Who stands in for the person towards customers who are bound, e.g. during leave.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delegate: Option<StaffId>,
}

impl StaffMember {
    /// Whether the person speaks for a brand, or for none in particular.
    #[must_use]
    pub fn speaks_for(&self, brand: Option<&BrandId>) -> bool {
        self.brands.is_empty() || brand.is_none_or(|brand| self.brands.contains(brand))
    }
}

const fn three() -> u32 {
    3
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_three(capacity: &u32) -> bool {
    *capacity == three()
}

/// One step of the chain that a customer is handed along, as `bound_staff 120s`.
///
/// The time is the target's own: however many people of it say no, after that time the next target
/// is tried. The last target may have none; there each offer lasts for a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// Who.
    pub who: Who,
    /// For how long; whole seconds, 1 s to 24 h. None: until somebody says yes.
    pub within: Option<Duration>,
}

/// Whom a customer can be handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The salesperson that the customer is bound to, or else who stands in for that person.
    BoundStaff,
    /// Anybody of the conversation's store.
    StoreOnShift,
    /// Anybody at a desk that speaks for the conversation's brand.
    BrandDesk,
    /// Anybody at the central desk.
    CentralDesk,
}

impl Who {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::BoundStaff, Self::StoreOnShift, Self::BrandDesk, Self::CentralDesk];

    /// Its name in rules and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BoundStaff => "bound_staff",
            Self::StoreOnShift => "store_on_shift",
            Self::BrandDesk => "brand_desk",
            Self::CentralDesk => "central_desk",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|who| who.name() == name)
    }
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no target; write bound_staff, store_on_shift, brand_desk or central_desk and for how \
     long, e.g. bound_staff 120s, whole seconds up to 24h"
)]
pub struct TargetError(String);

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (who, within) = match text.split_once(' ') {
            Some((who, within)) => (who, Some(within)),
            None => (text, None),
        };
        let within = within.map(|within| {
            let span = within.parse::<SignedDuration>().ok();
            span.and_then(|span| Duration::try_from(span).ok()).filter(|span| {
                !span.is_zero() && *span <= WITHIN_AT_MOST && span.subsec_nanos() == 0
            })
        });
        match (Who::from_name(who), within) {
            (Some(who), None) => Ok(Self { who, within: None }),
            (Some(who), Some(Some(within))) => Ok(Self { who, within: Some(within) }),
            (None, _) | (_, Some(None)) => Err(TargetError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;
    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who.name();
        match self.within {
            Some(within) => write!(f, "{who} {}s", within.as_secs()),
            None => f.write_str(who),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_and_says_what_is_wrong() {
        for text in ["bound_staff 120s", "central_desk", "brand_desk 600s"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        let minutes: Target = "store_on_shift 3m".parse().unwrap();
        assert_eq!(minutes.within, Some(Duration::from_mins(3)));
        for bad in ["", "bound_staff ", "anybody 3s", "brand_desk 0s", "brand_desk 25h", "x 1ms"] {
            let error = bad.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("e.g. bound_staff 120s"), "{bad}: {error}");
        }
    }
}
