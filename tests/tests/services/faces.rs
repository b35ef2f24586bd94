//! The two faces of the services' use cases, gRPC and NATS, on a real nats-server: who may call
//! what, that both say the same, that a standby passes on, and that a request is decided once.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use mainstem_bus::engine::kind;
use mainstem_bus::{Machine as _, Method, topology};
use mainstem_domain::RefusalCode;
use mainstem_domain::access::Role;
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use mainstem_tests::deployment::{Deployment, Event, ROLES, Service, configuration, eventually};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// What the engine adds to every service, and who may call it.
const ENGINE: [Method; 2] = [
    Method { name: "GetStatus", endpoint: "get-status", roles: &[Role::Operator, Role::Service] },
    Method {
        name: "ApplyConfiguration",
        endpoint: "apply-configuration",
        roles: &[Role::Operator],
    },
];

async fn channel(service: &Service) -> Channel {
    let address = eventually("it listens", async || service.grpc()).await;
    eventually("a gRPC connection", async || {
        Channel::from_shared(format!("http://{address}")).ok()?.connect().await.ok()
    })
    .await
}

/// An empty request.
fn nothing(role: Option<&str>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(role) = role {
        let token: MetadataValue<_> = format!("Bearer token-{role}").parse().expect("a header");
        request.metadata_mut().insert("authorization", token);
    }
    request
}

/// Calls a method with an empty request, by its path.
async fn call(channel: &Channel, path: &str, role: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("is ready");
    let path = path.parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(nothing(role), path, codec).await.map(|_| ())
}

/// The same of a method that answers with a stream, which it opens and lets go.
async fn open(channel: &Channel, path: &str, role: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("is ready");
    let path = path.parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.server_streaming(nothing(role), path, codec).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_for_its_roles_and_for_nobody_else() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let client = async_nats::connect(deployment.server.url()).await.unwrap();
    let descriptors = prost_types::FileDescriptorSet::decode(mainstem_proto::DESCRIPTORS).unwrap();
    let services = [
        (IdentityMachine::SERVICE, "mainstem.identity.v1", IdentityMachine::METHODS),
        (RoutingMachine::SERVICE, "mainstem.routing.v1", RoutingMachine::METHODS),
        (NotificationMachine::SERVICE, "mainstem.notification.v1", NotificationMachine::METHODS),
    ];
    let mut tried = 0;
    for (service, package, methods) in services {
        let process = deployment.service(service);
        let channel = channel(&process).await;
        // A writer answers from now on.
        deployment.call("operator", service, "get-status", json!({})).await.unwrap();

        let mut declared = BTreeMap::new();
        for file in &descriptors.file {
            if file.package() == package || file.package() == "mainstem.engine.v1" {
                for one in &file.service {
                    // What answers with a stream has no NATS endpoint.
                    for method in one.method.iter().filter(|one| !one.server_streaming()) {
                        let path = format!("/{}.{}/{}", file.package(), one.name(), method.name());
                        declared.insert(method.name().to_owned(), path);
                    }
                }
            }
        }
        let known: Vec<_> = methods.iter().chain(&ENGINE).collect();
        assert_eq!(known.len(), declared.len(), "{service}: every method has roles");
        for method in known {
            for role in ROLES.into_iter().map(Some).chain([None]) {
                let allowed = role.is_some_and(|role| {
                    method.roles.iter().any(|known| format!("{known:?}").to_lowercase() == role)
                });
                let expected = match role {
                    None => Some(Code::Unauthenticated),
                    Some(_) if !allowed => Some(Code::PermissionDenied),
                    Some(_) => None,
                };
                let what = format!("{service} {} as {role:?}", method.name);

                let answer = call(&channel, &declared[method.name], role).await;
                let code = answer.err().map(|status| status.code());
                let refused = matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied));
                assert_eq!(refused.then_some(code).flatten(), expected, "gRPC {what}: {code:?}");
                assert_ne!(code, Some(Code::Internal), "gRPC {what}");

                let mut headers = HeaderMap::new();
                if let Some(role) = role {
                    headers.insert("Authorization", format!("Bearer token-{role}").as_str());
                }
                let subject = topology::endpoint_subject(service, method.endpoint);
                let answer =
                    client.request_with_headers(subject, headers, "{}".into()).await.unwrap();
                let header = |name: &str| {
                    let headers = answer.headers.as_ref()?;
                    headers.get(name).map(|value| value.as_str().to_owned())
                };
                let code = header("Nats-Service-Error-Code");
                let expected = match expected {
                    Some(Code::Unauthenticated) => Some("401"),
                    Some(_) => Some("403"),
                    None => None,
                };
                let refused = matches!(code.as_deref(), Some("401" | "403"));
                assert_eq!(
                    refused.then_some(code.as_deref()).flatten(),
                    expected,
                    "NATS {what}: {code:?} {:?}",
                    header("Nats-Service-Error")
                );
                tried += 1;
            }
        }
    }
    assert_eq!(tried, (19 + 32 + 10 + 3 * 2) * 6);
}

/// What answers with a stream, and for whom.
const STREAMS: [(&str, &str, &[&str]); 3] = [
    (
        IdentityMachine::SERVICE,
        "/mainstem.identity.v1.IdentityService/WatchIdentity",
        &["desk", "operator", "service"],
    ),
    (
        RoutingMachine::SERVICE,
        "/mainstem.routing.v1.RoutingService/WatchDesk",
        &["store", "desk", "operator", "service"],
    ),
    (
        RoutingMachine::SERVICE,
        "/mainstem.routing.v1.RoutingService/WatchQueue",
        &["unit", "operator", "service"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_is_for_its_roles_and_for_nobody_else() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let descriptors = prost_types::FileDescriptorSet::decode(mainstem_proto::DESCRIPTORS).unwrap();
    let services = descriptors.file.iter().flat_map(|file| &file.service);
    let streaming = services.flat_map(|one| &one.method).filter(|one| one.server_streaming());
    assert_eq!(streaming.count(), STREAMS.len(), "every stream is tried here");
    let processes = [IdentityMachine::SERVICE, RoutingMachine::SERVICE].map(|service| {
        let process = deployment.service(service);
        (service, process)
    });
    for (service, path, roles) in STREAMS {
        let (_, process) = processes.iter().find(|(name, _)| *name == service).unwrap();
        let channel = channel(process).await;
        for role in ROLES.into_iter().map(Some).chain([None]) {
            let code = open(&channel, path, role).await.err().map(|status| status.code());
            let expected = match role {
                None => Some(Code::Unauthenticated),
                Some(role) if !roles.contains(&role) => Some(Code::PermissionDenied),
                Some(_) => None,
            };
            let refused = matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied));
            assert_eq!(refused.then_some(code).flatten(), expected, "{path} as {role:?}: {code:?}");
        }
    }
}

/// The only case that the ledger of routing has.
async fn one_case(deployment: &Deployment) -> String {
    deployment.publish(&Event::repair("e-1", "U1")).await;
    eventually("a case is open", async || {
        let cases = deployment.call("operator", "routing", "list-cases", json!({})).await.ok()?;
        Some(cases["cases"].as_array()?.first()?["case"].as_str()?.to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_a_standby_reaches_the_writer_and_is_decided_once() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let mut first = deployment.service("routing");
    deployment.apply(&configuration(), &["routing"]).await;
    let case = one_case(&deployment).await;
    let standby = deployment.service("routing");
    let channel = channel(&standby).await;
    let accept = |request_id: &'static str, role: &'static str| {
        let (channel, case) = (channel.clone(), case.clone());
        async move {
            use mainstem_proto::wire::routing as wire;
            let mut client =
                wire::routing_service_client::RoutingServiceClient::new(channel.clone());
            let ask = wire::AcceptCaseRequest { request_id: request_id.to_owned(), case };
            let mut request = Request::new(ask);
            let token: MetadataValue<_> = format!("Bearer token-{role}").parse().unwrap();
            request.metadata_mut().insert("authorization", token);
            client.accept_case(request).await.map(|answer| answer.into_inner().case.unwrap())
        }
    };

    let taken = accept("r-1", "unit").await.unwrap();
    assert_eq!(taken.holder, "unit/test");
    // The same request again: the same answer, and nothing new in the ledger.
    let written = deployment.read(topology::ROUTING).await.len();
    assert_eq!(accept("r-1", "unit").await.unwrap(), taken);
    let through_nats = deployment
        .call("unit", "routing", "accept-case", json!({"requestId": "r-1", "case": case}))
        .await
        .unwrap();
    assert_eq!(through_nats["case"]["stateTime"], json!(taken.state_time));
    assert_eq!(deployment.read(topology::ROUTING).await.len(), written);
    // Another request under that id is refused, whoever sends it.
    let reused = accept("r-1", "operator").await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists);
    // A second taker is told who has it.
    let second = accept("r-2", "operator").await.unwrap_err();
    assert_eq!(second.code(), Code::FailedPrecondition);
    assert!(second.message().contains("unit/test"), "{}", second.message());
    let details = tonic_types::StatusExt::get_error_details(&second);
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("CASE_TAKEN", "mainstem"));
    assert_eq!(info.metadata["holder"], "unit/test");

    // Another writer, and the same answers.
    first.kill();
    assert_eq!(accept("r-1", "unit").await.unwrap(), taken);
    assert_eq!(accept("r-2", "operator").await.unwrap_err().code(), Code::FailedPrecondition);
    let counted = deployment
        .read(topology::ROUTING)
        .await
        .into_iter()
        .filter(|message| message.record.kind() == "mainstem.routing.case-accepted.v1")
        .count();
    assert_eq!(counted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_by_its_field_and_nothing_is_lost() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let client = async_nats::connect(deployment.server.url()).await.unwrap();

    let refused = async |body: Value| {
        deployment.call("service", "identity-merge", "attach-identifier", body).await.unwrap_err()
    };
    for (body, field) in [
        (json!({"customer": "x", "identifier": "member:1"}), "customer"),
        (json!({"customer": "C0000000000000000", "identifier": "fax:1"}), "identifier"),
        (json!({"customer": 7}), "body"),
        (json!({"requestId": "with blank", "customer": "C0000000000000000"}), "request_id"),
    ] {
        let refusal = refused(body).await;
        assert_eq!(refusal.code, RefusalCode::InvalidArgument, "{refusal}");
        assert_eq!(refusal.violations[0].field, field, "{refusal}");
    }
    let unknown = refused(json!({"customer": "C0000000000000000", "identifier": "member:1"})).await;
    assert_eq!(unknown.code, RefusalCode::NotFound);

    // What cannot be read is a dead letter, and its neighbour is not harmed.
    let jetstream = async_nats::jetstream::new(client);
    jetstream.publish("inbound.line.line-1.h", "{no json".into()).await.unwrap().await.unwrap();
    deployment.publish(&Event::repair("e-2", "U2")).await;
    let dead = eventually("a dead letter", async || {
        deployment.read(topology::DEADLETTER).await.into_iter().next()
    })
    .await;
    let letter: Value = serde_json::from_slice(&dead.record.body).unwrap();
    assert_eq!(letter["origin"], "INBOUND/1");
    assert!(!letter["reason"].as_str().unwrap().contains("no json"), "{letter}");
    eventually("the neighbour is a customer", async || {
        let body = json!({"identifier": "line:p1:U2"});
        deployment.call("service", "identity-merge", "resolve-customer", body).await.ok()
    })
    .await;
    let status =
        deployment.call("operator", "identity-merge", "get-status", json!({})).await.unwrap();
    assert_eq!(status["deadLettered"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_problems_is_refused_and_a_good_one_outlives_a_restart() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let mut routing = deployment.service("routing");
    let mut bad = configuration();
    bad.queues.clear();
    let store = mainstem_bus::nats::Configurations::open(&deployment.bus).await.unwrap();
    let digest = store.put(&bad).await.unwrap();
    let refusal = deployment
        .call("operator", "routing", "apply-configuration", json!({"digest": digest}))
        .await
        .unwrap_err();
    assert_eq!(refusal.violations[0].field, "rules[0].open.queue");
    let unknown = json!({"digest": "0".repeat(64)});
    let refusal = deployment.call("operator", "routing", "apply-configuration", unknown).await;
    assert!(refusal.unwrap_err().message.contains("mainstem apply"));

    deployment.apply(&configuration(), &["routing"]).await;
    let digest = store.put(&configuration()).await.unwrap();
    assert!(routing.stop(), "ends well: {}", routing.log());
    let _again = deployment.service("routing");
    let status = eventually("it writes again", async || {
        let status = deployment.call("operator", "routing", "get-status", json!({})).await.ok()?;
        (status["writer"] == true).then_some(status)
    })
    .await;
    assert_eq!(status["configuration"], json!(digest));
    let records = deployment.read(topology::ROUTING).await;
    let times = records.iter().filter(|m| m.record.kind() == kind::CONFIGURATION).count();
    assert_eq!(times, 1);
}
