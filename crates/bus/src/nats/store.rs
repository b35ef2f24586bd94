use std::sync::Arc;

use async_nats::jetstream::object_store::{GetErrorKind, ObjectStore};
use futures::StreamExt as _;
use mainstem_domain::configuration::Configuration;
use tokio::io::AsyncReadExt as _;

use crate::engine::{Applied, Snapshot};
use crate::machine::Machine;
use crate::nats::{Bus, Log, ReadError};
use crate::sha256_hex;
use crate::topology;

/// The object store cannot be used, or does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The broker.
    #[error("bucket {bucket}: {what}")]
    Broker {
        /// The bucket.
        bucket: String,
        /// Why.
        what: String,
    },
    /// No such configuration.
    #[error("bucket CONFIGURATION holds no {0}; put it there with mainstem apply")]
    NoConfiguration(String),
    /// It is there, and it is not what it says.
    #[error("configuration {digest} in bucket CONFIGURATION {what}; apply it again")]
    BadConfiguration {
        /// Which.
        digest: String,
        /// What is wrong.
        what: String,
    },
}

fn broker(bucket: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Broker { bucket: bucket.to_owned(), what: error.to_string() }
}

async fn open(bus: &Bus, bucket: &str) -> Result<ObjectStore, StoreError> {
    bus.jetstream.get_object_store(bucket).await.map_err(|error| broker(bucket, error))
}

/// Configurations by digest.
#[derive(Clone)]
pub struct Configurations {
    bucket: ObjectStore,
}

impl Configurations {
    /// Opens the bucket.
    ///
    /// # Errors
    /// [`StoreError::Broker`].
    pub async fn open(bus: &Bus) -> Result<Self, StoreError> {
        Ok(Self { bucket: open(bus, topology::CONFIGURATIONS).await? })
    }

    /// Puts a configuration there and says its digest. It is not in force by that.
    ///
    /// # Errors
    /// [`StoreError::Broker`].
    pub async fn put(&self, configuration: &Configuration) -> Result<String, StoreError> {
        let bytes = canonical(configuration)?;
        let digest = sha256_hex(&bytes);
        self.bucket
            .put(digest.as_str(), &mut bytes.as_slice())
            .await
            .map_err(|error| broker(topology::CONFIGURATIONS, error))?;
        Ok(digest)
    }

    /// The configuration with this digest.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn get(&self, digest: &str) -> Result<Arc<Applied>, StoreError> {
        if digest.is_empty() {
            return Ok(Arc::default());
        }
        let mut object = self.bucket.get(digest).await.map_err(|error| {
            if error.kind() == GetErrorKind::NotFound {
                StoreError::NoConfiguration(digest.to_owned())
            } else {
                broker(topology::CONFIGURATIONS, error)
            }
        })?;
        let mut bytes = Vec::new();
        object
            .read_to_end(&mut bytes)
            .await
            .map_err(|error| broker(topology::CONFIGURATIONS, error))?;
        let bad = |what: &str| StoreError::BadConfiguration {
            digest: digest.to_owned(),
            what: what.to_owned(),
        };
        if sha256_hex(&bytes) != digest {
            return Err(bad("has another digest"));
        }
        let configuration =
            serde_json::from_slice(&bytes).map_err(|_| bad("is of another version"))?;
        Ok(Arc::new(Applied { digest: digest.to_owned(), configuration }))
    }
}

/// Every map in a configuration is ordered, so equal configurations have equal bytes.
fn canonical(configuration: &Configuration) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(configuration).map_err(|error| broker(topology::CONFIGURATIONS, error))
}

/// A service's snapshots, named by the ledger sequence that they hold.
#[derive(Clone)]
pub(crate) struct Snapshots {
    bucket: ObjectStore,
    name: String,
}

/// What a look at the snapshots of a service found.
pub(crate) struct Found<M: Machine> {
    /// The newest good one.
    pub(crate) snapshot: Option<Snapshot<M>>,
    /// The names of newer ones that are of another ledger than the one that is there.
    pub(crate) strange: Vec<String>,
    /// How many newer ones cannot be read.
    pub(crate) unreadable: usize,
}

/// How many snapshots are kept: the newest could be the one that a crash cut off.
const KEPT: usize = 3;

impl Snapshots {
    pub(crate) async fn open(bus: &Bus, service: &str) -> Result<Self, StoreError> {
        let name = topology::snapshots(service);
        Ok(Self { bucket: open(bus, &name).await?, name })
    }

    /// The names, newest first.
    async fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut list = self.bucket.list().await.map_err(|error| broker(&self.name, error))?;
        let mut names = Vec::new();
        while let Some(object) = list.next().await {
            names.push(object.map_err(|error| broker(&self.name, error))?.name);
        }
        names.sort_unstable_by(|one, other| other.cmp(one));
        Ok(names)
    }

    /// The newest snapshot that is whole, of this version, and of the ledger as it is now.
    pub(crate) async fn newest<M: Machine>(
        &self,
        ledger: &mut Log,
    ) -> Result<Found<M>, StoreError> {
        let unread = |error: ReadError| broker(&self.name, error);
        let (end, _) = ledger.end().await.map_err(unread)?;
        let mut found = Found { snapshot: None, strange: Vec::new(), unreadable: 0 };
        for name in self.names().await? {
            let Ok(mut object) = self.bucket.get(&name).await else { continue };
            let mut bytes = Vec::new();
            let read = match object.read_to_end(&mut bytes).await {
                Ok(_) => Snapshot::decode(&bytes).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let snapshot = match read {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    tracing::warn!(snapshot = name, error, "passed over a snapshot");
                    found.unreadable += 1;
                    continue;
                }
            };
            let record = ledger.at(snapshot.sequence()).await.map_err(unread)?;
            let record = record.as_ref().map(|message| &message.record);
            if snapshot.sequence() <= end && snapshot.follows(record) {
                found.snapshot = Some(snapshot);
                break;
            }
            tracing::warn!(snapshot = name, "passed over a snapshot of another ledger");
            found.strange.push(name);
        }
        Ok(found)
    }

    /// Deletes snapshots of a ledger that is not there any more: one that was restored from an
    /// older backup. Kept, they would fit again when it has grown.
    pub(crate) async fn forget(&self, names: &[String]) -> Result<(), StoreError> {
        for name in names {
            self.bucket.delete(name).await.map_err(|error| broker(&self.name, error))?;
        }
        Ok(())
    }

    pub(crate) async fn put(&self, sequence: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let name = format!("{sequence:020}");
        let mut reader = bytes;
        self.bucket
            .put(name.as_str(), &mut reader)
            .await
            .map_err(|error| broker(&self.name, error))?;
        for old in self.names().await?.into_iter().skip(KEPT) {
            self.bucket.delete(&old).await.map_err(|error| broker(&self.name, error))?;
        }
        Ok(())
    }
}
