//! The past decided again, and the doctor, on a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use mainstem_bus::engine::Applied;
use mainstem_bus::nats::{diagnose, replay};
use mainstem_bus::topology;
use mainstem_cli::what_if::{Window, again};
use mainstem_domain::At;
use mainstem_domain::configuration::Configuration;
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use mainstem_tests::deployment::{Deployment, Event, configuration, eventually};
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rules_differ_nowhere_and_others_do_and_the_doctor_agrees() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    // Snapshots so often that some are taken in the middle of the traffic.
    let often = [("MAINSTEM__ENGINE__SNAPSHOT_EVERY_RECORDS", "100")];
    let mut services: Vec<_> = ["identity-merge", "routing", "notification"]
        .map(|name| deployment.service_with(name, &often))
        .into();
    deployment.apply(&configuration(), &["routing", "notification"]).await;
    for number in 0..60 {
        let (id, user) = (format!("e-{number}"), format!("U{}", number % 40));
        deployment.publish(&Event::repair(&id, &user)).await;
    }
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;
    let cases = deployment
        .call("unit", "routing", "list-cases", json!({"pageSize": 3}))
        .await
        .expect("cases");
    for case in cases["cases"].as_array().expect("cases") {
        for endpoint in ["accept-case", "resolve-case"] {
            let ask = json!({"case": case["case"]});
            deployment.call("unit", "routing", endpoint, ask).await.expect("is done");
        }
    }
    deployment.caught_up("notification", topology::CUSTOMER).await;
    deployment.caught_up("notification", topology::ROUTING).await;

    let bus = &deployment.bus;
    let same = [
        replay::<IdentityMachine>(bus, None).await.expect("replays"),
        replay::<RoutingMachine>(bus, None).await.expect("replays"),
        replay::<NotificationMachine>(bus, None).await.expect("replays"),
    ];
    for replayed in &same {
        assert!(replayed.inputs >= 60 && replayed.differences.is_empty(), "{replayed:?}");
    }

    let mut other = configuration();
    other.rules[0].when = "event.menu == 'sale'".parse().unwrap();
    let other = Arc::new(Applied { digest: "other".to_owned(), configuration: other });
    let differs = replay::<RoutingMachine>(bus, Some(other)).await.expect("replays");
    assert_eq!(differs.differences.len(), 60);
    assert!(differs.differences[0].replayed.is_empty());

    for service in &mut services {
        assert!(service.stop(), "{}", service.log());
    }
    let examined = eventually("a snapshot of each", async || {
        let examined = [
            Box::pin(diagnose::<IdentityMachine>(bus)).await.expect("examines"),
            Box::pin(diagnose::<RoutingMachine>(bus)).await.expect("examines"),
            Box::pin(diagnose::<NotificationMachine>(bus)).await.expect("examines"),
        ];
        examined.iter().all(|diagnosis| diagnosis.snapshot.is_some()).then_some(examined)
    })
    .await;
    for diagnosis in examined {
        assert!(diagnosis.equal && diagnosis.voided == 0, "{diagnosis:?}");
    }
}

fn with_staff() -> Configuration {
    let mut directory = serde_json::to_value(configuration()).unwrap();
    directory["desks"] = json!({"central": {"name": "Central"}});
    directory["queues"]["advice"] = json!({"name": "Advice"});
    directory["staff"] = json!({
        "lin": {"name": "Lin", "store": "taipei-1", "capacity": 2},
        "wu": {"name": "Wu", "store": "taipei-1", "capacity": 1},
        "chen": {"name": "Chen", "desk": "central", "capacity": 2},
    });
    let talk = json!({
        "name": "talk", "when": "event.menu == 'talk'",
        "targets": ["store_on_shift 2s", "central_desk 2s"], "tags": ["spoken"],
    });
    directory["rules"].as_array_mut().unwrap().insert(0, talk);
    serde_json::from_value(directory).unwrap()
}

/// A day in which staff and units do all that they can do.
async fn day(deployment: &Deployment) {
    let ask = async |role: &str, endpoint: &str, body: Value| {
        // A refusal is as good.
        deployment.call(role, "routing", endpoint, body).await.unwrap_or_default()
    };
    for staff in ["lin", "wu", "chen"] {
        ask("operator", "set-presence", json!({"staff": staff, "available": true})).await;
    }
    for turn in 0..36 {
        let user = format!("U{}", turn % 9);
        let postback = if turn % 3 == 0 { "menu=repair" } else { "menu=talk" }.to_owned();
        let event = Event { postback, ..Event::repair(&format!("e-{turn}"), &user) };
        deployment.publish(&event).await;
        deployment.caught_up("identity-merge", topology::INBOUND).await;
        deployment.caught_up("routing", topology::CUSTOMER).await;
        let all = ask("operator", "list-conversations", json!({})).await;
        let all = all["conversations"].as_array().cloned().unwrap_or_default();
        let Some(one) = all.get(turn % all.len().max(1)) else { continue };
        let (conversation, staff) = (&one["conversation"], &one["talk"]["staff"]);
        let step = ["accept", "accept", "reject", "reply", "accept", "close", "transfer"][turn % 7];
        let to = if turn % 2 == 0 { ("toStaff", "chen") } else { ("toTarget", "store_on_shift") };
        let staff =
            if staff.is_string() && step != "transfer" { staff.clone() } else { Value::Null };
        let body = json!({
            "conversation": conversation, "staff": staff, "text": "yes", to.0: to.1,
            "reason": "busy",
        });
        ask("operator", &format!("{step}-conversation"), body).await;
        let staff = ["lin", "wu", "chen"][turn % 3];
        if turn % 5 == 4 {
            let body =
                json!({"staff": staff, "available": turn % 10 == 4, "capacity": 1 + turn % 4});
            ask("operator", "set-presence", body).await;
        }
        let claimed = ask("unit", "claim-next", json!({"queue": "repair"})).await;
        let case = &claimed["case"]["case"];
        for step in [["start", "wait", "resolve"], ["resolve", "reopen", "cancel"]][turn % 2] {
            ask("unit", &format!("{step}-case"), json!({"case": case, "reason": "so"})).await;
        }
        let what = ["pause-queue", "resume-queue", "resume-queue"][turn % 3];
        ask("unit", what, json!({"queue": "advice", "reason": "so"})).await;
        let body = json!({"case": case, "queue": "advice", "reason": "theirs"});
        ask("operator", "transfer-case", body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_lived_again_is_the_same_and_under_other_rules_others_have_it() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let _services = ["identity-merge", "routing"].map(|name| deployment.service(name));
    deployment.apply(&with_staff(), &["routing"]).await;
    day(&deployment).await;
    let bus = &deployment.bus;

    let records = deployment.read(topology::ROUTING).await;
    let middle = records[records.len() / 2].decided_at();
    for since in [None, Some(middle)] {
        let window = Window { since, until: None };
        let same = again(bus, with_staff().rules, &window).await.unwrap();
        assert!(same.inputs > 10, "{same:?}");
        assert_eq!((same.differences, same.assumptions), (Vec::new(), Vec::new()), "{since:?}");
        assert_eq!(same.was, same.would, "{since:?}");
    }

    // Everybody goes to the central desk, and the store has nothing any more.
    let mut rules = with_staff().rules;
    rules[0].targets.remove(0);
    let other = again(bus, rules, &Window::default()).await.unwrap();
    assert!(!other.differences.is_empty() && !other.assumptions.is_empty());
    assert!(other.was.by_place.contains_key("store taipei-1"), "{:?}", other.was);
    assert_eq!(other.would.by_place.get("store taipei-1"), None, "{:?}", other.would);
    assert!(other.assumptions.iter().all(|one| one.place == "central desk"));
    let nothing = Window { until: Some(At::from_millis(0)), since: None };
    assert_eq!(again(bus, with_staff().rules, &nothing).await.unwrap().inputs, 0);

    // Rules that do not fit are refused, as by the lint.
    let mut wrong = with_staff().rules;
    wrong[1].reply = Some("nowhere".to_owned());
    let error = again(bus, wrong, &Window::default()).await.unwrap_err().to_string();
    assert!(error.contains("rules[1].reply"), "{error}");
}
