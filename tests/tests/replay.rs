//! The past decided again, and the doctor, on a real nats-server.

use std::sync::Arc;

use mainstem_bus::engine::Applied;
use mainstem_bus::nats::{diagnose, replay};
use mainstem_bus::topology;
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use mainstem_tests::deployment::{Deployment, Event, configuration, eventually};
use serde_json::json;

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
