//! The routes over a real socket, with a list in the broker's place.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstem_bus::engine::Applied;
use mainstem_domain::At;
use mainstem_domain::configuration::Configuration;
use mainstem_line::{Channels, signature};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::events::tests::signed;
use crate::intake::Intake;
use crate::{Directory, Ingress, Limits, Senders, Sources, run};

pub(crate) const SECRET: &str = "8c570fa6dd201bb328f1c1eac23a96d8";
pub(crate) const DESTINATION: &str = "U8e742f61d673b39c7fff3cecb7536ef0";
pub(crate) const CHANNELS: &str = r#"
[channels.line-07]
provider = "p1"
destination = "U8e742f61d673b39c7fff3cecb7536ef0"
secret = "8c570fa6dd201bb328f1c1eac23a96d8"
access_token = "token"

[sources.shop-1]
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"#;

/// One LINE account run in that mode, and one shop.
pub(crate) fn configuration(mode: &str) -> Configuration {
    serde_json::from_value(json!({
        "brands": {"aurora": {"name": "Aurora"}},
        "stores": {"store-07": {"name": "Store 7"}},
        "channels": {
            "line-07": {
                "store": "store-07", "mode": mode, "incumbent": "https://old.example/webhook",
            },
            "shop-1": {"kind": "shop", "brand": "aurora", "owns": ["member", "external:pos", "attribute:city"]},
        },
    }))
    .unwrap()
}

/// With a directory in which the account is run in that mode; with none for the mode `none`.
pub(crate) fn ingress(mode: &str, intake: Intake) -> Arc<Ingress> {
    let channels = Channels::parse(CHANNELS).unwrap();
    let sources = Sources::load(&channels, |path| std::fs::read_to_string(path)).unwrap();
    let directory = Arc::<Directory>::default();
    if mode != "none" {
        directory
            .set(Arc::new(Applied { digest: "d".to_owned(), configuration: configuration(mode) }));
    }
    let senders = Senders { channels, sources, directory };
    let now = Arc::new(|| At::from_millis(1_795_219_200_000));
    let limits = Limits { store_within: Duration::from_millis(100), ..Limits::default() };
    Arc::new(Ingress::with_intake(senders, "key".into(), intake, now).with_limits(limits))
}

struct Server {
    base: String,
    ingress: Arc<Ingress>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn start(intake: Intake) -> Self {
        Self::start_in("live", intake).await
    }

    async fn start_in(mode: &str, intake: Intake) -> Self {
        let ingress = ingress(mode, intake);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(run(ingress.clone(), listener, stop.clone()));
        tasks.close();
        Self { base, ingress, stop, tasks }
    }

    async fn post(&self, path: &str, body: String) -> (u16, String) {
        let signature = signature::sign(SECRET, body.as_bytes());
        self.post_signed(path, body, &signature).await
    }

    async fn post_signed(&self, path: &str, body: String, signature: &str) -> (u16, String) {
        let url = format!("{}{path}", self.base);
        let request = reqwest::Client::new().post(url).header("X-Line-Signature", signature);
        let response = request.body(body).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn post_events(&self, path: &str, body: &str) -> (u16, String) {
        let mut request = reqwest::Client::new().post(format!("{}{path}", self.base));
        for (name, value) in signed(body.as_bytes(), At::from_millis(1_795_219_200_000)) {
            request = request.header(name.unwrap(), value);
        }
        let request = request.header("content-type", "application/cloudevents-batch+json");
        let response = request.body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    fn stored(&self) -> Vec<String> {
        match &self.ingress.intake {
            Intake::Memory(Some(list)) => list.lock().unwrap().clone(),
            Intake::Memory(None) | Intake::Bus(_) => Vec::new(),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

pub(crate) fn memory() -> Intake {
    Intake::Memory(Some(Mutex::default()))
}

fn events(events: &str) -> String {
    format!(r#"{{"destination":"{DESTINATION}","events":[{events}]}}"#)
}

const PATH: &str = "/webhooks/line/line-07";

#[tokio::test]
async fn what_is_answered_200_is_stored_in_order() {
    let server = Server::start(memory()).await;
    let three = events(
        r#"{"type":"follow","webhookEventId":"e1"},7,{"type":"follow","webhookEventId":"e2"}"#,
    );
    assert_eq!(server.post(PATH, three).await, (200, "{}".to_owned()));
    assert_eq!(server.stored(), ["e1", "e2", "dead: an event that is no object"]);
    assert_eq!(server.post(PATH, events("")).await.0, 200);
    assert_eq!(server.post(PATH, "{".to_owned()).await.0, 200);
    assert_eq!(server.stored()[3], "dead: not a webhook of LINE: not JSON at line 1, column 1");
    server.end().await;
}

#[tokio::test]
async fn what_is_refused_says_why_and_is_not_stored() {
    let server = Server::start(memory()).await;
    let follow = || events(r#"{"type":"follow","webhookEventId":"e1"}"#);
    let refused = |code: &str, message: &str| {
        format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#)
    };
    let unknown = refused("unknown_channel", "no channel has this path");
    for path in ["/webhooks/line/line-08", "/webhooks/line/L%C3%A9", "/webhooks/line/%ff"] {
        assert_eq!(server.post(path, follow()).await, (404, unknown.clone()), "{path}");
    }
    assert_eq!(server.post("/webhooks", follow()).await.0, 404);
    let (status, body) = server.post_signed(PATH, follow(), "bm8=").await;
    assert_eq!(status, 401);
    assert!(body.contains("bad_signature") && !body.contains("follow"), "{body}");
    let other = follow().replace(DESTINATION, "U2");
    assert_eq!(server.post(PATH, other).await.0, 403);
    let large = format!("{}{}", follow(), " ".repeat(1024 * 1024));
    let expected = refused("body_too_large", "the body is larger than is taken");
    assert_eq!(server.post(PATH, large).await, (413, expected));
    assert!(server.stored().is_empty());

    let health = reqwest::get(format!("{}/healthz", server.base)).await.unwrap();
    assert_eq!(health.status(), 200);
    let get = reqwest::get(format!("{}{PATH}", server.base)).await.unwrap();
    assert_eq!(get.status(), 405);
    server.end().await;
}

#[tokio::test]
async fn what_is_not_stored_in_time_is_to_be_sent_again() {
    let server = Server::start(Intake::Memory(None)).await;
    let (status, body) = server.post(PATH, events(r#"{"type":"follow"}"#)).await;
    assert_eq!(status, 503);
    assert!(body.contains("send again"), "{body}");
    server.end().await;
}

#[tokio::test]
async fn before_a_configuration_is_applied_everything_is_to_be_sent_again() {
    let server = Server::start_in("none", memory()).await;
    let (status, body) = server.post(PATH, events(r#"{"type":"follow"}"#)).await;
    assert_eq!(status, 503);
    assert!(body.contains("not_configured") && body.contains("mainstem apply"), "{body}");
    assert_eq!(server.post_events("/events/shop-1", "[]").await.0, 503);
    assert!(server.stored().is_empty());
    let configuration = configuration("live");
    server.ingress.directory.set(Arc::new(Applied { digest: "d".to_owned(), configuration }));
    assert_eq!(server.post(PATH, events(r#"{"type":"follow"}"#)).await.0, 200);
    server.end().await;
}

#[tokio::test]
async fn a_relay_that_is_full_refuses_no_webhook() {
    let server = Server::start_in("shadow", memory()).await;
    let follow = |id: &str| events(&format!(r#"{{"type":"follow","webhookEventId":"{id}"}}"#));
    assert_eq!(server.post(PATH, follow("e1")).await.0, 200);
    assert_eq!(server.stored(), ["e1", "relay: line-07"]);
    if let Intake::Memory(Some(list)) = &server.ingress.intake {
        list.lock().unwrap().push("full".to_owned());
    }
    assert_eq!(server.post(PATH, follow("e2")).await.0, 200);
    assert_eq!(server.stored()[3..], ["e2"]);
    server.end().await;
}

#[tokio::test]
async fn events_are_answered_with_what_became_of_them() {
    let server = Server::start(memory()).await;
    let event = |id: &str| {
        format!(r#"{{"specversion":"1.0","source":"s","id":"{id}","type":"order-placed"}}"#)
    };
    let batch = format!("[{},7,{},{}]", event("1"), event("2"), event("1"));
    let answer = r#"{"stored":2,"duplicates":1,"dead_lettered":1}"#.to_owned();
    assert_eq!(server.post_events("/events/shop-1", &batch).await, (200, answer));
    assert_eq!(server.post_events("/events/line-07", &batch).await.0, 404);
    assert_eq!(server.post_events("/webhooks/line/shop-1", &batch).await.0, 404);
    let response = reqwest::Client::new()
        .post(format!("{}/events/shop-1", server.base))
        .body(batch)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    let large = " ".repeat(1024 * 1024 + 1);
    assert_eq!(server.post_events("/events/shop-1", &large).await.0, 413);
    server.end().await;
}
