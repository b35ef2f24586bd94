//! The only clock: virtual time out of real time, kept near the broker's.
//!
//! Invariant: nothing else in the workspace reads `SystemTime` or `Instant`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mainstem_domain::At;

use crate::config::ClockConfig;

/// How far the local clock may be ahead of the broker's.
const ALLOWANCE: Duration = Duration::from_secs(5);

/// A sleeper looks at the clock again after this, for it may have been set meanwhile.
const RECHECK: Duration = Duration::from_millis(250);

/// Tells virtual time. Cheap to clone; clones share what was observed.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    speed: f64,
    origin_real_millis: i64,
    origin_virtual_millis: i64,
    skew: Mutex<Skew>,
    read: Box<dyn Fn() -> Reading + Send + Sync>,
}

/// What the machine's two clocks show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock, in milliseconds since the epoch: may jump either way.
    pub real_millis: i64,
    /// The monotonic clock, since whenever: never goes back, knows no date.
    pub monotonic: Duration,
}

impl Clock {
    /// A clock that reads the machine's.
    pub fn new(config: &ClockConfig) -> Self {
        Self::with_readings(config, machine())
    }

    /// A clock over readings that the caller makes up, for tests and simulations.
    pub fn with_readings(
        config: &ClockConfig,
        read: impl Fn() -> Reading + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            speed: config.speed,
            origin_real_millis: config.origin_real.map_or(0, At::as_millis),
            origin_virtual_millis: config.origin_virtual.map_or(0, At::as_millis),
            skew: Mutex::default(),
            read: Box::new(read),
        }))
    }

    /// The virtual moment. Never runs away from the broker's clock once a timestamp of it was
    /// observed, and never goes back, but for once: at the first observation, when it was ahead.
    pub fn now(&self) -> At {
        At::from_millis(self.virtual_millis(self.skew(Skew::now)))
    }

    /// The broker's clock showed `broker_real_millis` just now.
    ///
    /// Only for messages stored while this process runs, such as its own appends: an old message's
    /// timestamp taken for the present would hold the clock back for as long as it is old.
    pub fn observe(&self, broker_real_millis: i64) {
        self.skew(|skew, reading| skew.observe(broker_real_millis, reading));
    }

    /// Returns when the clock shows `at` or more; at once when it does already.
    pub async fn sleep_until(&self, at: At) {
        loop {
            let now = self.now();
            if now >= at {
                return;
            }
            let rest = self.real_duration(at.since(now)).max(Duration::from_millis(1));
            tokio::time::sleep(rest.min(RECHECK)).await;
        }
    }

    /// Real time since whenever, which never goes back, and goes on while the process is stopped.
    pub fn monotonic(&self) -> Duration {
        (self.0.read)().monotonic
    }

    /// How long a span of virtual time really takes.
    pub fn real_duration(&self, span: Duration) -> Duration {
        Duration::try_from_secs_f64(span.as_secs_f64() / self.0.speed).unwrap_or(Duration::MAX)
    }

    fn skew<T>(&self, apply: impl FnOnce(&mut Skew, Reading) -> T) -> T {
        // Read under the lock, so that readings reach it in their order. A panic cannot leave it half
        // changed, so a poisoned lock is as good as any.
        let mut skew = self.0.skew.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = (self.0.read)();
        apply(&mut skew, reading)
    }

    fn virtual_millis(&self, real_millis: i64) -> i64 {
        let real = real_millis.saturating_sub(self.0.origin_real_millis);
        self.0.origin_virtual_millis.saturating_add(scale(real, self.0.speed))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("speed", &self.0.speed).finish_non_exhaustive()
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "exact for 285,000 years, and a cast from f64 stays at the ends"
)]
fn scale(millis: i64, speed: f64) -> i64 {
    (millis as f64 * speed) as i64
}

#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
fn machine() -> impl Fn() -> Reading + Send + Sync {
    let start = Instant::now();
    move || {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Reading { real_millis: millis(real), monotonic: start.elapsed() }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Which real moment to believe. Pure.
///
/// A decider's time never goes back, so one jump of the local clock into the future would freeze
/// it there. Hence the cap: what the broker showed, and the monotonic time since, and an allowance.
/// A broker clock that is behind by more than the allowance wins over the local one.
#[derive(Clone, Copy, Debug, Default)]
struct Skew {
    last_millis: Option<i64>,
    broker: Option<Reading>,
}

impl Skew {
    fn now(&mut self, reading: Reading) -> i64 {
        let mut now = reading.real_millis;
        if let Some(broker) = self.broker_millis(reading) {
            now = now.min(broker.saturating_add(millis(ALLOWANCE)));
        }
        let now = self.last_millis.map_or(now, |last| now.max(last));
        self.last_millis = Some(now);
        now
    }

    fn observe(&mut self, broker_real_millis: i64, reading: Reading) {
        // What was told before the first observation had no cap, and must not outlive it.
        if self.broker.is_none() {
            self.last_millis = None;
        }
        // A message that was long under way says less than what is known already.
        if self.broker_millis(reading).is_none_or(|known| broker_real_millis > known) {
            self.broker = Some(Reading { real_millis: broker_real_millis, ..reading });
        }
    }

    /// The broker's clock at this moment, at least.
    fn broker_millis(&self, reading: Reading) -> Option<i64> {
        let broker = self.broker?;
        let since = reading.monotonic.saturating_sub(broker.monotonic);
        Some(broker.real_millis.saturating_add(millis(since)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const START: i64 = 1_795_219_200_000;
    const YEAR: i64 = 365 * 86_400_000;

    fn reading(real_millis: i64, monotonic_millis: u64) -> Reading {
        Reading { real_millis, monotonic: Duration::from_millis(monotonic_millis) }
    }

    fn config(speed: f64, origins: Option<(i64, i64)>) -> ClockConfig {
        ClockConfig {
            speed,
            origin_real: origins.map(|(real, _)| At::from_millis(real)),
            origin_virtual: origins.map(|(_, virtual_)| At::from_millis(virtual_)),
        }
    }

    #[test]
    fn a_jump_forward_is_capped_and_time_goes_on() {
        let mut skew = Skew::default();
        assert_eq!(skew.now(reading(START, 0)), START);
        skew.observe(START + 10, reading(START + 10, 10));
        assert_eq!(skew.now(reading(START + 100, 100)), START + 100);
        assert_eq!(skew.now(reading(START + YEAR, 200)), START + 200 + 5_000);
        assert_eq!(skew.now(reading(START + YEAR, 300)), START + 300 + 5_000);
        // Set right again: it waits until the true time is back, five seconds at most.
        assert_eq!(skew.now(reading(START + 400, 400)), START + 5_300);
        assert_eq!(skew.now(reading(START + 6_000, 6_000)), START + 6_000);
    }

    #[test]
    fn a_jump_back_never_goes_back() {
        let mut skew = Skew::default();
        assert_eq!(skew.now(reading(START, 0)), START);
        assert_eq!(skew.now(reading(START - YEAR, 1_000)), START);
        assert_eq!(skew.now(reading(i64::MIN, 2_000)), START);
        skew.observe(START, reading(START, 3_000));
        assert_eq!(skew.now(reading(START + 1, 3_000)), START + 1);
        skew.observe(START - YEAR, reading(START, 3_000));
        assert_eq!(skew.now(reading(START, 3_000)), START + 1);
    }

    #[test]
    fn what_was_told_before_the_first_observation_does_not_outlive_it() {
        let mut skew = Skew::default();
        assert_eq!(skew.now(reading(START + YEAR, 0)), START + YEAR);
        skew.observe(START, reading(START + YEAR, 10));
        assert_eq!(skew.now(reading(START + YEAR, 20)), START + 10 + 5_000);
    }

    #[test]
    fn without_an_observation_there_is_no_cap_and_a_late_one_does_not_lower_it() {
        let mut skew = Skew::default();
        assert_eq!(skew.now(reading(START + YEAR, 0)), START + YEAR);
        let mut skew = Skew::default();
        skew.observe(START, reading(START, 0));
        skew.observe(START - 60_000, reading(START + 1_000, 1_000));
        assert_eq!(skew.now(reading(START + 9_000, 1_000)), START + 6_000);
        skew.observe(i64::MAX, reading(START, 2_000));
        assert_eq!(skew.now(reading(i64::MAX, 3_000)), i64::MAX);
    }

    #[test]
    fn virtual_time_goes_by_its_speed_from_its_origin() {
        let wall = Arc::new(AtomicI64::new(START));
        let shown = wall.clone();
        let read = move || reading(shown.load(Ordering::Relaxed), 0);
        let clock = Clock::with_readings(&config(1_440.0, Some((START, 0))), read.clone());
        assert_eq!(clock.now().as_millis(), 0);
        wall.store(START + 60_000, Ordering::Relaxed);
        assert_eq!(clock.now().as_millis(), 86_400_000);
        assert_eq!(clock.real_duration(Duration::from_hours(24)), Duration::from_mins(1));
        assert!(clock.real_duration(Duration::MAX) > DAYS);
        assert_eq!(
            Clock::with_readings(&config(1e-9, None), read.clone()).real_duration(Duration::MAX),
            Duration::MAX
        );
        assert_eq!(
            Clock::with_readings(&config(1.0, None), read).now().as_millis(),
            START + 60_000
        );
    }

    const DAYS: Duration = Duration::from_hours(240);

    #[test]
    fn the_machine_has_a_clock() {
        let clock = Clock::new(&config(1.0, None));
        assert!(clock.now() <= clock.now());
        assert!(clock.now().as_millis() > 1_700_000_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_notices_that_the_clock_was_set() {
        let wall = Arc::new(AtomicI64::new(START));
        let shown = wall.clone();
        let clock = Clock::with_readings(&config(1.0, None), move || {
            reading(shown.load(Ordering::Relaxed), 0)
        });
        clock.sleep_until(At::from_millis(START)).await;
        let sleeper = clock.sleep_until(At::from_millis(START + YEAR));
        tokio::pin!(sleeper);
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut sleeper).await.is_err());
        wall.store(START + YEAR, Ordering::Relaxed);
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut sleeper).await.is_ok());
    }
}
