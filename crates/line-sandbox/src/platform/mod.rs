//! LINE's side, without I/O: what each call comes to, and who sees what.

mod access;
mod answer;
mod calls;
mod chats;
mod limits;
mod links;
mod media;
mod people;
mod replies;
mod retries;
mod send;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::BTreeMap;

use mainstem_domain::{At, ChannelId, derive_uuid};
use mainstem_line::Channels;
use serde_json::Value;

use crate::accounts::{Figures, Settings};
use crate::faults::{Faults, Injector};
use crate::ledger::{Ledger, Seen, SeenByUser, Totals};

pub(crate) use answer::{Answer, Body};
pub(crate) use calls::{Call, Request, Unread};
pub(crate) use chats::Chats;
pub use chats::{Author, ChatLine, Entry};
pub(crate) use media::Content;
pub(crate) use people::People;
pub use people::{Friendship, Person};

/// What the platform remembers of all its accounts.
pub struct Platform {
    channels: Channels,
    accounts: BTreeMap<ChannelId, Account>,
    access: access::Access,
    replies: replies::Replies,
    retries: retries::Retries,
    links: links::Links,
    people: People,
    chats: Chats,
    media: media::Media,
    faults: Injector,
    narrowcasts: BTreeMap<String, send::Narrowcast>,
    seen: Vec<Seen>,
    requests: u64,
    messages: u64,
}

/// One account.
struct Account {
    settings: Settings,
    figures: Figures,
    buckets: limits::Buckets,
    usage: limits::Usage,
}

impl Platform {
    /// Nobody has seen anything, and nobody is anybody's friend.
    pub fn new(faults: Faults, channels: &Channels) -> Self {
        let account = |id: &ChannelId| Account {
            settings: Settings::new(id),
            figures: Figures::default(),
            buckets: limits::Buckets::default(),
            usage: limits::Usage::default(),
        };
        Self {
            accounts: channels.iter().map(|(id, _)| (id.clone(), account(id))).collect(),
            access: access::Access::new(channels),
            replies: replies::Replies::default(),
            retries: retries::Retries::default(),
            links: links::Links::default(),
            people: People::new(channels),
            chats: Chats::default(),
            media: media::Media::default(),
            faults: Injector::new(faults),
            narrowcasts: BTreeMap::new(),
            seen: Vec::new(),
            requests: 0,
            messages: 0,
            channels: channels.clone(),
        }
    }

    /// Gives the account the right to answer the user once. A token that is known already stays as
    /// it is: a redelivery carries the same one.
    pub fn issue_reply_token(&mut self, token: &str, channel: &ChannelId, user: &str, at: At) {
        self.replies.issue(token, channel, user, at);
    }

    /// Makes a person a friend of an account, as `follow` does, or one who blocked it.
    pub fn befriend(&mut self, channel: &ChannelId, user: &str, friend: bool) {
        let friendship = if friend { Friendship::Friend } else { Friendship::Blocked };
        self.people.befriend(channel, user, friendship);
    }

    /// What every user saw until now.
    pub fn ledger(&self) -> Ledger {
        let counts: BTreeMap<ChannelId, Totals> = self
            .accounts
            .iter()
            .filter(|(_, account)| account.figures.totals != Totals::default())
            .map(|(id, account)| (id.clone(), account.figures.totals))
            .collect();
        Ledger::of(self.seen.clone(), &counts)
    }

    /// What one person saw until now.
    pub fn seen_by(&self, user: &str) -> SeenByUser {
        SeenByUser::of(self.seen.iter().filter(|seen| seen.user == user).cloned().collect())
    }

    /// The figures of each account.
    pub fn figures(&self, at: At) -> BTreeMap<ChannelId, Figures> {
        let figures = |account: &Account| Figures {
            quota_used: account.usage.used(at),
            ..account.figures.clone()
        };
        self.accounts.iter().map(|(id, account)| (id.clone(), figures(account))).collect()
    }

    /// What an account is set to.
    pub fn settings(&self, channel: &ChannelId) -> Option<&Settings> {
        self.accounts.get(channel).map(|account| &account.settings)
    }

    /// Sets an account.
    pub fn change(&mut self, channel: &ChannelId, settings: Settings) {
        if let Some(account) = self.accounts.get_mut(channel) {
            account.settings = settings;
        }
    }

    /// Says how much of the month's quota an account has used.
    pub fn set_quota_used(&mut self, channel: &ChannelId, messages: u64, at: At) {
        if let Some(account) = self.accounts.get_mut(channel) {
            account.usage.set(messages, at);
        }
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        self.faults.plan()
    }

    /// Another plan: calls are counted anew for it.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = Injector::new(faults);
    }

    /// All access tokens of a channel are good no more; says how many they were.
    pub fn revoke_tokens(&mut self, channel: &ChannelId) -> usize {
        self.access.revoke_all(channel)
    }

    /// A new person.
    pub fn create_person(&mut self, person: Person, at: At) -> String {
        self.people.create(person, at)
    }

    /// What a person tells of themselves.
    pub fn change_person(&mut self, user: &str, person: Person) {
        self.people.change(user, person);
    }

    pub(crate) fn people(&self) -> &People {
        &self.people
    }

    pub(crate) fn chats(&self) -> &Chats {
        &self.chats
    }

    /// What a person sent, as their own telephone shows it.
    pub(crate) fn own_content(
        &self,
        channel: &ChannelId,
        message: &str,
        at: At,
    ) -> Option<Content> {
        self.media.own(channel, message, at)
    }

    /// Whom a link token stands for; it is good no more afterwards.
    pub(crate) fn redeem_link(&mut self, token: &str, at: At) -> Option<(ChannelId, String)> {
        self.links.redeem(token, at)
    }

    fn next_request_id(&mut self) -> String {
        self.requests += 1;
        derive_uuid(&format!("line-sandbox request {}", self.requests)).to_string()
    }

    /// As LINE's: digits, and later ones are greater.
    pub(crate) fn next_message_id(&mut self) -> String {
        self.messages += 1;
        (500_000_000_000_000_000 + self.messages).to_string()
    }
}

/// The object of a body.
fn parse(body: &[u8]) -> Result<Value, answer::Refused> {
    serde_json::from_slice(body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| answer::Refused::new(400, "The request body could not be parsed as JSON"))
}
