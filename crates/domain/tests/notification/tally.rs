//! `asked = sent + suppressed + expired + failed + waiting`, counted from the events alone.

use std::collections::BTreeMap;

use mainstem_domain::ItemId;
use mainstem_domain::notification::{Event, Outcome};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Waits,
    Queued,
    Ended(usize),
}

/// Where each request stands that was ever asked for.
#[derive(Default)]
pub(crate) struct Tally {
    stands: BTreeMap<ItemId, Stand>,
    joined: BTreeMap<ItemId, Vec<ItemId>>,
}

fn number(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Sent => 0,
        Outcome::Suppressed { .. } => 1,
        Outcome::Expired { .. } => 2,
        Outcome::Failed { .. } => 3,
    }
}

impl Tally {
    /// Moves a request on: from nowhere or waiting to anywhere, from queued to its end, and from there
    /// nowhere.
    pub(crate) fn count(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Deferred { id, .. } => self.go(*id, Stand::Waits),
            Event::Queued { id, item } => {
                self.joined.insert(*id, item.joined.clone());
                for joined in &item.joined {
                    prop_assert_eq!(self.stands.get(joined), Some(&Stand::Waits));
                    self.go(*joined, Stand::Queued)?;
                }
                self.go(*id, Stand::Queued)
            }
            Event::Ended { id, outcome, .. } => {
                prop_assert!(*outcome != Outcome::Sent, "sent without an item");
                self.go(*id, Stand::Ended(number(outcome)))
            }
            Event::Settled { id, outcome, .. } => {
                let all = [*id].into_iter().chain(self.joined[id].clone());
                for id in all {
                    prop_assert_eq!(self.stands.get(&id), Some(&Stand::Queued));
                    self.stands.insert(id, Stand::Ended(number(outcome)));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn go(&mut self, id: ItemId, to: Stand) -> Result<(), TestCaseError> {
        let from = self.stands.insert(id, to);
        prop_assert!(matches!(from, None | Some(Stand::Waits)), "{} goes on from {:?}", id, from);
        Ok(())
    }

    pub(crate) fn asked(&self) -> usize {
        self.stands.len()
    }

    /// Sent, suppressed, expired, failed.
    pub(crate) fn ended(&self) -> [usize; 4] {
        let mut ended = [0; 4];
        for stand in self.stands.values() {
            if let Stand::Ended(how) = stand {
                ended[*how] += 1;
            }
        }
        ended
    }
}
