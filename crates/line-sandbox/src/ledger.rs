use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstem_domain::ChannelId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What every user saw and how it came about, and what every account's webhook took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Over all channels.
    pub totals: Totals,
    /// Messages of which the same user had seen one with the same retry key or reply token before.
    /// Anything but 0 is a double send that LINE itself would not have stopped.
    pub doubled: u64,
    /// Messages of which the same user had seen one with the same `traceparent` before. A sender
    /// that derives it from the item shows here what it sent once by reply and once by push.
    pub doubled_by_trace: u64,
    /// By channel.
    pub channels: BTreeMap<ChannelId, Totals>,
    /// Each call that a user saw, in order.
    pub messages: Vec<Seen>,
    /// Each event whose delivery was answered 2xx, by channel and by the event's id, and how
    /// often: every time but the first must have left no second trace.
    pub events: BTreeMap<ChannelId, BTreeMap<String, u64>>,
    /// What each channel's webhook took, and what of it came to its incumbent: nothing, unless it
    /// is in shadow.
    pub incumbents: BTreeMap<ChannelId, Relayed>,
}

/// Counts of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Accepted, by any call that sends.
    pub accepted: u64,
    /// Of these, by reply.
    pub replies: u64,
    /// Of these, by push.
    pub pushes: u64,
    /// Of these, by push without a retry key.
    pub pushes_without_key: u64,
    /// Pushes that were accepted and that nobody saw: to one who blocked the account, or a stranger.
    pub undelivered: u64,
    /// Of the accepted, by multicast.
    pub multicasts: u64,
    /// Of the accepted, by narrowcast or broadcast.
    pub broadcasts: u64,
    /// Accepted, and answered 500 or not readably nevertheless.
    pub answers_lost: u64,
    /// Answered 409: accepted before under the same retry key.
    pub repeated: u64,
    /// Of these, under a key that another body had been accepted with: a message that nobody sees,
    /// and whose sender takes it for sent.
    pub keys_reused: u64,
    /// Answered otherwise, and not stored.
    pub refused: u64,
    /// Of these, 429 for too many calls.
    pub rate_limited: u64,
    /// Of these, 429 for the month's quota.
    pub over_quota: u64,
}

/// One call that was accepted: its user saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// When, in RFC 3339.
    pub at: String,
    /// The account that it came from.
    pub channel: ChannelId,
    /// Who saw it.
    pub user: String,
    /// By which call.
    pub way: Way,
    /// What it said; of a message that is no text, its kind and its parts in brackets.
    pub texts: Vec<String>,
    /// The messages as they were sent.
    pub messages: Arc<Vec<Value>>,
    /// The retry key of a call that takes one.
    pub retry_key: Option<String>,
    /// The token of a reply.
    pub reply_token: Option<String>,
    /// The header of that name as it came, so that a test can follow an event to its answer.
    pub traceparent: Option<String>,
    /// LINE's id of the call.
    pub request_id: String,
    /// The sender was not told.
    pub answer_lost: bool,
}

/// By which call a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As the answer to an event.
    Reply,
    /// On the account's own.
    Push,
    /// With up to 500 others.
    Multicast,
    /// With all others who fit.
    Narrowcast,
    /// With all friends.
    Broadcast,
}

/// One channel's webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Webhooks that were answered 2xx, each counted once however often it was sent. A redelivery
    /// that says so is other bytes, and counts for itself.
    pub taken: u64,
    /// Of these, those that came to the incumbent: the same bytes with the same signature.
    pub came: u64,
    /// Times that a webhook came to the incumbent again.
    pub repeated: u64,
    /// What came to the incumbent with a signature that is not the account's, or that the account
    /// never sent.
    pub strange: u64,
}

/// What one person saw, on all accounts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SeenByUser {
    /// Each call that the person saw, in order.
    pub messages: Vec<Seen>,
    /// As in the [`Ledger`], of this person.
    pub doubled: u64,
    /// As in the [`Ledger`], of this person.
    pub doubled_by_trace: u64,
    /// How often the person saw each text: "exactly once" is 1.
    pub times: BTreeMap<String, u64>,
}

impl SeenByUser {
    pub(crate) fn of(messages: Vec<Seen>) -> Self {
        let (doubled, doubled_by_trace) = doubled(&messages);
        let mut times = BTreeMap::new();
        for text in messages.iter().flat_map(|seen| &seen.texts) {
            *times.entry(text.clone()).or_default() += 1;
        }
        Self { messages, doubled, doubled_by_trace, times }
    }
}

impl Ledger {
    pub(crate) fn of(messages: Vec<Seen>, counts: &BTreeMap<ChannelId, Totals>) -> Self {
        let (doubled, doubled_by_trace) = doubled(&messages);
        let totals = counts.values().fold(Totals::default(), Totals::and);
        let channels = counts.clone();
        Self { totals, doubled, doubled_by_trace, channels, messages, ..Self::default() }
    }

    /// Deliveries of events beyond the first of each.
    #[must_use]
    pub fn events_repeated(&self) -> u64 {
        self.events.values().flat_map(BTreeMap::values).map(|times| times.saturating_sub(1)).sum()
    }
}

impl Totals {
    fn and(self, other: &Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            replies: self.replies + other.replies,
            pushes: self.pushes + other.pushes,
            pushes_without_key: self.pushes_without_key + other.pushes_without_key,
            undelivered: self.undelivered + other.undelivered,
            multicasts: self.multicasts + other.multicasts,
            broadcasts: self.broadcasts + other.broadcasts,
            answers_lost: self.answers_lost + other.answers_lost,
            repeated: self.repeated + other.repeated,
            keys_reused: self.keys_reused + other.keys_reused,
            refused: self.refused + other.refused,
            rate_limited: self.rate_limited + other.rate_limited,
            over_quota: self.over_quota + other.over_quota,
        }
    }
}

/// How many messages repeat one with the same key, and how many one with the same trace.
fn doubled(messages: &[Seen]) -> (u64, u64) {
    let (mut keys, mut traces) = (BTreeSet::new(), BTreeSet::new());
    let (mut doubled, mut doubled_by_trace) = (0, 0);
    for seen in messages {
        let key = seen.retry_key.as_ref().or(seen.reply_token.as_ref());
        doubled += u64::from(key.is_some_and(|key| !keys.insert((&seen.user, key))));
        let trace = seen.traceparent.as_ref();
        doubled_by_trace +=
            u64::from(trace.is_some_and(|trace| !traces.insert((&seen.user, trace))));
    }
    (doubled, doubled_by_trace)
}
