//! What a process tells about itself: log lines on stderr and, when a collector is named, traces,
//! metrics and logs by OTLP.
//!
//! Absent on purpose: no endpoint for scraping, and no other vendor's format; a collector does both.

mod span;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SdkTracerProvider};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, TelemetryConfig};
use span::FixedIds;
pub use span::{FixedSpan, export_span, exporting, finish_span, start_span};

/// The name under which all our spans, metrics and logs stand.
const SCOPE: &str = "mainstem";

/// Telemetry is on for as long as this lives. End it with [`Telemetry::shutdown`], or what the
/// last seconds told is lost.
#[derive(Debug)]
#[must_use = "what was not exported yet is lost without shutdown()"]
pub struct Telemetry(Option<Exporters>);

#[derive(Debug)]
struct Exporters {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
}

impl Telemetry {
    /// Starts it, once in a process and within a tokio runtime. `service` is the process's name,
    /// e.g. `mainstem-routing`. A collector that is not there is no error: it may come later.
    pub fn start(config: &TelemetryConfig, service: &'static str) -> anyhow::Result<Self> {
        let exporters = (!config.otlp_endpoint.is_empty())
            .then(|| Exporters::new(&config.otlp_endpoint, service))
            .transpose()
            .context("telemetry.otlp_endpoint cannot be used")?;
        let filter = EnvFilter::try_new(&config.log_filter)
            .context("telemetry.log_filter cannot be used")?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match config.log_format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        // Only our own spans and events: exporting makes the exporter's own, in a circle.
        let ours = || filter_fn(|metadata| metadata.target().starts_with(SCOPE));
        let traces = exporters.as_ref().map(|exporters| {
            let tracer = exporters.traces.tracer(SCOPE);
            tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours())
        });
        let logs = exporters
            .as_ref()
            .map(|exporters| OpenTelemetryTracingBridge::new(&exporters.logs).with_filter(ours()));
        // Below info, libraries write whole messages and requests, with whom they are about and what opens
        // accounts. No filter that somebody sets in a hurry lets those through.
        let impersonal = filter_fn(|metadata| {
            metadata.target().starts_with(SCOPE) || *metadata.level() <= tracing::Level::INFO
        });
        tracing_subscriber::registry()
            .with(filter)
            .with(impersonal)
            .with(lines)
            .with(traces)
            .with(logs)
            .try_init()
            .context("telemetry is on already")?;
        if let Some(exporters) = &exporters {
            exporters.publish();
        }
        Ok(Self(exporters))
    }

    /// Exports what is left and ends. What a slow collector has not taken by the deadline is lost.
    pub async fn shutdown(self, deadline: Duration) {
        let Some(exporters) = self.0 else { return };
        // The SDK blocks its thread, and its exporters need this runtime's.
        let shutdown = tokio::task::spawn_blocking(move || {
            for (signal, outcome) in [
                ("traces", exporters.traces.shutdown_with_timeout(deadline)),
                ("metrics", exporters.metrics.shutdown_with_timeout(deadline)),
                ("logs", exporters.logs.shutdown_with_timeout(deadline)),
            ] {
                if let Err(error) = outcome {
                    tracing::warn!(signal, %error, "telemetry was lost at the end");
                }
            }
        });
        if tokio::time::timeout(deadline, shutdown).await.is_err() {
            tracing::warn!("telemetry was lost at the end: the collector did not answer");
        }
    }
}

impl Exporters {
    fn new(endpoint: &str, service: &'static str) -> anyhow::Result<Self> {
        // Tells the instances of a service apart, or the metrics of one overwrite the other's.
        let instance = RandomIdGenerator::default().new_trace_id().to_string();
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance))
            .build();
        let traces = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        let metrics = MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        let logs = LogExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        Ok(Self {
            traces: SdkTracerProvider::builder()
                .with_id_generator(FixedIds::default())
                .with_batch_exporter(traces)
                .with_resource(resource.clone())
                .build(),
            metrics: SdkMeterProvider::builder()
                .with_periodic_exporter(metrics)
                .with_resource(resource.clone())
                .build(),
            logs: SdkLoggerProvider::builder()
                .with_batch_exporter(logs)
                .with_resource(resource)
                .build(),
        })
    }

    /// The SDK's global providers: `opentelemetry::global::meter` is how a crate gets a meter, and
    /// without exporters it gets one that does nothing.
    fn publish(&self) {
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(self.traces.clone());
        global::set_meter_provider(self.metrics.clone());
        span::export_to(self.traces.tracer(SCOPE));
    }
}

#[cfg(test)]
mod tests;
