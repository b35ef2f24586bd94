use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::StatusCode;
use mainstem_bus::TraceContext;
use mainstem_bus::nats::InboundMessage;
use mainstem_domain::{At, ChannelId};
use mainstem_line::{Channel, ChannelFacts, LineEvent, Webhook, to_channel_event};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::Handles;

/// One POST of LINE, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `x-line-signature`.
    pub signature: Option<&'a str>,
    /// `traceparent`: the trace that the events go on with. Each starts its own without.
    pub traceparent: Option<&'a str>,
    /// The raw body.
    pub body: &'a Bytes,
    /// When the body was here.
    pub received_at: At,
}

/// What is to be stored before LINE is answered 200.
#[derive(Debug, Default)]
pub struct Accepted {
    /// The events, in LINE's order.
    pub publish: Vec<InboundMessage>,
    /// What LINE signed and nobody understands.
    pub dead: Vec<DeadLetter>,
    /// The trace that the request came with, if it did.
    pub trace: Option<TraceContext>,
}

/// Something signed that is not understood.
#[derive(Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// SHA-256 of `body`, so that the same one is known again.
    pub digest: String,
    /// Why, without a word of it.
    pub reason: String,
    /// The bytes.
    pub body: Bytes,
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

/// Decides what becomes of a request on a channel that exists. No I/O.
///
/// The signature comes first: what is not signed is not parsed, let alone kept.
pub fn accept(
    id: &ChannelId,
    channel: &Channel,
    handles: &Handles,
    request: Request<'_>,
) -> Result<Accepted, Refused> {
    if !request.signature.is_some_and(|signature| channel.signed(request.body, signature)) {
        return Err(Refused {
            status: StatusCode::UNAUTHORIZED,
            code: "bad_signature",
            message: "x-line-signature is missing or was not made with this channel's secret",
        });
    }
    let webhook = match Webhook::parse(request.body) {
        Ok(webhook) => webhook,
        Err(error) => {
            let dead = vec![DeadLetter::new(&error.to_string(), request.body.clone())];
            return Ok(Accepted { publish: Vec::new(), dead, trace: None });
        }
    };
    if webhook.destination != channel.destination {
        return Err(Refused {
            status: StatusCode::FORBIDDEN,
            code: "wrong_destination",
            message: "destination is not this channel's own user id",
        });
    }
    let facts = channel.facts(id);
    let trace = request.traceparent.and_then(TraceContext::parse);
    let mut accepted = Accepted { trace, ..Accepted::default() };
    for raw in webhook.events {
        match message(raw, &facts, handles, request) {
            Ok(message) => accepted.publish.push(message),
            Err(reason) => {
                let body = Bytes::copy_from_slice(raw.get().as_bytes());
                accepted.dead.push(DeadLetter::new(&reason, body));
            }
        }
    }
    Ok(accepted)
}

fn message(
    raw: &RawValue,
    facts: &ChannelFacts,
    handles: &Handles,
    request: Request<'_>,
) -> Result<InboundMessage, String> {
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
    Ok(InboundMessage {
        kind: kind(&event.kind),
        handle: handles.of(spoke.unwrap_or(event.id.as_str())),
        channel: facts.channel.clone(),
        store: facts.store.clone(),
        brand: facts.brand.clone(),
        occurred_at: event.occurred_at.unwrap_or(request.received_at),
        trace,
        body: body.into(),
        id: event.id,
    })
}

/// `ce-type`. LINE's own word stands in it, if it is one: it goes into a header.
fn kind(of: &str) -> String {
    let word = of.len() <= 64 && of.bytes().all(|byte| byte.is_ascii_alphanumeric());
    format!("mainstem.channel.line.{}.v1", if word { of } else { "other" })
}

impl DeadLetter {
    fn new(reason: &str, body: Bytes) -> Self {
        let digest = HEXLOWER.encode(&Sha256::digest(&body));
        Self { digest, reason: reason.to_owned(), body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{CHANNELS, DESTINATION, SECRET};
    use mainstem_line::{Channels, signature};
    use mainstem_proto::wire::channel as wire;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn accept_signed(
        body: &str,
        secret: &str,
        traceparent: Option<&str>,
    ) -> Result<Accepted, Refused> {
        let channels = Channels::parse(CHANNELS).unwrap();
        let (id, channel) = channels.iter().next().unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let signature = signature::sign(secret, &body);
        let received_at = At::from_millis(1_795_219_200_000);
        let request =
            Request { signature: Some(&signature), traceparent, body: &body, received_at };
        accept(id, channel, &Handles::new("key".into()), request)
    }

    fn accept_events(events: &str) -> Accepted {
        let body = format!(r#"{{"destination":"{DESTINATION}","events":[{events}]}}"#);
        accept_signed(&body, SECRET, None).unwrap()
    }

    #[test]
    fn an_event_becomes_a_message_that_reads_back() {
        let event = r#"{"type":"message","timestamp":1795219199000,"mode":"active","replyToken":"r1",
            "webhookEventId":"e1","source":{"type":"user","userId":"U1"},
            "message":{"type":"text","id":"1","text":"手錶壞了 ⌚"}}"#;
        let accepted = accept_events(event);
        let [message] = &accepted.publish[..] else { panic!("{accepted:?}") };
        assert_eq!(message.kind, "mainstem.channel.line.message.v1");
        assert_eq!(message.handle, Handles::new("key".into()).of("U1"));
        assert_eq!(message.occurred_at, At::from_millis(1_795_219_199_000));
        assert_eq!(message.trace, TraceContext::root("line-07/e1").child("e1"));

        let read: wire::ChannelEvent = serde_json::from_slice(&message.body).unwrap();
        let expected = wire::ChannelEvent {
            id: "e1".to_owned(),
            channel: "line-07".to_owned(),
            store: "store-07".to_owned(),
            brand: String::new(),
            act: Some(wire::channel_event::Act::Text("手錶壞了 ⌚".to_owned())),
            identifiers: vec![wire::Sighting {
                identifier: "line:p1:U1".to_owned(),
                verified: true,
            }],
            occur_time: read.occur_time,
            receive_time: read.receive_time,
            reply_token: "r1".to_owned(),
            raw: Some(serde_json::from_str(event).unwrap()),
            mode: 0,
        };
        assert_eq!(read, expected);
        let domain = mainstem_proto::channel::decode(read).unwrap().event;
        assert_eq!(domain.occurred_at, message.occurred_at);
        assert_eq!(domain.received_at, At::from_millis(1_795_219_200_000));
    }

    #[test]
    fn every_act_reads_back() {
        use wire::channel_event::Act;
        for (event, act) in [
            (
                r#"{"type":"postback","postback":{"data":"menu=repair"}}"#,
                Act::Postback("menu=repair".to_owned()),
            ),
            (r#"{"type":"follow"}"#, Act::Follow(wire::Follow {})),
            (r#"{"type":"unfollow"}"#, Act::Unfollow(wire::Unfollow {})),
            (r#"{"type":"beacon","hwid":[null,1.5e300]}"#, Act::Other("beacon".to_owned())),
            (
                r#"{"type":"message","message":{"type":"image"}}"#,
                Act::Other("message.image".to_owned()),
            ),
        ] {
            let accepted = accept_events(event);
            let read: wire::ChannelEvent =
                serde_json::from_slice(&accepted.publish[0].body).unwrap();
            assert_eq!(read.act, Some(act));
            assert!(mainstem_proto::channel::decode(read).is_ok(), "{event}");
        }
    }

    #[test]
    fn what_is_said_in_a_group_is_nobodys() {
        let accepted = accept_events(
            r#"{"type":"message","source":{"type":"group","groupId":"G1","userId":"U1"},
                "message":{"type":"text","text":"hi"}},
               {"type":"accountLink","webhookEventId":"e2"}"#,
        );
        let handles = Handles::new("key".into());
        let [group, lone] = &accepted.publish[..] else { panic!("{accepted:?}") };
        assert_eq!(group.handle, handles.of("G1"));
        let read: wire::ChannelEvent = serde_json::from_slice(&group.body).unwrap();
        assert!(read.identifiers.is_empty());
        assert_eq!(lone.handle, handles.of("e2"));
    }

    #[test]
    fn a_strange_event_is_dead_and_its_neighbours_live() {
        let accepted = accept_events(r#"{"type":"follow"},7,{"type":"a b.c\n"}"#);
        assert_eq!(accepted.publish.len(), 2);
        assert_eq!(accepted.publish[1].kind, "mainstem.channel.line.other.v1");
        assert_eq!(accepted.dead[0].body, "7");
        assert_eq!(accepted.dead[0].reason, "an event that is no object");
        assert_eq!(accepted.dead[0].digest.len(), 64);
    }

    #[test]
    fn signed_nonsense_is_dead_and_unsigned_nonsense_is_refused() {
        let accepted = accept_signed("{private", SECRET, None).unwrap();
        assert!(accepted.publish.is_empty());
        assert_eq!(accepted.dead[0].body, "{private");
        assert!(!accepted.dead[0].reason.contains("private"));

        let refused = accept_signed("{private", "another", None).unwrap_err();
        assert_eq!((refused.status, refused.code), (StatusCode::UNAUTHORIZED, "bad_signature"));
    }

    #[test]
    fn the_consoles_check_is_accepted_and_another_accounts_is_not() {
        assert!(accept_events("").publish.is_empty());
        let refused =
            accept_signed(r#"{"destination":"U2","events":[]}"#, SECRET, None).unwrap_err();
        assert_eq!((refused.status, refused.code), (StatusCode::FORBIDDEN, "wrong_destination"));
    }

    #[test]
    fn a_trace_goes_on() {
        let body = format!(
            r#"{{"destination":"{DESTINATION}","events":[{{"type":"follow","webhookEventId":"e1"}}]}}"#
        );
        let accepted = accept_signed(&body, SECRET, Some(TRACE)).unwrap();
        let trace = TraceContext::parse(TRACE).unwrap();
        assert_eq!(accepted.publish[0].trace, trace.child("e1"));
        let accepted = accept_signed(&body, SECRET, Some("nonsense")).unwrap();
        assert_eq!(accepted.publish[0].trace, TraceContext::root("line-07/e1").child("e1"));
    }
}
