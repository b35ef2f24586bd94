use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{ConnectOptions, Event};

use crate::topology::NATS_SERVER_VERSION;

/// How to reach the broker, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// `nats://host:port`; several, separated by commas.
    pub url: String,
    /// The user; empty for a server without users.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// A PEM file of the certificate authority of a server with TLS.
    pub tls_ca: Option<PathBuf>,
    /// Shown in the server's connection list.
    pub name: String,
}

/// A connection to the broker, as one user.
#[derive(Clone, Debug)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: jetstream::Context,
}

/// The broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection.
    #[error("no connection to NATS at {url}: {source}; check [nats] url, user and password")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        source: async_nats::ConnectError,
    },
    /// Too old.
    #[error("nats-server {found} is too old; Mainstem needs {NATS_SERVER_VERSION}")]
    Version {
        /// What the server says.
        found: String,
    },
}

impl ConnectError {
    /// Whether the broker may be there in a moment: it starts, or starts again.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => {
                use async_nats::ConnectErrorKind::{Dns, Io, TimedOut};
                matches!(source.kind(), Io | TimedOut | Dns)
            }
            Self::Version { .. } => false,
        }
    }
}

/// Longer than the server takes for anything; the client's own time-out is twice as long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

impl Bus {
    /// Connects, and goes on trying to reconnect for ever when the connection is lost.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(login: &Login) -> Result<Self, ConnectError> {
        let mut options = ConnectOptions::new()
            .name(&login.name)
            .custom_inbox_prefix(inbox_prefix(&login.user))
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .subscription_capacity(64 * 1024)
            .reconnect_delay_callback(|attempts| Duration::from_millis(50 << attempts.min(5)))
            // A permission violation shows here and nowhere else.
            .event_callback(|event| async move {
                if let Event::ServerError(error) = event {
                    tracing::error!(%error, "NATS refuses");
                } else {
                    tracing::info!(%event, "NATS");
                }
            });
        if !login.user.is_empty() {
            options = options.user_and_password(login.user.clone(), login.password.clone());
        }
        if let Some(ca) = &login.tls_ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        let client = options
            .connect(login.url.split(',').map(str::to_owned).collect::<Vec<_>>().as_slice())
            .await
            .map_err(|source| ConnectError::Unreachable { url: login.url.clone(), source })?;
        if !client.is_server_compatible(2, 15, 0) {
            return Err(ConnectError::Version { found: client.server_info().version });
        }
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .ack_timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        Ok(Self { client, jetstream })
    }

    /// Whether there is a connection at this moment.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Sends what is still in the client's buffers.
    pub async fn flush(&self) {
        if let Err(error) = self.client.flush().await {
            tracing::warn!(%error, "not everything was sent to NATS");
        }
    }
}

/// Every user has inboxes of its own, so nobody can listen to another's answers.
pub(crate) fn inbox_prefix(user: &str) -> String {
    if user.is_empty() { "_INBOX".to_owned() } else { format!("_INBOX_{user}") }
}
