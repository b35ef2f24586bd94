//! How much LINE takes: calls of a channel at an endpoint, and messages of an account in a month.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::At;

use crate::Endpoint;

/// LINE counts months as they are in Japan.
const JAPAN: Duration = Duration::from_hours(9);

/// Token buckets of one channel, each kept as the moment at which it is full again, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    full_at: BTreeMap<Endpoint, i64>,
}

impl Buckets {
    /// Takes a call, or says that there were too many. `count` replaces LINE's own number for the
    /// endpoint's span of time.
    pub(super) fn take(&mut self, endpoint: Endpoint, count: Option<u32>, at: At) -> bool {
        let (usual, span) = endpoint.limit();
        let count = i64::from(count.unwrap_or(usual));
        if count == 0 {
            return false;
        }
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let now = at.as_millis().saturating_mul(1_000);
        let (span, each) = (micros(span), micros(span) / count);
        let full_at = self.full_at.entry(endpoint).or_insert(now);
        // No bucket takes longer to fill: the clock was set back, and begins with a full one.
        if *full_at < now || *full_at > now.saturating_add(span) {
            *full_at = now;
        }
        let next = full_at.saturating_add(each);
        if next > now.saturating_add(span) {
            return false;
        }
        *full_at = next;
        true
    }
}

/// What an account sent in the month that is.
#[derive(Debug, Default)]
pub(super) struct Usage {
    month: String,
    messages: u64,
}

impl Usage {
    /// Messages of this month, counted by recipient.
    pub(super) fn used(&self, at: At) -> u64 {
        if self.month == month(at) { self.messages } else { 0 }
    }

    /// Notes messages to so many people, if they are within the quota.
    pub(super) fn take(&mut self, people: u64, quota: Option<u64>, at: At) -> bool {
        let used = self.used(at);
        if quota.is_some_and(|quota| used.saturating_add(people) > quota) {
            return false;
        }
        (self.month, self.messages) = (month(at), used + people);
        true
    }

    /// Whether so many people more would be within the quota.
    pub(super) fn has_room(&self, people: u64, quota: Option<u64>, at: At) -> bool {
        quota.is_none_or(|quota| self.used(at).saturating_add(people) <= quota)
    }

    /// Says how much was used this month.
    pub(super) fn set(&mut self, messages: u64, at: At) {
        (self.month, self.messages) = (month(at), messages);
    }
}

/// `2026-11`
fn month(at: At) -> String {
    at.after(JAPAN).to_string().chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_again_evenly() {
        let mut buckets = Buckets::default();
        let mut taken = |millis: i64| {
            let at = At::from_millis(1_795_219_200_000 + millis);
            (0..5_000).filter(|_| buckets.take(Endpoint::Multicast, None, at)).count()
        };
        assert_eq!(taken(0), 200);
        assert_eq!(taken(0), 0);
        assert_eq!(taken(100), 20);
        assert_eq!(taken(1_100), 200);
        assert_eq!(taken(60_000), 200);
        // Set back, the clock does not leave the bucket empty for a minute.
        assert_eq!(taken(0), 200);
        assert_eq!(taken(0), 0);
    }

    #[test]
    fn an_hour_has_sixty_broadcasts() {
        let mut buckets = Buckets::default();
        let mut taken = |minutes: i64| {
            let at = At::from_millis(minutes * 60_000);
            (0..100).filter(|_| buckets.take(Endpoint::Broadcast, None, at)).count()
        };
        assert_eq!((taken(0), taken(1), taken(31), taken(600)), (60, 1, 30, 60));
        let at = At::from_millis(0);
        assert!(!buckets.take(Endpoint::Push, Some(0), at));
        assert!(buckets.take(Endpoint::Push, Some(1), at));
        assert!(!buckets.take(Endpoint::Push, Some(1), at));
    }

    #[test]
    fn a_month_turns_in_japan() {
        let at = |text| At::parse(text).unwrap();
        let mut usage = Usage::default();
        assert!(usage.take(400, Some(500), at("2026-11-30T14:59:59.999Z")));
        assert!(!usage.take(101, Some(500), at("2026-11-30T14:59:59.999Z")));
        assert_eq!(usage.used(at("2026-11-30T14:59:59.999Z")), 400);
        assert_eq!(usage.used(at("2026-11-30T15:00:00Z")), 0);
        assert!(usage.take(500, Some(500), at("2026-11-30T15:00:00Z")));
        assert!(usage.take(500, None, at("2026-12-01T00:00:00Z")));
        assert!(!usage.has_room(1, Some(1_000), at("2026-12-01T00:00:00Z")));
    }
}
