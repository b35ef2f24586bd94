//! A stand-in for LINE's platform: for the demo, tests and benches, because load tests against
//! LINE itself are prohibited.
//!
//! It answers reply and push as LINE does ([`Platform`]), keeps a [`Ledger`] of what each user saw,
//! and plays a seeded day of webhooks ([`PlayRequest`]).
//!
//! Not here yet: token issue, rate limits and the monthly quota, blocked and foreign users,
//! messages other than text, slow and broken answers.
//!
//! Invariant: what a user saw is told by the ledger alone, and a lost answer is in it.

mod http;
mod ledger;
mod plan;
mod platform;
mod player;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use mainstem_domain::At;
use mainstem_line::Channels;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use http::router;
pub use ledger::{Ledger, Seen, Totals, Way};
pub use plan::PlayRequest;
pub use platform::{Answer, Faults, Platform, SendCall};
pub use player::{PlayError, Progress};

/// LINE gives up on a webhook after this.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The platform, its accounts, and who plays on it.
pub struct Sandbox {
    channels: Channels,
    now: Arc<dyn Fn() -> At + Send + Sync>,
    platform: Mutex<Platform>,
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
        let platform = Mutex::new(Platform::new(faults));
        Ok(Self { channels, now, platform, progress: Mutex::default(), http })
    }

    /// What every user saw until now.
    pub fn ledger(&self) -> Ledger {
        self.platform().ledger()
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
