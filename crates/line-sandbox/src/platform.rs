//! LINE's side of reply and push, without I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::{At, ChannelId, derive_uuid};
use mainstem_line::api;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::ledger::{Ledger, Seen, Totals, Way};

/// LINE says "about a minute".
const TOKEN_LIVES: Duration = Duration::from_mins(1);
/// After this the same retry key sends again.
const KEY_LIVES: Duration = Duration::from_hours(24);
const MOST_MESSAGES: usize = 5;
const MOST_UTF16_UNITS: usize = 5_000;

/// What goes wrong on purpose, the same at every run with the same seed and calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Seeds the draws.
    pub seed: u64,
    /// Of 100 accepted calls so many are answered 500 although the user sees the message.
    pub answer_lost_percent: u8,
}

/// What the platform remembers of all its accounts.
pub struct Platform {
    faults: Faults,
    draws: ChaCha8Rng,
    tokens: BTreeMap<String, Token>,
    keys: BTreeMap<(ChannelId, String), Accepted>,
    seen: Vec<Seen>,
    counts: BTreeMap<ChannelId, Totals>,
    requests: u64,
}

struct Token {
    channel: ChannelId,
    user: String,
    issued_at: At,
    used: bool,
}

struct Accepted {
    at: At,
    body: Value,
    request_id: String,
}

/// One call of an account that has shown its access token.
#[derive(Clone, Copy, Debug)]
pub struct SendCall<'a> {
    /// The account.
    pub channel: &'a ChannelId,
    /// The raw body.
    pub body: &'a [u8],
    /// `x-line-retry-key`.
    pub retry_key: Option<&'a str>,
    /// `traceparent`.
    pub traceparent: Option<&'a str>,
    /// Now.
    pub at: At,
}

/// What the account is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
    /// `x-line-request-id`.
    pub request_id: String,
    /// `x-line-accepted-request-id`; only with 409.
    pub accepted_request_id: Option<String>,
}

/// A call that is refused, with LINE's words.
struct Refused {
    status: u16,
    body: Value,
    accepted_request_id: Option<String>,
}

impl Refused {
    fn new(status: u16, message: &str) -> Self {
        Self { status, body: json!({"message": message}), accepted_request_id: None }
    }

    fn field(property: &str, message: &str) -> Self {
        let details = json!([{"message": message, "property": property}]);
        let body = json!({"message": "The request body has 1 error(s)", "details": details});
        Self { status: 400, body, accepted_request_id: None }
    }
}

impl Platform {
    /// Nobody has seen anything.
    pub fn new(faults: Faults) -> Self {
        Self {
            faults,
            draws: ChaCha8Rng::seed_from_u64(faults.seed),
            tokens: BTreeMap::new(),
            keys: BTreeMap::new(),
            seen: Vec::new(),
            counts: BTreeMap::new(),
            requests: 0,
        }
    }

    /// Gives the account the right to answer the user once. A token that is known already stays as
    /// it is: a redelivery carries the same one.
    pub fn issue_reply_token(&mut self, token: &str, channel: &ChannelId, user: &str, at: At) {
        self.tokens.entry(token.to_owned()).or_insert_with(|| Token {
            channel: channel.clone(),
            user: user.to_owned(),
            issued_at: at,
            used: false,
        });
    }

    /// Answers an event.
    pub fn reply(&mut self, call: SendCall<'_>) -> Answer {
        let seen = self.check_reply(call);
        self.finish(call, seen)
    }

    /// Writes to a user. The stand-in knows no strangers: everybody is a friend.
    pub fn push(&mut self, call: SendCall<'_>) -> Answer {
        let seen = self.check_push(call);
        self.finish(call, seen)
    }

    /// An answer without a call, e.g. for a wrong access token.
    pub fn refuse(&mut self, status: u16, message: &str) -> Answer {
        let request_id = self.next_request_id();
        let body = json!({"message": message});
        Answer { status, body, request_id, accepted_request_id: None }
    }

    /// What every user saw until now.
    pub fn ledger(&self) -> Ledger {
        Ledger::of(self.seen.clone(), &self.counts)
    }

    fn check_reply(&mut self, call: SendCall<'_>) -> Result<Seen, Refused> {
        if call.retry_key.is_some() {
            return Err(Refused::new(
                400,
                "The retry key header is not supported for this endpoint",
            ));
        }
        let body = parse(call.body)?;
        let token = text(&body, "replyToken")?;
        let texts = texts(&body)?;
        let held = self.tokens.get_mut(token).filter(|held| {
            !held.used
                && held.channel == *call.channel
                && call.at.since(held.issued_at) < TOKEN_LIVES
        });
        let held = held.ok_or_else(|| Refused::new(400, api::INVALID_REPLY_TOKEN))?;
        held.used = true;
        let user = held.user.clone();
        Ok(self.seen(call, Way::Reply, user, texts, Some(token)))
    }

    fn check_push(&mut self, call: SendCall<'_>) -> Result<Seen, Refused> {
        let body = parse(call.body)?;
        let user = text(&body, "to")?.to_owned();
        let texts = texts(&body)?;
        if let Some(key) = call.retry_key {
            if uuid::Uuid::parse_str(key).is_err() {
                return Err(Refused::new(400, "The retry key is not a UUID"));
            }
            let key = (call.channel.clone(), key.to_ascii_lowercase());
            let before = self.keys.get(&key).filter(|held| call.at.since(held.at) < KEY_LIVES);
            match before {
                Some(before) if before.body == body => {
                    return Err(Refused {
                        accepted_request_id: Some(before.request_id.clone()),
                        ..Refused::new(409, "The retry key is already accepted")
                    });
                }
                // LINE asks for the same body; a stand-in that is silent here would hide a bug.
                Some(_) => {
                    return Err(Refused::new(400, "The retry key was used with another body"));
                }
                None => {}
            }
            let seen = self.seen(call, Way::Push, user, texts, None);
            let request_id = seen.request_id.clone();
            self.keys.insert(key, Accepted { at: call.at, body, request_id });
            return Ok(seen);
        }
        Ok(self.seen(call, Way::Push, user, texts, None))
    }

    fn seen(
        &mut self,
        call: SendCall<'_>,
        way: Way,
        user: String,
        texts: Vec<String>,
        reply_token: Option<&str>,
    ) -> Seen {
        let lost = self.faults.answer_lost_percent;
        Seen {
            at: call.at.to_string(),
            channel: call.channel.clone(),
            user,
            way,
            texts,
            retry_key: call.retry_key.map(str::to_owned),
            reply_token: reply_token.map(str::to_owned),
            traceparent: call.traceparent.map(str::to_owned),
            request_id: self.next_request_id(),
            answer_lost: lost > 0 && self.draws.random_range(0..100) < lost,
        }
    }

    fn finish(&mut self, call: SendCall<'_>, outcome: Result<Seen, Refused>) -> Answer {
        let counts = self.counts.entry(call.channel.clone()).or_default();
        let seen = match outcome {
            Ok(seen) => seen,
            Err(Refused { status, body, accepted_request_id }) => {
                let repeated = status == 409;
                counts.repeated += u64::from(repeated);
                counts.refused += u64::from(!repeated);
                let request_id = self.next_request_id();
                return Answer { status, body, request_id, accepted_request_id };
            }
        };
        let reply = seen.way == Way::Reply;
        counts.accepted += 1;
        counts.replies += u64::from(reply);
        counts.pushes += u64::from(!reply);
        counts.pushes_without_key += u64::from(!reply && seen.retry_key.is_none());
        counts.answers_lost += u64::from(seen.answer_lost);
        let sent: Vec<_> = seen
            .texts
            .iter()
            .enumerate()
            .map(|(index, _)| json!({"id": index.to_string()}))
            .collect();
        let (status, body) = if seen.answer_lost {
            (500, json!({"message": "Internal Server Error"}))
        } else {
            (200, json!({"sentMessages": sent}))
        };
        let request_id = seen.request_id.clone();
        self.seen.push(seen);
        Answer { status, body, request_id, accepted_request_id: None }
    }

    fn next_request_id(&mut self) -> String {
        self.requests += 1;
        derive_uuid(&format!("line-sandbox request {}", self.requests)).to_string()
    }
}

fn parse(body: &[u8]) -> Result<Value, Refused> {
    serde_json::from_slice(body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| Refused::new(400, "The request body could not be parsed as JSON"))
}

fn text<'a>(body: &'a Value, property: &str) -> Result<&'a str, Refused> {
    let text = body.get(property).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| Refused::field(property, "May not be empty"))
}

fn texts(body: &Value) -> Result<Vec<String>, Refused> {
    let messages = body.get("messages").and_then(Value::as_array);
    let messages = messages.filter(|messages| (1..=MOST_MESSAGES).contains(&messages.len()));
    let Some(messages) = messages else {
        return Err(Refused::field("messages", "Size must be between 1 and 5"));
    };
    let read = messages.iter().enumerate().map(|(index, message)| {
        let refuse =
            |field: &str, what| Refused::field(&format!("messages[{index}].{field}"), what);
        if message.get("type").and_then(Value::as_str) != Some("text") {
            return Err(refuse("type", "Must be text: this stand-in takes no other type yet"));
        }
        let text = message.get("text").and_then(Value::as_str).unwrap_or_default();
        match text.encode_utf16().count() {
            0 => Err(refuse("text", "May not be empty")),
            1..=MOST_UTF16_UNITS => Ok(text.to_owned()),
            _ => Err(refuse("text", "Length must be between 0 and 5000")),
        }
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "123e4567-e89b-12d3-a456-426614174000";

    fn channel(id: &str) -> ChannelId {
        id.parse().unwrap()
    }

    fn body(to: &str, text: &str) -> Vec<u8> {
        serde_json::to_vec(&api::Push::texts(to, &[text.to_owned()])).unwrap()
    }

    fn push(platform: &mut Platform, body: &[u8], retry_key: Option<&str>, at: i64) -> Answer {
        let (channel, at) = (channel("line-07"), At::from_millis(at));
        platform.push(SendCall { channel: &channel, body, retry_key, traceparent: None, at })
    }

    fn reply(platform: &mut Platform, channel_id: &str, token: &str, at: i64) -> Answer {
        let (channel, at) = (channel(channel_id), At::from_millis(at));
        let body = serde_json::to_vec(&api::Reply::texts(token, &["hi".to_owned()])).unwrap();
        let call =
            SendCall { channel: &channel, body: &body, retry_key: None, traceparent: None, at };
        platform.reply(call)
    }

    #[test]
    fn a_retry_key_sends_once_a_day() {
        let mut platform = Platform::new(Faults::default());
        let first = push(&mut platform, &body("U1", "hi"), Some(KEY), 0);
        assert_eq!(first.status, 200);
        let again = push(&mut platform, &body("U1", "hi"), Some(KEY), 86_399_999);
        assert_eq!(again.status, 409);
        assert_eq!(again.accepted_request_id, Some(first.request_id));
        assert_eq!(push(&mut platform, &body("U1", "ho"), Some(KEY), 1).status, 400);
        assert_eq!(push(&mut platform, &body("U1", "hi"), Some("no uuid"), 1).status, 400);
        assert_eq!(platform.ledger().doubled, 0);
        assert_eq!(push(&mut platform, &body("U1", "hi"), Some(KEY), 86_400_000).status, 200);
        let ledger = platform.ledger();
        assert_eq!((ledger.doubled, ledger.totals.repeated, ledger.totals.refused), (1, 1, 2));
    }

    #[test]
    fn a_reply_token_answers_once_within_a_minute_and_only_for_its_account() {
        let mut platform = Platform::new(Faults::default());
        for (token, at) in [("r1", 0), ("r2", 0), ("r1", 59_000)] {
            platform.issue_reply_token(token, &channel("line-07"), "U1", At::from_millis(at));
        }
        assert_eq!(reply(&mut platform, "line-08", "r1", 1).status, 400);
        assert_eq!(reply(&mut platform, "line-07", "r1", 1).status, 200);
        let again = reply(&mut platform, "line-07", "r1", 2);
        assert_eq!(again.body["message"], api::INVALID_REPLY_TOKEN);
        assert_eq!(reply(&mut platform, "line-07", "r2", 60_000).status, 400);
        assert_eq!(reply(&mut platform, "line-07", "r3", 1).status, 400);
        let ledger = platform.ledger();
        assert_eq!((ledger.totals.replies, ledger.messages[0].user.as_str()), (1, "U1"));
    }

    #[test]
    fn a_reply_takes_no_retry_key() {
        let mut platform = Platform::new(Faults::default());
        platform.issue_reply_token("r1", &channel("line-07"), "U1", At::from_millis(0));
        let (channel, body) = (
            channel("line-07"),
            serde_json::to_vec(&api::Reply::texts("r1", &["hi".to_owned()])).unwrap(),
        );
        let at = At::from_millis(1);
        let call = SendCall {
            channel: &channel,
            body: &body,
            retry_key: Some(KEY),
            traceparent: None,
            at,
        };
        assert_eq!(platform.reply(call).status, 400);
        assert_eq!(platform.reply(SendCall { retry_key: None, ..call }).status, 200);
    }

    #[test]
    fn what_line_refuses_is_refused() {
        let mut platform = Platform::new(Faults::default());
        let most = "𝄞".repeat(2_500);
        assert_eq!(push(&mut platform, &body("U1", &most), None, 0).status, 200);
        for (body, property) in [
            (body("U1", &format!("{most}x")), "messages[0].text"),
            (body("U1", ""), "messages[0].text"),
            (body("", "hi"), "to"),
            (br#"{"to":"U1"}"#.to_vec(), "messages"),
            (br#"{"to":"U1","messages":[]}"#.to_vec(), "messages"),
            (br#"{"to":"U1","messages":[{"type":"hologram"}]}"#.to_vec(), "messages[0].type"),
        ] {
            let answer = push(&mut platform, &body, None, 0);
            assert_eq!(
                (answer.status, &answer.body["details"][0]["property"]),
                (400, &json!(property))
            );
        }
        assert_eq!(push(&mut platform, b"{", None, 0).status, 400);
        assert_eq!(push(&mut platform, b"7", None, 0).status, 400);
        assert_eq!(platform.ledger().totals.pushes_without_key, 1);
    }

    #[test]
    fn a_lost_answer_was_seen() {
        let mut platform = Platform::new(Faults { seed: 7, answer_lost_percent: 100 });
        assert_eq!(push(&mut platform, &body("U1", "hi"), Some(KEY), 0).status, 500);
        assert_eq!(push(&mut platform, &body("U1", "hi"), Some(KEY), 1).status, 409);
        let ledger = platform.ledger();
        assert_eq!((ledger.messages.len(), ledger.totals.answers_lost), (1, 1));
        assert!(ledger.messages[0].answer_lost);
    }
}
