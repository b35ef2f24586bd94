//! Tokens and answers against a LINE that keeps a list.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use mainstem_domain::At;
use mainstem_line::Channels;
use mainstem_line::api::{self, Answer};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::{CallError, Fetched, Heard, LineClient, Quota, Send, Urls};

const CHANNELS: &str = r#"
[channels.issued]
provider = "p1"
destination = "U1"
channel_id = "1654321"
secret = "s&cret"
previous_secret = "before"

[channels.fixed]
provider = "p1"
destination = "U2"
secret = "secret"
access_token = "long-lived"
"#;

/// Takes the newest token it issued, and the fixed one.
#[derive(Default)]
struct Line {
    issued: AtomicU64,
    refuses_to_issue: Mutex<Option<StatusCode>>,
    /// The only secret that it takes; none: any.
    takes: Mutex<Option<String>>,
    forms: Mutex<Vec<String>>,
    sent: Mutex<Vec<String>>,
}

impl Line {
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let newest = format!("Bearer token-{}", self.issued.load(Ordering::SeqCst));
        headers["authorization"] == newest || headers["authorization"] == "Bearer long-lived"
    }
}

async fn issue(State(line): State<Arc<Line>>, form: String) -> Response {
    line.forms.lock().unwrap().push(form);
    let takes = line.takes.lock().unwrap().clone();
    if takes.is_some_and(|secret| !line.forms.lock().unwrap().last().unwrap().ends_with(&secret)) {
        return (StatusCode::BAD_REQUEST, r#"{"error":"invalid_client"}"#).into_response();
    }
    if let Some(status) = *line.refuses_to_issue.lock().unwrap() {
        return (status, r#"{"error":"invalid_client"}"#).into_response();
    }
    let number = line.issued.fetch_add(1, Ordering::SeqCst) + 1;
    format!(r#"{{"token_type":"Bearer","access_token":"token-{number}","expires_in":900}}"#)
        .into_response()
}

async fn push(State(line): State<Arc<Line>>, headers: HeaderMap, body: String) -> Response {
    if !line.lets_in(&headers) {
        return (StatusCode::UNAUTHORIZED, r#"{"message":"no"}"#).into_response();
    }
    line.sent.lock().unwrap().push(body);
    "{}".into_response()
}

async fn profile(Path(user): Path<String>) -> Response {
    match user.as_str() {
        "U1" => r#"{"userId":"U1","displayName":"小明","language":"zh-TW"}"#.into_response(),
        "U2" => r#"{"userId":"U2","displayName":"Ann"}"#.into_response(),
        "U3" => "[".into_response(),
        _ => (StatusCode::NOT_FOUND, r#"{"message":"Not found"}"#).into_response(),
    }
}

async fn content(Path(message): Path<String>) -> Response {
    match message.as_str() {
        "1" => ([("content-type", "image/png")], "picture").into_response(),
        "2" => StatusCode::ACCEPTED.into_response(),
        "3" => StatusCode::GONE.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

struct Bench {
    client: LineClient,
    line: Arc<Line>,
    now: Arc<AtomicI64>,
    _stop: DropGuard,
}

impl Bench {
    async fn new() -> Self {
        let line = Arc::new(Line::default());
        let router = Router::new()
            .route("/oauth2/v3/token", post(issue))
            .route(api::PUSH_PATH, post(push))
            .route(api::QUOTA_PATH, get(async || r#"{"type":"limited","value":200}"#))
            .route(api::CONSUMPTION_PATH, get(async || r#"{"totalUsage":17}"#))
            .route("/v2/bot/profile/{user}", get(profile))
            .route("/v2/bot/message/{message}/content", get(content))
            .with_state(line.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serve = axum::serve(listener, router).into_future();
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(serve));
        let now = Arc::new(AtomicI64::new(1_795_219_200_000));
        let clock = now.clone();
        let clock = Arc::new(move || At::from_millis(clock.load(Ordering::SeqCst)));
        let urls = Urls { api: url.clone(), data: url };
        let channels = Channels::parse(CHANNELS).unwrap();
        let client = LineClient::new(&channels, &urls, Duration::from_secs(5), clock).unwrap();
        Self { client, line, now, _stop: stop.drop_guard() }
    }

    fn account(&self, channel: &str) -> crate::Account<'_> {
        self.client.account(&channel.parse().unwrap()).unwrap()
    }

    async fn send(&self, channel: &str) -> Heard {
        let body = "{}".into();
        let send = Send { path: api::PUSH_PATH, retry_key: None, traceparent: "t", body };
        self.account(channel).send(send).await
    }

    fn issued(&self) -> u64 {
        self.line.issued.load(Ordering::SeqCst)
    }
}

const DONE: Heard = Heard::Answer(Answer::Done);

#[tokio::test]
async fn one_token_serves_many_calls_until_shortly_before_its_end() {
    let bench = Bench::new().await;
    let calls = (0..20).map(|_| bench.send("issued"));
    for heard in futures_all(calls).await {
        assert_eq!(heard, DONE);
    }
    assert_eq!(bench.issued(), 1);
    let form = bench.line.forms.lock().unwrap()[0].clone();
    assert_eq!(form, "grant_type=client_credentials&client_id=1654321&client_secret=s%26cret");
    bench.now.fetch_add(719_000, Ordering::SeqCst);
    assert_eq!(bench.send("issued").await, DONE);
    assert_eq!(bench.issued(), 1);
    bench.now.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(bench.send("issued").await, DONE);
    assert_eq!(bench.issued(), 2);
}

#[tokio::test]
async fn a_revoked_token_is_renewed_once_and_nothing_is_sent_twice() {
    let bench = Bench::new().await;
    assert_eq!(bench.send("issued").await, DONE);
    // Somebody else's is the newest now.
    bench.line.issued.fetch_add(1, Ordering::SeqCst);
    assert_eq!(bench.send("issued").await, DONE);
    assert_eq!((bench.issued(), bench.line.sent.lock().unwrap().len()), (3, 2));
    assert_eq!(bench.send("fixed").await, DONE);
    assert_eq!(bench.issued(), 3);
}

#[tokio::test]
async fn while_line_issues_none_the_old_one_serves_until_its_end() {
    let bench = Bench::new().await;
    assert_eq!(bench.send("issued").await, DONE);
    *bench.line.refuses_to_issue.lock().unwrap() = Some(StatusCode::INTERNAL_SERVER_ERROR);
    bench.now.fetch_add(800_000, Ordering::SeqCst);
    assert_eq!(bench.send("issued").await, DONE);
    assert_eq!(bench.send("issued").await, DONE);
    assert_eq!(bench.line.forms.lock().unwrap().len(), 2, "not at every call");
    bench.now.fetch_add(100_000, Ordering::SeqCst);
    assert_eq!(bench.send("issued").await, Heard::NotSent);
    *bench.line.refuses_to_issue.lock().unwrap() = Some(StatusCode::BAD_REQUEST);
    let heard = bench.send("issued").await;
    assert!(matches!(heard, Heard::Answer(Answer::Unauthorized { .. })), "{heard:?}");
    assert_eq!(bench.line.forms.lock().unwrap().len(), 5, "both secrets were tried");
    assert_eq!(bench.line.sent.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn while_a_secret_is_reissued_the_one_before_is_tried_too() {
    let bench = Bench::new().await;
    *bench.line.takes.lock().unwrap() = Some("before".to_owned());
    assert_eq!(bench.send("issued").await, DONE);
    *bench.line.takes.lock().unwrap() = Some("s%26cret".to_owned());
    bench.now.fetch_add(900_000, Ordering::SeqCst);
    assert_eq!(bench.send("issued").await, DONE);
    assert_eq!((bench.issued(), bench.line.forms.lock().unwrap().len()), (2, 3));
}

#[tokio::test]
async fn questions_are_answered() {
    let bench = Bench::new().await;
    let account = bench.account("issued");
    assert_eq!(account.quota().await, Ok(Quota { limit: Some(200), used: 17 }));
    let profile = async |user| match account.profile(user).await {
        Ok(Fetched::Here(profile)) => Ok(Some((profile.display_name, profile.language))),
        Ok(Fetched::NotYet | Fetched::Gone) => Ok(None),
        Err(error) => Err(error),
    };
    let told = ("小明".to_owned(), Some("zh-TW".to_owned()));
    assert_eq!(profile("U1").await, Ok(Some(told)));
    assert_eq!(profile("U2").await, Ok(Some(("Ann".to_owned(), None))));
    assert_eq!(profile("U3").await, Err(CallError::Unreadable));
    assert_eq!(profile("U4").await, Ok(None));
    assert_eq!(profile("../message/quota").await, Ok(None));
    let Ok(Fetched::Here(mut content)) = account.content("1").await else { panic!() };
    assert_eq!((content.media_type.as_deref(), content.length), (Some("image/png"), Some(7)));
    assert_eq!(content.chunk().await.unwrap().unwrap(), "picture");
    assert_eq!(content.chunk().await, Ok(None));
    assert!(matches!(account.content("2").await, Ok(Fetched::NotYet)));
    assert!(matches!(account.content("3").await, Ok(Fetched::Gone)));
    assert!(matches!(account.content("4").await, Err(CallError::NoAnswer)));
}

async fn futures_all<T>(calls: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures::future::join_all(calls).await
}
