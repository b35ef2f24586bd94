//! Who may begin an epoch. It saves two instances from refusing each other all day; safety rests
//! on the fence.

use async_nats::jetstream::kv::{CreateErrorKind, Store, UpdateErrorKind};
use bytes::Bytes;

use crate::nats::Bus;
use crate::topology;

/// The key of one service in the bucket of leases.
pub(crate) struct Lease {
    bucket: Store,
    service: &'static str,
    holder: Bytes,
    revision: u64,
}

/// What became of a renewal.
pub(crate) enum Renewal {
    Held,
    /// Somebody else has it.
    Lost,
    /// The broker did not answer; it may still be ours.
    Unknown,
}

impl Lease {
    pub(crate) async fn open(
        bus: &Bus,
        service: &'static str,
        holder: &str,
    ) -> Result<Self, String> {
        let bucket = bus.jetstream.get_key_value(topology::LEASES).await.map_err(|error| {
            format!("no bucket {}: {error}; run mainstem provision", topology::LEASES)
        })?;
        Ok(Self { bucket, service, holder: Bytes::from(holder.to_owned()), revision: 0 })
    }

    /// Takes the lease if nobody has it.
    pub(crate) async fn acquire(&mut self) -> Result<bool, String> {
        match self.bucket.create(self.service, self.holder.clone()).await {
            Ok(revision) => {
                self.revision = revision;
                Ok(true)
            }
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) async fn renew(&mut self) -> Renewal {
        match self.bucket.update(self.service, self.holder.clone(), self.revision).await {
            Ok(revision) => {
                self.revision = revision;
                Renewal::Held
            }
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Renewal::Lost,
            Err(_) => Renewal::Unknown,
        }
    }

    /// When the broker stored the last renewal, in milliseconds since 1970: its clock, a moment
    /// ago.
    pub(crate) async fn stored_at(&self) -> Option<i64> {
        let entry = self.bucket.entry(self.service).await.ok()??;
        (entry.revision == self.revision)
            .then(|| crate::nats::wire::nanos(entry.created) / 1_000_000)
    }

    /// Gives it back, so that a standby need not wait until it runs out.
    pub(crate) async fn release(&self) {
        if let Err(error) =
            self.bucket.delete_expect_revision(self.service, Some(self.revision)).await
        {
            tracing::debug!(%error, "the lease was not given back; it runs out by itself");
        }
    }
}
