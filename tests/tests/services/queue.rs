//! What lies on `QUEUES` and how it is taken, on a real nats-server with the real routing process
//! and its queue keeper.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, UNIX_EPOCH};

use async_nats::HeaderMap;
use mainstem_bus::nats::{Bus, CaseNews, CaseQueue, Login, OnOffer, provision};
use mainstem_bus::permissions::{password_variable, server_users, users};
use mainstem_bus::topology::{self, QUEUES, ROUTING};
use mainstem_domain::configuration::{Configuration, Priority};
use mainstem_domain::{At, CaseId, CustomerId, RefusalCode};
use mainstem_runtime::service::wall_clock;
use mainstem_tests::deployment::{Deployment, Event, Service, configuration, eventually};
use mainstem_tests::nats_server::NatsServer;
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// The usual menu, with something more urgent on it.
fn menu() -> Configuration {
    let mut value = serde_json::to_value(configuration()).unwrap();
    value["rules"].as_array_mut().unwrap().push(json!({
        "name": "menu-urgent", "when": "event.menu == 'urgent'", "reply": "opened",
        "open": {"queue": "repair", "priority": "P1"},
    }));
    serde_json::from_value(value).unwrap()
}

fn urgent(id: &str, user: &str) -> Event {
    Event { postback: "menu=urgent".to_owned(), ..Event::repair(id, user) }
}

/// A minute in a second, for all services of a deployment.
fn fast() -> Vec<(&'static str, String)> {
    let now = wall_clock().duration_since(UNIX_EPOCH).unwrap();
    let now = At::from_millis(i64::try_from(now.as_millis()).unwrap()).to_string();
    vec![
        ("MAINSTEM__CLOCK__SPEED", "60".to_owned()),
        ("MAINSTEM__CLOCK__ORIGIN_REAL", now.clone()),
        ("MAINSTEM__CLOCK__ORIGIN_VIRTUAL", now),
    ]
}

fn service(deployment: &Deployment, name: &str, more: &[(&'static str, String)]) -> Service {
    let more: Vec<_> = more.iter().map(|(key, value)| (*key, value.as_str())).collect();
    deployment.service_with(name, &more)
}

async fn items(deployment: &Deployment) -> Vec<String> {
    deployment.subjects(QUEUES, "queue.>").await.into_keys().collect()
}

/// Opens a case for each event, one after the other, and gives them in this order.
async fn open(deployment: &Deployment, events: &[Event]) -> Vec<CaseId> {
    let mut cases = Vec::new();
    for event in events {
        deployment.publish(event).await;
        let origin = format!("line-1/{}", event.id);
        let case = CaseId::derive(&origin);
        eventually("an item lies on its queue", async || {
            let items = items(deployment).await;
            items.iter().any(|item| item.ends_with(case.as_str())).then_some(())
        })
        .await;
        cases.push(case);
    }
    cases
}

async fn gone(deployment: &Deployment, case: CaseId) {
    eventually("an item is taken off", async || {
        let items = items(deployment).await;
        items.iter().all(|item| !item.ends_with(case.as_str())).then_some(())
    })
    .await;
}

async fn ask(deployment: &Deployment, role: &str, endpoint: &str, body: Value) -> Value {
    deployment.call(role, "routing", endpoint, body).await.unwrap()
}

/// Records of one kind about one case.
async fn records(deployment: &Deployment, kind: &str, case: CaseId) -> Vec<Value> {
    let messages = deployment.read(ROUTING).await.into_iter();
    let bodies = messages
        .filter(|message| message.record.kind() == kind)
        .map(|message| serde_json::from_slice::<Value>(&message.record.body).unwrap());
    bodies.filter(|body| body["case"]["case"] == case.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_the_most_urgent_case_and_a_second_one_is_told_who_has_it() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let _routing = deployment.service("routing");
    deployment.apply(&menu(), &["routing"]).await;
    let events = [
        Event::repair("e-1", "U1"),
        Event::repair("e-2", "U2"),
        urgent("e-3", "U3"),
        Event::repair("e-4", "U4"),
        urgent("e-5", "U5"),
    ];
    let cases = open(&deployment, &events).await;

    // What a worker with any client sees without reading the body.
    let client = async_nats::connect(deployment.server.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream(QUEUES).await.unwrap();
    let subject = topology::item_subject(&"repair".parse().unwrap(), Priority::P2, cases[0]);
    let item = stream.get_last_raw_message_by_subject(&subject).await.unwrap();
    let header = |name: &str| item.headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(header("Case-Id").as_deref(), Some(cases[0].as_str()));
    assert_eq!(header("Priority").as_deref(), Some("P2"));
    assert_eq!(header("Store").as_deref(), Some("taipei-1"));
    assert_eq!(header("Brand").as_deref(), Some("aurora"));
    assert!(std::str::from_utf8(&item.payload).unwrap().contains("\"queue\":\"repair\""));

    // By the queue: P1 first, and first in first out within it.
    let mut queue = CaseQueue::open(&deployment.bus, &"repair".parse().unwrap()).await.unwrap();
    let first = queue.next().await;
    assert_eq!(first.case, cases[2]);
    let body = json!({"case": first.case.as_str()});
    let taken = ask(&deployment, "unit", "accept-case", body.clone()).await;
    assert_eq!(taken["case"]["holder"], "unit/test");
    // The keeper may have taken the item off already; the worker's word is taken all the same.
    first.done().await.unwrap();
    gone(&deployment, cases[2]).await;
    let refusal = deployment.call("operator", "routing", "accept-case", body).await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (RefusalCode::FailedPrecondition, "CASE_TAKEN")
    );
    assert_eq!(refusal.metadata["holder"], "unit/test");
    assert!(refusal.message.contains("unit/test"), "{refusal}");

    // By `ClaimNext`: accepted for the caller, and taken off although nobody acknowledged it.
    for case in [4, 0] {
        let claimed = ask(&deployment, "unit", "claim-next", json!({"queue": "repair"})).await;
        assert_eq!(claimed["case"]["case"], cases[case].as_str());
        assert_eq!(claimed["case"]["holder"], "unit/test");
        gone(&deployment, cases[case]).await;
    }
    // By name, in the middle of the queue; then cancelled by somebody else.
    let case = json!({"case": cases[3].as_str()});
    ask(&deployment, "unit", "accept-case", case.clone()).await;
    gone(&deployment, cases[3]).await;
    let started = ask(&deployment, "unit", "start-case", case).await;
    assert_eq!(started["case"]["state"], "CASE_STATE_IN_PROGRESS");
    let no_reason = json!({"case": cases[1].as_str(), "reason": " "});
    let refusal = deployment.call("unit", "routing", "cancel-case", no_reason).await.unwrap_err();
    assert_eq!(refusal.violations[0].field, "reason");
    let cancel = json!({"case": cases[1].as_str(), "reason": "opened by mistake"});
    let cancelled = ask(&deployment, "operator", "cancel-case", cancel).await;
    assert_eq!(cancelled["case"]["state"], "CASE_STATE_CANCELLED");
    gone(&deployment, cases[1]).await;

    let nothing = ask(&deployment, "unit", "claim-next", json!({"queue": "repair"})).await;
    assert_eq!(nothing, json!({}));
    let nowhere = json!({"queue": "nowhere"});
    let refusal = deployment.call("unit", "routing", "claim-next", nowhere).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    assert_eq!(items(&deployment).await, [""; 0]);
}

/// A store's staff open a case, and its item follows it to another priority and another queue.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_follows_its_case_to_another_priority_and_another_queue() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let _routing = deployment.service("routing");
    let mut configuration = menu();
    let advice = serde_json::from_value(json!({"name": "Advice"})).unwrap();
    configuration.queues.insert("advice".parse().unwrap(), advice);
    deployment.apply(&configuration, &["routing"]).await;

    let wish = json!({
        "requestId": "r-1",
        "customer": CustomerId::derive("x").as_str(),
        "store": "taipei-1",
        "queue": "repair",
        "details": {"product": "Watch", "serial": "sn-001"},
    });
    let opened = ask(&deployment, "operator", "open-case", wish.clone()).await;
    let case: CaseId = opened["case"]["case"].as_str().unwrap().parse().unwrap();
    assert_eq!((&opened["case"]["channel"], &opened["existing"]), (&json!("line-1"), &Value::Null));
    // The same request has the same answer; another counter is told of the case that is there.
    assert_eq!(ask(&deployment, "operator", "open-case", wish.clone()).await, opened);
    let mut again = wish;
    again["requestId"] = "r-2".into();
    again["details"]["serial"] = "ＳＮ００１".into();
    let again = ask(&deployment, "operator", "open-case", again).await;
    assert_eq!((&again["case"]["case"], &again["existing"]), (&json!(case.as_str()), &json!(true)));

    let lies_at = async |queue: &str, priority: Priority| {
        let item = topology::item_subject(&queue.parse().unwrap(), priority, case);
        eventually("the item lies there alone", async || {
            (items(&deployment).await == [item.as_str()]).then_some(())
        })
        .await;
    };
    lies_at("repair", Priority::P3).await;
    let body = json!({"case": case.as_str(), "priority": "P1"});
    ask(&deployment, "unit", "set-priority", body).await;
    lies_at("repair", Priority::P1).await;
    let taken = ask(&deployment, "unit", "claim-next", json!({"queue": "repair"})).await;
    assert_eq!(taken["case"]["case"], case.as_str());
    let body = json!({"case": case.as_str(), "queue": "advice", "reason": "not a repair"});
    let moved = ask(&deployment, "unit", "transfer-case", body).await;
    assert_eq!(
        (&moved["case"]["state"], &moved["case"]["queue"]),
        (&json!("CASE_STATE_OPEN"), &json!("advice"))
    );
    lies_at("advice", Priority::P1).await;
}

/// A record that does not count is copied all the same: what an old writer can leave behind.
async fn stray(deployment: &Deployment, case: CaseId) {
    let client = async_nats::connect(deployment.server.url()).await.unwrap();
    let queue = "repair".parse().unwrap();
    let subject = topology::queued_subject(CustomerId::derive("x"), &queue, Priority::P2, case);
    let jetstream = async_nats::jetstream::new(client);
    let mut headers = HeaderMap::new();
    headers.insert("ce-type", "mainstem.routing.case-queued.v1");
    let sent = jetstream.publish_with_headers(subject, headers, "{}".into()).await.unwrap();
    sent.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_off_and_not_accepted_comes_back_and_what_is_not_on_offer_goes() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let fast = fast();
    let _identity = service(&deployment, "identity-merge", &fast);
    let mut routing = service(&deployment, "routing", &fast);
    deployment.apply(&menu(), &["routing"]).await;
    let events = ["e-1", "e-2", "e-3"].map(|id| Event::repair(id, id));
    let cases = open(&deployment, &events).await;
    let queued = "mainstem.routing.case-queued.v1";

    // Pulled and acknowledged while routing is there, and while it is not; never accepted.
    let mut queue = CaseQueue::open(&deployment.bus, &"repair".parse().unwrap()).await.unwrap();
    let first = queue.next().await;
    assert_eq!(first.case, cases[0]);
    first.done().await.unwrap();
    ask(&deployment, "unit", "accept-case", json!({"case": cases[2].as_str()})).await;
    gone(&deployment, cases[2]).await;
    assert!(routing.stop(), "ends well: {}", routing.log());
    let second = queue.next().await;
    assert_eq!(second.case, cases[1]);
    second.done().await.unwrap();
    // The open stream would take what comes back.
    drop(queue);
    // Items of a case that somebody has, and of one that there never was.
    let never = CaseId::derive("never");
    stray(&deployment, cases[2]).await;
    stray(&deployment, never).await;
    eventually("the strays are there", async || {
        (items(&deployment).await.len() == 2).then_some(())
    })
    .await;

    let writer = service(&deployment, "routing", &fast);
    eventually("it writes", async || writer.log().contains("epoch=2").then_some(())).await;
    let standby = service(&deployment, "routing", &fast);
    // At its first look, long before anything is called missing.
    gone(&deployment, cases[2]).await;
    assert_eq!(records(&deployment, queued, cases[0]).await.len(), 1);

    for case in &cases[..2] {
        eventually("it is queued again", async || {
            let items = items(&deployment).await;
            items.iter().any(|item| item.ends_with(case.as_str())).then_some(())
        })
        .await;
        let records = records(&deployment, queued, *case).await;
        let times: Vec<_> = records.iter().map(|body| body["case"]["queueCount"].clone()).collect();
        assert_eq!(times, [json!(1), json!(2)]);
    }
    gone(&deployment, never).await;
    let claimed = ask(&deployment, "unit", "claim-next", json!({"queue": "repair"})).await;
    assert_eq!(claimed["case"]["case"], cases[0].as_str(), "it has kept its place");
    gone(&deployment, cases[0]).await;
    // Two looks more: what lies there again is not missed again.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(records(&deployment, queued, cases[1]).await.len(), 2);
    let (written, stood_by) = (writer.log(), standby.log());
    assert_eq!(written.matches("queued again").count(), 2, "{written}");
    assert_eq!(stood_by.matches("queued again").count(), 0, "{stood_by}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keeper_and_the_back_office_may_do_their_part_as_their_own_users() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("users.conf");
    let config = users().iter().fold(server_users(), |config, user| {
        config.replace(&format!("${}", password_variable(user.name)), "secret")
    });
    std::fs::write(&file, config).unwrap();
    let Some(server) = NatsServer::start_with(&["-c", file.to_str().unwrap()]) else { return };
    let connect = async |user: &str| {
        let (user, password, name) = (user.to_owned(), "secret".to_owned(), user.to_owned());
        let login = Login { url: server.url(), user, password, name, ..Login::default() };
        eventually("a connection", async || Bus::connect(&login).await.ok()).await
    };
    provision(&connect("admin").await, 1).await.unwrap();
    let (routing, backoffice) = (connect("routing").await, connect("backoffice").await);
    let options = async_nats::ConnectOptions::new()
        .user_and_password("routing".to_owned(), "secret".to_owned())
        .custom_inbox_prefix("_INBOX_routing");
    let client = options.connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);

    let mut news = CaseNews::listen(&routing).await.unwrap();
    let on_offer = OnOffer::open(&routing).await.unwrap();
    assert!(on_offer.look().await.unwrap().is_empty());
    let (customer, case) = (CustomerId::derive("x"), CaseId::derive("x"));
    let queue = "repair".parse().unwrap();
    let queued = topology::queued_subject(customer, &queue, Priority::P4, case);
    jetstream.publish(queued, "{}".into()).await.unwrap().await.unwrap();
    let item = topology::item_subject(&queue, Priority::P4, case);
    eventually("the item is seen", async || {
        on_offer.look().await.ok()?.contains(&item).then_some(())
    })
    .await;
    let mut cases = CaseQueue::open(&backoffice, &queue).await.unwrap();
    assert_eq!(cases.next().await.case, case);
    let may_not = OnOffer::open(&backoffice).await.unwrap().remove(&item).await;
    assert!(may_not.is_err(), "a worker takes off what it was given, and nothing else");
    assert!(on_offer.remove(&item).await.unwrap());
    assert!(!on_offer.remove(&item).await.unwrap());
    jetstream.publish(topology::case_subject(customer), "{}".into()).await.unwrap().await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(5), news.next()).await;
    assert_eq!(told.unwrap().unwrap().1, "{}");
}
