use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue};
use mainstem_domain::configuration::ChannelKind;
use mainstem_domain::identifier::Normal;
use mainstem_line::Channels;
use mainstem_proto::wire::channel as wire;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::tests::{CHANNELS, configuration};

const NOW: At = At::from_millis(1_795_219_200_000);
const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The headers of Standard Webhooks for these bytes, by the secret of `shop-1`.
pub(crate) fn signed(body: &[u8], at: At) -> HeaderMap {
    let seconds = (at.as_millis() / 1_000).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(KEY).unwrap()).unwrap();
    for part in [b"m1", &b"."[..], seconds.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("webhook-id", "m1"), ("webhook-timestamp", &seconds), ("webhook-signature", &signature)]
    {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn sources() -> Sources {
    Sources::load(&Channels::parse(CHANNELS).unwrap(), |path| std::fs::read_to_string(path))
        .unwrap()
}

fn take(more: &[(&'static str, &str)], body: &str) -> Result<Accepted, Refused> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let mut headers = signed(&body, NOW);
    for (name, value) in more {
        headers.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    take_with(&headers, &body)
}

fn take_with(headers: &HeaderMap, body: &Bytes) -> Result<Accepted, Refused> {
    let configuration = configuration("live");
    let id = "shop-1".parse().unwrap();
    let place = Place::of(&id, &configuration);
    let sources = sources();
    let request = EventsRequest { headers, body, received_at: NOW };
    let handles = Handles::new("key".into());
    accept_events(sources.get(&id).unwrap(), place.as_ref(), &handles, request)
}

fn structured(event: &Value) -> Accepted {
    let json = ("content-type", "application/cloudevents+json; charset=utf-8");
    take(&[json], &event.to_string()).unwrap()
}

fn body_of(accepted: &Accepted) -> wire::ChannelEvent {
    let [message] = &accepted.publish[..] else { panic!("{accepted:?}") };
    let read: wire::ChannelEvent = serde_json::from_slice(&message.body).unwrap();
    assert!(mainstem_proto::channel::decode(read.clone()).is_ok());
    read
}

fn order() -> Value {
    json!({
        "specversion": "1.0", "source": "/shops/1", "id": "o-1", "type": "mainstem.order-placed",
        "time": "2026-11-21T17:00:00+08:00",
        "data": {
            "identifiers": ["member:M1", "phone:+886912345678", "fax:1", "member:M1", 7],
            "store": "store-07", "amount": 1200.5,
        },
    })
}

#[test]
fn a_structured_event_becomes_a_message_that_reads_back() {
    let accepted = structured(&order());
    let message = &accepted.publish[0];
    assert_eq!(message.kind, "mainstem.channel.shop.order-placed.v1");
    assert_eq!(message.handle, Handles::new("key".into()).of("member:M1"));
    assert_eq!(message.occurred_at, At::parse("2026-11-21T09:00:00Z").unwrap());
    assert_eq!(message.brand.as_ref().unwrap().as_str(), "aurora", "the channel's");
    assert_eq!(message.store.as_ref().unwrap().as_str(), "store-07", "the event's");

    let read = body_of(&accepted);
    let act = wire::channel_event::Act::Business(wire::BusinessAct::OrderPlaced.into());
    assert_eq!(read.act, Some(act));
    let sighting = |identifier: &str, verified| wire::Sighting {
        identifier: identifier.to_owned(),
        verified,
        extension: String::new(),
    };
    let expected = [sighting("member:M1", true), sighting("phone:+886912345678", false)];
    assert_eq!(read.identifiers, expected, "the directory says what the shop owns");
    assert_eq!(read.raw, Some(serde_json::from_value(order()).unwrap()));
    assert_eq!(read.reply_token, "");
}

#[test]
fn the_same_source_and_id_are_the_same_event_whatever_else_differs() {
    let id = |source: &str, id: &str, kind: &str| {
        let event = json!({"specversion": "1.0", "source": source, "id": id, "type": kind});
        structured(&event).publish[0].id.clone()
    };
    assert_eq!(id("a", "1", "x"), id("a", "1", "order-paid"));
    assert_ne!(id("a", "1", "x"), id("a", "2", "x"));
    assert_ne!(id("ab", "c", "x"), id("a", "bc", "x"));
    assert_ne!(id("a 1", "b", "x"), id("a", "1b", "x"));
}

#[test]
fn a_binary_event_is_the_same_as_a_structured_one() {
    let event = order();
    let text = |name: &str| event[name].as_str().unwrap();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-source", text("source")),
        ("ce-id", text("id")),
        ("ce-type", text("type")),
        ("ce-time", text("time")),
        ("content-type", "application/json"),
    ];
    let binary = take(&headers, &event["data"].to_string()).unwrap();
    assert_eq!(body_of(&binary), body_of(&structured(&event)));

    let spaced = r#"{ "identifiers" : [ "member:M1" ], "n": 1.50 }"#;
    let binary = take(&headers, spaced).unwrap();
    let body = String::from_utf8(binary.publish[0].body.to_vec()).unwrap();
    assert!(body.contains(&format!(r#""data":{spaced}"#)), "{body}");

    let mut other = headers;
    other[5].1 = "text/plain";
    let read = body_of(&take(&other, "hello").unwrap());
    let raw = serde_json::to_value(read.raw.unwrap()).unwrap();
    assert_eq!((&raw["data_base64"], &raw["data"]), (&json!("aGVsbG8="), &Value::Null));
    assert!(read.identifiers.is_empty());
}

/// The order with this data.
fn with_data(data: Value) -> Value {
    let mut event = order();
    event["data"] = data;
    event
}

#[test]
fn identifiers_are_normalised_and_what_is_none_ties_nobody() {
    let event = with_data(json!({"identifiers": [
        "phone:(02)2345-6789 分機 12", "email:Lin@例え.jp", "phone:+886223456789", "phone:110",
        "phone:0800-000-123", "email:lin@", "fax:1", "member: M-1 ", "external:pos: 7",
    ]}));
    let accepted = structured(&event);
    let read = body_of(&accepted);
    let sighting = |identifier: &str, verified, extension: &str| wire::Sighting {
        identifier: identifier.to_owned(),
        verified,
        extension: extension.to_owned(),
    };
    let expected = [
        sighting("phone:+886223456789", false, "12"),
        sighting("email:lin@xn--r8jz45g.jp", false, ""),
        sighting("member:M-1", true, ""),
        sighting("external:pos:7", true, ""),
    ];
    assert_eq!(read.identifiers, expected);
    assert_eq!(read.raw, Some(serde_json::from_value(event).unwrap()), "as the source wrote it");
    let handle = Handles::new("key".into()).of("phone:+886223456789");
    assert_eq!(accepted.publish[0].handle, handle);
    let many: Vec<_> = (0..40).map(|number| format!("cookie:{number}")).collect();
    let read = body_of(&structured(&with_data(json!({"identifiers": many}))));
    assert_eq!(read.identifiers.len(), 32);
}

#[test]
fn attributes_and_consents_are_told_and_verified_by_who_owns_them() {
    let read = body_of(&structured(&with_data(json!({
        "attributes": {"name": "林小姐", "city": "Taipei", "points": 12, "vip": true, "language": " ",
            "birth-date": null},
        "consents": [
            {"means": "email", "purpose": "marketing", "answer": "refused"},
            {"means": "sms", "purpose": "marketing", "answer": "granted"},
            {"means": "email", "purpose": "marketing", "answer": "granted"},
        ],
    }))));
    let attributes: Vec<_> = read
        .attributes
        .iter()
        .map(|one| (one.name.as_str(), one.value.as_str(), one.verified))
        .collect();
    let expected = [
        ("city", "Taipei", true),
        ("name", "林小姐", false),
        ("points", "12", false),
        ("vip", "true", false),
    ];
    assert_eq!(attributes, expected);
    let consents: Vec<_> = read
        .consents
        .iter()
        .map(|one| (one.means.as_str(), one.purpose.as_str(), one.answer()))
        .collect();
    let (granted, refused) = (wire::ConsentAnswer::Granted, wire::ConsentAnswer::Refused);
    assert_eq!(consents, [("email", "marketing", refused), ("sms", "marketing", granted)]);
    let decoded = mainstem_proto::channel::decode(read).unwrap().event;
    assert_eq!((decoded.attributes.len(), decoded.consents.len()), (4, 2));
    let read = body_of(&structured(&with_data(json!({"attributes": null, "consents": null}))));
    assert!(read.attributes.is_empty() && read.consents.is_empty());
}

#[test]
fn what_a_source_gets_wrong_is_dead_names_the_field_and_harms_no_neighbour() {
    let names = |count: usize| -> Value {
        (0..count).map(|number| (format!("n{number}"), json!("x"))).collect()
    };
    let consent = |means: &str, purpose: &str, answer: &str| {
        json!({"consents": [
            {"means": "sms", "purpose": "news", "answer": "granted"},
            {"means": means, "purpose": purpose, "answer": answer},
        ]})
    };
    let one = json!({"means": "sms", "purpose": "news", "answer": "granted"});
    let long = "private".repeat(40);
    let cases = [
        (
            json!({"identifiers": ["member:1", format!("member:{long}")]}),
            "data.identifiers[1]: is longer than 256 bytes",
        ),
        (
            json!({"identifiers": ["member:private\u{0}"]}),
            "data.identifiers[0]: has a control character, or a blank at its start or end",
        ),
        (
            json!({"identifiers": [7, " "]}),
            "data.identifiers[1]: has an empty part; write kind:value,",
        ),
        (json!({"identifiers": ["phone:"]}), "data.identifiers[0]: has an empty part; write kind:"),
        (
            json!({"attributes": {"city": long}}),
            "data.attributes[\"city\"]: is longer than 256 characters",
        ),
        (
            json!({"attributes": {"city": "private\n"}}),
            "data.attributes[\"city\"]: has a control character",
        ),
        (
            json!({"attributes": {"Private": "x"}}),
            "data.attributes: has a name that is not 1 to 64",
        ),
        (
            json!({"attributes": {"city": ["private"]}}),
            "data.attributes: has a value that is no text",
        ),
        (json!({"attributes": ["private"]}), "data.attributes: must be an object"),
        (json!({"attributes": names(33)}), "data.attributes: are more than 32"),
        (json!({"consents": vec![one.clone(); 17]}), "data.consents: are more than 16"),
        (json!({"consents": "private"}), "data.consents: must be an array of"),
        (consent("Private", "x", "granted"), "data.consents[1].means: must be 1 to 64 of a-z"),
        (consent("x", "", "granted"), "data.consents[1].purpose: must be 1 to 64 of a-z"),
        (consent("x", "x", "private"), "data.consents[1].answer: must be granted or refused"),
        (json!({"consents": [7]}), "data.consents[0].means: must be"),
    ];
    let json = ("content-type", "application/cloudevents-batch+json");
    let mut batch: Vec<_> = cases.iter().map(|(data, _)| with_data(data.clone())).collect();
    // At their limits they are taken.
    batch.push(with_data(json!({
        "identifiers": [format!("member:{}", "x".repeat(249))],
        "attributes": names(32), "consents": vec![one; 16],
    })));
    batch.push(with_data(json!({"attributes": {"city": "台".repeat(256)}})));
    let accepted = take(&[json], &Value::from(batch).to_string()).unwrap();
    assert_eq!(accepted.publish.len(), 2);
    let reasons: Vec<_> = accepted.unreadable.iter().map(|dead| dead.reason.as_str()).collect();
    assert_eq!(reasons.len(), cases.len());
    for (reason, (_, expected)) in reasons.into_iter().zip(&cases) {
        assert!(reason.starts_with(expected), "{reason}");
        assert!(!reason.to_lowercase().contains("private"), "{reason}");
    }
}

#[test]
fn a_body_that_is_not_utf8_is_kept_and_dead_lettered() {
    let mut body = order().to_string().into_bytes();
    let place = body.windows(2).position(|two| two == b"M1").unwrap();
    body[place] = 0xff;
    let body = Bytes::from(body);
    let mut headers = signed(&body, NOW);
    headers.insert("content-type", HeaderValue::from_static("application/cloudevents+json"));
    let accepted = take_with(&headers, &body).unwrap();
    let [dead] = &accepted.unreadable[..] else { panic!("{accepted:?}") };
    assert_eq!(dead.body, body);
    assert!(dead.reason.starts_with("not a CloudEvent: no JSON of that shape"), "{}", dead.reason);
}

#[test]
fn what_is_new_to_us_is_stored_and_decides_nothing() {
    let mut event = order();
    event["type"] = json!("com.example.return.v2");
    event["data"] = json!({"brand": "nobody's", "store": "store-99", "identifiers": "member:1"});
    let accepted = structured(&event);
    let message = &accepted.publish[0];
    assert_eq!(message.kind, "mainstem.channel.shop.other.v1");
    assert_eq!(message.handle, Handles::new("key".into()).of(message.id.as_str()));
    let read = body_of(&accepted);
    let other = wire::channel_event::Act::Other("com.example.return.v2".to_owned());
    assert_eq!(read.act, Some(other));
    assert_eq!((read.brand.as_str(), read.store.as_str()), ("aurora", ""));
    assert!(read.identifiers.is_empty());
}

#[test]
fn a_strange_event_of_a_batch_is_dead_and_its_neighbours_live() {
    let mut second = order();
    second["id"] = json!("o-2");
    let mut lost = order();
    lost["id"] = json!("");
    let mut late = order();
    late["time"] = json!("yesterday");
    let batch = format!("[{},7,{lost},{late},{},{{}}]", order(), second);
    let json = ("content-type", "application/cloudevents-batch+json");
    let accepted = take(&[json], &batch).unwrap();
    assert_eq!(accepted.publish.len(), 2);
    let reasons: Vec<_> = accepted.unreadable.iter().map(|dead| dead.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "specversion is not 1.0",
            "id must be a text of 1 to 256 bytes",
            "time is no RFC 3339 moment, e.g. 2026-11-21T09:00:00Z",
            "specversion is not 1.0",
        ]
    );
    assert_eq!(accepted.unreadable[0].body, "7");
    assert_eq!(accepted.unreadable[0].kind, ChannelKind::Shop);
    assert!(take(&[json], "[]").unwrap().publish.is_empty());
}

#[test]
fn signed_nonsense_is_kept_and_dead_lettered() {
    let json = "application/json";
    for (headers, body) in [
        (vec![("content-type", "application/cloudevents+json")], "{private"),
        (vec![("content-type", "application/cloudevents-batch+json")], "{}"),
        (vec![("content-type", json)], r#"{"private":1}"#),
        (vec![("content-type", json), ("ce-specversion", "1.0")], "{private"),
        (vec![("ce-specversion", "1.0"), ("ce-id", "%zz")], "{}"),
        (vec![], ""),
    ] {
        let accepted = take(&headers, body).unwrap();
        let [dead] = &accepted.unreadable[..] else { panic!("{accepted:?}") };
        assert!(accepted.publish.is_empty());
        assert_eq!(dead.body, body);
        assert!(!dead.reason.contains("private"), "{}", dead.reason);
    }
}

#[test]
fn what_is_not_signed_is_not_read() {
    let refused = |at: i64, body: &str| {
        let headers = signed(b"[]", At::from_millis(at));
        take_with(&headers, &Bytes::copy_from_slice(body.as_bytes())).unwrap_err().code
    };
    assert_eq!(refused(NOW.as_millis(), "{private"), "bad_signature");
    assert_eq!(refused(NOW.as_millis() - 301_000, "[]"), "stale_timestamp");
}

/// Every mapping that is shipped, on the samples that lie beside it: `deploy/mappings/<name>.yaml`
/// and `deploy/mappings/samples/<name>/*.json`, each with what it must become.
#[test]
fn shipped_mappings_read_their_samples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/mappings");
    let mut mappings = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let mapping = Mapping::parse(&std::fs::read_to_string(&path).unwrap());
        let mapping = mapping.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        mappings += 1;
        let mut samples = 0;
        let folder = folder.join("samples").join(path.file_stem().unwrap());
        for entry in std::fs::read_dir(&folder).unwrap() {
            check_sample(&mapping, &entry.unwrap().path());
            samples += 1;
        }
        assert!(samples >= 3, "{} has {samples} samples", path.display());
    }
    assert!(mappings >= 2, "{mappings} mappings");
}

/// A sample is `{"body": …, "becomes": {"type", "identifiers", "time", "brand"?, "store"?,
/// "attributes"?, "consents"?}}`.
fn check_sample(mapping: &Mapping, path: &Path) {
    let sample: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let body = sample["body"].to_string();
    let read = mapping.read(body.as_bytes());
    let [(_, Ok(told))] = &read[..] else { panic!("{}: {read:?}", path.display()) };
    let about = &told.about;
    let identifiers = about.identifiers.iter().map(|Normal { identifier, extension }| {
        let extension = extension.as_ref().map_or(String::new(), |digits| format!(" #{digits}"));
        format!("{identifier}{extension}")
    });
    let mut becomes = json!({"type": told.kind, "identifiers": identifiers.collect::<Vec<_>>()});
    if !about.attributes.is_empty() {
        becomes["attributes"] = json!(about.attributes);
    }
    if !about.consents.is_empty() {
        let consents = about.consents.iter().map(|((means, purpose), answer)| {
            json!({"means": means, "purpose": purpose, "answer": answer})
        });
        becomes["consents"] = consents.collect();
    }
    becomes["time"] = told.occurred_at.map_or(Value::Null, |at| json!(at.to_string()));
    for (name, value) in [("brand", &told.brand), ("store", &told.store)] {
        if let Some(value) = value {
            becomes[name] = json!(value);
        }
    }
    assert_eq!(becomes, sample["becomes"], "{}", path.display());
    assert!(told.id.is_some(), "{}: no id of its own", path.display());
}

#[test]
fn a_source_that_cannot_be_used_is_named() {
    let error = |text: &str| {
        let channels = Channels::parse(text).unwrap();
        let read = |path: &Path| match path.to_str() {
            Some("good.yaml") => Ok("source: s\ntype: { at: /t, is: { a: order-paid } }\n\
                signature: { header: x-sig, encoding: hex }"
                .to_owned()),
            Some("bad.yaml") => Ok("source: s\ntype: { at: t, is: { a: b } }".to_owned()),
            _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        };
        Sources::load(&channels, read).map(|_| ()).map_err(|error| error.to_string())
    };
    let source = |secret: &str, mapping: &str| {
        error(&format!("[sources.shop-1]\nsecret = \"{secret}\"\n{mapping}"))
    };
    let plain = source("shop secret", "").unwrap_err();
    assert!(plain.starts_with("channels file, source shop-1: secret must be whsec_"), "{plain}");
    assert!(!plain.contains("shop secret"));
    assert_eq!(source("shop secret", "mapping = \"good.yaml\""), Ok(()));
    let bad = source("shop secret", "mapping = \"bad.yaml\"").unwrap_err();
    assert!(bad.contains("shop-1: mapping bad.yaml: type: must be a JSON pointer"), "{bad}");
    let missing = source("shop secret", "mapping = \"none.yaml\"").unwrap_err();
    assert!(missing.contains("shop-1: mapping none.yaml: "), "{missing}");
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "(1\\.0|order-placed|member:[A-Z]{1,3}|2026-11-21T09:00:00Z)".prop_map(Value::from),
    ];
    let name = "(specversion|id|source|type|time|data|identifiers|attributes|consents|answer|means|\
        brand|store|.{0,4})";
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..9)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_and_headers_are_kept_or_refused(
        body in prop::collection::vec(any::<u8>(), 0..200),
        media in "(application/(cloudevents|cloudevents-batch)?\\+?json|text/plain|.{0,20})",
        attributes in prop::collection::vec(("(id|source|type|time|specversion|x)", "[ -~]{0,12}"), 0..6),
        good in any::<bool>(),
    ) {
        let body = Bytes::from(body);
        let mut headers = if good { signed(&body, NOW) } else { signed(b"another", NOW) };
        if let Ok(media) = HeaderValue::from_str(&media) {
            headers.insert("content-type", media);
        }
        for (name, value) in &attributes {
            let name: http::HeaderName = format!("ce-{name}").parse().unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        match take_with(&headers, &body) {
            Ok(accepted) => {
                prop_assert!(good);
                for message in &accepted.publish {
                    prop_assert!(serde_json::from_slice::<wire::ChannelEvent>(&message.body).is_ok());
                }
            }
            Err(refused) => prop_assert!(!good && refused.code == "bad_signature"),
        }
    }

    #[test]
    fn any_json_of_a_batch_is_an_event_or_dead_and_reads_back(
        events in prop::collection::vec(json_value(), 0..5),
    ) {
        let json = ("content-type", "application/cloudevents-batch+json");
        let batch = take(&[json], &Value::from(events.clone()).to_string()).unwrap();
        prop_assert_eq!(batch.publish.len() + batch.unreadable.len(), events.len());
        let singles: Vec<_> = events.iter().map(structured).collect();
        let ids = |accepted: &Accepted| -> Vec<_> {
            accepted.publish.iter().map(|message| message.id.clone()).collect()
        };
        prop_assert_eq!(ids(&batch), singles.iter().flat_map(ids).collect::<Vec<_>>());
        for message in &batch.publish {
            let read: wire::ChannelEvent = serde_json::from_slice(&message.body).unwrap();
            prop_assert!(mainstem_proto::channel::decode(read).is_ok());
        }
    }
}
