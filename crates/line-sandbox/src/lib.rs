//! A stand-in for LINE's platform: for the demo, tests and benches, because load tests against
//! LINE itself are prohibited.
//!
//! It answers reply and push as LINE does ([`Platform`]), keeps a [`Ledger`] of what each user saw,
//! shows each chat as a page, plays a seeded day of webhooks ([`PlayRequest`]), and stands in for
//! the system that still answers a shadow channel (`/sandbox/incumbent/{channel}`).
//!
//! Not here yet: token issue, rate limits and the monthly quota, multicast, narrowcast and
//! broadcast, profiles, rich menus, slow bodies.
//!
//! Invariant: what a user saw is told by the ledger alone, and a lost answer is in it.

mod chat;
mod http;
mod ledger;
mod message;
mod people;
mod plan;
mod platform;
mod player;
mod talk;
#[cfg(test)]
mod tests;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use mainstem_domain::At;
use mainstem_line::Channels;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use http::router;
pub use ledger::{Ledger, Relayed, Seen, Totals, Way};
pub use plan::PlayRequest;
pub use platform::{Answer, Faults, Platform, SendCall};
pub use player::{DeliverRequest, PlayError, Progress};

use webhooks::Webhooks;

/// LINE gives up on a webhook after this.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The platform, its accounts, and who plays on it.
pub struct Sandbox {
    channels: Channels,
    now: Arc<dyn Fn() -> At + Send + Sync>,
    real: Arc<dyn Fn(Duration) -> Duration + Send + Sync>,
    platform: Mutex<Platform>,
    webhooks: Mutex<Webhooks>,
    progress: Mutex<Progress>,
    http: reqwest::Client,
}

impl Sandbox {
    /// Empty: nobody has seen anything.
    pub fn new(
        channels: Channels,
        faults: Faults,
        now: Arc<dyn Fn() -> At + Send + Sync>,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(WEBHOOK_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("cannot build the client that sends webhooks")?;
        let platform = Mutex::new(Platform::new(faults, &channels));
        Ok(Self {
            channels,
            now,
            real: Arc::new(|span| span),
            platform,
            webhooks: Mutex::default(),
            progress: Mutex::default(),
            http,
        })
    }

    /// With a clock that runs faster: `real` says how long a span of its time really takes.
    #[must_use]
    pub fn with_speed(self, real: Arc<dyn Fn(Duration) -> Duration + Send + Sync>) -> Self {
        Self { real, ..self }
    }

    /// What every user saw until now, and what every webhook took.
    pub fn ledger(&self) -> Ledger {
        let mut ledger = self.platform().ledger();
        self.webhooks().tell(&mut ledger);
        ledger
    }

    fn webhooks(&self) -> MutexGuard<'_, Webhooks> {
        self.webhooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The platform, for as long as nobody else needs it.
    pub fn platform(&self) -> MutexGuard<'_, Platform> {
        // No call leaves it half changed, so a poisoned lock is as good as any.
        self.platform.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until `shutdown`.
pub async fn run(
    sandbox: Arc<Sandbox>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    axum::serve(listener, router(sandbox))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .context("serving the stand-in of LINE")
}
