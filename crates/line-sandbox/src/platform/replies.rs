//! Rights to answer an event.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::{At, ChannelId};

/// LINE says "about a minute".
const LIVES: Duration = Duration::from_mins(1);

/// Reply tokens by their text.
#[derive(Default)]
pub(super) struct Replies {
    tokens: BTreeMap<String, Token>,
}

struct Token {
    channel: ChannelId,
    to: String,
    issued_at: At,
    used: bool,
}

impl Replies {
    /// A token that is known already stays as it is: a redelivery carries the same one.
    pub(super) fn issue(&mut self, token: &str, channel: &ChannelId, to: &str, at: At) {
        self.tokens.entry(token.to_owned()).or_insert_with(|| Token {
            channel: channel.clone(),
            to: to.to_owned(),
            issued_at: at,
            used: false,
        });
    }

    /// Whom the token answers, if the account may use it.
    pub(super) fn good(&self, token: &str, channel: &ChannelId, at: At) -> Option<&str> {
        let held = self.tokens.get(token)?;
        let good = !held.used && held.channel == *channel && at.since(held.issued_at) < LIVES;
        good.then_some(held.to.as_str())
    }

    pub(super) fn used(&mut self, token: &str) {
        if let Some(held) = self.tokens.get_mut(token) {
            held.used = true;
        }
    }
}
