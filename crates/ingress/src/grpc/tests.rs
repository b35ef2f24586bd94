use data_encoding::HEXLOWER;
use mainstem_domain::access::Scope;
use mainstem_proto::wire::channel;
use mainstem_runtime::grpc::refusal_from;
use sha2::{Digest as _, Sha256};
use tonic::Code;
use tonic::codegen::Service as _;

use super::*;
use crate::intake::Intake;
use crate::tests::{ingress, memory};

fn face() -> Face {
    let hash = HEXLOWER.encode(&Sha256::digest("token"));
    let callers = format!(
        "[[caller]]\nname = \"till\"\nrole = \"service\"\ntoken_sha256 = \"{hash}\"\nscope = {{ all = true }}"
    );
    let callers = Callers::parse(&callers).unwrap();
    Face { ingress: ingress("live", memory()), callers: Arc::new(callers) }
}

fn stored(face: &Face) -> usize {
    match &face.ingress.intake {
        Intake::Memory(Some(list)) => list.lock().unwrap().len(),
        Intake::Memory(None) | Intake::Bus(_) => 0,
    }
}

fn event(id: &str, identifiers: &[&str]) -> wire::Event {
    wire::Event {
        source: "crm".to_owned(),
        id: id.to_owned(),
        r#type: "member-updated".to_owned(),
        identifiers: identifiers.iter().map(ToString::to_string).collect(),
        ..wire::Event::default()
    }
}

async fn ingest(face: &Face, events: Vec<wire::Event>) -> Result<Vec<i32>, Status> {
    let channel = "shop-1".to_owned();
    let mut request = Request::new(wire::IngestRequest { channel, events });
    request.metadata_mut().insert("authorization", "Bearer token".parse().unwrap());
    face.ingest(request).await.map(|response| response.into_inner().outcomes)
}

fn consent(means: &str, answer: channel::ConsentAnswer) -> channel::Consent {
    let (means, purpose) = (means.to_owned(), "marketing".to_owned());
    channel::Consent { means, purpose, answer: answer.into() }
}

#[tokio::test]
async fn what_is_wrong_refuses_the_whole_request_and_names_the_field() {
    let face = face();
    let long = "private".repeat(40);
    let identifiers = |text: &str| event("2", &["member:1", text]);
    let attributes = |name: &str, value: &str| wire::Event {
        attributes: [(name.to_owned(), value.to_owned())].into(),
        ..event("2", &[])
    };
    let consents = |consents| wire::Event { consents, ..event("2", &[]) };
    let (granted, none) = (channel::ConsentAnswer::Granted, channel::ConsentAnswer::Unspecified);
    let many = (0..33).map(|number| (format!("n{number}"), "x".to_owned())).collect();
    for (wrong, field) in [
        (identifiers(&format!("member:{long}")), "events[1].identifiers[1]"),
        (identifiers("member:private\u{7}"), "events[1].identifiers[1]"),
        (identifiers(""), "events[1].identifiers[1]"),
        (identifiers("email: "), "events[1].identifiers[1]"),
        (attributes("city", &long), "events[1].attributes[\"city\"]"),
        (attributes("city", "private\u{7}"), "events[1].attributes[\"city\"]"),
        (attributes("Private", "x"), "events[1].attributes"),
        (wire::Event { attributes: many, ..event("2", &[]) }, "events[1].attributes"),
        (consents(vec![consent("email", none)]), "events[1].consents[0].answer"),
        (consents(vec![consent("Private", granted)]), "events[1].consents[0].means"),
        (consents(vec![consent("email", granted); 17]), "events[1].consents"),
    ] {
        let status = ingest(&face, vec![event("1", &["member:1"]), wrong]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        let refusal = refusal_from(&status);
        assert_eq!(refusal.violations[0].field, field);
        assert!(!refusal.message.to_lowercase().contains("private"), "{}", refusal.message);
        assert_eq!(stored(&face), 0, "{field}");
    }
    let fine = event("2", &["fax:1", "phone:110", "email:lin@", "nonsense"]);
    assert_eq!(ingest(&face, vec![event("1", &["member:1"]), fine]).await.unwrap().len(), 2);
    assert_eq!(stored(&face), 2);
}

#[tokio::test]
async fn an_event_is_told_with_attributes_and_consents() {
    let face = face();
    let caller = Caller {
        name: "till".to_owned(),
        role: Role::Service,
        scope: Scope { all: true, ..Scope::default() },
    };
    let (granted, refused) = (channel::ConsentAnswer::Granted, channel::ConsentAnswer::Refused);
    let event = wire::Event {
        attributes: [("city", "Taipei"), ("name", "林小姐"), ("language", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        consents: vec![
            consent("sms", granted),
            consent("email", refused),
            consent("email", granted),
        ],
        ..event("1", &["phone:０２－２３４５－６７８９＃１２", "phone:0800000123"])
    };
    let asked = Asked { channel: "shop-1".to_owned(), events: vec![event] };
    let messages = face.messages(&caller, None, &asked).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&messages[0].body).unwrap();
    let phone = json!({"identifier": "phone:+886223456789", "verified": false, "extension": "12"});
    assert_eq!(body["identifiers"], json!([phone]));
    let attribute = |name: &str, value: &str, verified: bool| json!({"name": name, "value": value, "verified": verified});
    let expected = json!([attribute("city", "Taipei", true), attribute("name", "林小姐", false)]);
    assert_eq!(body["attributes"], expected);
    let answer = |means: &str, answer: &str| json!({"means": means, "purpose": "marketing", "answer": format!("CONSENT_ANSWER_{answer}")});
    assert_eq!(body["consents"], json!([answer("email", "REFUSED"), answer("sms", "GRANTED")]));
    // All of it as it was told, in the shape of a CloudEvent over HTTP.
    let data = &body["raw"]["data"];
    assert_eq!(data["identifiers"][1], "phone:0800000123");
    assert_eq!(data["attributes"]["city"], "Taipei");
    assert_eq!(
        data["consents"][0],
        json!({"means": "sms", "purpose": "marketing", "answer": "granted"})
    );
}

/// The transport refuses to decode it, before any code of ours: by gRPC's own table with INTERNAL.
/// It names the field, though not which event of the request.
#[tokio::test]
async fn a_text_that_is_not_utf8_names_the_field() {
    let face = face();
    let mut service = service(face.ingress.clone(), face.callers.clone());
    let mut answer = async |identifier: &[u8; 9]| {
        // IngestRequest { channel: "shop-1", events: [{ source, id, type, identifiers: [9 bytes] }] }
        let mut event = b"\x0a\x01s\x12\x01i\x1a\x01t\x2a\x09".to_vec();
        event.extend(identifier);
        let mut message = b"\x0a\x06shop-1\x12".to_vec();
        message.push(u8::try_from(event.len()).unwrap());
        message.extend(event);
        let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
        frame.extend(message);
        let request = http::Request::post("/mainstem.ingest.v1.IngestService/Ingest")
            .header("content-type", "application/grpc")
            .header("authorization", "Bearer token")
            .body(axum::body::Body::from(frame))
            .unwrap();
        let response = service.call(request).await.unwrap();
        Status::from_header_map(response.headers())
    };
    let status = answer(b"member:\xff1").await.unwrap();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("Event.identifiers: "), "{}", status.message());
    assert!(status.message().contains("UTF-8"), "{}", status.message());
    assert_eq!(stored(&face), 0);
    assert!(answer(b"member:M1").await.is_none(), "the status of a success comes last");
    assert_eq!(stored(&face), 1);
}
