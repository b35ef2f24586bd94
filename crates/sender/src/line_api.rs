use std::time::Duration;

use mainstem_bus::TraceContext;
use mainstem_domain::voice::Message;
use mainstem_line::api;
use mainstem_runtime::telemetry::{finish_span, start_span};
use opentelemetry::trace::SpanKind;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::decide::Heard;

/// Error bodies are short; of a longer one the start is enough.
const MOST_ANSWER_BYTES: usize = 64 * 1024;

/// LINE's API as this process calls it.
pub(crate) struct LineApi {
    http: reqwest::Client,
    base: String,
}

/// What every call carries.
pub(crate) struct Sending<'a> {
    pub(crate) access_token: &'a SecretString,
    pub(crate) trace: TraceContext,
    /// The span that the item came from.
    pub(crate) parent: TraceContext,
    pub(crate) messages: &'a [Message],
}

impl LineApi {
    pub(crate) fn new(base: &str, call_within: Duration) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(call_within)
            .connect_timeout(call_within / 2)
            // A redirect is no answer of LINE, and an access token must not follow one.
            .redirect(reqwest::redirect::Policy::none())
            // A connection that LINE closed while it was idle looks like an unknown outcome.
            .pool_idle_timeout(Duration::from_secs(20))
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned() })
    }

    pub(crate) async fn reply(&self, token: &str, sending: &Sending<'_>) -> Heard {
        let call = self.http.post(format!("{}{}", self.base, api::REPLY_PATH));
        hear(call.json(&api::Reply::new(token, sending.messages)), sending).await
    }

    pub(crate) async fn push(&self, to: &str, retry_key: Uuid, sending: &Sending<'_>) -> Heard {
        let call = self.http.post(format!("{}{}", self.base, api::PUSH_PATH));
        let call = call.header(api::RETRY_KEY_HEADER, retry_key.to_string());
        hear(call.json(&api::Push::new(to, sending.messages)), sending).await
    }
}

async fn hear(call: reqwest::RequestBuilder, sending: &Sending<'_>) -> Heard {
    let call = call
        .bearer_auth(sending.access_token.expose_secret())
        .header("traceparent", sending.trace.to_string());
    let start = start_span();
    let sent = call.send().await;
    let (kind, parent) = (SpanKind::Client, Some(sending.parent));
    finish_span("send LINE", kind, sending.trace, parent, start, Vec::new());
    let mut response = match sent {
        Ok(response) => response,
        Err(error) if error.is_connect() || error.is_builder() => return Heard::NotSent,
        Err(_) => return Heard::Nothing,
    };
    let status = response.status().as_u16();
    let mut body = Vec::new();
    // The status is the answer; a body that breaks off only costs LINE's words.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_ANSWER_BYTES {
            break;
        }
    }
    Heard::Answer(api::classify(status, &body))
}
