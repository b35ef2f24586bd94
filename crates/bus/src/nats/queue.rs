//! The back office's side of `QUEUES`: how a unit takes the cases that are on offer to it.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use bytes::Bytes;
use futures::StreamExt as _;
use mainstem_domain::{CaseId, QueueId};

use crate::nats::{Bus, PublishError};
use crate::topology;

/// A case that is neither taken off nor given up for this long is offered again.
const ACK_WAIT: Duration = Duration::from_mins(1);

/// The cases on offer on one queue, at least once each. All workers of the queue share it.
///
/// An item says only that there was something to do. Whoever gets it asks routing (`accept-case`),
/// and takes it off when routing has answered.
pub struct CaseQueue {
    messages: Stream,
}

/// A case on offer. Dropped without a word, it is offered again after a minute.
pub struct QueuedCase {
    /// The case.
    pub case: CaseId,
    /// JSON of `mainstem.routing.v1.CaseQueued`.
    pub body: Bytes,
    message: Message,
}

impl CaseQueue {
    /// Opens a queue, as the user `backoffice`.
    ///
    /// # Errors
    /// The broker's.
    pub async fn open(bus: &Bus, queue: &QueueId) -> Result<Self, PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let stream = bus
            .jetstream
            .get_stream_no_info(topology::QUEUES)
            .await
            .map_err(|error| fail(&error))?;
        let config = Config {
            durable_name: Some(format!("queue-{queue}")),
            description: Some(format!("workers of {queue}")),
            filter_subject: topology::queue_items(queue),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            ..Config::default()
        };
        let consumer: Consumer<Config> =
            stream.create_consumer(config).await.map_err(|error| fail(&error))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(16)
            .expires(Duration::from_secs(10))
            .messages()
            .await
            .map_err(|error| fail(&error))?;
        Ok(Self { messages })
    }

    /// The next case; `None` when the connection is closed for good.
    pub async fn next(&mut self) -> Option<QueuedCase> {
        loop {
            let message = match self.messages.next().await? {
                Ok(message) => message,
                Err(error) => {
                    tracing::warn!(%error, "cannot read QUEUES; trying again");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    continue;
                }
            };
            // The broker makes the subject out of routing's, so it names a case.
            let case = message.subject.rsplit('.').next().and_then(|word| word.parse().ok());
            if let Some(case) = case {
                return Some(QueuedCase { case, body: message.payload.clone(), message });
            }
            tracing::error!("an item of QUEUES names no case; it is left there");
        }
    }
}

impl QueuedCase {
    /// Takes the item off the queue; call it when routing has said who has the case.
    ///
    /// # Errors
    /// It is offered again; whoever gets it is told by routing.
    pub async fn done(self) -> Result<(), PublishError> {
        self.message.double_ack().await.map_err(|error| PublishError(error.to_string()))
    }
}
