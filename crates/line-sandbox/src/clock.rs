//! The stand-in's clock: another's, and as much ahead or behind as was asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstem_domain::At;
use tokio::sync::watch;

/// A clock that can be set and advanced. Whoever waits for a moment is woken when it is set.
pub(crate) struct Clock {
    base: Arc<dyn Fn() -> At + Send + Sync>,
    /// How long a span of this clock really takes.
    real: Arc<dyn Fn(Duration) -> Duration + Send + Sync>,
    /// Milliseconds ahead of the base.
    ahead: Mutex<i64>,
    was_set: watch::Sender<()>,
}

impl Clock {
    pub(crate) fn new(
        base: Arc<dyn Fn() -> At + Send + Sync>,
        real: Arc<dyn Fn(Duration) -> Duration + Send + Sync>,
    ) -> Self {
        Self { base, real, ahead: Mutex::default(), was_set: watch::Sender::new(()) }
    }

    pub(crate) fn with_speed(self, real: Arc<dyn Fn(Duration) -> Duration + Send + Sync>) -> Self {
        Self { real, ..self }
    }

    pub(crate) fn now(&self) -> At {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        At::from_millis((self.base)().as_millis().saturating_add(ahead))
    }

    /// It is that moment now, and goes on from there.
    pub(crate) fn set(&self, at: At) {
        let ahead = at.as_millis().saturating_sub((self.base)().as_millis());
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
        self.was_set.send_replace(());
    }

    /// It is so much later at once.
    pub(crate) fn advance(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead = ahead.saturating_add(millis);
        drop(ahead);
        self.was_set.send_replace(());
    }

    /// Until the clock says so.
    pub(crate) async fn wait_until(&self, at: At) {
        let mut was_set = self.was_set.subscribe();
        loop {
            let rest = at.since(self.now());
            if rest.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep((self.real)(rest)) => {}
                // The sender lives as long as the clock.
                _ = was_set.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::new(Arc::new(|| At::from_millis(1_000)), Arc::new(|span| span))
    }

    #[test]
    fn it_is_set_and_advanced() {
        let clock = clock();
        assert_eq!(clock.now().as_millis(), 1_000);
        clock.advance(Duration::from_hours(24));
        assert_eq!(clock.now().as_millis(), 86_401_000);
        clock.set(At::from_millis(500));
        assert_eq!(clock.now().as_millis(), 500);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now().as_millis(), i64::MAX);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_when_it_is_advanced() {
        let clock = clock();
        let waits = clock.wait_until(At::from_millis(1_000 + 3_600_000));
        tokio::join!(waits, async {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_mins(30));
            tokio::task::yield_now().await;
            clock.advance(Duration::from_mins(30));
        });
    }
}
