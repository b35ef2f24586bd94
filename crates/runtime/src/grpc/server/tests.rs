use std::net::SocketAddr;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sha2::{Digest as _, Sha256};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::*;
use crate::{Callers, Lifecycle};

const ROUTING: &str = "mainstem.routing.v1.RoutingService";

/// A server on a free port, under a life cycle that the test ends.
async fn start(routes: Routes, tls: Option<ServerTlsConfig>) -> (SocketAddr, Lifecycle) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let lifecycle = Lifecycle::new(Duration::from_secs(5));
    lifecycle.spawn("grpc", serve(listener, routes, tls, lifecycle.stopping()));
    (address, lifecycle)
}

async fn reflect(channel: Channel, request: MessageRequest) -> ServerReflectionResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = tokio_stream::once(request);
    let answers = ServerReflectionClient::new(channel).server_reflection_info(requests).await;
    answers.unwrap().into_inner().message().await.unwrap().unwrap()
}

#[tokio::test]
async fn health_and_reflection_answer_until_the_end() {
    let (routes, health) = standard_routes(&[ROUTING]).await.unwrap();
    let (address, lifecycle) = start(routes, None).await;
    let channel =
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();

    let mut client = HealthClient::new(channel.clone());
    for (ready, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        health.set_ready(ready).await;
        let answer = client.check(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(answer.status, expected as i32);
    }

    let list = reflect(channel.clone(), MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(list)) = list.message_response else {
        panic!("{list:?}");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&ROUTING.to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("identity")), "{names:?}");
    let file = "mainstem/routing/v1/routing.proto".to_owned();
    let file = reflect(channel, MessageRequest::FileByFilename(file)).await;
    assert!(matches!(file.message_response, Some(MessageResponse::FileDescriptorResponse(_))));

    drop(client);
    lifecycle.stop();
    lifecycle.run_until(tokio_stream::pending()).await.unwrap();
}

struct Party {
    pem: String,
    key: String,
    sha256: String,
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

fn party(issuer: &Issuer<'_, KeyPair>) -> Party {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let sha256 = HEXLOWER.encode(&Sha256::digest(certificate.der()));
    Party { pem: certificate.pem(), key: key.serialize_pem(), sha256 }
}

#[tokio::test]
async fn a_client_certificate_tells_who_calls() {
    let (ca, issuer) = authority();
    let (server, client) = (party(&issuer), party(&issuer));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> Option<PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let tls = server_tls(&GrpcConfig {
        tls_certificate: file("server.pem", &server.pem),
        tls_key: file("server.key", &server.key),
        client_ca: file("ca.pem", &ca),
    });

    let callers = Callers::parse(&format!(
        "[[caller]]\nname = \"till-7\"\nrole = \"service\"\ncertificate_sha256 = \"{}\"\n",
        client.sha256
    ))
    .unwrap();
    let guard = move |request: Request<()>| -> Result<Request<()>, Status> {
        crate::grpc::caller_from_request(&callers, request.metadata(), request.peer_certs())
            .map(|_| request)
            .map_err(|refusal| crate::grpc::status_from(&refusal))
    };
    let health = HealthService::from_health_reporter(HealthReporter::new());
    let routes = Routes::new(HealthServer::with_interceptor(health, guard));
    let (address, _lifecycle) = start(routes, tls.unwrap()).await;

    let (_, other_issuer) = authority();
    let cases = [
        (Some(client), None),
        (Some(party(&issuer)), Some("UNKNOWN_CERTIFICATE")),
        (None, Some("NO_CREDENTIALS")),
        (Some(party(&other_issuer)), Some("NOT_FROM_MAINSTEM")),
    ];
    for (identity, refused) in cases {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&ca))
            .domain_name("localhost");
        if let Some(party) = identity {
            tls = tls.identity(Identity::from_pem(party.pem, party.key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
        let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        let reason = answer.err().map(|status| crate::grpc::refusal_from(&status).reason);
        assert_eq!(reason.as_deref(), refused);
    }
}

#[test]
fn tls_is_off_without_a_certificate_and_names_what_it_cannot_read() {
    let none = GrpcConfig { tls_certificate: None, tls_key: None, client_ca: None };
    assert!(server_tls(&none).unwrap().is_none());
    let missing = Some(PathBuf::from("no/such/file.pem"));
    let error =
        server_tls(&GrpcConfig { tls_certificate: missing.clone(), tls_key: missing, ..none });
    assert!(error.unwrap_err().to_string().contains("no/such/file.pem"));
}
