//! The stand-in over real sockets: LINE's calls on one, a receiver of webhooks on another.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use mainstem_domain::voice::Message;
use mainstem_domain::{At, ChannelId};
use mainstem_line::{Channels, LineEvent, Webhook, api, signature};
use reqwest::Client;
use serde_json::{Value, json};
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

    async fn ask(&self, what: &str) -> Value {
        let url = format!("{}/sandbox/{what}", self.base);
        self.client.get(url).send().await.unwrap().json().await.unwrap()
    }

    async fn tell(&self, what: &str, body: &Value) -> Value {
        let url = format!("{}/sandbox/{what}", self.base);
        self.client.post(url).json(body).send().await.unwrap().json().await.unwrap()
    }

    /// A receiver of webhooks, and where it is.
    async fn receive(&self) -> (Arc<Receiver>, String) {
        let receiver = Arc::new(Receiver {
            channels: Channels::parse(CHANNELS).unwrap(),
            posts: Mutex::default(),
            events: Mutex::default(),
            bodies: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/webhooks/line/{channel}", post(receive))
            .with_state(Arc::clone(&receiver));
        self.tasks.spawn(
            axum::serve(listener, router)
                .with_graceful_shutdown(self.stop.clone().cancelled_owned())
                .into_future(),
        );
        (receiver, base)
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
            .call(api::PUSH_PATH, token, &api::Push::new("U1", &[Message::text("維修完成")]))
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
            server.call(api::REPLY_PATH, token, &api::Reply::new("r1", &[Message::text("好的")]));
        let answer = call.send().await.unwrap();
        let status = answer.status().as_u16();
        api::classify(status, &answer.bytes().await.unwrap())
    };
    assert_eq!(reply("token-08").await, api::Answer::InvalidReplyToken);
    assert_eq!(reply("token-07").await, api::Answer::Done);
    assert_eq!(reply("token-07").await, api::Answer::InvalidReplyToken);
    let call =
        server.call(api::REPLY_PATH, "token-07", &api::Reply::new("r2", &[Message::text("好的")]));
    assert_eq!(call.header(api::RETRY_KEY_HEADER, KEY).send().await.unwrap().status(), 400);
    let large = [Message::text(&"x".repeat(2 * 1024 * 1024))];
    let call = server.call(api::PUSH_PATH, "token-07", &api::Push::new("U1", &large));
    assert_eq!(call.send().await.unwrap().status(), 413);
    server.end().await;
}

/// Takes webhooks as ingress does, and refuses every third.
struct Receiver {
    channels: Channels,
    posts: Mutex<usize>,
    events: Mutex<Vec<(String, bool)>>,
    bodies: Mutex<Vec<String>>,
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
    receiver.bodies.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
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
    let (receiver, base) = server.receive().await;

    let request =
        json!({"webhook_base": base, "seed": 7, "events": 40, "users": 8, "redeliver_percent": 50});
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

    let bad = json!({"webhook_base": base, "redeliver_percent": 101});
    assert_eq!(server.client.post(&url).json(&bad).send().await.unwrap().status(), 400);
    server.end().await;
}

#[tokio::test]
async fn a_chat_shows_both_sides_and_ends_with_the_block() {
    let server = Server::start().await;
    let act = async |act: Value| {
        let body = json!({"channel": "line-07", "user": "U1", "act": act});
        let acted = server.tell("act", &body).await;
        assert_eq!(acted["status"], Value::Null, "nobody listens, and it is so nevertheless");
        acted["message"].as_str().map(str::to_owned)
    };
    act(json!("follow")).await;
    let said = act(json!({"say": {"text": "<手錶> 壞了"}})).await.unwrap();
    act(json!({"scan": {"text": "https://line.me/R/oaMessage/%40a/?MS-1%20%E7%B6%AD"}})).await;
    act(json!({"tap": {"data": "menu=store", "display_text": "門市"}})).await;
    let card = json!({"to": "U1", "messages": [
        {"type": "text", "text": "已為您建立維修單", "sender": {"name": "曜侖"}}]});
    let push = async || server.call(api::PUSH_PATH, "token-07", &card).send().await.unwrap();
    assert_eq!(push().await.status(), 200);
    act(json!({"unsend": {"message": said}})).await;
    act(json!("block")).await;
    assert_eq!(push().await.status(), 200);

    let chat = server.ask("chats/line-07/U1").await;
    let shown: Vec<_> = chat["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let message = &entry["message"];
            let text = message["text"].as_str().or(message["type"].as_str()).unwrap();
            (entry["by"].as_str().unwrap(), text, entry["unsent"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("person", "follow", false),
            ("person", "<手錶> 壞了", true),
            ("person", "MS-1 維", false),
            ("person", "postback", false),
            ("account", "已為您建立維修單", false),
            ("person", "unfollow", false),
        ]
    );
    assert_eq!(chat["friendship"], "blocked");
    let list = server.ask("chats?channel=line-07").await;
    assert_eq!((&list[0]["user"], &list[0]["entries"]), (&json!("U1"), &json!(6)));
    let ledger = server.ledger().await;
    assert_eq!((ledger.messages.len(), ledger.totals.undelivered), (1, 1));
    assert!(ledger.events.is_empty(), "no delivery was answered 2xx");

    let here = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let to_page =
        here.get(format!("{}/sandbox/chat/line-07/U1", server.base)).send().await.unwrap();
    assert_eq!(to_page.headers()["location"], "/#line-07/U1");
    let page = server.client.get(&server.base).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let html = page.text().await.unwrap();
    // Nothing that a browser would fetch from elsewhere.
    for outside in ["src=\"", "href=\"", "url(", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
    server.end().await;
}

#[tokio::test]
async fn whoever_waits_for_news_of_a_chat_is_told_at_once() {
    let server = Server::start().await;
    let before = server.ask("chats/line-07/U1").await["changes"].clone();
    let path = format!("chats/line-07/U1?changes={before}");
    let (news, _) = tokio::join!(server.ask(&path), async {
        let body = json!({"channel": "line-07", "user": "U1", "act": {"say": {"text": "在嗎"}}});
        server.tell("act", &body).await
    });
    assert_eq!(news["entries"][0]["message"]["text"], "在嗎");
    server.end().await;
}

#[tokio::test]
async fn an_answer_is_lost_by_plan_and_the_message_is_seen_once() {
    let server = Server::start().await;
    server.sandbox.platform().befriend(&"line-07".parse().unwrap(), "U1", true);
    let rule = |after: u64, fault: Value| json!({"endpoint": "push", "after": after, "calls": 1, "fault": fault});
    let plan = json!({"seed": 1, "rules": [
        rule(0, json!({"answer_lost": "reset"})),
        rule(2, json!({"answer_lost": "hang"})),
        rule(4, json!({"slow_body": {"ms": 100}})),
        rule(5, json!("failed")),
    ]});
    let faults = format!("{}/sandbox/faults", server.base);
    let set = server.client.put(&faults).json(&plan).send().await.unwrap();
    assert_eq!(set.status(), 200);
    let push = |number: u8| {
        let key = format!("123e4567-e89b-12d3-a456-42661417400{number}");
        server
            .call(
                api::PUSH_PATH,
                "token-07",
                &api::Push::new("U1", &[Message::text(&format!("第 {number} 則"))]),
            )
            .header(api::RETRY_KEY_HEADER, key)
    };
    let reset = push(1).send().await.unwrap_err();
    assert!(!reset.is_timeout() && reset.status().is_none(), "{reset:?}");
    assert_eq!(push(1).send().await.unwrap().status(), 409);
    let hang = push(2).timeout(std::time::Duration::from_millis(300)).send().await.unwrap_err();
    assert!(hang.is_timeout(), "{hang:?}");
    assert_eq!(push(2).send().await.unwrap().status(), 409);
    let slow = push(3).send().await.unwrap();
    assert_eq!(slow.status(), 200);
    let body: Value = slow.json().await.unwrap();
    assert_eq!(body["sentMessages"].as_array().unwrap().len(), 1);
    assert_eq!(push(4).send().await.unwrap().status(), 500);
    assert_eq!(push(4).send().await.unwrap().status(), 200);

    let seen = server.ask("seen/U1").await;
    let times: Vec<_> = seen["times"].as_object().unwrap().values().cloned().collect();
    assert_eq!((times, &seen["doubled"]), (vec![json!(1); 4], &json!(0)));
    assert_eq!(server.ask("seen/U2").await["messages"], json!([]));
    let figures = &server.ask("figures").await["line-07"];
    assert_eq!((&figures["calls"]["push"], &figures["quota_used"]), (&json!(7), &json!(4)));
    assert_eq!(
        (&figures["totals"]["answers_lost"], &figures["totals"]["repeated"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(figures["latency_p99_ms"], 100);
    let wrong = json!({"rules": [{"fault": "failed", "percent": 200}]});
    assert_eq!(server.client.put(&faults).json(&wrong).send().await.unwrap().status(), 400);
    server.client.delete(&faults).send().await.unwrap();
    assert_eq!(server.ask("faults").await, json!({"seed": 0, "rules": []}));
    server.end().await;
}

#[tokio::test]
async fn a_call_that_hangs_keeps_nobody_from_stopping() {
    let server = Server::start().await;
    let plan = json!({"rules": [{"fault": {"answer_lost": "hang"}}]});
    let faults = format!("{}/sandbox/faults", server.base);
    server.client.put(&faults).json(&plan).send().await.unwrap();
    let push =
        server.call(api::PUSH_PATH, "token-07", &api::Push::new("U1", &[Message::text("x")]));
    let hanging = server.tasks.spawn(push.send());
    while server.ledger().await.totals.accepted == 0 {
        tokio::task::yield_now().await;
    }
    server.end().await;
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn the_clock_is_set_and_tokens_and_keys_grow_old() {
    let server = Server::start().await;
    let token = || {
        let form = "grant_type=client_credentials&client_id=line-07&client_secret=secret-07";
        let call = server.client.post(format!("{}/oauth2/v3/token", server.base));
        call.header("content-type", "application/x-www-form-urlencoded").body(form).send()
    };
    let issued: Value = token().await.unwrap().json().await.unwrap();
    assert_eq!((&issued["token_type"], &issued["expires_in"]), (&json!("Bearer"), &json!(899)));
    let issued = issued["access_token"].as_str().unwrap().to_owned();
    let push = async |token: &str| {
        let hi = [Message::text("hi")];
        let call = server.call(api::PUSH_PATH, token, &api::Push::new("U1", &hi));
        call.header(api::RETRY_KEY_HEADER, KEY).send().await.unwrap().status().as_u16()
    };
    assert_eq!((push(&issued).await, push(&issued).await), (200, 409));
    let clock = server.tell("clock", &json!({"advance_ms": 900_000})).await;
    assert_eq!(clock["at"], "2026-11-21T00:15:00.000Z");
    assert_eq!((push(&issued).await, push("token-07").await), (401, 409));
    server.tell("clock", &json!({"set": "2026-11-22T00:00:00Z"})).await;
    assert_eq!(push("token-07").await, 200);
    let revoke = format!("{}/sandbox/accounts/line-07/revoke-tokens", server.base);
    server.client.post(revoke).send().await.unwrap();
    assert_eq!(push("token-07").await, 401);
    let wrong = server.client.post(format!("{}/oauth2/v3/token", server.base));
    let wrong = wrong.header("content-type", "application/x-www-form-urlencoded");
    let wrong = wrong.body("grant_type=client_credentials&client_id=line-07&client_secret=x");
    assert_eq!(wrong.send().await.unwrap().status(), 401);
    server.end().await;
}

#[tokio::test]
async fn what_a_person_does_is_told_as_line_tells_it() {
    let server = Server::start().await;
    let receiver = server.receive().await;
    server.sandbox.set_webhook_base(&receiver.1);
    let created = server.tell("people", &json!({"name": "林小姐", "language": "zh-TW"})).await;
    let user = created["user"].as_str().unwrap().to_owned();
    assert!(user.len() == 33 && user.starts_with('U'));
    let patch = server.client.patch(format!("{}/sandbox/accounts/line-07", server.base));
    let patched =
        patch.json(&json!({"name": "曜侖 台北", "redelivery": true})).send().await.unwrap();
    assert_eq!(patched.json::<Value>().await.unwrap()["basic_id"], "@line-07");
    let act = async |act: Value| {
        server.tell("act", &json!({"channel": "line-07", "user": user, "act": act})).await
    };
    let mut events = Vec::new();
    for what in [
        json!("follow"),
        json!({"say": {"text": "𨋢口 😢"}}),
        // Refused first, and sent again.
        json!({"tap": {"data": "menu=store", "display_text": "門市"}}),
        json!({"send": {"media_type": "application/pdf", "data": "JVBERg==", "name": "保固.pdf"}}),
        json!({"location": {"latitude": 25.0, "longitude": 121.5, "address": "台北"}}),
        json!({"sticker": {"package": "446", "sticker": "1988"}}),
        json!("block"),
    ] {
        let acted = act(what).await;
        assert_eq!(acted["status"], 200, "{acted}");
        events.push(acted);
    }
    let came = receiver.0.events.lock().unwrap().clone();
    let ids: Vec<_> = events.iter().map(|acted| acted["event"].as_str().unwrap()).collect();
    assert_eq!(came.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ids);
    assert!(came.iter().any(|(_, again)| *again) && came.iter().any(|(_, again)| !*again));
    let bodies = receiver.0.bodies.lock().unwrap().concat();
    assert!(bodies.contains("menu=store") && !bodies.contains("displayText"), "{bodies}");
    let message = events[3]["message"].as_str().unwrap();
    let content = format!("{}/v2/bot/message/{message}/content", server.base);
    let content = server.client.get(&content).bearer_auth("token-07").send().await.unwrap();
    assert_eq!(content.headers()["content-type"], "application/pdf");
    assert_eq!(content.bytes().await.unwrap(), b"%PDF".as_slice());

    let bad = json!({"channel": "line-99", "user": user, "act": "follow"});
    let bad = server.client.post(format!("{}/sandbox/act", server.base)).json(&bad).send();
    assert_eq!(bad.await.unwrap().status(), 404);
    let empty = json!({"channel": "line-07", "user": user, "act": {"say": {"text": " "}}});
    let empty = server.client.post(format!("{}/sandbox/act", server.base)).json(&empty).send();
    assert_eq!(empty.await.unwrap().status(), 400);
    server.end().await;
}

#[tokio::test]
async fn a_webhook_is_set_and_tested_as_at_line() {
    let server = Server::start().await;
    let (receiver, base) = server.receive().await;
    let path = format!("{}/v2/bot/channel/webhook/endpoint", server.base);
    let ask = || server.client.get(&path).bearer_auth("token-08").send();
    assert_eq!(ask().await.unwrap().status(), 404);
    let body = json!({"endpoint": format!("{base}/webhooks/line/line-08")});
    let set = server.client.put(&path).bearer_auth("token-08").json(&body).send().await.unwrap();
    assert_eq!(set.status(), 200);
    let known: Value = ask().await.unwrap().json().await.unwrap();
    assert_eq!(known["endpoint"], body["endpoint"]);
    let test = format!("{}/v2/bot/channel/webhook/test", server.base);
    let test = || server.client.post(&test).bearer_auth("token-08").json(&json!({})).send();
    let told: Value = test().await.unwrap().json().await.unwrap();
    assert_eq!((&told["success"], &told["statusCode"]), (&json!(true), &json!(200)));
    test().await.unwrap();
    let told: Value = test().await.unwrap().json().await.unwrap();
    assert_eq!((&told["success"], &told["statusCode"]), (&json!(false), &json!(503)));
    assert_eq!(*receiver.posts.lock().unwrap(), 3);
    assert!(receiver.events.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn a_person_is_linked_by_a_token_and_a_nonce() {
    let server = Server::start().await;
    let (receiver, base) = server.receive().await;
    server.sandbox.set_webhook_base(&base);
    let path = format!("{}/v2/bot/user/U1/linkToken", server.base);
    let issued = server.client.post(path).bearer_auth("token-07").send().await.unwrap();
    let issued: Value = issued.json().await.unwrap();
    let token = issued["linkToken"].as_str().unwrap();
    let link = async |nonce: &str| {
        let url = format!("{}/dialog/bot/accountLink?linkToken={token}&nonce={nonce}", server.base);
        server.client.get(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!(link("short").await, 400);
    assert_eq!(link("bm9uY2Utbm9uY2U").await, 200);
    assert_eq!(link("bm9uY2Utbm9uY2U").await, 400);
    let bodies = receiver.bodies.lock().unwrap().concat();
    assert!(bodies.contains(r#""link":{"result":"ok","nonce":"bm9uY2Utbm9uY2U"}"#), "{bodies}");
    server.end().await;
}

#[tokio::test]
async fn a_code_is_read_from_a_picture() {
    let server = Server::start().await;
    let text = "https://line.me/R/oaMessage/%40shop/?MS-0123456789";
    let code = fast_qr::QRBuilder::new(text).build().unwrap();
    let (scale, quiet) = (6, 4);
    let side = (code.size + 2 * quiet) * scale;
    let dark = |place: usize| {
        let module = |pixel: usize| (pixel / scale).checked_sub(quiet).filter(|at| *at < code.size);
        let at = module(place / side).zip(module(place % side));
        at.is_some_and(|(row, column)| code[row][column].value())
    };
    let pixels: Vec<u8> = (0..side * side).map(|place| if dark(place) { 0 } else { 255 }).collect();
    let mut png = Vec::new();
    let wide = u32::try_from(side).unwrap();
    let mut encoder = png::Encoder::new(&mut png, wide, wide);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    let scan = async |picture: Vec<u8>| {
        let call = server.client.post(format!("{}/sandbox/scan", server.base)).body(picture);
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(scan(png).await, (200, json!({"text": text})));
    for no_code in [b"no picture".to_vec(), Vec::new()] {
        assert_eq!(scan(no_code).await.0, 422);
    }
    server.end().await;
}

#[tokio::test]
async fn an_incumbent_counts_the_same_bytes_with_the_same_signature() {
    let server = Server::start().await;
    let channel: ChannelId = "line-07".parse().unwrap();
    // The incumbent is a receiver of webhooks too, so what is sent there was taken and has come.
    let body = r#"{ "destination":"U07", "events":[] }"#;
    let signed = signature::sign("secret-07", body.as_bytes());
    server.sandbox.record().took(&channel, &signed, []);
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
