//! From a customer who asks for somebody to the salesperson's answer: on a real nats-server with the
//! users of the topology, through the death of routing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mainstem_bus::topology;
use mainstem_domain::Refusal;
use mainstem_domain::configuration::Configuration;
use mainstem_tests::deployment::{Deployment, Event, configuration, eventually};
use serde_json::{Value, json};

use crate::said::said;

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const SERVICES: [&str; 3] = ["identity-merge", "routing", "notification"];

fn with_staff() -> Configuration {
    let mut directory = serde_json::to_value(configuration()).unwrap();
    directory["desks"] = json!({"central": {"name": "Central"}});
    directory["staff"] = json!({
        "lin": {"name": "Lin", "store": "taipei-1", "capacity": 1},
        "wu": {"name": "Wu", "store": "taipei-1", "capacity": 1},
        "chen": {"name": "Chen", "desk": "central"},
    });
    let rules = directory["rules"].as_array_mut().unwrap();
    let talk = json!({
        "name": "talk", "when": "event.menu == 'talk'", "reply": "hold",
        "targets": ["bound_staff 120s", "store_on_shift 180s", "central_desk"],
    });
    rules.insert(0, talk);
    directory["templates"]["hold"] = json!({"house": "One moment, please."});
    serde_json::from_value(directory).unwrap()
}

async fn ask(deployment: &Deployment, endpoint: &str, body: Value) -> Result<Value, Refusal> {
    deployment.call("operator", "routing", endpoint, body).await
}

async fn present(deployment: &Deployment, staff: &str, available: bool) {
    let body = json!({"staff": staff, "available": available});
    ask(deployment, "set-presence", body).await.unwrap();
}

async fn tap(deployment: &Deployment, id: &str, user: &str, postback: &str) {
    let postback = postback.to_owned();
    deployment.publish(&Event { postback, ..Event::repair(id, user) }).await;
}

/// The conversation that this member of staff is asked about, or has.
async fn held(deployment: &Deployment, staff: &str, state: &str) -> Value {
    eventually(&format!("{staff} has one that is {state}"), async || {
        let body = json!({"staff": staff, "state": format!("CONVERSATION_STATE_{state}")});
        let listed = ask(deployment, "list-conversations", body).await.unwrap();
        listed["conversations"].get(0).cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_handed_along_and_nobody_is_lost_when_routing_dies() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let mut routing = deployment.service("routing");
    let _notification = deployment.service("notification");
    deployment.apply(&with_staff(), &SERVICES).await;

    // Whose code was scanned is asked first; who says no is not asked again, and the next one is.
    for staff in ["lin", "wu", "chen"] {
        present(&deployment, staff, true).await;
    }
    let code = ask(&deployment, "issue-binding-code", json!({"staff": "wu"})).await.unwrap();
    tap(&deployment, "e-1", "Uanna", &format!("bind={}", code["code"].as_str().unwrap())).await;
    tap(&deployment, "e-2", "Uanna", "menu=talk").await;
    let asked = held(&deployment, "wu", "OFFERED").await;
    let conversation = asked["conversation"].clone();
    let body = json!({"requestId": "r-1", "conversation": conversation, "staff": "wu"});
    let rejected = ask(&deployment, "reject-conversation", body.clone()).await.unwrap();
    assert_eq!(rejected["conversation"]["talk"]["staff"], "lin");
    assert_eq!(ask(&deployment, "reject-conversation", body).await.unwrap(), rejected);

    // The offer outlives the process that made it.
    routing.kill();
    let _routing = deployment.service("routing");
    let offered = held(&deployment, "lin", "OFFERED").await;
    assert_eq!(offered["conversation"], conversation);
    let accept = |staff: &str| json!({"conversation": conversation, "staff": staff});
    let late = ask(&deployment, "accept-conversation", accept("wu")).await.unwrap_err();
    assert_eq!(late.reason, "CONVERSATION_OFFERED");
    ask(&deployment, "accept-conversation", accept("lin")).await.unwrap();
    let late = ask(&deployment, "accept-conversation", accept("wu")).await.unwrap_err();
    assert_eq!(late.reason, "CONVERSATION_TAKEN");
    assert!(late.message.contains("lin has conversation"), "{late}");

    // Only the holder speaks, in their own words, once for each request.
    let reply = |staff: &str| {
        json!({"requestId": format!("r-{staff}"), "conversation": conversation, "staff": staff,
               "text": "Your watch is ready."})
    };
    assert!(ask(&deployment, "reply-conversation", reply("wu")).await.is_err());
    for _ in 0..2 {
        ask(&deployment, "reply-conversation", reply("lin")).await.unwrap();
    }
    assert_eq!(said(&deployment, "Your watch is ready.").await, 1);

    // A second customer finds lin and wu: lin is full, so wu is asked. Both go home, and the desk has
    // both, the one that waited longer with its age.
    tap(&deployment, "e-3", "Ubert", "menu=talk").await;
    held(&deployment, "wu", "OFFERED").await;
    present(&deployment, "lin", false).await;
    present(&deployment, "wu", false).await;
    let moved = eventually("the desk is asked about both", async || {
        let body = json!({"staff": "chen", "state": "CONVERSATION_STATE_OFFERED"});
        let listed = ask(&deployment, "list-conversations", body).await.unwrap();
        let listed = listed["conversations"].as_array().cloned().unwrap_or_default();
        (listed.len() == 2).then_some(listed)
    })
    .await;
    let same = moved.iter().find(|one| one["conversation"] == conversation).unwrap();
    assert_eq!(same["waitStartTime"], asked["waitStartTime"]);

    // The same message again changes nothing, and in the middle of a conversation nobody is told to
    // wait again.
    tap(&deployment, "e-4", "Uanna", "menu=talk").await;
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;
    assert_eq!(said(&deployment, "One moment, please.").await, 2);
    let body = json!({"conversation": conversation});
    ask(&deployment, "close-conversation", body.clone()).await.unwrap();
    let closed = ask(&deployment, "get-conversation", body).await.unwrap();
    assert_eq!(closed["conversation"]["talk"]["state"], "CONVERSATION_STATE_CLOSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_scope_or_makes_no_sense_is_refused_by_name() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let _routing = deployment.service("routing");
    let _notification = deployment.service("notification");
    deployment.apply(&with_staff(), &SERVICES).await;
    let refused = async |endpoint: &str, body: Value| {
        ask(&deployment, endpoint, body).await.unwrap_err().to_string()
    };
    let unknown = json!({"conversation": "V0000000000000000", "staff": "lin"});
    assert!(refused("accept-conversation", unknown).await.contains("V0000000000000000"));
    let nobody = json!({"staff": "nobody", "available": true});
    assert!(refused("set-presence", nobody).await.contains("nobody"));
    let many = json!({"staff": "lin", "available": true, "capacity": 101});
    assert!(refused("set-presence", many).await.contains("capacity"));
    present(&deployment, "lin", true).await;
    tap(&deployment, "e-1", "Uanna", "menu=talk").await;
    let conversation = held(&deployment, "lin", "OFFERED").await["conversation"].clone();
    let twice = json!({"conversation": conversation, "toStaff": "wu", "toTarget": "central_desk"});
    assert!(refused("transfer-conversation", twice).await.contains("to_target"));
    let nowhere = json!({"conversation": conversation, "toTarget": "the_moon"});
    assert!(refused("transfer-conversation", nowhere).await.contains("bound_staff"));
    let away = json!({"conversation": conversation, "toStaff": "wu", "reason": "knows more"});
    assert!(refused("transfer-conversation", away).await.contains("wu is away"));
    let size = json!({"pageSize": -1});
    assert!(refused("list-conversations", size).await.contains("page_size"));
}
