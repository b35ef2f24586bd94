//! What an account may still push this month.
//!
//! LINE counts pushes by recipient, and says how many are used only when it is asked, and only
//! about. So it is asked from time to time, and each push since is counted here. A tenth is
//! kept for service and transactional messages: marketing waits while no more than
//! that is left, and everything that would be pushed waits when nothing is. Replies cost nothing.

use std::time::Duration;

use mainstem_domain::At;
use mainstem_domain::notification::Class;
use mainstem_line_client::{Account, Quota};
use tokio::sync::Mutex;

use crate::metrics::Metrics;

/// While there is room.
const ASK_EVERY: Duration = Duration::from_mins(5);
/// While something waits for it, or LINE did not say.
const ASK_SOON: Duration = Duration::from_mins(1);

/// This part of the quota is kept for what people wait for.
const RESERVED_PART: u64 = 10;

/// One account's.
#[derive(Default)]
pub(crate) struct Allowance(Mutex<Known>);

#[derive(Default)]
struct Known {
    asked_at: Option<At>,
    /// None: LINE did not say, so that its answer to the push decides.
    quota: Option<Quota>,
    /// Something waits for it; told of once.
    short: bool,
}

impl Known {
    fn takes(&self, class: Class) -> bool {
        self.quota.is_none_or(|quota| takes(quota, class))
    }

    fn count(&mut self, takes: bool) -> bool {
        if takes && let Some(quota) = &mut self.quota {
            quota.used = quota.used.saturating_add(1);
        }
        takes
    }
}

/// Whether one more may be pushed.
fn takes(quota: Quota, class: Class) -> bool {
    let Some(limit) = quota.limit else { return true };
    let reserved = if class == Class::Marketing { limit.div_ceil(RESERVED_PART) } else { 0 };
    limit.saturating_sub(quota.used) > reserved
}

impl Allowance {
    /// Whether a message of that class may be pushed now; if so, it counts as pushed.
    pub(crate) async fn takes(
        &self,
        account: Account<'_>,
        class: Class,
        now: At,
        metrics: &Metrics,
    ) -> bool {
        let channel = account.channel();
        let mut known = self.0.lock().await;
        let takes = known.takes(class);
        let fresh = if takes && known.quota.is_some() { ASK_EVERY } else { ASK_SOON };
        if known.asked_at.is_some_and(|asked_at| now.since(asked_at) < fresh) {
            return known.count(takes);
        }
        known.asked_at = Some(now);
        match account.quota().await {
            Ok(quota) => {
                known.quota = Some(quota);
                if let Some(limit) = quota.limit {
                    metrics.quota(channel.as_str(), limit, limit.saturating_sub(quota.used));
                }
            }
            Err(error) => tracing::warn!(%channel, %error, "the monthly quota is not known"),
        }
        let takes = known.takes(class);
        let short = !takes;
        if short && !known.short {
            tracing::error!(%channel, class = class.name(), "the month's quota is short; messages wait for it");
        }
        known.short = short;
        known.count(takes)
    }

    /// LINE says that nothing is left, which it knows better.
    pub(crate) async fn used_up(&self, now: At) {
        let mut known = self.0.lock().await;
        let limit = known.quota.and_then(|quota| quota.limit).unwrap_or(0);
        known.quota = Some(Quota { limit: Some(limit), used: limit });
        known.asked_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_kept_for_what_people_wait_for() {
        let left = |limit, left| Quota { limit: Some(limit), used: limit - left };
        for (quota, marketing, service) in [
            (left(200, 200), true, true),
            (left(200, 21), true, true),
            (left(200, 20), false, true),
            (left(200, 1), false, true),
            (left(200, 0), false, false),
            (left(15, 3), true, true),
            (left(15, 2), false, true),
            (left(0, 0), false, false),
            (Quota { limit: Some(200), used: 230 }, false, false),
            (Quota { limit: None, used: 1_000_000 }, true, true),
        ] {
            assert_eq!(takes(quota, Class::Marketing), marketing, "{quota:?}");
            for class in [Class::Service, Class::Transactional, Class::Reply] {
                assert_eq!(takes(quota, class), service, "{quota:?} {class:?}");
            }
        }
    }
}
