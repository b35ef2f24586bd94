use std::collections::VecDeque;
use std::time::Duration;

use imbl::{OrdMap, OrdSet, Vector};
use mainstem_domain::{At, CustomerId};
use serde::{Deserialize, Serialize};

use crate::custody::{Chore, Job, Planned};
use crate::engine::Answer;
use crate::positions::{Epoch, Positions};
use crate::record::{Record, Unreadable, carried, header};
use crate::topology;

/// How long the same request gets the same answer.
pub const RECEIPTS_FOR: Duration = Duration::from_hours(24);

/// How many receipts are remembered at most; the oldest goes first.
pub const RECEIPTS_AT_MOST: usize = 1_000_000;

/// How many records that do not count are remembered at most; the oldest goes first.
const VOIDED_AT_MOST: usize = 10_000;

/// Everything that is folded from a ledger: the decider's state, and what the engine itself
/// remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory<State> {
    pub(crate) sequence: u64,
    pub(crate) epoch: Epoch,
    pub(crate) positions: Positions,
    /// The newest moment that was decided at; time never goes back behind it.
    pub(crate) at: At,
    /// The configuration in force.
    pub(crate) configuration: String,
    /// The decider's records so far; tells wake-ups with the same deadline apart.
    pub(crate) decided: u64,
    pub(crate) receipts: OrdMap<String, Receipt>,
    receipt_order: Vector<(At, String)>,
    /// The jobs that the decider lists, by name.
    pub(crate) jobs: OrdMap<String, Job>,
    /// Records that do not count. They are nobody's, and are not moved but deleted.
    pub(crate) voided: OrdSet<u64>,
    /// Records of an input that was cut off, still to come. Never in a snapshot.
    #[serde(skip)]
    pub(crate) rest: VecDeque<Record>,
    /// How many deleted records there are since the first of `rest` was expected: it may be among
    /// them, and so may what follows it.
    #[serde(skip)]
    holes: u64,
    pub(crate) state: State,
}

/// What a command was answered, so that it can be answered so again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    #[serde(rename = "requestId")]
    pub(crate) request_id: String,
    pub(crate) hash: String,
    pub(crate) answer: Answer,
    /// Whose the record is that holds it, which may be deleted.
    #[serde(default)]
    pub(crate) owner: Option<CustomerId>,
}

impl Receipt {
    fn names(&self, customers: &[CustomerId]) -> bool {
        let text = match &self.answer {
            Ok(answer) => answer.clone(),
            Err(refusal) => serde_json::to_string(refusal).unwrap_or_default(),
        };
        customers.iter().any(|customer| text.contains(customer.as_str()))
    }

    fn is_of(&self, customers: &[CustomerId]) -> bool {
        self.owner.is_some_and(|owner| customers.contains(&owner))
    }
}

/// What every record says of its input.
pub(crate) struct Stamp {
    pub(crate) at: At,
    pub(crate) positions: Positions,
    receipt: Option<Receipt>,
    rest: Option<Vec<Record>>,
}

impl Stamp {
    pub(crate) fn new(at: At, positions: Positions) -> Self {
        Self { at, positions, receipt: None, rest: None }
    }

    /// With the receipt that the record on this subject holds.
    pub(crate) fn with_receipt(mut self, receipt: Receipt, subject: &str) -> Self {
        self.receipt = Some(Receipt { owner: topology::customer_of(subject), ..receipt });
        self
    }

    pub(crate) fn read(record: &Record) -> Result<Self, Unreadable> {
        let missing = |name: &str| Unreadable(format!("{name} is missing or malformed"));
        let header = |name: &'static str| record.header(name);
        let at = header(header::RECORDED_TIME)
            .and_then(At::parse)
            .ok_or_else(|| missing(header::RECORDED_TIME))?;
        let positions = header(header::POSITIONS)
            .unwrap_or_default()
            .parse()
            .map_err(|_| missing(header::POSITIONS))?;
        let receipt = if record.kind() == super::kind::RECEIPT {
            std::str::from_utf8(&record.body).ok()
        } else {
            header(header::RECEIPT)
        };
        let receipt: Option<Receipt> = receipt
            .map(|text| serde_json::from_str(text).map_err(|_| missing(header::RECEIPT)))
            .transpose()?;
        let rest = header(header::REST).map(carried).transpose()?;
        let stamp = Self { at, positions, receipt: None, rest };
        Ok(match receipt {
            Some(receipt) => stamp.with_receipt(receipt, &record.subject),
            None => stamp,
        })
    }
}

/// The digest that a configuration record names.
pub(crate) fn configuration_digest(record: &Record) -> Result<String, Unreadable> {
    let body: ConfigurationBody =
        serde_json::from_slice(&record.body).map_err(|error| Unreadable(error.to_string()))?;
    Ok(body.digest)
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ConfigurationBody {
    pub(crate) digest: String,
}

impl<State: PartialEq> Memory<State> {
    /// Do both come from the same records? One of them may have read its upstreams further, which
    /// an input that decided nothing does without leaving a record, and one may have seen records
    /// that were deleted before the other was folded.
    pub(crate) fn same_fold(&self, other: &Self) -> bool {
        (self.sequence, self.epoch, self.at) == (other.sequence, other.epoch, other.at)
            && self.configuration == other.configuration
            && self.receipts == other.receipts
            && self.jobs == other.jobs
            && self.state == other.state
    }
}

impl<State> Memory<State> {
    /// Is this the record that has to come next, when an input was cut off?
    ///
    /// Records of one input follow each other, except where an epoch came between, so what was
    /// deleted of the rest is at its front. As long as nothing was deleted, nothing may be left
    /// out.
    pub(crate) fn check_rest(&mut self, record: &Record) -> Result<(), Unreadable> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let holes = usize::try_from(self.holes).unwrap_or(usize::MAX);
        let here = |next: &Record| {
            next.subject == record.subject && next.header(header::ID) == record.header(header::ID)
        };
        match self.rest.iter().take(holes.saturating_add(1)).position(here) {
            Some(deleted) => {
                self.rest.drain(..=deleted);
                self.holes -= deleted as u64;
                Ok(())
            }
            // All of it was deleted, and another input begins.
            None if holes >= self.rest.len() => {
                self.rest.clear();
                Ok(())
            }
            None => Err(Unreadable("the rest of the input before it is missing".to_owned())),
        }
    }

    /// Takes note that `missing` records were deleted here.
    pub(crate) fn pass_holes(&mut self, missing: u64) {
        self.holes = if self.rest.is_empty() { 0 } else { self.holes + missing };
        // Each may have been a decider's; a number is never used twice.
        self.decided += missing;
    }

    /// What a writer has to complete: of an input that was cut off, what was not deleted.
    pub(crate) fn take_rest(&mut self) -> VecDeque<Record> {
        let deleted = usize::try_from(std::mem::take(&mut self.holes)).unwrap_or(usize::MAX);
        self.rest.drain(..deleted.min(self.rest.len()));
        std::mem::take(&mut self.rest)
    }

    /// Takes note of a record that does not count.
    pub(crate) fn void(&mut self, sequence: u64) {
        self.voided.insert(sequence);
        if self.voided.len() > VOIDED_AT_MOST {
            self.voided.remove_min();
        }
    }

    /// Takes note of what the decider lists after the record at `sequence`.
    ///
    /// What the engine answered about a customer who goes is forgotten when the job is opened, and
    /// what stood in a record that went when it is over. Whoever folds what is left never saw it.
    pub(crate) fn list_jobs(&mut self, chores: &[Chore], sequence: u64, read: &Positions) {
        if chores.is_empty() && self.jobs.is_empty() {
            return;
        }
        let over: Vec<_> = self
            .jobs
            .keys()
            .filter(|job| chores.iter().all(|chore| chore.job() != job.as_str()))
            .cloned()
            .collect();
        for job in over {
            if let Some(Job { customers, planned: Some(_), .. }) = self.jobs.remove(&job) {
                self.forget(|receipt| receipt.is_of(&customers));
            }
        }
        for chore in chores {
            if self.jobs.contains_key(chore.job()) {
                continue;
            }
            let customers = chore.customers().to_vec();
            match chore {
                Chore::Move { .. } => self.forget(|receipt| receipt.is_of(&customers)),
                // What a person sent holds no receipt.
                Chore::Hide { .. } => {}
                Chore::Erase { .. } => {
                    self.forget(|receipt| receipt.is_of(&customers) || receipt.names(&customers));
                }
            }
            let job = Job {
                since: sequence,
                read: read.clone(),
                customers,
                copied: 0,
                moved: 0,
                planned: None,
            };
            self.jobs.insert(chore.job().to_owned(), job);
        }
    }

    fn forget(&mut self, gone: impl Fn(&Receipt) -> bool) {
        let kept: OrdMap<_, _> = self
            .receipts
            .iter()
            .filter(|(_, receipt)| !gone(receipt))
            .map(|(id, receipt)| (id.clone(), receipt.clone()))
            .collect();
        if kept.len() < self.receipts.len() {
            self.receipt_order.retain(|(_, id)| kept.contains_key(id));
            self.receipts = kept;
        }
    }

    /// Takes note that a record was copied for a job.
    pub(crate) fn copied(&mut self, job: &str, original: u64) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.copied = job.copied.max(original);
            job.moved += 1;
        }
    }

    /// Takes note of what a job will erase; the first word holds.
    pub(crate) fn planned(&mut self, job: &str, plan: Planned) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.planned.get_or_insert(plan);
        }
    }

    /// Takes what a record that counts says of its input.
    pub(crate) fn take(&mut self, stamp: Stamp) {
        self.at = self.at.max(stamp.at);
        self.positions = stamp.positions;
        if let Some(rest) = stamp.rest {
            (self.rest, self.holes) = (rest.into(), 0);
        }
        if let Some(receipt) = stamp.receipt {
            self.receipt_order.push_back((stamp.at, receipt.request_id.clone()));
            self.receipts.insert(receipt.request_id.clone(), receipt);
        }
        while let Some((since, _)) = self.receipt_order.front()
            && (self.at.since(*since) > RECEIPTS_FOR || self.receipts.len() > RECEIPTS_AT_MOST)
            && let Some((_, request_id)) = self.receipt_order.pop_front()
        {
            self.receipts.remove(&request_id);
        }
    }
}
