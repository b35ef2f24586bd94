//! Counts the streams. Pure: the same messages give the same report.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_bus::engine::kind;
use mainstem_bus::record::header;
use mainstem_bus::topology::{CUSTOMER, DEADLETTER, INBOUND, NOTIFICATION, ROUTING};
use mainstem_bus::{Epoch, Machine, Stored, Unreadable};
use mainstem_domain::notification::{Outcome, Way};
use mainstem_domain::{CaseId, ItemId, identity, notification, routing};
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use serde::Serialize;

/// What went through, and what should not have happened.
///
/// Taken while events are under way, those count as lost and their messages as waiting.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Messages on INBOUND.
    pub(crate) accepted: u64,
    /// The same by `ce-type`.
    pub(crate) by_kind: BTreeMap<String, u64>,
    /// Customers that there are: created, less those absorbed by another.
    pub(crate) customers: u64,
    /// Customers absorbed by another.
    pub(crate) merges: u64,
    /// Cases opened.
    pub(crate) cases_by_queue: BTreeMap<String, u64>,
    /// Of these, resolved.
    pub(crate) cases_resolved: u64,
    /// Items decided as replies that LINE took; a few of them as a push, when the right to reply
    /// had run out.
    pub(crate) replies_delivered: u64,
    /// Items decided as pushes that LINE took.
    pub(crate) pushes_delivered: u64,
    /// Items without an outcome.
    pub(crate) deliveries_waiting: u64,
    /// Requests that ended because nothing was to be said there.
    pub(crate) deliveries_suppressed: u64,
    /// Requests that ended without being delivered.
    pub(crate) deliveries_failed: u64,
    /// Events that came again and left no second trace on CUSTOMER: stopped by the broker before
    /// INBOUND (only the sandbox knows of these), or by identity-merge behind it.
    pub(crate) duplicates_dropped: u64,
    /// Messages on DEADLETTER.
    pub(crate) dead_lettered: u64,
    /// Events of INBOUND that are neither on CUSTOMER nor dead-lettered.
    pub(crate) lost: u64,
    /// Events that are on CUSTOMER twice, cases opened or queued twice, items queued twice, and
    /// messages that somebody saw twice (only the sandbox knows of these).
    pub(crate) doubled: u64,
    /// Events that stand on CUSTOMER behind a later one of the same person on the same channel.
    pub(crate) out_of_order: u64,
    /// Records that do not count: an old writer's, or a stranger's.
    pub(crate) voided: u64,
}

/// What only the stand-in of LINE knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Messages that somebody saw twice.
    pub(crate) doubled: u64,
    /// Events that were delivered to ingress a second time, and taken.
    pub(crate) events_repeated: u64,
}

/// One event, wherever it stands: its channel and its id there.
type Source = (String, String);

/// Counts messages one by one. Streams are to be given in the order in which messages go through
/// them, each from its start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    report: Report,
    epochs: BTreeMap<&'static str, Epoch>,
    /// First sequence on INBOUND, and the person on the channel.
    inbound: BTreeMap<Source, (u64, String)>,
    placed: BTreeSet<Source>,
    /// The newest event of each person on each channel that CUSTOMER holds.
    newest: BTreeMap<(String, String), u64>,
    opened: BTreeSet<CaseId>,
    /// Cases, and for the how manieth time they were queued.
    queued: BTreeSet<(CaseId, u32)>,
    items: BTreeMap<ItemId, Way>,
    settled: BTreeSet<ItemId>,
    doubled_on_customer: u64,
    dead: BTreeSet<String>,
}

impl Tally {
    /// Takes in one message of a stream.
    ///
    /// # Errors
    /// A record of a ledger that is not what its writer writes.
    pub(crate) fn take(
        &mut self,
        stream: &'static str,
        message: &Stored,
    ) -> Result<(), Unreadable> {
        if stream == INBOUND {
            self.inbound(message);
            return Ok(());
        }
        if stream == DEADLETTER {
            self.dead(message);
            return Ok(());
        }
        let carried = message.record.header(header::EPOCH).and_then(|text| text.parse().ok());
        let opens = message.record.kind() == kind::EPOCH;
        if !self.epochs.entry(stream).or_default().admit(carried, opens) {
            self.report.voided += 1;
            return Ok(());
        }
        if message.record.kind().starts_with(kind::OWN) {
            return Ok(());
        }
        match stream {
            CUSTOMER => self.customer(IdentityMachine::decode(message)?),
            ROUTING => self.routing(RoutingMachine::decode(message)?),
            NOTIFICATION => self.notification(NotificationMachine::decode(message)?),
            _ => {}
        }
        Ok(())
    }

    fn inbound(&mut self, message: &Stored) {
        self.report.accepted += 1;
        let record = &message.record;
        *self.report.by_kind.entry(record.kind().to_owned()).or_default() += 1;
        let header = |name| record.header(name).unwrap_or_default().to_owned();
        let person = record.subject.rsplit('.').next().unwrap_or_default().to_owned();
        self.inbound
            .entry((header(header::CHANNEL), header(header::ID)))
            .or_insert((message.sequence, person));
    }

    fn dead(&mut self, message: &Stored) {
        #[derive(serde::Deserialize)]
        struct Letter {
            origin: String,
        }
        self.report.dead_lettered += 1;
        self.dead.extend(
            serde_json::from_slice(&message.record.body).ok().map(|letter: Letter| letter.origin),
        );
    }

    fn customer(&mut self, event: identity::Event) {
        match event {
            identity::Event::Created { .. } => self.report.customers += 1,
            identity::Event::Merged { .. } => {
                self.report.customers = self.report.customers.saturating_sub(1);
                self.report.merges += 1;
            }
            identity::Event::Attached { .. } => {}
            identity::Event::Channel { channel, event, .. } => {
                let source = (channel.to_string(), event.to_string());
                // INBOUND forgets after a while; CUSTOMER does not.
                if let Some((sequence, person)) = self.inbound.get(&source) {
                    let who = (source.0.clone(), person.clone());
                    let newest = self.newest.entry(who).or_default();
                    if !self.placed.contains(&source) && sequence < newest {
                        self.report.out_of_order += 1;
                    }
                    *newest = (*newest).max(*sequence);
                }
                if !self.placed.insert(source) {
                    self.doubled_on_customer += 1;
                }
            }
        }
    }

    fn routing(&mut self, event: routing::Event) {
        match event {
            routing::Event::Opened { id, case } => {
                *self.report.cases_by_queue.entry(case.queue.to_string()).or_default() += 1;
                self.report.doubled += u64::from(!self.opened.insert(id));
            }
            routing::Event::Queued { id, case } => {
                self.report.doubled += u64::from(!self.queued.insert((id, case.queued_times)));
            }
            routing::Event::Resolved { .. } => self.report.cases_resolved += 1,
            routing::Event::Accepted { .. }
            | routing::Event::Started { .. }
            | routing::Event::Cancelled { .. }
            | routing::Event::Moved { .. }
            | routing::Event::PurchaseNoted { .. }
            | routing::Event::MessageRequested(_) => {}
        }
    }

    fn notification(&mut self, event: notification::Event) {
        match event {
            notification::Event::Queued { id, item } => {
                self.report.doubled += u64::from(self.items.insert(id, item.way).is_some());
            }
            notification::Event::Suppressed { .. } => self.report.deliveries_suppressed += 1,
            notification::Event::Failed { .. } => self.report.deliveries_failed += 1,
            notification::Event::Settled { id, outcome, .. } => {
                self.settled.insert(id);
                match (outcome, self.items.get(&id)) {
                    (Outcome::Failed { .. }, _) => self.report.deliveries_failed += 1,
                    (Outcome::Sent, Some(Way::Reply { .. })) => self.report.replies_delivered += 1,
                    (Outcome::Sent, Some(Way::Push) | None) => self.report.pushes_delivered += 1,
                }
            }
            notification::Event::AddressLearned { .. }
            | notification::Event::AddressesMoved { .. } => {}
        }
    }

    /// The report on all that was taken in.
    pub(crate) fn finish(self, seen: Seen) -> Report {
        let Self { mut report, inbound, placed, items, settled, dead, .. } = self;
        let missing = inbound.iter().filter(|(source, (sequence, _))| {
            !placed.contains(*source) && !dead.contains(&format!("{INBOUND}/{sequence}"))
        });
        report.lost = count(missing);
        let copies = report.accepted - count(inbound.iter());
        report.duplicates_dropped =
            seen.events_repeated.max(copies).saturating_sub(self.doubled_on_customer);
        report.doubled += self.doubled_on_customer + seen.doubled;
        report.deliveries_waiting = count(items.keys().filter(|item| !settled.contains(*item)));
        report
    }
}

fn count(items: impl Iterator) -> u64 {
    items.fold(0, |count, _| count + 1)
}

#[cfg(test)]
mod tests;
