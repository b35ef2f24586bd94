//! identity-merge on a real nats-server: what events tie, what is left for people to look at, and
//! that it stands in the ledger.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mainstem_bus::nats::{Inbound, InboundMessage};
use mainstem_bus::{TraceContext, topology};
use mainstem_domain::{At, Refusal};
use mainstem_tests::deployment::{Deployment, Service, eventually};
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// Publishes an event with these identifiers, verified unless they start with `?`.
async fn publish(deployment: &Deployment, id: &str, identifiers: &[&str]) {
    let sightings: Vec<_> = identifiers
        .iter()
        .map(|text| match text.strip_prefix('?') {
            Some(text) => json!({"identifier": text}),
            None => json!({"identifier": text, "verified": true}),
        })
        .collect();
    let now = "2026-11-21T09:00:00.000Z";
    let body = json!({
        "id": id, "channel": "shop", "business": "BUSINESS_ACT_MEMBER_UPDATED",
        "identifiers": sightings, "occurTime": now, "receiveTime": now,
    });
    let message = InboundMessage {
        kind: "mainstem.channel.shop.member-updated.v1".to_owned(),
        id: id.parse().unwrap(),
        channel: "shop".parse().unwrap(),
        handle: "h".to_owned(),
        store: None,
        brand: None,
        occurred_at: At::parse(now).unwrap(),
        media: None,
        trace: TraceContext::root(id),
        body: body.to_string().into(),
    };
    let inbound = Inbound::new(deployment.bus.clone());
    eventually("an event is stored", async || inbound.publish(message.clone()).await.ok()).await;
}

async fn ask(deployment: &Deployment, endpoint: &str, body: Value) -> Result<Value, Refusal> {
    deployment.call("operator", "identity-merge", endpoint, body).await
}

async fn owner(deployment: &Deployment, identifier: &str) -> Option<String> {
    let body = json!({"identifier": identifier});
    let found = ask(deployment, "resolve-customer", body).await.ok()?;
    Some(found["customer"]["customer"].as_str()?.to_owned())
}

/// Every page of a list, one entry on each.
async fn list(deployment: &Deployment, endpoint: &str, what: &str) -> Vec<Value> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let body = json!({"pageSize": 1, "pageToken": token});
        let page = ask(deployment, endpoint, body).await.unwrap();
        all.extend(page[what].as_array().into_iter().flatten().cloned());
        match page["nextPageToken"].as_str() {
            None | Some("") => return all,
            Some(next) => next.clone_into(&mut token),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tie_and_what_is_in_doubt_waits_for_people() {
    let Some(deployment) = Deployment::start(SERVICE).await else { return };
    let mut service: Service = deployment.service("identity-merge");
    for (id, identifiers) in [
        ("e1", &["member:1", "?email:a@example.com"][..]),
        ("e2", &["external:receipt:7"]),
        // Merge; then a chain of it.
        ("e3", &["member:1", "external:receipt:7", "phone:+886912345678"]),
        ("e4", &["member:2", "email:a@example.com"]),
        ("e5", &["cookie:c", "?phone:+886912345678"]),
        ("e6", &["cookie:d"]),
        ("e7", &["cookie:d", "?phone:+886912345678"]),
        ("e8", &["?phone:09123456", "member:NULL"]),
    ] {
        publish(&deployment, id, identifiers).await;
    }
    deployment.caught_up("identity-merge", topology::INBOUND).await;

    let mut before = Vec::new();
    for round in 0..2 {
        let first = owner(&deployment, "member:1").await.unwrap();
        let second = owner(&deployment, "member:2").await.unwrap();
        let browser = owner(&deployment, "cookie:d").await.unwrap();
        assert_ne!(first, second);
        assert_eq!(owner(&deployment, "external:receipt:7").await.as_ref(), Some(&first));
        assert_eq!(owner(&deployment, "cookie:c").await.as_ref(), Some(&first));
        assert_eq!(owner(&deployment, "email:a@example.com").await.as_ref(), Some(&first));

        let customers = list(&deployment, "list-customers", "customers").await;
        assert_eq!(customers.len(), 3, "{customers:?}");
        let conflicts = list(&deployment, "list-conflicts", "conflicts").await;
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        assert_eq!(conflicts[0]["customer"], second);
        assert_eq!(conflicts[0]["others"], json!([first]));
        assert_eq!(conflicts[0]["setAside"][0]["identifier"], "email:a@example.com");
        assert_eq!(conflicts[0]["kinds"], json!(["member"]));
        assert_eq!(conflicts[0]["evidence"]["event"], "e4");
        let suggestions = list(&deployment, "list-suggestions", "suggestions").await;
        assert_eq!(suggestions.len(), 1, "{suggestions:?}");
        assert_eq!(suggestions[0]["customer"], json!(browser));
        assert_eq!(suggestions[0]["other"], json!(first));

        // The absorbed is found by its id, in one step.
        let absorbed = customers.iter().find(|one| one["customer"] == first).unwrap();
        let alias = absorbed["aliases"][0].as_str().unwrap();
        let found = ask(&deployment, "get-customer", json!({"customer": alias})).await.unwrap();
        assert_eq!(found["customer"]["customer"], first);
        // And members stay two, whoever says that they are one.
        let body = json!({"customer": first, "other": second, "validateOnly": true});
        let refusal = ask(&deployment, "merge-customers", body).await.unwrap_err();
        assert_eq!(refusal.reason, "TOO_MANY_IDENTIFIERS");
        assert_eq!(refusal.metadata["kind"], "member");

        let now = vec![customers, conflicts, suggestions];
        if round == 0 {
            before = now;
            // Everything is read back from the ledger.
            service.kill();
            service = deployment.service("identity-merge");
        } else {
            assert_eq!(now, before);
        }
    }
    // An event that only carried what is no identifier, or a blocked one, is nobody's.
    let nobodys = deployment.subjects(topology::CUSTOMER, "channel.>").await;
    assert_eq!(nobodys.values().sum::<usize>(), 1, "{nobodys:?}");

    // What was suggested is settled by who decides it.
    let first = owner(&deployment, "member:1").await.unwrap();
    let browser = owner(&deployment, "cookie:d").await.unwrap();
    let body = json!({"requestId": "r-1", "customer": first, "other": browser});
    ask(&deployment, "merge-customers", body).await.unwrap();
    assert_eq!(list(&deployment, "list-suggestions", "suggestions").await, Vec::<Value>::new());
}
