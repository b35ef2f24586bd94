use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use mainstem_bus::nats::{
    FetchMessage, Inbound, InboundMessage, PublishError, Published, RelayMessage, UnreadableBody,
};
use mainstem_bus::{TraceContext, sha256_hex};
use mainstem_domain::ChannelId;
use mainstem_runtime::telemetry::{finish_span, start_span};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use crate::Ingress;
use crate::accept::Accepted;

/// Where what was accepted goes.
pub(crate) enum Intake {
    /// The broker.
    Bus(Box<Inbound>),
    /// A list that a test reads, or, when there is none, a broker that never answers.
    #[cfg(test)]
    Memory(Option<std::sync::Mutex<Vec<String>>>),
}

/// Why an event is not stored that the broker will never take.
const TOO_LARGE: &str = "larger than the broker takes; raise max_payload of nats-server to 4MB";

impl Intake {
    async fn publish(&self, message: InboundMessage) -> Result<Published, PublishError> {
        match self {
            Self::Bus(inbound) => inbound.publish(message).await,
            #[cfg(test)]
            Self::Memory(None) => std::future::pending().await,
            #[cfg(test)]
            Self::Memory(Some(list)) => {
                let mut list = list.lock().unwrap();
                let id = message.id.to_string();
                if list.contains(&id) {
                    return Ok(Published::Duplicate);
                }
                list.push(id);
                Ok(Published::Stored)
            }
        }
    }

    async fn publish_unreadable(&self, body: UnreadableBody) -> Result<(), PublishError> {
        match self {
            Self::Bus(inbound) if inbound.fits(body.body.len()) => {
                inbound.publish_unreadable(body).await
            }
            Self::Bus(_) => {
                let reason = format!("{}; not stored: {TOO_LARGE}", body.reason);
                self.dead_letter(&body.channel, &body.digest, &reason).await
            }
            #[cfg(test)]
            Self::Memory(None) => std::future::pending().await,
            #[cfg(test)]
            Self::Memory(Some(list)) => {
                list.lock().unwrap().push(format!("dead: {}", body.reason));
                Ok(())
            }
        }
    }

    /// Of what is not stored there is only the digest.
    async fn dead_letter(
        &self,
        channel: &ChannelId,
        digest: &str,
        reason: &str,
    ) -> Result<(), PublishError> {
        match self {
            Self::Bus(inbound) => inbound.dead_letter(channel, digest, reason).await,
            #[cfg(test)]
            Self::Memory(_) => Ok(()),
        }
    }

    async fn fetch(&self, message: FetchMessage) -> Result<(), PublishError> {
        match self {
            Self::Bus(inbound) => inbound.fetch(message).await,
            #[cfg(test)]
            Self::Memory(None) => std::future::pending().await,
            #[cfg(test)]
            Self::Memory(Some(list)) => {
                list.lock().unwrap().push(format!("fetch: {:?}", message.fetch));
                Ok(())
            }
        }
    }

    async fn relay(&self, message: RelayMessage) -> Result<(), PublishError> {
        match self {
            Self::Bus(inbound) => inbound.relay(message).await,
            #[cfg(test)]
            Self::Memory(None) => std::future::pending().await,
            #[cfg(test)]
            Self::Memory(Some(list)) => {
                let mut list = list.lock().unwrap();
                if list.contains(&"full".to_owned()) {
                    return Err(PublishError("maximum messages exceeded".to_owned()));
                }
                list.push(format!("relay: {}", message.channel));
                Ok(())
            }
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        match self {
            Self::Bus(inbound) => inbound.fits(bytes),
            #[cfg(test)]
            Self::Memory(_) => true,
        }
    }
}

/// What became of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// One for each event, in their order.
    pub(crate) events: Vec<Published>,
    /// How many could not be understood.
    pub(crate) dead_lettered: usize,
}

impl Ingress {
    /// Returns when all of it is stored.
    pub(crate) async fn store(
        &self,
        channel: &ChannelId,
        accepted: Accepted,
        within: Duration,
    ) -> Result<Stored, PublishError> {
        let Accepted { publish, unreadable, fetch, profiles, relay, trace } = accepted;
        let (publish, oversize): (Vec<_>, Vec<_>) =
            publish.into_iter().partition(|message| self.takes(message));
        let relay = async {
            if let Some(message) = relay {
                self.relay(message, within / 2).await;
            }
        };
        let events = async {
            let events = self.publish_all(publish, trace).await?;
            for message in fetch {
                self.intake.fetch(message).await?;
            }
            let dead_lettered = unreadable.len() + oversize.len();
            for message in oversize {
                self.bury(&message).await?;
            }
            for body in unreadable {
                tracing::warn!(
                    %channel,
                    reason = body.reason,
                    digest = body.digest,
                    "dead-lettered"
                );
                self.intake.publish_unreadable(body).await?;
                self.metrics.event(channel.as_str(), "dead_lettered");
            }
            Ok::<_, PublishError>(Stored { events, dead_lettered })
        };
        let stored = async {
            let (stored, ()) = futures::join!(events, relay);
            stored
        };
        let late = || PublishError(format!("no answer within {} ms", within.as_millis()));
        let stored = tokio::time::timeout(within, stored).await.map_err(|_| late())??;
        for wanted in profiles {
            self.profiles.want(wanted, (self.now)());
        }
        Ok(stored)
    }

    /// Events go out in their order, several at a time.
    pub(crate) async fn publish_all(
        &self,
        messages: Vec<InboundMessage>,
        parent: Option<TraceContext>,
    ) -> Result<Vec<Published>, PublishError> {
        let publish = messages.into_iter().map(|message| async {
            let channel = message.channel.clone();
            let (start, trace) = (start_span(), message.trace);
            let published = self.intake.publish(message).await?;
            let outcome = match published {
                Published::Stored => "stored",
                Published::Duplicate => "duplicate",
            };
            let attributes = vec![
                KeyValue::new("messaging.system", "nats"),
                KeyValue::new("messaging.destination.name", "INBOUND"),
            ];
            finish_span("send INBOUND", SpanKind::Producer, trace, parent, start, attributes);
            self.metrics.event(channel.as_str(), outcome);
            Ok::<_, PublishError>(published)
        });
        stream::iter(publish).buffered(self.limits.in_flight).try_collect().await
    }

    /// Whether the broker takes an event of that size at all.
    pub(crate) fn takes(&self, message: &InboundMessage) -> bool {
        self.intake.fits(message.body.len())
    }

    /// An event that the broker will never take must not have its sender try for ever.
    async fn bury(&self, message: &InboundMessage) -> Result<(), PublishError> {
        let channel = &message.channel;
        let digest = sha256_hex(&message.body);
        tracing::error!(%channel, digest, "an event is {TOO_LARGE}");
        self.intake.dead_letter(channel, &digest, &format!("an event {TOO_LARGE}")).await?;
        self.metrics.event(channel.as_str(), "dead_lettered");
        Ok(())
    }

    /// The incumbent's copy refuses nothing: what counts is that the event is stored here.
    async fn relay(&self, message: RelayMessage, within: Duration) {
        let channel = message.channel.clone();
        let outcome = match tokio::time::timeout(within, self.intake.relay(message)).await {
            Ok(Ok(())) => "queued",
            Ok(Err(error)) => {
                tracing::error!(%channel, %error, "RELAY refuses; the incumbent will miss a webhook");
                "refused"
            }
            Err(_) => {
                tracing::error!(%channel, "RELAY does not answer; the incumbent may miss a webhook");
                "unanswered"
            }
        };
        self.metrics.relay(channel.as_str(), outcome);
    }
}
