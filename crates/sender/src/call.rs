use mainstem_bus::TraceContext;
use mainstem_domain::voice::Message;
use mainstem_line::api;
use mainstem_line_client::{Account, Heard, Send};
use mainstem_runtime::telemetry::{finish_span, start_span};
use opentelemetry::trace::SpanKind;
use serde::Serialize;
use uuid::Uuid;

/// What every call of one item carries.
pub(crate) struct Sending<'a> {
    pub(crate) account: Account<'a>,
    pub(crate) trace: TraceContext,
    /// The span that the item came from.
    pub(crate) parent: TraceContext,
    pub(crate) messages: &'a [Message],
}

impl Sending<'_> {
    pub(crate) async fn reply(&self, token: &str) -> Heard {
        self.send(api::REPLY_PATH, None, &api::Reply::new(token, self.messages)).await
    }

    pub(crate) async fn push(&self, to: &str, retry_key: Uuid) -> Heard {
        self.send(api::PUSH_PATH, Some(retry_key), &api::Push::new(to, self.messages)).await
    }

    async fn send(
        &self,
        path: &'static str,
        retry_key: Option<Uuid>,
        body: &impl Serialize,
    ) -> Heard {
        let Ok(body) = serde_json::to_vec(body) else { return Heard::NotSent };
        let traceparent = self.trace.to_string();
        let start = start_span();
        let send = Send { path, retry_key, traceparent: &traceparent, body: body.into() };
        let heard = self.account.send(send).await;
        let (kind, parent) = (SpanKind::Client, Some(self.parent));
        finish_span("send LINE", kind, self.trace, parent, start, Vec::new());
        heard
    }
}
