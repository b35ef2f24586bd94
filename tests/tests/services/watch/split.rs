//! A watch through a merge and a split: nobody is told of the other piece.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_bus::record::Record;
use mainstem_bus::topology;
use mainstem_domain::Refusal;
use mainstem_tests::deployment::{Deployment, eventually};
use serde_json::{Value, json};

use super::model::{Told, View};
use super::{
    SERVICE, SERVICES, Watcher, ask, directory, end_of_ledger, next, present, routing, tap,
};

/// The two stores see what is theirs, and the unit the cases of both.
const WATCHERS: [Watcher; 3] = [
    Watcher { caller: "one", view: View::Everything(Some("taipei-1")) },
    Watcher { caller: "two", view: View::Everything(Some("taipei-2")) },
    Watcher { caller: "repairs", view: View::Queue("repair") },
];

async fn identity(deployment: &Deployment, endpoint: &str, body: Value) -> Result<Value, Refusal> {
    deployment.call("operator", "identity-merge", endpoint, body).await
}

async fn owner(deployment: &Deployment, user: &str) -> String {
    let body = json!({"identifier": format!("line:p1:{user}")});
    let found = identity(deployment, "resolve-customer", body).await.unwrap();
    found["customer"]["customer"].as_str().unwrap().to_owned()
}

async fn caught_up(deployment: &Deployment) {
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;
}

/// Both do something, each at their own store, and the case of the second is opened by staff there.
async fn both(deployment: &Deployment, turn: usize) {
    for (number, user) in ["U1", "U2"].into_iter().enumerate() {
        tap(deployment, &format!("e-{turn}-{user}"), user, number, "talk").await;
        tap(deployment, &format!("r-{turn}-{user}"), user, number, "repair").await;
    }
    caught_up(deployment).await;
}

/// What a watcher is told from a place on, until its newest record is told or past.
async fn told(watcher: Watcher, address: &str, token: &str, until: u64) -> (String, Vec<Told>) {
    let mut stream = watcher.open(address, token).await.unwrap();
    let (mut all, mut token) = (Vec::new(), token.to_owned());
    loop {
        let (resume, told) = next(&mut stream).await.unwrap().unwrap();
        token.clone_from(&resume);
        let Some(told) = told else { continue };
        let last = told.sequence >= until;
        all.push(told);
        if last {
            return (token, all);
        }
    }
}

/// Something that every watcher is told, and where it stands.
async fn mark(deployment: &Deployment, capacity: usize) -> BTreeMap<&'static str, u64> {
    for staff in ["anna", "carl"] {
        let body = json!({"staff": staff, "available": true, "capacity": capacity});
        ask(deployment, "set-presence", body).await;
    }
    let cases = ask(deployment, "list-cases", json!({"queue": "repair"})).await;
    let case = &cases["cases"][0]["case"];
    ask(deployment, "set-priority", json!({"case": case, "priority": "P1"})).await;
    let records = deployment.read(topology::ROUTING).await;
    let newest = |is_it: &dyn Fn(&Record) -> bool| {
        records.iter().rfind(|message| is_it(&message.record)).unwrap().sequence
    };
    BTreeMap::from([
        ("one", newest(&|record| record.subject == "staff.anna")),
        ("two", newest(&|record| record.subject == "staff.carl")),
        ("repairs", newest(&|record| record.kind() == "mainstem.routing.case-prioritised.v1")),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_split_nobody_is_told_of_the_other_piece() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    deployment.let_in(&[
        ("one", "store", "stores = [\"taipei-1\"]"),
        ("two", "store", "stores = [\"taipei-2\"]"),
        ("repairs", "unit", "queues = [\"repair\"]"),
    ]);
    let _identity = deployment.service("identity-merge");
    // Records move when it has read of the split as well.
    let _notification = deployment.service("notification");
    let (_service, address) = routing(&deployment).await;
    deployment.apply(&directory(), &SERVICES).await;
    deployment.apply(&directory(), &["notification"]).await;
    both(&deployment, 0).await;
    let (one, two) = (owner(&deployment, "U1").await, owner(&deployment, "U2").await);
    identity(&deployment, "merge-customers", json!({"customer": one, "other": two})).await.unwrap();
    caught_up(&deployment).await;
    both(&deployment, 1).await;
    let mut tokens = BTreeMap::new();
    for watcher in WATCHERS {
        let (token, merged, _) = present(watcher, &address).await;
        // One of the two merged ids is whose everything is.
        let whose: BTreeSet<_> = merged.iter().map(|told| told.customer.as_str()).collect();
        assert!(!whose.contains(two.as_str()) || !whose.contains(one.as_str()), "{whose:?}");
        tokens.insert(watcher.caller, token);
    }

    let before = end_of_ledger(&deployment).await;
    let wish = json!({"customer": one, "identifiers": ["line:p1:U2"]});
    identity(&deployment, "split-customer", wish).await.unwrap();
    caught_up(&deployment).await;
    both(&deployment, 2).await;
    let mut seen = 0;
    eventually("every record stands under its owner", async || {
        // Each reading takes a consumer of the broker's, so only what is new is read.
        let stored = deployment.subjects(topology::ROUTING, ">").await.values().sum();
        if std::mem::replace(&mut seen, stored) == stored {
            return None;
        }
        let records = deployment.read(topology::ROUTING).await;
        let moved = |kind: &str| kind == "mainstem.routing.records-moved.v1";
        (records.iter().filter(|one| moved(one.record.kind())).count() >= 2).then_some(())
    })
    .await;
    both(&deployment, 3).await;
    let marks = mark(&deployment, 4).await;

    // Whose each conversation and each case is now, by the store that it began in.
    let piece = BTreeMap::from([
        ("taipei-1", owner(&deployment, "U1").await),
        ("taipei-2", owner(&deployment, "U2").await),
    ]);
    assert_ne!(piece["taipei-1"], piece["taipei-2"]);
    let mut owners = BTreeMap::new();
    for (list, of, prefix) in
        [("list-conversations", "conversations", "conversation/"), ("list-cases", "cases", "")]
    {
        let listed = ask(&deployment, list, json!({})).await;
        for thing in listed[of].as_array().unwrap() {
            let id = thing[of.trim_end_matches('s')].as_str().unwrap();
            let store = thing["store"].as_str().unwrap();
            assert_eq!(thing["customer"], json!(piece[store]), "{thing}");
            owners.insert(format!("{prefix}{id}"), (store.to_owned(), piece[store].clone()));
        }
    }
    let copies: BTreeSet<_> = deployment
        .read(topology::ROUTING)
        .await
        .into_iter()
        .filter(|message| message.record.is_moved())
        .map(|message| message.sequence)
        .collect();
    assert!(!copies.is_empty(), "something was moved");
    for watcher in WATCHERS {
        let until = marks[watcher.caller];
        // Whoever goes on, and whoever begins now.
        let (_, went_on) = told(watcher, &address, &tokens[watcher.caller], until).await;
        let (_, anew, _) = present(watcher, &address).await;
        for told in went_on.iter().filter(|told| told.sequence > before).chain(&anew) {
            assert!(!copies.contains(&told.sequence), "a copy is no news: {told:?}");
            let Some((store, customer)) = owners.get(&told.key) else { continue };
            assert_eq!(&told.customer, customer, "{} {told:?}", watcher.caller);
            if let View::Everything(Some(own)) = watcher.view {
                assert_eq!(store, own, "{told:?}");
            }
        }
        let sequences: Vec<_> = went_on.iter().map(|told| told.sequence).collect();
        assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
        let restated = went_on.iter().any(|told| told.change.ends_with("RESTATED"));
        assert!(restated, "{} was told whose it is now: {went_on:?}", watcher.caller);
    }
}
