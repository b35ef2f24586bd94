//! What the engine does for its custodian: copies of records that are moved or hidden, plans of what
//! is erased, and which jobs are open.

use mainstem_domain::At;

use super::memory::Stamp;
use super::write::{json, own_draft};
use super::{Engine, kind};
use crate::custody::{Chore, Keeper, Message, Plan, Planned, Work, verdict};
use crate::machine::Machine;
use crate::record::{Record, Stored, Unreadable, carried, header};
use crate::topology;

/// Headers of an original that its copy does not have, or has anew.
const OF_THE_ORIGINAL: [&str; 2] = [header::REST, header::RECEIPT];

impl<M: Machine> Engine<M> {
    /// The jobs that are open, by records that are stored.
    pub(crate) fn work(&self) -> Vec<Work> {
        if self.memory.jobs.is_empty() {
            return Vec::new();
        }
        M::chores(&self.memory.state)
            .into_iter()
            .filter_map(|chore| {
                let job = self.memory.jobs.get(chore.job())?.clone();
                Some(Work { chore, job })
            })
            .filter(|work| work.job.since <= self.stored)
            .collect()
    }

    /// What is to be done with a record by a job, from the oldest record on. One that belongs to
    /// another is copied; whoever asks deletes the original when the copy is stored, before it
    /// asks about the next.
    pub(super) fn relocate(&mut self, job: &str, original: &Stored, now: At) -> &'static str {
        let sequence = original.sequence;
        if self.memory.jobs.get(job).is_none_or(|open| sequence >= open.since) {
            return verdict::STAYS;
        }
        if let Some(verdict) = self.asked_before(job, sequence) {
            return verdict;
        }
        match self.keeper(original) {
            Keeper::Stays => verdict::STAYS,
            Keeper::Deleted => verdict::REMOVE,
            Keeper::Belongs(customer, subject) => {
                let headers = [
                    (header::CUSTOMER, customer.to_string()),
                    (header::MOVED_FROM, format!("{job}/{sequence}")),
                ];
                self.copy(&original.record, subject, &headers, now);
                verdict::REMOVE
            }
        }
    }

    /// What is to be done with a record by a job that hides a message, as with
    /// [`relocate`](Self::relocate).
    pub(super) fn hide(&mut self, job: &str, original: &Stored, now: At) -> &'static str {
        let since = self.memory.jobs.get(job).map_or(0, |open| open.since);
        let Some(message) = self.message_of(job).filter(|_| original.hidden_since(since)) else {
            return verdict::STAYS;
        };
        let Some(body) = M::without(&message, &original.record) else { return verdict::STAYS };
        let sequence = original.sequence;
        if let Some(verdict) = self.asked_before(job, sequence) {
            return verdict;
        }
        let record = Record { body, ..original.record.clone() };
        let subject = record.subject.clone();
        self.copy(&record, subject, &[(header::MOVED_FROM, format!("{job}/{sequence}"))], now);
        verdict::REMOVE
    }

    /// The message that an open job hides.
    fn message_of(&self, job: &str) -> Option<Message> {
        self.memory.jobs.get(job)?;
        M::chores(&self.memory.state).into_iter().find_map(|chore| {
            let Chore::Hide { job: name, message, .. } = chore else { return None };
            (name == job).then_some(message)
        })
    }

    /// What was said before of a record by a job, and what holds for one that does not count.
    ///
    /// The one before was deleted before this one was asked about, so only the newest copy's original
    /// can still be there. What stayed before it, stays.
    fn asked_before(&self, job: &str, sequence: u64) -> Option<&'static str> {
        let copied = self.memory.jobs.get(job).map_or(0, |open| open.copied);
        if sequence < copied {
            return Some(verdict::STAYS);
        }
        let gone = sequence == copied || self.memory.voided.contains(&sequence);
        gone.then_some(verdict::REMOVE)
    }

    /// Whose a record is. One that stays, and carries others that do not, is copied to where it
    /// stands: the copy carries nothing.
    fn keeper(&self, original: &Stored) -> Keeper {
        let state = &self.memory.state;
        let keeper = M::keeper_of(state, original);
        let owner = topology::customer_of(&original.record.subject);
        let rest = original.record.header(header::REST).and_then(|rest| carried(rest).ok());
        if let (Keeper::Stays, Some(owner), Some(rest)) = (&keeper, owner, rest) {
            let Stored { sequence, stored_at, .. } = *original;
            let away = rest
                .into_iter()
                .map(|record| M::keeper_of(state, &Stored { sequence, stored_at, record }))
                .any(|keeper| keeper != Keeper::Stays);
            if away {
                return Keeper::Belongs(owner, original.record.subject.clone());
            }
        }
        keeper
    }

    fn copy(
        &mut self,
        original: &Record,
        subject: String,
        set: &[(&'static str, String)],
        now: At,
    ) {
        let mut record = Record { subject, ..original.clone() };
        for name in OF_THE_ORIGINAL {
            record.headers.remove(name);
        }
        for (name, value) in set {
            record.headers.set(*name, value);
        }
        let positions = self.memory.positions.clone();
        record.headers.set(header::EPOCH, self.memory.epoch.number.to_string());
        record.headers.set(header::POSITIONS, positions.to_string());
        let at = record.header(header::RECORDED_TIME).and_then(At::parse);
        let stamp = Stamp::new(at.unwrap_or(now.max(self.memory.at)), positions);
        let message = Stored { sequence: self.memory.sequence + 1, stored_at: 0, record };
        // What does not decode here does not decode for the next who folds it either, and that one
        // names the place.
        let _ = self.fold_moved(&message, &stamp);
        self.memory.take(stamp);
        self.send(vec![message.record], false);
    }

    /// Takes a moved copy.
    pub(super) fn fold_moved(&mut self, message: &Stored, stamp: &Stamp) -> Result<(), Unreadable> {
        let (job, original) = message
            .record
            .moved_from()
            .ok_or_else(|| Unreadable(format!("{} is malformed", header::MOVED_FROM)))?;
        self.memory.copied(job, original);
        if let Some(event) = M::moved(message)? {
            self.evolve(&event, stamp.at, message.sequence, &stamp.positions);
        }
        Ok(())
    }

    /// Writes down what a job will erase, if that was not done before.
    pub(super) fn plan(&mut self, job: &str, counts: crate::custody::Counts, now: At) {
        if self.memory.jobs.get(job).is_none_or(|open| open.planned.is_some()) {
            return;
        }
        let plan = Plan { job: job.to_owned(), counts };
        let draft = own_draft::<M>(topology::CUSTODY, kind::CUSTODY, json(&plan));
        let cause = self.own_cause("custody", &format!("custody/{job}/{}", self.memory.sequence));
        let sequence = self.memory.sequence + 1;
        self.memory.planned(job, Planned { sequence, counts: plan.counts });
        self.append(&cause, &[], vec![draft], None, now);
    }

    /// Takes the record of a plan.
    pub(super) fn fold_plan(&mut self, message: &Stored) -> Result<(), Unreadable> {
        let Plan { job, counts } = serde_json::from_slice(&message.record.body)
            .map_err(|error| Unreadable(error.to_string()))?;
        self.memory.planned(&job, Planned { sequence: message.sequence, counts });
        Ok(())
    }
}
