//! Business hours against a clock that is looked at every minute.

use std::time::Duration;

use jiff::civil::Date;
use mainstem_domain::At;
use mainstem_domain::configuration::{Calendar, Configuration, Span};
use proptest::prelude::*;

const MINUTE: i64 = 60_000;

/// The same hours, told minute by minute.
#[derive(Debug)]
struct Naive {
    zone: &'static str,
    /// From and until, in minutes of the day, from Monday on.
    week: [Vec<(u16, u16)>; 7],
    holidays: Vec<Date>,
    /// Days with hours of their own.
    special: Vec<(Date, Vec<(u16, u16)>)>,
}

impl Naive {
    fn is_open(&self, at: At) -> bool {
        let moment = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap();
        let local = moment.in_tz(self.zone).unwrap();
        let minute =
            u16::try_from(local.hour()).unwrap() * 60 + u16::try_from(local.minute()).unwrap();
        let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap();
        let special = self.special.iter().find(|(date, _)| *date == local.date());
        let hours = special.map_or(&self.week[day], |(_, hours)| hours);
        let hours = hours.iter().any(|(from, until)| (*from..*until).contains(&minute));
        hours && !self.holidays.contains(&local.date())
    }

    fn open_between(&self, from: At, until: At) -> Duration {
        let minutes = (from.as_millis()..until.as_millis()).step_by(60_000);
        let open = minutes.filter(|at| self.is_open(At::from_millis(*at)));
        Duration::from_mins(u64::try_from(open.count()).unwrap())
    }

    /// The first moment at which it was open that long.
    fn after(&self, from: At, span: Duration) -> At {
        let (mut at, mut left) = (from, span);
        while !left.is_zero() {
            if self.is_open(at) {
                left -= Duration::from_mins(1);
            }
            at = at.after(Duration::from_mins(1));
        }
        at
    }

    fn calendar(&self) -> Calendar {
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let hours = |(from, until): &(u16, u16)| format!("{}-{}", clock(*from), clock(*until));
        let week: serde_json::Map<_, _> = days
            .into_iter()
            .zip(&self.week)
            .map(|(day, spans)| {
                (day.to_owned(), spans.iter().map(hours).collect::<Vec<_>>().into())
            })
            .collect();
        let holidays: serde_json::Map<_, _> =
            self.holidays.iter().map(|date| (date.to_string(), "holiday".into())).collect();
        let special: serde_json::Map<_, _> = self
            .special
            .iter()
            .map(|(date, spans)| {
                (date.to_string(), spans.iter().map(hours).collect::<Vec<_>>().into())
            })
            .collect();
        let zone = self.zone;
        serde_json::from_value(serde_json::json!({
            "zone": zone, "week": week, "holidays": holidays, "special": special,
        }))
        .unwrap()
    }
}

fn naive() -> impl Strategy<Value = Naive> {
    // From 04:00 on: before that some zones' clocks are put forward and back.
    let day = || {
        prop_oneof![
            2 => Just(Vec::new()),
            1 => Just(vec![(0, 1_440)]),
            2 => Just(vec![(540, 720), (780, 1_080)]),
            3 => (240..1_439_u16, 1..600_u16)
                .prop_map(|(from, long)| vec![(from, (from + long).min(1_440))]),
        ]
    };
    let week = [day(), day(), day(), day(), day(), day(), day()];
    let zone = prop::sample::select(vec!["Asia/Taipei", "Europe/Berlin", "America/New_York"]);
    let holidays = prop::collection::vec(0..40_i32, 0..12);
    let special = prop::collection::btree_map(0..40_i32, day(), 0..6);
    (week, zone, holidays, special).prop_filter_map(
        "never opens",
        |(week, zone, holidays, special)| {
            let first: Date = "2026-03-01".parse().unwrap();
            let date = |days| first + jiff::Span::new().days(days);
            let holidays = holidays.into_iter().map(date).collect();
            let special = special.into_iter().map(|(days, hours)| (date(days), hours)).collect();
            let opens = week.iter().any(|day| !day.is_empty());
            opens.then_some(Naive { zone, week, holidays, special })
        },
    )
}

/// Around the days on which clocks are put forward in 2026.
fn minute() -> impl Strategy<Value = At> {
    let first = At::parse("2026-03-01T00:00:00Z").unwrap().as_millis();
    (0..40 * 24 * 60_i64).prop_map(move |minute| At::from_millis(first + minute * MINUTE))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn business_time_passes_as_a_clock_on_the_wall_says(
        naive in naive(),
        (from, until) in (minute(), minute()),
        minutes in 0..1_500_u64,
    ) {
        let calendar = naive.calendar();
        let span = Duration::from_mins(minutes);
        prop_assert_eq!(calendar.after(from, span), Some(naive.after(from, span)));
        prop_assert_eq!(calendar.open_between(from, until), naive.open_between(from, until));
    }

    /// To the millisecond: that long it was open by then, and not earlier.
    #[test]
    fn the_moment_at_which_time_is_up_is_the_first_one(
        naive in naive(),
        (from, past) in (minute(), 0..MINUTE),
        span in (1..100_000_000_u64).prop_map(Duration::from_millis),
    ) {
        let calendar = naive.calendar();
        let from = At::from_millis(from.as_millis() + past);
        let up = calendar.after(from, span).unwrap();
        prop_assert_eq!(calendar.open_between(from, up), span);
        let before = At::from_millis(up.as_millis() - 1);
        prop_assert_eq!(calendar.open_between(from, before), span.saturating_sub(Duration::from_millis(1)));
    }
}

fn office() -> Calendar {
    let hours = ["09:00-12:00", "13:00-18:00"];
    serde_json::from_value(serde_json::json!({
        "week": {"mon": hours, "tue": hours, "wed": hours, "thu": hours, "fri": hours},
        "holidays": {"2026-02-27": "和平紀念日補假", "2027-01-01": "元旦"},
    }))
    .unwrap()
}

fn taipei(text: &str) -> At {
    At::parse(&format!("{text}+08:00")).unwrap()
}

fn due(from: &str, span: &str) -> At {
    let span: Span = span.parse().unwrap();
    office().after(taipei(from), span.duration()).unwrap()
}

#[test]
fn a_due_time_exactly_on_closing_stays_there() {
    assert_eq!(due("2026-11-24T10:00:00", "7h"), taipei("2026-11-24T18:00:00"));
    assert_eq!(due("2026-11-24T10:00:00", "2h"), taipei("2026-11-24T12:00:00"));
    assert_eq!(due("2026-11-24T10:00:00", "2h 1m"), taipei("2026-11-24T13:01:00"));
    assert_eq!(due("2026-11-24T18:00:00", "1m"), taipei("2026-11-25T09:01:00"));
}

#[test]
fn due_times_go_over_weekends_holidays_and_the_ends_of_months_and_years() {
    // Friday afternoon to Monday.
    assert_eq!(due("2026-11-27T17:00:00", "2h"), taipei("2026-11-30T10:00:00"));
    // Thursday; Friday is a holiday, Saturday the end of the month.
    assert_eq!(due("2026-02-26T17:30:00", "1h"), taipei("2026-03-02T09:30:00"));
    // The new year begins with a holiday and a weekend.
    assert_eq!(due("2026-12-31T17:59:00", "2m"), taipei("2027-01-04T09:01:00"));
    // Opened at night.
    assert_eq!(due("2026-11-24T03:00:00", "8h"), taipei("2026-11-24T18:00:00"));
}

#[test]
fn what_is_no_calendar_is_refused_with_the_remedy() {
    let read = |json: serde_json::Value| {
        serde_json::from_value::<Calendar>(json).map_err(|error| error.to_string())
    };
    for bad in ["09:00", "9:00-18:00", "18:00-09:00", "09:00-09:00", "09:00-24:01", "09:60-10:00"] {
        let error = read(serde_json::json!({"week": {"mon": [bad]}})).unwrap_err();
        assert!(error.contains("09:00-18:00 or 18:00-24:00"), "{bad}: {error}");
    }
    let error = read(serde_json::json!({"zone": "Asia/Nowhere", "week": {}})).unwrap_err();
    assert!(error.contains("write one of the time zone database"), "{error}");
    assert!(read(serde_json::json!({"week": {}, "holidays": {"2026-02-30": "none"}})).is_err());
    for bad in ["0m", "2161h", "30s", "1h 1s", "-1h", "1d", "soon", ""] {
        assert!(bad.parse::<Span>().is_err(), "{bad}");
    }
    for good in ["1m", "90m", "4h", "1h 30m", "2160h"] {
        let span: Span = good.parse().unwrap();
        assert_eq!(span.to_string().parse(), Ok(span));
    }
}

#[test]
fn a_calendar_that_never_opens_and_a_unit_without_one_are_refused() {
    let configuration: Configuration = serde_json::from_value(serde_json::json!({
        "queues": {"repair": {"name": "Repair"}},
        "calendars": {
            "never": {"week": {"mon": []}},
            "twice": {"week": {"tue": ["09:00-12:00", "11:59-13:00"]}},
            "well": {"week": {"mon": ["09:00-12:00", "12:00-13:00"]}},
        },
        "units": {
            "a": {"name": "A", "calendar": "well", "queues": ["repair", "none"], "due": {"P1": "208h", "P2": "208h 1m"}},
            "b": {"name": "B", "calendar": "nowhere", "queues": ["repair"]},
        },
    }))
    .unwrap();
    let problems: Vec<_> = configuration.lint().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "calendars.never.week: never opens; give at least one day of the week its hours, e.g. mon: [09:00-18:00]",
            "calendars.twice.week.tue: 09:00-12:00 and 11:59-13:00 overlap; make one of them",
            "units.a.queues: no queue none; add it under queues",
            "units.a.due.P2: 208h 1m of well is more than a year; shorten it, or open longer",
            "units.b.calendar: no calendar nowhere; add it under calendars",
            "units.b.queues: repair is served by a; take it off one",
        ]
    );
}
