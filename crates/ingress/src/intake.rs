use futures::{StreamExt as _, TryStreamExt as _, stream};
use mainstem_bus::nats::{Inbound, InboundMessage, PublishError, Published};
use mainstem_domain::ChannelId;
use mainstem_runtime::telemetry::{finish_span, start_span};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use crate::Ingress;
use crate::accept::{Accepted, DeadLetter};

/// Where what was accepted goes.
pub(crate) enum Intake {
    /// The broker.
    Bus(Box<Inbound>),
    /// A list that a test reads, or, when there is none, a broker that never answers.
    #[cfg(test)]
    Memory(Option<std::sync::Mutex<Vec<String>>>),
}

impl Intake {
    async fn publish(&self, message: InboundMessage) -> Result<Published, PublishError> {
        match self {
            Self::Bus(inbound) => inbound.publish(message).await,
            #[cfg(test)]
            Self::Memory(None) => std::future::pending().await,
            #[cfg(test)]
            Self::Memory(Some(list)) => {
                list.lock().unwrap().push(message.id.to_string());
                Ok(Published::Stored)
            }
        }
    }

    async fn dead_letter(&self, channel: &ChannelId, dead: DeadLetter) -> Result<(), PublishError> {
        match self {
            Self::Bus(inbound) => inbound.dead_letter(channel, &dead.digest, &dead.reason).await,
            #[cfg(test)]
            Self::Memory(None) => std::future::pending().await,
            #[cfg(test)]
            Self::Memory(Some(list)) => {
                list.lock().unwrap().push(format!("dead: {}", dead.reason));
                Ok(())
            }
        }
    }
}

impl Ingress {
    /// Returns when all of it is stored. Events go out in their order, several at a time.
    pub(crate) async fn store(
        &self,
        channel: &ChannelId,
        accepted: Accepted,
    ) -> Result<(), PublishError> {
        let parent = accepted.trace;
        let publish = accepted.publish.into_iter().map(|message| async {
            let (start, trace) = (start_span(), message.trace);
            let outcome = match self.intake.publish(message).await? {
                Published::Stored => "stored",
                Published::Duplicate => "duplicate",
            };
            let attributes = vec![
                KeyValue::new("messaging.system", "nats"),
                KeyValue::new("messaging.destination.name", "INBOUND"),
            ];
            finish_span("send INBOUND", SpanKind::Producer, trace, parent, start, attributes);
            self.metrics.event(channel.as_str(), outcome);
            Ok(())
        });
        stream::iter(publish).buffered(self.limits.in_flight).try_collect::<()>().await?;

        for dead in accepted.dead {
            tracing::warn!(%channel, reason = dead.reason, digest = dead.digest, "dead-lettered");
            self.intake.dead_letter(channel, dead).await?;
            self.metrics.event(channel.as_str(), "dead_lettered");
        }
        Ok(())
    }
}
