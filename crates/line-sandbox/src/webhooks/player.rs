use std::sync::PoisonError;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use mainstem_domain::ChannelId;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::plan::{Again, Delivery, PlayRequest, plan};
use super::post::{is_taken, url};
use crate::Sandbox;

/// How often a delivery is tried before it is given up; LINE does not say how often it does.
const ATTEMPTS: u32 = 6;
/// Waited after a first failure, and doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How many deliveries are on their way at once.
const AT_ONCE: usize = 32;
const MOST: usize = 1_000_000;

/// How far a day is, or what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// A day is being played.
    pub running: bool,
    /// Events planned.
    pub events: u64,
    /// Deliveries planned, without second ones.
    pub deliveries: u64,
    /// Events in deliveries that were answered 2xx.
    pub events_delivered: u64,
    /// Deliveries that were answered 2xx.
    pub delivered: u64,
    /// Deliveries given up.
    pub failed: u64,
    /// POSTs, whatever their answer.
    pub sent: u64,
    /// POSTs of a delivery that had not been answered 2xx.
    pub retried: u64,
    /// Deliveries answered 2xx and sent again with `isRedelivery: true`.
    pub redelivered: u64,
    /// Deliveries answered 2xx and sent again byte for byte.
    pub duplicated: u64,
    /// Events in second deliveries, of either kind, that were answered 2xx too: each is one that
    /// must leave no second trace.
    pub events_repeated: u64,
}

/// Why a day is not played.
#[derive(Debug, PartialEq, Eq)]
pub enum PlayError {
    /// One is being played.
    Busy,
    /// The request makes no sense; says why.
    Invalid(&'static str),
}

impl Sandbox {
    /// Plays a day and returns what became of it. Dropped before its end, it stops there.
    pub async fn play(&self, request: &PlayRequest) -> Result<Progress, PlayError> {
        if request.events > MOST || request.users > MOST {
            return Err(PlayError::Invalid("events and users go up to 1000000"));
        }
        let percents =
            [request.redeliver_percent, request.strange_percent, request.reorder_percent];
        if percents.into_iter().any(|percent| percent > 100) {
            return Err(PlayError::Invalid(
                "redeliver_percent, strange_percent and reorder_percent go up to 100",
            ));
        }
        if !request.webhook_base.starts_with("http") {
            return Err(PlayError::Invalid(
                "webhook_base must be a URL, e.g. http://127.0.0.1:7700",
            ));
        }
        let lanes = plan(request, &self.channels);
        let deliveries = lanes.iter().flat_map(|lane| &lane.deliveries);
        let fresh = deliveries.fold(Progress::default(), |progress, delivery| Progress {
            running: true,
            events: progress.events + count(delivery),
            deliveries: progress.deliveries + 1,
            ..progress
        });
        let _running = self.start(fresh)?;
        let base = &request.webhook_base;
        self.set_webhook_base(base);
        let (start, gate) = (self.now(), Semaphore::new(AT_ONCE));
        stream::iter(&lanes)
            .for_each_concurrent(None, async |lane| {
                for delivery in &lane.deliveries {
                    self.wait_until(start.after(delivery.due)).await;
                    // It is never closed.
                    let _turn = gate.acquire().await;
                    self.deliver(base, &lane.channel, delivery).await;
                }
            })
            .await;
        Ok(Progress { running: false, ..self.progress() })
    }

    /// How far the day is, or what became of the last one.
    pub fn progress(&self) -> Progress {
        self.count(|progress| *progress)
    }

    fn start(&self, fresh: Progress) -> Result<Running<'_>, PlayError> {
        self.count(|progress| {
            if progress.running {
                return Err(PlayError::Busy);
            }
            *progress = fresh;
            Ok(Running(self))
        })
    }

    /// A played day's accounts all have redelivery: a delivery that is not taken is sent again.
    async fn deliver(&self, base: &str, id: &ChannelId, delivery: &Delivery) {
        let Some(channel) = self.channels.get(id) else { return };
        let url = url(base, id);
        let at = self.now();
        self.witness(id, &delivery.body(&channel.destination, at, false));
        let post = async |is_redelivery| {
            let body = delivery.body(&channel.destination, at, is_redelivery);
            self.count(|progress| progress.sent += 1);
            is_taken(self.post(&url, id, channel, body).await)
        };

        let mut taken = post(false).await;
        for attempt in 1..ATTEMPTS {
            if taken {
                break;
            }
            tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
            self.count(|progress| progress.retried += 1);
            taken = post(true).await;
        }
        if !taken {
            tracing::warn!(channel = %id, "a webhook is given up");
            self.count(|progress| progress.failed += 1);
            return;
        }
        self.count(|progress| {
            progress.delivered += 1;
            progress.events_delivered += count(delivery);
        });
        let taken_again = match delivery.again {
            Again::Never => return,
            Again::Redelivered => {
                self.count(|progress| progress.redelivered += 1);
                post(true).await
            }
            Again::Duplicated => {
                self.count(|progress| progress.duplicated += 1);
                post(false).await
            }
        };
        if taken_again {
            self.count(|progress| progress.events_repeated += count(delivery));
        }
    }

    fn count<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn count(delivery: &Delivery) -> u64 {
    u64::try_from(delivery.events.len()).unwrap_or(u64::MAX)
}

/// Lets the next day be played when this one ends, in whatever way.
struct Running<'a>(&'a Sandbox);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.count(|progress| progress.running = false);
    }
}
