//! What must hold at the end of every seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mainstem_bus::engine::{Answer, BrokenPromise, Engine, FoldError, Settings, Snapshot, kind};
use mainstem_bus::record::header;
use mainstem_bus::topology::{self, CUSTOMER, DEADLETTER, NOTIFICATION, ROUTING};
use mainstem_bus::{Epoch, Machine, Positions, Record, Stored};
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_proto::{notification, routing};
use mainstem_routing::RoutingMachine;

use super::broker::SimBroker;
use super::calls::Call;
use super::net::Net;
use super::twin;
use super::workload::Workload;
use super::world::{LEDGERS, World};

/// Which promise of the engine did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A ledger that was written by engines can be folded.
    Damaged,
    /// Everything that happens is dealt with in the end.
    Quiet,
    /// No record of an older epoch is stored behind a newer epoch.
    Fence,
    /// The same domain records as in a world in which nothing goes wrong.
    SameRecords,
    /// The same request gets the same answer, always and in both worlds.
    SameAnswer,
    /// Every user sees the same messages, once, as in a world in which nothing goes wrong.
    SameMessages,
    /// Every event that came in is decided once.
    DecidedOnce,
    /// No case opens twice.
    CaseOnce,
    /// No request leads to two items.
    ItemOnce,
    /// What was answered stands in the ledger.
    AnswerKept,
    /// A ledger says that everything was read.
    Positions,
    /// Every snapshot is what the log up to it gives.
    SameFold,
    /// Deciding the inputs again, in the order of the ledger, gives the ledger.
    Twin,
    /// What cannot be read is a dead letter, once for each reader.
    DeadLetters,
}

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub check: Check,
    /// How it shows.
    pub what: String,
}

impl Violation {
    /// This does not hold, as can be seen here.
    #[must_use]
    pub fn new(check: Check, what: impl Into<String>) -> Self {
        Self { check, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.what)
    }
}

type Checked = Result<(), Violation>;

fn ensure(holds: bool, check: Check, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation::new(check, what())) }
}

/// What a seed led to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Everything that does not hold.
    pub violations: Vec<Violation>,
    /// What went wrong in the rough world, and how often.
    pub happened: BTreeMap<&'static str, u64>,
}

/// Lives through a seed in both worlds, and looks at what is left.
#[must_use]
pub fn run(seed: u64, broken: Option<BrokenPromise>) -> Outcome {
    let workload = Workload::new(seed);
    let (mut calm, mut rough) = (World::calm(seed), World::rough(seed, broken));
    let lived = [calm.live(&workload), rough.live(&workload)];
    let ended = lived.iter().all(Result::is_ok);
    let mut checks = Vec::from(lived);
    checks.extend(LEDGERS.map(|ledger| no_late_records(&rough.net.broker, ledger)));
    if ended {
        checks.extend(at_the_end(&workload, &calm, &rough));
    }
    let violations = checks.into_iter().filter_map(Result::err).collect();
    Outcome { violations, happened: rough.net.happened }
}

fn at_the_end(workload: &Workload, calm: &World, rough: &World) -> Vec<Checked> {
    let broker = &rough.net.broker;
    let mut checks = vec![
        decided_once(broker, workload),
        cases_once(broker),
        items_once(broker),
        dead_letters(broker, workload),
        positions_noted(broker),
    ];
    checks.extend(LEDGERS.map(|ledger| same_records(&calm.net.broker, broker, ledger)));
    let (wanted, found) = (&calm.clients, &rough.clients);
    checks.push(same(Check::SameAnswer, &wanted.answered, &found.answered));
    checks.push(same(Check::SameMessages, &wanted.seen, &found.seen));
    checks.extend(ledger::<IdentityMachine>(rough));
    checks.extend(ledger::<RoutingMachine>(rough));
    checks.extend(ledger::<NotificationMachine>(rough));
    checks
}

fn ledger<M: Machine>(world: &World) -> [Checked; 3] {
    let (net, clients) = (&world.net, &world.clients);
    [
        same_fold::<M>(net),
        answers_kept::<M>(&net.broker, &clients.answered, &clients.sent),
        twin::replay::<M>(net, &clients.sent),
    ]
}

/// The records of a ledger that count.
pub(super) fn counted<'a>(broker: &'a SimBroker, ledger: &str) -> Vec<&'a Stored> {
    let mut epoch = Epoch::default();
    let counts = |message: &&Stored| {
        epoch.admit(epoch_of(&message.record), message.record.kind() == kind::EPOCH)
    };
    broker.messages(ledger).filter(counts).collect()
}

fn epoch_of(record: &Record) -> Option<u64> {
    record.header(header::EPOCH)?.parse().ok()
}

/// Of the domain, not of the engine, and no copy of one that was moved.
pub(super) fn is_domain(record: &Record) -> bool {
    !record.kind().starts_with(kind::OWN) && !record.is_moved()
}

fn no_late_records(broker: &SimBroker, ledger: &str) -> Checked {
    let mut newest = 0;
    for message in broker.messages(ledger) {
        let Some(epoch) = epoch_of(&message.record) else { continue };
        ensure(epoch >= newest, Check::Fence, || {
            format!("{ledger} {} has epoch {epoch} behind epoch {newest}", message.sequence)
        })?;
        newest = epoch;
    }
    Ok(())
}

fn decided_once(broker: &SimBroker, workload: &Workload) -> Checked {
    let mut decided = BTreeSet::new();
    for message in counted(broker, CUSTOMER) {
        let record = &message.record;
        if !is_domain(record) || record.kind().starts_with("mainstem.identity.") {
            continue;
        }
        let text = |name| record.header(name).unwrap_or_default().to_owned();
        let event = (text(header::CHANNEL), text(header::ID));
        ensure(decided.insert(event.clone()), Check::DecidedOnce, || format!("{event:?} twice"))?;
    }
    let missing: Vec<_> = workload.events.difference(&decided).collect();
    ensure(missing.is_empty(), Check::DecidedOnce, || format!("{missing:?} never"))
}

fn cases_once(broker: &SimBroker) -> Checked {
    let mut opened = BTreeSet::new();
    for message in counted(broker, ROUTING) {
        if message.record.kind() == routing::CASE_OPENED {
            let body = &message.record.body;
            ensure(opened.insert(body), Check::CaseOnce, || format!("{body:?} twice"))?;
        }
    }
    Ok(())
}

/// Among all records that writers stored, whether they count or not: what does not count is
/// sourced to the outbox all the same, and must then be the item that counts, in every word.
fn items_once(broker: &SimBroker) -> Checked {
    let mut items: BTreeMap<String, (&Record, usize)> = BTreeMap::new();
    let counts: BTreeSet<_> = counted(broker, NOTIFICATION).iter().map(|m| m.sequence).collect();
    for message in broker.messages(NOTIFICATION) {
        let record = &message.record;
        if record.kind() != notification::DELIVERY_QUEUED || epoch_of(record).is_none() {
            continue;
        }
        let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap_or_default();
        let (known, times) = items.entry(body["item"].to_string()).or_insert((record, 0));
        *times += usize::from(counts.contains(&message.sequence));
        ensure(*times <= 1, Check::ItemOnce, || format!("{body} twice"))?;
        ensure(known.body == record.body, Check::ItemOnce, || {
            format!("{body} was another before: {:?}", known.body)
        })?;
    }
    Ok(())
}

/// What must be the same of a record in both worlds.
type Same<'a> = (Vec<(&'a str, &'a str)>, &'a [u8]);

/// Epochs, positions and causes name places in the ledgers, which differ by the fences; the rest
/// of an input stands behind its first record, and is compared there.
const MAY_DIFFER: [&str; 4] = [header::EPOCH, header::POSITIONS, header::CAUSE, header::REST];

fn by_subject<'a>(broker: &'a SimBroker, ledger: &str) -> BTreeMap<&'a str, Vec<Same<'a>>> {
    let mut subjects: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for message in counted(broker, ledger) {
        let record = &message.record;
        if !is_domain(record) {
            continue;
        }
        let headers = record.headers.iter();
        let same =
            headers.filter(|(name, _)| !MAY_DIFFER.contains(name) && !name.starts_with("Nats-"));
        subjects
            .entry(record.subject.as_str())
            .or_default()
            .push((same.collect(), record.body.as_ref()));
    }
    subjects
}

fn same_records(calm: &SimBroker, rough: &SimBroker, ledger: &str) -> Checked {
    let (calm, rough) = (by_subject(calm, ledger), by_subject(rough, ledger));
    let subjects: BTreeSet<_> = calm.keys().chain(rough.keys()).collect();
    for subject in subjects {
        let none = Vec::new();
        let wanted = calm.get(*subject).unwrap_or(&none);
        let found = rough.get(*subject).unwrap_or(&none);
        for index in 0..wanted.len().max(found.len()) {
            let (wanted, found) = (wanted.get(index), found.get(index));
            ensure(wanted == found, Check::SameRecords, || {
                let (wanted, found) = (show(wanted), show(found));
                format!("{subject}, record {index}:\n  wanted {wanted}\n  found  {found}")
            })?;
        }
    }
    Ok(())
}

fn show(record: Option<&Same<'_>>) -> String {
    let Some((headers, body)) = record else { return "nothing".to_owned() };
    format!("{headers:?} {}", String::from_utf8_lossy(body))
}

fn same<K: Ord + fmt::Debug, V: PartialEq + fmt::Debug>(
    check: Check,
    wanted: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) -> Checked {
    let mut keys = wanted.keys().chain(found.keys());
    let different = keys.find(|key| wanted.get(key) != found.get(key));
    ensure(different.is_none(), check, || {
        let key = different.expect("there is one");
        format!("{key:?}: wanted {:?}, found {:?}", wanted.get(key), found.get(key))
    })
}

fn dead_letters(broker: &SimBroker, workload: &Workload) -> Checked {
    let found = broker.messages(DEADLETTER).count();
    ensure(found == workload.unreadable, Check::DeadLetters, || {
        format!("{found} dead letters of {} unreadable messages", workload.unreadable)
    })
}

/// Folds the log from its start, and looks at every snapshot on the way.
fn same_fold<M: Machine>(net: &Net) -> Checked {
    let bucket = topology::snapshots(M::SERVICE);
    let snapshots: BTreeMap<u64, Snapshot<M>> = net
        .broker
        .objects(&bucket)
        .filter_map(|(_, bytes)| Snapshot::decode(bytes).ok())
        .map(|snapshot| (snapshot.sequence(), snapshot))
        .collect();
    let mut engine = Engine::<M>::new(Settings::default());
    for message in net.broker.messages(M::LEDGER) {
        while let Err(error) = engine.fold(message) {
            match error {
                FoldError::NeedsConfiguration(digest) => {
                    engine.configure(net.configurations[&digest].clone());
                }
                damaged @ FoldError::Damaged { .. } => {
                    return Err(Violation::new(Check::Damaged, damaged.to_string()));
                }
            }
        }
        let Some(snapshot) = snapshots.get(&message.sequence) else { continue };
        let same = engine.snapshot().is_some_and(|folded| folded.same_fold(snapshot));
        ensure(same, Check::SameFold, || {
            format!(
                "the snapshot of {} at {} is not what the log gives",
                M::SERVICE,
                message.sequence
            )
        })?;
    }
    Ok(())
}

/// Whether the ledgers say that everything was read.
pub fn positions_noted(broker: &SimBroker) -> Checked {
    positions::<IdentityMachine>(broker)?;
    positions::<RoutingMachine>(broker)?;
    positions::<NotificationMachine>(broker)
}

/// Nothing stands behind the last noted position but what engines note themselves.
fn positions<M: Machine>(broker: &SimBroker) -> Checked {
    let last = counted(broker, M::LEDGER).last().map(|message| positions_of(&message.record));
    let read = last.unwrap_or_default();
    for upstream in M::UPSTREAMS {
        let read = read.get(upstream.stream).sequence;
        let unread = counted_upstream(broker, upstream.stream, upstream.ledger)
            .into_iter()
            .find(|message| message.sequence > read && is_domain(&message.record));
        ensure(unread.is_none(), Check::Positions, || {
            format!("{} has noted {} up to {read}, not {unread:?}", M::SERVICE, upstream.stream)
        })?;
    }
    Ok(())
}

pub(super) fn counted_upstream<'a>(
    broker: &'a SimBroker,
    stream: &str,
    ledger: bool,
) -> Vec<&'a Stored> {
    if ledger { counted(broker, stream) } else { broker.messages(stream).collect() }
}

pub(super) fn positions_of(record: &Record) -> Positions {
    let text = record.header(header::POSITIONS).unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// The receipt that a record carries, or is.
pub(super) fn receipt_of(record: &Record) -> Option<serde_json::Value> {
    let text = record.header(header::RECEIPT);
    match text {
        Some(text) => serde_json::from_str(text).ok(),
        None if record.kind() == kind::RECEIPT => serde_json::from_slice(&record.body).ok(),
        None => None,
    }
}

fn answers_kept<M: Machine>(
    broker: &SimBroker,
    answered: &BTreeMap<(String, String), Answer>,
    sent: &BTreeMap<String, Call>,
) -> Checked {
    let receipts: Vec<_> =
        counted(broker, M::LEDGER).iter().filter_map(|m| receipt_of(&m.record)).collect();
    for ((request_id, hash), answer) in answered {
        let reused = matches!(answer, Err(refusal) if refusal.reason == "REQUEST_ID_REUSED");
        if reused || sent.get(request_id).is_none_or(|call| call.service != M::SERVICE) {
            continue;
        }
        let kept = receipts.iter().filter(|receipt| {
            receipt["requestId"] == *request_id
                && receipt["hash"] == *hash
                && serde_json::to_value(answer).is_ok_and(|answer| answer == receipt["answer"])
        });
        let kept = kept.count();
        ensure(kept == 1, Check::AnswerKept, || {
            format!("{request_id} was answered {answer:?}, and its ledger has {kept} receipts")
        })?;
    }
    Ok(())
}
