//! Every call, from the access token to the answer.

use mainstem_domain::{At, ChannelId};
use serde_json::json;

use super::answer::{Answer, Body, Done, Refused};
use super::media::Fetched;
use super::people::{Friendship, Reach};
use super::{Account, Platform, access, parse};
use crate::Endpoint;
use crate::check::{Invalid, check};
use crate::faults::{Fault, Lost, Met};

/// The status of an answer that never came.
const NO_ANSWER: u16 = 0;
const MOST_FOLLOWERS: usize = 1_000;

/// One call, as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) authorization: Option<&'a str>,
    /// `x-line-retry-key`.
    pub(crate) retry_key: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) at: At,
    pub(crate) request: Request<'a>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request<'a> {
    /// Nothing but what the endpoint says.
    Nothing,
    /// A body.
    Body(Result<&'a [u8], Unread>),
    /// Something of that id: a user's, a message's or a request's.
    Of(&'a str),
    /// A message's content, or a small picture of it.
    Content { message: &'a str, part: &'a str },
    /// A page of a list.
    Page { start: Option<&'a str>, limit: usize },
}

/// Why a body is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLarge,
    BrokenOff,
}

impl Platform {
    /// Answers a call; what it asks for has happened then, whatever becomes of the answer.
    pub(crate) fn call(&mut self, call: &Call<'_>) -> Answer {
        let channel = match self.access.holder(call.authorization, call.at) {
            Ok(channel) => channel.clone(),
            Err(denied) => {
                let request_id = self.next_request_id();
                let refused = Refused::denied(denied);
                return Answer::new(refused.status, &refused.body, request_id);
            }
        };
        let met = self.faults.next(&channel, call.endpoint);
        let done = self.take(call, &channel, met);
        self.finish(call.endpoint, &channel, met, done)
    }

    /// Issues an access token to the channel that presents itself; `None`: LINE knows it not.
    pub(crate) fn issue_access_token(
        &mut self,
        client_id: &str,
        client_secret: &str,
        at: At,
    ) -> Option<(String, u64)> {
        let channel = access::client(&self.channels, client_id, client_secret)?.clone();
        Some(self.access.issue(&channel, at))
    }

    /// One access token is good no more.
    pub(crate) fn revoke_token(&mut self, token: &str) {
        self.access.revoke(token);
    }

    fn take(&mut self, call: &Call<'_>, channel: &ChannelId, met: Met) -> Result<Done, Refused> {
        let account = self.account(channel)?;
        *account.figures.calls.entry(call.endpoint).or_default() += 1;
        let way = call.endpoint.way();
        let limit = account.settings.limits.get(&call.endpoint).copied();
        if !account.buckets.take(call.endpoint, limit, call.at) {
            account.figures.totals.rate_limited += u64::from(way.is_some());
            return Err(Refused::rate_limit());
        }
        if let Some(way) = way {
            return self.send(call, way, channel, met.fault);
        }
        if met.fault == Some(Fault::Failed) {
            return Err(Refused::failed());
        }
        match (call.endpoint, call.request) {
            (Endpoint::Validate, Request::Body(body)) => {
                let body = parse(read(body)?)?;
                check(Endpoint::Validate, &body).map_err(|why| Refused::invalid(&why))?;
                Ok(Done::json(&json!({})))
            }
            (Endpoint::Loading, Request::Body(body)) => {
                let body = parse(read(body)?)?;
                check(Endpoint::Loading, &body).map_err(|why| Refused::invalid(&why))?;
                Ok(Done { status: 202, ..Done::json(&json!({})) })
            }
            (Endpoint::WebhookEndpoint, request) => self.webhook(channel, request),
            (Endpoint::Quota, _) => {
                let quota = self.account(channel)?.settings.quota;
                Ok(Done::json(&match quota {
                    Some(value) => json!({"type": "limited", "value": value}),
                    None => json!({"type": "none"}),
                }))
            }
            (Endpoint::QuotaConsumption, _) => {
                let used = self.account(channel)?.usage.used(call.at);
                Ok(Done::json(&json!({"totalUsage": used})))
            }
            (Endpoint::NarrowcastProgress, Request::Of(id)) => self.progress(channel, id, call.at),
            (Endpoint::Profile, Request::Of(user)) => self.profile(channel, user),
            (Endpoint::Followers, Request::Page { start, limit }) => {
                self.followers(channel, start, limit)
            }
            (Endpoint::Content, Request::Content { message, part }) => {
                self.content(channel, message, part, call.at)
            }
            (Endpoint::LinkToken, Request::Of(user)) => {
                if self.people.reach(channel, user) == Reach::Foreign {
                    return Err(Refused::not_found());
                }
                let token = self.links.issue(channel, user, call.at);
                Ok(Done::json(&json!({"linkToken": token})))
            }
            (Endpoint::BotInfo, _) => {
                let known = self.channels.get(channel).ok_or_else(Refused::not_found)?;
                let id = known.destination.clone();
                let settings = &self.account(channel)?.settings;
                Ok(Done::json(&json!({
                    "userId": id, "basicId": settings.basic_id, "displayName": settings.name,
                    "chatMode": "bot", "markAsReadMode": "auto",
                })))
            }
            _ => Err(Refused::new(405, "Method not allowed")),
        }
    }

    /// Gives the answer, or what is left of it.
    fn finish(
        &mut self,
        endpoint: Endpoint,
        channel: &ChannelId,
        met: Met,
        done: Result<Done, Refused>,
    ) -> Answer {
        let accepted = done.is_ok();
        let mut answer = match done {
            Ok(Done { status, body, request_id }) => {
                let request_id = request_id.unwrap_or_else(|| self.next_request_id());
                Answer { body, ..Answer::new(status, &json!({}), request_id) }
            }
            Err(Refused { status, body, accepted_request_id }) => {
                let request_id = self.next_request_id();
                Answer { accepted_request_id, ..Answer::new(status, &body, request_id) }
            }
        };
        (answer.latency, answer.slow_body) = (met.latency, met.slow_body);
        match met.fault.filter(|_| accepted) {
            Some(Fault::AnswerLost(Lost::Status500)) => {
                let refused = Refused::failed();
                answer.status = refused.status;
                answer.body = Body::Json(refused.body.to_string());
            }
            Some(Fault::AnswerLost(lost)) => answer.lost = Some(lost),
            Some(Fault::Malformed) => answer.body = Body::Json("{\"sentMessages\":[".to_owned()),
            _ => {}
        }
        if let Some(account) = self.accounts.get_mut(channel) {
            let figures = &mut account.figures;
            let status = if answer.lost.is_some() { NO_ANSWER } else { answer.status };
            *figures.statuses.entry(status).or_default() += 1;
            figures.latency.note(answer.latency + answer.slow_body);
            if endpoint.way().is_some() && !accepted {
                let repeated = answer.status == 409;
                figures.totals.repeated += u64::from(repeated);
                figures.totals.refused += u64::from(!repeated);
            }
        }
        answer
    }

    pub(super) fn account(&mut self, channel: &ChannelId) -> Result<&mut Account, Refused> {
        self.accounts.get_mut(channel).ok_or_else(Refused::not_found)
    }

    /// `GET` asks, `PUT` sets.
    fn webhook(&mut self, channel: &ChannelId, request: Request<'_>) -> Result<Done, Refused> {
        let settings = &mut self.account(channel)?.settings;
        let Request::Body(body) = request else {
            let Some(endpoint) = &settings.webhook else { return Err(Refused::not_found()) };
            return Ok(Done::json(&json!({"endpoint": endpoint, "active": true})));
        };
        let body = parse(read(body)?)?;
        let endpoint = body["endpoint"].as_str().filter(|url| url.starts_with("http"));
        let Some(endpoint) = endpoint else {
            let why = Invalid::field("endpoint", "Must be a valid HTTPS URL");
            return Err(Refused::invalid(&why));
        };
        settings.webhook = Some(endpoint.to_owned());
        Ok(Done::json(&json!({})))
    }

    /// Of friends alone: whoever blocked the account, left LINE or never came is not found.
    fn profile(&self, channel: &ChannelId, user: &str) -> Result<Done, Refused> {
        let person = self.people.person(user);
        let friend = self.people.friendship(channel, user) == Some(Friendship::Friend);
        if !friend || person.deleted {
            return Err(Refused::not_found());
        }
        let mut profile = json!({"userId": user, "displayName": person.name});
        if let Some(language) = person.language {
            profile["language"] = language.into();
        }
        if let Some(status) = person.status {
            profile["statusMessage"] = status.into();
        }
        Ok(Done::json(&profile))
    }

    fn followers(
        &mut self,
        channel: &ChannelId,
        start: Option<&str>,
        limit: usize,
    ) -> Result<Done, Refused> {
        if !self.account(channel)?.settings.verified {
            return Err(Refused::new(403, "Access to this API is not available for your account"));
        }
        if !(1..=MOST_FOLLOWERS).contains(&limit) {
            return Err(Refused::invalid(&Invalid::field("limit", "Must be from 1 to 1000")));
        }
        let behind = |user: &&str| start.is_none_or(|start| *user > start);
        let mut users = self.people.friends(channel).filter(behind);
        let page: Vec<_> = users.by_ref().take(limit).collect();
        let mut body = json!({"userIds": page});
        if let (Some(last), Some(_)) = (page.last(), users.next()) {
            body["next"] = (*last).into();
        }
        Ok(Done::json(&body))
    }

    fn content(
        &self,
        channel: &ChannelId,
        message: &str,
        part: &str,
        at: At,
    ) -> Result<Done, Refused> {
        let fetched = self.media.fetch(channel, message, part == "preview", at);
        if part == "transcoding" {
            return match fetched {
                Fetched::Here(_) => Ok(Done::json(&json!({"status": "succeeded"}))),
                Fetched::Preparing => Ok(Done::json(&json!({"status": "processing"}))),
                Fetched::Gone => Ok(Done::json(&json!({"status": "failed"}))),
                Fetched::Unknown => Err(Refused::not_found()),
            };
        }
        match fetched {
            Fetched::Here(content) => {
                Ok(Done { status: 200, body: Body::Content(content), request_id: None })
            }
            Fetched::Preparing => Ok(Done { status: 202, ..Done::json(&json!({})) }),
            Fetched::Gone => Err(Refused::new(410, "Gone")),
            Fetched::Unknown => Err(Refused::not_found()),
        }
    }
}

/// The bytes of a body, or why there are none.
pub(super) fn read(body: Result<&[u8], Unread>) -> Result<&[u8], Refused> {
    body.map_err(|unread| match unread {
        Unread::TooLarge => Refused::new(413, "The request body is larger than 2 MB"),
        Unread::BrokenOff => Refused::new(400, "The request body broke off"),
    })
}
