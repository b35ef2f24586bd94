use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::StreamExt as _;
use mainstem_domain::notification::Class;
use mainstem_domain::{ChannelId, ItemId};

use crate::nats::{Bus, PublishError, dead};
use crate::record::header;
use crate::topology;
use crate::trace::TraceContext;

/// An item that is neither taken off nor given back for this long is handed out again.
const ACK_WAIT: Duration = Duration::from_mins(1);

/// Of one lane so many items are with senders or given back for later at once. So many pushes can
/// wait for the month to turn before they keep replies from being handed out.
const WITH_SENDERS_AT_MOST: i64 = 100_000;

/// Items to send, as the work queue gives them: at least once each, and those of a channel apart
/// from those of all others, and marketing apart from what people wait for.
///
/// What is taken off stays in the server's files for a while (measured), and overwriting it is slow: the
/// server rewrites a block for each, some 500 in a second. So an item says neither to whom nor what.
pub struct Outbox {
    bus: Bus,
}

/// What a lane takes of the items of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// What people wait for: every class but marketing.
    Prompt,
    /// Marketing, thousands of items at a time.
    Marketing,
}

impl Urgency {
    fn classes(self) -> impl Iterator<Item = Class> {
        let urgency = |class| match class {
            Class::Reply | Class::Service | Class::Transactional => Self::Prompt,
            Class::Marketing => Self::Marketing,
        };
        Class::ALL.into_iter().filter(move |class| urgency(*class) == self)
    }

    /// No channel makes one of these out of the other.
    fn consumer(self, channel: &ChannelId) -> String {
        match self {
            Self::Prompt => format!("sender-{channel}"),
            Self::Marketing => format!("marketing-{channel}"),
        }
    }
}

/// Some of the items of one channel. All senders share them.
pub struct OutboxLane {
    /// The channel.
    pub channel: ChannelId,
    bus: Bus,
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
    /// JSON of `mainstem.notification.v1.Delivery`, without user and messages.
    pub body: Bytes,
    /// 1 the first time.
    pub attempt: u64,
    bus: Bus,
    message: Message,
}

impl Outbox {
    /// The work queue.
    #[must_use]
    pub fn new(bus: &Bus) -> Self {
        Self { bus: bus.clone() }
    }

    /// The items of a channel that are as urgent, of which `ahead` are fetched before they are asked
    /// for.
    ///
    /// # Errors
    /// The broker's.
    pub async fn lane(
        &self,
        channel: &ChannelId,
        urgency: Urgency,
        ahead: usize,
    ) -> Result<OutboxLane, PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let stream = self.stream().await?;
        let config = Config {
            durable_name: Some(urgency.consumer(channel)),
            description: Some("senders; one item is one call to a vendor".to_owned()),
            filter_subjects: urgency
                .classes()
                .map(|class| topology::outbox_filter(channel, class))
                .collect(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: WITH_SENDERS_AT_MOST,
            ..Config::default()
        };
        let consumer: Consumer<Config> =
            stream.create_consumer(config).await.map_err(|error| fail(&error))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(ahead)
            .expires(Duration::from_secs(30))
            .messages()
            .await
            .map_err(|error| fail(&error))?;
        Ok(OutboxLane { channel: channel.clone(), bus: self.bus.clone(), messages })
    }

    /// How many items there are, by channel; of a subject that names none, nothing.
    ///
    /// # Errors
    /// The broker's.
    pub async fn waiting(&self) -> Result<BTreeMap<ChannelId, u64>, PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let stream = self.stream().await?;
        let info = stream.info_with_subjects(topology::OUTBOX_SUBJECTS).await;
        let mut subjects = info.map_err(|error| fail(&error))?;
        let mut waiting = BTreeMap::new();
        while let Some(subject) = subjects.next().await {
            let (subject, count) = subject.map_err(|error| fail(&error))?;
            if let Some(channel) = channel_of(&subject) {
                *waiting.entry(channel).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
            }
        }
        Ok(waiting)
    }

    async fn stream(&self) -> Result<async_nats::jetstream::stream::Stream<()>, PublishError> {
        let stream = self.bus.jetstream.get_stream_no_info(topology::OUTBOX).await;
        stream.map_err(|error| PublishError(error.to_string()))
    }
}

impl OutboxLane {
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
                        message,
                    });
                }
                Err(reason) => {
                    if let Err(error) = reject(&self.bus, &message, &reason).await {
                        tracing::warn!(%error, "a dead letter was not stored; the item comes back");
                    }
                }
            }
        }
    }
}

fn channel_of(subject: &str) -> Option<ChannelId> {
    subject.split('.').nth(1)?.parse().ok()
}

/// Only the id is read here; what the item says is the sender's business.
#[derive(serde::Deserialize)]
struct Named {
    item: String,
}

fn read(message: &Message) -> Result<(ChannelId, ItemId, TraceContext, u64), String> {
    let info = message.info().map_err(|error| error.to_string())?;
    let channel = channel_of(&message.subject).ok_or("the subject names no channel")?;
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

async fn take_off(message: &Message) -> Result<(), PublishError> {
    message.double_ack().await.map_err(|error| PublishError(error.to_string()))
}

async fn reject(bus: &Bus, message: &Message, reason: &str) -> Result<(), PublishError> {
    let origin = message.info().map_or_else(
        |_| topology::OUTBOX.to_owned(),
        |info| format!("{}/{}", info.stream, info.stream_sequence),
    );
    dead::bury(bus, "sender", &origin, reason).await?;
    take_off(message).await
}

impl OutboxItem {
    /// Takes the item off the queue; call it when the outcome is recorded.
    ///
    /// # Errors
    /// It may come back; whoever gets it finds it settled.
    pub async fn done(self) -> Result<(), PublishError> {
        take_off(&self.message).await
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
        reject(&self.bus, &self.message, reason).await
    }
}
