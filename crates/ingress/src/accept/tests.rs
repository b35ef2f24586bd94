use super::*;
use crate::tests::{CHANNELS, DESTINATION, SECRET, configuration};
use mainstem_domain::configuration::Configuration;
use mainstem_line::Channels;
use mainstem_proto::wire::channel as wire;
use proptest::prelude::*;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

const NOW: At = At::from_millis(1_795_219_200_000);

fn accept_in(
    configuration: &Configuration,
    body: &Bytes,
    signature: Option<&str>,
    traceparent: Option<&str>,
) -> Result<Accepted, Refused> {
    let channels = Channels::parse(CHANNELS).unwrap();
    let (id, channel) = channels.iter().next().unwrap();
    let content_type = Some("application/json; charset=utf-8");
    let request = Request { signature, content_type, traceparent, body, received_at: NOW };
    let place = Place::of(id, configuration);
    accept(id, channel, place.as_ref(), &Handles::new("key".into()), request)
}

fn accept_signed(body: &str, secret: &str, traceparent: Option<&str>) -> Result<Accepted, Refused> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let signature = signature::sign(secret, &body);
    accept_in(&configuration("live"), &body, Some(&signature), traceparent)
}

fn webhook(events: &str) -> String {
    format!(r#"{{"destination":"{DESTINATION}","events":[{events}]}}"#)
}

fn accept_events(events: &str) -> Accepted {
    accept_signed(&webhook(events), SECRET, None).unwrap()
}

fn accept_mode(mode: &str, events: &str) -> Accepted {
    let body = Bytes::from(webhook(events));
    let signature = signature::sign(SECRET, &body);
    accept_in(&configuration(mode), &body, Some(&signature), None).unwrap()
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
            extension: String::new(),
        }],
        occur_time: read.occur_time,
        receive_time: read.receive_time,
        reply_token: "r1".to_owned(),
        raw: Some(serde_json::from_str(event).unwrap()),
        mode: 0,
        attributes: Vec::new(),
        consents: Vec::new(),
        message: "1".to_owned(),
    };
    assert_eq!(read, expected);
    let domain = mainstem_proto::channel::decode(read).unwrap().event;
    assert_eq!(domain.occurred_at, message.occurred_at);
    assert_eq!(domain.received_at, At::from_millis(1_795_219_200_000));
}

#[test]
fn what_line_holds_has_a_name_of_its_own_before_it_is_fetched() {
    let media = |kind: &str, id: &str| {
        let event = format!(
            r#"{{"type":"message","message":{{"type":"{kind}","id":"{id}",
                "contentProvider":{{"type":"line"}}}}}}"#
        );
        let accepted = accept_events(&event);
        let read: wire::ChannelEvent = serde_json::from_slice(&accepted.publish[0].body).unwrap();
        let Some(wire::channel_event::Act::Media(media)) = read.act else { panic!("{read:?}") };
        assert_eq!((media.r#type.as_str(), read.message.as_str()), (kind, id));
        media.id
    };
    let ids = ["image", "video", "audio", "file"].map(|kind| media(kind, "1"));
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_ne!(media("image", "2"), ids[0]);
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
        (r#"{"type":"unsend","unsend":{"messageId":"1"}}"#, {
            Act::Unsend(wire::Unsend { message: "1".to_owned() })
        }),
        (
            r#"{"type":"message","message":{"type":"image"}}"#,
            Act::Other("message.image".to_owned()),
        ),
        (
            r#"{"type":"message","message":{"type":"image","id":"1","contentProvider":{
                "type":"external","originalContentUrl":"https://example.com/1.png"}}}"#,
            Act::Other("message.image".to_owned()),
        ),
        (
            r#"{"type":"message","message":{"type":"sticker","id":"1"}}"#,
            Act::Other("message.sticker".to_owned()),
        ),
    ] {
        let accepted = accept_events(event);
        let read: wire::ChannelEvent = serde_json::from_slice(&accepted.publish[0].body).unwrap();
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
    let accepted = accept_events(r#"{"type":"follow"},7,{"type":"a b.c\n"},{"type":"unreadable"}"#);
    assert_eq!(accepted.publish.len(), 3);
    assert_eq!(accepted.publish[2].kind, "mainstem.channel.line.other.v1");
    assert_eq!(accepted.publish[1].kind, "mainstem.channel.line.other.v1");
    let [dead] = &accepted.unreadable[..] else { panic!("{accepted:?}") };
    assert_eq!((&dead.body[..], dead.reason.as_str()), (&b"7"[..], "an event that is no object"));
    assert_eq!((dead.channel.as_str(), dead.kind), ("line-07", ChannelKind::Line));
    assert_eq!(dead.digest, sha256_hex(b"7"));
    assert_eq!(dead.handle, Handles::new("key".into()).of(&dead.digest));
}

#[test]
fn signed_nonsense_is_dead_and_unsigned_nonsense_is_refused() {
    let accepted = accept_signed("{private", SECRET, None).unwrap();
    assert!(accepted.publish.is_empty());
    assert_eq!(accepted.unreadable[0].body, "{private");
    assert!(!accepted.unreadable[0].reason.contains("private"));

    let refused = accept_signed("{private", "another", None).unwrap_err();
    assert_eq!((refused.status, refused.code), (StatusCode::UNAUTHORIZED, "bad_signature"));
}

#[test]
fn the_consoles_check_is_accepted_and_another_accounts_is_not() {
    assert!(accept_events("").publish.is_empty());
    let refused = accept_signed(r#"{"destination":"U2","events":[]}"#, SECRET, None).unwrap_err();
    assert_eq!((refused.status, refused.code), (StatusCode::FORBIDDEN, "wrong_destination"));
}

#[test]
fn what_is_in_no_directory_is_to_be_sent_again() {
    let body = Bytes::from(webhook(r#"{"type":"follow"}"#));
    let signature = signature::sign(SECRET, &body);
    let code = |configuration: &Configuration, signature: &str| {
        let refused = accept_in(configuration, &body, Some(signature), None).unwrap_err();
        (refused.status.as_u16(), refused.code)
    };
    let nowhere = Configuration::default();
    assert_eq!(code(&nowhere, &signature), (503, "not_configured"));
    assert_eq!(code(&nowhere, "bm8="), (401, "bad_signature"));
    let mut shop = configuration("live");
    for channel in shop.channels.values_mut() {
        channel.kind = ChannelKind::Shop;
    }
    assert_eq!(code(&shop, &signature), (503, "not_a_line_account"));
}

#[test]
fn the_directory_says_where_an_event_belongs_and_how_it_is_answered() {
    for (mode, expected) in [
        ("live", wire::ChannelMode::Unspecified),
        ("shadow", wire::ChannelMode::Shadow),
        ("retired", wire::ChannelMode::Retired),
    ] {
        let accepted = accept_mode(mode, r#"{"type":"follow"}"#);
        let message = &accepted.publish[0];
        assert_eq!(message.store.as_ref().unwrap().as_str(), "store-07");
        let read: wire::ChannelEvent = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(read.mode(), expected);
    }
}

#[test]
fn a_shadow_channel_alone_is_relayed_byte_for_byte() {
    let body = Bytes::from(webhook(r#" {"type":"follow"}, 7 "#));
    let signature = signature::sign(SECRET, &body);
    let accepted =
        accept_in(&configuration("shadow"), &body, Some(&signature), Some(TRACE)).unwrap();
    let relay = accepted.relay.unwrap();
    assert_eq!(relay.body, body);
    assert_eq!(relay.headers[0], ("x-line-signature", signature));
    let json = "application/json; charset=utf-8".to_owned();
    assert_eq!(relay.headers[1], ("content-type", json));
    assert_eq!(relay.incumbent.as_deref(), Some("https://old.example/webhook"));
    assert_eq!(relay.trace, TraceContext::parse(TRACE).unwrap());
    // What nobody here understands may be understood there.
    assert_eq!((accepted.publish.len(), accepted.unreadable.len()), (1, 1));
    assert!(accept_mode("shadow", "").relay.is_none(), "nothing happened");
    for mode in ["live", "retired"] {
        assert!(accept_mode(mode, r#"{"type":"follow"}"#).relay.is_none(), "{mode}");
    }
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

fn event() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}".prop_map(|id| format!(
            r#"{{"type":"message","webhookEventId":"{id}","source":{{"type":"user","userId":"U{id}"}},
                "message":{{"type":"text","text":"手錶 {id}"}}}}"#
        )),
        "[a-zA-Z]{1,10}".prop_map(|kind| format!(r#"{{"type":"{kind}"}}"#)),
        Just("7".to_owned()),
        Just(r#"{"x":"\ud83d"}"#.to_owned()),
        Just("[]".to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_body_and_headers_are_accepted_or_refused(
        body in prop::collection::vec(any::<u8>(), 0..200),
        signature in proptest::option::of(".{0,60}"),
        signed in any::<bool>(),
        trace in proptest::option::of(".{0,60}"),
    ) {
        let body = Bytes::from(body);
        let made = signature::sign(SECRET, &body);
        let signature = if signed { Some(made.as_str()) } else { signature.as_deref() };
        let outcome = accept_in(&configuration("shadow"), &body, signature, trace.as_deref());
        match outcome {
            Ok(accepted) => {
                prop_assert!(signed);
                prop_assert_eq!(accepted.relay.unwrap().body, body);
            }
            Err(refused) => prop_assert!(!signed || refused.code == "wrong_destination"),
        }
    }

    #[test]
    fn a_signature_is_of_these_bytes_and_no_others(
        events in prop::collection::vec(event(), 0..3),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let body = webhook(&events.join(","));
        let signature = signature::sign(SECRET, body.as_bytes());
        let mut changed = body.into_bytes();
        let place = place.index(changed.len());
        changed[place] ^= 1 << bit;
        let refused = accept_in(
            &configuration("live"), &Bytes::from(changed), Some(&signature), None,
        ).unwrap_err();
        prop_assert_eq!(refused.code, "bad_signature");
    }

    #[test]
    fn a_batch_is_the_same_as_its_events_one_by_one(
        events in prop::collection::vec(event(), 0..6),
    ) {
        let show = |accepted: &Accepted| {
            let events = accepted.publish.iter().map(|message| format!("{message:?}"));
            let dead = accepted.unreadable.iter().map(|body| format!("{body:?}"));
            events.chain(dead).collect::<Vec<_>>()
        };
        let mut batch = show(&accept_events(&events.join(",")));
        let mut singles: Vec<_> =
            events.iter().flat_map(|event| show(&accept_events(event))).collect();
        batch.sort();
        singles.sort();
        prop_assert_eq!(batch, singles);
    }
}
