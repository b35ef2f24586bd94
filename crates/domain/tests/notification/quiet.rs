//! The time of the day at which it is quiet, beside a clock on the wall that is looked at every
//! minute.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use mainstem_domain::At;
use mainstem_domain::configuration::{Calendar, QuietHours};
use proptest::prelude::*;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// A clock on the wall of somebody who does not want to be disturbed.
pub(crate) struct Clock<'a> {
    pub(crate) zone: TimeZone,
    /// Minutes of the day.
    pub(crate) from: u16,
    pub(crate) until: u16,
    pub(crate) holidays: &'a BTreeSet<Date>,
}

impl Clock<'_> {
    /// Whether what the clock shows is quiet.
    pub(crate) fn is_quiet(&self, at: At) -> bool {
        let shown = self.zone.to_datetime(Timestamp::from_millisecond(at.as_millis()).unwrap());
        let minute = u16::try_from(shown.hour()).unwrap() * 60;
        let minute = minute + u16::try_from(shown.minute()).unwrap();
        let night = if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            !(self.until..self.from).contains(&minute)
        };
        night || self.holidays.contains(&shown.date())
    }

    /// Looks again at every full minute: no clock of today jumps in the middle of one.
    pub(crate) fn quiet_until(&self, at: At) -> At {
        let mut now = at;
        while self.is_quiet(now) {
            now = At::from_millis((now.as_millis().div_euclid(MINUTE) + 1) * MINUTE);
        }
        now
    }
}

/// `21:30-09:00` as minutes of the day.
pub(crate) fn minutes(hours: QuietHours) -> (u16, u16) {
    let text = hours.to_string();
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':').unwrap();
        hour.parse::<u16>().unwrap() * 60 + minute.parse::<u16>().unwrap()
    };
    let (from, until) = text.split_once('-').unwrap();
    (minute(from), minute(until))
}

fn hours(from: u16, until: u16) -> QuietHours {
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{}-{}", time(from), time(until)).parse().unwrap()
}

fn calendar(holidays: &BTreeSet<Date>) -> Calendar {
    let holidays: serde_json::Map<_, _> =
        holidays.iter().map(|date| (date.to_string(), "holiday".into())).collect();
    serde_json::from_value(serde_json::json!({"week": {}, "holidays": holidays})).unwrap()
}

/// Clocks that are put forward and back by an hour, by half an hour, at midnight, one minute after
/// it, over a whole day, several times a year, and never.
const ZONES: [&str; 14] = [
    "Asia/Taipei",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Asia/Gaza",
    "America/Santiago",
    "UTC",
];

fn at(text: &str) -> At {
    At::parse(text).unwrap()
}

#[derive(Clone, Debug)]
struct Case {
    zone: &'static str,
    from: u16,
    until: u16,
    at: At,
    holidays: BTreeSet<Date>,
}

/// Near one of the moments at which the clocks of the zone are moved, or near the end of a month.
fn moment(zone: &'static str) -> impl Strategy<Value = At> {
    let from = "2005-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let moved = TimeZone::get(zone).unwrap();
    let moved: Vec<_> = moved.following(from).take(60).map(|it| it.timestamp()).collect();
    let mut edges: Vec<_> = moved.into_iter().map(Timestamp::as_millisecond).collect();
    for end in ["2024-02-29", "2026-02-28", "2026-12-31", "2027-04-30", "2011-12-29"] {
        edges.push(at(&format!("{end}T12:00:00Z")).as_millis());
    }
    let off = prop_oneof![
        2 => -36 * 60 * MINUTE..36 * 60 * MINUTE,
        2 => (-36 * 60..36 * 60_i64).prop_map(|minutes| minutes * MINUTE),
        1 => (-36 * 60..36 * 60_i64).prop_map(|minutes| minutes * MINUTE - 1),
        2 => -3 * 60 * MINUTE..3 * 60 * MINUTE,
    ];
    (prop::sample::select(edges), off).prop_map(|(edge, off)| At::from_millis(edge + off))
}

fn case() -> impl Strategy<Value = Case> {
    let minute = prop_oneof![
        2 => 0..24 * 60_u16,
        2 => 0..4 * 60_u16,
        1 => (0..24_u16).prop_map(|hour| hour * 60),
    ];
    let times = prop_oneof![
        1 => Just((21 * 60 + 30, 9 * 60)),
        4 => (minute.clone(), minute),
    ];
    let times = times.prop_filter("not empty", |(from, until)| from != until);
    // From so many days before or after, so many in a row, but for every so many.
    let holidays = (-2..3_i64, 0..6_i64, 2..7_i64);
    prop::sample::select(ZONES.to_vec())
        .prop_flat_map(move |zone| (Just(zone), times.clone(), moment(zone), holidays.clone()))
        .prop_map(|(zone, (from, until), at, (first, row, but))| {
            let shown = TimeZone::get(zone).unwrap();
            let shown = shown.to_datetime(Timestamp::from_millisecond(at.as_millis()).unwrap());
            let days = (first..first + row).filter(|day| (day - first) % but != but - 1);
            let date = |days| shown.date().checked_add(Span::new().days(days)).unwrap();
            Case { zone, from, until, at, holidays: days.map(date).collect() }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// It is quiet up to the last millisecond of what is said, and no longer.
    #[test]
    fn quiet_hours_are_what_the_clock_on_the_wall_says(case in case()) {
        let Case { zone, from, until, at, holidays } = case;
        let clock = Clock { zone: TimeZone::get(zone).unwrap(), from, until, holidays: &holidays };
        let calendar = calendar(&holidays);
        let calendar = (!holidays.is_empty()).then_some(&calendar);
        let over = hours(from, until).quiet_until(&zone.parse().unwrap(), calendar, at);
        prop_assert_eq!(over, clock.quiet_until(at), "from {}", at);
        prop_assert!(!clock.is_quiet(over));
        if over > at {
            prop_assert!(clock.is_quiet(at));
            prop_assert!(clock.is_quiet(At::from_millis(over.as_millis() - 1)));
        }
    }
}

#[test]
fn the_first_minute_is_quiet_and_the_last_is_not() {
    let zone = "Asia/Taipei".parse().unwrap();
    for (hours, from, first, last) in [
        ("21:30-09:00", "2026-02-28", "21:30", "2026-03-01T09:00"),
        ("21:30-09:00", "2024-02-28", "21:30", "2024-02-29T09:00"),
        ("13:00-14:30", "2026-12-31", "13:00", "2026-12-31T14:30"),
        ("22:00-00:00", "2026-12-31", "22:00", "2027-01-01T00:00"),
        ("00:00-00:01", "2026-12-31", "00:00", "2026-12-31T00:01"),
    ] {
        let hours: QuietHours = hours.parse().unwrap();
        let begins = at(&format!("{from}T{first}:00+08:00"));
        let ends = at(&format!("{last}:00+08:00"));
        let off = |at: At, millis: i64| At::from_millis(at.as_millis() + millis);
        let until = |at: At| hours.quiet_until(&zone, None, at);
        assert_eq!(until(off(begins, -1)), off(begins, -1), "{hours}");
        assert_eq!(until(begins), ends, "{hours}");
        assert_eq!(until(off(ends, -1)), ends, "{hours}");
        assert_eq!(until(ends), ends, "{hours}");
    }
}

/// Lunar New Year of 2026: from the Saturday before it to the Sunday after it nobody is disturbed.
#[test]
fn holidays_in_a_row_are_one_long_night() {
    let holidays: BTreeSet<Date> =
        (14..=22).map(|day| format!("2026-02-{day}").parse().unwrap()).collect();
    let until = |text: &str, calendar: Option<&Calendar>| {
        QuietHours::default().quiet_until(&"Asia/Taipei".parse().unwrap(), calendar, at(text))
    };
    let calendar = calendar(&holidays);
    let first = "2026-02-13T21:30:00+08:00";
    assert_eq!(until(first, Some(&calendar)), at("2026-02-23T09:00:00+08:00"));
    assert_eq!(until(first, None), at("2026-02-14T09:00:00+08:00"));
    let noon = "2026-02-17T12:00:00+08:00";
    assert_eq!(until(noon, Some(&calendar)), at("2026-02-23T09:00:00+08:00"));
    assert_eq!(until(noon, None), at(noon));
}

/// 02:00 to 03:00 there is no clock; 01:00 to 02:00 there are two.
#[test]
fn a_night_over_moved_clocks_ends_when_the_clock_says_so() {
    let until = |hours: &str, zone: &str, text: &str| {
        let hours: QuietHours = hours.parse().unwrap();
        hours.quiet_until(&zone.parse().unwrap(), None, at(text))
    };
    let new_york = "America/New_York";
    // Put forward on 8 March: an hour less of sleep, and an end that does not exist.
    let night = "2026-03-08T01:30:00-05:00";
    assert_eq!(until("21:30-09:00", new_york, night), at("2026-03-08T09:00:00-04:00"));
    assert_eq!(until("21:30-02:30", new_york, night), at("2026-03-08T03:00:00-04:00"));
    // Put back on 1 November: an end that comes twice, and a beginning that does.
    let first = "2026-11-01T01:29:00-04:00";
    assert_eq!(until("21:30-01:30", new_york, first), at("2026-11-01T01:30:00-04:00"));
    let second = "2026-11-01T01:29:00-05:00";
    assert_eq!(until("21:30-01:30", new_york, second), at("2026-11-01T01:30:00-05:00"));
    let begun = "2026-11-01T01:59:00-04:00";
    assert_eq!(until("01:30-09:00", new_york, begun), at("2026-11-01T01:00:00-05:00"));
    // The day that Samoa left out.
    let apia = "2011-12-29T23:00:00-10:00";
    assert_eq!(until("21:30-09:00", "Pacific/Apia", apia), at("2011-12-31T09:00:00+14:00"));
    // Half an hour, and a midnight that does not exist.
    let lord_howe = "2026-04-05T01:50:00+11:00";
    assert_eq!(
        until("01:45-09:00", "Australia/Lord_Howe", lord_howe),
        at("2026-04-05T01:30:00+10:30")
    );
    let sao_paulo = "2018-11-03T23:00:00-03:00";
    assert_eq!(
        until("21:30-00:00", "America/Sao_Paulo", sao_paulo),
        at("2018-11-04T01:00:00-02:00")
    );
}

/// A person far away in time is not disturbed by a fault of the calendar.
#[test]
fn beyond_all_calendars_it_is_not_quiet() {
    for millis in [i64::MIN, i64::MAX] {
        let at = At::from_millis(millis);
        assert_eq!(QuietHours::default().quiet_until(&"UTC".parse().unwrap(), None, at), at);
    }
    let far = At::from_millis(253_402_207_200_000 - DAY);
    assert!(QuietHours::default().quiet_until(&"UTC".parse().unwrap(), None, far) >= far);
}
