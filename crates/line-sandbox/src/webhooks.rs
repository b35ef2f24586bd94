//! What the accounts' webhooks took, and what of it came to the incumbents.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::ChannelId;

use crate::Ledger;
use crate::ledger::Relayed;

/// Webhooks are told apart by their signatures: other bytes have another one.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    events: BTreeMap<ChannelId, BTreeMap<String, u64>>,
    taken: BTreeMap<ChannelId, BTreeSet<String>>,
    incumbents: BTreeMap<ChannelId, Incumbent>,
}

#[derive(Debug, Default)]
struct Incumbent {
    came: BTreeSet<String>,
    repeated: u64,
    strange: u64,
}

impl Webhooks {
    /// A webhook with these events was answered 2xx.
    pub(crate) fn took<'a>(
        &mut self,
        channel: &ChannelId,
        signature: &str,
        events: impl IntoIterator<Item = &'a str>,
    ) {
        self.taken.entry(channel.clone()).or_default().insert(signature.to_owned());
        let times = self.events.entry(channel.clone()).or_default();
        for event in events {
            *times.entry(event.to_owned()).or_default() += 1;
        }
    }

    /// Something came to an incumbent; `signed` with the account's secret, or not.
    pub(crate) fn came(&mut self, channel: &ChannelId, signature: &str, signed: bool) {
        let incumbent = self.incumbents.entry(channel.clone()).or_default();
        if !signed {
            incumbent.strange += 1;
        } else if !incumbent.came.insert(signature.to_owned()) {
            incumbent.repeated += 1;
        }
    }

    /// Writes what is known into a ledger.
    pub(crate) fn tell(&self, ledger: &mut Ledger) {
        ledger.events.clone_from(&self.events);
        let none = BTreeSet::new();
        for (channel, incumbent) in &self.incumbents {
            let taken = self.taken.get(channel).unwrap_or(&none);
            let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
            let came = number(incumbent.came.intersection(taken).count());
            let relayed = Relayed {
                sent: number(taken.len()),
                came,
                repeated: incumbent.repeated,
                strange: incumbent.strange + number(incumbent.came.len()) - came,
            };
            ledger.incumbents.insert(channel.clone(), relayed);
        }
    }
}
