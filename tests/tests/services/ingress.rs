//! ingress as a process on a real nats-server with the users of the topology: webhooks, modes and
//! the relay, events by HTTP and by gRPC, and the configuration followed without a restart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use mainstem_bus::Stored;
use mainstem_bus::record::header;
use mainstem_domain::configuration::Configuration;
use mainstem_line::signature;
use mainstem_proto::wire::ingest::ingest_service_client::IngestServiceClient;
use mainstem_proto::wire::ingest::{self as wire, Outcome};
use mainstem_runtime::grpc::refusal_from;
use mainstem_runtime::service::wall_clock;
use mainstem_tests::deployment::{
    Deployment, LINE_2, Service, TILL_SECRET, configuration, eventually,
};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// `line-1` run in that mode, `line-2` live, a till that owns members, and a phone desk of nowhere.
fn directory(mode: &str, incumbent: Option<&str>) -> Configuration {
    let mut all = serde_json::to_value(configuration()).unwrap();
    all["channels"] = json!({
        "line-1": {"brand": "aurora", "store": "taipei-1", "mode": mode},
        "line-2": {"brand": "aurora"},
        "till-1": {"kind": "till", "store": "taipei-1", "owns": ["member"]},
        "phone-1": {"kind": "phone"},
    });
    if let Some(incumbent) = incumbent {
        all["channels"]["line-1"]["incumbent"] = json!(incumbent);
    }
    if mode == "retired" {
        all["entry"] = json!({"channel": "line-2", "link": "https://line.me/x"});
        all["templates"]["moved"] = json!({"house": "{link}"});
    }
    serde_json::from_value(all).unwrap()
}

struct Ingress {
    process: Service,
    http: String,
}

impl Ingress {
    async fn start(deployment: &Deployment) -> Self {
        let process = deployment.service("ingress");
        let http = eventually("ingress listens", async || process.http()).await;
        Self { process, http }
    }

    async fn webhook(&self, channel: &str, secret: &str, body: &[u8]) -> (u16, String) {
        let response = reqwest::Client::new()
            .post(format!("http://{}/webhooks/line/{channel}", self.http))
            .header(signature::HEADER, signature::sign(secret, body))
            .header("content-type", "application/json; charset=utf-8")
            .body(body.to_vec())
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn line_1(&self, events: &str) -> (u16, String) {
        self.webhook("line-1", "secret-1", to_line_1(events).as_bytes()).await
    }

    async fn events(&self, body: &str, seconds_off: i64) -> (u16, Value) {
        let now = wall_clock().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let timestamp = (i64::try_from(now).unwrap() + seconds_off).to_string();
        let key = STANDARD.decode(TILL_SECRET.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("m1.{timestamp}.{body}").as_bytes());
        let response = reqwest::Client::new()
            .post(format!("http://{}/events/till-1", self.http))
            .header("webhook-id", "m1")
            .header("webhook-timestamp", timestamp)
            .header(
                "webhook-signature",
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())),
            )
            .header("content-type", "application/cloudevents-batch+json")
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Waits until a configuration that was applied is followed.
    async fn follows(&self, times: usize) {
        eventually("ingress follows the configuration", async || {
            let seen = self.process.log().matches("another configuration is in force").count();
            (seen >= times).then_some(())
        })
        .await;
    }
}

fn to_line_1(events: &str) -> String {
    format!(r#"{{"destination":"U{}","events":[{events}]}}"#, "1".repeat(32))
}

fn follow(id: &str, user: &str) -> String {
    json!({
        "type": "follow", "timestamp": 1_795_251_600_000_i64, "webhookEventId": id,
        "source": {"type": "user", "userId": user}, "replyToken": format!("r-{id}"),
    })
    .to_string()
}

fn code(answer: &(u16, String)) -> (u16, String) {
    let body: Value = serde_json::from_str(&answer.1).unwrap();
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    (answer.0, body["error"]["code"].as_str().unwrap().to_owned())
}

fn body(message: &Stored) -> Value {
    serde_json::from_slice(&message.record.body).unwrap()
}

fn id(message: &Stored) -> String {
    message.record.header(header::ID).unwrap().to_owned()
}

/// The system that answers a shadow channel.
#[derive(Clone, Default)]
struct Incumbent(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    refuse: usize,
    refused: usize,
    taken: Vec<(String, String, Bytes)>,
}

impl Incumbent {
    async fn serve(&self, tasks: &mut JoinSet<std::io::Result<()>>) -> String {
        let this = self.clone();
        let route = post(async move |headers: HeaderMap, body: Bytes| this.take(&headers, body));
        let app = axum::Router::new().route("/callback", route);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tasks.spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/callback")
    }

    fn take(&self, headers: &HeaderMap, body: Bytes) -> StatusCode {
        let mut calls = self.0.lock().unwrap();
        if calls.refuse > 0 {
            calls.refuse -= 1;
            calls.refused += 1;
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        calls.taken.push((text(signature::HEADER), text("content-type"), body));
        StatusCode::OK
    }

    fn refuse(&self, times: usize) {
        self.0.lock().unwrap().refuse = times;
    }

    async fn taken(&self, number: usize) -> Vec<(String, String, Bytes)> {
        eventually("the incumbent has it", async || {
            let taken = self.0.lock().unwrap().taken.clone();
            (taken.len() >= number).then_some(taken)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_taken_as_the_configuration_in_force_says() {
    let Some(mut deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let ingress = Ingress::start(&deployment).await;

    let unsaid = ingress.line_1(&follow("e0", "U1")).await;
    assert_eq!(code(&unsaid), (503, "not_configured".to_owned()));
    assert!(unsaid.1.contains("mainstem apply"));

    deployment.apply(&directory("live", None), &["identity-merge"]).await;
    ingress.follows(1).await;
    assert_eq!(ingress.line_1(&follow("e0", "U1")).await, (200, "{}".to_owned()));

    let body_1 = to_line_1(&follow("e9", "U1"));
    let wrong = ingress.webhook("line-1", "another", body_1.as_bytes()).await;
    assert_eq!(code(&wrong), (401, "bad_signature".to_owned()));
    let elsewhere = ingress.webhook("line-2", "secret-2", body_1.as_bytes()).await;
    assert_eq!(code(&elsewhere), (403, "wrong_destination".to_owned()));
    let nobody = ingress.webhook("line-9", "secret-1", body_1.as_bytes()).await;
    assert_eq!(code(&nobody), (404, "unknown_channel".to_owned()));
    let mut garbage = vec![b'x'; 1024 * 1024 + 1];
    let large = ingress.webhook("line-1", "secret-1", &garbage).await;
    assert_eq!(code(&large), (413, "body_too_large".to_owned()));
    // One byte less, with a good signature, is kept and dead-lettered.
    garbage.pop();
    assert_eq!(ingress.webhook("line-1", "secret-1", &garbage).await.0, 200);
    let strange = format!("{},7", follow("e1", "U2"));
    assert_eq!(ingress.line_1(&strange).await.0, 200);

    deployment.caught_up("identity-merge", "INBOUND").await;
    let inbound = deployment.read("INBOUND").await;
    let kinds: Vec<_> = inbound.iter().map(|message| message.record.kind()).collect();
    let (event, unreadable) =
        ("mainstem.channel.line.follow.v1", "mainstem.channel.line.unreadable.v1");
    assert_eq!(kinds, [event, unreadable, event, unreadable]);
    assert_eq!(inbound[1].record.body.len(), garbage.len());
    let dead: Vec<_> = deployment.read("DEADLETTER").await.iter().map(body).collect();
    let origins: Vec<_> = dead.iter().map(|letter| letter["origin"].as_str().unwrap()).collect();
    let expected: Vec<_> =
        [1, 3].map(|at: usize| format!("INBOUND/{}", inbound[at].sequence)).into();
    assert_eq!(origins, expected, "and identity-merge passes over them in silence");
    let placed = deployment.subjects("CUSTOMER", "customer.*.channel").await;
    assert_eq!(placed.values().sum::<usize>(), 2, "{placed:?}");

    // Retired and back, without a restart.
    deployment.apply(&directory("retired", None), &["identity-merge"]).await;
    ingress.follows(2).await;
    assert_eq!(ingress.line_1(&follow("e2", "U1")).await.0, 200);
    // The last good one serves while the broker is away.
    deployment.server.stop();
    let away = ingress.line_1(&follow("e3", "U1")).await;
    assert_eq!(code(&away), (503, "not_stored".to_owned()));
    deployment.server.start_again();
    deployment.reconnect().await;
    eventually("ingress stores again", async || {
        (ingress.line_1(&follow("e3", "U1")).await.0 == 200).then_some(())
    })
    .await;
    let modes: Vec<_> = deployment
        .read("INBOUND")
        .await
        .iter()
        .filter(|message| message.record.kind() == event)
        .map(|message| (id(message), body(message)["mode"].clone()))
        .collect();
    let retired = json!("CHANNEL_MODE_RETIRED");
    let expected = [("e0", &Value::Null), ("e1", &Value::Null), ("e2", &retired), ("e3", &retired)];
    assert_eq!(modes, expected.map(|(id, mode)| (id.to_owned(), mode.clone())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_channel_is_relayed_until_its_incumbent_has_it_all() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let ingress = Ingress::start(&deployment).await;
    let (incumbent, mut tasks) = (Incumbent::default(), JoinSet::new());
    let url = incumbent.serve(&mut tasks).await;
    deployment.apply(&directory("shadow", Some(&url)), &["identity-merge"]).await;
    ingress.follows(1).await;
    let second = deployment.service("ingress");

    incumbent.refuse(2);
    let bodies: Vec<_> =
        (0..5).map(|n| to_line_1(&format!(" {} ", follow(&format!("e{n}"), "U1")))).collect();
    for body in &bodies {
        let answer = ingress.webhook("line-1", "secret-1", body.as_bytes()).await;
        assert_eq!(answer, (200, "{}".to_owned()), "a failing incumbent delays nobody");
    }
    let taken = incumbent.taken(bodies.len()).await;
    let expected: BTreeSet<_> = bodies.iter().map(|body| Bytes::from(body.clone())).collect();
    assert_eq!(taken.iter().map(|(_, _, body)| body.clone()).collect::<BTreeSet<_>>(), expected);
    for (made, content_type, body) in &taken {
        assert_eq!(*made, signature::sign("secret-1", body));
        assert_eq!(content_type, "application/json; charset=utf-8");
    }
    assert_eq!(taken.len(), bodies.len(), "each once");
    assert_eq!(incumbent.0.lock().unwrap().refused, 2);
    let inbound = deployment.read("INBOUND").await;
    assert!(inbound.iter().all(|message| body(message)["mode"] == "CHANNEL_MODE_SHADOW"));

    // Two wait for an incumbent that is away, while the channel goes live and forgets it.
    incumbent.refuse(usize::MAX);
    for id in ["e7", "e8"] {
        assert_eq!(ingress.line_1(&follow(id, "U1")).await.0, 200);
    }
    deployment.apply(&directory("live", None), &["identity-merge"]).await;
    ingress.follows(2).await;
    assert_eq!(ingress.line_1(&follow("e9", "U1")).await.0, 200);
    incumbent.refuse(0);
    incumbent.taken(bodies.len() + 2).await;
    eventually("RELAY is empty", async || {
        deployment.subjects("RELAY", "relay.*").await.is_empty().then_some(())
    })
    .await;
    assert_eq!(incumbent.taken(0).await.len(), bodies.len() + 2, "a live channel never relays");
    drop(second);
}

fn order(number: &str, member: &str) -> Value {
    json!({
        "specversion": "1.0", "source": "/tills/7", "id": number, "type": "mainstem.order-paid",
        "time": "2026-11-21T09:00:00Z",
        "data": {"identifiers": [format!("member:{member}"), "phone:+886912345678"], "total": 2680},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_tells_what_happened_and_is_told_what_became_of_it() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    deployment.apply(&directory("live", None), &["identity-merge"]).await;
    let ingress = Ingress::start(&deployment).await;
    ingress.follows(1).await;

    let batch = json!([order("1", "M1"), {"specversion": "1.0"}, order("2", "M2")]).to_string();
    let first = json!({"stored": 2, "duplicates": 0, "dead_lettered": 1});
    assert_eq!(ingress.events(&batch, 0).await, (200, first));
    let again = json!([order("2", "M2"), order("3", "M1")]).to_string();
    let second = json!({"stored": 1, "duplicates": 1, "dead_lettered": 0});
    assert_eq!(ingress.events(&again, -290).await, (200, second));
    for off in [-310, 310] {
        let (status, answer) = ingress.events(&again, off).await;
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("stale_timestamp")));
    }

    deployment.caught_up("identity-merge", "INBOUND").await;
    let inbound = deployment.read("INBOUND").await;
    let paid: Vec<_> = inbound
        .iter()
        .filter(|message| message.record.kind() == "mainstem.channel.till.order-paid.v1")
        .collect();
    assert_eq!(paid.len(), 3);
    let told = body(paid[0]);
    assert_eq!(told["raw"], order("1", "M1"));
    assert_eq!(told["business"], "BUSINESS_ACT_ORDER_PAID");
    assert_eq!(paid[0].record.header(header::STORE), Some("taipei-1"));
    assert_eq!(paid[0].record.header(header::TIME), Some("2026-11-21T09:00:00.000Z"));
    let verified: BTreeMap<_, _> = told["identifiers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["identifier"].as_str().unwrap(), &one["verified"]))
        .collect();
    let expected =
        [("member:M1", &Value::Bool(true)), ("phone:+886912345678", &Value::Bool(false))];
    assert_eq!(verified, expected.into());
    assert!(!paid[0].record.subject.contains("M1"));
    let placed = deployment.subjects("CUSTOMER", "customer.*.channel").await;
    assert_eq!(placed.values().sum::<usize>(), 3);
}

async fn client(ingress: &Ingress) -> (IngestServiceClient<Channel>, Channel) {
    let address = eventually("it listens", async || ingress.process.grpc()).await;
    let channel = eventually("a gRPC connection", async || {
        Channel::from_shared(format!("http://{address}")).ok()?.connect().await.ok()
    })
    .await;
    (IngestServiceClient::new(channel.clone()), channel)
}

fn call<T>(role: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token: MetadataValue<_> = format!("Bearer token-{role}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    request
}

fn told(id: &str) -> wire::Event {
    wire::Event {
        source: "pos".to_owned(),
        id: id.to_owned(),
        r#type: "store-visited".to_owned(),
        identifiers: vec!["member:M9".to_owned(), "nonsense".to_owned()],
        store: "taipei-1".to_owned(),
        data: serde_json::from_value(json!({"table": 4})).unwrap(),
        ..wire::Event::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_tells_by_grpc() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let ingress = Ingress::start(&deployment).await;
    let (mut client, channel) = client(&ingress).await;
    let ask = |channel: &str, events: Vec<wire::Event>| wire::IngestRequest {
        channel: channel.to_owned(),
        events,
    };
    let early = client.ingest(call("service", ask("till-1", vec![told("1")]))).await.unwrap_err();
    assert_eq!(refusal_from(&early).reason, "NOT_CONFIGURED");
    assert_eq!(early.code(), Code::Unavailable);

    deployment.apply(&directory("live", None), &["identity-merge"]).await;
    ingress.follows(1).await;
    let (stored, duplicate) = (i32::from(Outcome::Stored), i32::from(Outcome::Duplicate));
    let events = vec![told("1"), told("2"), told("1")];
    let answer = client.ingest(call("service", ask("till-1", events))).await.unwrap();
    assert_eq!(answer.into_inner().outcomes, [stored, stored, duplicate]);

    let requests = [("till-1", "2"), ("till-1", "3"), ("phone-1", "3")].map(|(channel, id)| {
        wire::IngestStreamRequest { channel: channel.to_owned(), events: vec![told(id)] }
    });
    let stream = tokio_stream(requests.into());
    let answer = client.ingest_stream(call("service", stream)).await.unwrap();
    assert_eq!(answer.into_inner().outcomes, [duplicate, stored, stored]);

    let mut nameless = told("4");
    nameless.source.clear();
    for (role, channel, event, expected) in [
        ("service", "till-1", nameless, (Code::InvalidArgument, "INVALID_FIELD")),
        ("service", "till-9", told("4"), (Code::NotFound, "NOT_FOUND")),
        ("service", "TILL", told("4"), (Code::InvalidArgument, "INVALID_FIELD")),
        ("operator", "till-1", told("4"), (Code::PermissionDenied, "ROLE_NOT_ALLOWED")),
        ("nobody", "till-1", told("4"), (Code::Unauthenticated, "UNKNOWN_TOKEN")),
    ] {
        let refused = client.ingest(call(role, ask(channel, vec![event]))).await.unwrap_err();
        let refusal = refusal_from(&refused);
        assert_eq!((refused.code(), refusal.reason.as_str()), expected);
    }
    let none = client.ingest(call("service", ask("till-1", Vec::new()))).await.unwrap_err();
    assert_eq!(refusal_from(&none).violations[0].field, "events");

    let inbound = deployment.read("INBOUND").await;
    let kinds: Vec<_> = inbound.iter().map(|message| message.record.kind()).collect();
    let till = "mainstem.channel.till.store-visited.v1";
    assert_eq!(kinds, [till, till, till, "mainstem.channel.phone.store-visited.v1"]);
    let read = body(&inbound[0]);
    assert_eq!(read["raw"]["data"]["table"], 4.0);
    assert_eq!(read["identifiers"], json!([{"identifier": "member:M9", "verified": true}]));

    let mut health = tonic::client::Grpc::new(channel);
    health.ready().await.unwrap();
    let path = "/grpc.health.v1.Health/Check".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    health.unary(Request::new(()), path, codec).await.unwrap();
}

fn tokio_stream<T: Send + 'static>(items: Vec<T>) -> impl futures::Stream<Item = T> + Send {
    futures::stream::iter(items)
}

/// Our own bodies, and the vendor's where they lie beside the repository.
fn samples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("fixtures/line-webhooks")];
    #[expect(clippy::disallowed_methods, reason = "a test is not configured by the configuration")]
    let named = std::env::var("MAINSTEM_DATA").map(PathBuf::from);
    let data = named.unwrap_or_else(|_| root.join("../../shared/data")).join("line-webhooks");
    if data.is_dir() {
        folders.push(data);
    } else {
        println!("passed over: {} holds no webhooks of the vendor", data.display());
    }
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_accepted_and_harms_no_other() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    deployment.apply(&directory("live", None), &["identity-merge"]).await;
    let ingress = Ingress::start(&deployment).await;
    ingress.follows(1).await;

    let (mut events, mut people, mut ids) = (0, BTreeSet::new(), BTreeSet::new());
    for path in samples() {
        let bytes = std::fs::read(&path).unwrap();
        let answer = ingress.webhook("line-2", "secret-2", &bytes).await;
        assert_eq!(answer, (200, "{}".to_owned()), "{}", path.display());
        let webhook: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(webhook["destination"], LINE_2, "{}", path.display());
        for event in webhook["events"].as_array().unwrap() {
            events += 1;
            let source = &event["source"];
            let alone = source["type"] == "user" && source.get("groupId").is_none();
            let known = event["webhookEventId"].as_str().filter(|id| !id.contains(' '));
            let new = known.is_none_or(|id| ids.insert(id.to_owned()));
            if let Some(user) = source["userId"].as_str().filter(|_| alone && new) {
                people.insert(user.to_owned());
            }
        }
    }
    let repeated = if events > 9 { 2 } else { 1 };
    assert!(events == 8 || events == 8 + 28, "{events} events");

    deployment.caught_up("identity-merge", "INBOUND").await;
    assert!(deployment.read("DEADLETTER").await.is_empty());
    assert_eq!(deployment.read("INBOUND").await.len(), events - repeated);
    let count = async |filter: &str| -> (usize, usize) {
        let subjects = deployment.subjects("CUSTOMER", filter).await;
        (subjects.len(), subjects.values().sum())
    };
    let (customers, theirs) = count("customer.*.channel").await;
    let (_, nobodys) = count("channel.*").await;
    assert_eq!(theirs + nobodys, events - repeated, "each on CUSTOMER exactly once");
    assert_eq!(customers, people.len(), "{people:?}");
    assert!(nobodys >= 2);
}
