//! The right to call LINE for an account.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::{At, ChannelId, derive_uuid};
use mainstem_line::{Channel, Channels};
use secrecy::ExposeSecret as _;

/// A stateless token lives so long.
const STATELESS_LIVES: Duration = Duration::from_mins(15);

/// Access tokens by their text: those of the channels file, which live until they are revoked, and
/// those that were issued.
#[derive(Default)]
pub(super) struct Access {
    grants: BTreeMap<String, Grant>,
    issued: u64,
}

struct Grant {
    channel: ChannelId,
    until: Option<At>,
    revoked: bool,
}

/// Why a token is not taken, in LINE's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    Missing,
    Unknown,
    Expired,
    Revoked,
}

impl Denied {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Missing => {
                "Authentication failed due to the following reason: missing access token. Confirm \
                 that the access token in the authorization header is valid."
            }
            Self::Unknown => {
                "Authentication failed. Confirm that the access token in the authorization header \
                 is valid."
            }
            Self::Expired => {
                "Authentication failed due to the following reason: accessToken expired. Confirm \
                 that the access token in the authorization header is valid."
            }
            Self::Revoked => {
                "Authentication failed due to the following reason: accessToken revoked. Confirm \
                 that the access token in the authorization header is valid."
            }
        }
    }
}

impl Access {
    pub(super) fn new(channels: &Channels) -> Self {
        let mut access = Self::default();
        for (id, channel) in channels {
            let grant = || Grant { channel: id.clone(), until: None, revoked: false };
            if let Some(token) = &channel.access_token {
                access.grants.entry(token.expose_secret().to_owned()).or_insert_with(grant);
            }
        }
        access
    }

    /// A token of 15 minutes, and how many seconds it lives. Any number can be good at once.
    pub(super) fn issue(&mut self, channel: &ChannelId, at: At) -> (String, u64) {
        self.grants
            .retain(|_, grant| grant.until.is_none_or(|until| at < until.after(STATELESS_LIVES)));
        self.issued += 1;
        let seal = derive_uuid(&format!("line-sandbox access token {} {channel}", self.issued));
        let token = format!("stateless.{}", seal.simple());
        let until = Some(at.after(STATELESS_LIVES));
        self.grants
            .insert(token.clone(), Grant { channel: channel.clone(), until, revoked: false });
        (token, STATELESS_LIVES.as_secs() - 1)
    }

    /// Whose token this is.
    pub(super) fn holder(&self, authorization: Option<&str>, at: At) -> Result<&ChannelId, Denied> {
        let token = authorization.and_then(|header| header.strip_prefix("Bearer "));
        let grant = self.grants.get(token.ok_or(Denied::Missing)?).ok_or(Denied::Unknown)?;
        if grant.revoked {
            return Err(Denied::Revoked);
        }
        if grant.until.is_some_and(|until| at >= until) {
            return Err(Denied::Expired);
        }
        Ok(&grant.channel)
    }

    /// One token is good no more. LINE says the same for a token that it does not know.
    pub(super) fn revoke(&mut self, token: &str) {
        if let Some(grant) = self.grants.get_mut(token) {
            grant.revoked = true;
        }
    }

    /// All tokens of a channel are good no more, as after a leak; says how many they were.
    pub(super) fn revoke_all(&mut self, channel: &ChannelId) -> usize {
        let held =
            self.grants.values_mut().filter(|grant| grant.channel == *channel && !grant.revoked);
        held.map(|grant| grant.revoked = true).count()
    }
}

/// The channel that presents itself by LINE's id of it, or by ours where the channels file has none,
/// and its secret.
pub(super) fn client<'a>(
    channels: &'a Channels,
    client_id: &str,
    client_secret: &str,
) -> Option<&'a ChannelId> {
    let names = |id: &ChannelId, channel: &Channel| match &channel.channel_id {
        Some(own) => own == client_id,
        None => id.as_str() == client_id,
    };
    let (id, channel) = channels.iter().find(|(id, channel)| names(id, channel))?;
    (channel.secret.expose_secret() == client_secret).then_some(id)
}
