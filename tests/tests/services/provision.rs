//! Provisioning on a real nats-server: creates, updates, deletes nothing, loses nothing.

use std::time::Duration;

use async_nats::jetstream;
use mainstem_bus::nats::{Bus, Change, Login, ProvisionError, provision};
use mainstem_bus::topology;
use mainstem_tests::nats_server::NatsServer;

#[tokio::test]
async fn a_lossy_change_is_refused_with_the_difference_and_nothing_is_changed() {
    let Some(server) = NatsServer::start() else { return };
    let login = Login { url: server.url(), ..Login::default() };
    let bus = Bus::connect(&login).await.unwrap();
    let created = provision(&bus, 1).await.unwrap();
    assert!(created.iter().all(|change| matches!(change, Change::Created(_))), "{created:?}");
    let again = provision(&bus, 1).await.unwrap();
    assert_eq!(again.len(), created.len());
    assert!(again.iter().all(|change| matches!(change, Change::Unchanged(_))), "{again:?}");

    let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let edit = async |name: &str, change: &dyn Fn(&mut jetstream::stream::Config)| {
        let stream = jetstream.get_stream(name).await.unwrap();
        let mut config = stream.cached_info().config.clone();
        change(&mut config);
        jetstream.update_stream(config).await.unwrap();
    };
    // Harmless: a description, and a limit that is lifted.
    edit(topology::RELAY, &|config| config.description = Some("mine".to_owned())).await;
    edit(topology::DEADLETTER, &|config| config.max_age = Duration::from_hours(1)).await;
    let changed = provision(&bus, 1).await.unwrap();
    let updated: Vec<_> =
        changed.iter().filter(|change| matches!(change, Change::Updated(..))).collect();
    assert_eq!(updated.len(), 2, "{changed:?}");

    // Somebody keeps inbound events for longer, and one more subject of customers.
    edit(topology::INBOUND, &|config| config.max_age = Duration::from_hours(90 * 24)).await;
    edit(topology::CUSTOMER, &|config| config.subjects.push("customer.*.note".to_owned())).await;
    edit(topology::RELAY, &|config| config.description = Some("mine".to_owned())).await;
    let error = provision(&bus, 1).await.unwrap_err();
    let ProvisionError::Lossy { stream, .. } = &error else { panic!("{error}") };
    assert_eq!(stream, topology::INBOUND);
    let text = error.to_string();
    assert!(text.contains("max_age") && text.contains("nats stream edit INBOUND"), "{text}");
    let relay = jetstream.get_stream(topology::RELAY).await.unwrap();
    assert_eq!(relay.cached_info().config.description.as_deref(), Some("mine"), "left alone");

    edit(topology::INBOUND, &|config| config.max_age = topology::KEPT).await;
    let error = provision(&bus, 1).await.unwrap_err().to_string();
    assert!(error.contains("customer.*.note"), "{error}");
}
