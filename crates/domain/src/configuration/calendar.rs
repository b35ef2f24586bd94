//! When a unit works, and how long its work may take.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Priority;
use crate::At;

const MINUTES_OF_A_DAY: u16 = 24 * 60;

/// The longest [`Span`]: 90 days around the clock.
pub const SPAN_AT_MOST: Duration = Duration::from_hours(90 * 24);

/// Business hours: a week that repeats, in one time zone, the days on which nobody works, and those with
/// other hours.
///
/// Hours are half-open: at 18:00 sharp a unit that works until 18:00 is closed. Where the clocks of
/// the zone are put forward or back, an hour that does not exist begins when the clocks have moved,
/// and one that comes twice is meant the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// The zone in which days and hours are meant.
    #[serde(default)]
    pub zone: Zone,
    /// The hours of each day of the week; a day that is missing is closed.
    pub week: BTreeMap<Day, Vec<Hours>>,
    /// Dates on which it is closed whatever the day of the week, and what they are called.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holidays: BTreeMap<Date, String>,
    /// Dates with hours of their own instead of those of the day of the week, such as half a holiday or
    /// a Saturday that is worked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub special: BTreeMap<Date, Vec<Hours>>,
}

/// A time zone by its name in the time zone database, e.g. `Asia/Taipei`, the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(String, TimeZone);

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// Opening hours within one day, as `09:00-18:00`; until the end of the day is `-24:00`.
///
/// The first minute is in, the last one is not; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    from: u16,
    until: u16,
}

/// How long something may take, as `90m`, `4h` or `1h 30m`: whole minutes, 1 minute to
/// [`SPAN_AT_MOST`]. There is no day in it, as a day of work is as long as its calendar says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

/// A back-office unit: some people who work on some queues, at certain hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// As staff see it.
    pub name: String,
    /// When it works.
    pub calendar: crate::CalendarId,
    /// The queues that it serves; a queue is served by one unit at most.
    pub queues: Vec<crate::QueueId>,
    /// Within how much time of its business hours a case is to be resolved, by priority; a priority
    /// that is missing is never late.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub due: BTreeMap<Priority, Span>,
}

/// Why a text is none of the above.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The time zone database does not have it.
    #[error("no time zone {0}; write one of the time zone database, e.g. Asia/Taipei")]
    Zone(String),
    /// Not opening hours.
    #[error(
        "{0:?} are no hours; write from and until within one day, e.g. 09:00-18:00 or 18:00-24:00"
    )]
    Hours(String),
    /// Not a span.
    #[error("{0:?} is no time to work in; write minutes and hours, e.g. 90m or 4h, up to 2160h")]
    Span(String),
}

impl Calendar {
    /// How long it is open in a week without holidays and special days.
    #[must_use]
    pub fn week_total(&self) -> Duration {
        let hours = self.week.values().flat_map(|day| joined(day));
        hours.map(|hours| Duration::from_mins(u64::from(hours.until - hours.from))).sum()
    }

    /// How long it is open between two moments; nothing when `until` is not after `from`.
    #[must_use]
    pub fn open_between(&self, from: At, until: At) -> Duration {
        let openings = self.openings(from).take_while(|(opens, _)| *opens < until);
        openings.map(|(opens, closes)| closes.min(until).since(opens.max(from))).sum()
    }

    /// The first moment at which it was open for `span` since `from`.
    ///
    /// Time that is up exactly when it closes is up then, not when it opens again. `None`: it never
    /// opens that long, until the end of all calendars.
    #[must_use]
    pub fn after(&self, from: At, span: Duration) -> Option<At> {
        if span.is_zero() {
            return Some(from);
        }
        if self.week_total().is_zero() {
            return None;
        }
        let mut left = span;
        for (opens, closes) in self.openings(from) {
            let opens = opens.max(from);
            let open = closes.since(opens);
            if left <= open {
                return Some(opens.after(left));
            }
            left -= open;
        }
        None
    }

    /// Whether it is open, and when that changes; `None`: never.
    ///
    /// Hours of two days that touch at midnight count as two.
    #[must_use]
    pub fn standing(&self, at: At) -> (bool, Option<At>) {
        if self.week_total().is_zero() {
            return (false, None);
        }
        match self.openings(at).next() {
            Some((opens, closes)) if opens <= at => (true, Some(closes)),
            Some((opens, _)) => (false, Some(opens)),
            None => (false, None),
        }
    }

    /// Everything from the day of `from` on: when it opens and when it closes, in order.
    fn openings(&self, from: At) -> impl Iterator<Item = (At, At)> {
        let zone = &self.zone.1;
        let moment = Timestamp::from_millisecond(from.as_millis()).unwrap_or(Timestamp::MIN);
        // Hours of the day before can end after this day has begun, where clocks are put back.
        let first = zone.to_datetime(moment).date();
        let first = first.yesterday().unwrap_or(first);
        let days = std::iter::successors(Some(first), |day| day.tomorrow().ok());
        let open = days.filter(|day| !self.holidays.contains_key(day));
        let hours = open.flat_map(|day| {
            let week = || self.week.get(&Day::from(day.weekday()));
            let hours = self.special.get(&day).or_else(week);
            let hours = joined(hours.map(Vec::as_slice).unwrap_or_default());
            hours.into_iter().map(move |hours| (day, hours))
        });
        hours
            .map(|(day, hours)| {
                (moment_of(zone, day, hours.from), moment_of(zone, day, hours.until))
            })
            .filter(move |(_, closes)| *closes > from)
    }
}

/// In order, and those that touch or overlap as one.
fn joined(day: &[Hours]) -> Vec<Hours> {
    let mut sorted = day.to_vec();
    sorted.sort_unstable();
    let mut joined: Vec<Hours> = Vec::with_capacity(sorted.len());
    for next in sorted {
        match joined.last_mut() {
            Some(last) if next.from <= last.until => last.until = last.until.max(next.until),
            Some(_) | None => joined.push(next),
        }
    }
    joined
}

fn moment_of(zone: &TimeZone, day: Date, minute: u16) -> At {
    let at = if minute == MINUTES_OF_A_DAY {
        day.tomorrow().map(|next| next.to_datetime(Time::midnight()))
    } else {
        DateTime::new(
            day.year(),
            day.month(),
            day.day(),
            i8::try_from(minute / 60).unwrap_or_default(),
            i8::try_from(minute % 60).unwrap_or_default(),
            0,
            0,
        )
    };
    let moment = at.and_then(|at| zone.to_ambiguous_timestamp(at).compatible());
    At::from_millis(moment.unwrap_or(Timestamp::MAX).as_millisecond())
}

impl Zone {
    pub(crate) fn time_zone(&self) -> &TimeZone {
        &self.1
    }
}

impl Default for Zone {
    fn default() -> Self {
        "Asia/Taipei".parse().unwrap_or_else(|_| Self("UTC".to_owned(), TimeZone::UTC))
    }
}

impl FromStr for Zone {
    type Err = CalendarError;
    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let zone = TimeZone::get(text).map_err(|_| CalendarError::Zone(text.to_owned()))?;
        Ok(Self(text.to_owned(), zone))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

impl FromStr for Hours {
    type Err = CalendarError;
    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let digits = |text: &str| {
                let two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
                two.then(|| text.parse::<u16>().ok()).flatten()
            };
            let (hour, minute) = (digits(hour)?, digits(minute)?);
            (minute < 60).then_some(hour * 60 + minute)
        };
        text.split_once('-')
            .and_then(|(from, until)| Some(Self { from: minute(from)?, until: minute(until)? }))
            .filter(|hours| hours.from < hours.until && hours.until <= MINUTES_OF_A_DAY)
            .ok_or_else(|| CalendarError::Hours(text.to_owned()))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

impl Hours {
    /// Whether some minute is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.from < other.until && other.from < self.until
    }
}

impl Span {
    /// So many hours: 1 to 2,160, and what is beyond them is as near as can be.
    #[must_use]
    pub fn from_hours(hours: u32) -> Self {
        let span = Duration::from_hours(u64::from(hours.max(1)));
        Self(span.min(SPAN_AT_MOST))
    }

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = CalendarError;
    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let span = text.parse::<SignedDuration>().ok();
        span.and_then(|span| Duration::try_from(span).ok())
            .filter(|span| {
                !span.is_zero()
                    && *span <= SPAN_AT_MOST
                    && span.subsec_nanos() == 0
                    && span.as_secs().is_multiple_of(60)
            })
            .map(Self)
            .ok_or_else(|| CalendarError::Span(text.to_owned()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.as_secs() / 60;
        match (minutes / 60, minutes % 60) {
            (0, minutes) => write!(f, "{minutes}m"),
            (hours, 0) => write!(f, "{hours}h"),
            (hours, minutes) => write!(f, "{hours}h {minutes}m"),
        }
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {
        $(
            impl TryFrom<String> for $name {
                type Error = CalendarError;
                fn try_from(text: String) -> Result<Self, CalendarError> {
                    text.parse()
                }
            }

            impl From<$name> for String {
                fn from(value: $name) -> String {
                    value.to_string()
                }
            }
        )*
    };
}

as_text!(Zone, Hours, Span);
