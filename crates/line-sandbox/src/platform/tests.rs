use mainstem_line::api;
use serde_json::json;

use super::*;
use crate::faults::{Fault, FaultRule, Lost};
use crate::{Endpoint, Way};

const KEY: &str = "123e4567-e89b-12d3-a456-426614174000";
const DAY: i64 = 86_400_000;

fn channel(id: &str) -> ChannelId {
    id.parse().unwrap()
}

fn platform() -> Platform {
    let one = |id: &str, provider: &str| {
        format!(
            "[channels.{id}]\nprovider = \"{provider}\"\ndestination = \"{id}\"\n\
             secret = \"secret of {id}\"\naccess_token = \"{id}\"\n"
        )
    };
    let channels = [one("line-07", "p1"), one("line-08", "p1"), one("line-09", "p2")].concat();
    let mut platform = Platform::new(Faults::default(), &Channels::parse(&channels).unwrap());
    platform.befriend(&channel("line-07"), "U1", true);
    platform
}

fn always(fault: Fault) -> Faults {
    let rule =
        FaultRule { channel: None, endpoint: None, after: 0, calls: None, percent: 100.0, fault };
    Faults { seed: 7, rules: vec![rule] }
}

fn text(answer: &Answer) -> &str {
    match &answer.body {
        Body::Json(json) => json,
        Body::Content(_) => panic!("{answer:?}"),
    }
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(text(answer)).unwrap()
}

/// A call of an account with its long-lived token.
struct Caller<'a> {
    platform: &'a mut Platform,
    token: String,
    at: i64,
}

impl Platform {
    fn by(&mut self, id: &str, at: i64) -> Caller<'_> {
        Caller { platform: self, token: format!("Bearer {id}"), at }
    }
}

impl Caller<'_> {
    fn ask(self, endpoint: Endpoint, request: Request<'_>, retry_key: Option<&str>) -> Answer {
        self.platform.call(&Call {
            endpoint,
            authorization: Some(&self.token),
            retry_key,
            traceparent: None,
            at: At::from_millis(self.at),
            request,
        })
    }

    fn send(self, endpoint: Endpoint, body: &Value, retry_key: Option<&str>) -> Answer {
        let body = body.to_string();
        self.ask(endpoint, Request::Body(Ok(body.as_bytes())), retry_key)
    }

    fn push(self, to: &str, retry_key: Option<&str>) -> Answer {
        self.send(Endpoint::Push, &json!({"to": to, "messages": [said("hi")]}), retry_key)
    }

    fn reply(self, token: &str) -> Answer {
        let body = json!({"replyToken": token, "messages": [said("hi")]});
        self.send(Endpoint::Reply, &body, None)
    }
}

fn said(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[test]
fn a_retry_key_sends_once_a_day() {
    let mut platform = platform();
    let first = platform.by("line-07", 0).push("U1", Some(KEY));
    assert_eq!(first.status, 200);
    let again = platform.by("line-07", DAY - 1).push("U1", Some(KEY));
    assert_eq!((again.status, again.accepted_request_id), (409, Some(first.request_id)));
    // LINE looks at the key alone; that the body is another one is counted.
    let other = json!({"to": "U1", "messages": [said("ho")]});
    assert_eq!(platform.by("line-07", 1).send(Endpoint::Push, &other, Some(KEY)).status, 409);
    assert_eq!(platform.by("line-07", 1).push("U1", Some("no uuid")).status, 400);
    assert_eq!(platform.ledger().doubled, 0);
    // Another channel's key is another key.
    assert_eq!(platform.by("line-08", 1).push("U1", Some(KEY)).status, 200);
    assert_eq!(platform.by("line-07", DAY).push("U1", Some(KEY)).status, 200);
    let ledger = platform.ledger();
    let totals = ledger.totals;
    assert_eq!((ledger.doubled, totals.repeated, totals.keys_reused, totals.refused), (1, 2, 1, 1));
}

#[test]
fn a_reply_token_answers_once_within_a_minute_and_only_for_its_account() {
    let mut platform = platform();
    for (token, at) in [("r1", 0), ("r2", 0), ("r1", 59_000)] {
        platform.issue_reply_token(token, &channel("line-07"), "U1", At::from_millis(at));
    }
    assert_eq!(platform.by("line-08", 1).reply("r1").status, 400);
    assert_eq!(platform.by("line-07", 1).reply("r1").status, 200);
    let again = platform.by("line-07", 2).reply("r1");
    assert_eq!(json_of(&again)["message"], api::INVALID_REPLY_TOKEN);
    assert_eq!(platform.by("line-07", 60_000).reply("r2").status, 400);
    assert_eq!(platform.by("line-07", 1).reply("r3").status, 400);
    let ledger = platform.ledger();
    assert_eq!((ledger.totals.replies, ledger.messages[0].user.as_str()), (1, "U1"));
}

#[test]
fn a_reply_takes_no_retry_key() {
    let mut platform = platform();
    platform.issue_reply_token("r1", &channel("line-07"), "U1", At::from_millis(0));
    let body = json!({"replyToken": "r1", "messages": [said("hi")]});
    assert_eq!(platform.by("line-07", 1).send(Endpoint::Reply, &body, Some(KEY)).status, 400);
    assert_eq!(platform.by("line-07", 1).send(Endpoint::Reply, &body, None).status, 200);
}

#[test]
fn a_token_of_fifteen_minutes_is_the_channels_own() {
    let mut platform = platform();
    let mut issue = |id, secret, at| platform.issue_access_token(id, secret, At::from_millis(at));
    assert_eq!(issue("line-07", "secret of line-08", 0), None);
    assert_eq!(issue("line-99", "secret of line-07", 0), None);
    let (first, seconds) = issue("line-07", "secret of line-07", 0).unwrap();
    let (second, _) = issue("line-07", "secret of line-07", 60_000).unwrap();
    assert!(seconds == 899 && first != second);
    for (token, at, status) in [
        (first.as_str(), 899_999, 200),
        (first.as_str(), 900_000, 401),
        (second.as_str(), 900_000, 200),
        ("made up", 0, 401),
        ("line-07", 86_400_000, 200),
    ] {
        assert_eq!(platform.by(token, at).push("U1", None).status, status, "{token} {at}");
    }
    assert_eq!(platform.revoke_tokens(&channel("line-07")), 3);
    for token in [second.as_str(), "line-07"] {
        let answer = platform.by(token, 60_000).push("U1", None);
        assert!(answer.status == 401 && text(&answer).contains("revoked"), "{answer:?}");
    }
    platform.revoke_token("line-08");
    assert_eq!(platform.by("line-08", 0).push("U1", None).status, 401);
    assert_eq!(platform.by("line-09", 0).push("U9", None).status, 200);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let mut platform = platform();
    let read = |platform: &mut Platform, body| {
        platform.by("line-07", 0).ask(Endpoint::Push, Request::Body(body), None).status
    };
    assert_eq!(read(&mut platform, Ok(b"{")), 400);
    assert_eq!(read(&mut platform, Ok(b"7")), 400);
    assert_eq!(read(&mut platform, Err(Unread::TooLarge)), 413);
    assert_eq!(read(&mut platform, Err(Unread::BrokenOff)), 400);
    let answer = platform.by("line-07", 0).push("", None);
    assert_eq!(json_of(&answer)["details"][0]["property"], "to");
    assert_eq!(platform.ledger().totals.refused, 5);
}

#[test]
fn a_lost_answer_was_seen_however_it_is_lost() {
    let mut platform = platform();
    for (index, fault) in [
        Fault::AnswerLost(Lost::Status500),
        Fault::AnswerLost(Lost::Hang),
        Fault::AnswerLost(Lost::Reset),
        Fault::Malformed,
    ]
    .into_iter()
    .enumerate()
    {
        platform.set_faults(always(fault));
        let key = format!("123e4567-e89b-12d3-a456-42661417400{index}");
        let lost = platform.by("line-07", 0).push("U1", Some(&key));
        match fault {
            Fault::AnswerLost(Lost::Status500) => assert_eq!((lost.status, lost.lost), (500, None)),
            Fault::AnswerLost(how) => assert_eq!(lost.lost, Some(how)),
            Fault::Malformed | Fault::Failed | Fault::Latency { .. } | Fault::SlowBody { .. } => {
                assert!(serde_json::from_str::<Value>(text(&lost)).is_err());
            }
        }
        assert_eq!(platform.by("line-07", 1).push("U1", Some(&key)).status, 409);
    }
    let ledger = platform.ledger();
    assert_eq!((ledger.messages.len(), ledger.totals.answers_lost, ledger.doubled), (4, 4, 0));
    assert!(ledger.messages.iter().all(|seen| seen.answer_lost));
    let figures = &platform.figures(At::from_millis(0))[&channel("line-07")];
    assert_eq!((figures.statuses[&0], figures.statuses[&500], figures.statuses[&409]), (2, 1, 4));
}

#[test]
fn a_failure_that_stored_nothing_can_be_tried_again() {
    let mut platform = platform();
    platform.change(
        &channel("line-07"),
        Settings { quota: Some(1), ..Settings::new(&channel("line-07")) },
    );
    platform.issue_reply_token("r1", &channel("line-07"), "U1", At::from_millis(0));
    let mut faults = always(Fault::Failed);
    faults.rules[0].calls = Some(3);
    platform.set_faults(faults);
    let statuses =
        (0..5).map(|_| platform.by("line-07", 0).push("U1", Some(KEY)).status).collect::<Vec<_>>();
    assert_eq!(statuses, [500, 500, 500, 200, 409]);
    // A token is not used up by it.
    let replies = (0..5).map(|_| platform.by("line-07", 0).reply("r1").status).collect::<Vec<_>>();
    assert_eq!(replies, [500, 500, 500, 200, 400]);
    let ledger = platform.ledger();
    assert_eq!((ledger.totals.replies, ledger.totals.pushes, ledger.doubled), (1, 1, 0));
}

#[test]
fn who_is_no_friend_sees_nothing_and_line_says_200() {
    let mut platform = platform();
    let (here, foreign) = (channel("line-07"), channel("line-09"));
    platform.befriend(&here, "U2", false);
    platform.befriend(&here, "U4", true);
    platform.befriend(&foreign, "U3", true);
    let gone = Person { deleted: true, ..platform.people().person("U4") };
    platform.change_person("U4", gone);
    for (user, status) in [("U1", 200), ("U2", 200), ("U4", 200), ("U-new", 200), ("U3", 400)] {
        assert_eq!(platform.by("line-07", 0).push(user, None).status, status, "{user}");
    }
    // The same person in the same provider, but no friend of that account.
    assert_eq!(platform.by("line-08", 0).push("U1", None).status, 200);
    let profile = |platform: &mut Platform, user| {
        platform.by("line-07", 0).ask(Endpoint::Profile, Request::Of(user), None).status
    };
    assert_eq!(
        ["U1", "U2", "U4", "U-new"].map(|user| profile(&mut platform, user)),
        [200, 404, 404, 404]
    );
    let ledger = platform.ledger();
    assert_eq!((ledger.messages.len(), ledger.totals.pushes, ledger.totals.undelivered), (1, 5, 4));
    assert_eq!(ledger.totals.refused, 1);
    platform.befriend(&here, "U1", false);
    assert_eq!(platform.by("line-07", 0).push("U1", None).status, 200);
    assert_eq!(platform.seen_by("U1").messages.len(), 1);
}

#[test]
fn many_at_once_are_counted_by_who_sees_it() {
    let mut platform = platform();
    let here = channel("line-07");
    platform.change(&here, Settings { quota: Some(10), ..Settings::new(&here) });
    for user in ["U2", "U3"] {
        platform.befriend(&here, user, true);
    }
    platform.befriend(&here, "U4", false);
    platform.befriend(&channel("line-09"), "U9", true);
    let to = json!({"to": ["U1", "U2", "U2", "U4", "U9", "U-new"], "messages": [said("m")]});
    let multicast = |platform: &mut Platform, key| {
        platform.by("line-07", 0).send(Endpoint::Multicast, &to, key)
    };
    assert_eq!(text(&multicast(&mut platform, Some(KEY))), "{}");
    assert_eq!(multicast(&mut platform, Some(KEY)).status, 409);
    let to: Vec<_> = (0..501).map(|number| format!("U{number}")).collect();
    let many = json!({"to": to, "messages": [said("m")]});
    assert_eq!(platform.by("line-07", 0).send(Endpoint::Multicast, &many, None).status, 400);
    let all = json!({"messages": [said("b")]});
    assert_eq!(platform.by("line-07", 0).send(Endpoint::Broadcast, &all, None).status, 200);
    let narrow = json!({"messages": [said("n")], "limit": {"max": 2}});
    let narrow = platform.by("line-07", 0).send(Endpoint::Narrowcast, &narrow, None);
    assert_eq!(narrow.status, 202);
    let phase = |platform: &mut Platform, id: &str, at| {
        let answer = platform.by(id, at).ask(
            Endpoint::NarrowcastProgress,
            Request::Of(&narrow.request_id),
            None,
        );
        json_of(&answer)["phase"].as_str().map(str::to_owned)
    };
    for (at, expected) in [(0, "waiting"), (2_000, "sending"), (4_000, "succeeded")] {
        assert_eq!(phase(&mut platform, "line-07", at).as_deref(), Some(expected));
    }
    assert_eq!(phase(&mut platform, "line-08", 0), None);

    let times = |user: &str| platform.seen_by(user).messages.len();
    assert_eq!(["U1", "U2", "U3", "U4", "U9"].map(times), [3, 3, 1, 0, 0]);
    let figures = &platform.figures(At::from_millis(0))[&here];
    assert_eq!(
        (figures.quota_used, figures.totals.multicasts, figures.totals.broadcasts),
        (7, 1, 2)
    );
}

#[test]
fn a_quota_is_for_a_month_and_replies_are_free() {
    let mut platform = platform();
    let here = channel("line-07");
    platform.change(&here, Settings { quota: Some(2), ..Settings::new(&here) });
    platform.befriend(&here, "U2", true);
    platform.issue_reply_token("r1", &here, "U1", At::from_millis(0));
    let push = |platform: &mut Platform, at| platform.by("line-07", at).push("U1", None);
    assert_eq!(push(&mut platform, 0).status, 200);
    let both = json!({"to": ["U1", "U2"], "messages": [said("m"), said("m")]});
    let over = platform.by("line-07", 0).send(Endpoint::Multicast, &both, None);
    assert_eq!((over.status, &json_of(&over)["message"]), (429, &json!(api::MONTHLY_LIMIT)));
    assert_eq!(push(&mut platform, 0).status, 200);
    assert_eq!(push(&mut platform, 0).status, 429);
    assert_eq!(platform.by("line-07", 0).reply("r1").status, 200);
    // Whom it does not reach costs nothing.
    assert_eq!(platform.by("line-07", 0).push("U-new", None).status, 200);
    let ask = |platform: &mut Platform, endpoint, at| {
        json_of(&platform.by("line-07", at).ask(endpoint, Request::Nothing, None))
    };
    assert_eq!(ask(&mut platform, Endpoint::Quota, 0), json!({"type": "limited", "value": 2}));
    assert_eq!(ask(&mut platform, Endpoint::QuotaConsumption, 0), json!({"totalUsage": 2}));
    let next = At::parse("1970-02-01T00:00:00Z").unwrap().as_millis();
    assert_eq!(ask(&mut platform, Endpoint::QuotaConsumption, next), json!({"totalUsage": 0}));
    assert_eq!(push(&mut platform, next).status, 200);
    assert_eq!(platform.ledger().totals.over_quota, 2);
}

#[test]
fn too_many_calls_at_once_are_told_apart_from_the_quota() {
    let mut platform = platform();
    let statuses: Vec<_> = (0..2_001).map(|_| platform.by("line-07", 0).push("U1", None)).collect();
    assert!(statuses[..2_000].iter().all(|answer| answer.status == 200));
    let last = &statuses[2_000];
    assert_eq!((last.status, &json_of(last)["message"]), (429, &json!(api::RATE_LIMIT)));
    // Neither another endpoint nor another channel.
    assert_eq!(platform.by("line-07", 0).reply("r1").status, 400);
    assert_eq!(platform.by("line-08", 0).push("U1", None).status, 200);
    assert_eq!(platform.by("line-07", 1).push("U1", None).status, 200);
    assert_eq!(platform.ledger().totals.rate_limited, 1);
}

#[test]
fn a_group_is_written_to_while_the_account_is_in_it() {
    let mut platform = platform();
    let here = channel("line-07");
    let group = |kind: &str, more: &str| {
        format!(
            r#"{{"type":"{kind}","mode":"active","timestamp":1,"webhookEventId":"{kind}{more}",
                "source":{{"type":"group","groupId":"C1","userId":"U{more}"}}}}"#
        )
    };
    let witness = |platform: &mut Platform, json: &str| {
        let event = mainstem_line::LineEvent::parse(serde_json::from_str(json).unwrap()).unwrap();
        platform.witness(&here, &event, At::from_millis(0));
    };
    assert_eq!(platform.by("line-07", 0).push("C1", None).status, 200, "as a stranger");
    witness(&mut platform, &group("join", "1"));
    witness(&mut platform, &group("message", "2"));
    assert_eq!(platform.by("line-07", 0).push("C1", None).status, 200);
    assert_eq!(platform.figures(At::from_millis(0))[&here].quota_used, 2);
    witness(&mut platform, &group("leave", "1"));
    assert_eq!(platform.by("line-07", 0).push("C1", None).status, 200);
    let ledger = platform.ledger();
    assert_eq!((ledger.messages.len(), ledger.messages[0].way), (1, Way::Push));
}

#[test]
fn content_is_there_for_its_account_until_it_is_taken_back_or_old() {
    let mut platform = platform();
    let here = channel("line-07");
    let at = At::from_millis;
    let sent = Content { media_type: "image/png".to_owned(), bytes: b"picture".as_slice().into() };
    platform.hold(&here, "m1", sent.clone(), at(0));
    let witness = |platform: &mut Platform, json: &Value| {
        let json = json.to_string();
        let event = mainstem_line::LineEvent::parse(serde_json::from_str(&json).unwrap()).unwrap();
        platform.witness(&here, &event, at(0));
    };
    let message = |id: &str, kind: &str| {
        json!({"type": "message", "source": {"type": "user", "userId": "U1"},
            "message": {"type": kind, "id": id}})
    };
    for (id, kind) in [("m1", "image"), ("m2", "video"), ("m3", "audio"), ("m4", "file")] {
        witness(&mut platform, &message(id, kind));
    }
    let fetch = |platform: &mut Platform, id: &str, message: &str, part: &str, millis| {
        let request = Request::Content { message, part };
        platform.by(id, millis).ask(Endpoint::Content, request, None)
    };
    let mut status = |id: &str, message: &str, part: &str, millis| {
        fetch(&mut platform, id, message, part, millis).status
    };
    assert_eq!(status("line-07", "m1", "", 0), 200);
    assert_eq!(status("line-08", "m1", "", 0), 404);
    assert_eq!(status("line-07", "m9", "", 0), 404);
    assert_eq!((status("line-07", "m2", "", 0), status("line-07", "m2", "", 2_000)), (202, 200));
    assert_eq!(status("line-07", "m2", "preview", 2_000), 200);
    assert_eq!(status("line-07", "m3", "preview", 2_000), 404);
    assert_eq!(status("line-07", "m4", "", 14 * DAY), 410);
    let body = fetch(&mut platform, "line-07", "m1", "", 0).body;
    assert_eq!(body, Body::Content(sent));
    let prepared = fetch(&mut platform, "line-07", "m3", "transcoding", 0);
    assert_eq!(json_of(&prepared)["status"], "processing");
    witness(
        &mut platform,
        &json!({"type": "unsend", "unsend": {"messageId": "m1"},
        "source": {"type": "user", "userId": "U1"}}),
    );
    assert_eq!(fetch(&mut platform, "line-07", "m1", "", 0).status, 410);
    let entries = platform.chats().entries(&here, "U1");
    assert!(entries.len() == 4 && entries[0].unsent && !entries[1].unsent);
}

#[test]
fn a_link_token_stands_for_a_person_once_for_ten_minutes() {
    let mut platform = platform();
    platform.befriend(&channel("line-09"), "U9", true);
    let mut issue =
        |user| platform.by("line-07", 0).ask(Endpoint::LinkToken, Request::Of(user), None);
    assert_eq!(issue("U9").status, 404);
    let tokens = [issue("U1"), issue("U1")]
        .map(|answer| json_of(&answer)["linkToken"].as_str().unwrap().to_owned());
    let owner = Some((channel("line-07"), "U1".to_owned()));
    assert_eq!(platform.redeem_link(&tokens[0], At::from_millis(599_999)), owner);
    assert_eq!(platform.redeem_link(&tokens[0], At::from_millis(599_999)), None);
    assert_eq!(platform.redeem_link(&tokens[1], At::from_millis(600_000)), None);
}

#[test]
fn followers_are_told_to_verified_accounts_page_by_page() {
    let mut platform = platform();
    let here = channel("line-07");
    for number in 2..=5 {
        platform.befriend(&here, &format!("U{number}"), number != 3);
    }
    let ask = |platform: &mut Platform, start, limit| {
        let request = Request::Page { start, limit };
        platform.by("line-07", 0).ask(Endpoint::Followers, request, None)
    };
    assert_eq!(ask(&mut platform, None, 2).status, 403);
    platform.change(&here, Settings { verified: true, ..Settings::new(&here) });
    let first = json_of(&ask(&mut platform, None, 2));
    assert_eq!(first, json!({"userIds": ["U1", "U2"], "next": "U2"}));
    let second = json_of(&ask(&mut platform, Some("U2"), 2));
    assert_eq!(second, json!({"userIds": ["U4", "U5"]}));
    assert_eq!(ask(&mut platform, None, 1_001).status, 400);
}
