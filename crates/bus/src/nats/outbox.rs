use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::StreamExt as _;
use mainstem_domain::{ChannelId, ItemId};

use crate::nats::overwrite::Overwriter;
use crate::nats::{Bus, PublishError, dead};
use crate::record::header;
use crate::topology;
use crate::trace::TraceContext;

/// The durable consumer that all senders share.
const DURABLE: &str = "sender";

/// An item that is neither taken off nor given back for this long is handed out again.
const ACK_WAIT: Duration = Duration::from_mins(1);

/// Items to send, as the work queue gives them: at least once each.
///
/// An item that is taken off is overwritten: a work queue by itself leaves its text in the server's
/// files (measured), also of a customer who is erased meanwhile.
pub struct Outbox {
    bus: Bus,
    overwriter: Overwriter,
    messages: Stream,
}

/// One item. Dropped without a word, it comes back after a minute.
pub struct OutboxItem {
    /// The channel it goes out on.
    pub channel: ChannelId,
    /// The item.
    pub item: ItemId,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// JSON of `mainstem.notification.v1.Delivery`.
    pub body: Bytes,
    /// 1 the first time.
    pub attempt: u64,
    bus: Bus,
    overwriter: Overwriter,
    message: Message,
}

impl Outbox {
    /// Opens the work queue; several senders share it.
    ///
    /// # Errors
    /// The broker's.
    pub async fn open(bus: &Bus) -> Result<Self, PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let stream = bus
            .jetstream
            .get_stream_no_info(topology::OUTBOX)
            .await
            .map_err(|error| fail(&error))?;
        let config = Config {
            durable_name: Some(DURABLE.to_owned()),
            description: Some("senders; one item is one call to a vendor".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: 1_000,
            ..Config::default()
        };
        let consumer: Consumer<Config> =
            stream.create_consumer(config).await.map_err(|error| fail(&error))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(8)
            .expires(Duration::from_secs(10))
            .messages()
            .await
            .map_err(|error| fail(&error))?;
        let overwriter = Overwriter::open(bus, topology::OUTBOX).await;
        let overwriter = overwriter.map_err(|error| fail(&error))?;
        Ok(Self { bus: bus.clone(), overwriter, messages })
    }

    /// The next item; `None` when the connection is closed for good. An item that cannot be read
    /// goes to the dead letters.
    pub async fn next(&mut self) -> Option<OutboxItem> {
        loop {
            let message = match self.messages.next().await? {
                Ok(message) => message,
                Err(error) => {
                    tracing::warn!(%error, "cannot read OUTBOX; trying again");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    continue;
                }
            };
            match read(&message) {
                Ok((channel, item, trace, attempt)) => {
                    return Some(OutboxItem {
                        channel,
                        item,
                        trace,
                        body: message.payload.clone(),
                        attempt,
                        bus: self.bus.clone(),
                        overwriter: self.overwriter.clone(),
                        message,
                    });
                }
                Err(reason) => {
                    if let Err(error) = reject(&self.bus, &self.overwriter, &message, &reason).await
                    {
                        tracing::warn!(%error, "a dead letter was not stored; the item comes back");
                    }
                }
            }
        }
    }
}

/// Only the id is read here; what the item says is the sender's business.
#[derive(serde::Deserialize)]
struct Named {
    item: String,
}

fn read(message: &Message) -> Result<(ChannelId, ItemId, TraceContext, u64), String> {
    let info = message.info().map_err(|error| error.to_string())?;
    let channel: ChannelId = message
        .subject
        .split('.')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .ok_or("the subject names no channel")?;
    let named: Named =
        serde_json::from_slice(&message.payload).map_err(|_| "the body is no item".to_owned())?;
    let item: ItemId = named.item.parse().map_err(|_| "the body names no item".to_owned())?;
    let trace = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get(header::TRACE))
        .and_then(|value| TraceContext::parse(value.as_str()))
        .unwrap_or_else(|| TraceContext::root(item.as_str()));
    Ok((channel, item, trace, u64::try_from(info.delivered).unwrap_or(1)))
}

/// Overwrites the item first: once it is acknowledged, nobody knows where it lay.
async fn take_off(overwriter: &Overwriter, message: &Message) -> Result<(), PublishError> {
    let sequence = message.info().map_err(|error| PublishError(error.to_string()))?.stream_sequence;
    overwriter.remove(sequence).await.map_err(|error| PublishError(error.to_string()))?;
    message.double_ack().await.map_err(|error| PublishError(error.to_string()))
}

async fn reject(
    bus: &Bus,
    overwriter: &Overwriter,
    message: &Message,
    reason: &str,
) -> Result<(), PublishError> {
    let origin = message.info().map_or_else(
        |_| topology::OUTBOX.to_owned(),
        |info| format!("{}/{}", info.stream, info.stream_sequence),
    );
    dead::bury(bus, "sender", &origin, reason).await?;
    take_off(overwriter, message).await
}

impl OutboxItem {
    /// Takes the item off the queue; call it when the outcome is recorded.
    ///
    /// # Errors
    /// It may come back; whoever gets it finds it settled.
    pub async fn done(self) -> Result<(), PublishError> {
        take_off(&self.overwriter, &self.message).await
    }

    /// Gives the item back for later.
    ///
    /// # Errors
    /// It comes back after a minute anyway.
    pub async fn retry_after(self, delay: Duration) -> Result<(), PublishError> {
        self.message
            .ack_with(AckKind::Nak(Some(delay)))
            .await
            .map_err(|error| PublishError(error.to_string()))
    }

    /// Takes an item off that nobody can ever send, leaving a dead letter.
    ///
    /// # Errors
    /// It comes back.
    pub async fn reject(self, reason: &str) -> Result<(), PublishError> {
        reject(&self.bus, &self.overwriter, &self.message, reason).await
    }
}
