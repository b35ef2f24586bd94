//! How long a case has been with each unit, and when it is late there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::configuration::{Configuration, Priority};
use crate::{At, QueueId, UnitId};

/// Of the time that a case may take, this many hundredths are up when its unit is warned.
const WARNED_AT_HUNDREDTHS: u32 = 80;

/// The clocks of a case, one for each unit that has or had it.
///
/// A unit's clock runs while the case is open, accepted or in progress with that unit, and stands
/// while it waits for the customer, is resolved, closed or cancelled, or is with another unit. So the
/// clocks add up to the time since the case was opened, less that in which it stood.
///
/// What a unit is given, by priority, is time of its business hours; a due time that falls exactly on
/// closing stays there. Of this, what is up stays up when the case comes back to the unit, or its
/// priority changes. Hours and times are those in force when the clock last started: a new
/// configuration changes no promise, but what is reckoned from then on. All queues that no unit serves
/// share one clock; nothing is late there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The last one is that of the unit that the case is with.
    pub clocks: Vec<Clock>,
    /// Since when the last one runs; none, when it stands.
    pub running_since: Option<At>,
    /// When the unit is warned; none, when it was, when nothing is due, or the clock stands.
    pub warn_at: Option<At>,
    /// When the case is late; none, when it never is, or the clock stands.
    pub due_at: Option<At>,
}

/// The clock of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Whose; none: that of the queues that no unit serves.
    pub unit: Option<UnitId>,
    /// How long it ran, up to when it last started.
    pub ran: Duration,
    /// How much of that was in the unit's business hours.
    pub worked: Duration,
    /// Whether the unit was warned. Once, whatever becomes of the case.
    pub warned: bool,
    /// Whether the case was late here. Once as well.
    pub escalated: bool,
}

impl Timing {
    /// Whether a clock runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.running_since.is_some()
    }

    /// How long each clock ran until `at`.
    pub fn ran(&self, at: At) -> impl Iterator<Item = (Option<&UnitId>, Duration)> {
        let last = self.clocks.len().saturating_sub(1);
        let running = self.running_since.map_or(Duration::ZERO, |since| at.since(since));
        self.clocks.iter().enumerate().map(move |(index, clock)| {
            let more = if index == last { running } else { Duration::ZERO };
            (clock.unit.as_ref(), clock.ran + more)
        })
    }

    /// When somebody has to be warned or told that it is late.
    pub(super) fn deadline(&self) -> Option<At> {
        let late = self.clocks.last().is_some_and(|clock| clock.escalated);
        self.warn_at.into_iter().chain(self.due_at.filter(|_| !late)).min()
    }

    /// The clock stands from now on.
    pub(super) fn stopped(&self, configuration: &Configuration, at: At) -> Self {
        let mut clocks = self.clocks.clone();
        if let (Some(clock), Some(since)) = (clocks.last_mut(), self.running_since) {
            clock.ran += at.since(since);
            let unit = clock.unit.as_ref().and_then(|id| configuration.units.get(id));
            let calendar = unit.and_then(|unit| configuration.calendars.get(&unit.calendar));
            let worked = calendar.map(|calendar| calendar.open_between(since, at));
            clock.worked += worked.unwrap_or_default();
        }
        Self { clocks, ..Self::default() }
    }

    /// The clock of the unit that serves the queue runs from now on, and no other.
    pub(super) fn running(
        &self,
        configuration: &Configuration,
        queue: &QueueId,
        priority: Priority,
        at: At,
    ) -> Self {
        let Self { mut clocks, .. } = self.stopped(configuration, at);
        let (id, unit) = configuration.unit_of(queue).unzip();
        let known = clocks.iter().position(|clock| clock.unit.as_ref() == id);
        let clock = match known {
            Some(known) => clocks.remove(known),
            None => Clock { unit: id.cloned(), ..Clock::default() },
        };
        let calendar = unit.and_then(|unit| configuration.calendars.get(&unit.calendar));
        let given = unit.and_then(|unit| unit.due.get(&priority));
        let promised = calendar.zip(given).map(|(calendar, given)| {
            let given = given.duration();
            let up = |share: Duration| calendar.after(at, share.saturating_sub(clock.worked));
            (up(given * WARNED_AT_HUNDREDTHS / 100), up(given))
        });
        let (warn_at, due_at) = promised.unwrap_or_default();
        let warn_at = warn_at.filter(|_| !clock.warned);
        clocks.push(clock);
        Self { clocks, running_since: Some(at), warn_at, due_at }
    }
}
