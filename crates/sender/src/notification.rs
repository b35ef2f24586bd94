use bytes::Bytes;
use mainstem_bus::TraceContext;
use mainstem_bus::nats::ServiceClient;
use mainstem_domain::notification::{Delivery, Outcome, Standing};
use mainstem_domain::{ItemId, Refusal, RefusalCode};
use mainstem_proto::notification::outcome_to;
use mainstem_proto::wire::notification as wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

const SERVICE: &str = "notification";

/// The service that owns the items.
pub(crate) enum Notification {
    /// Over the bus.
    Service(Box<ServiceClient>),
    /// What a test made up.
    #[cfg(test)]
    Memory(crate::tests::Book),
}

impl Notification {
    /// Says that the item is about to be sent, and learns how it stands: whether it has ended, and
    /// which attempts to reply were begun, this one included.
    pub(crate) async fn begin(
        &self,
        item: ItemId,
        attempt: &str,
        trace: &TraceContext,
    ) -> Result<Standing, Refusal> {
        let request =
            wire::BeginDeliveryRequest { item: item.to_string(), attempt: attempt.to_owned() };
        let answer: wire::BeginDeliveryResponse =
            self.call("begin-delivery", &request, trace).await?;
        let delivery = answer.delivery.ok_or_else(|| unreadable("delivery: must be set"))?;
        let delivery =
            Delivery::try_from(delivery).map_err(|error| unreadable(&error.to_string()))?;
        Ok(delivery.standing)
    }

    /// Records how the item ended. If it had ended before, that stands, and this is no error.
    pub(crate) async fn record(
        &self,
        item: ItemId,
        outcome: &Outcome,
        trace: &TraceContext,
    ) -> Result<(), Refusal> {
        let (state, reason) = outcome_to(outcome);
        let request =
            wire::RecordOutcomeRequest { item: item.to_string(), state: state.into(), reason };
        self.call::<_, wire::RecordOutcomeResponse>("record-outcome", &request, trace).await?;
        Ok(())
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: &str,
        request: &Q,
        trace: &TraceContext,
    ) -> Result<A, Refusal> {
        let body = serde_json::to_vec(request).map_err(|_| unreadable("request"))?;
        let body = Bytes::from(body);
        let answer = match self {
            Self::Service(client) => client.call(SERVICE, method, body, trace).await?,
            #[cfg(test)]
            Self::Memory(book) => book.call(method, &body)?,
        };
        serde_json::from_slice(&answer).map_err(|_| unreadable("answer"))
    }
}

/// Two versions that do not understand each other; perhaps only for as long as a roll-out takes.
fn unreadable(what: &str) -> Refusal {
    Refusal::new(RefusalCode::Internal, "UNREADABLE", format!("notification's words: {what}"))
}
