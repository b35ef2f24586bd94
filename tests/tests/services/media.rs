//! What people send that is no text, and how they show: fetched from LINE, told, taken back and
//! erased, on a real nats-server with the users of the topology.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstem_domain::At;
use mainstem_line::{Channels, media_id};
use mainstem_line_sandbox::{Act, ActRequest, Faults, Person, Sandbox};
use mainstem_tests::deployment::{Deployment, Service, configuration, eventually};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const PICTURE: &[u8] = b"a picture of a broken clasp, planted";
const AT_MOST: usize = 300_000;

/// A deployment beside a LINE of this process, with ingress and identity-merge.
struct Shop {
    deployment: Deployment,
    sandbox: Arc<Sandbox>,
    services: Vec<Service>,
    more: [(&'static str, String); 3],
    _stop: tokio_util::sync::DropGuard,
}

impl Shop {
    async fn open() -> Option<Self> {
        let deployment = Deployment::start_with_users(SERVICE).await?;
        let channels = std::fs::read_to_string(deployment.folder().join("channels.toml")).unwrap();
        let now = Arc::new(|| At::parse("2026-11-21T09:00:00Z").unwrap());
        let channels = Channels::parse(&channels).unwrap();
        let sandbox = Arc::new(Sandbox::new(channels, Faults::default(), now).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let served = mainstem_line_sandbox::run(Arc::clone(&sandbox), listener, stop.clone());
        tokio_util::task::TaskTracker::new().spawn(served);
        let more = [
            ("MAINSTEM__INGRESS__LINE_API_URL", line.clone()),
            ("MAINSTEM__INGRESS__LINE_DATA_URL", line),
            ("MAINSTEM__INGRESS__MEDIA_BYTES_AT_MOST", AT_MOST.to_string()),
        ];
        let told: Vec<_> = more.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let services: Vec<_> = ["ingress", "identity-merge", "routing", "notification"]
            .map(|name| deployment.service_with(name, &told))
            .into();
        let of = ["identity-merge", "routing", "notification"];
        deployment.apply(&configuration(), &of).await;
        let webhooks = eventually("ingress listens", async || services[0].http()).await;
        eventually("ingress has read the configuration", async || {
            services[0].log().contains("another configuration is in force").then_some(())
        })
        .await;
        sandbox.set_webhook_base(&format!("http://{webhooks}"));
        Some(Self { deployment, sandbox, services, more, _stop: stop.drop_guard() })
    }

    async fn second_ingress(&self) -> Service {
        let more: Vec<_> = self.more.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let ingress = self.deployment.service_with("ingress", &more);
        let webhooks = eventually("ingress listens", async || ingress.http()).await;
        self.sandbox.set_webhook_base(&format!("http://{webhooks}"));
        ingress
    }

    fn person(&self, name: &str, language: Option<&str>) -> String {
        let person = Person {
            name: name.to_owned(),
            language: language.map(str::to_owned),
            status: None,
            deleted: false,
        };
        let user = self.sandbox.platform().create_person(person, self.sandbox.now());
        self.sandbox.platform().befriend(&"line-1".parse().unwrap(), &user, true);
        user
    }

    async fn act(&self, user: &str, act: Value) -> Option<String> {
        let act: Act = serde_json::from_value(act).unwrap();
        let request = ActRequest { channel: "line-1".parse().unwrap(), user: user.to_owned(), act };
        let acted = self.sandbox.act(request).await.unwrap();
        assert_eq!(acted.status, Some(200));
        acted.message
    }

    /// Sends a picture, and says the name that its content gets.
    async fn send(&self, user: &str, content: &[u8]) -> (String, String) {
        let data = STANDARD.encode(content);
        let act = json!({"send": {"media_type": "image/png", "data": data}});
        let message = self.act(user, act).await.unwrap();
        let media = media_id(&"line-1".parse().unwrap(), &message);
        (message, media)
    }

    /// The content of that name, as any client reads it.
    async fn content(&self, media: &str) -> Option<Vec<u8>> {
        let jetstream = async_nats::jetstream::new(self.deployment.admin().await);
        let bucket = jetstream.get_object_store("MEDIA").await.unwrap();
        let mut object = bucket.get(media).await.ok()?;
        let mut content = Vec::new();
        object.read_to_end(&mut content).await.unwrap();
        Some(content)
    }

    /// Whether something that was planted lies in one of the server's files.
    fn lies_somewhere(&self, planted: &[u8]) -> bool {
        files_under(self.deployment.server.store())
            .iter()
            .any(|bytes| bytes.windows(planted.len()).any(|window| window == planted))
    }

    async fn customer(&self, user: &str) -> Option<Value> {
        let identifier = format!("line:p1:{user}");
        let asked = json!({"identifier": identifier});
        let deployment = &self.deployment;
        let answer = deployment.call("operator", "identity-merge", "resolve-customer", asked).await;
        Some(answer.ok()?["customer"].clone())
    }

    fn profile_calls(&self) -> u64 {
        let figures = self.sandbox.platform().figures(self.sandbox.now());
        let figures = serde_json::to_value(&figures).unwrap();
        figures["line-1"]["calls"]["profile"].as_u64().unwrap_or(0)
    }
}

fn files_under(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else {
            found.extend(std::fs::read(path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_send_is_fetched_and_goes_when_they_take_it_back_or_are_forgotten() {
    let Some(mut shop) = Shop::open().await else { return };
    let (one, other) = (shop.person("Lin", None), shop.person("Wang", None));
    // More than one piece of the store, so that something could be left of it.
    let large: Vec<u8> = PICTURE.iter().copied().cycle().take(200_000).collect();
    let (message, media) = shop.send(&one, &large).await;
    let fetched = eventually("a picture is fetched", async || shop.content(&media).await).await;
    assert!(fetched == large, "not what was sent");
    assert!(shop.lies_somewhere(PICTURE));

    let (_, kept) = shop.send(&other, b"another's picture, which stays").await;
    eventually("the other's is fetched", async || shop.content(&kept).await).await;
    let (_, forgotten) = shop.send(&one, PICTURE).await;
    eventually("a second one is fetched", async || shop.content(&forgotten).await).await;

    shop.act(&one, json!({"unsend": {"message": message}})).await;
    eventually("what was taken back is gone", async || {
        shop.content(&media).await.is_none().then_some(())
    })
    .await;
    assert!(shop.content(&forgotten).await.is_some());

    let customer = eventually("the person is known", async || shop.customer(&one).await).await;
    let asked = json!({"customer": customer["customer"], "requestId": "forget"});
    shop.deployment.call("operator", "identity-merge", "erase-customer", asked).await.unwrap();
    eventually("nothing is left of it", async || {
        shop.content(&forgotten).await.is_none().then_some(())
    })
    .await;
    eventually("nothing lies in a file", async || (!shop.lies_somewhere(PICTURE)).then_some(()))
        .await;
    assert_eq!(shop.content(&kept).await.unwrap(), b"another's picture, which stays");

    let (_, too_large) = shop.send(&other, &vec![1; AT_MOST + 1]).await;
    eventually("what is too large is told of", async || {
        let dead = shop.deployment.read("DEADLETTER").await;
        let told = |body: &[u8]| String::from_utf8_lossy(body).contains("media_bytes_at_most");
        dead.iter().any(|message| told(&message.record.body)).then_some(())
    })
    .await;
    assert!(shop.content(&too_large).await.is_none());
    for service in &mut shop.services {
        assert!(service.stop());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_fetched_once_and_tells_the_language() {
    let Some(shop) = Shop::open().await else { return };
    let (one, stranger) = (shop.person("Ann", Some("en-GB")), shop.person("Gone", None));
    shop.sandbox.platform().befriend(&"line-1".parse().unwrap(), &stranger, false);
    for text in ["hello", "again", "and again"] {
        shop.act(&one, json!({"say": {"text": text}})).await;
        shop.act(&stranger, json!({"say": {"text": text}})).await;
    }
    let told = eventually("the profile is told", async || {
        let customer = shop.customer(&one).await?;
        let attributes = customer["attributes"].as_array()?.clone();
        (attributes.len() == 2).then_some(attributes)
    })
    .await;
    let value = |name: &str| {
        let found = told.iter().find(|attribute| attribute["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["verified"].clone())
    };
    assert_eq!(value("display-name"), ("Ann".to_owned(), true.into()));
    assert_eq!(value("language"), ("en-GB".to_owned(), true.into()));
    let customer = shop.customer(&one).await.unwrap()["customer"].clone();
    eventually("notification speaks it", async || {
        let asked = json!({"customer": customer});
        let answer = shop.deployment.call("operator", "notification", "get-preferences", asked);
        (answer.await.ok()?["language"] == "en").then_some(())
    })
    .await;
    eventually("the stranger was looked for", async || (shop.profile_calls() >= 2).then_some(()))
        .await;
    // Another process, which has asked for nobody yet.
    let _second = shop.second_ingress().await;
    for user in [&one, &stranger] {
        shop.act(user, json!({"say": {"text": "still there?"}})).await;
    }
    let third = shop.person("Chen", Some("zh-TW"));
    shop.act(&third, json!({"say": {"text": "hello"}})).await;
    eventually("the third is looked for", async || (shop.profile_calls() >= 3).then_some(())).await;
    assert_eq!(shop.profile_calls(), 3);
    // Who becomes a friend may be found now.
    shop.act(&stranger, json!("follow")).await;
    eventually("the stranger is found", async || {
        let customer = shop.customer(&stranger).await?;
        customer["attributes"].as_array().filter(|told| !told.is_empty()).map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_found_has_blocked_nobody() {
    let Some(shop) = Shop::open().await else { return };
    let stranger = shop.person("Gone", None);
    shop.sandbox.platform().befriend(&"line-1".parse().unwrap(), &stranger, false);
    shop.act(&stranger, json!({"say": {"text": "hello"}})).await;
    eventually("the stranger was looked for", async || (shop.profile_calls() >= 1).then_some(()))
        .await;
    let customer = eventually("is known", async || shop.customer(&stranger).await).await;
    let asked = json!({"customer": customer["customer"]});
    let known = eventually("notification knows an account", async || {
        let asked = asked.clone();
        let answer = shop.deployment.call("operator", "notification", "get-preferences", asked);
        let accounts = answer.await.ok()?["accounts"].clone();
        accounts.as_array().filter(|accounts| !accounts.is_empty()).cloned()
    })
    .await;
    assert_ne!(known[0]["blocked"], true);
    assert!(
        shop.customer(&stranger).await.unwrap()["attributes"].as_array().is_none_or(Vec::is_empty)
    );
}
