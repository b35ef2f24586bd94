//! What an account is answered.

use std::time::Duration;

use mainstem_line::api;
use serde_json::{Value, json};

use super::access::Denied;
use super::media::Content;
use crate::check::Invalid;
use crate::faults::Lost;

/// What an account is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Body,
    /// `x-line-request-id`.
    pub(crate) request_id: String,
    /// `x-line-accepted-request-id`; only with 409.
    pub(crate) accepted_request_id: Option<String>,
    /// Waited before anything of it is sent.
    pub(crate) latency: Duration,
    /// Taken for its body, drop by drop.
    pub(crate) slow_body: Duration,
    /// Never given in this way.
    pub(crate) lost: Option<Lost>,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Json(String),
    Content(Content),
}

impl Answer {
    /// An answer at once.
    pub(super) fn new(status: u16, body: &Value, request_id: String) -> Self {
        Self {
            status,
            body: Body::Json(body.to_string()),
            request_id,
            accepted_request_id: None,
            latency: Duration::ZERO,
            slow_body: Duration::ZERO,
            lost: None,
        }
    }
}

/// A call that went well.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) status: u16,
    pub(super) body: Body,
    /// The request id, where one was given before the answer was made.
    pub(super) request_id: Option<String>,
}

impl Done {
    pub(super) fn json(body: &Value) -> Self {
        Self { status: 200, body: Body::Json(body.to_string()), request_id: None }
    }
}

/// A call that is refused, in LINE's words.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) accepted_request_id: Option<String>,
}

impl Refused {
    pub(super) fn new(status: u16, message: &str) -> Self {
        Self { status, body: json!({"message": message}), accepted_request_id: None }
    }

    pub(super) fn denied(why: Denied) -> Self {
        Self::new(401, why.message())
    }

    pub(super) fn failed() -> Self {
        Self::new(500, "Internal Server Error")
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "Not found")
    }

    pub(super) fn rate_limit() -> Self {
        Self::new(429, api::RATE_LIMIT)
    }

    pub(super) fn monthly_limit() -> Self {
        Self::new(429, api::MONTHLY_LIMIT)
    }

    pub(super) fn invalid_reply_token() -> Self {
        Self::new(400, api::INVALID_REPLY_TOKEN)
    }

    pub(super) fn invalid(why: &Invalid) -> Self {
        Self { status: 400, body: why.body(), accepted_request_id: None }
    }
}
