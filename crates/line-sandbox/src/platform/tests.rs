use super::*;

const KEY: &str = "123e4567-e89b-12d3-a456-426614174000";

fn channel(id: &str) -> ChannelId {
    id.parse().unwrap()
}

fn platform(faults: Faults) -> Platform {
    let one = |id: &str, provider: &str| {
        format!(
            "[channels.{id}]\nprovider = \"{provider}\"\ndestination = \"{id}\"\n\
             secret = \"s\"\naccess_token = \"t\"\n"
        )
    };
    let channels = [one("line-07", "p1"), one("line-08", "p1"), one("line-09", "p2")].concat();
    let mut platform = Platform::new(faults, &Channels::parse(&channels).unwrap());
    platform.befriend(&channel("line-07"), "U1", true);
    platform
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
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
    let call = SendCall { channel: &channel, body: &body, retry_key: None, traceparent: None, at };
    platform.reply(call)
}

#[test]
fn a_retry_key_sends_once_a_day() {
    let mut platform = platform(Faults::default());
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
    let mut platform = platform(Faults::default());
    for (token, at) in [("r1", 0), ("r2", 0), ("r1", 59_000)] {
        platform.issue_reply_token(token, &channel("line-07"), "U1", At::from_millis(at));
    }
    assert_eq!(reply(&mut platform, "line-08", "r1", 1).status, 400);
    assert_eq!(reply(&mut platform, "line-07", "r1", 1).status, 200);
    let again = reply(&mut platform, "line-07", "r1", 2);
    assert_eq!(json(&again)["message"], api::INVALID_REPLY_TOKEN);
    assert_eq!(reply(&mut platform, "line-07", "r2", 60_000).status, 400);
    assert_eq!(reply(&mut platform, "line-07", "r3", 1).status, 400);
    let ledger = platform.ledger();
    assert_eq!((ledger.totals.replies, ledger.messages[0].user.as_str()), (1, "U1"));
}

#[test]
fn a_reply_takes_no_retry_key() {
    let mut platform = platform(Faults::default());
    platform.issue_reply_token("r1", &channel("line-07"), "U1", At::from_millis(0));
    let (channel, body) = (
        channel("line-07"),
        serde_json::to_vec(&api::Reply::texts("r1", &["hi".to_owned()])).unwrap(),
    );
    let at = At::from_millis(1);
    let call =
        SendCall { channel: &channel, body: &body, retry_key: Some(KEY), traceparent: None, at };
    assert_eq!(platform.reply(call).status, 400);
    assert_eq!(platform.reply(SendCall { retry_key: None, ..call }).status, 200);
}

#[test]
fn what_line_refuses_is_refused() {
    let mut platform = platform(Faults::default());
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
            (answer.status, &json(&answer)["details"][0]["property"]),
            (400, &json!(property))
        );
    }
    assert_eq!(push(&mut platform, b"{", None, 0).status, 400);
    assert_eq!(push(&mut platform, b"7", None, 0).status, 400);
    assert_eq!(platform.ledger().totals.pushes_without_key, 1);
}

#[test]
fn a_lost_answer_was_seen() {
    let mut platform = platform(Faults { seed: 7, answer_lost_percent: 100, ..Faults::default() });
    assert_eq!(push(&mut platform, &body("U1", "hi"), Some(KEY), 0).status, 500);
    assert_eq!(push(&mut platform, &body("U1", "hi"), Some(KEY), 1).status, 409);
    let ledger = platform.ledger();
    assert_eq!((ledger.messages.len(), ledger.totals.answers_lost), (1, 1));
    assert!(ledger.messages[0].answer_lost);
}

#[test]
fn who_is_no_friend_sees_nothing_and_line_says_200() {
    let mut platform = platform(Faults::default());
    let (here, sister, foreign) = (channel("line-07"), channel("line-08"), channel("line-09"));
    platform.befriend(&here, "U2", false);
    platform.befriend(&foreign, "U3", true);
    for (user, status) in [("U1", 200), ("U2", 200), ("U-stranger", 200), ("U3", 400)] {
        assert_eq!(push(&mut platform, &body(user, "hi"), None, 0).status, status, "{user}");
    }
    // The same person in the same provider, but no friend of that account.
    let body = body("U1", "hi");
    let at = At::from_millis(0);
    let call = SendCall { channel: &sister, body: &body, retry_key: None, traceparent: None, at };
    assert_eq!(platform.push(call).status, 200);
    let ledger = platform.ledger();
    assert_eq!((ledger.messages.len(), ledger.totals.pushes, ledger.totals.undelivered), (1, 4, 3));
    assert_eq!(ledger.totals.refused, 1);
    platform.befriend(&here, "U1", false);
    assert_eq!(push(&mut platform, &body, None, 0).status, 200);
    assert_eq!(platform.ledger().messages.len(), 1);
}

#[test]
fn a_failure_that_stored_nothing_can_be_tried_again() {
    let faults = Faults { failed_percent: 90, seed: 1, ..Faults::default() };
    let mut platform = platform(faults);
    platform.issue_reply_token("r1", &channel("line-07"), "U1", At::from_millis(0));
    let statuses: Vec<_> =
        (0..40).map(|_| push(&mut platform, &body("U1", "hi"), Some(KEY), 0).status).collect();
    let accepted = statuses.iter().position(|status| *status == 200).unwrap();
    assert!(accepted > 0 && statuses[..accepted].iter().all(|status| *status == 500));
    assert!(statuses[accepted + 1..].iter().all(|status| *status == 409), "{statuses:?}");
    // A token is not used up by it.
    while reply(&mut platform, "line-07", "r1", 1).status == 500 {}
    let ledger = platform.ledger();
    assert_eq!((ledger.totals.replies, ledger.totals.pushes, ledger.doubled), (1, 1, 0));
}

#[test]
fn an_answer_can_be_malformed_and_late() {
    let faults = Faults {
        malformed_percent: 100,
        least_latency_ms: 3,
        most_latency_ms: 9,
        ..Faults::default()
    };
    let mut platform = platform(faults);
    let answer = push(&mut platform, &body("U1", "hi"), Some(KEY), 0);
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_str::<Value>(&answer.body).is_err());
    assert_eq!(platform.ledger().totals.answers_lost, 1);
    let late: Vec<_> = (0..100).map(|_| platform.latency().as_millis()).collect();
    assert!(late.contains(&3) && late.contains(&9) && late.iter().all(|ms| (3..=9).contains(ms)));
}
