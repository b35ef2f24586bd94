//! A message that its person took back is found nowhere: not by who reads the streams, not in the
//! timeline and not in the server's files; whatever is killed, delivered twice or late.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_nats::HeaderMap;
use mainstem_bus::nats::{Log, diagnose};
use mainstem_bus::record::header;
use mainstem_bus::{Position, Stored, topology};
use mainstem_identity_merge::IdentityMachine;
use mainstem_line::signature;
use mainstem_tests::deployment::{Deployment, PATIENCE, Service, configuration, eventually};
use mainstem_tests::files::{self, contain};
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const SERVICES: [&str; 3] = ["identity-merge", "routing", "notification"];
const HIDDEN: &str = "mainstem.identity.message-hidden.v1";

/// What is never found again.
const PLANTED: [&str; 4] =
    ["planted words", "planted at once", "planted in a group", "planted late"];

/// What stays.
const KEPT: [&str; 2] = ["words that stay", "words of another"];

struct Line<'a> {
    deployment: &'a Deployment,
    http: String,
}

impl Line<'_> {
    async fn event(&self, event: &Value) {
        let events = json!({"destination": format!("U{}", "1".repeat(32)), "events": [event]});
        let body = events.to_string().into_bytes();
        eventually("a webhook is taken", async || {
            let response = reqwest::Client::new()
                .post(format!("http://{}/webhooks/line/line-1", self.http))
                .header(signature::HEADER, signature::sign("secret-1", &body))
                .header("content-type", "application/json; charset=utf-8")
                .body(body.clone())
                .send()
                .await
                .ok()?;
            response.status().is_success().then_some(())
        })
        .await;
    }

    async fn says(&self, id: &str, source: &Value, text: &str) {
        self.event(&json!({
            "type": "message", "timestamp": 1_795_251_600_000_i64, "webhookEventId": id,
            "source": source, "replyToken": format!("r-{id}"),
            "message": {"id": format!("m-{id}"), "type": "text", "text": text},
        }))
        .await;
    }

    async fn takes_back(&self, id: &str, source: &Value) {
        self.event(&json!({
            "type": "unsend", "timestamp": 1_795_251_700_000_i64, "webhookEventId": format!("u-{id}"),
            "source": source, "unsend": {"messageId": format!("m-{id}")},
        }))
        .await;
    }

    /// Stores a message of `INBOUND` once more, as a delivery after the broker's own memory.
    async fn again(&self, message: &Stored) {
        let client = self.deployment.admin().await;
        let mut headers = HeaderMap::new();
        for (name, value) in
            message.record.headers.iter().filter(|(name, _)| *name != "Nats-Msg-Id")
        {
            headers.insert(name, value);
        }
        let (subject, body) = (message.record.subject.clone(), message.record.body.clone());
        let jetstream = async_nats::jetstream::new(client);
        jetstream.publish_with_headers(subject, headers, body).await.unwrap().await.unwrap();
    }

    async fn inbound(&self, text: &str) -> Stored {
        let messages = self.deployment.read(topology::INBOUND).await;
        messages.into_iter().find(|message| told(message).contains(text)).unwrap()
    }

    /// What was hidden, when it was so often.
    async fn hidden(&self, times: usize) -> Vec<Value> {
        let bus = &self.deployment.bus;
        let mut log = Log::open(bus, topology::CUSTOMER, Position::default()).await.unwrap();
        let mut hidden = Vec::new();
        let read = async {
            while hidden.len() < times {
                let record = log.next().await.unwrap().record;
                if record.kind() == HIDDEN {
                    hidden.push(serde_json::from_slice(&record.body).unwrap());
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("it is hidden");
        hidden
    }
}

fn told(message: &Stored) -> String {
    let headers = message.record.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
    let body = String::from_utf8_lossy(&message.record.body).into_owned();
    format!("{}\n{}{body}", message.record.subject, headers.collect::<String>())
}

async fn everything(deployment: &Deployment) -> String {
    let mut all = String::new();
    for stream in [topology::INBOUND, topology::CUSTOMER] {
        all.extend(deployment.read(stream).await.iter().map(told));
    }
    all
}

async fn timeline(deployment: &Deployment, user: &str) -> Vec<Value> {
    let ask = async |endpoint: &str, body: Value| {
        deployment.call("operator", "identity-merge", endpoint, body).await
    };
    let body = json!({"identifier": format!("line:p1:{user}")});
    let found = ask("resolve-customer", body).await.unwrap();
    let body = json!({"customer": found["customer"]["customer"], "pageSize": 500});
    let page = ask("get-timeline", body).await.unwrap();
    page["entries"].as_array().unwrap().clone()
}

/// Whether the state that an instance had when it ended is what the log alone gives.
async fn agrees(deployment: &Deployment) {
    let found = Box::pin(diagnose::<IdentityMachine>(&deployment.bus)).await.unwrap();
    assert!(found.equal && found.snapshot.is_some(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_found_nowhere_whatever_is_killed() {
    let Some(mut deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let mut services: Vec<Service> = SERVICES.map(|name| deployment.service(name)).into();
    deployment.apply(&configuration(), &SERVICES).await;
    let ingress = deployment.service("ingress");
    let http = eventually("ingress listens", async || ingress.http()).await;
    let line = Line { deployment: &deployment, http };
    let anna = json!({"type": "user", "userId": "Uanna"});
    let bert = json!({"type": "user", "userId": "Ubert"});
    let group = json!({"type": "group", "groupId": "Gone", "userId": "Uanna"});
    // The first that is heard of somebody, so that the message stands beside who that is.
    line.says("e1", &anna, PLANTED[0]).await;
    line.says("e2", &anna, KEPT[0]).await;
    line.says("e3", &bert, KEPT[1]).await;
    line.says("e4", &bert, PLANTED[1]).await;
    line.says("e5", &group, PLANTED[2]).await;
    line.again(&line.inbound(PLANTED[0]).await).await;
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    let doubled = line.inbound(PLANTED[0]).await;
    let late = {
        let told = json!(PLANTED[3]).to_string();
        let body = String::from_utf8_lossy(&doubled.record.body).into_owned();
        let mut late = doubled.clone();
        late.record.headers.set(header::ID, "e6");
        let body = body.replace(&json!(PLANTED[0]).to_string(), &told);
        late.record.body = body.replace("m-e1", "m-e6").replace("\"e1\"", "\"e6\"").into();
        late
    };
    let journey = json!(timeline(&deployment, "Uanna").await).to_string();
    assert!(journey.contains(PLANTED[0]) && journey.contains(KEPT[0]), "{journey}");
    let before = files::all(deployment.server.store());
    for planted in &PLANTED[..3] {
        assert!(contain(&before, planted), "the search finds what is there");
    }
    // A snapshot that holds what comes of the messages.
    assert!(services[0].stop());
    services[0] = deployment.service("identity-merge");

    for (id, source) in [("e1", &anna), ("e4", &bert), ("e5", &group)] {
        line.takes_back(id, source).await;
        services[0].kill();
        services[0] = deployment.service("identity-merge");
        // Until it has begun to write again, and so gone on with what it left.
        deployment.call("operator", "identity-merge", "get-status", json!({})).await.unwrap();
    }
    line.hidden(1).await;
    services[0].kill();
    services[0] = deployment.service("identity-merge");
    let hidden = line.hidden(3).await;
    let channels = |hidden: &Value, place: &str| hidden["counts"][place].as_str() == Some("1");
    assert!(channels(&hidden[0], "CUSTOMER customer.*.channel"), "{hidden:?}");
    assert!(channels(&hidden[2], "CUSTOMER channel.*"), "{hidden:?}");
    // Once more, and one that comes after it was taken back.
    line.again(&doubled).await;
    line.takes_back("e6", &anna).await;
    line.hidden(5).await;
    line.again(&late).await;
    line.hidden(6).await;

    let all = everything(&deployment).await;
    let anna_s = json!(timeline(&deployment, "Uanna").await).to_string();
    let bert_s = json!(timeline(&deployment, "Ubert").await).to_string();
    for planted in PLANTED {
        for (place, text) in [("a stream", &all), ("a timeline", &anna_s), ("a timeline", &bert_s)]
        {
            assert!(!text.contains(planted), "{planted} is in {place}: {text}");
        }
    }
    for (kept, journey) in [(KEPT[0], &anna_s), (KEPT[1], &bert_s)] {
        assert!(all.contains(kept) && journey.contains(kept), "{kept} is gone: {journey}");
    }
    let entries = timeline(&deployment, "Uanna").await;
    let unsent: Vec<_> = entries.iter().filter(|one| one["body"]["other"] == "unsent").collect();
    assert_eq!(unsent.len(), 2, "{entries:?}");
    assert!(
        unsent.iter().all(|one| one["body"]["identifiers"][0]["identifier"] == "line:p1:Uanna")
    );

    for service in &mut services {
        assert!(service.stop(), "{}", service.log());
    }
    agrees(&deployment).await;
    // From the log alone.
    deployment.forget_snapshots("identity-merge").await;
    let mut alone = deployment.service("identity-merge");
    assert_eq!(timeline(&deployment, "Uanna").await, entries);
    assert!(alone.stop());
    agrees(&deployment).await;
    drop(ingress);
    deployment.server.stop();
    let store = files::all(deployment.server.store());
    for planted in PLANTED {
        assert!(!contain(&store, planted), "{planted} is in the server's files");
    }
}
