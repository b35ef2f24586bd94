//! Who is whose friend, and who they are.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::{At, ChannelId, derive_uuid};
use mainstem_line::{Channel, Channels};
use serde::{Deserialize, Serialize};

/// What the platform knows of people. A user id means something only inside its provider.
#[derive(Debug, Default)]
pub(crate) struct People {
    providers: BTreeMap<ChannelId, String>,
    /// In which providers each user id was given.
    given: BTreeMap<String, BTreeSet<String>>,
    /// Friends of an account, and those who blocked it. Everybody else is a stranger to it.
    friends: BTreeMap<ChannelId, BTreeMap<String, Friendship>>,
    /// Groups and rooms that an account is in, and who of their members it knows.
    groups: BTreeMap<(ChannelId, String), BTreeSet<String>>,
    profiles: BTreeMap<String, Person>,
}

/// What a person tells of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Shown to accounts.
    pub name: String,
    /// BCP 47; none: not told.
    pub language: Option<String>,
    /// The person's own line about themselves.
    pub status: Option<String>,
    /// The person has left LINE: nobody reaches them any more, and they do nothing.
    pub deleted: bool,
}

/// What an account is to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Friendship {
    /// The account reaches the person.
    Friend,
    /// The person blocked it.
    Blocked,
}

/// What becomes of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// So many people see it: 1, but for groups.
    Seen(u64),
    /// Blocked, deleted or a stranger: LINE says 200, and nobody sees it.
    Nobody,
    /// The user id belongs to another provider, or the account is not in that group: 400.
    Foreign,
}

impl People {
    pub(super) fn new(channels: &Channels) -> Self {
        let provider =
            |(id, channel): (&ChannelId, &Channel)| (id.clone(), channel.provider.clone());
        Self { providers: channels.iter().map(provider).collect(), ..Self::default() }
    }

    /// The account has met the person: their id means something in its provider.
    pub(super) fn meet(&mut self, channel: &ChannelId, user: &str) {
        if let Some(provider) = self.providers.get(channel) {
            self.given.entry(user.to_owned()).or_default().insert(provider.clone());
        }
    }

    /// Makes the person a friend of the account, or one who blocked it.
    pub(super) fn befriend(&mut self, channel: &ChannelId, user: &str, friendship: Friendship) {
        self.meet(channel, user);
        self.friends.entry(channel.clone()).or_default().insert(user.to_owned(), friendship);
    }

    /// The account came into a group or a room, or somebody spoke there.
    pub(super) fn group(&mut self, channel: &ChannelId, group: &str, member: Option<&str>) {
        let members = self.groups.entry((channel.clone(), group.to_owned())).or_default();
        members.extend(member.map(str::to_owned));
    }

    /// The account left a group or a room.
    pub(super) fn leave(&mut self, channel: &ChannelId, group: &str) {
        self.groups.remove(&(channel.clone(), group.to_owned()));
    }

    pub(crate) fn friendship(&self, channel: &ChannelId, user: &str) -> Option<Friendship> {
        self.friends.get(channel)?.get(user).copied()
    }

    pub(crate) fn reach(&self, channel: &ChannelId, to: &str) -> Reach {
        if let Some(members) = self.groups.get(&(channel.clone(), to.to_owned())) {
            return Reach::Seen(u64::try_from(members.len()).unwrap_or(u64::MAX).max(1));
        }
        let friend = self.friendship(channel, to) == Some(Friendship::Friend);
        let given = self.given.get(to);
        let here = self.providers.get(channel).zip(given).is_some_and(|(p, all)| all.contains(p));
        match (friend && !self.deleted(to), here || given.is_none()) {
            (true, _) => Reach::Seen(1),
            (false, true) => Reach::Nobody,
            (false, false) => Reach::Foreign,
        }
    }

    /// Everybody whom the account reaches, in the order of their ids.
    pub(super) fn friends(&self, channel: &ChannelId) -> impl Iterator<Item = &str> {
        let all = self.friends.get(channel).into_iter().flatten();
        let friends = all.filter(|(_, friendship)| **friendship == Friendship::Friend);
        friends.map(|(user, _)| user.as_str()).filter(|user| !self.deleted(user))
    }

    fn deleted(&self, user: &str) -> bool {
        self.profiles.get(user).is_some_and(|person| person.deleted)
    }

    /// A new person, known to nobody yet; the id is made from how many were made before.
    pub(super) fn create(&mut self, person: Person, at: At) -> String {
        let number = self.profiles.len();
        let id = derive_uuid(&format!("line-sandbox person {number} {at}"));
        let user = format!("U{}", id.simple());
        self.profiles.insert(user.clone(), person);
        user
    }

    /// What a person tells of themselves. One who was never given a name has one by their id.
    pub(crate) fn person(&self, user: &str) -> Person {
        self.profiles.get(user).cloned().unwrap_or_else(|| Person {
            name: name(user),
            language: None,
            status: None,
            deleted: false,
        })
    }

    pub(super) fn change(&mut self, user: &str, person: Person) {
        self.profiles.insert(user.to_owned(), person);
    }
}

/// A name for whom nobody named.
fn name(user: &str) -> String {
    const FAMILY: [&str; 10] = ["陳", "林", "黃", "張", "李", "王", "吳", "劉", "蔡", "楊"];
    const GIVEN: [&str; 10] =
        ["怡君", "淑芬", "志明", "家豪", "雅婷", "宗翰", "佩珊", "冠宇", "欣怡", "俊傑"];
    let hash = usize::from(derive_uuid(user).as_bytes()[0]);
    format!("{}{}", FAMILY[hash % 10], GIVEN[hash / 10 % 10])
}
