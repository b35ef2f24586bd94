//! `kill -9` in the middle of the demo's traffic: of every service, and of a nats-server that syncs
//! always.
//!
//! The seed says what customers do, who is killed, when and for how long. Time is told in webhooks
//! that were sent, so a seed hits a slow machine at the same places as a fast one, but for what the
//! processes themselves race for.
//!
//! `MAINSTEM_KILLS=50` kills so many processes of services, and a fifth as often nats-server;
//! `MAINSTEM_SEED=8` plays another day.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use futures::FutureExt as _;
use mainstem_bus::engine::kind;
use mainstem_bus::nats::replay;
use mainstem_bus::record::header;
use mainstem_bus::topology::{CUSTOMER, INBOUND, OUTBOX, QUEUES, ROUTING};
use mainstem_bus::{Machine, Stored, sha256_hex};
use mainstem_cli::report::{Report, report};
use mainstem_cli::tree;
use mainstem_cli::what_if::{Window, again};
use mainstem_domain::configuration::{ChannelKind, Configuration};
use mainstem_domain::notification::{Event, Outcome};
use mainstem_domain::{At, ItemId, routing};
use mainstem_identity_merge::IdentityMachine;
use mainstem_line_sandbox::{Ledger, PlayRequest, Progress};
use mainstem_notification::NotificationMachine;
use mainstem_proto::routing::MESSAGE_REQUESTED;
use mainstem_routing::RoutingMachine;
use mainstem_runtime::service::wall_clock;
use mainstem_sender::Limits;
use mainstem_tests::deployment::{Deployment, Service, counted, eventually};
use mainstem_tests::tools;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

const SEED: u64 = 4;
/// Of services, in a run without further wishes.
const KILLS: u64 = 5;
const BROKER_KILLS: u64 = 2;

/// Killed by turns, so that a short run leaves none out.
const SERVICES: [&str; 5] = ["identity-merge", "routing", "notification", "ingress", "sender"];
const BROKER: &str = "nats-server";
/// One of them is a standby.
const INSTANCES_OF_ROUTING: usize = 2;

/// Some seconds of traffic, about what it takes to be well again.
const EVENTS_FOR_A_KILL: u64 = 120;
/// Less than the machine takes, so that each kill finds what it kills at work and not far behind.
const EVENTS_PER_SECOND: u64 = 80;
/// So many seconds of the clock are one. A reply right then ends after seconds, and what waited for
/// a writer becomes a push: kills meet both.
const SPEED: u64 = 8;

/// Every reader, and what it has to have read.
const READERS: [(&str, &str); 4] = [
    ("identity-merge", INBOUND),
    ("routing", CUSTOMER),
    ("notification", CUSTOMER),
    ("notification", ROUTING),
];

/// One process is killed, and started again.
struct Kill {
    /// When so many thousandths of the day's webhooks were sent.
    at: u64,
    who: &'static str,
    /// Which of its instances.
    instance: usize,
    /// It stays away for so many further webhooks.
    away: u64,
}

fn plan(seed: u64, services: u64, broker: u64) -> Vec<Kill> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let mut who: Vec<_> = (0..broker).map(|_| BROKER).collect();
    let mut turn = Vec::new();
    for _ in 0..services {
        if turn.is_empty() {
            turn.extend(SERVICES);
            turn.shuffle(&mut draws);
        }
        who.extend(turn.pop());
    }
    who.shuffle(&mut draws);
    let mut at: Vec<u64> = who.iter().map(|_| draws.random_range(10..950)).collect();
    at.sort_unstable();
    let kills = at.into_iter().zip(who).map(|(at, who)| {
        let away = match (draws.random(), who) {
            (true, _) => 0,
            // Longer than ingress waits for it.
            (false, BROKER) => draws.random_range(40..=80),
            (false, _) => draws.random_range(1..=24),
        };
        Kill { at, who, instance: draws.random_range(0..INSTANCES_OF_ROUTING), away }
    });
    kills.collect()
}

/// Everything that runs. Services end before the broker that they use.
struct Retailer {
    services: Vec<(&'static str, Service)>,
    _platform: Service,
    /// Where the stand-in of LINE is.
    line: String,
    settings: Vec<(&'static str, String)>,
    example: Configuration,
    http: reqwest::Client,
    deployment: Deployment,
}

impl Retailer {
    async fn start() -> Option<Self> {
        let sync = "jetstream { sync_interval: always }\n";
        let deployment = Deployment::start_on(SERVICE, true, sync).await?;
        let files = tree::read(&tools::workspace().join("deploy/example")).unwrap();
        let mut example = tree::merge(&files).unwrap();
        // What is told at night is told, and the test does not wait for the morning.
        example.notification.quiet_hours = None;
        let accounts = deployment.folder().join("accounts.toml");
        std::fs::write(&accounts, credentials(&example)).unwrap();
        let accounts = accounts.display().to_string();
        let now = wall_clock().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let now = At::from_millis(i64::try_from(now).unwrap());
        let mut settings = vec![
            ("MAINSTEM__CLOCK__SPEED", format!("{SPEED}.0")),
            ("MAINSTEM__CLOCK__ORIGIN_REAL", now.to_string()),
            ("MAINSTEM__CLOCK__ORIGIN_VIRTUAL", "2026-11-21T02:00:00Z".to_owned()),
            // Some restarts begin from one.
            ("MAINSTEM__ENGINE__SNAPSHOT_EVERY_RECORDS", "200".to_owned()),
            ("MAINSTEM__INGRESS__CHANNELS_FILE", accounts.clone()),
            ("MAINSTEM__SENDER__CHANNELS_FILE", accounts),
        ];
        let platform = started(&deployment, "line-sandbox", &settings);
        let line = eventually("the stand-in of LINE listens", async || platform.http()).await;
        let line = format!("http://{line}");
        settings.push(("MAINSTEM__SENDER__LINE_API_URL", line.clone()));
        settings.push(("MAINSTEM__INGRESS__LINE_API_URL", line.clone()));
        settings.push(("MAINSTEM__INGRESS__LINE_DATA_URL", line.clone()));
        let mut services = Vec::new();
        for name in SERVICES {
            let instances = if name == "routing" { INSTANCES_OF_ROUTING } else { 1 };
            services.extend((0..instances).map(|_| (name, started(&deployment, name, &settings))));
        }
        deployment.apply(&example, &["identity-merge", "routing", "notification"]).await;
        let ingress = eventually("ingress works by the example", async || {
            let (_, ingress) = services.iter().find(|(name, _)| *name == "ingress")?;
            let configured = ingress.log().contains("another configuration is in force");
            ingress.http().filter(|_| configured)
        })
        .await;
        // LINE knows it by this address, so it comes back there.
        settings.push(("MAINSTEM__INGRESS__HTTP_LISTEN", ingress));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Some(Self { services, _platform: platform, line, settings, example, http, deployment })
    }

    async fn ask<Answer: DeserializeOwned>(&self, what: &str) -> Answer {
        let url = format!("{}/sandbox/{what}", self.line);
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// A day of customers.
    fn day(&self, seed: u64, events: u64) -> PlayRequest {
        let (_, ingress) = self.settings.last().unwrap();
        PlayRequest {
            webhook_base: format!("http://{ingress}"),
            seed,
            events: usize::try_from(events).unwrap(),
            users: usize::try_from(events / 5).unwrap(),
            redeliver_percent: 5,
            minutes: u32::try_from((events * SPEED).div_ceil(EVENTS_PER_SECOND * 60)).unwrap(),
            entry: self.example.entry.as_ref().map(|entry| entry.channel.clone()),
            brands: self.example.brands.keys().map(ToString::to_string).collect(),
            strange_percent: 0,
            reorder_percent: 0,
        }
    }

    /// Plays a day, and kills meanwhile.
    async fn play(&mut self, day: &PlayRequest, kills: &[Kill]) -> Progress {
        let play = self.http.post(format!("{}/sandbox/play", self.line)).json(day).send();
        let play = async { play.await.unwrap().json().await.unwrap() };
        let kill = async {
            for kill in kills {
                self.strike(kill).await;
            }
            eventually("every process runs", async || {
                self.start_again_what_ended();
                self.services.iter().all(|(_, service)| runs(service)).then_some(())
            })
            .await;
        };
        futures::join!(play, kill).0
    }

    async fn strike(&mut self, kill: &Kill) {
        let at = eventually("the day goes on", async || {
            self.start_again_what_ended();
            let Progress { sent, deliveries, .. } = self.ask("progress").await;
            (deliveries > 0 && sent * 1_000 >= deliveries * kill.at).then_some(sent)
        })
        .await;
        let Kill { who, away, .. } = *kill;
        println!("webhook {at}: {who} is killed, for {away} webhooks");
        let instance = self.instance(kill);
        match instance {
            Some(index) => self.services[index].1.kill(),
            None => self.deployment.server.kill(),
        }
        eventually("it has been away for long enough", async || {
            let Progress { sent, running, .. } = self.ask("progress").await;
            (sent >= at + away || !running).then_some(())
        })
        .await;
        if let Some(index) = instance {
            self.services[index].1 = self.started(who);
        } else {
            self.deployment.server.start_again();
            self.deployment.reconnect().await;
        }
    }

    /// The service that is killed; `None` for the broker.
    fn instance(&self, kill: &Kill) -> Option<usize> {
        let instances = self.services.iter().enumerate().filter(|(_, (name, _))| *name == kill.who);
        let instances: Vec<_> = instances.map(|(index, _)| index).collect();
        instances.get(kill.instance % instances.len().max(1)).copied()
    }

    fn started(&self, name: &str) -> Service {
        started(&self.deployment, name, &self.settings)
    }

    /// As whatever watches over processes does: one that finds no broker when it starts ends, and is
    /// started until it does.
    ///
    /// # Panics
    /// When one ends that had started: the broker's death is nothing to end of.
    fn start_again_what_ended(&mut self) {
        for index in 0..self.services.len() {
            let (name, service) = &mut self.services[index];
            let Some((_, log)) = service.ended().now_or_never() else { continue };
            let name = *name;
            assert!(!log.contains("error: the task "), "{name} ended by itself:\n{log}");
            println!("{name} did not start: {}", log.lines().last().unwrap_or_default());
            self.services[index].1 = self.started(name);
        }
    }
}

fn runs(service: &Service) -> bool {
    let log = service.log();
    log.contains(" listens") || log.contains(" sends ")
}

fn started(deployment: &Deployment, name: &str, settings: &[(&str, String)]) -> Service {
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    deployment.service_with(name, &settings)
}

/// The credentials of every account; each third is of another provider.
fn credentials(example: &Configuration) -> String {
    let accounts = example.channels.iter().filter(|(_, one)| one.kind == ChannelKind::Line);
    accounts.enumerate().fold(String::new(), |mut text, (number, (id, _))| {
        let destination = &sha256_hex(id.as_str().as_bytes())[..32];
        writeln!(
            text,
            "[channels.{id}]\nprovider = \"p{}\"\ndestination = \"U{destination}\"\n\
             secret = \"secret-of-{id}\"\naccess_token = \"access-to-{id}\"\n",
            number % 3,
        )
        .unwrap();
        text
    })
}

impl Retailer {
    /// Waits until nobody has anything left to do, and counts.
    async fn quiet(&self) -> Report {
        self.deployment.hand_out_again_soon().await;
        for (service, upstream) in READERS {
            self.deployment.caught_up(service, upstream).await;
        }
        eventually("every message has been sent", async || {
            let waiting = self.deployment.subjects(OUTBOX, "outbox.>").await;
            if !waiting.is_empty() {
                return None;
            }
            let report = report(&self.deployment.bus, Some(&self.line)).await.ok()?;
            // The broker copies to OUTBOX a moment later, so an empty one says little.
            (report.deliveries_waiting == 0).then_some(report)
        })
        .await
    }

    /// The records of a ledger that count, without the engine's own.
    async fn decided<M: Machine>(&self) -> Vec<Stored> {
        let (mut counted, void) = counted(self.deployment.read(M::LEDGER).await);
        assert_eq!(void, 0, "{}: something came behind the fence", M::LEDGER);
        counted.retain(|message| !message.record.kind().starts_with(kind::OWN));
        counted
    }

    /// No event opened two cases, and each case that is open is on its queue, once.
    async fn assert_one_case_each(&self) {
        let (mut opened, mut queued) = (BTreeMap::new(), BTreeSet::new());
        for message in self.decided::<RoutingMachine>().await {
            let event = RoutingMachine::decode(&message).unwrap();
            if let routing::Event::Opened { id, case } = event {
                let routing::Opener::Event { event, .. } = case.opener else {
                    panic!("{id} was opened by nobody's event")
                };
                *opened.entry((case.channel, event)).or_insert(0) += 1;
            } else if let routing::Event::Queued { id, .. } = event {
                assert!(queued.insert(id.to_string()), "{id} is queued twice");
            }
        }
        assert_eq!(opened.len(), queued.len());
        assert!(opened.values().all(|times| *times == 1), "{opened:?}");
        let items = eventually("every case is on its queue", async || {
            let items = self.deployment.subjects(QUEUES, "queue.>").await;
            (items.len() >= queued.len()).then_some(items)
        })
        .await;
        assert!(items.values().all(|times| *times == 1), "{items:?}");
        let cases = items.keys().filter_map(|subject| subject.rsplit('.').next());
        assert_eq!(cases.map(str::to_owned).collect::<BTreeSet<_>>(), queued);
    }

    /// Everything that a customer was to be told ended, and ended once.
    async fn assert_told_once(&self) {
        let (mut ended, mut unknown, mut begun) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for Stored { record, .. } in self.decided::<RoutingMachine>().await {
            if record.kind() == MESSAGE_REQUESTED {
                ended.insert(ItemId::derive(record.header(header::ID).unwrap()), 0);
            }
        }
        for message in self.decided::<NotificationMachine>().await {
            let event = NotificationMachine::decode(&message).unwrap();
            if let Event::Begun { id, attempt, .. } = &event {
                let (process, _) = attempt.split_once('/').unwrap();
                begun.entry(*id).or_insert_with(BTreeSet::new).insert(process.to_owned());
            }
            let (Event::Settled { id, outcome, .. } | Event::Ended { id, outcome, .. }) = &event
            else {
                continue;
            };
            if let Outcome::Failed { reason } = outcome {
                assert_eq!(reason, "reply unknown", "{event:?}");
                unknown.push(*id);
            }
            *ended.entry(*id).or_insert(0) += 1;
        }
        let odd: Vec<_> = ended.iter().filter(|(_, times)| **times != 1).collect();
        assert!(odd.is_empty(), "of {} items these did not end once: {odd:?}", ended.len());
        // A reply that was in the hand of a sender when it was killed is not said again; any other is.
        println!("{} of {} replies and pushes ended as unknown", unknown.len(), ended.len());
        let by_one = unknown.iter().filter(|id| begun.get(*id).map_or(0, BTreeSet::len) < 2);
        let by_one = by_one.count();
        assert!(by_one <= Limits::default().in_work_by_channel, "{by_one} were not tried again");
    }

    /// The ledger holds what the rules make of its upstreams, and nothing else.
    async fn assert_as_decided<M: Machine>(&self) {
        let replayed = replay::<M>(&self.deployment.bus, None).await.unwrap();
        assert!(replayed.inputs > 0, "{}", M::LEDGER);
        assert!(replayed.differences.is_empty(), "{:#?}", replayed.differences);
    }
}

impl Retailer {
    /// Lived through again under the rules that were in force, the day is the same.
    async fn assert_nothing_would_differ(&self) {
        let rules = self.example.rules.clone();
        let outcome = again(&self.deployment.bus, rules, &Window::default()).await.unwrap();
        assert!(outcome.inputs > 0);
        assert!(outcome.differences.is_empty(), "{:#?}", outcome.differences);
        assert!(outcome.assumptions.is_empty(), "{:#?}", outcome.assumptions);
        assert_eq!(outcome.was, outcome.would);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_nothing_is_lost_and_nothing_doubled() {
    let number = |name: &str| tools::variable(name).map(|text| text.parse().expect("a number"));
    let seed = number("MAINSTEM_SEED").unwrap_or(SEED);
    let services = number("MAINSTEM_KILLS").unwrap_or(KILLS);
    let broker = BROKER_KILLS.max(services / 5);
    println!("seed {seed}: {services} kills of services, {broker} of the broker");
    let kills = plan(seed, services, broker);
    let Some(mut retailer) = Retailer::start().await else { return };

    let day = retailer.day(seed, (services + broker) * EVENTS_FOR_A_KILL);
    let played = Box::pin(retailer.play(&day, &kills)).await;
    println!("{played:?}");
    assert!(played.delivered * 2 > played.deliveries, "ingress was hardly there");
    let report = retailer.quiet().await;
    println!("{report:?}");
    let Report { lost, doubled, out_of_order, voided, dead_lettered, .. } = report;
    let wrong = [lost, doubled, out_of_order, voided, dead_lettered];
    assert_eq!(wrong, [0; 5], "lost, doubled, out of order, voided, dead letters");
    let ledger: Ledger = retailer.ask("ledger").await;
    assert_eq!((ledger.doubled, ledger.doubled_by_trace), (0, 0), "somebody saw a message twice");

    retailer.assert_one_case_each().await;
    retailer.assert_told_once().await;
    retailer.assert_as_decided::<IdentityMachine>().await;
    retailer.assert_as_decided::<RoutingMachine>().await;
    retailer.assert_as_decided::<NotificationMachine>().await;
    retailer.assert_nothing_would_differ().await;
}
