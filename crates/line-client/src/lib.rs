//! Calls to LINE's API, each with the access token of its account.
//!
//! An account that has a `channel_id` asks for stateless tokens (15 minutes, as many as one likes)
//! and has a new one before the old one ends; one without sends the `access_token` of its channels
//! file. A token that LINE does not take any more is renewed once, and the call made again: LINE did
//! nothing for a call that it did not let in.
//!
//! Invariant: no error, log or `Debug` of this crate shows a token, a secret, a user id or a text.

mod access;
mod account;
mod call;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_domain::{At, ChannelId};
use mainstem_line::Channels;

pub use account::{Account, Content, Fetched, Heard, Profile, Quota, Send};
pub use call::CallError;

use crate::access::Access;
use crate::call::Caller;

/// Where LINE answers.
#[derive(Clone, Debug)]
pub struct Urls {
    /// `https://api.line.me`, or a stand-in's address.
    pub api: String,
    /// `https://api-data.line.me`, where the contents of messages are, or a stand-in's address.
    pub data: String,
}

/// LINE as the accounts of a channels file see it.
pub struct LineClient {
    caller: Caller,
    accounts: BTreeMap<ChannelId, Access>,
}

impl LineClient {
    /// `within`: how long a call may take until its answer begins and, for calls that send, ends.
    ///
    /// # Errors
    /// No HTTP client can be built on this machine.
    pub fn new(
        channels: &Channels,
        urls: &Urls,
        within: Duration,
        now: Arc<dyn Fn() -> At + std::marker::Send + Sync>,
    ) -> Result<Self, reqwest::Error> {
        let accounts =
            channels.iter().map(|(id, channel)| (id.clone(), Access::new(channel))).collect();
        Ok(Self { caller: Caller::new(urls, within, now)?, accounts })
    }

    /// The account of that channel, if there are credentials of it.
    pub fn account(&self, channel: &ChannelId) -> Option<Account<'_>> {
        let (channel, access) = self.accounts.get_key_value(channel)?;
        Some(Account { channel, access, caller: &self.caller })
    }
}
