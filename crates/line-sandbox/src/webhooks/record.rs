//! What the accounts' webhooks took, and what of it came to the incumbents.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::ChannelId;

use crate::Ledger;
use crate::ledger::Relayed;

/// Webhooks are told apart by their signatures: other bytes have another one.
#[derive(Debug, Default)]
pub(crate) struct Record {
    events: BTreeMap<ChannelId, BTreeMap<String, u64>>,
    /// By signature, whether it was answered 2xx.
    sent: BTreeMap<ChannelId, BTreeMap<String, bool>>,
    incumbents: BTreeMap<ChannelId, Incumbent>,
}

#[derive(Debug, Default)]
struct Incumbent {
    came: BTreeSet<String>,
    repeated: u64,
    strange: u64,
}

impl Record {
    /// A webhook is on its way.
    pub(crate) fn sends(&mut self, channel: &ChannelId, signature: &str) {
        let sent = self.sent.entry(channel.clone()).or_default();
        sent.entry(signature.to_owned()).or_default();
    }

    /// A webhook with these events was answered 2xx.
    pub(crate) fn took<'a>(
        &mut self,
        channel: &ChannelId,
        signature: &str,
        events: impl IntoIterator<Item = &'a str>,
    ) {
        self.sent.entry(channel.clone()).or_default().insert(signature.to_owned(), true);
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
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (no_webhooks, nothing) = (BTreeMap::new(), Incumbent::default());
        let channels: BTreeSet<_> = self.sent.keys().chain(self.incumbents.keys()).collect();
        for channel in channels {
            let sent = self.sent.get(channel).unwrap_or(&no_webhooks);
            let incumbent = self.incumbents.get(channel).unwrap_or(&nothing);
            let taken = sent.iter().filter(|(_, taken)| **taken).map(|(signature, _)| signature);
            let never_sent = incumbent.came.iter().filter(|came| !sent.contains_key(*came));
            let relayed = Relayed {
                taken: number(taken.clone().count()),
                came: number(taken.filter(|taken| incumbent.came.contains(*taken)).count()),
                repeated: incumbent.repeated,
                strange: incumbent.strange + number(never_sent.count()),
            };
            ledger.incumbents.insert(channel.clone(), relayed);
        }
    }
}
