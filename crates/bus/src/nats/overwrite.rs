//! Deleting so that nothing readable stays in the server's files: message by message, with
//! overwriting. A purge and an expiry leave the text there until the server happens to rewrite the
//! file (measured, as was that an overwritten message is gone at once, and after `kill -9`).

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, RawMessageErrorKind, Stream};
use futures::StreamExt as _;

use crate::nats::Bus;
use crate::nats::wire::{nanos, record};
use crate::record::Stored;

/// A stream cannot be looked through, or something in it not be deleted; try again.
#[derive(Debug, thiserror::Error)]
#[error("{stream}: {what}")]
pub(crate) struct NotRemoved {
    stream: String,
    what: String,
}

/// One stream in which messages are deleted.
#[derive(Clone)]
pub(crate) struct Overwriter {
    stream: Stream<()>,
    name: String,
}

impl Overwriter {
    pub(crate) async fn open(bus: &Bus, name: &str) -> Result<Self, NotRemoved> {
        match bus.jetstream.get_stream_no_info(name).await {
            Ok(stream) => Ok(Self { stream, name: name.to_owned() }),
            Err(error) => Err(NotRemoved { stream: name.to_owned(), what: error.to_string() }),
        }
    }

    fn failed(&self, error: impl std::fmt::Display) -> NotRemoved {
        NotRemoved { stream: self.name.clone(), what: error.to_string() }
    }

    /// The first message on these subjects from this sequence on. Asks the leader: a replica may
    /// not have everything yet.
    pub(crate) async fn next(
        &self,
        subjects: &str,
        from: u64,
    ) -> Result<Option<Stored>, NotRemoved> {
        match self.stream.get_first_raw_message_by_subject(subjects, from.max(1)).await {
            Ok(message) => Ok(Some(Stored {
                sequence: message.sequence,
                stored_at: nanos(message.time),
                record: record(&message.subject, Some(&message.headers), message.payload),
            })),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The subject of the message at this sequence, if it is still there.
    pub(crate) async fn subject_at(&self, sequence: u64) -> Result<Option<String>, NotRemoved> {
        match self.stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(message.subject.to_string())),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Every subject under these that has messages.
    pub(crate) async fn subjects(&self, under: &str) -> Result<Vec<String>, NotRemoved> {
        let mut pages =
            self.stream.info_with_subjects(under).await.map_err(|error| self.failed(error))?;
        let mut subjects = Vec::new();
        while let Some(subject) = pages.next().await {
            subjects.push(subject.map_err(|error| self.failed(error))?.0);
        }
        Ok(subjects)
    }

    /// Overwrites and deletes a message; one that is gone already is well.
    pub(crate) async fn remove(&self, sequence: u64) -> Result<(), NotRemoved> {
        match self.stream.delete_message(sequence).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.failed("the broker did not delete a message")),
            Err(error) => {
                let gone = |inner: &async_nats::jetstream::Error| {
                    inner.error_code() == ErrorCode::SEQUENCE_NOT_FOUND
                };
                if matches!(error.kind(), DeleteMessageErrorKind::JetStream(inner) if gone(&inner))
                {
                    Ok(())
                } else {
                    Err(self.failed(error))
                }
            }
        }
    }

    /// Overwrites and deletes everything on these subjects up to this sequence.
    pub(crate) async fn remove_all(&self, subjects: &str, up_to: u64) -> Result<(), NotRemoved> {
        let mut from = 1;
        while let Some(message) = self.next(subjects, from).await?
            && message.sequence <= up_to
        {
            self.remove(message.sequence).await?;
            from = message.sequence + 1;
        }
        Ok(())
    }
}
