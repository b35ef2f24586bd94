//! The relay worker: passes a shadow channel's deliveries on to the system that still answers there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_bus::nats::{PublishError, Relay, RelayItem, RelayLane};
use mainstem_domain::{At, ChannelId};
use mainstem_line::signature;
use mainstem_runtime::telemetry::{finish_span, start_span};
use opentelemetry::trace::SpanKind;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::Directory;
use crate::metrics::Metrics;

/// How often it is asked which channels something waits for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long one call of an incumbent may take; LINE gives up after 2 s, and we are more patient.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// An item that came in longer ago is not passed on any more.
const GIVE_UP_AFTER: Duration = Duration::from_hours(24);

/// The pause after a first failure, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_AT_MOST: Duration = Duration::from_mins(5);

/// What the incumbent gets of the headers.
const HEADERS: [&str; 2] = [signature::HEADER, "content-type"];

/// What an incumbent did with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It has it.
    Taken,
    /// It does not want this one; others may pass.
    Refused,
    /// It cannot take any now; those behind it wait too.
    Away,
}

fn verdict(status: u16) -> Verdict {
    match status {
        200..300 => Verdict::Taken,
        // Its gate or its limits speak, not its view of this delivery.
        401 | 403 | 404 | 408 | 429 => Verdict::Away,
        400..500 => Verdict::Refused,
        _ => Verdict::Away,
    }
}

/// 1 s, 2 s, 4 s and so on up to 5 min.
fn pause(failures: u64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    PAUSE.saturating_mul(1 << doublings).min(PAUSE_AT_MOST)
}

/// Everything that a lane needs.
#[derive(Clone)]
pub(crate) struct Worker {
    relay: Relay,
    http: reqwest::Client,
    directory: Arc<Directory>,
    now: Arc<dyn Fn() -> At + Send + Sync>,
    metrics: Metrics,
}

impl Worker {
    pub(crate) fn new(
        relay: Relay,
        directory: Arc<Directory>,
        now: Arc<dyn Fn() -> At + Send + Sync>,
        metrics: Metrics,
    ) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(CALL_WITHIN)
            .connect_timeout(CALL_WITHIN / 2)
            // A redirect would not carry the body on, and nobody checked where it leads.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { relay, http, directory, now, metrics })
    }

    /// Works until `stop`: a lane for each channel that something waits for, whatever its mode is by
    /// now. A slow incumbent has its own lane to itself.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        let mut lanes: BTreeMap<ChannelId, AbortHandle> = BTreeMap::new();
        let mut failing = false;
        loop {
            match self.relay.waiting().await {
                Ok(waiting) => {
                    failing = false;
                    lanes.retain(|_, lane| !lane.is_finished());
                    for channel in waiting {
                        lanes.entry(channel).or_insert_with_key(|channel| {
                            let lane = self.clone().lane(channel.clone(), stop.clone());
                            tasks.spawn(lane)
                        });
                    }
                }
                // Said once: it goes on for as long as the broker is away.
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "cannot look what waits on RELAY");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            while let Some(ended) = tasks.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(%error, "a relay lane broke down; it is started again");
                }
            }
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn lane(self, channel: ChannelId, stop: CancellationToken) {
        tracing::info!(%channel, "relaying");
        let mut failures = 0;
        let mut lane = None;
        while !stop.is_cancelled() {
            let rest = match self.step(&channel, &mut lane, &stop).await {
                Ok(Some(Verdict::Away)) => {
                    failures += 1;
                    pause(failures)
                }
                Ok(Some(Verdict::Taken | Verdict::Refused) | None) => {
                    failures = 0;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%channel, %error, "cannot read RELAY; trying again");
                    lane = None;
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Takes one item as far as it goes now; `None` when none waits. A call that was begun is not
    /// cut off by `stop`: nobody would know whether the incumbent has it.
    async fn step(
        &self,
        channel: &ChannelId,
        lane: &mut Option<RelayLane>,
        stop: &CancellationToken,
    ) -> Result<Option<Verdict>, PublishError> {
        let open = match lane.take() {
            Some(open) => open,
            None => self.relay.lane(channel).await?,
        };
        let next = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            next = lane.insert(open).next(&HEADERS) => next?,
        };
        let Some(item) = next else { return Ok(None) };
        if (self.now)().since(item.message.received_at) > GIVE_UP_AFTER {
            tracing::error!(%channel, "the incumbent did not take a webhook within 24 h");
            self.metrics.relay(channel.as_str(), "given_up");
            item.reject("not taken by the incumbent within 24 h").await?;
            return Ok(Some(Verdict::Refused));
        }
        let verdict = self.call(channel, &item).await;
        if verdict == Verdict::Taken {
            self.metrics.relay(channel.as_str(), "delivered");
            item.done().await?;
        } else {
            self.metrics.relay(channel.as_str(), "retried");
            let attempt = item.attempt;
            item.retry_after(pause(attempt)).await?;
        }
        Ok(Some(verdict))
    }

    async fn call(&self, channel: &ChannelId, item: &RelayItem) -> Verdict {
        let message = &item.message;
        // Where it is now; else where it was, for it was promised this one.
        let url = self.directory.incumbent(channel).or_else(|| message.incumbent.clone());
        let Some(url) = url else {
            tracing::warn!(%channel, "no incumbent in the directory; what waits for it waits on");
            return Verdict::Away;
        };
        let mut call = self.http.post(url).body(message.body.clone());
        for (name, value) in &message.headers {
            call = call.header(*name, value);
        }
        let (start, trace) = (start_span(), message.trace.child("relay"));
        let sent = call.header("traceparent", trace.to_string()).send().await;
        let parent = Some(message.trace);
        finish_span("send incumbent", SpanKind::Client, trace, parent, start, Vec::new());
        match sent {
            Ok(response) => {
                let status = response.status().as_u16();
                let verdict = verdict(status);
                if verdict != Verdict::Taken {
                    let attempt = item.attempt;
                    tracing::warn!(%channel, status, attempt, "the incumbent did not take a webhook");
                }
                verdict
            }
            Err(error) => {
                // The address may carry a password.
                let error = error.without_url();
                let attempt = item.attempt;
                tracing::warn!(%channel, %error, attempt, "the incumbent does not answer");
                Verdict::Away
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_five_minutes() {
        let pauses: Vec<_> = [0, 1, 2, 3, 9, 10, 64, u64::MAX].map(|n| pause(n).as_secs()).into();
        assert_eq!(pauses, [1, 1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn only_a_delivery_that_is_not_wanted_lets_others_pass() {
        for status in [200, 204, 299] {
            assert_eq!(verdict(status), Verdict::Taken);
        }
        for status in [400, 413, 422] {
            assert_eq!(verdict(status), Verdict::Refused);
        }
        for status in [301, 401, 403, 404, 408, 429, 500, 502, 503, 504] {
            assert_eq!(verdict(status), Verdict::Away);
        }
    }
}
