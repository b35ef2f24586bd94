use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

use opentelemetry::trace::SpanKind;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::*;

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).ok();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// One test, for telemetry starts once in a process.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_exported_at_the_end() {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut exported) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let routes = Routes::new(TraceServiceServer::new(Collector(sender)));
    let server = crate::grpc::serve(listener, routes, None, stop.clone());
    let lifecycle = crate::Lifecycle::new(Duration::from_secs(1));
    lifecycle.spawn("collector", server);

    let config = TelemetryConfig {
        otlp_endpoint: format!("http://{address}"),
        log_format: LogFormat::Json,
        log_filter: "info".to_owned(),
    };
    assert!(!exporting());
    let telemetry = Telemetry::start(&config, "mainstem-test").unwrap();
    assert!(exporting());
    assert!(Telemetry::start(&config, "mainstem-test").is_err(), "started twice");
    tracing::info_span!("ours").in_scope(|| tracing::info!("a line"));
    export_span(FixedSpan {
        name: "process INBOUND".into(),
        kind: SpanKind::Consumer,
        trace_id: [1; 16],
        span_id: [2; 8],
        parent: None,
        start: UNIX_EPOCH,
        end: UNIX_EPOCH,
        attributes: Vec::new(),
    });
    telemetry.shutdown(Duration::from_secs(10)).await;
    stop.cancel();
    lifecycle.stop();

    let mut spans = Vec::new();
    while let Ok(request) = exported.try_recv() {
        let resources = request.resource_spans.into_iter();
        spans.extend(resources.flat_map(|spans| spans.scope_spans).flat_map(|scope| scope.spans));
    }
    let span = |name: &str| spans.iter().find(|span| span.name == name).cloned();
    assert_eq!(span("process INBOUND").unwrap().span_id, vec![2; 8]);
    assert!(span("ours").is_some());
}
