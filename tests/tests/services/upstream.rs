//! An upstream that is restored from an older backup.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use mainstem_bus::nats::diagnose;
use mainstem_identity_merge::IdentityMachine;
use mainstem_tests::deployment::{Deployment, Event, configuration, eventually};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn find(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|known| known == name) {
                return Some(path);
            }
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        }
    }
    None
}

/// Both forms of the same loss: the stream ends before the position, and it has grown again since.
async fn refuses_a_restored_upstream(grown_again: bool) {
    let Some(mut deployment) = Deployment::start(SERVICE).await else { return };
    let mut identity = deployment.service("identity-merge");
    let mut routing = deployment.service("routing");
    deployment.apply(&configuration(), &["routing"]).await;
    let queued = async |deployment: &Deployment, cases: usize| {
        eventually("cases are opened", async || {
            let filter = "customer.*.case.queued.>";
            let found = deployment.subjects("ROUTING", filter).await.len();
            (found >= cases).then_some(())
        })
        .await;
    };
    deployment.publish(&Event::repair("e-1", "U1")).await;
    queued(&deployment, 1).await;
    assert!(identity.stop(), "{}", identity.log());
    assert!(routing.stop(), "{}", routing.log());

    // The backup: what the server has on disk while it is down.
    deployment.server.stop();
    let stream = find(deployment.server.store(), "CUSTOMER").expect("the stream's folder");
    let backup = deployment.folder().join("backup");
    copy(&stream, &backup);
    deployment.server.start_again();
    deployment.reconnect().await;

    let mut identity = deployment.service("identity-merge");
    let mut routing = deployment.service("routing");
    for number in 2..=5 {
        deployment.publish(&Event::repair(&format!("e-{number}"), &format!("U{number}"))).await;
    }
    queued(&deployment, 5).await;
    assert!(identity.stop() && routing.stop());

    deployment.server.stop();
    std::fs::remove_dir_all(&stream).unwrap();
    copy(&backup, &stream);
    deployment.server.start_again();
    deployment.reconnect().await;
    if grown_again {
        let client = async_nats::connect(deployment.server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        for _ in 0..400 {
            jetstream.publish("channel.line-1", "{}".into()).await.unwrap().await.unwrap();
        }
    }

    let mut routing = deployment.service("routing");
    let (well, log) = routing.ended().await;
    assert!(!well, "it must not start");
    assert!(log.contains("CUSTOMER lost its tail"), "{log}");
    assert!(log.contains("Restore CUSTOMER from a newer backup"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_upstream_is_refused_at_start() {
    refuses_a_restored_upstream(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_grew_again_is_refused_at_start() {
    refuses_a_restored_upstream(true).await;
}

/// The server goes down, and comes back with an older CUSTOMER, while routing runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_reader_notices_that_its_upstream_was_replaced() {
    let Some(mut deployment) = Deployment::start(SERVICE).await else { return };
    let mut identity = deployment.service("identity-merge");
    let mut routing = deployment.service("routing");
    deployment.apply(&configuration(), &["routing"]).await;
    for number in 1..=5 {
        deployment.publish(&Event::repair(&format!("e-{number}"), &format!("U{number}"))).await;
    }
    deployment.caught_up("identity-merge", "INBOUND").await;
    deployment.caught_up("routing", "CUSTOMER").await;
    assert!(identity.stop(), "{}", identity.log());

    deployment.server.stop();
    let stream = find(deployment.server.store(), "CUSTOMER").expect("the stream's folder");
    std::fs::remove_dir_all(stream.join("msgs")).unwrap();
    std::fs::create_dir(stream.join("msgs")).unwrap();
    deployment.server.start_again();
    deployment.reconnect().await;
    let client = async_nats::connect(deployment.server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    for _ in 0..400 {
        jetstream.publish("channel.line-1", "{}".into()).await.unwrap().await.unwrap();
    }

    let (well, log) = routing.ended().await;
    assert!(!well, "it must not go on");
    assert!(log.contains("CUSTOMER lost its tail"), "{log}");
}

/// A ledger is restored from a backup: snapshots that know more than it holds are of no use, and
/// must not fit again when it has grown.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_ledger_is_folded_without_the_snapshots_of_the_lost_one() {
    let Some(mut deployment) = Deployment::start(SERVICE).await else { return };
    let publish = async |deployment: &Deployment, from: usize, to: usize| {
        for number in from..to {
            deployment.publish(&Event::repair(&format!("e-{number}"), &format!("U{number}"))).await;
        }
        deployment.caught_up("identity-merge", "INBOUND").await;
    };
    let mut identity = deployment.service("identity-merge");
    publish(&deployment, 0, 5).await;
    assert!(identity.stop(), "{}", identity.log());
    deployment.server.stop();
    let stream = find(deployment.server.store(), "CUSTOMER").expect("the stream's folder");
    let backup = deployment.folder().join("backup");
    copy(&stream, &backup);
    deployment.server.start_again();
    deployment.reconnect().await;

    // Its end leaves a snapshot of a longer ledger.
    let mut identity = deployment.service("identity-merge");
    publish(&deployment, 5, 20).await;
    assert!(identity.stop(), "{}", identity.log());

    deployment.server.stop();
    std::fs::remove_dir_all(&stream).unwrap();
    copy(&backup, &stream);
    deployment.server.start_again();
    deployment.reconnect().await;
    let identity = deployment.service("identity-merge");
    publish(&deployment, 20, 60).await;
    assert!(identity.log().contains("snapshot of another ledger"), "{}", identity.log());
    let found = Box::pin(diagnose::<IdentityMachine>(&deployment.bus)).await.unwrap();
    assert!(found.equal, "{found:?}");
    assert_eq!(found.bad_snapshots, 0, "they were taken away");
    // Killed before it leaves a snapshot of its own, it folds what is there.
    drop(identity);
    let _identity = deployment.service("identity-merge");
    deployment.caught_up("identity-merge", "INBOUND").await;
    let customers: BTreeSet<_> = deployment
        .read("CUSTOMER")
        .await
        .iter()
        .filter(|message| message.record.kind() == "mainstem.identity.customer-created.v1")
        .map(|message| message.record.subject.clone())
        .collect();
    assert_eq!(customers.len(), 60, "each event of INBOUND, the lost ones decided again");
}
