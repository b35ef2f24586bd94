use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mainstem_domain::At;
use mainstem_line::api::{self, Answer};
use reqwest::{RequestBuilder, Response};

use crate::Urls;

/// JSON answers are short; of a longer one the start is enough.
const MOST_ANSWER_BYTES: usize = 64 * 1024;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// LINE does not let the account in: its credentials are wrong until somebody changes them.
    #[error("LINE does not take this account's credentials: {message}")]
    NoAccess {
        /// LINE's own words.
        message: String,
    },
    /// LINE will never answer this.
    #[error("LINE refuses with status {status}: {message}")]
    Refused {
        /// Its status.
        status: u16,
        /// LINE's own words.
        message: String,
    },
    /// Too many calls at once.
    #[error("LINE takes no more calls for now")]
    RateLimited,
    /// LINE cannot be reached, or failed.
    #[error("LINE does not answer")]
    NoAnswer,
    /// An answer that is none.
    #[error("LINE's answer is not what its documentation says")]
    Unreadable,
}

impl CallError {
    /// Whether the same question may be answered later.
    pub fn passes(&self) -> bool {
        match self {
            Self::RateLimited | Self::NoAnswer | Self::Unreadable | Self::NoAccess { .. } => true,
            Self::Refused { .. } => false,
        }
    }
}

/// How calls are made.
pub(crate) struct Caller {
    http: reqwest::Client,
    urls: Urls,
    within: Duration,
    now: Arc<dyn Fn() -> At + Send + Sync>,
}

impl Caller {
    pub(crate) fn new(
        urls: &Urls,
        within: Duration,
        now: Arc<dyn Fn() -> At + Send + Sync>,
    ) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .read_timeout(within)
            .connect_timeout(within / 2)
            // A redirect is no answer of LINE, and an access token must not follow one.
            .redirect(reqwest::redirect::Policy::none())
            // A connection that LINE closed while it was idle looks like an unknown outcome.
            .pool_idle_timeout(Duration::from_secs(20))
            .build()?;
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        let urls = Urls { api: bare(&urls.api), data: bare(&urls.data) };
        Ok(Self { http, urls, within, now })
    }

    pub(crate) fn now(&self) -> At {
        (self.now)()
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.urls.api)).timeout(self.within)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.urls.api)).timeout(self.within)
    }

    /// A content may take as long as it comes.
    pub(crate) fn get_data(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.urls.data))
    }

    /// Asks, and reads an answer that is a success.
    pub(crate) async fn ask(&self, call: RequestBuilder) -> Result<Bytes, CallError> {
        let response = call.send().await.map_err(|_| CallError::NoAnswer)?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        read(response).await.ok_or(CallError::NoAnswer)
    }
}

/// What an answer that is no success means.
pub(crate) async fn refusal(response: Response) -> CallError {
    let status = response.status().as_u16();
    let body = read(response).await.unwrap_or_default();
    match api::classify(status, &body) {
        Answer::Unauthorized { message } => CallError::NoAccess { message },
        Answer::Refused { message } => CallError::Refused { status, message },
        Answer::RateLimited | Answer::MonthlyLimit => CallError::RateLimited,
        Answer::Done | Answer::AcceptedBefore | Answer::InvalidReplyToken | Answer::Retry => {
            CallError::NoAnswer
        }
    }
}

/// The start of a body; `None` when it broke off before its end.
pub(crate) async fn read(mut response: Response) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while body.len() < MOST_ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => return None,
        }
    }
    Some(body.freeze())
}
