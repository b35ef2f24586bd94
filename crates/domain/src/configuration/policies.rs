//! How much a person is disturbed at most, and when not at all.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span as Days, Timestamp};
use serde::{Deserialize, Serialize};

use super::directory::is_default;
use super::lint::Findings;
use super::{Calendar, Configuration, Span, Zone};
use crate::{At, CalendarId};

/// What holds for everything that people are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// When nobody is disturbed by service and marketing messages; `null`: never.
    pub quiet_hours: Option<QuietHours>,
    /// Its holidays, in each person's own zone, are quiet all day for marketing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holidays: Option<CalendarId>,
    /// The zone of people of whom no other is known.
    #[serde(skip_serializing_if = "is_default")]
    pub zone: Zone,
    /// What one person gets of marketing at most, over all brands, staff and campaigns. All of
    /// them hold.
    pub marketing: Vec<Budget>,
    /// A marketing message that names no deadline of its own expires when it could not be sent
    /// within this time.
    pub marketing_within: Span,
    /// How many requests may be on their way by push on one account; a caller's further ones of
    /// marketing are refused until there is room.
    pub waiting_at_most: u64,
}

/// No more than so many in any span of this length: one of exactly that age counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// How many; at least one.
    pub at_most: u8,
    /// In how long a time, by the clock and not by business hours; 30 days at most.
    pub within: Span,
}

/// The time of the day in which it is quiet, as `21:30-09:00`: the first minute is in, the last one
/// is not. It may go over midnight, and is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QuietHours {
    from: Time,
    until: Time,
}

/// Why a text is no quiet hours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} are no quiet hours; write two different times of the day, e.g. 21:30-09:00")]
pub struct NoQuietHours(String);

impl Default for Policies {
    fn default() -> Self {
        let span = Span::from_hours;
        Self {
            quiet_hours: Some(QuietHours::default()),
            holidays: None,
            zone: Zone::default(),
            marketing: vec![
                Budget { at_most: 1, within: span(24) },
                Budget { at_most: 3, within: span(7 * 24) },
            ],
            marketing_within: span(72),
            waiting_at_most: 10_000,
        }
    }
}

impl Default for QuietHours {
    fn default() -> Self {
        Self { from: Time::constant(21, 30, 0, 0), until: Time::constant(9, 0, 0, 0) }
    }
}

impl QuietHours {
    fn has(self, time: Time) -> bool {
        if self.from < self.until {
            self.from <= time && time < self.until
        } else {
            self.from <= time || time < self.until
        }
    }

    /// When it is no longer quiet for a person of this zone: `at` itself, where it is not quiet.
    /// With holidays, the whole of such a day is quiet.
    #[must_use]
    pub fn quiet_until(self, zone: &Zone, holidays: Option<&Calendar>, at: At) -> At {
        let (mut moment, zone) = (at, zone.time_zone());
        // A year of holidays in a row would be no calendar any more.
        for _ in 0..366 {
            let Some(next) = self.wakes(zone, holidays, moment) else { break };
            moment = next;
        }
        moment
    }

    /// The next moment at which it may be over, if it is quiet.
    fn wakes(self, zone: &TimeZone, holidays: Option<&Calendar>, at: At) -> Option<At> {
        let now = Timestamp::from_millisecond(at.as_millis()).ok()?;
        let local = zone.to_datetime(now);
        let holiday = |date: Date| holidays.is_some_and(|it| it.holidays.contains_key(&date));
        if !holiday(local.date()) && !self.has(local.time()) {
            return None;
        }
        // The end of a holiday is midnight; the end of the night comes today or tomorrow. Where clocks
        // are moved it may be over at once: put forward over the end, or back before the beginning.
        let midnight = Time::midnight();
        let days = [0, 1, 2].into_iter();
        let days = days.filter_map(|days| local.date().checked_add(Days::new().days(days)).ok());
        let ends = days.flat_map(|date| {
            [midnight, self.until].into_iter().flat_map(move |time| moments(zone, date, time))
        });
        let moved = zone.following(now).next().map(|moved| moved.timestamp());
        let next = ends.chain(moved).filter(|moment| *moment > now).min()?;
        Some(At::from_millis(next.as_millisecond()))
    }
}

/// The longest span of a [`Budget`].
const WITHIN_AT_MOST: Duration = Duration::from_hours(30 * 24);

impl Configuration {
    pub(super) fn lint_policies(&self, findings: &mut Findings) {
        let policies = &self.notification;
        if let Some(holidays) = &policies.holidays
            && !self.calendars.contains_key(holidays)
        {
            findings.add(
                "notification.holidays",
                format!("no calendar {holidays}; add it under calendars"),
            );
        }
        for (index, budget) in policies.marketing.iter().enumerate() {
            let path = format!("notification.marketing[{index}]");
            if budget.at_most == 0 {
                let remedy = "must be 1 or more; to send no marketing at all, send none";
                findings.add(format!("{path}.at_most"), remedy);
            }
            if budget.within.duration() > WITHIN_AT_MOST {
                findings.add(
                    format!("{path}.within"),
                    format!("{} is more than 30 days; shorten it", budget.within),
                );
            }
        }
    }
}

/// The moments at which a clock of the zone shows this: none where clocks are put forward over it,
/// two where they are put back over it.
fn moments(zone: &TimeZone, date: Date, time: Time) -> impl Iterator<Item = Timestamp> + use<> {
    let shown = zone.to_ambiguous_zoned(date.to_datetime(time));
    let (one, two) = match shown.offset() {
        AmbiguousOffset::Unambiguous { .. } => (shown.compatible().ok(), None),
        AmbiguousOffset::Fold { .. } => (shown.clone().earlier().ok(), shown.later().ok()),
        AmbiguousOffset::Gap { .. } => (None, None),
    };
    let timestamp = |zoned: jiff::Zoned| zoned.timestamp();
    one.map(timestamp).into_iter().chain(two.map(timestamp))
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (self.from, self.until);
        write!(f, "{:02}:{:02}", from.hour(), from.minute())?;
        write!(f, "-{:02}:{:02}", until.hour(), until.minute())
    }
}

impl FromStr for QuietHours {
    type Err = NoQuietHours;

    fn from_str(text: &str) -> Result<Self, NoQuietHours> {
        let refused = || NoQuietHours(text.to_owned());
        let time = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let number = |text: &str| (text.len() == 2).then(|| text.parse().ok()).flatten();
            Time::new(number(hour)?, number(minute)?, 0, 0).ok()
        };
        let (from, until) = text.split_once('-').ok_or_else(refused)?;
        let (from, until) = (time(from).ok_or_else(refused)?, time(until).ok_or_else(refused)?);
        if from == until {
            return Err(refused());
        }
        Ok(Self { from, until })
    }
}

impl TryFrom<String> for QuietHours {
    type Error = NoQuietHours;
    fn try_from(text: String) -> Result<Self, NoQuietHours> {
        text.parse()
    }
}

impl From<QuietHours> for String {
    fn from(hours: QuietHours) -> String {
        hours.to_string()
    }
}
