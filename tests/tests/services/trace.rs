//! One trace from LINE's webhook to the call to LINE, through every stream, and its spans at an
//! OTLP collector.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use mainstem_domain::At;
use mainstem_line::{Channels, signature};
use mainstem_line_sandbox::{Faults, Sandbox};
use mainstem_tests::deployment::{Deployment, configuration, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Keeps what is exported to it.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let resources = request.into_inner().resource_spans;
        let spans = resources.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_in_at_the_webhook_and_comes_out_at_the_line_call() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let otlp = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .serve_with_incoming(incoming);
    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(async move { server.await.map_err(anyhow::Error::from) });

    let channels = std::fs::read_to_string(deployment.folder().join("channels.toml")).unwrap();
    let now = Arc::new(|| At::parse("2026-11-21T09:00:00Z").unwrap());
    let sandbox = Arc::new(
        Sandbox::new(Channels::parse(&channels).unwrap(), Faults::default(), now).unwrap(),
    );
    let person = format!("U{}", "a".repeat(32));
    sandbox.platform().befriend(&"line-1".parse().unwrap(), &person, true);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let line = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    servers.spawn(mainstem_line_sandbox::run(Arc::clone(&sandbox), listener, stop.clone()));

    let more = [
        ("MAINSTEM__TELEMETRY__OTLP_ENDPOINT", otlp.as_str()),
        ("MAINSTEM__SENDER__LINE_API_URL", line.as_str()),
    ];
    let mut services: Vec<_> = ["identity-merge", "routing", "notification", "ingress", "sender"]
        .map(|name| deployment.service_with(name, &more))
        .into();
    deployment.apply(&configuration(), &["identity-merge", "routing", "notification"]).await;
    let ingress = eventually("ingress listens", async || services[3].http()).await;
    eventually("ingress has read the configuration", async || {
        services[3].log().contains("another configuration is in force").then_some(())
    })
    .await;

    let body = json!({
        "destination": format!("U{}", "1".repeat(32)),
        "events": [{
            "type": "postback",
            "mode": "active",
            "timestamp": 1_795_219_200_000_i64,
            "source": {"type": "user", "userId": person},
            "webhookEventId": "01JDH2Y3ZV7QK5C1M8T9W0X4AB",
            "deliveryContext": {"isRedelivery": false},
            "replyToken": "b".repeat(32),
            "postback": {"data": "menu=repair"},
        }],
    })
    .to_string();
    let answer = reqwest::Client::new()
        .post(format!("http://{ingress}/webhooks/line/line-1"))
        .header(signature::HEADER, signature::sign("secret-1", body.as_bytes()))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);

    // The reply token is none of this sandbox's, so the answer goes out as a push.
    let seen = eventually("the person sees the answer", async || {
        sandbox.ledger().messages.into_iter().next()
    })
    .await;
    let at_line = seen.traceparent.expect("a traceparent at LINE");
    assert!(at_line.contains(TRACE), "{at_line}");
    assert!(!at_line.contains(CALLER), "a span of its own: {at_line}");

    for stream in ["INBOUND", "CUSTOMER", "ROUTING", "NOTIFICATION"] {
        let messages = deployment.read(stream).await;
        let traced = messages.iter().filter(|message| {
            message.record.header("traceparent").is_some_and(|trace| trace.contains(TRACE))
        });
        assert!(traced.count() > 0, "{stream}");
    }

    for service in &mut services {
        assert!(service.stop(), "{}", service.log());
    }
    stop.cancel();
    let spans = collector.0.lock().unwrap();
    let ours: BTreeMap<String, &Span> = spans
        .iter()
        .filter(|span| hex(&span.trace_id) == TRACE)
        .map(|span| (hex(&span.span_id), span))
        .collect();
    let names: BTreeSet<_> = ours.values().map(|span| span.name.as_str()).collect();
    for name in ["send INBOUND", "process stream", "send LINE"] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    // From the call to LINE every parent was exported too, up to the span of whoever called us.
    let mut at = at_line.split('-').nth(2).unwrap().to_owned();
    let mut steps = 0;
    while at != CALLER {
        let span = ours.get(&at).unwrap_or_else(|| panic!("no span {at} among {names:?}"));
        at = hex(&span.parent_span_id);
        steps += 1;
    }
    assert_eq!(steps, 5, "ingress, identity-merge, routing, notification, sender");
}
