//! Spans whose ids are known before they are exported.
//!
//! The trace context of a record is computed by pure code, so that it is the same in every run;
//! the span that it names is exported later, by whoever did the work, under just that id.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::SystemTime;

use mainstem_bus::TraceContext;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer};

/// Set once, when exporting starts.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

thread_local! {
    /// The ids of the span that this thread is about to build.
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// A finished span with ids of our choice.
#[derive(Clone, Debug)]
pub struct FixedSpan {
    /// `{operation} {destination template}`, never with an id in it.
    pub name: Cow<'static, str>,
    /// Producer, consumer, server, …
    pub kind: SpanKind,
    /// Not all zero.
    pub trace_id: [u8; 16],
    /// Not all zero.
    pub span_id: [u8; 8],
    /// The span that it is a child of, in the same trace; without one it is a root.
    pub parent: Option<[u8; 8]>,
    /// When the work began.
    pub start: SystemTime,
    /// When it was done.
    pub end: SystemTime,
    /// No personal data.
    pub attributes: Vec<KeyValue>,
}

/// Are spans exported? Ask before work that only a span needs.
pub fn exporting() -> bool {
    TRACER.get().is_some()
}

/// Exports a span, or does nothing when no exporter is on.
pub fn export_span(span: FixedSpan) {
    if let Some(tracer) = TRACER.get() {
        export(tracer, span);
    }
}

/// Exports the span `context`, which began at `start` and ends now.
pub fn finish_span(
    name: &'static str,
    kind: SpanKind,
    context: TraceContext,
    parent: Option<TraceContext>,
    start: Option<SystemTime>,
    attributes: Vec<KeyValue>,
) {
    let Some(start) = start else { return };
    export_span(FixedSpan {
        name: name.into(),
        kind,
        trace_id: context.trace_id,
        span_id: context.span_id,
        parent: parent.map(|parent| parent.span_id),
        start,
        end: crate::service::wall_clock(),
        attributes,
    });
}

/// The moment, if spans are exported: for [`finish_span`].
pub fn start_span() -> Option<SystemTime> {
    exporting().then(crate::service::wall_clock)
}

pub(super) fn export_to(tracer: SdkTracer) {
    // A second one is ignored: telemetry starts once.
    let _ = TRACER.set(tracer);
}

fn export(tracer: &SdkTracer, span: FixedSpan) {
    let trace_id = TraceId::from_bytes(span.trace_id);
    let mut context = Context::new();
    if let Some(parent) = span.parent {
        let parent = SpanId::from_bytes(parent);
        let sampled = TraceFlags::SAMPLED;
        context = context.with_remote_span_context(SpanContext::new(
            trace_id,
            parent,
            sampled,
            true,
            TraceState::NONE,
        ));
    }
    let builder = SpanBuilder::from_name(span.name)
        .with_kind(span.kind)
        .with_start_time(span.start)
        .with_attributes(span.attributes);
    NEXT.set(Some((trace_id, SpanId::from_bytes(span.span_id))));
    let mut built = tracer.build_with_context(builder, &context);
    NEXT.set(None);
    built.end_with_timestamp(span.end);
}

/// Gives the ids that [`export_span`] chose, and random ones to every other span.
#[derive(Debug, Default)]
pub(super) struct FixedIds(RandomIdGenerator);

impl IdGenerator for FixedIds {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, UNIX_EPOCH};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

    use super::*;

    /// Keeps what it is given. The SDK has such a thing behind a feature, with which half of the
    /// workspace would be compiled a second time for its tests.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn a_span_is_exported_under_the_ids_that_were_chosen() {
        let exporter = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_id_generator(FixedIds::default())
            .with_simple_exporter(exporter.clone())
            .build();
        let tracer = provider.tracer("test");
        let start = UNIX_EPOCH + Duration::from_hours(498_672);
        let root = FixedSpan {
            name: "process INBOUND".into(),
            kind: SpanKind::Consumer,
            trace_id: [1; 16],
            span_id: [2; 8],
            parent: None,
            start,
            end: start + Duration::from_millis(3),
            attributes: vec![KeyValue::new("messaging.system", "nats")],
        };
        let child = FixedSpan { span_id: [3; 8], parent: Some([2; 8]), ..root.clone() };
        export(&tracer, root);
        export(&tracer, child);
        tracer.start("other").end();

        let spans = exporter.0.lock().unwrap();
        let [root, child, other] = &spans[..] else { panic!("{spans:?}") };
        for span in [root, child] {
            assert_eq!(span.span_context.trace_id(), TraceId::from_bytes([1; 16]));
            assert_eq!(span.start_time, start);
            assert_eq!(span.end_time, start + Duration::from_millis(3));
            assert_eq!(span.span_kind, SpanKind::Consumer);
            assert_eq!(span.attributes.len(), 1);
        }
        assert_eq!(root.span_context.span_id(), SpanId::from_bytes([2; 8]));
        assert_eq!(root.parent_span_id, SpanId::INVALID);
        assert_eq!(child.span_context.span_id(), SpanId::from_bytes([3; 8]));
        assert_eq!(child.parent_span_id, SpanId::from_bytes([2; 8]));
        assert!(child.parent_span_is_remote);
        assert_ne!(other.span_context.trace_id(), TraceId::from_bytes([1; 16]));
    }
}
