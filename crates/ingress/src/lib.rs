//! Takes in what happens: LINE's webhooks, what shops, tills and phone desks post, and what other
//! services tell by gRPC.
//!
//! One walk: the raw body of `POST /webhooks/line/{channel}` → [`accept`], or of
//! `POST /events/{channel}` → [`accept_events`]; both verify, split and decide without I/O → each
//! event published; what is not understood is published as it is, and dead-lettered → 200 when all
//! of it is stored, 503 when it is not within 1.5 s, so that it is sent again. What a channel is,
//! where it belongs and how it is run is read from the configuration in force, which is followed.
//!
//! LINE holds pictures, videos, sounds and files for a limited time: they are fetched soon after,
//! and so is how a person shows, at first contact and after 30 days.
//!
//! The deliveries of a shadow channel go to `RELAY` as well, and from there to the system that still
//! answers its people, for up to 24 h; then a dead letter says so.
//!
//! Invariant: nothing is answered 200 that the broker has not acknowledged, and no log, metric or
//! answer shows a byte of a body.

mod accept;
mod directory;
mod events;
mod fetch;
mod grpc;
mod handle;
mod http;
mod intake;
mod metrics;
mod place;
mod profile;
mod relay;
mod start;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mainstem_bus::nats::Inbound;
use mainstem_domain::At;
use mainstem_line::Channels;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use accept::{Accepted, Refused, Request, accept};
pub use directory::Directory;
pub use events::{
    EventsRequest, Mapping, MappingError, Source, SourceError, Sources, accept_events,
};
pub use handle::Handles;
pub use http::router;
pub use place::Place;
pub use profile::ProfileOf;
pub use start::{Started, start};

use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::profile::Wanted;

/// What one request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body.
    pub body_bytes: usize,
    /// How long the body may take to come in.
    pub read_within: Duration,
    /// How long storing may take; LINE gives up after 2 s.
    pub store_within: Duration,
    /// How many events of one request are on their way to the broker at once.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            read_within: Duration::from_secs(5),
            store_within: Duration::from_millis(1_500),
            in_flight: 64,
        }
    }
}

/// Everything that a request needs. Holds no state of its own: run as many as needed.
pub struct Ingress {
    channels: Channels,
    sources: Sources,
    directory: Arc<Directory>,
    handles: Handles,
    intake: Intake,
    profiles: Wanted,
    now: Arc<dyn Fn() -> At + Send + Sync>,
    limits: Limits,
    metrics: Metrics,
}

/// Who may send, and where it belongs.
pub struct Senders {
    /// The LINE accounts' credentials.
    pub channels: Channels,
    /// The other sources'.
    pub sources: Sources,
    /// The configuration in force.
    pub directory: Arc<Directory>,
}

impl Ingress {
    /// `handle_key` keys the hash that stands for a person in subjects; all instances share it.
    pub fn new(
        senders: Senders,
        handle_key: SecretString,
        inbound: Inbound,
        now: Arc<dyn Fn() -> At + Send + Sync>,
    ) -> Self {
        Self::with_intake(senders, handle_key, Intake::Bus(Box::new(inbound)), now)
    }

    /// Asks for the profiles of whoever it hears of.
    #[must_use]
    pub(crate) fn with_profiles(self, profiles: Wanted) -> Self {
        Self { profiles, ..self }
    }

    /// With other limits than the default ones.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    fn with_intake(
        senders: Senders,
        handle_key: SecretString,
        intake: Intake,
        now: Arc<dyn Fn() -> At + Send + Sync>,
    ) -> Self {
        let Senders { channels, sources, directory } = senders;
        let handles = Handles::new(handle_key);
        let (limits, metrics) = (Limits::default(), Metrics::new());
        let profiles = Wanted::nobody();
        Self { channels, sources, directory, handles, intake, profiles, now, limits, metrics }
    }
}

/// Serves until `shutdown`; then takes no more connections, and returns when those that are open
/// have their answers.
pub async fn run(
    ingress: Arc<Ingress>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    axum::serve(listener, router(ingress))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .context("serving webhooks")
}
