//! A customer's journey on a real nats-server with the users of the topology: the timeline over all
//! ledgers, the watch that goes on where it ended, and what keeps a customer from being forgotten.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::HeaderMap;
use data_encoding::BASE64URL_NOPAD;
use mainstem_bus::nats::{Inbound, InboundMessage};
use mainstem_bus::record::header;
use mainstem_bus::{Stored, TraceContext, topology};
use mainstem_domain::{At, Refusal, RefusalCode};
use mainstem_proto::wire::identity as wire;
use mainstem_proto::wire::identity::identity_service_client::IdentityServiceClient;
use mainstem_tests::deployment::{Deployment, Event, Service, configuration, counted, eventually};
use mainstem_tests::users;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const LEDGERS: [&str; 3] = [topology::CUSTOMER, topology::ROUTING, topology::NOTIFICATION];

async fn ask(deployment: &Deployment, endpoint: &str, body: Value) -> Result<Value, Refusal> {
    deployment.call("operator", "identity-merge", endpoint, body).await
}

/// Publishes an event of a member.
async fn member(deployment: &Deployment, id: &str, member: &str) {
    let now = "2026-11-21T09:00:00.000Z";
    let body = json!({
        "id": id, "channel": "shop", "business": "BUSINESS_ACT_MEMBER_UPDATED",
        "identifiers": [{"identifier": format!("member:{member}"), "verified": true}],
        "occurTime": now, "receiveTime": now,
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

async fn owner(deployment: &Deployment, identifier: &str) -> String {
    eventually("somebody is known", async || {
        let body = json!({ "identifier": identifier });
        let found = ask(deployment, "resolve-customer", body).await.ok()?;
        Some(found["customer"]["customer"].as_str()?.to_owned())
    })
    .await
}

/// The whole timeline, in pages of this size.
async fn timeline(deployment: &Deployment, customer: &str, size: i32, from: &Value) -> Vec<Value> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let body = json!({
            "customer": customer, "pageSize": size, "pageToken": token, "from": from,
        });
        let page = ask(deployment, "get-timeline", body).await.unwrap();
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= usize::try_from(size).unwrap());
        all.extend(entries.iter().cloned());
        match page["nextPageToken"].as_str() {
            None | Some("") => return all,
            Some(next) => next.clone_into(&mut token),
        }
    }
}

fn place(entry: &Value) -> (At, usize, u64) {
    let ledger = LEDGERS.iter().position(|ledger| entry["ledger"] == *ledger).unwrap();
    let time = At::parse(entry["time"].as_str().unwrap()).unwrap();
    (time, ledger, entry["sequence"].as_str().unwrap().parse().unwrap())
}

/// What the ledgers hold of these customers and counts, in the order of the decisions.
async fn held(deployment: &Deployment, customers: &[&str]) -> Vec<(At, usize, u64)> {
    let mut places = Vec::new();
    for (number, ledger) in LEDGERS.into_iter().enumerate() {
        let (records, _) = counted(deployment.read(ledger).await);
        let of = |message: &&Stored| {
            let parts: Vec<_> = message.record.subject.split('.').collect();
            parts[0] == "customer" && customers.contains(&parts[1])
        };
        places.extend(records.iter().filter(of).map(|message| {
            let time = message.record.header(header::RECORDED_TIME).unwrap();
            (At::parse(time).unwrap(), number, message.sequence)
        }));
    }
    places.sort_unstable();
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_has_every_record_of_every_ledger_once() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let names = ["identity-merge", "routing", "notification"];
    let mut services: Vec<Service> = names.iter().map(|name| deployment.service(name)).collect();
    deployment.apply(&configuration(), &names).await;
    deployment.publish(&Event::repair("e-1", "U1")).await;
    deployment.publish(&Event::repair("e-2", "U2")).await;
    member(&deployment, "e-3", "1").await;
    member(&deployment, "e-4", "2").await;
    let (person, other) =
        (owner(&deployment, "line:p1:U1").await, owner(&deployment, "line:p1:U2").await);
    let as_member = owner(&deployment, "member:1").await;
    let body = json!({"requestId": "r-1", "customer": person, "other": as_member});
    let merged = ask(&deployment, "merge-customers", body).await.unwrap();
    // The older one survives, and of one millisecond the one with the smaller id.
    let absorbed_first = merged["customer"]["customer"] == as_member.as_str();
    let (person, as_member) =
        if absorbed_first { (as_member, person) } else { (person, as_member) };
    assert_eq!(merged["customer"]["aliases"], json!([as_member]));
    // After the merge too, and by the other identifier.
    member(&deployment, "e-5", "1").await;
    deployment.caught_up("identity-merge", topology::INBOUND).await;
    deployment.caught_up("routing", topology::CUSTOMER).await;
    deployment.caught_up("notification", topology::ROUTING).await;
    deployment.caught_up("notification", topology::CUSTOMER).await;

    let whole = timeline(&deployment, &person, 500, &Value::Null).await;
    let places: Vec<_> = whole.iter().map(place).collect();
    assert_eq!(places, held(&deployment, &[&person, &as_member]).await);
    let ledgers: BTreeSet<_> = places.iter().map(|(_, ledger, _)| *ledger).collect();
    assert_eq!(ledgers.len(), 3, "{whole:?}");
    let owners: BTreeSet<_> = whole.iter().map(|one| one["customer"].as_str().unwrap()).collect();
    assert_eq!(owners, BTreeSet::from([person.as_str(), as_member.as_str()]));
    let postback = whole.iter().find(|one| one["body"]["postback"] == "menu=repair").unwrap();
    assert_eq!(postback["channel"], "line-1");
    assert_eq!((&postback["store"], &postback["brand"]), (&json!("taipei-1"), &json!("aurora")));
    assert_eq!(postback["occurTime"], "2026-11-21T09:00:00+00:00");
    let merge = whole.iter().find(|one| one["body"]["absorbed"] == as_member.as_str()).unwrap();
    assert_eq!(merge["actor"], "operator/test");
    // Whatever the page is, by whichever id.
    for (size, id) in [(1, &as_member), (2, &person), (7, &as_member)] {
        assert_eq!(timeline(&deployment, id, size, &Value::Null).await, whole);
    }
    // From the middle on.
    let middle = &whole[whole.len() / 2]["time"];
    let since = At::parse(middle.as_str().unwrap()).unwrap();
    let rest: Vec<_> = whole.iter().filter(|one| place(one).0 >= since).cloned().collect();
    assert!(rest.len() < whole.len());
    assert_eq!(timeline(&deployment, &person, 3, middle).await, rest);
    let late = json!("2100-01-01T00:00:00Z");
    assert_eq!(timeline(&deployment, &person, 3, &late).await, Vec::<Value>::new());
    let others = timeline(&deployment, &other, 2, &Value::Null).await;
    assert_eq!(others.iter().map(place).collect::<Vec<_>>(), held(&deployment, &[&other]).await);

    // What nobody may ask for.
    let page = ask(&deployment, "get-timeline", json!({"customer": other, "pageSize": 1})).await;
    let foreign = page.unwrap()["nextPageToken"].clone();
    for (body, field) in [
        (json!({"customer": "x"}), "customer"),
        (json!({"customer": person, "pageSize": -1}), "page_size"),
        (json!({"customer": person, "pageToken": "x"}), "page_token"),
        (json!({"customer": person, "pageToken": foreign}), "page_token"),
    ] {
        let refusal = ask(&deployment, "get-timeline", body).await.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::InvalidArgument, "{refusal}");
        assert_eq!(refusal.violations[0].field, field, "{refusal}");
    }
    let nobody = ask(&deployment, "get-timeline", json!({"customer": "C0000000000000000"})).await;
    assert_eq!(nobody.unwrap_err().code, RefusalCode::NotFound);

    // A stranger's record counts for nobody, and the writer begins another epoch behind it.
    let options = async_nats::ConnectOptions::new()
        .user_and_password(users::TEST.to_owned(), users::password(users::TEST));
    let client = options.connect(deployment.server.url()).await.unwrap();
    for epoch in ["0", "1"] {
        let mut headers = HeaderMap::new();
        headers.insert(header::EPOCH, epoch);
        headers.insert(header::CUSTOMER, person.as_str());
        headers.insert(header::TYPE, "mainstem.identity.customer-created.v1");
        let subject = format!("customer.{person}.identity");
        let jetstream = async_nats::jetstream::new(client.clone());
        // The second one comes behind another epoch.
        jetstream.publish_with_headers(subject, headers, "{}".into()).await.unwrap().await.unwrap();
        member(&deployment, &format!("e-6-{epoch}"), "1").await;
        deployment.caught_up("identity-merge", topology::INBOUND).await;
    }
    let longer = timeline(&deployment, &person, 1, &Value::Null).await;
    let places: Vec<_> = longer.iter().map(place).collect();
    assert_eq!(places, held(&deployment, &[&person, &as_member]).await);
    assert!(longer.len() > whole.len());

    erasure(&deployment, &as_member, &mut services[1]).await;
}

/// An open case keeps a customer from being forgotten, whatever the client says of it.
async fn erasure(deployment: &Deployment, customer: &str, routing: &mut Service) {
    let cases = deployment.call("operator", "routing", "list-cases", json!({})).await.unwrap();
    let survivor = ask(deployment, "get-customer", json!({"customer": customer})).await.unwrap();
    let survivor = survivor["customer"]["customer"].as_str().unwrap();
    let mut cases = cases["cases"].as_array().unwrap().iter();
    let case = cases.find(|case| case["customer"] == survivor).unwrap()["case"].as_str().unwrap();
    let body = json!({"requestId": "r-9", "customer": customer, "openCases": []});
    let refusal = ask(deployment, "erase-customer", body.clone()).await.unwrap_err();
    assert_eq!((refusal.reason.as_str(), &*refusal.metadata["cases"]), ("CASES_OPEN", case));
    let body = json!({"requestId": "r-10", "customer": customer});
    routing.kill();
    let trace = TraceContext::root("erase");
    let client = deployment.client("operator");
    let asked = body.to_string().into();
    let refusal = client.call("identity-merge", "erase-customer", asked, &trace).await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (RefusalCode::Unavailable, "CASES_UNKNOWN"),
        "{refusal}"
    );
    let body = json!({"requestId": "r-11", "customer": customer, "force": true});
    let erased = ask(deployment, "erase-customer", body.clone()).await.unwrap();
    assert!(erased["erasure"].is_string(), "{erased}");
    assert_eq!(ask(deployment, "erase-customer", body).await.unwrap(), erased);
}

type Client = IdentityServiceClient<Channel>;

async fn client(service: &Service) -> Client {
    let address = eventually("it listens", async || service.grpc()).await;
    eventually("a gRPC connection", async || {
        let endpoint = Channel::from_shared(format!("http://{address}")).ok()?;
        endpoint.connect().await.ok().map(IdentityServiceClient::new)
    })
    .await
}

async fn watch(
    client: &Client,
    role: &str,
    customer: &str,
    resume_token: &str,
) -> Result<Streaming<wire::WatchIdentityResponse>, Status> {
    let ask = wire::WatchIdentityRequest {
        customer: customer.to_owned(),
        resume_token: resume_token.to_owned(),
    };
    let mut request = Request::new(ask);
    let token: MetadataValue<_> = format!("Bearer token-{role}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    client.clone().watch_identity(request).await.map(tonic::Response::into_inner)
}

/// The next message; panics when none comes for long.
async fn next(
    watch: &mut Streaming<wire::WatchIdentityResponse>,
) -> Result<wire::WatchIdentityResponse, Status> {
    let next = tokio::time::timeout(Duration::from_secs(30), watch.message()).await;
    next.expect("a heartbeat comes at the latest").map(|message| message.expect("it never ends"))
}

/// The next record, and where to go on after it.
async fn record(
    watch: &mut Streaming<wire::WatchIdentityResponse>,
) -> (wire::TimelineEntry, String) {
    loop {
        let message = next(watch).await.unwrap();
        if let Some(record) = message.record {
            return (record, message.resume_token);
        }
    }
}

/// How a watch ends on which nothing comes any more.
async fn end(watch: &mut Streaming<wire::WatchIdentityResponse>) -> Status {
    loop {
        match next(watch).await {
            Ok(message) => assert_eq!(message.record, None),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_resumed_sees_everything_once() {
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let mut service = deployment.service("identity-merge");
    let mut calls = client(&service).await;
    member(&deployment, "e-0", "10").await;
    let before = owner(&deployment, "member:10").await;
    let mut quiet = watch(&calls, "desk", "", "").await.unwrap();
    let begun = next(&mut quiet).await.unwrap();
    assert_eq!(begun.record, None);
    let mut token = begun.resume_token.clone();
    let from = deployment.read(topology::CUSTOMER).await.last().unwrap().sequence;

    for (id, who) in [("e-1", "1"), ("e-2", "2"), ("e-3", "3")] {
        member(&deployment, id, who).await;
        owner(&deployment, &format!("member:{who}")).await;
    }
    let identities = async |deployment: &Deployment| -> Vec<u64> {
        let (records, _) = counted(deployment.read(topology::CUSTOMER).await);
        let identity = |one: &&Stored| one.record.subject.ends_with(".identity");
        let records = records.iter().filter(identity).map(|one| one.sequence);
        records.filter(|sequence| *sequence > from).collect()
    };
    let mut seen = Vec::new();
    while seen.len() < 3 {
        // Another watch for each record.
        let mut once = watch(&calls, "operator", "", &token).await.unwrap();
        let (found, next_token) = record(&mut once).await;
        assert_eq!(found.kind, "mainstem.identity.customer-created.v1");
        assert!(found.body.is_some() && found.time.is_some());
        seen.push(found.sequence);
        token = next_token;
    }
    assert_eq!(seen, identities(&deployment).await);
    // One that was open all the time saw the same.
    let mut open = Vec::new();
    while open.len() < 3 {
        open.push(record(&mut quiet).await.0.sequence);
    }
    assert_eq!(open, seen);
    // Only of one customer, from the beginning.
    let one = owner(&deployment, "member:2").await;
    let mut of_one = watch(&calls, "service", &one, &begun.resume_token).await.unwrap();
    let (found, _) = record(&mut of_one).await;
    assert_eq!((found.customer.as_str(), found.sequence), (one.as_str(), seen[1]));
    // And nothing else of anybody: a heartbeat comes, and one can go on from it.
    let heartbeat = next(&mut of_one).await.unwrap();
    assert_eq!(heartbeat.record, None);

    // A stop ends it, with an error that asks to come again.
    let (stopped, ended) = tokio::join!(
        tokio::task::spawn_blocking(move || (service.stop(), service)),
        end(&mut quiet)
    );
    let (well, _service) = stopped.unwrap();
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(well, "an open watch does not keep it from ending well");
    let again = deployment.service("identity-merge");
    calls = client(&again).await;
    let body = json!({"requestId": "r-1", "customer": before, "other": one});
    let refusal = ask(&deployment, "merge-customers", body).await.unwrap_err();
    assert_eq!(refusal.reason, "TOO_MANY_IDENTIFIERS");
    let body = json!({"customer": one, "identifier": "line:p1:U7"});
    ask(&deployment, "attach-identifier", body).await.unwrap();
    for token in [&token, &heartbeat.resume_token] {
        let customer = if *token == heartbeat.resume_token { one.as_str() } else { "" };
        let mut resumed = watch(&calls, "desk", customer, token).await.unwrap();
        let (found, _) = record(&mut resumed).await;
        assert_eq!(found.kind, "mainstem.identity.identifiers-attached.v1");
        assert_eq!(Some(&found.sequence), identities(&deployment).await.last());
    }

    // Whoever may not, and what is no token of this ledger.
    let refused = async |role: &str, customer: &str, token: &str| {
        watch(&calls, role, customer, token).await.map(|_| ()).unwrap_err()
    };
    assert_eq!(refused("unit", "", "").await.code(), Code::PermissionDenied);
    assert_eq!(refused("nobody", "", "").await.code(), Code::Unauthenticated);
    assert_eq!(refused("desk", "C0000000000000000", "").await.code(), Code::NotFound);
    let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    for wrong in ["x", &encoded("ROUTING=1@1/1")] {
        let status = refused("desk", "", wrong).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = tonic_types::StatusExt::get_error_details(&status);
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "resume_token");
    }
    for gone in ["CUSTOMER=100000@1/1", "CUSTOMER=1@1/1"] {
        let status = refused("desk", "", &encoded(gone)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{gone}");
        assert!(status.message().contains("without resume_token"), "{}", status.message());
    }
}
