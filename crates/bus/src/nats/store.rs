use std::collections::BTreeSet;
use std::sync::Arc;

use async_nats::jetstream::object_store::{GetErrorKind, ObjectStore};
use futures::StreamExt as _;
use mainstem_domain::configuration::Configuration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::engine::{Applied, Snapshot};
use crate::machine::Machine;
use crate::nats::overwrite::{NotRemoved, Overwriter};
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

/// A service's snapshots, named by the ledger sequence that they hold. One that goes is
/// overwritten: whoever is erased stands in the older ones.
#[derive(Clone)]
pub(crate) struct Snapshots {
    bucket: ObjectStore,
    chunks: Overwriter,
    name: String,
    /// An older one than this is not put there any more.
    floor: Arc<Mutex<u64>>,
}

/// Nobody in this process puts or removes snapshots meanwhile.
pub(crate) struct Hold(OwnedMutexGuard<u64>);

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
        let chunks = Overwriter::open(bus, &topology::bucket_stream(&name)).await;
        let chunks = chunks.map_err(|error| broker(&name, error))?;
        Ok(Self { bucket: open(bus, &name).await?, chunks, name, floor: Arc::default() })
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
        if names.is_empty() {
            return Ok(());
        }
        let failed = |error: NotRemoved| broker(&self.name, error);
        for name in names {
            let info = self.bucket.info(name).await.map_err(|error| broker(&self.name, error))?;
            let chunks = topology::object_chunks(&self.name, &info.nuid);
            self.chunks.remove_all(&chunks, u64::MAX).await.map_err(failed)?;
        }
        for subject in self.chunks.subjects(&topology::objects(&self.name)).await.map_err(failed)? {
            if !subject.starts_with(&topology::object_chunks(&self.name, ""))
                && self.is_entry_of(&subject, names).await.map_err(failed)?
            {
                self.chunks.remove_all(&subject, u64::MAX).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Puts a snapshot there, and takes the oldest off.
    pub(crate) async fn put(&self, sequence: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let floor = self.floor.lock().await;
        if sequence < *floor {
            return Ok(());
        }
        self.write(&name_of(sequence), bytes).await?;
        let mut kept = self.names().await?;
        kept.truncate(KEPT);
        self.keep(&kept).await
    }

    /// From here on nobody else in this process puts or removes snapshots.
    pub(crate) async fn hold(&self) -> Hold {
        Hold(Arc::clone(&self.floor).lock_owned().await)
    }

    /// How many snapshots there are that are older than this sequence.
    pub(crate) async fn older_than(&self, sequence: u64) -> Result<u64, StoreError> {
        let names = self.names().await?;
        Ok(names.iter().filter(|name| **name < name_of(sequence)).count() as u64)
    }

    /// Puts a snapshot there, reads it back, and when it is whole and the same, overwrites all
    /// others.
    pub(crate) async fn replace_all<M: Machine>(
        &self,
        hold: &mut Hold,
        snapshot: Snapshot<M>,
    ) -> Result<(), StoreError> {
        let failed = |error: &dyn std::fmt::Display| broker(&self.name, error);
        let sequence = snapshot.sequence();
        let name = name_of(sequence);
        let encoded = tokio::task::spawn_blocking(move || {
            let bytes = snapshot.encode();
            (snapshot, bytes)
        });
        let (snapshot, bytes) = encoded.await.map_err(|error| failed(&error))?;
        self.write(&name, &bytes.map_err(|error| failed(&error))?).await?;
        let read = self.read(&name).await?;
        let same = tokio::task::spawn_blocking(move || {
            Snapshot::<M>::decode(&read).map(|read| read.same_fold(&snapshot))
        });
        match same.await.map_err(|error| failed(&error))? {
            Ok(true) => {}
            Ok(false) => return Err(failed(&"a snapshot reads back as another")),
            Err(error) => return Err(failed(&error)),
        }
        *hold.0 = sequence;
        self.keep(&[name]).await
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut reader = bytes;
        let put = self.bucket.put(name, &mut reader).await;
        put.map(drop).map_err(|error| broker(&self.name, error))
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let mut object = self.bucket.get(name).await.map_err(|error| broker(&self.name, error))?;
        object.read_to_end(&mut bytes).await.map_err(|error| broker(&self.name, error))?;
        Ok(bytes)
    }

    /// Overwrites whatever does not belong to these snapshots: the others, and what a crash left
    /// of one that was never whole.
    async fn keep(&self, names: &[String]) -> Result<(), StoreError> {
        let failed = |error: NotRemoved| broker(&self.name, error);
        let mut chunks = BTreeSet::new();
        for name in names {
            let info = self.bucket.info(name).await.map_err(|error| broker(&self.name, error))?;
            chunks.insert(topology::object_chunks(&self.name, &info.nuid));
        }
        let (mut others, mut entries) = (Vec::new(), Vec::new());
        let all = self.chunks.subjects(&topology::objects(&self.name)).await.map_err(failed)?;
        for subject in all.into_iter().filter(|subject| !chunks.contains(subject)) {
            if subject.starts_with(&topology::object_chunks(&self.name, "")) {
                others.push(subject);
            } else if !self.is_entry_of(&subject, names).await.map_err(failed)? {
                entries.push(subject);
            }
        }
        // The entry goes last: it says that there is something to remove.
        for subject in others.into_iter().chain(entries) {
            self.chunks.remove_all(&subject, u64::MAX).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Whether the entry on this subject is of one of these objects.
    async fn is_entry_of(&self, subject: &str, names: &[String]) -> Result<bool, NotRemoved> {
        #[derive(serde::Deserialize)]
        struct Entry {
            name: String,
        }
        let Some(message) = self.chunks.next(subject, 1).await? else { return Ok(false) };
        let entry = serde_json::from_slice(&message.record.body);
        Ok(entry.is_ok_and(|entry: Entry| names.contains(&entry.name)))
    }
}

fn name_of(sequence: u64) -> String {
    format!("{sequence:020}")
}
