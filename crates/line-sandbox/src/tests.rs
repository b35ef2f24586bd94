//! The stand-in over real sockets: LINE's calls on one, a receiver of webhooks on another.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use mainstem_domain::{At, ChannelId};
use mainstem_line::{Channels, LineEvent, Webhook, api, signature};

use reqwest::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Faults, Ledger, Progress, Sandbox, Way, run};

const CHANNELS: &str = r#"
[channels.line-07]
provider = "p1"
destination = "U07"
secret = "secret-07"
access_token = "token-07"

[channels.line-08]
provider = "p2"
destination = "U08"
secret = "secret-08"
access_token = "token-08"
"#;

const KEY: &str = "123e4567-e89b-12d3-a456-426614174000";

struct Server {
    base: String,
    sandbox: Arc<Sandbox>,
    client: Client,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn start() -> Self {
        let channels = Channels::parse(CHANNELS).unwrap();
        let now = Arc::new(|| At::from_millis(1_795_219_200_000));
        let sandbox = Arc::new(Sandbox::new(channels, Faults::default(), now).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(run(sandbox.clone(), listener, stop.clone()));
        Self { base, sandbox, client: Client::new(), stop, tasks }
    }

    fn call(
        &self,
        path: &str,
        token: &str,
        body: &impl serde::Serialize,
    ) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).bearer_auth(token).json(body)
    }

    async fn ledger(&self) -> Ledger {
        self.client
            .get(format!("{}/sandbox/ledger", self.base))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[tokio::test]
async fn a_push_with_a_retry_key_is_seen_once() {
    let server = Server::start().await;
    server.sandbox.platform().befriend(&"line-07".parse().unwrap(), "U1", true);
    let push = |token| {
        server
            .call(api::PUSH_PATH, token, &api::Push::texts("U1", &["維修完成".to_owned()]))
            .header(api::RETRY_KEY_HEADER, KEY)
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    };
    let first = push("token-07").send().await.unwrap();
    assert_eq!(first.status(), 200);
    let request_id = first.headers()["x-line-request-id"].clone();
    let again = push("token-07").send().await.unwrap();
    assert_eq!(again.status(), 409);
    assert_eq!(again.headers()[api::ACCEPTED_REQUEST_HEADER], request_id);
    assert_eq!(push("token").send().await.unwrap().status(), 401);

    let ledger = server.ledger().await;
    let [seen] = &ledger.messages[..] else { panic!("{ledger:?}") };
    assert_eq!(
        (seen.user.as_str(), seen.way, &seen.texts[..]),
        ("U1", Way::Push, &["維修完成".to_owned()][..])
    );
    assert!(seen.traceparent.as_deref().unwrap().starts_with("00-4bf92f"));
    assert_eq!((ledger.totals.repeated, ledger.doubled), (1, 0));
    server.end().await;
}

#[tokio::test]
async fn a_reply_token_works_once() {
    let server = Server::start().await;
    let (channel, at) =
        ("line-07".parse::<ChannelId>().unwrap(), At::from_millis(1_795_219_200_000));
    server.sandbox.platform().issue_reply_token("r1", &channel, "U1", at);
    let reply = async |token| {
        let call =
            server.call(api::REPLY_PATH, token, &api::Reply::texts("r1", &["好的".to_owned()]));
        let answer = call.send().await.unwrap();
        let status = answer.status().as_u16();
        api::classify(status, &answer.bytes().await.unwrap())
    };
    assert_eq!(reply("token-08").await, api::Answer::InvalidReplyToken);
    assert_eq!(reply("token-07").await, api::Answer::Done);
    assert_eq!(reply("token-07").await, api::Answer::InvalidReplyToken);
    let call =
        server.call(api::REPLY_PATH, "token-07", &api::Reply::texts("r2", &["好的".to_owned()]));
    assert_eq!(call.header(api::RETRY_KEY_HEADER, KEY).send().await.unwrap().status(), 400);
    let large = "x".repeat(2 * 1024 * 1024);
    let call = server.call(
        api::PUSH_PATH,
        "token-07",
        &api::Push::texts("U1", std::slice::from_ref(&large)),
    );
    assert_eq!(call.send().await.unwrap().status(), 413);
    server.end().await;
}

/// Takes webhooks as ingress does, and refuses every third.
struct Receiver {
    channels: Channels,
    posts: Mutex<usize>,
    events: Mutex<Vec<(String, bool)>>,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let channel = receiver.channels.get(&channel.parse().unwrap()).unwrap();
    assert!(channel.signed(&body, headers[signature::HEADER].to_str().unwrap()));
    let webhook = Webhook::parse(&body).unwrap();
    assert_eq!(webhook.destination, channel.destination);
    let mut posts = receiver.posts.lock().unwrap();
    *posts += 1;
    if posts.is_multiple_of(3) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    for raw in webhook.events {
        let event = LineEvent::parse(raw).unwrap();
        receiver.events.lock().unwrap().push((event.id.to_string(), event.is_redelivery));
    }
    StatusCode::OK
}

#[tokio::test]
async fn a_day_arrives_whole_signed_and_with_duplicates() {
    let server = Server::start().await;
    let receiver = Arc::new(Receiver {
        channels: Channels::parse(CHANNELS).unwrap(),
        posts: Mutex::default(),
        events: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router =
        Router::new().route("/webhooks/line/{channel}", post(receive)).with_state(receiver.clone());
    server.tasks.spawn(
        axum::serve(listener, router)
            .with_graceful_shutdown(server.stop.clone().cancelled_owned())
            .into_future(),
    );

    let request = serde_json::json!({"webhook_base": base, "seed": 7, "events": 40, "users": 8, "redeliver_percent": 50});
    let url = format!("{}/sandbox/play", server.base);
    let answer = server.client.post(&url).json(&request).send().await.unwrap();
    let summary: Progress = answer.json().await.unwrap();
    assert_eq!((summary.events, summary.events_delivered, summary.failed), (40, 40, 0));
    assert!(
        summary.retried > 0 && summary.redelivered > 0 && summary.duplicated > 0,
        "{summary:?}"
    );
    assert_eq!(
        summary.sent,
        summary.delivered + summary.retried + summary.redelivered + summary.duplicated
    );
    assert_eq!(server.sandbox.progress(), summary);

    let events = receiver.events.lock().unwrap().clone();
    assert_eq!(events.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 40);
    assert!(events.len() > 40);
    assert!(events.iter().any(|(_, is_redelivery)| *is_redelivery));
    // The ledger tells by the event's id what was answered 200, and how often.
    let ledger = server.ledger().await;
    let told: Vec<_> = ledger.events.values().flatten().collect();
    assert_eq!(told.len(), 40);
    for (id, times) in told {
        let came = events.iter().filter(|(known, _)| known == id).count();
        assert_eq!(usize::try_from(*times).unwrap(), came, "{id}");
    }
    assert_eq!(ledger.events_repeated(), summary.events_repeated);

    let bad = serde_json::json!({"webhook_base": base, "redeliver_percent": 101});
    assert_eq!(server.client.post(&url).json(&bad).send().await.unwrap().status(), 400);
    server.end().await;
}

#[tokio::test]
async fn a_chat_shows_both_sides_and_ends_with_the_block() {
    let server = Server::start().await;
    let channel: ChannelId = "line-07".parse().unwrap();
    let event = |what: &str, token: &str| {
        format!(
            r#"{{"type":{what},"mode":"active","timestamp":1,"replyToken":"{token}",
               "source":{{"type":"user","userId":"U1"}}}}"#
        )
    };
    let say = async |events: String| {
        let body = format!(r#"{{"destination":"U07","events":[{events}]}}"#);
        let request = crate::DeliverRequest {
            webhook_base: "http://127.0.0.1:9".to_owned(),
            channel: channel.clone(),
            body,
        };
        // Nobody listens there: what people did is so nevertheless.
        assert_eq!(server.sandbox.deliver_body(&request).await, Ok(0));
    };
    let text = r#""message","message":{"type":"text","id":"1","text":"<手錶> 壞了"}"#;
    say([event(r#""follow""#, "r0"), event(text, "r1")].join(",")).await;
    let call = server.call(
        api::REPLY_PATH,
        "token-07",
        &api::Reply::texts("r1", &["已為您建立維修單".to_owned()]),
    );
    assert_eq!(call.send().await.unwrap().status(), 200);
    say(event(r#""unfollow""#, "r2")).await;
    let push = server.call(api::PUSH_PATH, "token-07", &api::Push::texts("U1", &["x".to_owned()]));
    assert_eq!(push.send().await.unwrap().status(), 200);

    let page = async |path: &str| {
        let answer = server.client.get(format!("{}{path}", server.base)).send().await.unwrap();
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        answer.text().await.unwrap()
    };
    let chat = page("/sandbox/chat/line-07/U1").await;
    let places: Vec<_> =
        ["[adds the account]", "&lt;手錶&gt; 壞了", "已為您建立維修單", "[blocks the account]"]
            .map(|text| chat.find(text).unwrap_or_else(|| panic!("{text} in {chat}")))
            .into();
    assert!(places.is_sorted(), "{chat}");
    assert!(page("/sandbox/chats").await.contains("chat/line-07/U1"));
    let ledger = server.ledger().await;
    assert_eq!((ledger.messages.len(), ledger.totals.undelivered), (1, 1));
    assert!(ledger.events.is_empty(), "no delivery was answered 2xx");
    server.end().await;
}

#[tokio::test]
async fn an_incumbent_counts_the_same_bytes_with_the_same_signature() {
    let server = Server::start().await;
    let channel: ChannelId = "line-07".parse().unwrap();
    // The incumbent is a receiver of webhooks too, so what is sent there was taken and has come.
    let body = r#"{ "destination":"U07", "events":[] }"#;
    let signed = signature::sign("secret-07", body.as_bytes());
    server.sandbox.webhooks().took(&channel, &signed, []);
    let relay = async |channel: &str, body: &str, signature: &str| {
        let url = format!("{}/sandbox/incumbent/{channel}", server.base);
        let call = server.client.post(url).header(signature::HEADER, signature);
        call.body(body.to_owned()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(relay("line-07", body, &signed).await, 200);
    assert_eq!(relay("line-07", body, &signed).await, 200);
    assert_eq!(relay("line-07", &body.replace(' ', ""), &signed).await, 401);
    let never_sent = r#"{"destination":"U07","events":[]}"#;
    let own = signature::sign("secret-07", never_sent.as_bytes());
    assert_eq!(relay("line-07", never_sent, &own).await, 200);
    assert_eq!(relay("line-99", body, &signed).await, 404);
    let relayed = server.ledger().await.incumbents[&channel];
    assert_eq!(relayed, crate::Relayed { taken: 1, came: 1, repeated: 1, strange: 2 });
    server.end().await;
}
