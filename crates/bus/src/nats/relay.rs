//! `RELAY`: deliveries of shadow channels, on their way to the system that still answers there.

use std::time::Duration;

use async_nats::HeaderValue;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::StreamExt as _;
use mainstem_domain::{At, ChannelId};

use crate::nats::{Bus, Inbound, PublishError, dead};
use crate::record::header;
use crate::topology;
use crate::trace::TraceContext;

/// An item that is neither taken off nor given back for this long is handed out again.
const ACK_WAIT: Duration = Duration::from_mins(1);

/// How many items of one channel may be given back for later before the next ones wait too.
const GIVEN_BACK_AT_MOST: i64 = 64;

/// How long one request for the next item waits at the server.
const WAIT: Duration = Duration::from_secs(5);

/// One delivery to pass on, as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayMessage {
    /// Where it came in.
    pub channel: ChannelId,
    /// The headers that the incumbent needs, with their names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Where the incumbent was when it came in.
    pub incumbent: Option<String>,
    /// SHA-256 of the body, in hexadecimal.
    pub digest: String,
    /// When it came in.
    pub received_at: At,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// The bytes.
    pub body: Bytes,
}

impl Inbound {
    /// Puts a delivery on the work queue, and waits until it is stored. The same bytes on the same
    /// channel are a duplicate for [`topology::DUPLICATE_WINDOW`]: whoever is told that an event is
    /// not stored sends it again, and the incumbent has it already.
    ///
    /// # Errors
    /// Not stored, or not known to be; the queue may be full.
    pub async fn relay(&self, message: RelayMessage) -> Result<(), PublishError> {
        let RelayMessage { channel, headers, incumbent, digest, received_at, trace, body } =
            message;
        let mut publish = PublishMessage::build()
            .message_id(format!("relay/{channel}/{digest}"))
            .header(header::SPEC_VERSION, "1.0")
            .header(header::ID, digest.as_str())
            .header(header::SOURCE, format!("/channel/{channel}").as_str())
            .header(header::TYPE, "mainstem.relay.v1")
            .header(header::TIME, received_at.to_string().as_str())
            .header(header::CHANNEL, channel.as_str())
            .header(header::TRACE, trace.to_string().as_str())
            .payload(body);
        let incumbent = incumbent.map(|incumbent| (header::INCUMBENT, incumbent));
        for (name, value) in headers.into_iter().chain(incumbent) {
            // The client panics at a line break, and no incumbent's address has one that works.
            if let Ok(value) = value.parse::<HeaderValue>() {
                publish = publish.header(name, value);
            }
        }
        self.bus()
            .jetstream
            .send_publish(topology::relay_subject(&channel), publish)
            .await
            .map_err(|error| PublishError(error.to_string()))?
            .await
            .map_err(|error| PublishError(error.to_string()))?;
        Ok(())
    }
}

/// The work queue, as workers see it.
#[derive(Clone, Debug)]
pub struct Relay {
    bus: Bus,
}

/// What waits for one incumbent. Several workers share it.
pub struct RelayLane {
    bus: Bus,
    consumer: Consumer<Config>,
}

/// One delivery. Dropped without a word, it comes back after a minute.
pub struct RelayItem {
    /// What was put there. `headers` holds the names that [`RelayLane::next`] was asked for.
    pub message: RelayMessage,
    /// 1 the first time.
    pub attempt: u64,
    bus: Bus,
    taken: Message,
}

impl Relay {
    /// Works as the connection's user.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// The channels that something waits for.
    ///
    /// # Errors
    /// The broker's.
    pub async fn waiting(&self) -> Result<Vec<ChannelId>, PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let stream = self
            .bus
            .jetstream
            .get_stream_no_info(topology::RELAY)
            .await
            .map_err(|error| fail(&error))?;
        let mut subjects =
            stream.info_with_subjects("relay.*").await.map_err(|error| fail(&error))?;
        let mut channels = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(|error| fail(&error))?;
            channels.extend(subject.split('.').nth(1).and_then(|text| text.parse().ok()));
        }
        Ok(channels)
    }

    /// Opens what waits for one channel.
    ///
    /// # Errors
    /// The broker's.
    pub async fn lane(&self, channel: &ChannelId) -> Result<RelayLane, PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let stream = self
            .bus
            .jetstream
            .get_stream_no_info(topology::RELAY)
            .await
            .map_err(|error| fail(&error))?;
        let config = Config {
            durable_name: Some(topology::relay_durable(channel)),
            description: Some("relay workers; one item is one webhook to pass on".to_owned()),
            filter_subject: topology::relay_subject(channel),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: GIVEN_BACK_AT_MOST,
            ..Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| fail(&error))?;
        Ok(RelayLane { bus: self.bus.clone(), consumer })
    }
}

impl RelayLane {
    /// The next item with these headers; `None` when none came for a few seconds. One that cannot
    /// be read goes to the dead letters.
    ///
    /// Asks for one at a time: an item that waited here would be handed out a second time.
    ///
    /// # Errors
    /// The broker's.
    pub async fn next(
        &mut self,
        headers: &[&'static str],
    ) -> Result<Option<RelayItem>, PublishError> {
        let fail = |error: &dyn std::fmt::Display| PublishError(error.to_string());
        let mut messages = self
            .consumer
            .batch()
            .max_messages(1)
            .expires(WAIT)
            .messages()
            .await
            .map_err(|error| fail(&error))?;
        let Some(taken) = messages.next().await else { return Ok(None) };
        let taken = taken.map_err(|error| fail(&error))?;
        match read(&taken, headers) {
            Ok((message, attempt)) => {
                Ok(Some(RelayItem { message, attempt, bus: self.bus.clone(), taken }))
            }
            Err(reason) => {
                reject(&self.bus, &taken, &reason).await?;
                Ok(None)
            }
        }
    }
}

fn read(taken: &Message, wanted: &[&'static str]) -> Result<(RelayMessage, u64), String> {
    let info = taken.info().map_err(|error| error.to_string())?;
    let text = |name: &str| {
        taken.headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string)
    };
    let channel: ChannelId = taken
        .subject
        .split('.')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .ok_or("the subject names no channel")?;
    let digest = text(header::ID).ok_or("ce-id is missing")?;
    let received_at =
        text(header::TIME).and_then(|text| At::parse(&text)).ok_or("ce-time is missing")?;
    let trace = text(header::TRACE)
        .and_then(|text| TraceContext::parse(&text))
        .unwrap_or_else(|| TraceContext::root(&digest));
    let headers = wanted.iter().filter_map(|name| Some((*name, text(name)?))).collect();
    let message = RelayMessage {
        channel,
        headers,
        incumbent: text(header::INCUMBENT),
        digest,
        received_at,
        trace,
        body: taken.payload.clone(),
    };
    Ok((message, u64::try_from(info.delivered).unwrap_or(1)))
}

async fn reject(bus: &Bus, taken: &Message, reason: &str) -> Result<(), PublishError> {
    let origin = taken.info().map_or_else(
        |_| topology::RELAY.to_owned(),
        |info| format!("{}/{}", info.stream, info.stream_sequence),
    );
    dead::bury(bus, "ingress", &origin, reason).await?;
    taken.double_ack().await.map_err(|error| PublishError(error.to_string()))
}

impl RelayItem {
    /// Takes the item off the queue; call it when the incumbent has it.
    ///
    /// # Errors
    /// It may come back, and the incumbent gets it twice.
    pub async fn done(self) -> Result<(), PublishError> {
        self.taken.double_ack().await.map_err(|error| PublishError(error.to_string()))
    }

    /// Gives the item back for later.
    ///
    /// # Errors
    /// It comes back after a minute anyway.
    pub async fn retry_after(self, delay: Duration) -> Result<(), PublishError> {
        self.taken
            .ack_with(AckKind::Nak(Some(delay)))
            .await
            .map_err(|error| PublishError(error.to_string()))
    }

    /// Takes an item off that the incumbent will not get, leaving a dead letter.
    ///
    /// # Errors
    /// It comes back.
    pub async fn reject(self, reason: &str) -> Result<(), PublishError> {
        reject(&self.bus, &self.taken, reason).await
    }
}
