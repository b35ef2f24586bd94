//! `FETCH`: what is still to be fetched from vendors, and whose profile was fetched lately.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::kv::Store;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::StreamExt as _;
use mainstem_domain::{At, ChannelId};
use serde::{Deserialize, Serialize};

use crate::nats::overwrite::Overwriter;
use crate::nats::{Bus, Inbound, PublishError, dead};
use crate::record::header;
use crate::topology;
use crate::trace::TraceContext;

/// Longer than a fetch may take; an item that is neither taken off nor given back is handed out
/// again.
const ACK_WAIT: Duration = Duration::from_mins(2);

/// So many items are with workers or given back for later at once.
const WITH_WORKERS_AT_MOST: i64 = 10_000;

/// One thing to fetch, or to have fetched no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetch {
    /// The content of a message.
    Content {
        /// The vendor's id of the message.
        message: String,
        /// Its name in `MEDIA`.
        media: String,
    },
    /// A message was taken back: its content is deleted, and fetched no more.
    Unsend {
        /// Its name in `MEDIA`.
        media: String,
    },
}

/// One item, before it is on the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchMessage {
    /// The account that fetches it.
    pub channel: ChannelId,
    /// The keyed hash of who it is of.
    pub handle: String,
    /// What is fetched.
    pub fetch: Fetch,
    /// When it became known.
    pub received_at: At,
    /// The trace it belongs to.
    pub trace: TraceContext,
}

#[derive(Serialize, Deserialize)]
struct Body {
    fetch: Fetch,
    received_at: String,
}

impl Inbound {
    /// Puts something on the queue, and waits until it is stored. The same is a duplicate for
    /// [`topology::DUPLICATE_WINDOW`].
    ///
    /// # Errors
    /// Not stored, or not known to be.
    pub async fn fetch(&self, message: FetchMessage) -> Result<(), PublishError> {
        let FetchMessage { channel, handle, fetch, received_at, trace } = message;
        let id = match &fetch {
            Fetch::Content { media, .. } => format!("content/{media}"),
            Fetch::Unsend { media } => format!("unsend/{media}"),
        };
        let body = Body { fetch, received_at: received_at.to_string() };
        let body = serde_json::to_vec(&body).map_err(|error| PublishError(error.to_string()))?;
        let publish = PublishMessage::build()
            .message_id(id.as_str())
            .header(header::SPEC_VERSION, "1.0")
            .header(header::ID, id.as_str())
            .header(header::SOURCE, format!("/channel/{channel}").as_str())
            .header(header::TYPE, "mainstem.fetch.v1")
            .header(header::CHANNEL, channel.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::TRACE, trace.to_string().as_str())
            .payload(body.into());
        let subject = topology::fetch_subject(channel.as_str(), &handle);
        let sent = self.bus().jetstream.send_publish(subject, publish).await;
        let sent = sent.map_err(|error| PublishError(error.to_string()))?.await;
        sent.map_err(|error| PublishError(error.to_string()))?;
        Ok(())
    }
}

/// The queue, as workers see it. All of them share it.
///
/// What is taken off is overwritten, so that nothing is left of somebody who is forgotten.
pub struct FetchQueue {
    bus: Bus,
    overwriter: Overwriter,
    messages: Stream,
}

/// One item. Dropped without a word, it comes back after two minutes.
pub struct FetchItem {
    /// What was put there.
    pub message: FetchMessage,
    /// 1 the first time.
    pub attempt: u64,
    bus: Bus,
    overwriter: Overwriter,
    taken: Message,
    sequence: u64,
}

impl FetchQueue {
    /// Opens the queue.
    ///
    /// # Errors
    /// The broker's.
    pub async fn open(bus: &Bus, ahead: usize) -> Result<Self, PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let overwriter =
            Overwriter::open(bus, topology::FETCH).await.map_err(|error| fail(&error))?;
        let stream = bus.jetstream.get_stream_no_info(topology::FETCH).await;
        let config = Config {
            durable_name: Some("fetch".to_owned()),
            description: Some("ingress; one item is one thing to fetch".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: WITH_WORKERS_AT_MOST,
            ..Config::default()
        };
        let consumer: Consumer<Config> = stream
            .map_err(|error| fail(&error))?
            .create_consumer(config)
            .await
            .map_err(|error| fail(&error))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(ahead)
            .expires(Duration::from_secs(30))
            .messages()
            .await
            .map_err(|error| fail(&error))?;
        Ok(Self { bus: bus.clone(), overwriter, messages })
    }

    /// The next item; `None` when the connection is closed for good. One that cannot be read goes to
    /// the dead letters.
    pub async fn next(&mut self) -> Option<FetchItem> {
        loop {
            let taken = match self.messages.next().await? {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::warn!(%error, "cannot read FETCH; trying again");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    continue;
                }
            };
            let Ok((sequence, delivered)) = taken
                .info()
                .map(|info| (info.stream_sequence, u64::try_from(info.delivered).unwrap_or(1)))
            else {
                continue;
            };
            let (bus, overwriter) = (self.bus.clone(), self.overwriter.clone());
            if let Some(message) = read(&taken) {
                let attempt = delivered;
                return Some(FetchItem { message, attempt, bus, overwriter, taken, sequence });
            }
            let origin = format!("{}/{sequence}", topology::FETCH);
            let buried = dead::bury(&bus, "ingress", &origin, "no item of FETCH").await;
            let taken_off = match buried {
                Ok(()) => take_off(&overwriter, &taken, sequence).await,
                error => error,
            };
            if let Err(error) = taken_off {
                tracing::warn!(%error, "an item of FETCH comes back");
            }
        }
    }
}

fn read(taken: &Message) -> Option<FetchMessage> {
    let mut words = taken.subject.split('.').skip(1);
    let (channel, handle) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    let Body { fetch, received_at } = serde_json::from_slice(&taken.payload).ok()?;
    let received_at = At::parse(&received_at)?;
    let trace = taken.headers.as_ref().and_then(|headers| headers.get(header::TRACE));
    let trace = trace.and_then(|value| TraceContext::parse(value.as_str()));
    let trace = trace.unwrap_or_else(|| TraceContext::root(&handle));
    Some(FetchMessage { channel, handle, fetch, received_at, trace })
}

/// Overwrites the item first: once it is acknowledged, nobody knows where it lay.
async fn take_off(
    overwriter: &Overwriter,
    taken: &Message,
    sequence: u64,
) -> Result<(), PublishError> {
    overwriter.remove(sequence).await.map_err(|error| PublishError(error.to_string()))?;
    taken.double_ack().await.map_err(|error| PublishError(error.to_string()))
}

impl FetchItem {
    /// Whether it is still wanted: nobody took the message back, or was forgotten, meanwhile.
    ///
    /// # Errors
    /// The broker's.
    pub async fn is_wanted(&self) -> Result<bool, PublishError> {
        let subject = self.overwriter.subject_at(self.sequence).await;
        Ok(subject.map_err(|error| PublishError(error.to_string()))?.is_some())
    }

    /// Takes off what waits for the same person and is the content of that name, so that whoever has
    /// it in hand sees that it is not wanted any more.
    ///
    /// # Errors
    /// The broker's.
    pub async fn cancel_content(&self, of: &str) -> Result<(), PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let mut from = 1;
        while let Some(message) =
            self.overwriter.next(&self.taken.subject, from).await.map_err(|error| fail(&error))?
        {
            from = message.sequence + 1;
            let body = serde_json::from_slice::<Body>(&message.record.body);
            let same = body.is_ok_and(
                |body| matches!(body.fetch, Fetch::Content { media, .. } if media == of),
            );
            if same {
                self.overwriter.remove(message.sequence).await.map_err(|error| fail(&error))?;
            }
        }
        Ok(())
    }

    /// Takes the item off.
    ///
    /// # Errors
    /// It may come back.
    pub async fn done(self) -> Result<(), PublishError> {
        take_off(&self.overwriter, &self.taken, self.sequence).await
    }

    /// Gives the item back for later.
    ///
    /// # Errors
    /// It comes back after two minutes anyway.
    pub async fn retry_after(self, delay: Duration) -> Result<(), PublishError> {
        let given_back = self.taken.ack_with(AckKind::Nak(Some(delay))).await;
        given_back.map_err(|error| PublishError(error.to_string()))
    }

    /// Takes an item off that nobody can ever fetch, leaving a dead letter.
    ///
    /// # Errors
    /// It comes back.
    pub async fn reject(self, reason: &str) -> Result<(), PublishError> {
        let origin = format!("{}/{}", topology::FETCH, self.sequence);
        dead::bury(&self.bus, "ingress", &origin, reason).await?;
        self.done().await
    }
}

/// Whose profile was fetched within the last 30 days, by handle.
#[derive(Clone)]
pub struct Profiles {
    bucket: Store,
}

/// What came of a profile that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was told.
    Found,
    /// The vendor did not tell it.
    NotFound,
}

const FOUND: &[u8] = b"found";
const NOT_FOUND: &[u8] = b"not found";

impl Profiles {
    /// Opens the bucket.
    ///
    /// # Errors
    /// The broker's.
    pub async fn open(bus: &Bus) -> Result<Self, PublishError> {
        let bucket = bus.jetstream.get_key_value(topology::PROFILES).await;
        Ok(Self { bucket: bucket.map_err(|error| PublishError(error.to_string()))? })
    }

    /// What is known of this person's.
    ///
    /// # Errors
    /// The broker's.
    pub async fn known(&self, handle: &str) -> Result<Option<Known>, PublishError> {
        let value = self.bucket.get(handle).await;
        let value = value.map_err(|error| PublishError(error.to_string()))?;
        Ok(value.map(|value| if value == FOUND { Known::Found } else { Known::NotFound }))
    }

    /// Takes note of one.
    ///
    /// # Errors
    /// The broker's.
    pub async fn note(&self, handle: &str, known: Known) -> Result<(), PublishError> {
        let value = match known {
            Known::Found => FOUND,
            Known::NotFound => NOT_FOUND,
        };
        let put = self.bucket.put(handle, Bytes::from_static(value)).await;
        put.map(drop).map_err(|error| PublishError(error.to_string()))
    }
}
