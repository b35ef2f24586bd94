use bytes::Bytes;
use mainstem_domain::ChannelId;
use mainstem_line::api::{self, Answer};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::access::Access;
use crate::call::{CallError, Caller, read, refusal};

/// One account, and the right to call for it.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    pub(crate) channel: &'a ChannelId,
    pub(crate) access: &'a Access,
    pub(crate) caller: &'a Caller,
}

/// A call that sends.
#[derive(Clone, Debug)]
pub struct Send<'a> {
    /// [`api::REPLY_PATH`] or [`api::PUSH_PATH`].
    pub path: &'static str,
    /// Makes it idempotent for 24 h; a reply must not have one.
    pub retry_key: Option<Uuid>,
    /// The trace that the call belongs to.
    pub traceparent: &'a str,
    /// JSON.
    pub body: Bytes,
}

/// What came of a call that sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// LINE answered.
    Answer(Answer),
    /// No connection or no access token, so LINE cannot have got it.
    NotSent,
    /// It may have reached LINE; no answer came.
    Nothing,
}

/// What an account may push in the current month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Messages, counted by recipient; none: as many as it likes.
    pub limit: Option<u64>,
    /// How many of them are used up, about.
    pub used: u64,
}

/// How a person shows on LINE.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// As the person wrote it.
    pub display_name: String,
    /// BCP 47, e.g. `zh-TW`; not everybody allows it to be told.
    pub language: Option<String>,
}

/// Something that was asked for by its id.
pub enum Fetched<T> {
    /// It is there.
    Here(T),
    /// LINE still prepares it.
    NotYet,
    /// It is there no more, or never was.
    Gone,
}

/// What a person sent that is no text, as it comes in.
pub struct Content {
    /// `content-type`, if LINE tells one.
    pub media_type: Option<String>,
    /// How many bytes it is, if LINE tells.
    pub length: Option<u64>,
    response: Response,
}

impl Content {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// It broke off: the piece and all before it are no content.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        self.response.chunk().await.map_err(|_| CallError::NoAnswer)
    }
}

impl Account<'_> {
    /// Its channel.
    pub fn channel(&self) -> &ChannelId {
        self.channel
    }

    /// Sends. It is made a second time only when LINE did not let the first one in.
    pub async fn send(&self, send: Send<'_>) -> Heard {
        let call = || {
            let call = self.caller.post(send.path).header("traceparent", send.traceparent);
            let call = match send.retry_key {
                Some(key) => call.header(api::RETRY_KEY_HEADER, key.to_string()),
                None => call,
            };
            let json = (reqwest::header::CONTENT_TYPE, "application/json");
            call.header(json.0, json.1).body(send.body.clone())
        };
        let response = match self.let_in(call).await {
            Ok(response) => response,
            Err(NotIn::NoToken(CallError::NoAccess { message })) => {
                return Heard::Answer(Answer::Unauthorized { message });
            }
            Err(NotIn::NoToken(_)) => return Heard::NotSent,
            Err(NotIn::Lost(error)) if error.is_connect() || error.is_builder() => {
                return Heard::NotSent;
            }
            Err(NotIn::Lost(_)) => return Heard::Nothing,
        };
        let status = response.status().as_u16();
        // The status is the answer; a body that breaks off only costs LINE's words.
        let body = read(response).await.unwrap_or_default();
        Heard::Answer(api::classify(status, &body))
    }

    /// What it may push this month, and how much of it is used.
    pub async fn quota(&self) -> Result<Quota, CallError> {
        #[derive(Deserialize)]
        struct Limit {
            #[serde(default)]
            value: Option<u64>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Consumption {
            total_usage: u64,
        }
        let Limit { value } = self.json(api::QUOTA_PATH).await?;
        let Consumption { total_usage } = self.json(api::CONSUMPTION_PATH).await?;
        Ok(Quota { limit: value, used: total_usage })
    }

    /// How a person shows. Gone is somebody who blocked the account, or is no friend, or never was:
    /// a hint, never a proof.
    pub async fn profile(&self, user: &str) -> Result<Fetched<Profile>, CallError> {
        // A user id of a webhook goes into a path.
        if user.is_empty() || !user.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Fetched::Gone);
        }
        match self.json(&format!("{}{user}", api::PROFILE_PATH)).await {
            Ok(profile) => Ok(Fetched::Here(profile)),
            Err(CallError::Refused { status: 404, .. }) => Ok(Fetched::Gone),
            Err(error) => Err(error),
        }
    }

    /// The content of a message.
    pub async fn content(&self, message: &str) -> Result<Fetched<Content>, CallError> {
        if message.is_empty() || !message.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Fetched::Gone);
        }
        let path = api::content_path(message);
        let response = self.let_in(|| self.caller.get_data(&path)).await?;
        match response.status() {
            StatusCode::OK => {
                let headers = response.headers();
                let media_type = headers.get(reqwest::header::CONTENT_TYPE);
                let media_type = media_type.and_then(|value| value.to_str().ok());
                let media_type = media_type.map(str::to_owned);
                Ok(Fetched::Here(Content {
                    media_type,
                    length: response.content_length(),
                    response,
                }))
            }
            StatusCode::ACCEPTED => Ok(Fetched::NotYet),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Fetched::Gone),
            _ => Err(refusal(response).await),
        }
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let response = self.let_in(|| self.caller.get(path)).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let body = read(response).await.ok_or(CallError::NoAnswer)?;
        serde_json::from_slice(&body).map_err(|_| CallError::Unreadable)
    }

    async fn let_in(&self, call: impl Fn() -> RequestBuilder) -> Result<Response, NotIn> {
        let mut renewed = false;
        loop {
            let token = self.access.token(self.caller).await.map_err(NotIn::NoToken)?;
            let call = call().bearer_auth(token.expose_secret());
            let response = call.send().await.map_err(NotIn::Lost)?;
            if response.status() != StatusCode::UNAUTHORIZED
                || renewed
                || !self.access.refused(&token).await
            {
                return Ok(response);
            }
            renewed = true;
        }
    }
}

/// Why there is no answer.
enum NotIn {
    NoToken(CallError),
    Lost(reqwest::Error),
}

impl From<NotIn> for CallError {
    fn from(error: NotIn) -> Self {
        match error {
            NotIn::NoToken(error) => error,
            NotIn::Lost(_) => Self::NoAnswer,
        }
    }
}
