//! `mainstem.ingest.v1.IngestService`: the same events from other services.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use mainstem_bus::TraceContext;
use mainstem_bus::nats::{InboundMessage, Published};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::{ChannelId, Refusal, RefusalCode};
use mainstem_proto::FieldError;
use mainstem_proto::channel::answer_from;
use mainstem_proto::field::{parse_channel, parse_time};
use mainstem_proto::wire::ingest as wire;
use mainstem_proto::wire::ingest::ingest_service_server::{IngestService, IngestServiceServer};
use mainstem_runtime::Callers;
use mainstem_runtime::grpc::{caller_from_request, request_trace, status_from};
use serde_json::{Map, Value, json};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::events::{self, About, Told, check_consents, message};
use crate::{Ingress, Place};

const ROLES: &[Role] = &[Role::Service];

/// Events in one request.
const EVENTS_AT_MOST: usize = 500;

/// Events in one stream: the answer lists the outcome of each.
const STREAM_AT_MOST: usize = 100_000;

/// How long the events of one request may take to be stored.
const STORE_WITHIN: Duration = Duration::from_secs(10);

/// Events of one channel, as both methods carry them.
struct Asked {
    channel: String,
    events: Vec<wire::Event>,
}

/// The gRPC face of ingress.
#[derive(Clone)]
pub(crate) struct Face {
    ingress: Arc<Ingress>,
    callers: Arc<Callers>,
}

/// The service, for a server.
pub(crate) fn service(ingress: Arc<Ingress>, callers: Arc<Callers>) -> IngestServiceServer<Face> {
    IngestServiceServer::new(Face { ingress, callers })
}

#[tonic::async_trait]
impl IngestService for Face {
    async fn ingest(
        &self,
        request: Request<wire::IngestRequest>,
    ) -> Result<Response<wire::IngestResponse>, Status> {
        let caller = self.caller("Ingest", &request)?;
        let trace = trace(request.metadata());
        let wire::IngestRequest { channel, events } = request.into_inner();
        let outcomes = self.take(&caller, trace, Asked { channel, events }).await?;
        Ok(Response::new(wire::IngestResponse { outcomes }))
    }

    async fn ingest_stream(
        &self,
        request: Request<Streaming<wire::IngestStreamRequest>>,
    ) -> Result<Response<wire::IngestStreamResponse>, Status> {
        let caller = self.caller("IngestStream", &request)?;
        let trace = trace(request.metadata());
        let mut requests = request.into_inner();
        let mut outcomes = Vec::new();
        while let Some(wire::IngestStreamRequest { channel, events }) = requests.message().await? {
            if outcomes.len() + events.len() > STREAM_AT_MOST {
                let what = format!(
                    "a stream holds at most {STREAM_AT_MOST} events; what came before this request is \
                     stored, so go on with it in another stream"
                );
                let refusal = Refusal::new(RefusalCode::ResourceExhausted, "STREAM_TOO_LONG", what);
                return Err(self.refused(&channel, &refusal));
            }
            outcomes.extend(self.take(&caller, trace, Asked { channel, events }).await?);
        }
        Ok(Response::new(wire::IngestStreamResponse { outcomes }))
    }
}

impl Face {
    fn caller<T>(&self, method: &str, request: &Request<T>) -> Result<Caller, Status> {
        caller_from_request(&self.callers, request.metadata(), request.peer_certs())
            .and_then(|caller| caller.admit(method, ROLES).map(|()| caller))
            .map_err(|refusal| self.refused("", &refusal))
    }

    async fn take(
        &self,
        caller: &Caller,
        trace: Option<TraceContext>,
        asked: Asked,
    ) -> Result<Vec<i32>, Status> {
        let messages = self
            .messages(caller, trace, &asked)
            .map_err(|refusal| self.refused(&asked.channel, &refusal))?;
        let stored = self.ingress.publish_all(messages, trace);
        if let Ok(Ok(published)) = tokio::time::timeout(STORE_WITHIN, stored).await {
            return Ok(published.into_iter().map(outcome).collect());
        }
        let what = "not stored, or not known to be; send the same events again";
        let refusal = Refusal::new(RefusalCode::Unavailable, "NOT_STORED", what);
        Err(self.refused(&asked.channel, &refusal))
    }

    /// All events of a request, or the refusal of all of them.
    fn messages(
        &self,
        caller: &Caller,
        trace: Option<TraceContext>,
        asked: &Asked,
    ) -> Result<Vec<InboundMessage>, Refusal> {
        let channel = parse_channel("channel", &asked.channel)?;
        let applied = self.ingress.directory.current().ok_or_else(|| {
            Refusal::new(
                RefusalCode::Unavailable,
                "NOT_CONFIGURED",
                "no configuration is in force; run mainstem apply, then send again",
            )
        })?;
        let place = Place::of(&channel, &applied.configuration)
            .ok_or_else(|| Refusal::not_found("channel", channel.as_str()))?;
        if !caller.reaches(place.channel.store.as_ref(), None, place.channel.brand.as_ref()) {
            return Err(out_of_scope("the channel"));
        }
        if !(1..=EVENTS_AT_MOST).contains(&asked.events.len()) {
            let rule = format!("must be 1 to {EVENTS_AT_MOST}; send more in further requests");
            return Err(Refusal::field("events", rule));
        }
        let now = (self.ingress.now)();
        let mut messages = Vec::with_capacity(asked.events.len());
        for (index, event) in asked.events.iter().enumerate() {
            let path = format!("events[{index}]");
            let told = told(event).map_err(|error| error.within(&path))?;
            let (brand, store) = events::whereabouts(&told, &place);
            if !caller.reaches(store, None, brand) {
                return Err(out_of_scope(&format!("the brand and store of {path}")));
            }
            let message = message(&told, &place, &self.ingress.handles, now, trace)
                .map_err(|what| Refusal::field(&path, what))?;
            let fits = message.body.len() <= self.ingress.limits.body_bytes;
            if !fits || !self.ingress.takes(&message) {
                let rule = "is larger than is taken; send less data with it";
                return Err(Refusal::field(&path, rule));
            }
            messages.push(message);
        }
        Ok(messages)
    }

    /// `channel` as the caller wrote it: the label is one that exists, or `unknown`.
    fn refused(&self, channel: &str, refusal: &Refusal) -> Status {
        let known = parse_channel("channel", channel).ok().filter(|channel| {
            let applied = self.ingress.directory.current();
            applied.is_some_and(|applied| applied.configuration.channels.contains_key(channel))
        });
        let label = known.as_ref().map_or("unknown", ChannelId::as_str);
        self.ingress.metrics.refused(label, reason(refusal));
        tracing::warn!(channel = label, reason = refusal.reason, "call refused");
        status_from(refusal)
    }
}

/// The label of the counter: few, and none that a caller makes up.
fn reason(refusal: &Refusal) -> &'static str {
    match refusal.code {
        RefusalCode::InvalidArgument => "invalid_argument",
        RefusalCode::Unauthenticated => "unauthenticated",
        RefusalCode::PermissionDenied => "permission_denied",
        RefusalCode::NotFound => "unknown_channel",
        RefusalCode::Unavailable if refusal.reason == "NOT_CONFIGURED" => "not_configured",
        RefusalCode::Unavailable => "not_stored",
        RefusalCode::FailedPrecondition
        | RefusalCode::AlreadyExists
        | RefusalCode::ResourceExhausted
        | RefusalCode::Internal => "refused",
    }
}

fn out_of_scope(what: &str) -> Refusal {
    Refusal::new(
        RefusalCode::PermissionDenied,
        "OUT_OF_SCOPE",
        format!("your scope does not hold {what}; ask for its store or brand in the callers file"),
    )
}

fn outcome(published: Published) -> i32 {
    match published {
        Published::Stored => wire::Outcome::Stored.into(),
        Published::Duplicate => wire::Outcome::Duplicate.into(),
    }
}

fn trace(metadata: &MetadataMap) -> Option<TraceContext> {
    request_trace(metadata).and_then(|text| TraceContext::parse(&text))
}

/// What the event says about its person.
fn about(event: &wire::Event) -> Result<About, FieldError> {
    let mut about = About::default();
    for (index, text) in event.identifiers.iter().enumerate() {
        about.identifier(|| format!("identifiers[{index}]"), text)?;
    }
    for (name, value) in &event.attributes {
        about.attribute("attributes", name, value)?;
    }
    check_consents("consents", event.consents.len())?;
    for (index, consent) in event.consents.iter().enumerate() {
        let what = (consent.means.as_str(), consent.purpose.as_str());
        about.consent(&format!("consents[{index}]"), what, answer_from(consent.answer()))?;
    }
    Ok(about)
}

/// The event, with itself as a CloudEvent under `raw`.
fn told(event: &wire::Event) -> Result<Told<'static>, FieldError> {
    let wire::Event { source, id, r#type: kind, time, brand, store, data, .. } = event;
    for (field, text) in [("source", source), ("id", id), ("type", kind)] {
        if !(1..=events::ATTRIBUTE_AT_MOST).contains(&text.len()) {
            let rule = format!("must be 1 to {} bytes", events::ATTRIBUTE_AT_MOST);
            return Err(FieldError::new(field, rule));
        }
    }
    let occurred_at = match time {
        Some(_) => Some(parse_time("time", *time)?),
        None => None,
    };
    let mut whole = match data.as_ref().map(serde_json::to_value) {
        Some(Ok(Value::Object(data))) => data,
        None => Map::new(),
        Some(_) => return Err(FieldError::new("data", "has a number that JSON cannot write")),
    };
    let about = about(event)?;
    whole.insert("identifiers".to_owned(), json!(event.identifiers));
    if !event.attributes.is_empty() {
        whole.insert("attributes".to_owned(), json!(event.attributes));
    }
    if !event.consents.is_empty() {
        let consents = event.consents.iter().map(|one| {
            json!({"means": one.means, "purpose": one.purpose, "answer": answer_from(one.answer())})
        });
        whole.insert("consents".to_owned(), consents.collect());
    }
    for (name, text) in [("brand", brand), ("store", store)] {
        if !text.is_empty() {
            whole.insert(name.to_owned(), json!(text));
        }
    }
    let mut raw = json!({
        "specversion": "1.0", "source": source, "id": id, "type": kind, "data": whole,
    });
    if let Some(at) = occurred_at {
        raw["time"] = json!(at.to_string());
    }
    let raw = serde_json::value::to_raw_value(&raw)
        .map_err(|_| FieldError::new("data", "cannot be written as JSON"))?;
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(Told {
        source: source.clone(),
        id: Some(id.clone()),
        kind: kind.clone(),
        about,
        brand: some(brand),
        store: some(store),
        occurred_at,
        raw: Cow::Owned(raw),
    })
}

#[cfg(test)]
mod tests;
