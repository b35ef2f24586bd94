//! Everybody outside: clients that ask until they are answered, the worker at the queue, the
//! sender at the outbox, and the vendor behind it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mainstem_bus::engine::{Answer, Ticket};
use mainstem_bus::record::header;
use mainstem_bus::{Machine as _, Record, topology};
use mainstem_notification::NotificationMachine;
use mainstem_proto::{notification, routing};
use mainstem_routing::RoutingMachine;
use rand::Rng;
use serde_json::{Value, json};

use super::calls::{CLAIMED, Call, WORKER, accept, method, resolve, resolves_at_once, start};
use super::check::{Check, Violation};
use super::instance::Node;
use super::net::{Net, Told};

const SENDER: &str = "service/sender";

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    jobs: Vec<Job>,
    calls: BTreeMap<Ticket, (usize, Call)>,
    last_ticket: Ticket,
    /// What every request with a `request_id` was answered, with its hash.
    pub answered: BTreeMap<(String, String), Answer>,
    /// Every request with a `request_id` that was sent.
    pub sent: BTreeMap<String, Call>,
    /// What each user of the vendor saw.
    pub seen: BTreeMap<String, Vec<String>>,
    taken_by_vendor: BTreeSet<String>,
    cases: BTreeSet<String>,
    senders: BTreeMap<String, usize>,
    read: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Job {
    script: Script,
    /// The call that is out, and when to give it up.
    out: Option<(Ticket, u64)>,
    wait_until: u64,
    /// What it works on was not found. It may not be decided yet, or stand in a record that does
    /// not count.
    doubt: bool,
    /// Everything else is quiet: not found now is not found ever.
    last_chance: bool,
}

#[derive(Debug)]
enum Script {
    /// One call after the other.
    Calls {
        calls: VecDeque<Call>,
        again: bool,
    },
    Case {
        case: String,
        stage: Stage,
    },
    /// Items of one customer, in the order of the outbox.
    Items {
        items: VecDeque<Item>,
        outcome: Option<&'static str>,
    },
}

/// An item on the outbox, with the epoch of its record.
#[derive(Debug)]
struct Item {
    id: String,
    epoch: u64,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Look,
    Accept,
    Start,
    Resolve,
    Done,
}

impl Clients {
    /// A client that makes these calls, one after the other is answered.
    pub fn ask(&mut self, calls: Vec<Call>) {
        self.add(Script::Calls { calls: calls.into(), again: true });
    }

    fn add(&mut self, script: Script) -> usize {
        let job = Job { script, out: None, wait_until: 0, doubt: false, last_chance: false };
        self.jobs.push(job);
        self.jobs.len() - 1
    }

    /// Whether nobody wants anything any more, or only what is in doubt.
    #[must_use]
    pub fn quiet(&self, net: &Net) -> bool {
        let read = |stream| self.read.get(stream).copied().unwrap_or_default();
        self.jobs.iter().all(|job| job.done() || job.doubt)
            && [topology::ROUTING, topology::NOTIFICATION]
                .iter()
                .all(|stream| net.broker.after(stream, read(stream)).is_none())
    }

    /// Whether anybody is in doubt.
    #[must_use]
    pub fn doubtful(&self) -> bool {
        self.jobs.iter().any(|job| !job.done() && job.doubt)
    }

    /// Everything is quiet: whoever is in doubt asks once more.
    pub fn ask_a_last_time(&mut self) {
        for job in self.jobs.iter_mut().filter(|job| job.doubt) {
            (job.last_chance, job.wait_until) = (true, 0);
        }
    }

    /// A worker or sender dies and starts over with what it had in hand.
    pub fn crash_one(&mut self, net: &mut Net) {
        let open: Vec<_> = (0..self.jobs.len()).filter(|index| !self.jobs[*index].done()).collect();
        let Some(index) = net.pick(&open) else { return };
        let job = &mut self.jobs[index];
        job.out = None;
        match &mut job.script {
            Script::Calls { .. } => {}
            Script::Case { stage, .. } => *stage = Stage::Look,
            Script::Items { outcome, .. } => *outcome = None,
        }
    }

    /// Reads answers and the two work queues, and asks what is to be asked.
    pub fn step(&mut self, net: &mut Net, nodes: &mut [Box<dyn Node>]) -> Result<(), Violation> {
        self.read_queues(net);
        while let Some(told) = net.answers.pop_front() {
            self.told(net, told)?;
        }
        for index in 0..self.jobs.len() {
            self.go_on(index, net, nodes);
        }
        Ok(())
    }

    /// The broker copies what stands on these subjects to the work queues, whether it counts or
    /// not.
    fn read_queues(&mut self, net: &Net) {
        while let Some(record) = self.next_record(net, topology::ROUTING) {
            let case = text(&record.body, "/case/case");
            // Nobody pulls from there.
            if text(&record.body, "/case/queue") == CLAIMED {
                continue;
            }
            if record.kind() == routing::CASE_QUEUED && self.cases.insert(case.clone()) {
                self.add(Script::Case { case, stage: Stage::Look });
            }
        }
        while let Some(record) = self.next_record(net, topology::NOTIFICATION) {
            if record.kind() != notification::DELIVERY_QUEUED {
                continue;
            }
            let (item, customer) = (text(&record.body, "/item"), text(&record.body, "/customer"));
            let index = match self.senders.get(&customer) {
                Some(index) => *index,
                None => self.add(Script::Items { items: VecDeque::new(), outcome: None }),
            };
            self.senders.insert(customer, index);
            let epoch = record.header(header::EPOCH).and_then(|epoch| epoch.parse().ok());
            if let Script::Items { items, .. } = &mut self.jobs[index].script {
                items.push_back(Item { id: item, epoch: epoch.unwrap_or_default() });
            }
        }
    }

    fn next_record<'a>(&mut self, net: &'a Net, stream: &'static str) -> Option<&'a Record> {
        let read = self.read.entry(stream).or_default();
        let message = net.broker.after(stream, *read)?;
        *read = message.sequence;
        Some(&message.record)
    }

    fn go_on(&mut self, index: usize, net: &mut Net, nodes: &mut [Box<dyn Node>]) {
        let job = &mut self.jobs[index];
        if job.done() || net.step < job.wait_until {
            return;
        }
        if job.out.is_some_and(|(_, patience)| net.step < patience) {
            return;
        }
        let Some(mut call) = job.next_call() else { return };
        call.ticket = self.last_ticket + 1;
        // The one that has the lease, or for all that a client knows any that thinks it has.
        let mut asked: Vec<_> = (0..nodes.len())
            .filter(|id| nodes[*id].service() == call.service)
            .filter(|id| !job.last_chance || net.lease(call.service) == Some(*id))
            .collect();
        if asked.len() > 1 && net.rng.random() {
            asked.reverse();
        }
        if asked.into_iter().any(|id| nodes[id].take(net, &call)) {
            self.last_ticket = call.ticket;
            job.out = Some((call.ticket, net.step + net.rng.random_range(20..200)));
            if let Some(request_id) = &call.request_id {
                self.sent.entry(request_id.clone()).or_insert_with(|| call.clone());
            }
            self.calls.insert(call.ticket, (index, call));
        }
    }

    fn told(&mut self, net: &mut Net, told: Told) -> Result<(), Violation> {
        let Told { ticket, answer, early } = told;
        let Some((index, call)) = self.calls.remove(&ticket) else { return Ok(()) };
        if let Some(request_id) = call.request_id.clone().filter(|_| !early) {
            let key = (request_id, call.hash());
            let known = self.answered.entry(key).or_insert_with(|| answer.clone());
            if *known != answer {
                let what = format!("{} was answered {known:?}, then {answer:?}", call.id);
                return Err(Violation::new(Check::SameAnswer, what));
            }
        }
        if self.jobs[index].out.is_some_and(|(out, _)| out == ticket) {
            self.jobs[index].out = None;
            self.answer(index, net, &call, &answer, early);
        }
        Ok(())
    }

    fn answer(&mut self, index: usize, net: &mut Net, call: &Call, answer: &Answer, early: bool) {
        let job = &mut self.jobs[index];
        let missing = matches!(answer, Err(refusal) if refusal.reason == "NOT_FOUND");
        match &mut job.script {
            // A writer that is none any more, and does not know it, may not have it yet.
            _ if missing && (early || call.request_id.is_none()) => {
                if job.last_chance {
                    self.give_up(index);
                } else {
                    job.doubt = job.looks();
                    job.start_over();
                    job.wait_until = net.step + net.rng.random_range(10..60);
                }
                return;
            }
            Script::Calls { calls, again } => {
                // Some ask again although they were answered.
                if !(std::mem::take(again) && net.rng.random_ratio(1, 3)) {
                    calls.pop_front();
                    *again = true;
                }
            }
            Script::Case { case, stage } => {
                *stage = match stage {
                    Stage::Look => Stage::Accept,
                    Stage::Accept if resolves_at_once(case) => Stage::Start,
                    Stage::Start => Stage::Resolve,
                    Stage::Accept | Stage::Resolve | Stage::Done => Stage::Done,
                }
            }
            Script::Items { items, outcome } => {
                let body = answer.as_deref().unwrap_or_default().as_bytes();
                let waits = text(body, "/delivery/state") == "DELIVERY_STATE_WAITING";
                if waits && outcome.is_none() && !decided_again(items) {
                    *outcome = Some(send(&mut self.taken_by_vendor, &mut self.seen, body));
                } else {
                    *outcome = None;
                    items.pop_front();
                }
            }
        }
        (job.doubt, job.last_chance) = (false, false);
    }

    /// It stands in no record that counts.
    fn give_up(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        (job.doubt, job.last_chance) = (false, false);
        match &mut job.script {
            Script::Calls { calls, .. } => drop(calls.pop_front()),
            Script::Case { case, stage } => {
                self.cases.remove(case);
                *stage = Stage::Done;
            }
            Script::Items { items, .. } => drop(items.pop_front()),
        }
    }
}

impl Job {
    fn done(&self) -> bool {
        match &self.script {
            Script::Calls { calls, .. } => calls.is_empty(),
            Script::Case { stage, .. } => matches!(stage, Stage::Done),
            Script::Items { items, .. } => items.is_empty(),
        }
    }

    fn looks(&self) -> bool {
        match &self.script {
            Script::Calls { .. } => false,
            Script::Case { stage, .. } => matches!(stage, Stage::Look),
            Script::Items { outcome, .. } => outcome.is_none(),
        }
    }

    fn start_over(&mut self) {
        match &mut self.script {
            Script::Calls { .. } => {}
            Script::Case { stage, .. } => *stage = Stage::Look,
            Script::Items { outcome, .. } => *outcome = None,
        }
    }

    fn next_call(&self) -> Option<Call> {
        match &self.script {
            Script::Calls { calls, .. } => calls.front().cloned(),
            Script::Case { case, stage } => match stage {
                Stage::Look => {
                    let asked = method("GetCase", &json!({"case": case}));
                    Some(Call::once(RoutingMachine::SERVICE, WORKER, "look", asked))
                }
                Stage::Accept => Some(accept(case)),
                Stage::Start => Some(start(case)),
                Stage::Resolve => Some(resolve(case)),
                Stage::Done => None,
            },
            Script::Items { items, outcome } => {
                let item = &items.front()?.id;
                // The id of a call without `request_id` is drawn; here it must be the same in
                // every world, and so must the attempt.
                let (id, asked) = match outcome {
                    None => {
                        let begun = json!({"item": item, "attempt": "one"});
                        (format!("begin/{item}"), method("BeginDelivery", &begun))
                    }
                    Some(outcome) => {
                        let ended = outcome_request(item, outcome);
                        (format!("outcome/{item}"), method("RecordOutcome", &ended))
                    }
                };
                Some(Call::once(NotificationMachine::SERVICE, SENDER, &id, asked))
            }
        }
    }
}

/// Whether the first item stands once more under a newer epoch. Its first record does not count
/// then, and the items that were decided before it may come behind it.
fn decided_again(items: &VecDeque<Item>) -> bool {
    items.front().is_some_and(|first| {
        items.iter().any(|item| item.id == first.id && item.epoch > first.epoch)
    })
}

fn outcome_request(item: &str, outcome: &str) -> Value {
    let mut request = json!({"item": item, "state": outcome});
    if outcome == FAILED {
        request["reason"] = "blocked".into();
    }
    request
}

const SENT: &str = "DELIVERY_STATE_SENT";
const FAILED: &str = "DELIVERY_STATE_FAILED";

/// The vendor takes an item once, by the retry key that is made of its id; some users have
/// blocked the account.
fn send(
    taken: &mut BTreeSet<String>,
    seen: &mut BTreeMap<String, Vec<String>>,
    delivery: &[u8],
) -> &'static str {
    let (item, user) = (text(delivery, "/delivery/item"), text(delivery, "/delivery/user"));
    if user.ends_with('7') {
        return FAILED;
    }
    if taken.insert(item) {
        seen.entry(user).or_default().push(text(delivery, "/delivery/text"));
    }
    SENT
}

/// The text at a place in JSON; empty when there is none.
fn text(body: &[u8], pointer: &str) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
