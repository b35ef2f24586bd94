//! A gRPC client from elsewhere: Python, without generated code. It learns from reflection what the
//! services take, and reads their answers and refusals.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use mainstem_tests::deployment::{Deployment, Event, Service, configuration, eventually};
use mainstem_tests::tools;
use prost::Message as _;
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// Asks a server once; waits until it listens.
async fn ask(python: &Path, service: &Service, calls: Value) -> Value {
    let address = eventually("it listens", async || service.grpc()).await;
    let mut client = Command::new(python)
        .arg(tools::workspace().join("tests/python/foreign_client.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({ "address": address, "calls": calls }).to_string();
    client.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = tokio::task::spawn_blocking(|| client.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "the client failed; see above");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn call(method: &str, role: &str, request: &Value) -> Value {
    json!({ "method": method, "token": format!("token-{role}"), "request": request })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_calls_each_service() {
    let Some(python) = tools::python_with_grpc() else { return };
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let names = ["identity-merge", "routing", "notification"];
    let services = names.map(|name| deployment.service(name));
    deployment.apply(&configuration(), &names).await;
    deployment.publish(&Event::repair("e-1", "U1")).await;
    let case = eventually("a case is open", async || {
        let cases = deployment.call("operator", "routing", "list-cases", json!({})).await.ok()?;
        cases["cases"].as_array()?.first().cloned()
    })
    .await;
    let customer = case["customer"].as_str().unwrap();
    let [identity, routing, notification] = &services;

    let engine = call("mainstem.engine.v1.EngineService/GetStatus", "operator", &json!({}));
    let resolve = "mainstem.identity.v1.IdentityService/ResolveCustomer";
    let known = json!({ "identifier": "line:p1:U1" });
    let calls = json!([
        call(resolve, "service", &known.clone()),
        call(resolve, "service", &json!({ "identifier": "fax:1" })),
        json!({ "method": resolve, "request": known }),
        engine.clone(),
    ]);
    let said = ask(&python, identity, calls).await;
    stands(&said, "mainstem.identity.v1.IdentityService");
    assert_eq!(said["answers"][0]["answer"]["customer"]["customer"], customer, "{said}");
    let refused = &said["answers"][1];
    assert_eq!(refused["code"], "INVALID_ARGUMENT");
    assert_eq!(refused["details"]["ErrorInfo"]["domain"], "mainstem", "{refused}");
    let violation = &refused["details"]["BadRequest"]["fieldViolations"][0];
    assert_eq!(violation["field"], "identifier", "{refused}");
    assert!(!violation["description"].as_str().unwrap().is_empty(), "{refused}");
    assert_eq!(said["answers"][2]["code"], "UNAUTHENTICATED");
    assert_eq!(said["answers"][2]["details"]["ErrorInfo"]["reason"], "NO_CREDENTIALS");
    assert_eq!(said["answers"][3]["answer"]["writer"], true, "{said}");

    let accept = "mainstem.routing.v1.RoutingService/AcceptCase";
    let taken = json!({ "requestId": "r-1", "case": case["case"] });
    let again = json!({ "requestId": "r-2", "case": case["case"] });
    let calls = json!([
        call(accept, "unit", &taken),
        call(accept, "operator", &again),
        call("mainstem.routing.v1.RoutingService/ListCases", "unit", &json!({ "pageSize": 1 })),
        engine.clone(),
    ]);
    let said = ask(&python, routing, calls).await;
    stands(&said, "mainstem.routing.v1.RoutingService");
    assert_eq!(said["answers"][0]["answer"]["case"]["holder"], "unit/test", "{said}");
    let second = &said["answers"][1];
    assert_eq!(second["code"], "FAILED_PRECONDITION");
    assert!(second["message"].as_str().unwrap().contains("unit/test"), "{second}");
    assert_eq!(second["details"]["ErrorInfo"]["reason"], "CASE_TAKEN");
    assert_eq!(second["details"]["ErrorInfo"]["metadata"]["holder"], "unit/test");
    let precondition = &second["details"]["PreconditionFailure"]["violations"][0];
    assert_eq!(precondition["type"], "CASE_TAKEN", "{second}");
    assert_eq!(said["answers"][2]["answer"]["cases"][0]["state"], "CASE_STATE_ACCEPTED");

    let delivery = "mainstem.notification.v1.NotificationService/GetDelivery";
    let unknown = json!({ "item": "N0000000000000000" });
    let calls = json!([
        call(delivery, "operator", &unknown.clone()),
        call(delivery, "unit", &unknown),
        call(delivery, "operator", &json!({ "item": "x" })),
        engine,
    ]);
    let said = ask(&python, notification, calls).await;
    stands(&said, "mainstem.notification.v1.NotificationService");
    for (answer, code) in [(0, "NOT_FOUND"), (1, "PERMISSION_DENIED"), (2, "INVALID_ARGUMENT")] {
        assert_eq!(said["answers"][answer]["code"], code, "{said}");
        assert_eq!(said["answers"][answer]["details"]["ErrorInfo"]["domain"], "mainstem");
    }
    assert_eq!(said["answers"][3]["answer"]["service"], "notification", "{said}");
}

/// Ingress takes events from other services as soon as the descriptors have its package.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_tells_ingress_what_happened() {
    let descriptors = prost_types::FileDescriptorSet::decode(mainstem_proto::DESCRIPTORS).unwrap();
    if !descriptors.file.iter().any(|file| file.package() == "mainstem.ingest.v1") {
        eprintln!("passed over: this ingress has no gRPC");
        return;
    }
    let Some(python) = tools::python_with_grpc() else { return };
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let mut directory = serde_json::to_value(configuration()).unwrap();
    directory["channels"]["shop-1"] = json!({ "kind": "shop", "owns": ["member"] });
    let directory = serde_json::from_value(directory).unwrap();
    deployment.apply(&directory, &["identity-merge"]).await;
    let ingress = deployment.service("ingress");

    let event = |id: &str| json!({ "source": "till", "id": id, "type": "store-visited", "identifiers": ["member:1"] });
    let one = json!({ "channel": "shop-1", "events": [event("1"), event("2")] });
    let nowhere = json!({ "channel": "nowhere", "events": [event("1")] });
    let stream = json!([
        { "channel": "shop-1", "events": [event("2")] },
        { "channel": "shop-1", "events": [event("3")] },
    ]);
    let ingest = "mainstem.ingest.v1.IngestService/Ingest";
    let calls = json!([
        call(ingest, "service", &one.clone()),
        call("mainstem.ingest.v1.IngestService/IngestStream", "service", &stream),
        call(ingest, "service", &nowhere),
        call(ingest, "unit", &one),
    ]);
    let said = ask(&python, &ingress, calls).await;
    stands(&said, "mainstem.ingest.v1.IngestService");
    let outcomes = |answer: usize| said["answers"][answer]["answer"]["outcomes"].clone();
    assert_eq!(outcomes(0), json!(["OUTCOME_STORED", "OUTCOME_STORED"]), "{said}");
    assert_eq!(outcomes(1), json!(["OUTCOME_DUPLICATE", "OUTCOME_STORED"]), "{said}");
    for (answer, code) in [(2, None), (3, Some("PERMISSION_DENIED"))] {
        let refused = &said["answers"][answer];
        assert_eq!(refused["details"]["ErrorInfo"]["domain"], "mainstem", "{said}");
        assert!(code.is_none_or(|code| refused["code"] == code), "{said}");
    }
}

/// Health and both versions of reflection answer, and list the service.
fn stands(said: &Value, service: &str) {
    assert_eq!(said["health"], "SERVING", "{said}");
    let listed = |version: &str| said["services"][version].as_array().unwrap().clone();
    assert!(listed("v1").contains(&json!(service)), "{said}");
    assert!(listed("v1").contains(&json!("grpc.health.v1.Health")), "{said}");
    assert_eq!(listed("v1"), listed("v1alpha"));
}
