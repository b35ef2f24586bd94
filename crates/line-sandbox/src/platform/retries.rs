//! Calls that were accepted under a retry key.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mainstem_domain::{At, ChannelId};
use uuid::Uuid;

/// After this the same retry key sends again.
const LIVES: Duration = Duration::from_hours(24);

/// By channel and key.
#[derive(Default)]
pub(super) struct Retries {
    accepted: BTreeMap<(ChannelId, Uuid), Accepted>,
    /// In the order in which they were accepted.
    order: VecDeque<(ChannelId, Uuid)>,
}

/// A call that was accepted.
#[derive(Clone)]
pub(super) struct Accepted {
    pub(super) at: At,
    /// Of the body: LINE looks at the key alone, and says 409 to another body too. That is a message
    /// that nobody ever sees, so it is counted.
    pub(super) digest: Uuid,
    pub(super) request_id: String,
}

impl Retries {
    pub(super) fn before(&self, channel: &ChannelId, key: Uuid, at: At) -> Option<&Accepted> {
        let accepted = self.accepted.get(&(channel.clone(), key))?;
        (at.since(accepted.at) < LIVES).then_some(accepted)
    }

    pub(super) fn note(&mut self, channel: &ChannelId, key: Uuid, accepted: Accepted) {
        let at = accepted.at;
        let key = (channel.clone(), key);
        while let Some(oldest) = self.order.front()
            && self.accepted.get(oldest).is_none_or(|held| at.since(held.at) >= LIVES)
        {
            self.accepted.remove(oldest);
            self.order.pop_front();
        }
        if self.accepted.insert(key.clone(), accepted).is_none() {
            self.order.push_back(key);
        }
    }
}
