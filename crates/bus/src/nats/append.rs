//! Appends in one ordered window: published without waiting, acknowledged on an own inbox.

use async_nats::{HeaderMap, HeaderValue, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;

use crate::engine::{Ack, Append, Lost};
use crate::nats::Bus;
use crate::nats::wire::header_map;
use crate::record::Record;

const EXPECT: &str = "Nats-Expected-Last-Sequence";

/// Sends appends and gives their acknowledgements back in the same order.
pub struct Appender {
    client: async_nats::Client,
    inbox: String,
    acks: Subscriber,
    sent: u64,
    acknowledged: u64,
}

#[derive(Deserialize)]
struct PublishAck {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Appender {
    /// An appender with an inbox of its own.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn new(bus: &Bus) -> Result<Self, Lost> {
        let inbox = bus.client.new_inbox();
        let acks = bus
            .client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| Lost(format!("no inbox for acknowledgements: {error}")))?;
        Ok(Self { client: bus.client.clone(), inbox, acks, sent: 0, acknowledged: 0 })
    }

    /// Is anything sent that is not acknowledged?
    #[must_use]
    pub fn in_flight(&self) -> bool {
        self.sent > self.acknowledged
    }

    /// Sends an append; waits only for room in the connection's buffer.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn send(&mut self, append: Append) -> Result<(), Lost> {
        match append {
            Append::One { expect, record } => {
                let mut headers = header_map(&record.headers);
                headers.insert(EXPECT, HeaderValue::from(expect));
                self.publish(record, headers, true).await
            }
            Append::Batch { expect, records } => {
                let id = self.client.new_inbox();
                let id = id.rsplit('.').next().unwrap_or_default().to_owned();
                let last = records.len() - 1;
                for (index, record) in records.into_iter().enumerate() {
                    let mut headers = header_map(&record.headers);
                    headers.insert("Nats-Batch-Id", id.as_str());
                    headers.insert("Nats-Batch-Sequence", HeaderValue::from(index + 1));
                    if index == 0 {
                        headers.insert(EXPECT, HeaderValue::from(expect));
                    }
                    if index == last {
                        headers.insert("Nats-Batch-Commit", "1");
                    }
                    self.publish(record, headers, index == last).await?;
                }
                Ok(())
            }
        }
    }

    async fn publish(
        &mut self,
        record: Record,
        headers: HeaderMap,
        acknowledged: bool,
    ) -> Result<(), Lost> {
        let Record { subject, body, .. } = record;
        let published = if acknowledged {
            self.sent += 1;
            let reply = format!("{}.{}", self.inbox, self.sent);
            self.client.publish_with_reply_and_headers(subject, reply, headers, body).await
        } else {
            self.client.publish_with_headers(subject, headers, body).await
        };
        published.map_err(|error| Lost(format!("cannot publish: {error}")))
    }

    /// The acknowledgement of the oldest append in flight. Does not return while nothing is.
    ///
    /// # Errors
    /// An acknowledgement of a later one means that the oldest was lost on the way.
    pub async fn next(&mut self) -> Result<Ack, Lost> {
        let Some(message) = self.acks.next().await else {
            return Err(Lost("the connection is closed".to_owned()));
        };
        self.acknowledged += 1;
        let number = message.subject.rsplit('.').next().and_then(|text| text.parse::<u64>().ok());
        if number != Some(self.acknowledged) {
            return Err(Lost("an append was lost on the way to the broker".to_owned()));
        }
        if message.status.is_some_and(|status| status.as_u16() == 503) {
            return Ok(Ack::Refused("no stream takes it; run mainstem provision".to_owned()));
        }
        Ok(read_ack(&message.payload))
    }
}

fn read_ack(payload: &Bytes) -> Ack {
    match serde_json::from_slice::<PublishAck>(payload) {
        Ok(PublishAck { error: Some(error), .. }) => {
            Ack::Refused(format!("{} ({})", error.description, error.err_code))
        }
        Ok(ack) => Ack::Stored { sequence: ack.seq, duplicate: ack.duplicate },
        Err(_) => Ack::Refused("the broker's answer makes no sense".to_owned()),
    }
}
