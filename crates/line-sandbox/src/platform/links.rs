//! Link tokens: one half of joining a person of LINE with an account of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::{At, ChannelId, derive_uuid};

const LIVES: Duration = Duration::from_mins(10);

/// Link tokens by their text.
#[derive(Default)]
pub(super) struct Links {
    tokens: BTreeMap<String, (ChannelId, String, At)>,
    issued: u64,
}

impl Links {
    pub(super) fn issue(&mut self, channel: &ChannelId, user: &str, at: At) -> String {
        self.tokens.retain(|_, (_, _, issued_at)| at.since(*issued_at) < LIVES);
        self.issued += 1;
        let token = derive_uuid(&format!("line-sandbox link token {}", self.issued));
        let token = token.simple().to_string();
        self.tokens.insert(token.clone(), (channel.clone(), user.to_owned(), at));
        token
    }

    /// Once, within ten minutes.
    pub(super) fn redeem(&mut self, token: &str, at: At) -> Option<(ChannelId, String)> {
        let (channel, user, issued_at) = self.tokens.remove(token)?;
        (at.since(issued_at) < LIVES).then_some((channel, user))
    }
}
