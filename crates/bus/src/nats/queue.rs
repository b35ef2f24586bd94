//! Both sides of `QUEUES`: how a unit takes the cases that are on offer to it, and how routing's
//! queue keeper sees what is there and takes off what is not on offer any more.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::{Message, stream};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{Select, select};
use mainstem_domain::configuration::Priority;
use mainstem_domain::{CaseId, QueueId};

use crate::nats::{Bus, PublishError};
use crate::record::header;
use crate::topology;

/// A case that is neither taken off nor given up for this long is offered again.
const ACK_WAIT: Duration = Duration::from_mins(1);

fn failed(error: impl std::fmt::Display) -> PublishError {
    PublishError(error.to_string())
}

/// The cases on offer on one queue, at least once each, the most urgent ones first. All workers of
/// the queue share it, and the `nats` command line can: there is one durable for each queue and
/// priority, `queue-<queue>-<priority>`.
///
/// An item says only that there was something to do. Whoever gets it asks routing (`accept-case`),
/// and takes it off when routing has answered.
pub struct CaseQueue {
    /// One for each priority, the most urgent first.
    lanes: Vec<Consumer<Config>>,
}

/// How soon a queue that was empty is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

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
        let stream = bus.jetstream.get_stream_no_info(topology::QUEUES).await.map_err(failed)?;
        let mut lanes = Vec::new();
        for priority in Priority::ALL {
            let config = Config {
                durable_name: Some(topology::queue_durable(queue, priority)),
                description: Some(format!("workers of {queue}, {priority}")),
                filter_subject: topology::queue_items(queue, priority),
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                ..Config::default()
            };
            lanes.push(stream.create_consumer(config).await.map_err(failed)?);
        }
        Ok(Self { lanes })
    }

    /// The next case, as soon as there is one.
    pub async fn next(&mut self) -> QueuedCase {
        loop {
            match self.take().await {
                Ok(Some(message)) => {
                    // The broker makes the subject out of routing's, so it names a case.
                    if let Some(case) = case_of(&message.subject) {
                        return QueuedCase { case, body: message.payload.clone(), message };
                    }
                    tracing::error!("an item of QUEUES names no case; it is left there");
                }
                Ok(None) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot read QUEUES; trying again");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    /// Of the lanes that have an item, the most urgent one's. One at a time: what is fetched ahead
    /// would wait here, while something more urgent comes elsewhere.
    async fn take(&self) -> Result<Option<Message>, PublishError> {
        for lane in &self.lanes {
            let mut items = lane.fetch().max_messages(1).messages().await.map_err(failed)?;
            if let Some(item) = items.next().await {
                return item.map(Some).map_err(failed);
            }
        }
        Ok(None)
    }
}

impl QueuedCase {
    /// Takes the item off the queue; call it when routing has said who has the case.
    ///
    /// # Errors
    /// It is offered again; whoever gets it is told by routing.
    pub async fn done(self) -> Result<(), PublishError> {
        self.message.double_ack().await.map_err(failed)
    }
}

/// What lies on `QUEUES`, by subject and without reading it, as the user `routing`.
pub struct OnOffer(stream::Stream<()>);

impl OnOffer {
    /// Opens it.
    ///
    /// # Errors
    /// The broker's.
    pub async fn open(bus: &Bus) -> Result<Self, PublishError> {
        let stream = bus.jetstream.get_stream_no_info(topology::QUEUES).await;
        Ok(Self(stream.map_err(failed)?))
    }

    /// The subject of every item, taken or not, that nobody has acknowledged.
    ///
    /// # Errors
    /// The broker's.
    pub async fn look(&self) -> Result<BTreeSet<String>, PublishError> {
        let mut pages = self.0.info_with_subjects(topology::ALL_ITEMS).await.map_err(failed)?;
        let mut subjects = BTreeSet::new();
        while let Some(subject) = pages.next().await {
            subjects.insert(subject.map_err(failed)?.0);
        }
        Ok(subjects)
    }

    /// Takes off whatever has this subject, and says whether there was anything.
    ///
    /// # Errors
    /// The broker's.
    pub async fn remove(&self, subject: &str) -> Result<bool, PublishError> {
        let purged = self.0.purge().filter(subject).await.map_err(failed)?;
        Ok(purged.purged > 0)
    }
}

/// The case that an item's subject names.
#[must_use]
pub fn case_of(subject: &str) -> Option<CaseId> {
    subject.rsplit('.').next().and_then(|word| word.parse().ok())
}

/// What becomes of cases and queues, from now on, as routing publishes it: soon, at most once each, and
/// perhaps a record that does not count. For whoever looks at everything now and then as well.
pub struct CaseNews(Select<Subscriber, Subscriber>);

impl CaseNews {
    /// Listens, as the user `routing`.
    ///
    /// # Errors
    /// The broker's.
    pub async fn listen(bus: &Bus) -> Result<Self, PublishError> {
        let cases = bus.client.subscribe(topology::ALL_CASES).await.map_err(failed)?;
        let pauses = topology::ledger_subject("routing", topology::PAUSES);
        let pauses = bus.client.subscribe(pauses).await.map_err(failed)?;
        Ok(Self(select(cases, pauses)))
    }

    /// The next record's kind and body; `None` when the connection is closed for good.
    pub async fn next(&mut self) -> Option<(String, Bytes)> {
        let message = self.0.next().await?;
        let headers = message.headers.as_ref();
        let kind = headers.and_then(|headers| headers.get(header::TYPE));
        Some((kind.map(|kind| kind.as_str().to_owned()).unwrap_or_default(), message.payload))
    }
}
