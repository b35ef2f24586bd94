use std::sync::Arc;

use crate::engine::Applied;
use crate::engine::memory::Memory;
use crate::machine::{Machine, StateOf};
use crate::record::header;

/// Everything that an instance needs to go on without the log before it.
pub struct Snapshot<M: Machine> {
    memory: Memory<StateOf<M>>,
    applied: Arc<Applied>,
}

/// A snapshot that cannot be used; an older one, or the log from its start, can.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    /// Not a snapshot at all, or cut off.
    #[error("is no snapshot of Mainstem")]
    Shape,
    /// Another version of the state wrote it.
    #[error("has version {found} of the state, this program reads {wanted}")]
    Version {
        /// In the snapshot.
        found: u32,
        /// In this program.
        wanted: u32,
    },
    /// The bytes are not those that were written.
    #[error("has a wrong checksum")]
    Checksum,
    /// The content makes no sense.
    #[error("cannot be decoded")]
    Content,
}

const MAGIC: &[u8; 8] = b"MSTMSNP1";

impl<M: Machine> Snapshot<M> {
    pub(crate) fn of(memory: Memory<StateOf<M>>, applied: Arc<Applied>) -> Self {
        Self { memory, applied }
    }

    pub(crate) fn into_parts(self) -> (Memory<StateOf<M>>, Arc<Applied>) {
        (self.memory, self.applied)
    }

    /// The ledger's last sequence that is in it.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.memory.sequence
    }

    /// Whether it can be of a ledger that has this record at its sequence; `None` where the record
    /// was deleted. A ledger that was restored from a backup and grew again has another one there.
    #[must_use]
    pub fn follows(&self, record: Option<&crate::Record>) -> bool {
        let memory = &self.memory;
        record.is_none_or(|record| {
            let at = record.header(header::RECORDED_TIME).and_then(mainstem_domain::At::parse);
            record.header(header::EPOCH) == Some(memory.epoch.number.to_string().as_str())
                && at == Some(memory.at)
        })
    }

    /// The configuration that was in force; its content is not in the snapshot.
    #[must_use]
    pub fn configuration(&self) -> &str {
        &self.memory.configuration
    }

    /// How far the upstreams were read.
    #[must_use]
    pub fn positions(&self) -> &crate::Positions {
        &self.memory.positions
    }

    /// Puts in the configuration whose digest is [`configuration`](Self::configuration).
    #[must_use]
    pub fn configured(mut self, applied: Arc<Applied>) -> Self {
        self.applied = applied;
        self
    }

    /// Do both come from the same records of the ledger?
    #[must_use]
    pub fn same_fold(&self, other: &Self) -> bool {
        self.memory.same_fold(&other.memory)
    }

    /// As bytes: magic, version, CRC-32 of the rest, then zstd of the postcard encoding. Takes
    /// time in proportion to the state; call it where nobody waits.
    ///
    /// # Errors
    /// [`BadSnapshot::Content`] when the state cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, BadSnapshot> {
        let plain = postcard::to_stdvec(&self.memory).map_err(|_| BadSnapshot::Content)?;
        let packed = zstd::encode_all(plain.as_slice(), 1).map_err(|_| BadSnapshot::Content)?;
        let mut bytes = Vec::with_capacity(packed.len() + 16);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&M::SNAPSHOT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
        bytes.extend_from_slice(&packed);
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        let (head, packed) = bytes.split_at_checked(16).ok_or(BadSnapshot::Shape)?;
        let field = |from: usize| {
            let mut four = [0; 4];
            four.copy_from_slice(&head[from..from + 4]);
            u32::from_le_bytes(four)
        };
        if &head[..8] != MAGIC {
            return Err(BadSnapshot::Shape);
        }
        if field(8) != M::SNAPSHOT_VERSION {
            return Err(BadSnapshot::Version { found: field(8), wanted: M::SNAPSHOT_VERSION });
        }
        if field(12) != crc32fast::hash(packed) {
            return Err(BadSnapshot::Checksum);
        }
        let plain = zstd::decode_all(packed).map_err(|_| BadSnapshot::Content)?;
        let memory = postcard::from_bytes(&plain).map_err(|_| BadSnapshot::Content)?;
        Ok(Self { memory, applied: Arc::default() })
    }
}
