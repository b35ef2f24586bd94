//! Sends what notification decided. It decides nothing itself: one item is one call to LINE.
//!
//! One walk: an item of the outbox → tell notification that it is about to be sent, and learn whether
//! it is settled → reply or push → [`decide`] what LINE's answer means → tell notification → only then
//! take the item off.
//!
//! | what came of the call | reply | push |
//! |---|---|---|
//! | 2xx, 409 | sent | sent |
//! | `Invalid reply token` | first attempt: push; later: failed, reply unknown | failed |
//! | another 4xx | failed, with LINE's message | failed, with LINE's message |
//! | 401, 403, after a new access token | given back for long | given back for long |
//! | 429: too many calls | given back | given back |
//! | 429: monthly limit | given back | given back until the quota shows room |
//! | 5xx, time-out, reset | failed, reply unknown: never pushed by itself | given back, same retry key |
//! | nothing was sent | given back | given back |
//!
//! An item comes back after a crash, from whichever sender had it. Then a push has LINE's retry
//! key, and a reply its token, which LINE takes once: neither reaches a person twice. That a token was
//! refused means nothing was said with it only if no attempt that was begun before can have used it;
//! which were begun stands in notification's ledger, because the broker forgets its count of
//! deliveries when it is killed. What is not
//! sent after 23 h fails, because LINE forgets retry keys after 24 h.
//!
//! Invariant: no item is taken off before its outcome is recorded, and no log, metric or reason
//! shows a text, a user id or a token.

mod allowance;
mod call;
mod decide;
mod deliver;
mod health;
mod lane;
mod memory;
mod metrics;
mod notification;
mod run;
mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use mainstem_bus::nats::ServiceClient;
use mainstem_domain::{At, ChannelId};
use mainstem_line::Channels;
use mainstem_line_client::{LineClient, Urls};

pub use decide::{Next, Pause, Way, decide};
pub use mainstem_line_client::Heard;
pub use start::start;

use crate::allowance::Allowance;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::notification::Notification;

/// How much is done at once. What does not fit waits in the broker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items of one channel in work at once.
    pub in_work_by_channel: usize,
    /// Items in work at once, of all channels together; but each channel may always have one, and one
    /// more may come of each. A stop waits for them: each still needs an answer of LINE and two of
    /// notification, which has the more to do the more of them there are.
    pub in_work: usize,
    /// Calls of one channel in a second. LINE takes 2,000 at each endpoint; several senders share
    /// that.
    pub calls_per_second: u32,
    /// How long one call to LINE may take.
    pub call_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_work_by_channel: 32,
            in_work: 512,
            calls_per_second: 1_800,
            call_within: Duration::from_secs(10),
        }
    }
}

/// Everything that sending an item needs.
pub struct Sender {
    channels: Channels,
    notification: Notification,
    line: LineClient,
    allowances: BTreeMap<ChannelId, Allowance>,
    now: Arc<dyn Fn() -> At + Send + Sync>,
    limits: Limits,
    /// Held by each item in work, of all lanes.
    in_work: Arc<()>,
    memory: Memory,
    attempts: Attempts,
    metrics: Metrics,
}

/// Names the attempts of this process; no other has one of them.
struct Attempts {
    process: Arc<str>,
    begun: AtomicU64,
}

impl Attempts {
    fn next(&self) -> String {
        format!("{}/{}", self.process, self.begun.fetch_add(1, Ordering::Relaxed))
    }
}

impl Sender {
    /// `line_api_url` is `https://api.line.me`, or a stand-in's address; `process` is no other sender's name.
    pub fn new(
        process: Arc<str>,
        channels: Channels,
        notification: ServiceClient,
        line_api_url: &str,
        now: Arc<dyn Fn() -> At + Send + Sync>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        Self::with(
            process,
            channels,
            Notification::Service(Box::new(notification)),
            line_api_url,
            now,
            limits,
        )
    }

    fn with(
        process: Arc<str>,
        channels: Channels,
        notification: Notification,
        line_api_url: &str,
        now: Arc<dyn Fn() -> At + Send + Sync>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        // The sender asks for no content.
        let urls = Urls { api: line_api_url.to_owned(), data: line_api_url.to_owned() };
        let line = LineClient::new(&channels, &urls, limits.call_within, now.clone())
            .context("cannot build the client for LINE's API")?;
        let allowances = channels.iter().map(|(id, _)| (id.clone(), Allowance::default()));
        let allowances = allowances.collect();
        let (memory, metrics) = (Memory::default(), Metrics::new());
        let attempts = Attempts { process, begun: AtomicU64::new(0) };
        Ok(Self {
            channels,
            notification,
            line,
            allowances,
            now,
            limits,
            in_work: Arc::default(),
            memory,
            attempts,
            metrics,
        })
    }
}
