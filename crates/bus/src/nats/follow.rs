//! Which configuration is in force, for whoever follows it without a ledger of its own.

use std::sync::Arc;

use async_nats::jetstream::stream::DirectGetErrorKind;
use serde::Deserialize;

use crate::engine::Applied;
use crate::nats::{Bus, Configurations, StoreError};
use crate::topology;

/// The service whose ledger tells it: whoever follows it places events before any other service
/// reads them.
const TOLD_BY: &str = "identity-merge";

/// The configuration that identity-merge, or another service, took last.
///
/// Reads one record of the service's ledger and no other. An old writer's record, which readers of the whole
/// ledger void, cannot be told from here; the next `mainstem apply` covers it.
pub struct InForce {
    bus: Bus,
    service: &'static str,
    ledger: &'static str,
    bucket: Option<Configurations>,
}

/// As the engine writes it.
#[derive(Deserialize)]
struct Body {
    digest: String,
}

impl InForce {
    /// Reads as the connection's user.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self::of(bus, TOLD_BY, topology::CUSTOMER)
    }

    /// What the service with this ledger took last.
    #[must_use]
    pub fn of(bus: Bus, service: &'static str, ledger: &'static str) -> Self {
        Self { bus, service, ledger, bucket: None }
    }

    /// The configuration in force, unless its digest is `known`; `None` too while none was ever
    /// applied.
    ///
    /// # Errors
    /// The broker's, or a configuration that cannot be read.
    pub async fn other_than(
        &mut self,
        known: Option<&str>,
    ) -> Result<Option<Arc<Applied>>, StoreError> {
        let Some(digest) = self.digest().await?.filter(|digest| Some(digest.as_str()) != known)
        else {
            return Ok(None);
        };
        let bucket = match self.bucket.take() {
            Some(bucket) => bucket,
            None => Configurations::open(&self.bus).await?,
        };
        self.bucket.insert(bucket).get(&digest).await.map(Some)
    }

    async fn digest(&self) -> Result<Option<String>, StoreError> {
        let fail = |what: String| StoreError::Broker { bucket: self.ledger.to_owned(), what };
        let stream = self
            .bus
            .jetstream
            .get_stream_no_info(self.ledger)
            .await
            .map_err(|error| fail(error.to_string()))?;
        let subject = topology::ledger_subject(self.service, topology::CONFIGURATION);
        match stream.direct_get_last_for_subject(subject).await {
            Ok(message) => serde_json::from_slice(&message.payload)
                .map(|body: Body| Some(body.digest))
                .map_err(|_| fail("the record of the configuration names no digest".to_owned())),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(fail(error.to_string())),
        }
    }
}
