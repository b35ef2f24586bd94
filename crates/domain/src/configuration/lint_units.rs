use std::collections::BTreeMap;

use super::lint::Findings;
use super::{Configuration, Hours};

/// A due time that is further away than this many weeks is none.
const WEEKS_AT_MOST: u32 = 52;

fn lint_hours(path: &str, hours: &[Hours], findings: &mut Findings) {
    let mut sorted = hours.to_vec();
    sorted.sort_unstable();
    let overlap = sorted.windows(2).find_map(|pair| match pair {
        [one, other] if one.overlaps(*other) => Some((*one, *other)),
        _ => None,
    });
    if let Some((one, other)) = overlap {
        findings.add(path, format!("{one} and {other} overlap; make one of them"));
    }
}

impl Configuration {
    pub(super) fn lint_calendars(&self, findings: &mut Findings) {
        for (id, calendar) in &self.calendars {
            let path = format!("calendars.{id}");
            if calendar.week_total().is_zero() {
                let remedy = "never opens; give at least one day of the week its hours, e.g. mon: [09:00-18:00]";
                findings.add(format!("{path}.week"), remedy);
            }
            for (day, hours) in &calendar.week {
                let day = format!("{day:?}").to_lowercase();
                lint_hours(&format!("{path}.week.{day}"), hours, findings);
            }
            for (date, hours) in &calendar.special {
                let path = format!("{path}.special.{date}");
                lint_hours(&path, hours, findings);
                if hours.is_empty() {
                    findings.add(&*path, "has no hours; write the date under holidays");
                }
                if calendar.holidays.contains_key(date) {
                    findings.add(path, "is a holiday too; keep one of them");
                }
            }
        }
    }

    pub(super) fn lint_units(&self, findings: &mut Findings) {
        let mut served = BTreeMap::new();
        for (id, unit) in &self.units {
            let path = format!("units.{id}");
            let calendar = self.calendars.get(&unit.calendar);
            if calendar.is_none() {
                findings.add(
                    format!("{path}.calendar"),
                    format!("no calendar {}; add it under calendars", unit.calendar),
                );
            }
            for queue in &unit.queues {
                let path = format!("{path}.queues");
                if !self.queues.contains_key(queue) {
                    findings.add(&*path, format!("no queue {queue}; add it under queues"));
                }
                if let Some(other) = served.insert(queue, id) {
                    findings.add(path, format!("{queue} is served by {other}; take it off one"));
                }
            }
            let Some(week) = calendar.map(super::Calendar::week_total) else { continue };
            for (priority, span) in unit.due.iter().filter(|_| !week.is_zero()) {
                if span.duration() > week * WEEKS_AT_MOST {
                    findings.add(
                        format!("{path}.due.{priority}"),
                        format!(
                            "{span} of {} is more than a year; shorten it, or open longer",
                            unit.calendar
                        ),
                    );
                }
            }
        }
    }
}
