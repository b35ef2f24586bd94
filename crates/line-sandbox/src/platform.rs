//! LINE's side of reply and push, without I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::{At, ChannelId, derive_uuid};
use mainstem_line::{Channels, LineEvent, api};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::ledger::{Ledger, Seen, Totals, Way};
use crate::message;
use crate::people::{Line, People, Reach};

/// LINE says "about a minute".
const TOKEN_LIVES: Duration = Duration::from_mins(1);
/// After this the same retry key sends again.
const KEY_LIVES: Duration = Duration::from_hours(24);

/// What goes wrong on purpose, the same at every run with the same seed and calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Seeds the draws.
    pub seed: u64,
    /// Of 100 accepted calls so many are answered 500 although the user sees the message.
    pub answer_lost_percent: u8,
    /// Of 100 accepted calls so many are answered 200 with a body that is no JSON.
    pub malformed_percent: u8,
    /// Of 100 calls so many are answered 500, and nothing is stored.
    pub failed_percent: u8,
    /// Each call is answered so many milliseconds late at least.
    pub least_latency_ms: u16,
    /// And so many at most; less than the least means the least.
    pub most_latency_ms: u16,
}

/// What the platform remembers of all its accounts.
pub struct Platform {
    faults: Faults,
    draws: ChaCha8Rng,
    tokens: BTreeMap<String, Token>,
    keys: BTreeMap<(ChannelId, String), Accepted>,
    people: People,
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
    /// The body: JSON, unless it is malformed on purpose.
    pub body: String,
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

    fn invalid_token() -> Self {
        Self::new(400, api::INVALID_REPLY_TOKEN)
    }

    fn field(property: &str, message: &str) -> Self {
        let details = json!([{"message": message, "property": property}]);
        let body = json!({"message": "The request body has 1 error(s)", "details": details});
        Self { status: 400, body, accepted_request_id: None }
    }
}

impl Platform {
    /// Nobody has seen anything, and nobody is anybody's friend.
    pub fn new(faults: Faults, channels: &Channels) -> Self {
        Self {
            people: People::new(channels),
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

    /// Makes a person a friend of an account, as `follow` does, or one who blocked it.
    pub fn befriend(&mut self, channel: &ChannelId, user: &str, friend: bool) {
        self.people.befriend(channel, user, friend);
    }

    /// A person did something: whom the account reaches, and what it may answer, follow from it.
    pub(crate) fn witness(&mut self, channel: &ChannelId, event: &LineEvent<'_>, at: At) {
        let source = &event.source;
        let spoke = source.person().or(source.group.as_deref()).or(source.room.as_deref());
        if let (Some(token), Some(spoke)) = (&event.reply_token, spoke) {
            self.issue_reply_token(token, channel, spoke, at);
        }
        self.people.witness(channel, event, at);
    }

    pub(crate) fn people(&self) -> &People {
        &self.people
    }

    /// How late the next answer is.
    pub(crate) fn latency(&mut self) -> Duration {
        let (least, most) = (self.faults.least_latency_ms, self.faults.most_latency_ms);
        let millis = if least < most { self.draws.random_range(least..=most) } else { least };
        Duration::from_millis(u64::from(millis))
    }

    /// Answers an event.
    pub fn reply(&mut self, call: SendCall<'_>) -> Answer {
        let seen = self.check_reply(call);
        self.finish(call, seen.map(|seen| (seen, true)))
    }

    /// Writes to a user. Who is no friend sees nothing, and LINE says 200 nevertheless.
    pub fn push(&mut self, call: SendCall<'_>) -> Answer {
        let seen = self.check_push(call);
        self.finish(call, seen)
    }

    /// An answer without a call, e.g. for a wrong access token.
    pub fn refuse(&mut self, status: u16, message: &str) -> Answer {
        let request_id = self.next_request_id();
        let body = json!({"message": message}).to_string();
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
        self.may_fail()?;
        let held = self.tokens.get_mut(token).filter(|held| {
            !held.used
                && held.channel == *call.channel
                && call.at.since(held.issued_at) < TOKEN_LIVES
        });
        let held = held.ok_or_else(Refused::invalid_token)?;
        held.used = true;
        let user = held.user.clone();
        Ok(self.seen(call, Way::Reply, user, texts, Some(token)))
    }

    /// What was accepted, and whether its user sees it.
    fn check_push(&mut self, call: SendCall<'_>) -> Result<(Seen, bool), Refused> {
        let body = parse(call.body)?;
        let user = text(&body, "to")?.to_owned();
        let texts = texts(&body)?;
        let reach = self.people.reach(call.channel, &user);
        if reach == Reach::Foreign {
            return Err(Refused::new(400, "The property, 'to', in the request body is invalid"));
        }
        if call.retry_key.is_some_and(|key| uuid::Uuid::parse_str(key).is_err()) {
            return Err(Refused::new(400, "The retry key is not a UUID"));
        }
        let key = call.retry_key.map(|key| (call.channel.clone(), key.to_ascii_lowercase()));
        let before = key.as_ref().and_then(|key| self.keys.get(key));
        match before.filter(|held| call.at.since(held.at) < KEY_LIVES) {
            Some(before) if before.body == body => {
                return Err(Refused {
                    accepted_request_id: Some(before.request_id.clone()),
                    ..Refused::new(409, "The retry key is already accepted")
                });
            }
            // LINE asks for the same body; a stand-in that is silent here would hide a bug.
            Some(_) => return Err(Refused::new(400, "The retry key was used with another body")),
            None => {}
        }
        self.may_fail()?;
        let seen = self.seen(call, Way::Push, user, texts, None);
        if let Some(key) = key {
            let request_id = seen.request_id.clone();
            self.keys.insert(key, Accepted { at: call.at, body, request_id });
        }
        Ok((seen, reach == Reach::Friend))
    }

    /// A 500 that stored nothing.
    fn may_fail(&mut self) -> Result<(), Refused> {
        if self.happens(self.faults.failed_percent) {
            return Err(Refused::new(500, "Internal Server Error"));
        }
        Ok(())
    }

    fn happens(&mut self, percent: u8) -> bool {
        percent > 0 && self.draws.random_range(0..100) < percent
    }

    fn seen(
        &mut self,
        call: SendCall<'_>,
        way: Way,
        user: String,
        texts: Vec<String>,
        reply_token: Option<&str>,
    ) -> Seen {
        let answer_lost = self.happens(self.faults.answer_lost_percent);
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
            answer_lost,
        }
    }

    fn finish(&mut self, call: SendCall<'_>, outcome: Result<(Seen, bool), Refused>) -> Answer {
        let (mut seen, delivered) = match outcome {
            Ok(accepted) => accepted,
            Err(Refused { status, body, accepted_request_id }) => {
                let counts = self.counts.entry(call.channel.clone()).or_default();
                let repeated = status == 409;
                counts.repeated += u64::from(repeated);
                counts.refused += u64::from(!repeated);
                let request_id = self.next_request_id();
                return Answer { status, body: body.to_string(), request_id, accepted_request_id };
            }
        };
        let (status, body) = if seen.answer_lost {
            (500, json!({"message": "Internal Server Error"}).to_string())
        } else if self.happens(self.faults.malformed_percent) {
            seen.answer_lost = true;
            (200, "{\"sentMessages\":[".to_owned())
        } else {
            let ids = (0..seen.texts.len()).map(|index| json!({"id": index.to_string()}));
            (200, json!({"sentMessages": ids.collect::<Vec<_>>()}).to_string())
        };
        let counts = self.counts.entry(call.channel.clone()).or_default();
        let reply = seen.way == Way::Reply;
        counts.accepted += 1;
        counts.replies += u64::from(reply);
        counts.pushes += u64::from(!reply);
        counts.pushes_without_key += u64::from(!reply && seen.retry_key.is_none());
        counts.undelivered += u64::from(!delivered);
        counts.answers_lost += u64::from(seen.answer_lost);
        let request_id = seen.request_id.clone();
        if delivered {
            for text in &seen.texts {
                let line = Line { at: call.at, by_person: false, text: text.clone() };
                self.people.say(call.channel, &seen.user, line);
            }
            self.seen.push(seen);
        }
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
    message::read(body).map_err(|wrong| Refused::field(&wrong.property, wrong.message))
}

#[cfg(test)]
mod tests;
