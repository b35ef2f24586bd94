//! Custody of records: what is done with those that stand under the wrong customer, or of a
//! customer who is to be forgotten.
//!
//! A decider opens a *job* by a record, and lists it in [`Machine::chores`](crate::Machine) until
//! a record ends it. While an instance writes, its custodian does the jobs:
//!
//! | job | what is done, in this order |
//! |---|---|
//! | move | when everybody downstream has read so far: each record of the customer that is older than the job: asked whose it is, appended again under its owner, and deleted when the copy is stored |
//! | hide | when everybody downstream has read so far, and every move opened before is through: each record that holds a message which was taken back: appended again without its content; when the copy is stored, the upstream messages that hold it are deleted, then the record; at last, the same of the upstream subject that the job came from |
//! | erase | what is there is counted and the counts are recorded; a snapshot without the customer is taken and read back; all other snapshots are deleted; then what the customer sent that is no text; then the upstream messages that the customer's records came from, then the records, and the receipts that name the customer |
//!
//! A customer's jobs are done in the order in which they were opened.
//!
//! A copy is no news to those who read the ledger, so a move and a hiding wait until each of them has
//! read the record that opened it: until then one of them may still need an original. How far they are is
//! what the newest record of their own ledgers says, which is stored; whoever reads is declared by
//! [`topology::readers_of`]. A silent reader writes it down after 10 s
//! at the latest. While one does not run, or never has, the move waits, and reads must tell by the
//! state whose a record is; nothing is lost, and after a minute it is logged. An erasure waits for
//! nobody: what is erased need not be read.
//!
//! Invariants:
//! - Deleting overwrites. A purge, an expiry and a plain object delete leave the text in the
//!   server's files.
//! - Nothing is deleted before its copy is stored, or before a snapshot without it is verified.
//! - Nothing that was moved is deleted before every service downstream has read it for good.
//! - Every step can be done again: what is deleted is found by what still points there, and the
//!   pointer goes last. A record is copied once for each job, however often it is tried.
//! - What may be hidden stands in no other record's header: that record could not be replaced, as what
//!   follows it builds on it. See [`Machine::stands_alone`](crate::Machine::stands_alone).
//! - The record that opens a job is not deleted by it, and a deleted record is never the ledger's
//!   last: the one that ends its job comes behind it. So a reader's place can be verified by what
//!   follows it.
//! - Only the writer copies and says what may be deleted. One that was replaced in between deletes
//!   at worst what its successor would delete: a sequence is never used twice.

use std::time::Duration;

use mainstem_domain::custody::{Custody, Job as CustodyJob, Owner};
use mainstem_domain::person::Carrier;
use mainstem_domain::{ChannelId, CustomerId};
use serde::{Deserialize, Serialize};

use crate::positions::Positions;
use crate::record::Stored;
use crate::topology;

/// How many records were at each place, e.g. `CUSTOMER customer.*.channel`. Names nobody.
pub type Counts = mainstem_domain::custody::Counts;

/// What is hidden was stored so long before the job was opened, at most: people can take a message
/// back for a day, and what came in waits for the decider for no longer than it is kept.
pub(crate) const HIDDEN_WITHIN: Duration = topology::KEPT.saturating_add(Duration::from_hours(48));

/// A job that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// A customer was split: what is another's goes to the other.
    Move {
        /// The job's name, without `/` or blanks.
        job: String,
        /// Under whom records may stand that are another's.
        customers: Vec<CustomerId>,
    },
    /// A message was taken back.
    Hide {
        /// The job's name, without `/` or blanks.
        job: String,
        /// All the ids of whose it is; none when it is nobody's.
        customers: Vec<CustomerId>,
        /// The message.
        message: Message,
    },
    /// A customer is forgotten.
    Erase {
        /// The job's name, without `/` or blanks.
        job: String,
        /// All the ids of the customer.
        customers: Vec<CustomerId>,
    },
}

/// A message of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it came in.
    pub channel: ChannelId,
    /// The source's id of it.
    pub id: String,
}

impl Chore {
    /// The job's name.
    #[must_use]
    pub fn job(&self) -> &str {
        match self {
            Self::Move { job, .. } | Self::Hide { job, .. } | Self::Erase { job, .. } => job,
        }
    }

    /// Whose records may go.
    #[must_use]
    pub fn customers(&self) -> &[CustomerId] {
        match self {
            Self::Move { customers, .. }
            | Self::Hide { customers, .. }
            | Self::Erase { customers, .. } => customers,
        }
    }

    /// Whether it may only be done when everybody downstream has read what it replaces.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::Move { .. } | Self::Hide { .. })
    }
}

impl From<CustodyJob> for Chore {
    fn from(job: CustodyJob) -> Self {
        match job {
            CustodyJob::Move { job, customer } => Self::Move { job, customers: vec![customer] },
            CustodyJob::Erase { job, customers } => Self::Erase { job, customers },
        }
    }
}

/// Whose a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The customer's under whom it stands.
    Stays,
    /// This customer's, under this subject.
    Belongs(CustomerId, String),
    /// Nobody's, or of a customer who was forgotten since.
    Deleted,
}

impl Keeper {
    /// Whose a record under this subject is that hangs on this carrier. What is sourced to a work
    /// queue goes under the plain subject, so that the broker does not copy it there again.
    #[must_use]
    pub fn of(custody: &Custody, subject: &str, carrier: Option<Carrier>) -> Self {
        let Some(customer) = topology::customer_of(subject) else { return Self::Stays };
        match custody.owner(customer, carrier) {
            Owner::Same => Self::Stays,
            Owner::Nobody => Self::Deleted,
            Owner::Other(owner) => {
                let what = subject.split('.').nth(2).unwrap_or_default();
                Self::Belongs(owner, format!("customer.{owner}.{what}"))
            }
        }
    }
}

/// What the ledger says of an open job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The record that opened it.
    pub(crate) since: u64,
    /// How far the upstreams were read then.
    pub(crate) read: Positions,
    /// Whose records may go.
    pub(crate) customers: Vec<CustomerId>,
    /// The newest record that was copied for it.
    pub(crate) copied: u64,
    /// How many records were copied for it.
    pub(crate) moved: u64,
    /// What there was to erase, and the record that says so.
    pub(crate) planned: Option<Planned>,
}

/// What there was to erase when it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) sequence: u64,
    pub(crate) counts: Counts,
}

/// The body of the record that says what there is to erase.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) job: String,
    pub(crate) counts: Counts,
}

/// A job as the custodian takes it up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Work {
    pub(crate) chore: Chore,
    pub(crate) job: Job,
}

/// What is to be done with a record, when everything that this was decided from is stored.
pub(crate) mod verdict {
    /// Leave it.
    pub(crate) const STAYS: &str = "stays";
    /// Its copy is stored, or it is nobody's: delete it.
    pub(crate) const REMOVE: &str = "remove";
}

impl Stored {
    /// Whether a job that was opened by the record at `since` may hide this one: everybody downstream
    /// has read it. Of what a move has copied since then, they have read the original.
    pub(crate) fn hidden_since(&self, since: u64) -> bool {
        self.sequence < since || self.record.is_moved()
    }
}

/// The customers that a text names.
pub(crate) fn named(text: &str) -> impl Iterator<Item = CustomerId> + '_ {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_is_found_wherever_an_answer_names_it() {
        let (one, other) = (CustomerId::derive("1"), CustomerId::derive("2"));
        let text =
            format!("{{\"a\":\"{{\\\"customer\\\":\\\"{one}\\\"}}\",\"b\":[\"x.{other}.y\"]}}");
        assert_eq!(named(&text).collect::<Vec<_>>(), [one, other]);
        assert_eq!(named(&format!("a{one}")).count(), 0);
    }
}
