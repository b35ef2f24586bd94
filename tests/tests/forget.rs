//! Who was taken apart is two people everywhere, and who was erased is nowhere: on a real
//! nats-server with the users of the topology, with services that are killed while they do it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use mainstem_bus::nats::{Inbound, InboundMessage};
use mainstem_bus::{Stored, TraceContext, topology};
use mainstem_domain::{At, Refusal};
use mainstem_tests::deployment::{Deployment, Event, Service, configuration, eventually};
use mainstem_tests::files::{self, contain};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const SERVICES: [&str; 3] = ["identity-merge", "routing", "notification"];
/// Those that can be read as a log; what waits in the others is looked for in the server's files.
const STREAMS: [&str; 5] = [
    topology::INBOUND,
    topology::CUSTOMER,
    topology::ROUTING,
    topology::NOTIFICATION,
    topology::DEADLETTER,
];

const SNAPSHOTS: [&str; 3] =
    ["OBJ_SNAPSHOTS-identity-merge", "OBJ_SNAPSHOTS-routing", "OBJ_SNAPSHOTS-notification"];

async fn ask(deployment: &Deployment, endpoint: &str, body: Value) -> Result<Value, Refusal> {
    deployment.call("operator", "identity-merge", endpoint, body).await
}

/// Publishes an event of the shop, which owns members and phone numbers.
async fn told(deployment: &Deployment, id: &str, identifiers: &[&str], more: &Value) {
    let now = "2026-11-21T09:00:00.000Z";
    let sighting = |identifier: &&str| json!({"identifier": identifier, "verified": true});
    let mut body = json!({
        "id": id, "channel": "shop", "business": "BUSINESS_ACT_MEMBER_UPDATED",
        "identifiers": identifiers.iter().map(sighting).collect::<Vec<_>>(),
        "occurTime": now, "receiveTime": now,
    });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let message = InboundMessage {
        kind: "mainstem.channel.shop.member-updated.v1".to_owned(),
        id: id.parse().unwrap(),
        channel: "shop".parse().unwrap(),
        // As ingress does: one handle for each person's first identifier.
        handle: format!("h{}", mainstem_bus::sha256_hex(identifiers[0].as_bytes())),
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

async fn owner(deployment: &Deployment, identifier: &str) -> Option<String> {
    let body = json!({ "identifier": identifier });
    let found = ask(deployment, "resolve-customer", body).await.ok()?;
    Some(found["customer"]["customer"].as_str()?.to_owned())
}

async fn known(deployment: &Deployment, identifier: &str) -> String {
    eventually("somebody is known", async || owner(deployment, identifier).await).await
}

async fn read_through(deployment: &Deployment) {
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;
    deployment.caught_up("notification", topology::CUSTOMER).await;
    deployment.caught_up("notification", topology::ROUTING).await;
}

fn text(message: &Stored) -> String {
    let headers = message.record.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
    let body = String::from_utf8_lossy(&message.record.body).into_owned();
    format!("{}\n{}{body}", message.record.subject, headers.collect::<String>())
}

/// Every message of every stream that stands under this customer, as text.
async fn under(deployment: &Deployment, customer: &str) -> Vec<String> {
    let mut found = Vec::new();
    for stream in STREAMS {
        let messages = deployment.read(stream).await;
        let of = |message: &&Stored| message.record.subject.split('.').any(|part| part == customer);
        found.extend(messages.iter().filter(of).map(text));
    }
    found
}

async fn timeline(deployment: &Deployment, customer: &str) -> String {
    let body = json!({"customer": customer, "pageSize": 500});
    let page = ask(deployment, "get-timeline", body).await.unwrap();
    page["entries"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_merge_and_a_split_nothing_of_one_stands_under_the_other() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _services: Vec<Service> = SERVICES.map(|name| deployment.service(name)).into();
    deployment.apply(&configuration(), &SERVICES).await;
    // Two people, each with a case before the two are merged, and one after it.
    for (id, user) in [("e-1", "Uanna"), ("e-2", "Ubert")] {
        deployment.publish(&Event::repair(id, user)).await;
    }
    let (anna, bert) =
        (known(&deployment, "line:p1:Uanna").await, known(&deployment, "line:p1:Ubert").await);
    let body = json!({"requestId": "m", "customer": anna, "other": bert});
    let merged = ask(&deployment, "merge-customers", body).await.unwrap();
    let survivor = merged["customer"]["customer"].as_str().unwrap().to_owned();
    let ids = |user: &str, more: &str| format!("{user}-{more}");
    for user in ["Uanna", "Ubert"] {
        let line = format!("line:p1:{user}");
        let member = format!("cookie:{}", ids(user, "cookie"));
        let attributes = json!({"attributes": [{"name": "name", "value": ids(user, "name")}]});
        told(&deployment, &ids(user, "told"), &[&line, &member], &attributes).await;
        deployment
            .publish(&Event { postback: ids(user, "late"), ..Event::repair(&ids(user, "e"), user) })
            .await;
    }
    read_through(&deployment).await;

    let apart = json!(["line:p1:Ubert", "cookie:Ubert-cookie"]);
    let body = json!({"requestId": "s", "customer": survivor, "identifiers": apart});
    let split = ask(&deployment, "split-customer", body).await.unwrap();
    let pieces: Vec<_> = split["customers"].as_array().unwrap().iter().collect();
    assert_eq!(pieces.len(), 2, "{split}");
    // At once, in every read.
    assert_eq!(owner(&deployment, "line:p1:Uanna").await, Some(anna.clone()));
    assert_eq!(owner(&deployment, "line:p1:Ubert").await, Some(bert.clone()));
    for (one, other) in [(&anna, "Ubert"), (&bert, "Uanna")] {
        assert!(!timeline(&deployment, one).await.contains(other), "{other} shows under {one}");
    }
    // And in every ledger, as soon as the records are moved.
    let moved = async || {
        for (one, other) in [(&anna, "Ubert"), (&bert, "Uanna")] {
            let mut all = under(&deployment, one).await.into_iter();
            if all.any(|message| message.contains(other)) {
                return None;
            }
        }
        Some(())
    };
    eventually("the records are under their owners", moved).await;
    // Nothing is lost: each has what it did, also after the merge, and its case.
    for (one, user) in [(&anna, "Uanna"), (&bert, "Ubert")] {
        let all = under(&deployment, one).await.join("\n");
        for what in ["late", "told", "name"] {
            assert!(all.contains(&ids(user, what)), "{user} has lost {what}: {all}");
        }
        let journey = timeline(&deployment, one).await;
        assert!(journey.contains(&ids(user, "late")), "{journey}");
        let cases = deployment
            .call("operator", "routing", "list-cases", json!({"customer": one}))
            .await
            .unwrap();
        let cases = cases["cases"].as_array().cloned().unwrap_or_default();
        assert_eq!(cases.len(), 1, "{user}: {cases:?}");
        assert_eq!(cases[0]["customer"], json!(one));
    }
}

/// What came before one was absorbed stands under an alias; and whoever it belongs to after a split
/// may be part of another by the time it is moved.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_under_an_alias_goes_to_whoever_has_it_by_then() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let first = ["identity-merge", "routing"];
    let _services: Vec<Service> = first.map(|name| deployment.service(name)).into();
    deployment.apply(&configuration(), &first).await;
    let nothing = json!({});
    told(&deployment, "e-1", &["cookie:eldest"], &nothing).await;
    told(&deployment, "e-2", &["cookie:older"], &nothing).await;
    told(&deployment, "e-3", &["line:p1:Uanna", "line:p1:Ubert"], &nothing).await;
    for user in ["Uanna", "Ubert"] {
        let postback = format!("words of {user}");
        let event = Event { postback, ..Event::repair(&format!("by-{user}"), user) };
        deployment.publish(&event).await;
    }
    let caught_up = async || {
        deployment.caught_up("identity-merge", topology::INBOUND).await;
        deployment.caught_up("routing", topology::CUSTOMER).await;
    };
    caught_up().await;
    let eldest = known(&deployment, "cookie:eldest").await;
    let older = known(&deployment, "cookie:older").await;
    let alias = known(&deployment, "line:p1:Ubert").await;
    let merge = async |one: &str, other: &str| {
        let body = json!({"customer": one, "other": other});
        let merged = ask(&deployment, "merge-customers", body).await.unwrap();
        assert_eq!(merged["customer"]["customer"], one);
    };
    merge(&older, &alias).await;
    let body = json!({"customer": older, "identifiers": ["line:p1:Ubert"]});
    ask(&deployment, "split-customer", body).await.unwrap();
    // Nothing is moved before notification has read of it, and it does not run.
    merge(&eldest, &known(&deployment, "line:p1:Ubert").await).await;
    caught_up().await;
    let journey = timeline(&deployment, &older).await;
    assert!(journey.contains("words of Uanna"), "{journey}");
    assert!(!journey.contains("words of Ubert"), "{journey}");
    let body = json!({"customer": eldest, "requestId": "early"});
    let refusal = ask(&deployment, "erase-customer", body).await.unwrap_err();
    assert_eq!(refusal.reason, "SPLIT_UNDERWAY");

    let _notification = deployment.service("notification");
    deployment.apply(&configuration(), &["notification"]).await;
    eventually("the records are under their owners", async || {
        let theirs = under(&deployment, &eldest).await.join("\n");
        let alias = under(&deployment, &alias).await.join("\n");
        assert!(!under(&deployment, &older).await.join("\n").contains("words of Ubert"));
        let moved = theirs.contains("words of Ubert") && !alias.contains("words of Ubert");
        moved.then(|| assert!(alias.contains("words of Uanna"), "{alias}"))
    })
    .await;
}

/// What is never found again.
const PLANTED: [&str; 7] = [
    "Uplantedline",
    "+886912555777",
    "planted.person@example.com",
    "Planted Person",
    "planted words",
    "PLANTED-MEMBER",
    "planted-cookie",
];

#[expect(clippy::too_many_lines, reason = "one story")]
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_erased_is_found_nowhere_whatever_is_killed() {
    let Some(mut deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let seed = 7;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut services: BTreeMap<&str, Service> =
        SERVICES.into_iter().map(|name| (name, deployment.service(name))).collect();
    deployment.apply(&configuration(), &SERVICES).await;
    deployment.publish(&Event::repair("e-other", "Uother")).await;
    deployment
        .publish(&Event {
            postback: "menu=repair&text=planted words".to_owned(),
            ..Event::repair("e-1", PLANTED[0])
        })
        .await;
    let told_of = json!({
        "attributes": [{"name": "name", "value": PLANTED[3]}],
        "consents": [{"means": "email", "purpose": "marketing", "answer": "CONSENT_ANSWER_REFUSED"}],
        "raw": {"words": "planted words"},
    });
    let identifiers = [
        format!("line:p1:{}", PLANTED[0]),
        format!("phone:{}", PLANTED[1]),
        format!("email:{}", PLANTED[2]),
        format!("member:{}", PLANTED[5]),
        format!("cookie:{}", PLANTED[6]),
    ];
    let identifiers: Vec<_> = identifiers.iter().map(String::as_str).collect();
    told(&deployment, "e-2", &identifiers, &told_of).await;
    let customer = known(&deployment, identifiers[1]).await;
    let other = known(&deployment, "line:p1:Uother").await;
    read_through(&deployment).await;
    // What a snapshot holds, and what a receipt answers, goes too.
    let body =
        json!({"requestId": "a", "customer": customer, "identifier": "external:x:planted-cookie"});
    ask(&deployment, "attach-identifier", body).await.unwrap();
    let refusal =
        ask(&deployment, "erase-customer", json!({"customer": customer})).await.unwrap_err();
    assert_eq!(refusal.reason, "CASES_OPEN");
    for service in services.values_mut() {
        assert!(service.stop(), "it leaves a snapshot");
    }
    services = SERVICES.into_iter().map(|name| (name, deployment.service(name))).collect();
    assert!(
        contain(&files::all(deployment.server.store()), PLANTED[2]),
        "the search finds what is there"
    );

    let body = json!({"requestId": "x", "customer": customer, "force": true});
    let begun = ask(&deployment, "erase-customer", body).await.unwrap();
    let erasure = begun["erasure"].as_str().unwrap().to_owned();
    // Killed while it goes on, each of them, more than once.
    for _ in 0..6 {
        let name = SERVICES[random.random_range(0..SERVICES.len())];
        let service = services.get_mut(name).unwrap();
        service.kill();
        *service = deployment.service(name);
        // Until it has begun to write again, and so gone on with what it left.
        deployment.call("operator", name, "get-status", json!({})).await.unwrap();
    }
    let receipt = eventually("the erasure is through", async || {
        let receipt = ask(&deployment, "get-erasure", json!({"erasure": erasure})).await.ok()?;
        (receipt["erasure"]["done"] == true).then_some(receipt)
    })
    .await;
    for report in receipt["erasure"]["reports"].as_array().unwrap() {
        assert!(!report["counts"].as_object().unwrap().is_empty(), "{receipt}");
    }

    // A later event by the same person makes somebody new, who still refuses.
    told(&deployment, "e-3", &[identifiers[2]], &json!({})).await;
    let again = known(&deployment, identifiers[2]).await;
    assert_ne!(again, customer);
    let found = ask(&deployment, "get-customer", json!({"customer": again})).await.unwrap();
    assert_eq!(found["customer"]["consents"][0]["answer"], "CONSENT_ANSWER_REFUSED", "{found}");
    let body = json!({"requestId": "y", "customer": again});
    let begun = ask(&deployment, "erase-customer", body).await.unwrap();
    eventually("the second erasure is through", async || {
        let body = json!({"erasure": begun["erasure"]});
        let receipt = ask(&deployment, "get-erasure", body).await.ok()?;
        (receipt["erasure"]["done"] == true).then_some(())
    })
    .await;

    // The other person is as before.
    assert_eq!(owner(&deployment, "line:p1:Uother").await, Some(other));
    for service in services.values_mut() {
        assert!(service.stop());
    }
    for stream in STREAMS {
        for message in deployment.read(stream).await {
            let message = text(&message);
            for planted in PLANTED {
                assert!(!message.contains(planted), "{planted} in {stream}: {message}");
            }
        }
    }
    for stream in SNAPSHOTS {
        let mut snapshots = 0;
        for message in deployment.read(stream).await {
            // One chunk holds a snapshot as small as these are.
            let Some(packed) = message.record.body.get(16..) else { continue };
            let Ok(plain) = zstd::decode_all(packed) else { continue };
            snapshots += 1;
            let plain = [(PathBuf::from(stream), plain)];
            for planted in PLANTED {
                assert!(!contain(&plain, planted), "{planted} is in a snapshot");
            }
        }
        assert!(snapshots > 0, "{stream} has no snapshot");
    }
    deployment.server.stop();
    let store = files::all(deployment.server.store());
    for planted in PLANTED {
        assert!(!contain(&store, planted), "{planted} is in the server's files (seed {seed})");
    }
}
