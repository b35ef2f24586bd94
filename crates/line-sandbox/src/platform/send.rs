//! The calls that send.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mainstem_domain::{At, ChannelId, derive_uuid};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Done, Refused};
use super::calls::{Call, Request, read};
use super::chats::{Author, Entry};
use super::people::Reach;
use super::retries::Accepted;
use super::{Platform, parse};
use crate::check::{Invalid, check};
use crate::faults::Fault;
use crate::ledger::{Seen, Way};
use crate::shown::shown;

/// A narrowcast is begun after this, and done after as long again.
const NARROWCAST_STEP: Duration = Duration::from_secs(2);

/// A narrowcast that was accepted.
pub(super) struct Narrowcast {
    channel: ChannelId,
    at: At,
    people: u64,
}

/// Whom a call reaches.
struct Audience {
    way: Way,
    /// Who sees it: people, groups and rooms.
    to: Vec<String>,
    /// Counted in the quota.
    people: u64,
    reply_token: Option<String>,
}

impl Platform {
    /// A call that fails on purpose is answered 500 where it would be accepted, and nothing is stored.
    pub(super) fn send(
        &mut self,
        call: &Call<'_>,
        way: Way,
        channel: &ChannelId,
        fault: Option<Fault>,
    ) -> Result<Done, Refused> {
        let key = retry_key(call, way)?;
        let Request::Body(body) = call.request else {
            return Err(Refused::new(405, "Method not allowed"));
        };
        let bytes = read(body)?;
        let body = parse(bytes)?;
        check(call.endpoint, &body).map_err(|why| Refused::invalid(&why))?;
        let digest = digest(&body);
        if let Some(before) = key.and_then(|key| self.retries.before(channel, key, call.at)) {
            let (request_id, same) = (before.request_id.clone(), before.digest == digest);
            self.account(channel)?.figures.totals.keys_reused += u64::from(!same);
            return Err(Refused {
                accepted_request_id: Some(request_id),
                ..Refused::new(409, "The retry key is already accepted")
            });
        }
        let audience = self.audience(call, way, channel, &body)?;
        let account = self.account(channel)?;
        let quota = account.settings.quota.filter(|_| way != Way::Reply);
        if !account.usage.has_room(audience.people, quota, call.at) {
            account.figures.totals.over_quota += 1;
            return Err(Refused::monthly_limit());
        }
        if fault == Some(Fault::Failed) {
            return Err(Refused::failed());
        }

        if way != Way::Reply {
            account.usage.take(audience.people, quota, call.at);
        }
        let request_id = self.next_request_id();
        if let Some(key) = key {
            let accepted = Accepted { at: call.at, digest, request_id: request_id.clone() };
            self.retries.note(channel, key, accepted);
        }
        if let Some(token) = &audience.reply_token {
            self.replies.used(token);
        }
        if way == Way::Narrowcast {
            let narrowcast =
                Narrowcast { channel: channel.clone(), at: call.at, people: audience.people };
            self.narrowcasts.insert(request_id.clone(), narrowcast);
        }
        let lost = matches!(fault, Some(Fault::AnswerLost(_) | Fault::Malformed));
        self.count(channel, &audience, key, lost)?;
        let sent = self.deliver(call, channel, audience, &body, &request_id, lost);
        let body = match way {
            Way::Reply | Way::Push => json!({"sentMessages": sent}),
            Way::Multicast | Way::Narrowcast | Way::Broadcast => json!({}),
        };
        let status = if way == Way::Narrowcast { 202 } else { 200 };
        Ok(Done { status, request_id: Some(request_id), ..Done::json(&body) })
    }

    /// How far a narrowcast is, by the clock.
    pub(super) fn progress(
        &self,
        channel: &ChannelId,
        request_id: &str,
        at: At,
    ) -> Result<Done, Refused> {
        let held = self.narrowcasts.get(request_id).filter(|held| held.channel == *channel);
        let held = held.ok_or_else(Refused::not_found)?;
        let age = at.since(held.at);
        let accepted = held.at.to_string();
        Ok(Done::json(&if age < NARROWCAST_STEP {
            json!({"phase": "waiting", "acceptedTime": accepted})
        } else if age < NARROWCAST_STEP * 2 {
            json!({"phase": "sending", "successCount": 0, "failureCount": 0,
                "targetCount": held.people, "acceptedTime": accepted})
        } else {
            json!({"phase": "succeeded", "successCount": held.people, "failureCount": 0,
                "targetCount": held.people, "acceptedTime": accepted,
                "completedTime": held.at.after(NARROWCAST_STEP * 2).to_string()})
        }))
    }

    /// Whom a reply answers sees it: LINE does not say what becomes of an answer to one who blocks
    /// the account within the token's minute.
    fn audience(
        &self,
        call: &Call<'_>,
        way: Way,
        channel: &ChannelId,
        body: &Value,
    ) -> Result<Audience, Refused> {
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        let audience = |to, people| Audience { way, to, people, reply_token: None };
        match way {
            Way::Reply => {
                let token = text("replyToken");
                let to = self.replies.good(token, channel, call.at);
                let to = to.ok_or_else(Refused::invalid_reply_token)?.to_owned();
                let reply_token = Some(token.to_owned());
                Ok(Audience { reply_token, ..audience(vec![to], 0) })
            }
            Way::Multicast => {
                let ids = body["to"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let once: BTreeSet<_> = ids.collect();
                let seen = |user: &&str| self.people.reach(channel, user) == Reach::Seen(1);
                let to: Vec<_> = once.into_iter().filter(seen).map(str::to_owned).collect();
                let people = count(&to);
                Ok(audience(to, people))
            }
            Way::Narrowcast | Way::Broadcast => {
                // Who fits a description would be told by LINE's own knowledge of people.
                for field in ["recipient", "filter"] {
                    if body.get(field).is_some_and(|value| !value.is_null()) {
                        let why = Invalid::field(field, "The stand-in has no audiences");
                        return Err(Refused::invalid(&why));
                    }
                }
                let most = body.pointer("/limit/max").and_then(Value::as_u64);
                let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
                let friends = self.people.friends(channel).take(most);
                let to: Vec<_> = friends.map(str::to_owned).collect();
                let people = count(&to);
                Ok(audience(to, people))
            }
            Way::Push => {
                let to = text("to").to_owned();
                match self.people.reach(channel, &to) {
                    Reach::Seen(people) => Ok(audience(vec![to], people)),
                    Reach::Nobody => Ok(audience(Vec::new(), 0)),
                    Reach::Foreign => Err(Refused::new(
                        400,
                        "The property, 'to', in the request body is invalid (line: -, column: -)",
                    )),
                }
            }
        }
    }

    fn count(
        &mut self,
        channel: &ChannelId,
        audience: &Audience,
        key: Option<Uuid>,
        lost: bool,
    ) -> Result<(), Refused> {
        let totals = &mut self.account(channel)?.figures.totals;
        totals.accepted += 1;
        totals.answers_lost += u64::from(lost);
        match audience.way {
            Way::Reply => totals.replies += 1,
            Way::Push => {
                totals.pushes += 1;
                totals.pushes_without_key += u64::from(key.is_none());
                totals.undelivered += u64::from(audience.to.is_empty());
            }
            Way::Multicast => totals.multicasts += 1,
            Way::Narrowcast | Way::Broadcast => totals.broadcasts += 1,
        }
        Ok(())
    }

    /// Shows the messages to all who see them; gives what LINE says of each message.
    fn deliver(
        &mut self,
        call: &Call<'_>,
        channel: &ChannelId,
        audience: Audience,
        body: &Value,
        request_id: &str,
        answer_lost: bool,
    ) -> Vec<Value> {
        let messages = Arc::new(body["messages"].as_array().cloned().unwrap_or_default());
        let shared: Vec<_> = messages.iter().map(|message| Arc::new(message.clone())).collect();
        let texts: Vec<_> = messages.iter().map(shown).collect();
        let ids: Vec<_> = messages.iter().map(|_| self.next_message_id()).collect();
        for user in audience.to {
            for (message, id) in shared.iter().zip(&ids) {
                let by = Author::Account;
                let entry = Entry::new(call.at, by, Some(id.clone()), Arc::clone(message));
                self.chats.say(channel, &user, entry);
            }
            self.seen.push(Seen {
                at: call.at.to_string(),
                channel: channel.clone(),
                user,
                way: audience.way,
                texts: texts.clone(),
                messages: Arc::clone(&messages),
                retry_key: call.retry_key.map(str::to_owned),
                reply_token: audience.reply_token.clone(),
                traceparent: call.traceparent.map(str::to_owned),
                request_id: request_id.to_owned(),
                answer_lost,
            });
        }
        let quotable = |message: &Value| {
            let kind = message["type"].as_str();
            matches!(kind, Some("text" | "textV2" | "sticker" | "image" | "video" | "template"))
        };
        let sent = ids.into_iter().zip(messages.iter()).map(|(id, message)| {
            let token = derive_uuid(&id).simple().to_string();
            if quotable(message) {
                json!({"id": id, "quoteToken": token})
            } else {
                json!({"id": id})
            }
        });
        sent.collect()
    }
}

/// The same for the same values, whatever their order.
fn digest(body: &Value) -> Uuid {
    let mut sorted = body.clone();
    sorted.sort_all_objects();
    derive_uuid(&sorted.to_string())
}

fn count(all: &[String]) -> u64 {
    u64::try_from(all.len()).unwrap_or(u64::MAX)
}

fn retry_key(call: &Call<'_>, way: Way) -> Result<Option<Uuid>, Refused> {
    let Some(key) = call.retry_key else { return Ok(None) };
    if way == Way::Reply {
        return Err(Refused::new(400, "The retry key header is not supported for this endpoint"));
    }
    let key = Uuid::parse_str(key).map_err(|_| Refused::new(400, "The retry key is not a UUID"))?;
    Ok(Some(key))
}
