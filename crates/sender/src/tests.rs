//! Whole items against a LINE that answers by a script, and a notification that is a list.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use bytes::Bytes;
use mainstem_bus::TraceContext;
use mainstem_domain::notification::{Class, Delivery, Ended, Item, Outcome, Standing, Way};
use mainstem_domain::person::Address;
use mainstem_domain::voice::Message;
use mainstem_domain::{At, ChannelId, CustomerId, ItemId, Refusal, RefusalCode, derive_uuid};
use mainstem_line::{Channels, api};
use mainstem_proto::wire::notification as wire;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::deliver::{Fate, Held, Work};
use crate::notification::Notification;
use crate::{Limits, Sender};

const CHANNELS: &str = r#"
[channels.line-07]
provider = "p1"
destination = "U07"
secret = "secret-07"
access_token = "token-07"
"#;
const NOW: At = At::from_millis(1_795_219_200_000);

/// What notification knows, and the codes that it refuses the next calls with.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Page>>);

#[derive(Default)]
struct Page {
    /// What is asked about.
    item: Option<Item>,
    outcome: Option<Outcome>,
    attempts: Vec<String>,
    /// Begun by another sender, right after the next call.
    meanwhile: Option<String>,
    refuse_begin: VecDeque<Option<RefusalCode>>,
    refuse_record: VecDeque<Option<RefusalCode>>,
}

impl Book {
    pub(crate) fn call(&self, method: &str, body: &[u8]) -> Result<Bytes, Refusal> {
        let mut page = self.0.lock().unwrap();
        let begins = method == "begin-delivery";
        if begins {
            // A request that is refused may have been taken all the same.
            let request: wire::BeginDeliveryRequest = serde_json::from_slice(body).unwrap();
            if !page.attempts.contains(&request.attempt) {
                page.attempts.push(request.attempt);
            }
        }
        let refusals = if begins { &mut page.refuse_begin } else { &mut page.refuse_record };
        if let Some(Some(code)) = refusals.pop_front() {
            return Err(Refusal::new(code, "SCRIPTED", "scripted"));
        }
        if !begins {
            let request: wire::RecordOutcomeRequest = serde_json::from_slice(body).unwrap();
            let outcome =
                mainstem_proto::notification::parse_outcome(request.state, request.reason);
            page.outcome.get_or_insert(outcome.unwrap());
        }
        let asked = page.item.clone().unwrap_or_else(|| item(Way::Push));
        let item = Item { attempts: page.attempts.clone(), ..asked };
        let delivery = match page.outcome.clone() {
            None => delivery(item),
            Some(outcome) => Delivery { id: ItemId::derive("1"), standing: ended(&item, outcome) },
        };
        let meanwhile = page.meanwhile.take();
        page.attempts.extend(meanwhile);
        let answer = wire::BeginDeliveryResponse { delivery: Some((&delivery).into()) };
        Ok(serde_json::to_vec(&answer).unwrap().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        self.0.lock().unwrap().outcome.clone()
    }
}

/// LINE: answers by the script, then 200, and keeps what it was asked.
#[derive(Default)]
struct Line {
    script: Mutex<VecDeque<(u16, &'static str)>>,
    /// Limit and consumption; without them, no limit.
    quota: Mutex<Option<(u64, u64)>>,
    calls: Mutex<Vec<(String, HeaderMap, Bytes)>>,
}

async fn answer(
    State(line): State<Arc<Line>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let quota = *line.quota.lock().unwrap();
    let answer = match (uri.path(), quota) {
        (api::QUOTA_PATH, None) => Some(r#"{"type":"none"}"#.to_owned()),
        (api::QUOTA_PATH, Some((limit, _))) => {
            Some(format!(r#"{{"type":"limited","value":{limit}}}"#))
        }
        (api::CONSUMPTION_PATH, quota) => {
            Some(format!(r#"{{"totalUsage":{}}}"#, quota.unwrap_or_default().1))
        }
        _ => None,
    };
    if let Some(answer) = answer {
        return (StatusCode::OK, answer);
    }
    line.calls.lock().unwrap().push((uri.path().to_owned(), headers, body));
    let next = line.script.lock().unwrap().pop_front();
    let (status, message) = next.unwrap_or((200, ""));
    if status == 0 {
        std::future::pending::<()>().await;
    }
    (StatusCode::from_u16(status).unwrap(), format!(r#"{{"message":"{message}"}}"#))
}

struct Bench {
    sender: Sender,
    now: Arc<AtomicI64>,
    line: Arc<Line>,
    book: Book,
    _stop: tokio_util::sync::DropGuard,
}

impl Bench {
    async fn new(script: &[(u16, &'static str)]) -> Self {
        let line = Arc::new(Line::default());
        line.script.lock().unwrap().extend(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(line.clone());
        let stop = CancellationToken::new();
        let serve = axum::serve(listener, router).into_future();
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(serve));
        Self::at(&base, line, stop)
    }

    /// Where nobody listens.
    async fn nowhere() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        Self::at(&base, Arc::default(), CancellationToken::new())
    }

    fn at(base: &str, line: Arc<Line>, stop: CancellationToken) -> Self {
        let book = Book::default();
        let notification = Notification::Memory(book.clone());
        let limits = Limits { call_within: Duration::from_millis(300), ..Limits::default() };
        let channels = Channels::parse(CHANNELS).unwrap();
        let now = Arc::new(AtomicI64::new(NOW.as_millis()));
        let clock = now.clone();
        let clock = Arc::new(move || At::from_millis(clock.load(Ordering::SeqCst)));
        let sender =
            Sender::with("sender".into(), channels, notification, base, clock, limits).unwrap();
        Self { sender, now, line, book, _stop: stop.drop_guard() }
    }

    async fn handle(&self, way: Way, attempt: u64) -> Fate {
        self.take(&item(way), attempt).await
    }

    async fn take(&self, item: &Item, attempt: u64) -> Fate {
        self.book.0.lock().unwrap().item = Some(item.clone());
        self.sender.handle(&mut work(item, attempt)).await.0
    }

    fn paths(&self) -> Vec<String> {
        self.line.calls.lock().unwrap().iter().map(|(path, ..)| path.clone()).collect()
    }
}

fn item(way: Way) -> Item {
    let channel: ChannelId = "line-07".parse().unwrap();
    Item {
        customer: CustomerId::derive("1"),
        carrier: None,
        class: Class::Service,
        address: Address { channel, user: "U1".into() },
        way,
        messages: vec![Message::text("維修完成")],
        asked_at: NOW,
        deadline: None,
        joined: Vec::new(),
        attempts: Vec::new(),
    }
}

fn delivery(item: Item) -> Delivery {
    Delivery { id: ItemId::derive("1"), standing: Standing::Queued(Arc::new(item)) }
}

fn ended(item: &Item, outcome: Outcome) -> Standing {
    Standing::Ended(Arc::new(Ended {
        customer: item.customer,
        carrier: item.carrier,
        class: item.class,
        channel: Some(item.address.channel.clone()),
        asked_at: item.asked_at,
        ended_at: NOW,
        outcome,
    }))
}

/// As the broker hands it out.
fn work(item: &Item, attempt: u64) -> Work {
    let told = wire::Delivery {
        user: String::new(),
        messages: Vec::new(),
        ..wire::Delivery::from(&delivery(item.clone()))
    };
    Work {
        channel: item.address.channel.clone(),
        item: ItemId::derive("1"),
        trace: TraceContext::root("event"),
        body: serde_json::to_vec(&told).unwrap().into(),
        attempt,
        held: Held::new(),
    }
}

fn reply() -> Way {
    Way::Reply { token: "r1".to_owned() }
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed { reason: reason.to_owned().into() }
}

fn given_back(fate: &Fate) -> bool {
    matches!(fate, Fate::RetryAfter(_))
}

#[tokio::test]
async fn a_push_carries_its_key_trace_and_token() {
    let bench = Bench::new(&[]).await;
    assert_eq!(bench.handle(Way::Push, 1).await, Fate::Done);
    assert_eq!(bench.book.outcome(), Some(Outcome::Sent));
    let calls = bench.line.calls.lock().unwrap();
    let [(path, headers, body)] = &calls[..] else { panic!("{calls:?}") };
    let item = ItemId::derive("1");
    assert_eq!(path, api::PUSH_PATH);
    assert_eq!(headers[api::RETRY_KEY_HEADER], derive_uuid(item.as_str()).to_string());
    assert_eq!(headers["authorization"], "Bearer token-07");
    let trace = TraceContext::root("event").child(item.as_str());
    assert_eq!(headers["traceparent"], trace.to_string());
    assert_eq!(body, r#"{"to":"U1","messages":[{"type":"text","text":"維修完成"}]}"#.as_bytes());
}

#[tokio::test]
async fn messages_are_sent_byte_for_byte() {
    let bench = Bench::new(&[(503, "")]).await;
    let mut pushed = item(Way::Push);
    let card = r#"{ "type": "flex", "altText": "1.50", "contents": {"b": 1.0, "a": 1e2} }"#;
    pushed.messages.insert(0, card.parse().unwrap());
    assert!(given_back(&bench.take(&pushed, 1).await));
    assert_eq!(bench.take(&pushed, 2).await, Fate::Done);
    let calls = bench.line.calls.lock().unwrap();
    let text = r#"{"type":"text","text":"維修完成"}"#;
    let body = format!(r#"{{"to":"U1","messages":[{card},{text}]}}"#);
    assert!(calls.iter().all(|(_, _, sent)| sent == body.as_bytes()), "{calls:?}");
}

#[tokio::test]
async fn what_is_settled_is_not_sent() {
    let bench = Bench::new(&[]).await;
    assert_eq!(bench.handle(Way::Push, 1).await, Fate::Done);
    assert_eq!(bench.handle(reply(), 2).await, Fate::Done);
    assert_eq!(bench.paths().len(), 1);
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_is_sent_again_with_the_same_key() {
    let bench = Bench::new(&[(500, ""), (0, ""), (409, "already accepted")]).await;
    assert!(given_back(&bench.handle(Way::Push, 1).await));
    assert!(given_back(&bench.handle(Way::Push, 2).await));
    assert_eq!(bench.book.outcome(), None);
    assert_eq!(bench.handle(Way::Push, 3).await, Fate::Done);
    assert_eq!(bench.book.outcome(), Some(Outcome::Sent));
    let calls = bench.line.calls.lock().unwrap();
    assert!(
        calls.iter().all(|call| call.1[api::RETRY_KEY_HEADER] == calls[0].1[api::RETRY_KEY_HEADER])
    );
}

#[tokio::test]
async fn a_reply_whose_answer_is_lost_is_never_pushed() {
    for script in [(500, ""), (0, "")] {
        let bench = Bench::new(&[script]).await;
        assert_eq!(bench.handle(reply(), 1).await, Fate::Done);
        assert_eq!(bench.book.outcome(), Some(failed("reply unknown")));
        assert_eq!(bench.paths(), [api::REPLY_PATH]);
        assert!(!bench.line.calls.lock().unwrap()[0].1.contains_key(api::RETRY_KEY_HEADER));
    }
}

#[tokio::test]
async fn a_dead_token_becomes_a_push_and_stays_one() {
    let dead = (400, api::INVALID_REPLY_TOKEN);
    let bench = Bench::new(&[dead, (503, ""), dead]).await;
    assert!(given_back(&bench.handle(reply(), 1).await));
    assert_eq!(bench.handle(reply(), 2).await, Fate::Done);
    assert_eq!(bench.book.outcome(), Some(Outcome::Sent));
    let (reply, push) = (api::REPLY_PATH, api::PUSH_PATH);
    assert_eq!(bench.paths(), [reply, push, reply, push]);
}

#[tokio::test]
async fn after_a_crash_a_dead_token_may_have_been_used() {
    let bench = Bench::new(&[(400, api::INVALID_REPLY_TOKEN)]).await;
    bench.book.0.lock().unwrap().attempts.push("another sender's".to_owned());
    // The broker was killed too, and calls it the first.
    assert_eq!(bench.handle(reply(), 1).await, Fate::Done);
    assert_eq!(bench.book.outcome(), Some(failed("reply unknown")));
    assert_eq!(bench.paths().len(), 1);
}

#[tokio::test]
async fn who_began_while_this_sender_slept_may_have_used_the_token() {
    let bench = Bench::new(&[(400, api::INVALID_REPLY_TOKEN)]).await;
    bench.book.0.lock().unwrap().meanwhile = Some("another sender's".to_owned());
    assert_eq!(bench.handle(reply(), 1).await, Fate::Done);
    assert_eq!(bench.book.outcome(), Some(failed("reply unknown")));
    assert_eq!(bench.paths(), [api::REPLY_PATH]);
}

#[tokio::test]
async fn a_dead_token_waits_for_who_knows_whether_it_was_used() {
    let dead = (400, api::INVALID_REPLY_TOKEN);
    let bench = Bench::new(&[dead, dead]).await;
    bench.book.0.lock().unwrap().refuse_begin = [None, Some(RefusalCode::Unavailable)].into();
    assert!(given_back(&bench.handle(reply(), 1).await));
    assert_eq!(bench.book.outcome(), None);
    assert_eq!(bench.handle(reply(), 2).await, Fate::Done);
    assert_eq!(bench.paths(), [api::REPLY_PATH, api::REPLY_PATH, api::PUSH_PATH]);
    assert_eq!(bench.book.outcome(), Some(Outcome::Sent));
}

#[tokio::test]
async fn an_attempt_that_was_not_made_has_not_used_the_token() {
    let bench = Bench::new(&[(400, api::INVALID_REPLY_TOKEN)]).await;
    bench.book.0.lock().unwrap().refuse_begin = [Some(RefusalCode::Unavailable)].into();
    assert!(given_back(&bench.handle(reply(), 1).await));
    let mut late = Work { held: Held::until(Duration::ZERO), ..work(&item(reply()), 2) };
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(bench.sender.handle(&mut late).await.0, Fate::Leave);
    assert_eq!(bench.book.0.lock().unwrap().attempts.len(), 2);
    assert_eq!(bench.handle(reply(), 3).await, Fate::Done);
    assert_eq!(bench.paths(), [api::REPLY_PATH, api::PUSH_PATH]);
    assert_eq!(bench.book.outcome(), Some(Outcome::Sent));
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let bench = Bench::nowhere().await;
    assert!(given_back(&bench.handle(reply(), 1).await));
    assert!(given_back(&bench.handle(Way::Push, 1).await));
    assert_eq!(bench.book.outcome(), None);
}

#[tokio::test]
async fn lines_words_are_kept_without_the_person() {
    let bench = Bench::new(&[(400, "U1 is not a friend")]).await;
    assert_eq!(bench.handle(Way::Push, 1).await, Fate::Done);
    assert_eq!(bench.book.outcome(), Some(failed("LINE: *** is not a friend")));
}

#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_is_not_sent_for_again() {
    let bench = Bench::new(&[]).await;
    bench.book.0.lock().unwrap().refuse_record =
        [RefusalCode::Unavailable, RefusalCode::PermissionDenied].map(Some).into();
    assert!(given_back(&bench.handle(reply(), 1).await));
    assert_eq!(bench.book.outcome(), None);
    assert_eq!(bench.handle(reply(), 2).await, Fate::Done);
    assert_eq!(bench.book.outcome(), Some(Outcome::Sent));
    assert_eq!(bench.paths(), [api::REPLY_PATH]);
}

#[tokio::test]
async fn without_notification_nothing_is_sent() {
    let bench = Bench::new(&[]).await;
    bench.book.0.lock().unwrap().refuse_begin =
        [RefusalCode::Unavailable, RefusalCode::NotFound, RefusalCode::NotFound].map(Some).into();
    assert!(given_back(&bench.handle(Way::Push, 1).await));
    assert!(given_back(&bench.handle(Way::Push, 2).await));
    let fate = bench.handle(Way::Push, 10).await;
    assert_eq!(fate, Fate::Reject("notification refuses: SCRIPTED".to_owned()));
    assert!(bench.paths().is_empty());
}

#[tokio::test]
async fn what_cannot_be_an_item_is_rejected_and_what_is_old_fails() {
    let bench = Bench::new(&[]).await;
    let good = || work(&item(Way::Push), 1);
    for mut strange in [
        Work { body: "private".into(), ..good() },
        Work { body: "{}".into(), ..good() },
        Work { item: ItemId::derive("2"), ..good() },
        Work { channel: "line-08".parse().unwrap(), ..good() },
    ] {
        let Fate::Reject(reason) = bench.sender.handle(&mut strange).await.0 else { panic!() };
        assert!(!reason.contains("private"), "{reason}");
    }
    let asked_at = At::from_millis(NOW.as_millis() - 24 * 3_600_000);
    let old = Item { asked_at, ..item(Way::Push) };
    assert_eq!(bench.take(&old, 50).await, Fate::Done);
    assert_eq!(bench.book.outcome(), Some(failed("not sent within 23 h")));
    assert!(bench.paths().is_empty());
}

#[tokio::test]
async fn what_is_held_for_too_long_is_left_to_the_next_sender() {
    let bench = Bench::new(&[]).await;
    let mut late = Work { held: Held::until(Duration::ZERO), ..work(&item(reply()), 1) };
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(bench.sender.handle(&mut late).await.0, Fate::Leave);
    assert!(bench.paths().is_empty());
}

/// An item of that class that is pushed, and has not been before.
async fn push_of(bench: &Bench, class: Class) -> Fate {
    *bench.book.0.lock().unwrap() = Page::default();
    let item = Item { class, ..item(Way::Push) };
    bench.take(&item, 1).await
}

#[tokio::test]
async fn marketing_leaves_a_tenth_of_the_month_to_what_people_wait_for() {
    let bench = Bench::new(&[]).await;
    *bench.line.quota.lock().unwrap() = Some((20, 17));
    assert_eq!(push_of(&bench, Class::Marketing).await, Fate::Done);
    assert!(given_back(&push_of(&bench, Class::Marketing).await), "two are left of twenty");
    assert_eq!(push_of(&bench, Class::Service).await, Fate::Done);
    assert_eq!(push_of(&bench, Class::Transactional).await, Fate::Done);
    assert!(given_back(&push_of(&bench, Class::Service).await), "nothing is left");
    assert_eq!(bench.handle(reply(), 1).await, Fate::Done, "a reply costs nothing");
    let (push, reply) = (api::PUSH_PATH, api::REPLY_PATH);
    assert_eq!(bench.paths(), [push, push, push, reply]);
    // The month turns.
    *bench.line.quota.lock().unwrap() = Some((20, 0));
    assert!(given_back(&push_of(&bench, Class::Service).await), "it was asked a moment ago");
    bench.now.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(push_of(&bench, Class::Marketing).await, Fate::Done);
}

#[tokio::test]
async fn an_account_at_its_monthly_limit_still_replies() {
    let bench = Bench::new(&[(429, api::MONTHLY_LIMIT)]).await;
    assert!(given_back(&push_of(&bench, Class::Service).await));
    assert!(given_back(&push_of(&bench, Class::Service).await));
    assert_eq!(bench.paths(), [api::PUSH_PATH], "it is not tried again until the quota shows room");
    assert_eq!(bench.handle(reply(), 1).await, Fate::Done);
    // A reply whose token is dead would be pushed.
    *bench.book.0.lock().unwrap() = Page::default();
    bench.line.script.lock().unwrap().push_back((400, api::INVALID_REPLY_TOKEN));
    assert!(given_back(&bench.handle(reply(), 1).await));
    assert_eq!(bench.paths(), [api::PUSH_PATH, api::REPLY_PATH, api::REPLY_PATH]);
    bench.now.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(push_of(&bench, Class::Service).await, Fate::Done);
}

#[tokio::test]
async fn what_waited_for_the_month_for_too_long_ends() {
    for (class, outcome) in [
        (Class::Service, failed("not sent within 23 h")),
        (Class::Marketing, Outcome::Expired { reason: "not sent within 23 h".into() }),
    ] {
        let bench = Bench::new(&[]).await;
        *bench.line.quota.lock().unwrap() = Some((20, 20));
        assert!(given_back(&push_of(&bench, class).await));
        bench.now.fetch_add(24 * 3_600_000, Ordering::SeqCst);
        assert_eq!(push_of(&bench, class).await, Fate::Done);
        assert_eq!(bench.book.outcome(), Some(outcome));
        assert!(bench.paths().is_empty());
    }
}

#[tokio::test]
async fn all_accounts_together_take_no_more_than_a_stop_can_wait_for() {
    let mut bench = Bench::nowhere().await;
    bench.sender.limits.in_work = 3;
    let sender = &bench.sender;
    let mut in_work = vec![Arc::clone(&sender.in_work); 2];
    assert!(sender.has_room(2, 32));
    in_work.push(Arc::clone(&sender.in_work));
    // Who has none may always take one.
    assert!(!sender.has_room(2, 32) && sender.has_room(0, 32));
    in_work.pop();
    assert!(sender.has_room(2, 32) && !sender.has_room(2, 2));
}
