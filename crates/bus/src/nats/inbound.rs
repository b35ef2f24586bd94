use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use mainstem_domain::configuration::ChannelKind;
use mainstem_domain::{At, BrandId, ChannelId, EventId, StoreId};

use crate::nats::{Bus, dead};
use crate::record::header;
use crate::topology;
use crate::trace::TraceContext;

/// Publishes to `INBOUND`, and to the dead letters what cannot go there.
#[derive(Clone, Debug)]
pub struct Inbound {
    bus: Bus,
}

/// One channel event as ingress took it.
#[derive(Clone, Debug)]
pub struct InboundMessage {
    /// `ce-type`, e.g. `mainstem.channel.line.message.v1`.
    pub kind: String,
    /// The source's id of the event.
    pub id: EventId,
    /// Where it came in.
    pub channel: ChannelId,
    /// A keyed hash of who it was.
    pub handle: String,
    /// The channel's store.
    pub store: Option<StoreId>,
    /// The channel's brand.
    pub brand: Option<BrandId>,
    /// When it happened, by the source's clock.
    pub occurred_at: At,
    /// The name in `MEDIA` of what the person sent.
    pub media: Option<String>,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// JSON of `mainstem.channel.v1.ChannelEvent`.
    pub body: Bytes,
}

/// What came in signed and cannot be understood.
#[derive(Clone, Debug)]
pub struct UnreadableBody {
    /// Where it came in.
    pub channel: ChannelId,
    /// What the channel is.
    pub kind: ChannelKind,
    /// A keyed hash of the digest.
    pub handle: String,
    /// SHA-256 of the bytes, in hexadecimal.
    pub digest: String,
    /// Why, without a word of it.
    pub reason: String,
    /// When it came in.
    pub received_at: At,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// The bytes.
    pub body: Bytes,
}

/// Where a published message is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Stored.
    Stored,
    /// It was stored before.
    Duplicate,
}

/// The server counts headers as part of a message; ours are shorter than this.
const HEADERS_AT_MOST: usize = 8 * 1024;

/// It is not known to be stored; publish it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not stored: {0}")]
pub struct PublishError(pub String);

impl Inbound {
    /// Publishes as the connection's user.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Whether the broker takes a body of this many bytes (`max_payload` of nats-server).
    #[must_use]
    pub fn fits(&self, bytes: usize) -> bool {
        bytes + HEADERS_AT_MOST <= self.bus.client.server_info().max_payload
    }

    /// Publishes an event, and waits until it is stored. An event of the same channel with the
    /// same id is a duplicate for [`topology::DUPLICATE_WINDOW`].
    ///
    /// # Errors
    /// Not stored, or not known to be.
    pub async fn publish(&self, message: InboundMessage) -> Result<Published, PublishError> {
        let InboundMessage {
            kind,
            id,
            channel,
            handle,
            store,
            brand,
            occurred_at,
            media,
            trace,
            body,
        } = message;
        // The third word of `mainstem.channel.line.message.v1` is the kind of channel.
        let vendor = kind.split('.').nth(2).unwrap_or("other").to_owned();
        let mut publish = PublishMessage::build()
            .message_id(format!("{channel}/{id}"))
            .header(header::SPEC_VERSION, "1.0")
            .header(header::ID, id.as_str())
            .header(header::SOURCE, format!("/channel/{channel}").as_str())
            .header(header::TYPE, kind.as_str())
            .header(header::TIME, occurred_at.to_string().as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::TRACE, trace.to_string().as_str())
            .payload(body);
        for (name, value) in topology::place_headers(Some(&channel), store.as_ref(), brand.as_ref())
        {
            publish = publish.header(name, value.as_str());
        }
        if let Some(media) = &media {
            publish = publish.header(header::MEDIA, media.as_str());
        }
        let subject = topology::inbound_subject(&vendor, &channel, &handle);
        let ack = self
            .bus
            .jetstream
            .send_publish(subject, publish)
            .await
            .map_err(|error| PublishError(error.to_string()))?
            .await
            .map_err(|error| PublishError(error.to_string()))?;
        Ok(if ack.duplicate { Published::Duplicate } else { Published::Stored })
    }

    /// Stores the bytes of what cannot be understood on `INBOUND`, and then a dead letter whose
    /// origin names that message. The same bytes on the same channel are a duplicate, as with
    /// [`Self::publish`].
    ///
    /// # Errors
    /// Not both stored, or not known to be.
    pub async fn publish_unreadable(&self, body: UnreadableBody) -> Result<(), PublishError> {
        let UnreadableBody { channel, kind, handle, digest, reason, received_at, trace, body } =
            body;
        let id = format!("{}-{digest}", topology::UNREADABLE);
        let publish = PublishMessage::build()
            .message_id(format!("{channel}/{id}"))
            .header(header::SPEC_VERSION, "1.0")
            .header(header::ID, id.as_str())
            .header(header::SOURCE, format!("/channel/{channel}").as_str())
            .header(header::TYPE, topology::inbound_kind(kind, topology::UNREADABLE).as_str())
            .header(header::TIME, received_at.to_string().as_str())
            .header(header::CHANNEL, channel.as_str())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::TRACE, trace.to_string().as_str())
            .payload(body);
        let subject = topology::inbound_subject(kind.name(), &channel, &handle);
        let ack = self
            .bus
            .jetstream
            .send_publish(subject, publish)
            .await
            .map_err(|error| PublishError(error.to_string()))?
            .await
            .map_err(|error| PublishError(error.to_string()))?;
        // The sequence of a duplicate is that of the first one.
        let origin = format!("{}/{}", topology::INBOUND, ack.sequence);
        dead::bury(&self.bus, "ingress", &origin, &reason).await
    }

    /// Stores a dead letter for what cannot be understood and is too large to be stored.
    ///
    /// # Errors
    /// Not stored, or not known to be.
    pub async fn dead_letter(
        &self,
        channel: &ChannelId,
        digest: &str,
        reason: &str,
    ) -> Result<(), PublishError> {
        dead::bury(&self.bus, "ingress", &format!("/channel/{channel}/{digest}"), reason).await
    }
}
