//! The calls that send, and what LINE's answers to them mean.

use mainstem_domain::voice::Message;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Answers one event: free, once, within about a minute.
pub const REPLY_PATH: &str = "/v2/bot/message/reply";
/// Writes to one user: counted in the monthly quota.
pub const PUSH_PATH: &str = "/v2/bot/message/push";
/// Under this, a user's id: how the user shows.
pub const PROFILE_PATH: &str = "/v2/bot/profile/";
/// How many messages the account may push in a month.
pub const QUOTA_PATH: &str = "/v2/bot/message/quota";
/// How many of them are used up.
pub const CONSUMPTION_PATH: &str = "/v2/bot/message/quota/consumption";
/// Makes a push idempotent for 24 h: a UUID. A reply must not carry it.
pub const RETRY_KEY_HEADER: &str = "x-line-retry-key";
/// With 409: the request that LINE accepted under the same retry key.
pub const ACCEPTED_REQUEST_HEADER: &str = "x-line-accepted-request-id";

/// The text of a 400 for a reply token that is used, expired or not the channel's.
pub const INVALID_REPLY_TOKEN: &str = "Invalid reply token";
/// The text of the 429 that lasts until the month turns.
pub const MONTHLY_LIMIT: &str = "You have reached your monthly limit.";
/// The text of the 429 that passes.
pub const RATE_LIMIT: &str = "The API rate limit has been exceeded. Try again later.";

/// The content of a message that is no text; on LINE's host for data.
pub fn content_path(message: &str) -> String {
    format!("/v2/bot/message/{message}/content")
}

/// The body of a reply.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply<'a> {
    reply_token: &'a str,
    messages: Vec<&'a RawValue>,
}

impl<'a> Reply<'a> {
    /// The messages go in as they are: at most 5.
    pub fn new(reply_token: &'a str, messages: &'a [Message]) -> Self {
        Self { reply_token, messages: messages.iter().map(Message::as_raw).collect() }
    }
}

/// The body of a push.
#[derive(Debug, Serialize)]
pub struct Push<'a> {
    to: &'a str,
    messages: Vec<&'a RawValue>,
}

impl<'a> Push<'a> {
    /// The messages go in as they are: at most 5.
    pub fn new(to: &'a str, messages: &'a [Message]) -> Self {
        Self { to, messages: messages.iter().map(Message::as_raw).collect() }
    }
}

/// What an answer means to whoever sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// LINE took it. For a push that is no proof that the person sees it: LINE says the same for
    /// one who blocked the account.
    Done,
    /// LINE had taken it before, under the same retry key.
    AcceptedBefore,
    /// The reply token is used, expired or another channel's.
    InvalidReplyToken,
    /// LINE does not take our access token for this: nobody's message is at fault.
    Unauthorized {
        /// LINE's own words.
        message: String,
    },
    /// LINE will never take this request.
    Refused {
        /// LINE's own words.
        message: String,
    },
    /// The account's messages of this month are used up.
    MonthlyLimit,
    /// Too many calls at once.
    RateLimited,
    /// LINE failed, and may have sent it nevertheless.
    Retry,
}

impl Answer {
    /// Its name, for logs and labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AcceptedBefore => "accepted_before",
            Self::InvalidReplyToken => "invalid_reply_token",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Refused { .. } => "refused",
            Self::MonthlyLimit => "monthly_limit",
            Self::RateLimited => "rate_limited",
            Self::Retry => "failed",
        }
    }
}

/// Reads an answer.
pub fn classify(status: u16, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    struct Error {
        message: String,
    }
    let message = || {
        let error = serde_json::from_slice::<Error>(body);
        error.map_or_else(|_| format!("status {status}"), |error| error.message)
    };
    match status {
        200..=299 => Answer::Done,
        400 if message() == INVALID_REPLY_TOKEN => Answer::InvalidReplyToken,
        401 | 403 => Answer::Unauthorized { message: message() },
        409 => Answer::AcceptedBefore,
        429 if message().contains("monthly limit") => Answer::MonthlyLimit,
        429 => Answer::RateLimited,
        // 408: a gateway gave up waiting, which says nothing about the message.
        408 | 500.. => Answer::Retry,
        _ => Answer::Refused { message: message() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_what_line_takes() {
        let flex = r#"{"type": "flex", "altText": "1.50"}"#.parse().unwrap();
        assert_eq!(
            serde_json::to_string(&Reply::new("r1", &[Message::text("好的")])).unwrap(),
            r#"{"replyToken":"r1","messages":[{"type":"text","text":"好的"}]}"#
        );
        assert_eq!(
            serde_json::to_string(&Push::new("U1", &[flex, Message::text("hi")])).unwrap(),
            r#"{"to":"U1","messages":[{"type": "flex", "altText": "1.50"},{"type":"text","text":"hi"}]}"#,
            "no byte of a message changes"
        );
    }

    #[test]
    fn answers_are_told_apart() {
        let message = |text: &str| format!(r#"{{"message":"{text}"}}"#);
        let refused = |text: &str| Answer::Refused { message: text.to_owned() };
        for (status, body, answer) in [
            (200, "{}".to_owned(), Answer::Done),
            (202, String::new(), Answer::Done),
            (400, message(INVALID_REPLY_TOKEN), Answer::InvalidReplyToken),
            (
                400,
                message("The property, 'to', is invalid"),
                refused("The property, 'to', is invalid"),
            ),
            (400, "<html>".to_owned(), refused("status 400")),
            (401, String::new(), Answer::Unauthorized { message: "status 401".to_owned() }),
            (404, String::new(), refused("status 404")),
            (408, String::new(), Answer::Retry),
            (409, message("The retry key is already accepted"), Answer::AcceptedBefore),
            (413, String::new(), refused("status 413")),
            (429, message(MONTHLY_LIMIT), Answer::MonthlyLimit),
            (429, message(RATE_LIMIT), Answer::RateLimited),
            (429, String::new(), Answer::RateLimited),
            (500, String::new(), Answer::Retry),
            (599, String::new(), Answer::Retry),
            (302, String::new(), refused("status 302")),
        ] {
            assert_eq!(classify(status, body.as_bytes()), answer, "{status} {body}");
        }
    }
}
