use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy};
use async_nats::jetstream::stream::{self, DirectGetErrorKind};
use futures::StreamExt as _;

use crate::nats::Bus;
use crate::nats::wire::{nanos, record, stored};
use crate::positions::Position;
use crate::record::Stored;

/// One stream, read in order from a position on.
///
/// Consumer acknowledgements are never the truth; the position in the reader's own ledger is.
pub struct Log {
    stream: stream::Stream<()>,
    name: &'static str,
    /// What is read of it; empty: everything.
    subjects: Vec<String>,
    messages: Option<Ordered>,
    next: u64,
    /// The message before `next`, if it is known.
    last: Option<Position>,
    /// The consumer that the last message came from. The client makes it anew when the broker or
    /// the connection fails.
    consumer: String,
    /// A message of a new consumer, not given out yet.
    unverified: Option<(Stored, String)>,
}

/// A stream cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The broker does not answer, or not with what was asked; try again.
    #[error("cannot read {stream}: {what}")]
    Broker {
        /// The stream.
        stream: &'static str,
        /// Why.
        what: String,
    },
    /// The stream is not the one that was read before: its end is missing. Going on would skip
    /// whatever takes those places next.
    #[error(
        "{stream} lost its tail: this service has read up to sequence {read}, {found}. \
         Restore {stream} from a newer backup; or, if its loss is accepted, restore the ledger of \
         this service from a backup that is not newer than {stream}'s"
    )]
    LostTail {
        /// The stream.
        stream: &'static str,
        /// The last sequence that was read.
        read: u64,
        /// What is there instead.
        found: String,
    },
}

impl Log {
    /// The stream from the message after `position` on.
    ///
    /// # Errors
    /// [`ReadError::LostTail`] when the message at `position` is not the one that was read.
    pub async fn open(
        bus: &Bus,
        name: &'static str,
        position: Position,
    ) -> Result<Self, ReadError> {
        Self::open_subjects(bus, name, position, Vec::new()).await
    }

    /// The same of some of its subjects, which must not overlap. Asks for fewer messages ahead:
    /// there can be many such readers, and slow ones.
    pub(crate) async fn open_subjects(
        bus: &Bus,
        name: &'static str,
        position: Position,
        subjects: Vec<String>,
    ) -> Result<Self, ReadError> {
        let mut log = Self::tail(bus, name, position).await?;
        log.subjects = subjects;
        log.last = (position.sequence > 0).then_some(position);
        log.verify().await?;
        Ok(log)
    }

    /// The same without looking at what stands at `position`.
    pub(crate) async fn tail(
        bus: &Bus,
        name: &'static str,
        position: Position,
    ) -> Result<Self, ReadError> {
        let stream = bus
            .jetstream
            .get_stream_no_info(name)
            .await
            .map_err(|error| ReadError::Broker { stream: name, what: error.to_string() })?;
        Ok(Self {
            stream,
            name,
            subjects: Vec::new(),
            messages: None,
            next: position.sequence + 1,
            last: None,
            consumer: String::new(),
            unverified: None,
        })
    }

    /// Makes sure that the message that was read last is still the one at its place.
    ///
    /// # Errors
    /// [`ReadError::LostTail`] when it is not.
    pub(crate) async fn verify(&mut self) -> Result<(), ReadError> {
        let Some(position) = self.last else { return Ok(()) };
        let stream = self.name;
        let lost = |found: String| ReadError::LostTail { stream, read: position.sequence, found };
        let end = self.info().await?.state.last_sequence;
        if end < position.sequence {
            return Err(lost(format!("but it ends at {end}")));
        }
        // The message itself may be gone: deleted, or expired. Then its neighbours tell.
        let next = match self.stream.get_raw_message(position.sequence).await {
            Ok(message) if nanos(message.time) == position.stored_at => return Ok(()),
            Ok(_) => return Err(lost("and another message stands there now".to_owned())),
            Err(error)
                if error.kind()
                    == async_nats::jetstream::stream::RawMessageErrorKind::NoMessageFound =>
            {
                match self
                    .stream
                    .direct_get_next_for_subject(">", Some(position.sequence + 1))
                    .await
                {
                    Ok(next) => Some(next),
                    Err(error) if error.kind() == DirectGetErrorKind::NotFound => None,
                    Err(error) => return Err(self.broker(error.to_string())),
                }
            }
            Err(error) => return Err(self.broker(error.to_string())),
        };
        match next {
            Some(next) if nanos(next.time) < position.stored_at => {
                Err(lost("and what follows is older than what was read".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn broker(&self, what: String) -> ReadError {
        ReadError::Broker { stream: self.name, what }
    }

    async fn info(&mut self) -> Result<stream::Info, ReadError> {
        self.stream.get_info().await.map_err(|error| self.broker(error.to_string()))
    }

    /// The stream's last sequence, and the last one whose message is still there.
    ///
    /// # Errors
    /// [`ReadError::Broker`].
    pub async fn end(&mut self) -> Result<(u64, u64), ReadError> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind;
        let info = self.info().await?;
        let last = info.state.last_sequence;
        match self.stream.get_last_raw_message_by_subject(">").await {
            Ok(message) => Ok((last.max(message.sequence), message.sequence)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok((last, 0)),
            Err(error) => Err(self.broker(error.to_string())),
        }
    }

    /// The next message, as soon as there is one.
    ///
    /// # Errors
    /// [`ReadError::Broker`]; calling again goes on where it stopped. [`ReadError::LostTail`] when
    /// the stream was replaced under the reader by one that lacks what was read.
    pub async fn next(&mut self) -> Result<Stored, ReadError> {
        loop {
            if self.unverified.is_some() {
                if let Err(error) = self.verify().await {
                    (self.unverified, self.messages) = (None, None);
                    return Err(error);
                }
                if let Some((message, consumer)) = self.unverified.take() {
                    self.consumer = consumer;
                    return Ok(self.passed(message));
                }
            }
            if self.messages.is_none() {
                self.messages = Some(self.consume().await?);
            }
            let Some(messages) = &mut self.messages else { continue };
            match messages.next().await {
                Some(Ok(message)) => {
                    let Some((message, consumer)) = stored(&message) else { continue };
                    // A consumer that was made again may begin before the place we are at.
                    if message.sequence < self.next {
                        continue;
                    }
                    if consumer == self.consumer {
                        return Ok(self.passed(message));
                    }
                    self.unverified = Some((message, consumer.to_owned()));
                }
                Some(Err(error)) => {
                    self.messages = None;
                    return Err(self.broker(error.to_string()));
                }
                None => self.messages = None,
            }
        }
    }

    fn passed(&mut self, message: Stored) -> Stored {
        let Stored { sequence, stored_at, .. } = message;
        self.next = sequence + 1;
        self.last = Some(Position { sequence, stored_at, ..Position::default() });
        message
    }

    /// The message at one sequence; `None` when it was deleted or has expired.
    ///
    /// # Errors
    /// [`ReadError::Broker`].
    pub(crate) async fn at(&mut self, sequence: u64) -> Result<Option<Stored>, ReadError> {
        use async_nats::jetstream::stream::RawMessageErrorKind;
        match self.stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(Stored {
                sequence: message.sequence,
                stored_at: nanos(message.time),
                record: record(&message.subject, Some(&message.headers), message.payload),
            })),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.broker(error.to_string())),
        }
    }

    /// The last message of a subject.
    ///
    /// # Errors
    /// [`ReadError::Broker`].
    pub(crate) async fn last_of(&mut self, subject: &str) -> Result<Option<Stored>, ReadError> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind;
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(Stored {
                sequence: message.sequence,
                stored_at: nanos(message.time),
                record: record(&message.subject, Some(&message.headers), message.payload),
            })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.broker(error.to_string())),
        }
    }

    async fn consume(&mut self) -> Result<Ordered, ReadError> {
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next },
            filter_subjects: self.subjects.clone(),
            max_batch: if self.subjects.is_empty() { 1_000 } else { 64 },
            // The server shows twice in this time that it is there; when messages were lost with a
            // connection, that is how soon they are asked for again.
            max_expires: Duration::from_secs(4),
            ..OrderedConfig::default()
        };
        let consumer: Consumer<OrderedConfig> = self
            .stream
            .create_consumer(config)
            .await
            .map_err(|error| self.broker(error.to_string()))?;
        consumer.messages().await.map_err(|error| self.broker(error.to_string()))
    }
}
