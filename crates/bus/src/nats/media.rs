//! `MEDIA`: pictures, videos, sounds and files that people sent, by the ids that their events name.
//!
//! It is an object bucket as any client reads it. It is written here because whatever a client's own
//! `put` leaves behind when it is cut off lies under a name that nobody knows, and could not be
//! deleted with its person.

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use data_encoding::BASE64URL;
use mainstem_domain::At;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::nats::overwrite::{NotRemoved, Overwriter};
use crate::nats::{Bus, PublishError};
use crate::topology;

/// As large as the object stores of all clients make them.
const CHUNK_BYTES: usize = 128 * 1024;

/// The bucket.
#[derive(Clone)]
pub struct Media {
    bus: Bus,
    stream: Overwriter,
}

/// What says that an object is there, and whole; in the form that every client's object store has.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    bucket: &'a str,
    nuid: &'a str,
    size: usize,
    chunks: usize,
    mtime: String,
    digest: String,
    options: Options,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Headers<'a>>,
}

#[derive(Serialize)]
struct Options {
    max_chunk_size: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Headers<'a> {
    content_type: [&'a str; 1],
}

impl Media {
    /// Opens the bucket.
    ///
    /// # Errors
    /// The broker's.
    pub async fn open(bus: &Bus) -> Result<Self, PublishError> {
        let stream = Overwriter::open(bus, &topology::bucket_stream(topology::MEDIA)).await;
        Ok(Self { bus: bus.clone(), stream: stream.map_err(|error| failed(&error))? })
    }

    /// Whether that one is there, whole.
    ///
    /// # Errors
    /// The broker's.
    pub async fn has(&self, id: &str) -> Result<bool, PublishError> {
        let entry = self.stream.next(&entry_subject(id), 1).await;
        Ok(entry.map_err(|error| failed(&error))?.is_some())
    }

    /// Puts one there, in place of what a crash left of it.
    ///
    /// # Errors
    /// It is not there, or not known to be; or somebody else puts it there at this moment.
    pub async fn put(
        &self,
        id: &str,
        media_type: Option<&str>,
        content: &Bytes,
        at: At,
    ) -> Result<(), PublishError> {
        self.remove(id).await?;
        let chunks = content.chunks(CHUNK_BYTES).count();
        let subject = topology::object_chunks(topology::MEDIA, id);
        for (number, chunk) in content.chunks(CHUNK_BYTES).enumerate() {
            let mut publish = PublishMessage::build().payload(content.slice_ref(chunk));
            if number == 0 {
                publish = publish.expected_last_subject_sequence(0);
            }
            self.publish(subject.clone(), publish).await?;
        }
        let entry = Entry {
            name: id,
            bucket: topology::MEDIA,
            nuid: id,
            size: content.len(),
            chunks,
            mtime: at.to_string(),
            digest: format!("SHA-256={}", BASE64URL.encode(&Sha256::digest(content))),
            options: Options { max_chunk_size: CHUNK_BYTES },
            headers: media_type.map(|of| Headers { content_type: [of] }),
        };
        let entry = serde_json::to_vec(&entry).map_err(|error| failed(&error))?;
        let publish = PublishMessage::build().payload(entry.into());
        self.publish(entry_subject(id), publish).await
    }

    /// Overwrites one, whole or not; one that is not there is well.
    ///
    /// # Errors
    /// Something of it may be left.
    pub async fn remove(&self, id: &str) -> Result<(), PublishError> {
        self.overwrite(id).await.map_err(|error| failed(&error))
    }

    /// The same, for whoever overwrites other things as well.
    pub(crate) async fn overwrite(&self, id: &str) -> Result<(), NotRemoved> {
        // The entry goes first: what it names is not whole any more.
        self.stream.remove_all(&entry_subject(id), u64::MAX).await?;
        self.stream.remove_all(&topology::object_chunks(topology::MEDIA, id), u64::MAX).await
    }

    async fn publish(&self, subject: String, publish: PublishMessage) -> Result<(), PublishError> {
        let sent = self.bus.jetstream.send_publish(subject, publish).await;
        sent.map_err(|error| failed(&error))?.await.map_err(|error| failed(&error))?;
        Ok(())
    }
}

fn entry_subject(id: &str) -> String {
    format!("$O.{}.M.{}", topology::MEDIA, BASE64URL.encode(id.as_bytes()))
}

fn failed(error: &dyn std::fmt::Display) -> PublishError {
    PublishError(error.to_string())
}
