//! The broker of the simulation: streams as nats-server keeps them, in memory and without time of
//! their own.
//!
//! `tests/broker_contract.rs` runs the same cases on this and on the real server; what is not in
//! it is not relied upon.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use mainstem_bus::{Record, Stored};

/// The most messages that one atomic batch can hold.
pub const BATCH_AT_MOST: usize = 1_000;

/// How long a message id is remembered, in nanoseconds; nats-server's default.
pub const DUPLICATE_WINDOW: i64 = 120 * 1_000_000_000;

/// The header of a message id.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";

/// nats-server's error codes.
pub mod code {
    /// The expected last sequence is another one.
    pub const WRONG_LAST_SEQUENCE: u64 = 10_071;
    /// A batch has more messages than the server takes.
    pub const BATCH_TOO_LARGE: u64 = 10_199;
    /// A message of a batch has an id that is known already.
    pub const DUPLICATE_IN_BATCH: u64 = 10_201;
}

/// What the broker says to an append; of a batch, to all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is stored; of a batch, the last message is at this sequence.
    Stored {
        /// Where.
        sequence: u64,
        /// Whether it was stored before, and nothing was stored now.
        duplicate: bool,
    },
    /// Nothing is stored.
    Refused {
        /// One of [`code`].
        code: u64,
        /// In words.
        reason: String,
    },
}

/// All streams, and buckets of objects.
#[derive(Debug, Default)]
pub struct SimBroker {
    streams: BTreeMap<String, Stream>,
    buckets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    now: i64,
}

#[derive(Debug, Default)]
struct Stream {
    messages: BTreeMap<u64, Stored>,
    /// Stays when the last message is deleted.
    last: u64,
    ids: BTreeMap<String, (u64, i64)>,
    /// Everything up to here is on the disk.
    synced: u64,
}

impl SimBroker {
    /// Puts the broker's clock forward, to nanoseconds since 1970.
    pub fn set_time(&mut self, now: i64) {
        self.now = self.now.max(now);
    }

    /// Appends one message, after the message with the sequence `expect` if given.
    pub fn append(&mut self, stream: &str, record: &Record, expect: Option<u64>) -> Reply {
        self.now += 1;
        let now = self.now;
        let stream = self.stream_mut(stream);
        if let Some(refused) = stream.unexpected(expect) {
            return refused;
        }
        if let Some(sequence) = record.header(MESSAGE_ID).and_then(|id| stream.known(id, now)) {
            return Reply::Stored { sequence, duplicate: true };
        }
        Reply::Stored { sequence: stream.store(record, now), duplicate: false }
    }

    /// Appends all of these or none, after the message with the sequence `expect` if given.
    pub fn append_batch(&mut self, stream: &str, batch: &[Record], expect: Option<u64>) -> Reply {
        self.now += 1;
        let now = self.now;
        let stream = self.stream_mut(stream);
        let refused = |code, reason: &str| Reply::Refused { code, reason: reason.to_owned() };
        if batch.len() > BATCH_AT_MOST {
            return refused(code::BATCH_TOO_LARGE, "atomic publish batch is too large: 1000");
        }
        let mut ids: Vec<_> = batch.iter().filter_map(|record| record.header(MESSAGE_ID)).collect();
        ids.sort_unstable();
        let twice = ids.windows(2).any(|pair| pair[0] == pair[1]);
        if twice || ids.iter().any(|id| stream.known(id, now).is_some()) {
            let reason = "atomic publish batch contains duplicate message id";
            return refused(code::DUPLICATE_IN_BATCH, reason);
        }
        if let Some(refused) = stream.unexpected(expect) {
            return refused;
        }
        for record in batch {
            stream.store(record, now);
        }
        Reply::Stored { sequence: stream.last, duplicate: false }
    }

    /// Deletes a message; `false` when there is none.
    pub fn delete(&mut self, stream: &str, sequence: u64) -> bool {
        self.stream_mut(stream).messages.remove(&sequence).is_some()
    }

    /// The first message after this sequence.
    #[must_use]
    pub fn after(&self, stream: &str, sequence: u64) -> Option<&Stored> {
        let stream = self.streams.get(stream)?;
        stream.messages.range((Excluded(sequence), Unbounded)).next().map(|(_, message)| message)
    }

    /// The message with this sequence.
    #[must_use]
    pub fn get(&self, stream: &str, sequence: u64) -> Option<&Stored> {
        self.streams.get(stream)?.messages.get(&sequence)
    }

    /// All messages of a stream.
    pub fn messages(&self, stream: &str) -> impl Iterator<Item = &Stored> {
        self.streams.get(stream).into_iter().flat_map(|stream| stream.messages.values())
    }

    /// The sequence that the last message has or had.
    #[must_use]
    pub fn last_sequence(&self, stream: &str) -> u64 {
        self.streams.get(stream).map_or(0, |stream| stream.last)
    }

    /// Brings everything to the disk.
    pub fn sync(&mut self) {
        for stream in self.streams.values_mut() {
            stream.synced = stream.last;
        }
    }

    /// Ends and starts again. After a power loss, what was never on the disk is gone.
    pub fn restart(&mut self, power_loss: bool) {
        for stream in self.streams.values_mut() {
            if power_loss {
                stream.messages.split_off(&(stream.synced + 1));
                stream.last = stream.synced;
            }
            // Ids are not kept; they are read again from what is left.
            stream.ids = stream
                .messages
                .values()
                .filter_map(|message| {
                    let id = message.record.header(MESSAGE_ID)?;
                    Some((id.to_owned(), (message.sequence, message.stored_at)))
                })
                .collect();
        }
    }

    /// Puts an object into a bucket.
    pub fn put(&mut self, bucket: &str, name: &str, bytes: Vec<u8>) {
        self.buckets.entry(bucket.to_owned()).or_default().insert(name.to_owned(), bytes);
    }

    /// Objects of a bucket, by name.
    pub fn objects(&self, bucket: &str) -> impl DoubleEndedIterator<Item = (&str, &[u8])> {
        let objects = self.buckets.get(bucket);
        objects.into_iter().flatten().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    fn stream_mut(&mut self, stream: &str) -> &mut Stream {
        self.streams.entry(stream.to_owned()).or_default()
    }
}

impl Stream {
    fn known(&self, id: &str, now: i64) -> Option<u64> {
        let (sequence, at) = *self.ids.get(id)?;
        (now - at < DUPLICATE_WINDOW).then_some(sequence)
    }

    fn unexpected(&self, expect: Option<u64>) -> Option<Reply> {
        expect.filter(|expect| *expect != self.last).map(|_| Reply::Refused {
            code: code::WRONG_LAST_SEQUENCE,
            reason: format!("wrong last sequence: {}", self.last),
        })
    }

    fn store(&mut self, record: &Record, now: i64) -> u64 {
        self.last += 1;
        if let Some(id) = record.header(MESSAGE_ID) {
            self.ids.insert(id.to_owned(), (self.last, now));
        }
        let message = Stored { sequence: self.last, stored_at: now, record: record.clone() };
        self.messages.insert(self.last, message);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_loss_takes_what_was_never_on_the_disk() {
        let mut broker = SimBroker::default();
        let record = Record {
            subject: "s".to_owned(),
            headers: mainstem_bus::Headers::default(),
            body: "x".into(),
        };
        broker.append("S", &record, None);
        broker.sync();
        broker.append("S", &record, None);
        broker.restart(false);
        assert_eq!(broker.last_sequence("S"), 2);
        broker.restart(true);
        assert_eq!((broker.last_sequence("S"), broker.messages("S").count()), (1, 1));
    }
}
