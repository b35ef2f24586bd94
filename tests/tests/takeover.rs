//! What a writer's death, pause and loss of its broker leave behind, on a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_bus::record::header;
use mainstem_bus::{Stored, topology};
use mainstem_proto::wire::routing::GetCaseRequest;
use mainstem_proto::wire::routing::routing_service_client::RoutingServiceClient;
use mainstem_tests::deployment::{Deployment, Event, Service, configuration, counted, eventually};
use serde_json::json;
use tokio::task::JoinSet;

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

fn times(messages: &[Stored], kind: &str) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for message in messages.iter().filter(|message| message.record.kind() == kind) {
        let body: serde_json::Value = serde_json::from_slice(&message.record.body).unwrap();
        let event = body["case"]["openingEvent"].as_str().unwrap().to_owned();
        *times.entry(event).or_default() += 1;
    }
    times
}

/// Every event opened exactly one case, and each case lies on its queue exactly once.
async fn assert_one_case_each(deployment: &Deployment, events: usize) -> usize {
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;
    let (counted, void) = counted(deployment.read(topology::ROUTING).await);
    for kind in ["mainstem.routing.case-opened.v1", "mainstem.routing.case-queued.v1"] {
        let times = times(&counted, kind);
        assert_eq!(times.len(), events, "{kind}");
        assert!(times.values().all(|times| *times == 1), "{kind}: {times:?}");
    }
    let queued = eventually("every case is on its queue", async || {
        let queued = deployment.subjects(topology::QUEUES, "queue.>").await;
        (queued.len() >= events).then_some(queued)
    })
    .await;
    assert_eq!(queued.len(), events);
    assert!(queued.values().all(|times| *times == 1), "{queued:?}");
    void
}

async fn wait_for_cases(deployment: &Deployment, cases: usize) {
    eventually("cases are opened", async || {
        let queued = deployment.subjects(topology::ROUTING, "customer.*.case.queued.>").await;
        (queued.len() >= cases).then_some(())
    })
    .await;
}

async fn writers(deployment: &Deployment) -> u64 {
    let status = deployment.call("operator", "routing", "get-status", json!({})).await.unwrap();
    status["epoch"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The case that was opened last.
async fn newest_case(deployment: &Deployment) -> String {
    let (counted, _) = counted(deployment.read(topology::ROUTING).await);
    let opened = counted.iter().rfind(|m| m.record.kind() == "mainstem.routing.case-opened.v1");
    let body: serde_json::Value = serde_json::from_slice(&opened.unwrap().record.body).unwrap();
    body["case"]["case"].as_str().unwrap().to_owned()
}

fn as_operator(case: &str) -> tonic::Request<GetCaseRequest> {
    let mut request = tonic::Request::new(GetCaseRequest { case: case.to_owned() });
    request.metadata_mut().insert("authorization", "Bearer token-operator".parse().unwrap());
    request
}

/// Publishes repairs of new customers until `until` is done, and says how many.
async fn feed(deployment: &Deployment, prefix: &str, until: impl Future<Output = ()>) -> usize {
    let mut until = std::pin::pin!(until);
    let mut published = 0;
    // A steady pace, which leaves the machine room for what is tested.
    let mut pace = tokio::time::interval(Duration::from_millis(3));
    loop {
        pace.tick().await;
        let id = format!("{prefix}-{published}");
        let event = Event::repair(&id, &id);
        let publish = deployment.publish(&event);
        let publish = std::pin::pin!(publish);
        // An event that was begun is always finished, so that the count is right.
        match futures::future::select(publish, &mut until).await {
            futures::future::Either::Left(_) => published += 1,
            futures::future::Either::Right(((), publish)) => {
                publish.await;
                return published + 1;
            }
        }
    }
}

async fn two_writers_of_routing() -> Option<(Deployment, Service, Service, Service)> {
    let deployment = Deployment::start(SERVICE).await?;
    let identity = deployment.service("identity-merge");
    let first = deployment.service("routing");
    deployment.apply(&configuration(), &["routing"]).await;
    assert_eq!(writers(&deployment).await, 1);
    let second = deployment.service("routing");
    eventually("a second instance is there", async || {
        second.log().contains("has read its ledger").then_some(())
    })
    .await;
    Some((deployment, identity, first, second))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_writes_within_5_s_after_the_writer_was_killed() {
    let Some((deployment, _identity, mut first, second)) = two_writers_of_routing().await else {
        return;
    };
    let killed = async {
        wait_for_cases(&deployment, 100).await;
        first.kill();
        tokio::time::timeout(Duration::from_secs(5), async {
            eventually("the standby writes", async || {
                second.log().contains("epoch=2").then_some(())
            })
            .await;
        })
        .await
        .expect("the standby writes within 5 s");
        // Some more for the new writer.
        let queued = deployment.subjects(topology::ROUTING, "customer.*.case.queued.>").await;
        wait_for_cases(&deployment, queued.len() + 50).await;
    };
    let events = Box::pin(feed(&deployment, "kill", killed)).await;
    let void = assert_one_case_each(&deployment, events).await;
    assert_eq!(void, 0, "nothing of the old writer came behind the fence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_paused_for_30_s_writes_nothing_that_counts() {
    let Some((deployment, _identity, first, second)) = two_writers_of_routing().await else {
        return;
    };
    let address = eventually("it listens", async || first.grpc()).await;
    let asked = RoutingServiceClient::connect(format!("http://{address}")).await.unwrap();
    let paused = async {
        wait_for_cases(&deployment, 100).await;
        first.pause();
        // The pause itself, not a way to wait for something.
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(second.log().contains("epoch=2"), "the standby has taken over");
        // Questions about what happened since lie in its sockets when it wakes up.
        let newest = newest_case(&deployment).await;
        let mut questions = JoinSet::new();
        for _ in 0..8 {
            let (mut asked, newest) = (asked.clone(), newest.clone());
            questions.spawn(async move { asked.get_case(as_operator(&newest)).await });
        }
        first.go_on();
        while let Some(answer) = questions.join_next().await {
            match answer.unwrap() {
                Ok(answer) => assert_eq!(answer.into_inner().case.unwrap().case, newest),
                Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable, "{status}"),
            }
        }
        eventually("the old writer notices", async || {
            first.log().contains("begins anew from the ledger").then_some(())
        })
        .await;
    };
    let events = Box::pin(feed(&deployment, "pause", paused)).await;
    assert_one_case_each(&deployment, events).await;
    let late: Vec<_> = deployment
        .read(topology::ROUTING)
        .await
        .into_iter()
        .skip_while(|message| message.record.header(header::EPOCH) != Some("2"))
        .filter(|message| message.record.header(header::EPOCH) == Some("1"))
        .collect();
    assert!(late.is_empty(), "appended behind the fence: {}", late.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_keeps_what_it_acknowledged() {
    let Some(mut deployment) = Deployment::start(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let _routing = deployment.service("routing");
    deployment.apply(&configuration(), &["routing"]).await;
    let mut events = 0;
    for round in 0..3 {
        // Until the middle of a pipeline: all are published, few are routed.
        let mut begun = Vec::new();
        for number in 0..200 {
            let id = format!("broker-{round}-{number}");
            begun.push(Event::repair(&id, &id));
        }
        let publish =
            futures::future::join_all(begun.iter().map(|event| deployment.publish(event)));
        publish.await;
        events += begun.len();
        wait_for_cases(&deployment, events - 150).await;
        let acknowledged = deployment.read(topology::ROUTING).await.len();
        deployment.server.kill();
        deployment.server.start_again();
        deployment.reconnect().await;
        let stored = eventually("the broker is back", async || {
            Some(deployment.read(topology::ROUTING).await.len())
        })
        .await;
        assert!(stored >= acknowledged, "{stored} < {acknowledged}");
    }
    assert_one_case_each(&deployment, events).await;
    let (customer, _) = counted(deployment.read(topology::CUSTOMER).await);
    let mut seen = BTreeMap::<String, usize>::new();
    for message in customer.iter().filter(|m| m.record.subject.ends_with(".channel")) {
        *seen.entry(message.record.header(header::ID).unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(seen.len(), events);
    assert!(seen.values().all(|times| *times == 1));
}
