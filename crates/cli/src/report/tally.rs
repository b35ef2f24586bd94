//! Counts the streams. Pure: the same messages give the same report.

mod requests;

use std::collections::{BTreeMap, BTreeSet};

use mainstem_bus::engine::kind;
use mainstem_bus::record::header;
use mainstem_bus::topology::{CUSTOMER, DEADLETTER, INBOUND, NOTIFICATION, ROUTING};
use mainstem_bus::{Epoch, Machine, Stored, Unreadable};
use mainstem_domain::configuration::ChannelKind;
use mainstem_domain::identifier::Identifier;
use mainstem_domain::notification::{Outcome, Way};
use mainstem_domain::routing::{ConversationEvent, Made, Talk};
use mainstem_domain::{CaseId, CustomerId, ItemId, identity, notification, routing};
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use serde::Serialize;

use requests::Book;
pub use requests::Requests;

/// What went through, and what should not have happened.
///
/// Taken while events are under way, those count as lost and their messages as waiting.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Messages on INBOUND.
    pub accepted: u64,
    /// The same by the kind of their channel: `line`, `shop`, `till`, `phone`.
    pub by_kind: BTreeMap<String, u64>,
    /// The same by `ce-type`.
    pub by_type: BTreeMap<String, u64>,
    /// Customers that there are: created, less those absorbed by another.
    pub customers: u64,
    /// Customers absorbed by another.
    pub merges: u64,
    /// Cases opened.
    pub cases_by_queue: BTreeMap<String, u64>,
    /// Of these, resolved.
    pub cases_resolved: u64,
    /// Conversations that began, and how often one began anew.
    pub conversations: u64,
    /// How often one was offered to somebody of the staff.
    pub conversations_offered: u64,
    /// How often somebody took one.
    pub conversations_accepted: u64,
    /// Customers who got a salesperson by a code.
    pub bindings: u64,
    /// Replies that somebody saw. Without the sandbox: items decided as replies that LINE took, a
    /// few of them as a push, when the right to reply had run out.
    pub replies_delivered: u64,
    /// Pushes that somebody saw. Without the sandbox: items decided as pushes that LINE took.
    pub pushes_delivered: u64,
    /// Pushes that LINE took and nobody saw: the person had blocked the account, or was never its
    /// friend (only the sandbox knows of these).
    pub pushes_unseen: u64,
    /// Items without an outcome.
    pub deliveries_waiting: u64,
    /// What was asked to be told to customers, and what became of it; a digest counts as often as
    /// there are requests in it.
    pub requests: Requests,
    /// Webhooks of shadow channels that their incumbents got, the same bytes with the same
    /// signature (only the sandbox knows of these).
    pub relayed: u64,
    /// Events that came again and left no second trace on CUSTOMER: stopped by the broker before
    /// INBOUND (only who sent them knows of these), or by identity-merge behind it.
    pub duplicates_dropped: u64,
    /// Messages on DEADLETTER.
    pub dead_lettered: u64,
    /// Events that were answered 200, or are on INBOUND, and are neither on CUSTOMER nor
    /// dead-lettered; items that LINE is said to have taken and has not; webhooks of a shadow
    /// channel that its incumbent never got.
    pub lost: u64,
    /// Events that are on CUSTOMER twice, cases opened or queued twice, items queued twice, and
    /// messages that somebody saw twice (only the sandbox knows of these).
    pub doubled: u64,
    /// Events that stand on CUSTOMER behind a later one of the same person on the same channel.
    pub out_of_order: u64,
    /// Records that do not count: an old writer's, or a stranger's.
    pub voided: u64,
}

/// What only those know who sent events, and who stands in for LINE.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Each event that was answered 200, and how often: its channel, and its id there.
    pub(crate) taken: Vec<(Source, u64)>,
    /// What became of calls to LINE, if a stand-in for it was asked.
    pub(crate) line: Option<Delivered>,
    /// Webhooks that incumbents got.
    pub(crate) relayed: u64,
    /// Webhooks that were taken on shadow channels and that their incumbents never got.
    pub(crate) not_relayed: u64,
}

/// Calls that the stand-in of LINE accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    /// All of them.
    pub(crate) accepted: u64,
    /// Replies.
    pub(crate) replies: u64,
    /// Pushes that somebody saw.
    pub(crate) pushes: u64,
    /// Pushes that nobody saw.
    pub(crate) unseen: u64,
    /// Messages that somebody saw twice.
    pub(crate) doubled: u64,
}

/// What a message's kind ends with when ingress stored bytes that nobody understands.
const UNREADABLE: &str = ".unreadable.v1";

/// One event, wherever it stands: its channel and its id there.
pub(crate) type Source = (String, String);

/// Counts messages one by one. Streams are to be given in the order in which messages go through
/// them, each from its start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    report: Report,
    epochs: BTreeMap<&'static str, Epoch>,
    /// First sequence on INBOUND, and the person on the channel.
    inbound: BTreeMap<Source, (u64, String)>,
    /// The id on INBOUND of what its source knows by an id of its own.
    own_ids: BTreeMap<Source, String>,
    /// Sequences on INBOUND of what nobody understands.
    unreadable: BTreeSet<u64>,
    /// Identifiers whose owners are asked for at the end, and who has them.
    asked: BTreeMap<String, Option<CustomerId>>,
    absorbed: BTreeMap<CustomerId, CustomerId>,
    sent: u64,
    placed: BTreeSet<Source>,
    /// The newest event of each person on each channel that CUSTOMER holds.
    newest: BTreeMap<(String, String), u64>,
    opened: BTreeSet<CaseId>,
    /// Cases, and for the how manieth time they were queued.
    queued: BTreeSet<(CaseId, u32)>,
    items: BTreeMap<ItemId, Way>,
    settled: BTreeSet<ItemId>,
    book: Book,
    doubled_on_customer: u64,
    dead: BTreeSet<String>,
}

impl Tally {
    /// One that can tell at the end who owns these identifiers.
    pub(crate) fn asking(identifiers: impl IntoIterator<Item = String>) -> Self {
        let asked = identifiers.into_iter().map(|identifier| (identifier, None)).collect();
        Self { asked, ..Self::default() }
    }

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
        // Of a moved copy the original was counted.
        if message.record.kind().starts_with(kind::OWN) || message.record.is_moved() {
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
        let record = &message.record;
        let mut words = record.subject.split('.');
        let channel_kind = words.nth(1).unwrap_or_default();
        let person = words.next_back().unwrap_or_default().to_owned();
        self.report.accepted += 1;
        *self.report.by_kind.entry(channel_kind.to_owned()).or_default() += 1;
        *self.report.by_type.entry(record.kind().to_owned()).or_default() += 1;
        let header = |name| record.header(name).unwrap_or_default().to_owned();
        let (channel, id) = (header(header::CHANNEL), header(header::ID));
        if record.kind().ends_with(UNREADABLE) {
            self.unreadable.insert(message.sequence);
        } else if channel_kind != ChannelKind::Line.name()
            && let Some(own) = own_id(&record.body)
        {
            self.own_ids.insert((channel.clone(), own), id.clone());
        }
        self.inbound.entry((channel, id)).or_insert((message.sequence, person));
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
            identity::Event::Created { customer, sightings, .. } => {
                self.report.customers += 1;
                for sighting in &sightings {
                    self.owns(customer, &sighting.identifier);
                }
            }
            identity::Event::Merged { survivor, absorbed, .. } => {
                self.absorbed.insert(absorbed, survivor);
                self.report.customers = self.report.customers.saturating_sub(1);
                self.report.merges += 1;
            }
            identity::Event::Attached { customer, sightings, .. } => {
                for sighting in &sightings {
                    self.owns(customer, &sighting.identifier);
                }
            }
            identity::Event::Restated(restated) => {
                self.absorbed.remove(&restated.customer);
                for alias in &restated.aliases {
                    self.absorbed.insert(alias.customer, restated.customer);
                }
                for kept in &restated.identifiers {
                    self.owns(restated.customer, &kept.identifier);
                }
            }
            identity::Event::Split { pieces, .. } => {
                let more = pieces.len().saturating_sub(1);
                self.report.customers += u64::try_from(more).unwrap_or_default();
            }
            identity::Event::Erased { .. } => {
                self.report.customers = self.report.customers.saturating_sub(1);
            }
            identity::Event::Tied { .. }
            | identity::Event::Described { .. }
            | identity::Event::Consented { .. }
            | identity::Event::Suggested { .. }
            | identity::Event::SuggestionRejected { .. }
            | identity::Event::Conflicted { .. }
            | identity::Event::Carried { .. }
            | identity::Event::HubFound { .. }
            | identity::Event::HubReleased { .. }
            | identity::Event::Disputed { .. }
            | identity::Event::DisputeSettled { .. }
            | identity::Event::Moved { .. }
            | identity::Event::Unsent { .. }
            | identity::Event::Hidden { .. }
            | identity::Event::ErasureReported { .. } => {}
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

    fn owns(&mut self, customer: CustomerId, identifier: &Identifier) {
        if !self.asked.is_empty()
            && let Some(owner) = self.asked.get_mut(&identifier.to_string())
        {
            *owner = Some(customer);
        }
    }

    /// Whether two of the identifiers that were asked for are one person's.
    pub(crate) fn together(&self, one: &str, other: &str) -> bool {
        let owner = |identifier: &str| {
            let mut owner = (*self.asked.get(identifier)?)?;
            while let Some(survivor) = self.absorbed.get(&owner) {
                owner = *survivor;
            }
            Some(owner)
        };
        owner(one).is_some() && owner(one) == owner(other)
    }

    /// Whether an event is on CUSTOMER: by its channel, and its id there or at its source.
    pub(crate) fn is_placed(&self, source: &Source) -> bool {
        self.placed.contains(source)
            || self
                .own_ids
                .get(source)
                .is_some_and(|id| self.placed.contains(&(source.0.clone(), id.clone())))
    }

    /// Items that have no outcome yet.
    pub(crate) fn waiting(&self) -> u64 {
        count(self.items.keys().filter(|item| !self.settled.contains(*item)))
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
            routing::Event::Conversation(event) => self.conversation(&event),
            routing::Event::Bound { binding, .. } => {
                self.report.bindings += u64::from(matches!(binding.made, Made::Code { .. }));
            }
            routing::Event::Accepted { .. }
            | routing::Event::Started { .. }
            | routing::Event::Waits { .. }
            | routing::Event::Closed { .. }
            | routing::Event::Reopened { .. }
            | routing::Event::Cancelled { .. }
            | routing::Event::Transferred { .. }
            | routing::Event::Prioritised { .. }
            | routing::Event::Warned { .. }
            | routing::Event::Escalated { .. }
            | routing::Event::SerialShared { .. }
            | routing::Event::Moved { .. }
            | routing::Event::PurchaseNoted { .. }
            | routing::Event::MessageRequested(_)
            | routing::Event::RulesTried(_)
            | routing::Event::RuleFailed(_)
            | routing::Event::QueuePaused { .. }
            | routing::Event::QueueResumed { .. }
            // Opened before, and counted then.
            | routing::Event::CaseRestated { .. }
            | routing::Event::Custody(_)
            | routing::Event::CodeIssued { .. }
            | routing::Event::CodeRevoked { .. }
            | routing::Event::CodeRefused { .. }
            | routing::Event::BindingEnded { .. }
            | routing::Event::BindingRestated { .. }
            | routing::Event::HandOverBegun(_)
            | routing::Event::HandOverDone { .. }
            | routing::Event::Withdrawn(_) => {}
        }
    }

    fn conversation(&mut self, event: &ConversationEvent) {
        let offered = |stage: &Talk| u64::from(matches!(stage, Talk::Offered { .. }));
        match event {
            ConversationEvent::Opened { conversation, .. } => {
                self.report.conversations += 1;
                self.report.conversations_offered += offered(&conversation.stage);
            }
            ConversationEvent::Offered { stage, .. } => {
                self.report.conversations_offered += offered(stage);
            }
            ConversationEvent::Accepted { .. } | ConversationEvent::Assigned { .. } => {
                self.report.conversations_accepted += 1;
            }
            ConversationEvent::Active { .. }
            | ConversationEvent::Tagged { .. }
            | ConversationEvent::Replied { .. }
            | ConversationEvent::Closed { .. }
            // Opened before, and counted then.
            | ConversationEvent::Restated { .. }
            | ConversationEvent::Forgotten { .. }
            | ConversationEvent::Stands { .. }
            | ConversationEvent::Reviewed { .. }
            | ConversationEvent::IdleRestated { .. } => {}
        }
    }

    fn notification(&mut self, event: notification::Event) {
        self.book.take(&event);
        match event {
            notification::Event::Queued { id, item } => {
                self.report.doubled += u64::from(self.items.insert(id, item.way.clone()).is_some());
            }
            notification::Event::Settled { id, outcome, .. } => {
                self.settled.insert(id);
                if outcome == Outcome::Sent {
                    self.sent += 1;
                    match self.items.get(&id) {
                        Some(Way::Reply { .. }) => self.report.replies_delivered += 1,
                        Some(Way::Push) | None => self.report.pushes_delivered += 1,
                    }
                }
            }
            notification::Event::AddressLearned { .. }
            | notification::Event::Followed { .. }
            | notification::Event::Engaged { .. }
            | notification::Event::TraitTold { .. }
            | notification::Event::ConsentTold { .. }
            | notification::Event::PreferencesSet { .. }
            | notification::Event::PersonMoved { .. }
            | notification::Event::PersonRestated { .. }
            | notification::Event::WishesRestated { .. }
            | notification::Event::Released { .. }
            | notification::Event::Deferred { .. }
            | notification::Event::Ended { .. }
            | notification::Event::Begun { .. }
            | notification::Event::Handed { .. }
            // Queued before, and counted then.
            | notification::Event::Restated { .. }
            | notification::Event::RequestVoided { .. }
            | notification::Event::ItemsVoided { .. }
            | notification::Event::Custody(_) => {}
        }
    }

    /// The report on all that was taken in.
    pub(crate) fn finish(self, seen: &Seen) -> Report {
        let is_dead = |sequence: u64| {
            self.unreadable.contains(&sequence)
                || self.dead.contains(&format!("{INBOUND}/{sequence}"))
        };
        let missing = self.inbound.iter().filter(|(source, (sequence, _))| {
            !self.placed.contains(*source) && !is_dead(*sequence)
        });
        // Those on INBOUND are counted above.
        let is_inbound = |source: &Source| {
            self.inbound.contains_key(source) || self.own_ids.contains_key(source)
        };
        let broken = seen
            .taken
            .iter()
            .filter(|(source, _)| !is_inbound(source) && !self.placed.contains(source));
        let mut lost = count(missing) + count(broken) + seen.not_relayed;
        let repeated: u64 = seen.taken.iter().map(|(_, times)| times.saturating_sub(1)).sum();
        let copies = self.report.accepted - count(self.inbound.iter());
        let waiting = self.waiting();
        let mut report = self.report;
        report.duplicates_dropped = repeated.max(copies).saturating_sub(self.doubled_on_customer);
        report.doubled += self.doubled_on_customer;
        report.deliveries_waiting = waiting;
        report.requests = self.book.requests();
        report.relayed = seen.relayed;
        if let Some(line) = seen.line {
            lost += self.sent.saturating_sub(line.accepted);
            report.doubled += line.doubled;
            report.replies_delivered = line.replies;
            report.pushes_delivered = line.pushes;
            report.pushes_unseen = line.unseen;
        }
        report.lost = lost;
        report
    }
}

/// The id that a shop, a till or a phone desk gave its event: it stands in the CloudEvent that is
/// kept. LINE's events carry theirs in the header already.
fn own_id(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Body {
        raw: Raw,
    }
    #[derive(serde::Deserialize)]
    struct Raw {
        id: String,
        #[serde(rename = "specversion")]
        _is_cloud_event: serde::de::IgnoredAny,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    Some(body.raw.id)
}

fn count(items: impl Iterator) -> u64 {
    items.fold(0, |count, _| count + 1)
}

#[cfg(test)]
mod tests;
