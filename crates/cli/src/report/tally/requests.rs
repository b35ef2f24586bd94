//! What was asked to be told to customers, and what became of it.

use std::collections::BTreeMap;

use mainstem_domain::ItemId;
use mainstem_domain::notification::{Event, Outcome, Standing};
use serde::Serialize;

/// What became of the requests to tell customers something; at every moment
/// `asked = sent + suppressed + expired + failed + waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// All of them.
    pub asked: u64,
    /// The vendor took it.
    pub sent: u64,
    /// Not to be said, or not there.
    pub suppressed: u64,
    /// Not said in time.
    pub expired: u64,
    /// The vendor will never take it, or nobody knows whether it did.
    pub failed: u64,
    /// On its way, or waiting for quiet hours to end or for the budget.
    pub waiting: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Waits,
    Sent,
    Suppressed,
    Expired,
    Failed,
}

impl From<&Outcome> for Stands {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Sent => Self::Sent,
            Outcome::Suppressed { .. } => Self::Suppressed,
            Outcome::Expired { .. } => Self::Expired,
            Outcome::Failed { .. } => Self::Failed,
        }
    }
}

/// Where each request stands, by what the ledger says.
#[derive(Debug, Default)]
pub(super) struct Book {
    stands: BTreeMap<ItemId, Stands>,
    /// What goes out with an item that has not ended.
    joined: BTreeMap<ItemId, Vec<ItemId>>,
}

impl Book {
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Deferred { id, .. } => self.set(*id, Stands::Waits),
            Event::Queued { id, item } => {
                self.set(*id, Stands::Waits);
                if !item.joined.is_empty() {
                    self.joined.insert(*id, item.joined.clone());
                }
            }
            Event::Ended { id, outcome, .. } => self.set(*id, outcome.into()),
            Event::Settled { id, outcome, .. } => {
                for one in self.joined.remove(id).into_iter().flatten().chain([*id]) {
                    self.set(one, outcome.into());
                }
            }
            // Said again. Whose earlier records are deleted is told here alone.
            Event::Restated { id, standing } => self.set(
                *id,
                match standing {
                    Standing::Deferred(_) | Standing::Queued(_) => Stands::Waits,
                    Standing::Ended(ended) => (&ended.outcome).into(),
                },
            ),
            // What became of it follows, unless that was erased.
            Event::Released { id, .. } => {
                self.stands.remove(id);
            }
            Event::RequestVoided { id } => self.set(*id, Stands::Failed),
            Event::Handed { .. }
            | Event::ItemsVoided { .. }
            | Event::AddressLearned { .. }
            | Event::Followed { .. }
            | Event::Engaged { .. }
            | Event::TraitTold { .. }
            | Event::ConsentTold { .. }
            | Event::PreferencesSet { .. }
            | Event::PersonMoved { .. }
            | Event::PersonRestated { .. }
            | Event::WishesRestated { .. }
            | Event::Begun { .. }
            | Event::Custody(_) => {}
        }
    }

    fn set(&mut self, id: ItemId, stands: Stands) {
        self.stands.insert(id, stands);
    }

    pub(super) fn requests(&self) -> Requests {
        let mut requests = Requests::default();
        for stands in self.stands.values() {
            requests.asked += 1;
            *match stands {
                Stands::Waits => &mut requests.waiting,
                Stands::Sent => &mut requests.sent,
                Stands::Suppressed => &mut requests.suppressed,
                Stands::Expired => &mut requests.expired,
                Stands::Failed => &mut requests.failed,
            } += 1;
        }
        requests
    }
}
