//! Why an event went where it went, as routing tells it from the ledgers: on a real nats-server with the
//! users of the topology, through merges, splits and another configuration.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mainstem_bus::nats::Configurations;
use mainstem_bus::record::header;
use mainstem_bus::topology;
use mainstem_domain::configuration::Configuration;
use mainstem_domain::{Refusal, RefusalCode};
use mainstem_tests::deployment::{Deployment, Event, Service, configuration, eventually};
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const SERVICES: [&str; 3] = ["identity-merge", "routing", "notification"];

/// The second rule cannot be evaluated for an event with a brand of six letters.
fn rules() -> Configuration {
    let mut directory = serde_json::to_value(configuration()).unwrap();
    directory["desks"] = json!({"central": {"name": "Central"}});
    directory["staff"] = json!({
        "lin": {"name": "Lin", "store": "taipei-1", "capacity": 1},
        "wu": {"name": "Wu", "store": "taipei-1", "capacity": 1},
        "chen": {"name": "Chen", "desk": "central"},
    });
    let talk = json!({
        "name": "talk", "when": "event.menu == 'talk'", "reply": "hold",
        "targets": ["bound_staff 120s", "store_on_shift 180s", "central_desk"],
    });
    let broken = json!({
        "name": "broken", "when": "event.menu == 'odd' && 1 / (size(event.brand) - 6) > 0",
        "reply": "hold",
    });
    let odd = json!({"name": "odd", "when": "event.menu == 'odd'", "reply": "hold"});
    let rules = directory["rules"].as_array_mut().unwrap();
    rules.splice(0..0, [talk, broken, odd]);
    directory["templates"]["hold"] = json!({"house": "One moment, please."});
    serde_json::from_value(directory).unwrap()
}

struct Scene {
    deployment: Deployment,
    _services: Vec<Service>,
}

impl Scene {
    async fn open() -> Option<Self> {
        let deployment = Deployment::start_with_users(SERVICE).await?;
        deployment.let_in(&[
            ("north", "unit", "queues = [\"repair\"]"),
            ("elsewhere", "store", "stores = [\"taipei-2\"]"),
        ]);
        let services = SERVICES.map(|name| deployment.service(name)).into();
        deployment.apply(&rules(), &SERVICES).await;
        Some(Self { deployment, _services: services })
    }

    async fn ask(&self, endpoint: &str, body: Value) -> Value {
        self.deployment.call("operator", "routing", endpoint, body).await.unwrap()
    }

    async fn explain_as(&self, role: &str, event: &str, whose: &str) -> Result<Value, Refusal> {
        let body = json!({"event": event, "customer": whose});
        self.deployment.call(role, "routing", "explain-decision", body).await
    }

    async fn explain(&self, event: &str, customer: &str) -> Value {
        self.explain_as("operator", event, customer).await.unwrap()
    }

    async fn tap(&self, id: &str, user: &str, postback: &str) {
        let postback = postback.to_owned();
        self.deployment.publish(&Event { postback, ..Event::repair(id, user) }).await;
        self.deployment.caught_up("identity-merge", topology::INBOUND).await;
        self.deployment.caught_up("routing", topology::CUSTOMER).await;
    }

    async fn owner(&self, user: &str) -> String {
        let body = json!({"identifier": format!("line:p1:{user}")});
        let found = self.deployment.call("operator", "identity-merge", "resolve-customer", body);
        found.await.unwrap()["customer"]["customer"].as_str().unwrap().to_owned()
    }

    /// Where the record of an event stands in CUSTOMER.
    async fn sequence(&self, event: &str) -> u64 {
        let records = self.deployment.read(topology::CUSTOMER).await;
        let found = records.iter().rfind(|one| one.record.header(header::ID) == Some(event));
        found.unwrap().sequence
    }

    async fn present(&self, staff: &str, available: bool) {
        self.ask("set-presence", json!({"staff": staff, "available": available})).await;
    }
}

fn stands(step: &Value) -> (&str, &str) {
    let state = step["talk"]["state"].as_str().unwrap();
    (state.trim_start_matches("CONVERSATION_STATE_"), step["talk"]["staff"].as_str().unwrap_or(""))
}

fn passed_over(step: &Value) -> Vec<(&str, &str, &str)> {
    let all = step["passedOver"].as_array().into_iter().flatten();
    all.map(|one| {
        let text = |name: &str| one[name].as_str().unwrap_or("");
        (text("target"), text("staff"), text("reason"))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_explained_from_its_rule_to_whoever_has_it() {
    let Some(scene) = Scene::open().await else { return };
    for staff in ["lin", "wu", "chen"] {
        scene.present(staff, true).await;
    }
    scene.present("wu", false).await;
    scene.tap("e-1", "Uanna", "menu=talk").await;
    let anna = scene.owner("Uanna").await;
    let begun = scene.explain("e-1", &anna).await;
    assert_eq!((&begun["rule"], &begun["channel"]), (&json!("talk"), &json!("line-1")));
    let one = &begun["conversation"];
    assert_eq!(one["part"], "CONVERSATION_PART_BEGAN");
    let chain: Vec<_> = one["targets"].as_array().unwrap().iter().collect();
    assert_eq!(chain[0], &json!({"target": "bound_staff", "withinMs": "120000"}));
    assert_eq!(chain[1], &json!({"target": "store_on_shift", "withinMs": "180000"}));
    assert_eq!(chain[2], &json!({"target": "central_desk"}));
    let first = &one["steps"][0];
    assert_eq!((stands(first), &first["talk"]["target"]), (("OFFERED", "lin"), &json!(1)));
    assert!(
        first["talk"]["offerEndTime"].is_string() && first["talk"]["targetEndTime"].is_string()
    );
    assert_eq!(
        passed_over(first),
        [("bound_staff", "", "not-bound"), ("store_on_shift", "wu", "away")]
    );
    assert_eq!(begun["messages"][0]["templates"], json!(["hold"]));

    // Who says no, who is asked then, and who has it.
    let id = &one["conversation"];
    scene.ask("reject-conversation", json!({"conversation": id, "staff": "lin"})).await;
    scene.ask("accept-conversation", json!({"conversation": id, "staff": "chen"})).await;
    let whole = scene.explain("e-1", &anna).await;
    let steps = whole["conversation"]["steps"].as_array().unwrap();
    let way: Vec<_> = steps.iter().map(stands).collect();
    assert_eq!(way, [("OFFERED", "lin"), ("OFFERED", "chen"), ("IN_PROGRESS", "chen")]);
    assert_eq!(
        (&steps[1]["ended"], &steps[1]["previousStaff"]),
        (&json!("rejected"), &json!("lin"))
    );
    let passed = passed_over(&steps[1]);
    assert!(passed.contains(&("store_on_shift", "lin", "passed")), "{passed:?}");
    assert_eq!(whole["conversation"]["talk"]["staff"], "chen");

    // In the middle of it, and by a rule that did not say so to the customer again.
    scene.tap("e-2", "Uanna", "menu=talk").await;
    let middle = scene.explain("e-2", &anna).await;
    let went_on = &middle["conversation"];
    assert_eq!(
        (&middle["rule"], &went_on["part"]),
        (&json!("talk"), &json!("CONVERSATION_PART_WENT_ON"))
    );
    assert_eq!((&went_on["openingEvent"], &went_on["targets"]), (&json!("e-1"), &one["targets"]));
    assert_eq!((&middle["messages"], &went_on["steps"]), (&Value::Null, &Value::Null));

    // What was decided later about it is no step of an earlier life.
    scene.ask("close-conversation", json!({"conversation": id})).await;
    scene.tap("e-3", "Uanna", "menu=talk").await;
    let earlier = scene.explain("e-1", &anna).await;
    let steps = earlier["conversation"]["steps"].as_array().unwrap();
    assert_eq!(stands(steps.last().unwrap()).0, "CLOSED");
    let anew = scene.explain("e-3", &anna).await;
    assert_eq!(anew["conversation"]["part"], "CONVERSATION_PART_BEGAN_ANEW");
    assert_eq!(anew["conversation"]["conversation"], *id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_an_answer_a_failure_and_nothing_at_all_are_explained_and_to_whom() {
    let Some(scene) = Scene::open().await else { return };
    scene.tap("e-1", "Uanna", "menu=repair").await;
    scene.tap("e-2", "Uanna", "menu=repair").await;
    scene.tap("e-3", "Uanna", "menu=odd").await;
    scene.tap("e-4", "Uanna", "menu=nothing").await;
    let anna = scene.owner("Uanna").await;
    let store = Configurations::open(&scene.deployment.bus).await.unwrap();
    let digest = store.put(&rules()).await.unwrap();

    let opened = scene.explain("e-1", &anna).await;
    assert_eq!((&opened["rule"], &opened["caseOpened"]), (&json!("menu-repair"), &json!(true)));
    assert_eq!(opened["configuration"], json!(digest));
    let again = scene.explain("e-2", &anna).await;
    assert_eq!((&again["case"], &again["caseOpened"]), (&opened["case"], &Value::Null));
    let kinds: Vec<_> =
        again["records"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
    assert_eq!(kinds, [&json!("mainstem.routing.message-requested.v1")]);

    let failed = scene.explain("e-3", &anna).await;
    assert_eq!(failed["rule"], "odd");
    assert_eq!(failed["failedRules"][0]["rule"], "broken");
    let nothing = scene.explain("e-4", &anna).await;
    assert_eq!((&nothing["rule"], &nothing["records"]), (&Value::Null, &Value::Null));
    assert_eq!((&nothing["configuration"], &nothing["pending"]), (&json!(digest), &Value::Null));

    // By the place of its record too; and under the rules of then, whatever is in force now.
    let place = format!("CUSTOMER={}", scene.sequence("e-4").await);
    let mut other = rules();
    other.rules.truncate(1);
    scene.deployment.apply(&other, &SERVICES).await;
    scene.tap("e-5", "Uanna", "menu=nothing").await;
    assert_eq!(scene.explain(&place, "").await, nothing);
    assert_ne!(scene.explain("e-5", &anna).await["configuration"], json!(digest));

    // Whoever sees the case sees how it came to be, and of the rest nothing.
    assert_eq!(scene.explain_as("north", "e-1", &anna).await.unwrap(), opened);
    for (role, event) in [("north", "e-3"), ("elsewhere", "e-1"), ("operator", "e-9")] {
        let refusal = scene.explain_as(role, event, &anna).await.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotFound, "{role}: {refusal}");
    }
    for (event, whose, field) in [
        ("e-1", "", "customer"),
        ("", &*anna, "event"),
        ("CUSTOMER=x", "", "event"),
        ("e-1", "x", "customer"),
    ] {
        let refusal = scene.explain_as("operator", event, whose).await.unwrap_err();
        assert_eq!(refusal.violations[0].field, field, "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_explained_to_whom_it_belongs_through_merge_and_split() {
    let Some(scene) = Scene::open().await else { return };
    scene.tap("e-1", "Uanna", "menu=repair").await;
    scene.tap("e-2", "Ubert", "menu=talk").await;
    let (anna, bert) = (scene.owner("Uanna").await, scene.owner("Ubert").await);
    let before = scene.explain("e-2", &bert).await;
    let identity = async |endpoint: &str, body: Value| {
        scene.deployment.call("operator", "identity-merge", endpoint, body).await.unwrap()
    };
    identity("merge-customers", json!({"customer": anna, "other": bert})).await;
    scene.deployment.caught_up("routing", topology::CUSTOMER).await;
    // By either id, and it is the survivor's now.
    let by_survivor = scene.explain("e-2", &anna).await;
    assert_eq!(by_survivor, scene.explain("e-2", &bert).await);
    assert_eq!((&by_survivor["rule"], &by_survivor["customer"]), (&before["rule"], &json!(anna)));
    // It comes in under the survivor's id, and goes to whose it is when they are two again.
    scene.tap("e-3", "Ubert", "menu=odd").await;
    let merged = scene.explain("e-3", &anna).await;
    assert_eq!(merged["rule"], "odd");

    identity("split-customer", json!({"customer": anna, "identifiers": ["line:p1:Ubert"]})).await;
    scene.deployment.caught_up("routing", topology::CUSTOMER).await;
    // From the moment of the split on, wherever its records stand.
    for event in ["e-2", "e-3"] {
        let strange = scene.explain_as("operator", event, &anna).await.unwrap_err();
        assert_eq!(strange.code, RefusalCode::NotFound, "{event}");
    }
    let own = scene.explain("e-2", &bert).await;
    assert_eq!((&own["rule"], &own["customer"]), (&before["rule"], &json!(bert)));
    assert_eq!(own["conversation"]["conversation"], before["conversation"]["conversation"]);
    eventually("every record stands under its owner", async || {
        let records = scene.deployment.read(topology::ROUTING).await;
        let moved = "mainstem.routing.records-moved.v1";
        (records.iter().filter(|one| one.record.kind() == moved).count() >= 2).then_some(())
    })
    .await;
    let moved = scene.explain("e-2", &bert).await;
    assert_eq!(
        (&moved["rule"], &moved["conversation"]["steps"]),
        (&own["rule"], &own["conversation"]["steps"])
    );
    let moved = eventually("its copy is there", async || {
        scene.explain_as("operator", "e-3", &bert).await.ok()
    })
    .await;
    assert_eq!((&moved["rule"], &moved["failedRules"]), (&merged["rule"], &merged["failedRules"]));
    assert_ne!(moved["sequence"], merged["sequence"]);
    for event in ["e-2", "e-3"] {
        assert!(scene.explain_as("operator", event, &anna).await.is_err(), "{event}");
    }
    assert_eq!(scene.explain("e-1", &anna).await["rule"], "menu-repair");
}
