//! A stand-in for LINE's platform: for the demo, tests and benches, because load tests against
//! LINE itself are prohibited.
//!
//! It answers LINE's calls as LINE does ([`Platform`]) and refuses what LINE refuses ([`check`]), lets
//! things go wrong by a plan ([`Faults`]), keeps a [`Ledger`] of what each user saw, plays a seeded day
//! of webhooks ([`PlayRequest`]) or what one person does ([`Act`]), shows each chat on a page at `/`,
//! and stands in for the system that still answers a shadow channel (`/sandbox/incumbent/{channel}`).
//!
//! Beside LINE's own paths:
//!
//! | path | |
//! |---|---|
//! | `GET /` | the page: a person's telephone |
//! | `GET, POST /sandbox/clock` | `{"set": "2026-11-21T09:00:00Z", "advance_ms": 900000}` |
//! | `GET, PUT, DELETE /sandbox/faults` | the plan of what goes wrong ([`Faults`]) |
//! | `GET /sandbox/ledger`, `/sandbox/seen/{user}` | what everybody saw, and what one person saw and how often |
//! | `GET /sandbox/figures` | what each account asked, and how it was answered ([`Figures`]) |
//! | `GET, PATCH /sandbox/accounts/{channel}` | its [`Settings`]: quota, limits, webhook, redelivery, menu |
//! | `PUT …/quota-used`, `PUT …/friends/{user}`, `POST …/revoke-tokens` | what else an account can meet |
//! | `POST /sandbox/people`, `GET, PATCH /sandbox/people/{user}` | people ([`Person`]) |
//! | `POST /sandbox/act` | what one person does ([`ActRequest`]) |
//! | `POST /sandbox/play`, `GET /sandbox/progress` | a day of webhooks |
//! | `POST /sandbox/deliver`, `/sandbox/verify/{channel}` | one webhook, as somebody wrote it or empty |
//! | `GET /sandbox/chats`, `/sandbox/chats/{channel}/{user}` | what was said |
//! | `POST /sandbox/scan` | the text of a QR code in a PNG |
//!
//! Not here: rich menus, audiences, coupons and insight, which nothing of Mainstem calls.
//!
//! Invariant: what a user saw is told by the ledger alone, and a lost answer is in it.

mod accounts;
pub mod check;
mod clock;
mod endpoint;
mod faults;
mod http;
mod ledger;
mod platform;
mod scan;
mod shown;
#[cfg(test)]
mod tests;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use mainstem_domain::{At, ChannelId};
use mainstem_line::Channels;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use accounts::{Figures, Latencies, MenuTab, Settings};
pub use endpoint::Endpoint;
pub use faults::{Fault, FaultRule, Faults, Lost, PlanError};
pub use http::router;
pub use ledger::{Ledger, Relayed, Seen, SeenByUser, Totals, Way};
pub use platform::{Author, ChatLine, Entry, Friendship, Person, Platform};
pub use webhooks::{
    Act, ActError, ActRequest, Acted, DeliverRequest, PlayError, PlayRequest, Progress,
};

use clock::Clock;
use webhooks::Record;

/// LINE gives up on a webhook after this.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The platform, its accounts, and who plays on it.
pub struct Sandbox {
    channels: Channels,
    clock: Clock,
    platform: Mutex<Platform>,
    record: Mutex<Record>,
    progress: Mutex<Progress>,
    /// Where webhooks of accounts without an address of their own go.
    webhook_base: Mutex<Option<String>>,
    acts: Mutex<u64>,
    /// Says that a chat has changed.
    changed: watch::Sender<()>,
    /// Nobody waits for anything any more.
    stopping: CancellationToken,
    http: reqwest::Client,
}

impl Sandbox {
    /// Empty: nobody has seen anything.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
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
            clock: Clock::new(now, Arc::new(|span| span)),
            platform,
            record: Mutex::default(),
            progress: Mutex::default(),
            webhook_base: Mutex::default(),
            acts: Mutex::default(),
            changed: watch::Sender::new(()),
            stopping: CancellationToken::new(),
            http,
        })
    }

    /// With a clock that runs faster: `real` says how long a span of its time really takes.
    #[must_use]
    pub fn with_speed(self, real: Arc<dyn Fn(Duration) -> Duration + Send + Sync>) -> Self {
        Self { clock: self.clock.with_speed(real), ..self }
    }

    /// What time it is here.
    pub fn now(&self) -> At {
        self.clock.now()
    }

    /// Sets the clock; it goes on from there.
    pub fn set_clock(&self, at: At) {
        self.clock.set(at);
    }

    /// It is so much later at once.
    pub fn advance_clock(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// Where webhooks go, of accounts that have no address of their own: ingress, e.g.
    /// `http://127.0.0.1:7700`.
    pub fn set_webhook_base(&self, base: &str) {
        *locked(&self.webhook_base) = Some(base.trim_end_matches('/').to_owned());
    }

    /// What every user saw until now, and what every webhook took.
    pub fn ledger(&self) -> Ledger {
        let mut ledger = self.platform().ledger();
        self.record().tell(&mut ledger);
        ledger
    }

    /// The platform, for as long as nobody else needs it.
    pub fn platform(&self) -> MutexGuard<'_, Platform> {
        locked(&self.platform)
    }

    fn channel(&self, id: &ChannelId) -> Option<&mainstem_line::Channel> {
        self.channels.get(id)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        locked(&self.record)
    }

    fn webhook_base(&self) -> Option<String> {
        locked(&self.webhook_base).clone()
    }

    fn next_act(&self) -> u64 {
        let mut acts = locked(&self.acts);
        *acts += 1;
        *acts
    }

    async fn wait_until(&self, at: At) {
        self.clock.wait_until(at).await;
    }

    fn tell_change(&self) {
        self.changed.send_replace(());
    }
}

/// No call leaves what is inside half changed, so a poisoned lock is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until `shutdown`.
///
/// # Errors
/// The listener fails.
pub async fn run(
    sandbox: Arc<Sandbox>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let stopping = sandbox.stopping.clone();
    let routes = router(sandbox).into_make_service_with_connect_info::<http::Connection>();
    axum::serve(http::Listener::new(listener), routes)
        .with_graceful_shutdown(async move {
            shutdown.cancelled().await;
            stopping.cancel();
        })
        .await
        .context("serving the stand-in of LINE")
}
