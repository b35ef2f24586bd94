use std::io::{BufReader, BufWriter};
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

const MAGIC: &[u8; 8] = b"MSTMSNP2";

/// Bytes before the packed state.
const HEAD: usize = 16;

/// Bytes that are packed and unpacked at a time.
const IN_MEMORY: usize = 64 * 1_024;

/// The longest text in a state: the answer of a command, which fits a message.
const TEXT_AT_MOST: usize = 16 * 1_024 * 1_024;

impl<M: Machine> Snapshot<M> {
    pub(crate) fn of(memory: Memory<StateOf<M>>, applied: Arc<Applied>) -> Self {
        Self { memory, applied }
    }

    /// A snapshot of a state alone, for benches: nothing else was remembered up to this record.
    #[doc(hidden)]
    #[must_use]
    pub fn of_state(state: StateOf<M>, sequence: u64, epoch: u64, at: mainstem_domain::At) -> Self {
        let epoch = crate::positions::Epoch { number: epoch, broken: false };
        let mut memory = Memory::default();
        (memory.state, memory.sequence, memory.epoch, memory.at) = (state, sequence, epoch, at);
        Self { memory, applied: Arc::default() }
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
                // A moved copy tells when its original was decided.
                && (at == Some(memory.at) || (record.is_moved() && at < Some(memory.at)))
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
        let content = |_| BadSnapshot::Content;
        let head = vec![0; HEAD];
        // A large state stands beside its snapshot once, not twice: it is packed as it is written.
        let packer = zstd::Encoder::new(head, 1).map_err(content)?;
        let packer = BufWriter::with_capacity(IN_MEMORY, packer);
        let packer = postcard::to_io(&self.memory, packer).map_err(|_| BadSnapshot::Content)?;
        let packer = packer.into_inner().map_err(|_| BadSnapshot::Content)?;
        let mut bytes = packer.finish().map_err(content)?;
        let checksum = crc32fast::hash(&bytes[HEAD..]);
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&M::SNAPSHOT_VERSION.to_le_bytes());
        bytes[12..HEAD].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        let (head, packed) = bytes.split_at_checked(HEAD).ok_or(BadSnapshot::Shape)?;
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
        let plain = zstd::Decoder::new(packed).map_err(|_| BadSnapshot::Content)?;
        let plain = BufReader::with_capacity(IN_MEMORY, plain);
        let mut text = vec![0; TEXT_AT_MOST];
        let (memory, _) =
            postcard::from_io((plain, &mut text)).map_err(|_| BadSnapshot::Content)?;
        Ok(Self { memory, applied: Arc::default() })
    }
}
