//! A thousand cases of one queue, and eight workers who want them all at the same time, each in its own
//! way: on a real nats-server with the users of the topology.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use mainstem_bus::nats::CaseQueue;
use mainstem_bus::topology::{QUEUES, ROUTING};
use mainstem_domain::{CustomerId, RefusalCode};
use mainstem_proto::wire::routing as wire;
use mainstem_proto::wire::routing::routing_service_client::RoutingServiceClient;
use mainstem_tests::deployment::{Deployment, Service, configuration, counted, eventually};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::Channel;

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const CASES: usize = 1_000;

/// The workers: the first three by gRPC, three more by NATS requests, the last two off the queue.
const WORKERS: [&str; 8] =
    ["unit-1", "unit-2", "unit-3", "unit-4", "unit-5", "unit-6", "unit-7", "unit-8"];

/// What one worker got, and who it was told has what it did not get.
#[derive(Default)]
struct Done {
    claimed: Vec<String>,
    refused: Vec<(String, String)>,
}

/// How many cases are claimed, and the end of it. Nobody claims a second one before each has a first,
/// so that no way of working comes too late for the race.
struct Tally {
    claimed: AtomicUsize,
    all: CancellationToken,
    firsts: Barrier,
}

impl Tally {
    fn new() -> Self {
        let (claimed, all) = (AtomicUsize::new(0), CancellationToken::new());
        Self { claimed, all, firsts: Barrier::new(WORKERS.len()) }
    }

    async fn claimed(&self, done: &mut Done, case: String) {
        done.claimed.push(case);
        if self.claimed.fetch_add(1, Ordering::Relaxed) + 1 == CASES {
            self.all.cancel();
        }
        if done.claimed.len() == 1 {
            self.firsts.wait().await;
        }
    }
}

async fn open_cases(deployment: &Deployment) -> Vec<String> {
    let opened = stream::iter(0..CASES).map(|number| async move {
        let body = json!({
            "customer": CustomerId::derive(&number.to_string()).as_str(), "channel": "line-1",
            "queue": "repair", "details": {"serial": format!("sn-{number}")},
        });
        let opened = deployment.call("operator", "routing", "open-case", body).await.unwrap();
        opened["case"]["case"].as_str().unwrap().to_owned()
    });
    opened.buffer_unordered(32).collect().await
}

/// Takes whatever comes next, until nothing does.
async fn claim_next(service: &Service, worker: &str, tally: &Tally) -> Done {
    let address = eventually("it listens", async || service.grpc()).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client = RoutingServiceClient::new(channel);
    let mut done = Done::default();
    loop {
        let ask = wire::ClaimNextRequest { queue: "repair".to_owned(), ..Default::default() };
        let mut request = Request::new(ask);
        let token = format!("Bearer token-{worker}").parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let answer = client.claim_next(request).await.unwrap().into_inner();
        let Some(case) = answer.case else { return done };
        assert_eq!(case.holder, worker);
        tally.claimed(&mut done, case.case).await;
    }
}

async fn accept(
    deployment: &Deployment,
    worker: &str,
    case: String,
    tally: &Tally,
    done: &mut Done,
) {
    let body = json!({"case": case});
    match deployment.call(worker, "routing", "accept-case", body).await {
        Ok(answer) => {
            assert_eq!(answer["case"]["holder"], worker);
            tally.claimed(done, case).await;
        }
        Err(refusal) => {
            assert_eq!(refusal.code, RefusalCode::FailedPrecondition, "{refusal}");
            assert_eq!(refusal.reason, "CASE_TAKEN", "{refusal}");
            let holder = refusal.metadata["holder"].clone();
            assert!(refusal.message.contains(&holder), "{refusal}");
            done.refused.push((case, holder));
        }
    }
}

/// Wants every case, in an order of its own.
async fn accept_all(
    deployment: &Deployment,
    worker: &str,
    cases: &[String],
    tally: &Tally,
) -> Done {
    let mut cases = cases.to_vec();
    let seed = worker.bytes().map(u64::from).sum();
    cases.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut done = Done::default();
    for case in cases {
        accept(deployment, worker, case, tally, &mut done).await;
    }
    done
}

/// Takes what lies on the queue, and asks for it.
async fn pull(deployment: &Deployment, worker: &str, tally: &Tally) -> Done {
    let mut queue = CaseQueue::open(&deployment.bus, &"repair".parse().unwrap()).await.unwrap();
    let mut done = Done::default();
    loop {
        let item = tokio::select! {
            item = queue.next() => item,
            () = tally.all.cancelled() => return done,
        };
        accept(deployment, worker, item.case.to_string(), tally, &mut done).await;
        item.done().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cases_are_claimed_once_each_by_eight_workers_in_three_ways() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let scopes = WORKERS.map(|worker| (worker, "unit", "queues = [\"repair\"]"));
    deployment.let_in(&scopes);
    let routing = deployment.service("routing");
    deployment.apply(&configuration(), &["routing"]).await;
    let cases = open_cases(&deployment).await;
    assert_eq!(cases.len(), CASES);
    eventually("every case is on offer", async || {
        (deployment.subjects(QUEUES, "queue.>").await.len() == CASES).then_some(())
    })
    .await;

    let tally = Tally::new();
    let (by_grpc, by_nats, by_queue) = tokio::join!(
        join_all(WORKERS[..3].iter().map(|worker| claim_next(&routing, worker, &tally))),
        join_all(WORKERS[3..6].iter().map(|who| accept_all(&deployment, who, &cases, &tally))),
        join_all(WORKERS[6..].iter().map(|worker| pull(&deployment, worker, &tally))),
    );
    // As the ledger has it.
    let (records, _) = counted(deployment.read(ROUTING).await);
    let accepted = records.iter().filter(|one| one.record.kind().ends_with("case-accepted.v1"));
    let mut holders = BTreeMap::new();
    for record in accepted {
        let body: Value = serde_json::from_slice(&record.record.body).unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let twice = holders.insert(text("case"), text("holder"));
        assert_eq!(twice, None, "{body}");
    }
    assert_eq!(holders.len(), CASES);
    let mut told = 0;
    for (worker, done) in WORKERS.iter().zip(by_grpc.iter().chain(&by_nats).chain(&by_queue)) {
        let held = holders.values().filter(|holder| holder == worker).count();
        assert_eq!(done.claimed.len(), held, "{worker} knows what it has");
        for case in &done.claimed {
            assert_eq!(holders[case], *worker);
        }
        for (case, holder) in &done.refused {
            assert_eq!(holders[case], *holder, "{worker} is told who has {case}");
        }
        told += done.refused.len();
    }
    // Three asked for all of them by NATS, and each was got by one of them at most.
    assert!(told >= 2 * CASES, "{told}");
    eventually("nothing is on offer any more", async || {
        deployment.subjects(QUEUES, "queue.>").await.is_empty().then_some(())
    })
    .await;
}
