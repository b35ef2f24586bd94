//! Ten thousand messages to people through a LINE that loses answers after accepting, fails before
//! accepting, is slow, takes no more than so many calls and resets connections, while senders are
//! killed: everybody sees each message at most once, and what nobody saw has failed and says why.
//!
//! `MAINSTEM_MESSAGES=2000` sends so many; `MAINSTEM_SEED=8` meets other faults.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::stream::{self, StreamExt as _};
use mainstem_bus::Machine as _;
use mainstem_bus::engine::kind;
use mainstem_bus::topology::{NOTIFICATION, OUTBOX};
use mainstem_cli::report::report;
use mainstem_domain::ItemId;
use mainstem_domain::notification::{Event as Decided, Outcome};
use mainstem_line_sandbox::Ledger;
use mainstem_notification::NotificationMachine;
use mainstem_tests::deployment::{
    Deployment, Event, PATIENCE, Service, configuration, counted, eventually, eventually_within,
};
use mainstem_tests::tools;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

const MESSAGES: usize = 10_000;
const SEED: u64 = 6;
/// Some accounts, so that a slow call holds up little.
const ACCOUNTS: usize = 8;
const PEOPLE: usize = 200;
/// As often a sender is killed.
const KILLS: usize = 6;
const AT_ONCE: usize = 64;

const TRANSACTIONAL: &str = "MESSAGE_CLASS_TRANSACTIONAL";
const MARKETING: &str = "MESSAGE_CLASS_MARKETING";

fn account(number: usize) -> String {
    format!("line-{}", number % ACCOUNTS + 1)
}

/// Few are with the account that takes few calls.
fn account_of(person: usize) -> String {
    if person < 4 { account(0) } else { account(1 + person % (ACCOUNTS - 1)) }
}

fn user(person: usize) -> String {
    format!("U{person:032x}")
}

/// Of a hundred pushes ten or so go wrong, and one takes some seconds.
fn faults(seed: u64) -> Value {
    let rule = |percent: f64, fault: Value| json!({"endpoint": "push", "percent": percent, "fault": fault});
    json!({"seed": seed, "rules": [
        rule(3.0, json!({"answer_lost": "status500"})),
        rule(2.0, json!({"answer_lost": "reset"})),
        rule(5.0, json!("failed")),
        rule(100.0, json!({"latency": {"p50_ms": 10, "p99_ms": 3_000}})),
    ]})
}

struct Stand {
    senders: Vec<Service>,
    /// Run for as long as this does.
    _services: [Service; 3],
    line: String,
    settings: Vec<(&'static str, String)>,
    http: reqwest::Client,
    deployment: Deployment,
}

impl Stand {
    /// With so many senders, each of which makes so many calls for an account at once.
    async fn open(senders: usize, concurrency: &str) -> Option<Self> {
        let deployment = Deployment::start(SERVICE).await?;
        let accounts = deployment.folder().join("accounts.toml");
        let credentials = (0..ACCOUNTS).map(account).fold(String::new(), |mut text, id| {
            writeln!(
                text,
                "[channels.{id}]\nprovider = \"p1\"\ndestination = \"U{:032x}\"\n\
                 channel_id = \"{id}\"\nsecret = \"secret-of-{id}\"\n",
                id.len() + text.len(),
            )
            .unwrap();
            text
        });
        std::fs::write(&accounts, credentials).unwrap();
        let accounts = accounts.display().to_string();
        let mut settings = vec![
            ("MAINSTEM__INGRESS__CHANNELS_FILE", accounts.clone()),
            ("MAINSTEM__SENDER__CHANNELS_FILE", accounts),
            ("MAINSTEM__SENDER__CONCURRENCY", concurrency.to_owned()),
        ];
        let start = |name: &str, settings: &[(&'static str, String)]| {
            let settings: Vec<_> =
                settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
            deployment.service_with(name, &settings)
        };
        let platform = start("line-sandbox", &settings);
        let line = eventually("the stand-in of LINE listens", async || platform.http()).await;
        let line = format!("http://{line}");
        settings.push(("MAINSTEM__SENDER__LINE_API_URL", line.clone()));
        let services =
            [platform, start("identity-merge", &settings), start("notification", &settings)];
        let senders = (0..senders).map(|_| start("sender", &settings)).collect();
        let mut directory = serde_json::to_value(configuration()).unwrap();
        for number in 0..ACCOUNTS {
            directory["channels"][account(number)] =
                json!({"brand": "aurora", "store": "taipei-1"});
        }
        let directory = serde_json::from_value(directory).unwrap();
        deployment.apply(&directory, &["identity-merge", "notification"]).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Some(Self { senders, _services: services, line, settings, http, deployment })
    }

    /// Everybody is a friend of one account, and known; the customers.
    async fn people(&self) -> Vec<String> {
        for person in 0..PEOPLE {
            let (channel, user) = (account_of(person), user(person));
            let url = format!("{}/sandbox/accounts/{channel}/friends/{user}", self.line);
            let befriended = self.http.put(url).json(&json!("friend")).send().await.unwrap();
            assert!(befriended.status().is_success(), "{befriended:?}");
            let event =
                Event { channel, postback: "menu=hi".to_owned(), ..Event::repair(&user, &user) };
            self.deployment.publish(&event).await;
        }
        self.deployment.caught_up("identity-merge", "INBOUND").await;
        self.deployment.caught_up("notification", "CUSTOMER").await;
        let find = |person: usize| async move {
            let body = json!({"identifier": format!("line:p1:{}", user(person))});
            let found =
                self.deployment.call("operator", "identity-merge", "resolve-customer", body);
            found.await.unwrap()["customer"]["customer"].as_str().unwrap().to_owned()
        };
        stream::iter(0..PEOPLE).map(find).buffered(16).collect().await
    }

    /// `calls_per_second`: of the first account.
    async fn set(&self, faults: &Value, calls_per_second: u32) {
        let url = format!("{}/sandbox/faults", self.line);
        assert!(self.http.put(url).json(faults).send().await.unwrap().status().is_success());
        let url = format!("{}/sandbox/accounts/{}", self.line, account(0));
        let limits = json!({"limits": {"push": calls_per_second}});
        let changed = self.http.patch(url).json(&limits).send().await.unwrap();
        assert!(changed.status().is_success(), "{}", changed.text().await.unwrap());
    }

    async fn ledger(&self) -> Ledger {
        let url = format!("{}/sandbox/ledger", self.line);
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Asks for a message; the item, and what it says.
    async fn send(&self, number: usize, customer: &str, class: &str) -> (ItemId, String) {
        let text = format!("message {number}");
        let body = json!({
            "requestId": format!("m-{number}"), "customer": customer, "text": text,
            "class": class,
        });
        let sent = self.deployment.call("operator", "notification", "send", body).await.unwrap();
        (sent["delivery"]["item"].as_str().unwrap().parse().unwrap(), text)
    }

    /// What people are told, who they are and what opens accounts stands in no log of any level, also not
    /// in those of processes that were killed.
    fn assert_nothing_personal_is_logged(&self) {
        let files = std::fs::read_dir(self.deployment.folder()).unwrap();
        let logs = files.map(|file| file.unwrap().path());
        let logs: Vec<_> =
            logs.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
        assert!(logs.len() >= 5 + KILLS, "{logs:?}");
        for log in logs {
            let text = std::fs::read_to_string(&log).unwrap();
            for planted in ["message 1", &user(1)[..28], "secret-of-", "access-to-"] {
                assert!(!text.contains(planted), "{planted} stands in {}", log.display());
            }
        }
    }

    /// Kills senders by turns, each when so many messages were accepted by LINE, and starts them
    /// again.
    async fn strike(&mut self, seed: u64, messages: usize) {
        let mut draws = ChaCha8Rng::seed_from_u64(seed);
        for kill in 0..KILLS {
            let at = messages * (kill + 1) / (KILLS + 2);
            eventually("messages are sent", async || {
                let accepted = self.ledger().await.totals.accepted;
                (accepted >= at as u64).then_some(())
            })
            .await;
            let index = draws.random_range(0..self.senders.len());
            println!("sender {index} is killed after {at} messages");
            self.senders[index].kill();
            let settings: Vec<_> =
                self.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
            self.senders[index] = self.deployment.service_with("sender", &settings);
        }
        // Whoever starts says to the broker how long an item may be in hand.
        eventually("every sender sends", async || {
            self.senders.iter().all(|sender| sender.log().contains(" sends ")).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_each_message_at_most_once_whatever_line_does() {
    let number = |name: &str| tools::variable(name).map(|text| text.parse().expect("a number"));
    let seed = number("MAINSTEM_SEED").unwrap_or(SEED);
    let messages = number("MAINSTEM_MESSAGES")
        .map_or(MESSAGES, |messages| usize::try_from(messages).expect("a number"));
    println!("seed {seed}: {messages} messages");
    let Some(mut stand) = Stand::open(2, "32").await else { return };
    let customers = stand.people().await;
    stand.set(&faults(seed), 10).await;

    let asked: BTreeMap<ItemId, String> = {
        let stand = &stand;
        let customers = &customers;
        let asked = stream::iter(0..messages)
            .map(|number| stand.send(number, &customers[number % customers.len()], TRANSACTIONAL));
        asked.buffer_unordered(AT_ONCE).collect().await
    };
    assert_eq!(asked.len(), messages, "each has an item of its own");
    stand.strike(seed, messages).await;
    stand.deployment.hand_out_again_soon().await;
    // Of so many messages one or the other fails six times, and then rests for more than a minute.
    let report = eventually_within(PATIENCE * 4, "everything has ended", async || {
        let waiting = stand.deployment.subjects(OUTBOX, "outbox.>").await;
        let report = report(&stand.deployment.bus, Some(&stand.line)).await.ok()?;
        (waiting.is_empty() && report.requests.waiting == 0).then_some(report)
    })
    .await;
    println!("{report:?}");
    assert_eq!((report.lost, report.doubled), (0, 0));

    // As people saw it.
    let ledger = stand.ledger().await;
    println!("{:?}", ledger.totals);
    assert_eq!((ledger.doubled, ledger.doubled_by_trace), (0, 0));
    let mut shown = BTreeMap::new();
    for message in &ledger.messages {
        *shown.entry(message.texts.concat()).or_insert(0) += 1;
    }
    let twice: Vec<_> = shown.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let met = [ledger.totals.answers_lost, ledger.totals.repeated, ledger.totals.rate_limited];
    assert!(met.iter().all(|times| *times > 0), "{:?}", ledger.totals);

    // As the ledger has it.
    let (records, _) = counted(stand.deployment.read(NOTIFICATION).await);
    let records = records.iter().filter(|one| !one.record.kind().starts_with(kind::OWN));
    let mut ended: BTreeMap<ItemId, Outcome> = BTreeMap::new();
    for record in records {
        if let Decided::Settled { id, outcome, .. } = NotificationMachine::decode(record).unwrap() {
            assert_eq!(ended.insert(id, outcome), None, "{id} ended twice");
        }
    }
    for (item, text) in &asked {
        match &ended[item] {
            Outcome::Sent => assert_eq!(shown.get(text), Some(&1), "{item} is said to be sent"),
            other @ (Outcome::Suppressed { .. }
            | Outcome::Expired { .. }
            | Outcome::Failed { .. }) => {
                assert!(other.reason().is_some_and(|reason| !reason.is_empty()), "{other:?}");
                assert_eq!(shown.get(text), None, "{item} was seen, and ended as {other:?}");
            }
        }
    }
    stand.assert_nothing_personal_is_logged();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_wait_for_goes_before_marketing() {
    let Some(mut stand) = Stand::open(1, "1").await else { return };
    let customers = stand.people().await;
    assert!(stand.senders[0].stop());
    let slow = json!({"latency": {"p50_ms": 100, "p99_ms": 100}});
    let faults =
        json!({"seed": 1, "rules": [{"endpoint": "push", "percent": 100.0, "fault": slow}]});
    stand.set(&faults, 100).await;
    let friends: Vec<_> = (0..PEOPLE).filter(|person| account_of(*person) == account(1)).collect();
    for person in &friends {
        stand.send(*person, &customers[*person], MARKETING).await;
    }
    let (_, awaited) = stand.send(PEOPLE, &customers[friends[0]], TRANSACTIONAL).await;
    let all = friends.len() + 1;
    eventually("all wait", async || (stand.deployment.count(OUTBOX).await == all).then_some(()))
        .await;
    let settings: Vec<_> = stand.settings.iter().map(|(key, it)| (*key, it.as_str())).collect();
    stand.senders[0] = stand.deployment.service_with("sender", &settings);
    let told = eventually("all are told", async || {
        let told = stand.ledger().await.messages;
        (told.len() == all).then_some(told)
    })
    .await;
    let place = told.iter().position(|message| message.texts.concat() == awaited).unwrap();
    // A few may have been at hand before the broker gave the one that is waited for.
    assert!(place < 3, "it came after {place} of {all}");
}
