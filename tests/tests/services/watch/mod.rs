//! Watchers of desks and queues, cut off and resumed at random places, on a real nats-server with the
//! users of the topology.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;
mod split;

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use futures::stream::{BoxStream, StreamExt as _};
use mainstem_bus::nats::{Inbound, InboundMessage};
use mainstem_bus::{TraceContext, topology};
use mainstem_domain::configuration::Configuration;
use mainstem_domain::{At, CustomerId};
use mainstem_proto::wire::routing as wire;
use mainstem_proto::wire::routing::routing_service_client::RoutingServiceClient;
use mainstem_tests::deployment::{Deployment, PATIENCE, Service, configuration, eventually};
use model::{Model, PAUSE, Told, View, without_load};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const SERVICES: [&str; 2] = ["identity-merge", "routing"];

const STAFF: [&str; 5] = ["anna", "ben", "carl", "dora", "cora"];

/// Two stores, two brands, a desk for one of them and a central one; two queues.
fn directory() -> Configuration {
    let mut value = serde_json::to_value(configuration()).unwrap();
    value["brands"]["borea"] = json!({"name": "Borea"});
    value["stores"]["taipei-2"] = json!({"name": "Taipei 2"});
    value["channels"]["line-2"] = json!({"brand": "borea", "store": "taipei-2"});
    value["queues"]["advice"] = json!({"name": "Advice"});
    value["desks"] = json!({
        "aurora-desk": {"name": "Aurora", "brands": ["aurora"]}, "central": {"name": "Central"},
    });
    value["staff"] = json!({
        "anna": {"name": "Anna", "store": "taipei-1", "capacity": 2},
        "ben": {"name": "Ben", "store": "taipei-1", "capacity": 1},
        "carl": {"name": "Carl", "store": "taipei-2", "capacity": 1},
        "dora": {"name": "Dora", "desk": "aurora-desk", "capacity": 1},
        "cora": {"name": "Cora", "desk": "central", "capacity": 1},
    });
    value["rules"].as_array_mut().unwrap().push(json!({
        "name": "talk", "when": "event.menu == 'talk'",
        "targets": ["store_on_shift 2s", "brand_desk 1s", "central_desk 1s"],
    }));
    serde_json::from_value(value).unwrap()
}

/// A person taps on the menu, at one of the two stores.
async fn tap(deployment: &Deployment, id: &str, user: &str, store: usize, menu: &str) {
    let now = "2026-11-21T09:00:00.000Z";
    let (channel, place, brand) =
        [("line-1", "taipei-1", "aurora"), ("line-2", "taipei-2", "borea")][store];
    let identifier = format!("line:p1:{user}");
    let body = json!({
        "id": id, "channel": channel, "store": place, "brand": brand,
        "postback": format!("menu={menu}"),
        "identifiers": [{"identifier": identifier, "verified": true}],
        "occurTime": now, "receiveTime": now, "raw": {"type": "postback"},
    });
    let message = InboundMessage {
        kind: "mainstem.channel.line.postback.v1".to_owned(),
        id: id.parse().unwrap(),
        channel: channel.parse().unwrap(),
        handle: format!("h{user}"),
        store: place.parse().ok(),
        brand: brand.parse().ok(),
        occurred_at: At::parse(now).unwrap(),
        media: None,
        trace: TraceContext::root(id),
        body: body.to_string().into(),
    };
    let inbound = Inbound::new(deployment.bus.clone());
    eventually("an event is stored", async || inbound.publish(message.clone()).await.ok()).await;
}

async fn ask(deployment: &Deployment, endpoint: &str, body: Value) -> Value {
    // A refusal is as good: what is wished at random is often not to be had.
    deployment.call("operator", "routing", endpoint, body).await.unwrap_or_default()
}

/// Whom a watcher is, and what it asks for.
#[derive(Clone, Copy)]
struct Watcher {
    caller: &'static str,
    view: View,
}

type Stream = BoxStream<'static, Result<(String, Option<Told>), Status>>;

fn client(address: &str) -> RoutingServiceClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    RoutingServiceClient::new(endpoint.connect_lazy())
}

fn authorized<T>(caller: &str, ask: T) -> Request<T> {
    let mut request = Request::new(ask);
    let token: MetadataValue<_> = format!("Bearer token-{caller}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    request
}

fn desk(view: View, resume_token: &str) -> wire::WatchDeskRequest {
    let none = wire::WatchDeskRequest::default();
    let resume_token = resume_token.to_owned();
    match view {
        View::Staff(staff) => {
            wire::WatchDeskRequest { staff: staff.to_owned(), resume_token, ..none }
        }
        View::Store(store) => {
            wire::WatchDeskRequest { store: store.to_owned(), resume_token, ..none }
        }
        View::Desk(desk) => wire::WatchDeskRequest { desk: desk.to_owned(), resume_token, ..none },
        View::Central => {
            wire::WatchDeskRequest { desk: "central".to_owned(), resume_token, ..none }
        }
        View::Everything(_) | View::Queue(_) => wire::WatchDeskRequest { resume_token, ..none },
    }
}

impl Watcher {
    async fn open(self, address: &str, resume_token: &str) -> Result<Stream, Status> {
        let mut client = client(address);
        if let View::Queue(queue) = self.view {
            let resume_token = resume_token.to_owned();
            let ask = wire::WatchQueueRequest { queue: queue.to_owned(), resume_token };
            let stream = client.watch_queue(authorized(self.caller, ask)).await?.into_inner();
            return Ok(stream.map(|told| told.map(of_queue)).boxed());
        }
        let request = authorized(self.caller, desk(self.view, resume_token));
        let stream = client.watch_desk(request).await?.into_inner();
        Ok(stream.map(|told| told.map(of_desk)).boxed())
    }

    /// Watches until it was told the record that it is told to be the last, and is cut off all the
    /// time. Says what it was told.
    async fn run(
        self,
        seed: u64,
        address: watch::Receiver<String>,
        mut last: watch::Receiver<Option<u64>>,
    ) -> Vec<Told> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut all, mut token) = (Vec::<Told>::new(), String::new());
        let done = |all: &[Told], last: Option<u64>| {
            last.is_some_and(|last| all.last().is_some_and(|told| told.sequence >= last))
        };
        loop {
            let now = address.borrow().clone();
            let Ok(mut stream) = self.open(&now, &token).await else {
                // Not to synchronise: the service was killed, and is asked again until it is there.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            for _ in 0..random.random_range(1..7) {
                if done(&all, *last.borrow()) {
                    return all;
                }
                let told = tokio::select! {
                    told = next(&mut stream) => told,
                    _ = last.changed() => break,
                };
                // The service was killed.
                let Some(Ok((resume, told))) = told else { break };
                token = resume;
                all.extend(told);
            }
        }
    }
}

async fn next(stream: &mut Stream) -> Option<Result<(String, Option<Told>), Status>> {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await;
    next.expect("a heartbeat comes at the latest")
}

fn whole(value: Option<impl serde::Serialize>) -> Option<Value> {
    value.map(|value| without_load(serde_json::to_value(value).unwrap()))
}

fn of_desk(told: wire::WatchDeskResponse) -> (String, Option<Told>) {
    let (sequence, change) = (told.sequence, told.change().as_str_name());
    let heartbeat = told.change() == wire::DeskChange::Unspecified;
    let key = match told.conversation.as_str() {
        "" => format!("staff/{}", told.staff),
        conversation => format!("conversation/{conversation}"),
    };
    assert!(heartbeat || (told.time.is_some() == (sequence > 0)), "{told:?}");
    let (resume_token, customer) = (told.resume_token, told.customer);
    let whole = whole(told.whole).or(whole(told.standing));
    let told = Told { key, sequence, change, customer, whole };
    (resume_token, (!heartbeat).then_some(told))
}

fn of_queue(told: wire::WatchQueueResponse) -> (String, Option<Told>) {
    let (sequence, change) = (told.sequence, told.change().as_str_name());
    let heartbeat = told.change() == wire::QueueChange::Unspecified;
    let key = if told.case.is_empty() { PAUSE.to_owned() } else { told.case };
    let whole = whole(told.whole).or(whole(told.pause));
    let (resume_token, customer) = (told.resume_token, told.customer);
    let told = Told { key, sequence, change, customer, whole };
    (resume_token, (!heartbeat).then_some(told))
}

/// Customers and staff do something.
async fn go_on(deployment: &Deployment, random: &mut ChaCha8Rng, step: usize) {
    let user = format!("U{}", random.random_range(0..7));
    let store = random.random_range(0..2);
    let staff = *STAFF.choose(random).unwrap();
    let id = format!("e-{step}");
    match random.random_range(0..10) {
        0..3 => tap(deployment, &id, &user, store, "talk").await,
        3..6 => {
            let all = ask(deployment, "list-conversations", json!({})).await;
            let open = all["conversations"].as_array().cloned().unwrap_or_default();
            let open: Vec<_> = open
                .into_iter()
                .filter(|one| one["talk"]["state"] != "CONVERSATION_STATE_CLOSED")
                .collect();
            let Some(one) = open.choose(random) else { return };
            let (conversation, holder) = (&one["conversation"], &one["talk"]["staff"]);
            let taker = if holder.is_string() { holder.clone() } else { json!(staff) };
            let body = json!({"conversation": conversation, "staff": taker, "text": "yes"});
            let endpoint =
                *["accept", "accept", "reject", "reply", "close"].choose(random).unwrap();
            ask(deployment, &format!("{endpoint}-conversation"), body).await;
            let to = [("toStaff", staff), ("toTarget", "central_desk"), ("toTarget", "brand_desk")];
            let (to, whom) = *to.choose(random).unwrap();
            if random.random_bool(0.3) {
                let body = json!({"conversation": conversation, to: whom, "reason": "busy"});
                ask(deployment, "transfer-conversation", body).await;
            }
        }
        6 => {
            let body = json!({"staff": staff, "available": random.random_bool(0.8)});
            ask(deployment, "set-presence", body).await;
        }
        7 => tap(deployment, &id, &user, 0, "repair").await,
        _ => work(deployment, random).await,
    }
}

/// The back office does something.
async fn work(deployment: &Deployment, random: &mut ChaCha8Rng) {
    let queue = *["repair", "repair", "advice"].choose(random).unwrap();
    let claimed = ask(deployment, "claim-next", json!({"queue": queue})).await;
    let cases = ask(deployment, "list-cases", json!({})).await;
    let cases = cases["cases"].as_array().cloned().unwrap_or_default();
    let Some(case) = cases.choose(random) else { return };
    let case = if random.random_bool(0.5) { &claimed["case"]["case"] } else { &case["case"] };
    let endpoint =
        ["start", "start", "wait", "resolve", "resolve", "close", "reopen", "transfer", "cancel"];
    let to = *["repair", "advice"].choose(random).unwrap();
    let body = json!({"case": case, "queue": to, "reason": "so it is"});
    ask(deployment, &format!("{}-case", endpoint.choose(random).unwrap()), body).await;
    let priority = *["P1", "P2", "P3", "P4"].choose(random).unwrap();
    if random.random_bool(0.2) {
        let endpoint = *["pause-queue", "resume-queue", "resume-queue"].choose(random).unwrap();
        ask(deployment, endpoint, json!({"queue": queue, "reason": "so it is"})).await;
    }
    if random.random_bool(0.3) {
        ask(deployment, "set-priority", json!({"case": case, "priority": priority})).await;
    }
}

async fn routing(deployment: &Deployment) -> (Service, String) {
    let service = deployment.service("routing");
    let address = eventually("it listens", async || service.grpc()).await;
    (service, address)
}

async fn end_of_ledger(deployment: &Deployment) -> u64 {
    deployment.read(topology::ROUTING).await.last().unwrap().sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_are_cut_off_anywhere_see_everything_once_and_nothing_of_others() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    deployment.let_in(&[
        ("one", "store", "stores = [\"taipei-1\"]"),
        ("two", "store", "stores = [\"taipei-2\"]"),
        ("aurora", "desk", "brands = [\"aurora\"]"),
        ("repairs", "unit", "queues = [\"repair\"]"),
        ("advisers", "unit", "queues = [\"advice\"]"),
    ]);
    let _identity = deployment.service("identity-merge");
    let (mut service, address) = routing(&deployment).await;
    deployment.apply(&directory(), &SERVICES).await;
    for staff in STAFF {
        ask(&deployment, "set-presence", json!({"staff": staff, "available": true})).await;
    }
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for step in 0..60 {
        go_on(&deployment, &mut random, step).await;
    }

    let views = [
        ("one", View::Staff("anna")),
        ("one", View::Store("taipei-1")),
        ("one", View::Everything(Some("taipei-1"))),
        ("two", View::Everything(Some("taipei-2"))),
        ("aurora", View::Desk("aurora-desk")),
        ("operator", View::Central),
        ("operator", View::Everything(None)),
        ("repairs", View::Queue("repair")),
        ("advisers", View::Queue("advice")),
    ];
    let (tell, address) = watch::channel(address);
    let (mut finish, mut watching) = (Vec::new(), JoinSet::new());
    for (number, (caller, view)) in views.into_iter().enumerate() {
        for step in 0..5 {
            go_on(&deployment, &mut random, 100 + number * 10 + step).await;
        }
        let begun = end_of_ledger(&deployment).await;
        let (sender, last) = watch::channel(None);
        finish.push(sender);
        let (watcher, address) = (Watcher { caller, view }, address.clone());
        watching
            .spawn(async move { (view, begun, watcher.run(number as u64, address, last).await) });
    }
    for step in 200..260 {
        go_on(&deployment, &mut random, step).await;
    }
    service.kill();
    let (_service, again) = routing(&deployment).await;
    tell.send(again).unwrap();
    // Ben, who has nothing any more, goes to the other store.
    ask(&deployment, "set-presence", json!({"staff": "ben", "available": false})).await;
    let mut moved = directory();
    let ben = moved.staff.get_mut(&"ben".parse().unwrap()).unwrap();
    ben.store = "taipei-2".parse().ok();
    deployment.apply(&moved, &SERVICES).await;
    for step in 300..360 {
        go_on(&deployment, &mut random, step).await;
    }
    // Something that each of them is told last.
    for staff in STAFF {
        let body = json!({"staff": staff, "available": true, "capacity": 9});
        ask(&deployment, "set-presence", body).await;
    }
    for queue in ["repair", "advice"] {
        let customer = CustomerId::derive("last");
        let body = json!({"customer": customer.as_str(), "channel": "line-1", "queue": queue});
        assert!(ask(&deployment, "open-case", body).await["case"].is_object());
    }
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;
    finish_and_check(&deployment, &views, finish, watching).await;
}

async fn finish_and_check(
    deployment: &Deployment,
    views: &[(&'static str, View)],
    finish: Vec<watch::Sender<Option<u64>>>,
    mut watching: JoinSet<(View, u64, Vec<Told>)>,
) {
    // Nobody says yes any more, so offers go round, until all of them are taken or closed.
    eventually("nothing is offered any more", async || {
        let open = json!({"state": "CONVERSATION_STATE_OFFERED"});
        let open = ask(deployment, "list-conversations", open).await;
        let open = open["conversations"].as_array().cloned().unwrap_or_default();
        for one in &open {
            let body = json!({"conversation": one["conversation"], "staff": one["talk"]["staff"]});
            ask(deployment, "accept-conversation", body).await;
        }
        open.is_empty().then_some(())
    })
    .await;
    let model = Model::new(deployment.read(topology::ROUTING).await);
    for (sender, (_, view)) in finish.iter().zip(views) {
        sender.send(Some(model.last(*view))).unwrap();
    }
    let (mut told, mut there) = (0, 0);
    while let Some(watched) = watching.join_next().await {
        let (view, begun, seen) = watched.unwrap();
        told += seen.len();
        there += seen.iter().filter(|one| one.sequence == 0).count();
        model.check(view, begun, &seen);
    }
    assert!(told > 400 && there > 30, "{told}, of which {there} were there");
}

/// How a watch is refused, and the field that is wrong if one is.
async fn refused(address: &str, watcher: Watcher, token: &str) -> (Code, Option<String>) {
    let status = watcher.open(address, token).await.map(|_| ()).unwrap_err();
    let details = tonic_types::StatusExt::get_error_details(&status);
    let field = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
    (status.code(), field)
}

/// The token of the first heartbeat, and what came before it.
async fn present(watcher: Watcher, address: &str) -> (String, Vec<Told>, Stream) {
    let mut stream = watcher.open(address, "").await.unwrap();
    let mut there = Vec::new();
    loop {
        match next(&mut stream).await.unwrap().unwrap() {
            (token, None) => return (token, there, stream),
            (_, Some(told)) => there.push(told),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_for_its_scope_and_goes_on_by_its_own_tokens() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    deployment.let_in(&[
        ("one", "store", "stores = [\"taipei-1\"]"),
        ("advisers", "unit", "queues = [\"advice\"]"),
    ]);
    let (_service, address) = routing(&deployment).await;
    deployment.apply(&directory(), &["routing"]).await;
    let (denied, none) = ((Code::PermissionDenied, None), (Code::NotFound, None));
    for (caller, view, expected) in [
        ("one", View::Staff("carl"), &denied),
        ("one", View::Store("taipei-2"), &denied),
        ("one", View::Central, &denied),
        ("one", View::Desk("aurora-desk"), &denied),
        ("one", View::Queue("advice"), &denied),
        ("advisers", View::Everything(None), &denied),
        ("advisers", View::Queue("repair"), &denied),
        ("operator", View::Queue("nowhere"), &none),
        ("operator", View::Staff("nobody"), &none),
        ("operator", View::Store("nowhere"), &none),
        ("operator", View::Desk("nowhere"), &none),
        ("nobody", View::Central, &(Code::Unauthenticated, None)),
    ] {
        let found = refused(&address, Watcher { caller, view }, "").await;
        assert_eq!(found, *expected, "{caller} {view:?}");
    }
    let both = wire::WatchDeskRequest { store: "taipei-1".to_owned(), ..desk(View::Central, "") };
    let status = client(&address).watch_desk(authorized("operator", both)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let own = Watcher { caller: "one", view: View::Staff("anna") };
    let (token, there, _stream) = present(own, &address).await;
    assert!(there.is_empty(), "{there:?}");
    assert!(own.open(&address, &token).await.is_ok());
    let wrong = (Code::InvalidArgument, Some("resume_token".to_owned()));
    let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    for other in ["x", &encoded("ROUTING=1@1/1"), &encoded("{}")] {
        assert_eq!(refused(&address, own, other).await, wrong, "{other}");
    }
    for view in [View::Staff("ben"), View::Store("taipei-1"), View::Everything(None)] {
        let other = Watcher { caller: "operator", view };
        assert_eq!(refused(&address, other, &token).await, wrong, "{view:?}");
    }
    let queue = Watcher { caller: "operator", view: View::Queue("repair") };
    assert_eq!(refused(&address, queue, &token).await, wrong);
    // Of a ledger that was longer.
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap();
    let mut bookmark: Value = serde_json::from_slice(&bytes).unwrap();
    bookmark["at"] = "ROUTING=100000@1/1".into();
    let gone = encoded(&bookmark.to_string());
    assert_eq!(refused(&address, own, &gone).await, (Code::FailedPrecondition, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_with_its_customer_is_withdrawn_and_nobody_is_named() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let _identity = deployment.service("identity-merge");
    let (_service, address) = routing(&deployment).await;
    deployment.apply(&directory(), &SERVICES).await;
    ask(&deployment, "set-presence", json!({"staff": "anna", "available": true})).await;
    tap(&deployment, "e-1", "U1", 0, "talk").await;
    tap(&deployment, "e-2", "U1", 0, "repair").await;
    tap(&deployment, "e-3", "U2", 0, "repair").await;
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;

    let staff = Watcher { caller: "operator", view: View::Staff("anna") };
    let queue = Watcher { caller: "operator", view: View::Queue("repair") };
    let (desk_token, there, _) = present(staff, &address).await;
    let conversation = there.iter().find(|one| !one.customer.is_empty()).unwrap();
    let customer = &conversation.customer;
    let (queue_token, there, mut open) = present(queue, &address).await;
    let case = there.iter().find(|one| one.customer == *customer).unwrap();
    assert_eq!(there.len(), 2);

    let body = json!({"requestId": "r-1", "customer": customer, "force": true});
    deployment.call("operator", "identity-merge", "erase-customer", body).await.unwrap();
    let all = format!("customer.{customer}.>");
    eventually("nothing of the customer is left", async || {
        let left = deployment.subjects(topology::ROUTING, &all).await;
        left.keys().all(|subject| !subject.ends_with(".conversation")).then_some(())
    })
    .await;

    // Whoever looked on saw the case given up.
    let mut seen = Vec::new();
    while seen.last() != Some(&"QUEUE_CHANGE_WITHDRAWN") {
        if let (_, Some(told)) = next(&mut open).await.unwrap().unwrap() {
            assert_eq!(told.key, case.key);
            seen.push(told.change);
        }
    }
    assert_eq!(seen, ["QUEUE_CHANGE_CANCELLED", "QUEUE_CHANGE_WITHDRAWN"]);
    for (watcher, token, key, change) in [
        (staff, desk_token, &conversation.key, "DESK_CHANGE_WITHDRAWN"),
        (queue, queue_token, &case.key, "QUEUE_CHANGE_WITHDRAWN"),
    ] {
        let mut stream = watcher.open(&address, &token).await.unwrap();
        let told = loop {
            let (_, told) = next(&mut stream).await.unwrap().unwrap();
            if let Some(told) = told.filter(|told| told.change != "QUEUE_CHANGE_CANCELLED") {
                break told;
            }
        };
        assert_eq!((&told.key, told.change, told.customer.as_str()), (key, change, ""));
    }
}
