//! From a code that staff ask for to a customer who is told whose they are: on a real nats-server with
//! the users of the topology.

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
    directory["channels"]["line-1"]["basic_id"] = "@taipei1".into();
    directory["staff"] = json!({
        "lin": {"name": "Lin", "store": "taipei-1"},
        "wu": {"name": "Wu", "store": "taipei-1"},
    });
    for (name, text) in [
        ("binding-done", "You are with {staff} now."),
        ("binding-revoked", "Ask for a new code."),
        ("binding-forged", "Not one of ours."),
        ("binding-handed-over", "{staff} takes over."),
    ] {
        directory["templates"][name] = json!({"house": text});
    }
    serde_json::from_value(directory).unwrap()
}

async fn ask(deployment: &Deployment, endpoint: &str, body: Value) -> Result<Value, Refusal> {
    deployment.call("operator", "routing", endpoint, body).await
}

async fn present(deployment: &Deployment, id: &str, user: &str, code: &str) {
    let postback = format!("bind={code}");
    deployment.publish(&Event { postback, ..Event::repair(id, user) }).await;
}

async fn customers_of(deployment: &Deployment, staff: &str) -> Vec<String> {
    let listed = ask(deployment, "list-bindings", json!({"staff": staff})).await.unwrap();
    let bindings = listed["bindings"].as_array().cloned().unwrap_or_default();
    bindings.iter().map(|one| one["customer"].as_str().unwrap().to_owned()).collect()
}

async fn bound(deployment: &Deployment, staff: &str, count: usize) -> Vec<String> {
    eventually(&format!("{staff} has {count} customers"), async || {
        let customers = customers_of(deployment, staff).await;
        (customers.len() == count).then_some(customers)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_binds_until_it_is_revoked_and_a_hand_over_outlives_its_service() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let mut routing = deployment.service("routing");
    let _notification = deployment.service("notification");
    deployment.apply(&with_staff(), &SERVICES).await;

    let wish = json!({"requestId": "r-1", "staff": "lin"});
    let issued = ask(&deployment, "issue-binding-code", wish.clone()).await.unwrap();
    let again = ask(&deployment, "issue-binding-code", wish).await.unwrap();
    assert_eq!(issued, again);
    let code = issued["code"].as_str().unwrap();
    assert_eq!(issued["link"], format!("https://line.me/R/oaMessage/%40taipei1/?{code}"));

    present(&deployment, "e-1", "Uanna", code).await;
    present(&deployment, "e-2", "Ubert", &code.to_lowercase()).await;
    let customers = bound(&deployment, "lin", 2).await;
    assert_eq!(said(&deployment, "You are with Lin now.").await, 2);

    let revoked = ask(&deployment, "revoke-binding-code", json!({"code": code})).await.unwrap();
    assert_eq!(revoked["bindingCode"], issued["bindingCode"]);
    present(&deployment, "e-3", "Ucleo", code).await;
    present(&deployment, "e-4", "Ucleo", "MS-whatever").await;
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;
    assert_eq!(said(&deployment, "Ask for a new code.").await, 1);
    assert_eq!(said(&deployment, "Not one of ours.").await, 1);
    assert_eq!(bound(&deployment, "lin", 2).await, customers);

    let body = json!({"requestId": "r-2", "fromStaff": "lin", "toStaff": "wu"});
    let handed = ask(&deployment, "hand-over", body.clone()).await.unwrap();
    assert_eq!(handed["bindings"], 2);
    assert_eq!(ask(&deployment, "hand-over", body).await.unwrap(), handed);
    assert_eq!(said(&deployment, "Wu takes over.").await, 2);

    // Another process reads all of it again.
    routing.kill();
    let _routing = deployment.service("routing");
    assert_eq!(bound(&deployment, "wu", 2).await, customers);
    assert_eq!(customers_of(&deployment, "lin").await, [""; 0]);
    let body = json!({"customer": customers[0], "includeEnded": true});
    let history = ask(&deployment, "list-bindings", body).await.unwrap();
    assert_eq!(history["bindings"][0]["end"], "BINDING_END_HANDED_OVER");
    assert_eq!(history["bindings"][1]["fromStaff"], "lin");
    // With the salesperson stands what happened to the code, and with nobody what nobody can tell.
    let subjects = deployment.subjects(topology::ROUTING, ">").await;
    assert_eq!((subjects["staff.lin"], subjects["ledger.routing.codes"]), (5, 1), "{subjects:?}");
}
