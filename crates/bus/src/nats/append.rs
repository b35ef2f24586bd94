//! Appends in one ordered window: published without waiting, acknowledged on an own inbox.

use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, HeaderName, HeaderValue, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;

use crate::engine::{Ack, Append, Lost};
use crate::nats::Bus;
use crate::nats::wire::header_map;
use crate::record::Record;

const EXPECT: &str = "Nats-Expected-Last-Sequence";

/// Tells the broker to look for no trace of its own. Without it, a record whose `traceparent` is
/// sampled has all its headers put into a map first, on every publish, for nothing.
const NO_BROKER_TRACE: (&str, &str) = ("Nats-Trace-Dest", "trace disabled");

/// As many appends are handed to the connection at once, which writes them by one call. One by one,
/// it would be woken for each, write each alone, and the broker would read each alone.
const BURST: usize = 32;

/// Sends appends and gives their acknowledgements back in the same order.
pub struct Appender {
    client: async_nats::Client,
    inbox: String,
    acks: Subscriber,
    burst: Vec<OutboundMessage>,
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
        let burst = Vec::with_capacity(BURST);
        Ok(Self { client: bus.client.clone(), inbox, acks, burst, sent: 0, acknowledged: 0 })
    }

    /// Is anything sent that is not acknowledged?
    #[must_use]
    pub fn in_flight(&self) -> bool {
        self.sent > self.acknowledged
    }

    /// Takes an append to send: with others, or at the next [`flush`](Self::flush). Waits only for
    /// room in the connection's buffer.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn send(&mut self, append: Append) -> Result<(), Lost> {
        match append {
            Append::One { expect, record } => self.one(record, expect),
            Append::Batch { expect, records } => self.batch(records, expect),
        }
        if self.burst.len() >= BURST { self.flush().await } else { Ok(()) }
    }

    fn one(&mut self, record: Record, expect: u64) {
        let Record { subject, headers, body } = record;
        let mut headers = header_map(headers);
        headers.insert(EXPECT, HeaderValue::from(expect));
        self.push(subject, headers, body, true);
    }

    fn batch(&mut self, records: Vec<Record>, expect: u64) {
        let id = self.client.new_inbox();
        let id = id.rsplit('.').next().unwrap_or_default().to_owned();
        let last = records.len() - 1;
        for (index, Record { subject, headers, body }) in records.into_iter().enumerate() {
            let mut headers = header_map(headers);
            headers.insert("Nats-Batch-Id", id.as_str());
            headers.insert("Nats-Batch-Sequence", HeaderValue::from(index + 1));
            if index == 0 {
                headers.insert(EXPECT, HeaderValue::from(expect));
            }
            if index == last {
                headers.insert("Nats-Batch-Commit", "1");
            }
            self.push(subject, headers, body, index == last);
        }
    }

    fn push(
        &mut self,
        subject: String,
        mut headers: HeaderMap,
        payload: Bytes,
        acknowledged: bool,
    ) {
        let (name, value) = NO_BROKER_TRACE;
        headers.insert(HeaderName::from_static(name), value);
        let reply = acknowledged.then(|| {
            self.sent += 1;
            format!("{}.{}", self.inbox, self.sent).into()
        });
        let subject = subject.into();
        self.burst.push(OutboundMessage { subject, payload, reply, headers: Some(headers) });
    }

    /// Sends what was taken and is not sent. Call it before waiting for an acknowledgement.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn flush(&mut self) -> Result<(), Lost> {
        for message in self.burst.drain(..) {
            let OutboundMessage { subject, payload, reply, headers } = message;
            let headers = headers.unwrap_or_default();
            let published = match reply {
                Some(reply) => {
                    self.client
                        .publish_with_reply_and_headers(subject, reply, headers, payload)
                        .await
                }
                None => self.client.publish_with_headers(subject, headers, payload).await,
            };
            published.map_err(|error| Lost(format!("cannot publish: {error}")))?;
        }
        Ok(())
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
