use bytes::Bytes;
use http::StatusCode;
use mainstem_bus::nats::{Fetch, FetchMessage, InboundMessage, RelayMessage, UnreadableBody};
use mainstem_bus::{TraceContext, sha256_hex, topology};
use mainstem_domain::configuration::{ChannelKind, Mode};
use mainstem_domain::person::Act;
use mainstem_domain::{At, ChannelId};
use mainstem_line::{
    Channel, ChannelFacts, LineEvent, Webhook, WebhookError, media_id, signature, to_channel_event,
};
use serde_json::value::RawValue;

use crate::{Handles, Place, ProfileOf};

/// One POST of LINE, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `x-line-signature`.
    pub signature: Option<&'a str>,
    /// `content-type`; only passed on.
    pub content_type: Option<&'a str>,
    /// `traceparent`: the trace that the events go on with. Each starts its own without.
    pub traceparent: Option<&'a str>,
    /// The raw body.
    pub body: &'a Bytes,
    /// When the body was here.
    pub received_at: At,
}

/// What is to be stored before the request is answered 200.
#[derive(Debug, Default)]
pub struct Accepted {
    /// The events, in the order of the request.
    pub publish: Vec<InboundMessage>,
    /// What was signed and nobody understands.
    pub unreadable: Vec<UnreadableBody>,
    /// What is to be fetched, or fetched no more, before it is gone.
    pub fetch: Vec<FetchMessage>,
    /// Whose profiles could be fetched, if nobody did lately.
    pub profiles: Vec<ProfileOf>,
    /// The delivery itself, for the incumbent of a shadow channel.
    pub relay: Option<RelayMessage>,
    /// The trace that the request came with, if it did.
    pub trace: Option<TraceContext>,
}

/// Nothing is stored, and this is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// For programs; also the label `reason` of the counter.
    pub code: &'static str,
    /// For people.
    pub message: &'static str,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message }
    }

    /// Whoever sends again loses nothing by it.
    pub(crate) fn not_configured() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_configured",
            "the directory in force does not hold this channel; add it and run mainstem apply, then \
             send again",
        )
    }
}

/// Decides what becomes of a request on a channel whose credentials are known. No I/O.
///
/// The signature comes first: what is not signed is not parsed, let alone kept. `place` is the
/// channel in the directory in force; without one nothing is taken, and LINE sends again.
pub fn accept(
    id: &ChannelId,
    channel: &Channel,
    place: Option<&Place<'_>>,
    handles: &Handles,
    request: Request<'_>,
) -> Result<Accepted, Refused> {
    let signature = request.signature.filter(|signature| channel.signed(request.body, signature));
    let Some(signature) = signature else {
        return Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "bad_signature",
            "x-line-signature is missing or was not made with this channel's secret",
        ));
    };
    let place = place.ok_or_else(Refused::not_configured)?;
    if place.channel.kind != ChannelKind::Line {
        return Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_a_line_account",
            "the directory in force says that this channel is no LINE account; mend its kind and run \
             mainstem apply",
        ));
    }
    let trace = request.traceparent.and_then(TraceContext::parse);
    let mut accepted = Accepted { trace, ..Accepted::default() };
    match Webhook::parse(request.body) {
        Ok(webhook) if webhook.destination != channel.destination => {
            return Err(Refused::new(
                StatusCode::FORBIDDEN,
                "wrong_destination",
                "destination is not this channel's own user id",
            ));
        }
        // The console's check of the URL: nothing happened, so nothing is stored or passed on.
        Ok(webhook) if webhook.events.is_empty() => return Ok(accepted),
        Ok(webhook) => {
            let facts = channel.facts(id, place.channel);
            for raw in webhook.events {
                match message(raw, &facts, handles, request) {
                    Ok((event, message)) => {
                        accepted.fetch.extend(fetch(&event, &facts, &message, request.received_at));
                        accepted.profiles.extend(profile(&event, &facts, &message));
                        accepted.publish.push(message);
                    }
                    Err(reason) => {
                        let body = Bytes::copy_from_slice(raw.get().as_bytes());
                        accepted.unreadable.push(unreadable(
                            place,
                            handles,
                            request.received_at,
                            trace,
                            reason,
                            body,
                        ));
                    }
                }
            }
        }
        Err(error) => {
            accepted.unreadable.push(broken(place, handles, request, trace, &error));
        }
    }
    if place.channel.mode == Mode::Shadow {
        accepted.relay = Some(relay(place, request, signature));
    }
    Ok(accepted)
}

fn broken(
    place: &Place<'_>,
    handles: &Handles,
    request: Request<'_>,
    trace: Option<TraceContext>,
    error: &WebhookError,
) -> UnreadableBody {
    let body = request.body.clone();
    unreadable(place, handles, request.received_at, trace, error.to_string(), body)
}

/// `reason` shows no byte of the body.
pub(crate) fn unreadable(
    place: &Place<'_>,
    handles: &Handles,
    received_at: At,
    trace: Option<TraceContext>,
    reason: String,
    body: Bytes,
) -> UnreadableBody {
    let digest = sha256_hex(&body);
    let trace = trace
        .unwrap_or_else(|| TraceContext::root(&format!("{}/{digest}", place.id)))
        .child(&digest);
    UnreadableBody {
        channel: place.id.clone(),
        kind: place.channel.kind,
        handle: handles.of(&digest),
        digest,
        reason,
        received_at,
        trace,
        body,
    }
}

fn relay(place: &Place<'_>, request: Request<'_>, signature: &str) -> RelayMessage {
    let digest = sha256_hex(request.body);
    let content_type = request.content_type.unwrap_or("application/json");
    RelayMessage {
        channel: place.id.clone(),
        headers: vec![
            (signature::HEADER, signature.to_owned()),
            (http::header::CONTENT_TYPE.as_str(), content_type.to_owned()),
        ],
        incumbent: place.channel.incumbent.clone(),
        received_at: request.received_at,
        trace: request
            .traceparent
            .and_then(TraceContext::parse)
            .unwrap_or_else(|| TraceContext::root(&format!("{}/{digest}", place.id))),
        digest,
        body: request.body.clone(),
    }
}

fn message<'a>(
    raw: &'a RawValue,
    facts: &ChannelFacts,
    handles: &Handles,
    request: Request<'_>,
) -> Result<(LineEvent<'a>, InboundMessage), String> {
    let event = LineEvent::parse(raw).map_err(|error| error.to_string())?;
    let body = to_channel_event(&event, facts, request.received_at)
        .map_err(|_| "an event that cannot be written".to_owned())?;
    let source = &event.source;
    let spoke = source.person().or(source.group.as_deref()).or(source.room.as_deref());
    let trace = request
        .traceparent
        .and_then(TraceContext::parse)
        .unwrap_or_else(|| TraceContext::root(&format!("{}/{}", facts.channel, event.id)))
        .child(event.id.as_str());
    let message = InboundMessage {
        kind: kind(&event.kind),
        handle: handles.of(spoke.unwrap_or(event.id.as_str())),
        channel: facts.channel.clone(),
        store: facts.store.clone(),
        brand: facts.brand.clone(),
        occurred_at: event.occurred_at.unwrap_or(request.received_at),
        media: media_of(&event, &facts.channel),
        trace,
        body: body.into(),
        id: event.id.clone(),
    };
    Ok((event, message))
}

/// The name of the content that LINE holds for the event.
fn media_of(event: &LineEvent<'_>, channel: &ChannelId) -> Option<String> {
    let message = event.message.as_ref().filter(|_| matches!(event.act, Act::Media(_)))?;
    Some(media_id(channel, message))
}

/// LINE holds a content for a limited time, and a person can take it back.
fn fetch(
    event: &LineEvent<'_>,
    facts: &ChannelFacts,
    message: &InboundMessage,
    received_at: At,
) -> Option<FetchMessage> {
    let fetch = match (&event.act, &message.media, &event.message) {
        (Act::Media(_), Some(media), Some(message)) => {
            Fetch::Content { message: message.clone(), media: media.clone() }
        }
        (Act::Unsend(message), ..) => Fetch::Unsend { media: media_id(&facts.channel, message) },
        _ => return None,
    };
    let InboundMessage { channel, handle, trace, .. } = message;
    let (channel, handle, trace) = (channel.clone(), handle.clone(), *trace);
    Some(FetchMessage { channel, handle, fetch, received_at, trace })
}

/// Whoever has blocked the account cannot be looked up.
fn profile(
    event: &LineEvent<'_>,
    facts: &ChannelFacts,
    message: &InboundMessage,
) -> Option<ProfileOf> {
    let user = event.source.person().filter(|_| event.act != Act::Unfollow)?;
    Some(ProfileOf {
        channel: message.channel.clone(),
        provider: facts.provider.clone(),
        user: user.to_owned(),
        handle: message.handle.clone(),
        followed: event.act == Act::Follow,
    })
}

/// `ce-type`. LINE's own word stands in it, if it is one: it goes into a header.
fn kind(of: &str) -> String {
    let word = of.len() <= 64 && of.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let name = if word && of != topology::UNREADABLE { of } else { "other" };
    topology::inbound_kind(ChannelKind::Line, name)
}

#[cfg(test)]
mod tests;
