//! Who is whose friend, and what was said between them.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::person::Act;
use mainstem_domain::{At, ChannelId};
use mainstem_line::{Channels, LineEvent};

/// What the platform knows of people. A user id means something only inside its provider.
#[derive(Debug, Default)]
pub(crate) struct People {
    providers: BTreeMap<ChannelId, String>,
    /// In which providers each user id was given.
    given: BTreeMap<String, BTreeSet<String>>,
    /// Friends of an account, and those who blocked it. Everybody else is a stranger to it.
    friends: BTreeMap<Chat, bool>,
    chats: BTreeMap<Chat, Vec<Line>>,
}

/// One account and one person.
pub(crate) type Chat = (ChannelId, String);

/// One line of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: At,
    /// Said by the person; otherwise by the account.
    pub(crate) by_person: bool,
    pub(crate) text: String,
}

/// What becomes of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The person sees it.
    Friend,
    /// Blocked, deleted or a stranger: LINE says 200, and nobody sees it.
    Nobody,
    /// The user id belongs to another provider: 400.
    Foreign,
}

impl People {
    pub(crate) fn new(channels: &Channels) -> Self {
        let provider = |(id, channel): (&ChannelId, &mainstem_line::Channel)| {
            (id.clone(), channel.provider.clone())
        };
        Self { providers: channels.iter().map(provider).collect(), ..Self::default() }
    }

    /// Makes the person a friend of the account, or one who blocked it.
    pub(crate) fn befriend(&mut self, channel: &ChannelId, user: &str, friend: bool) {
        if let Some(provider) = self.providers.get(channel) {
            self.given.entry(user.to_owned()).or_default().insert(provider.clone());
        }
        self.friends.insert((channel.clone(), user.to_owned()), friend);
    }

    /// Takes note of what a person did.
    pub(crate) fn witness(&mut self, channel: &ChannelId, event: &LineEvent<'_>, at: At) {
        let Some(user) = event.source.person() else { return };
        if let Some(provider) = self.providers.get(channel) {
            self.given.entry(user.to_owned()).or_default().insert(provider.clone());
        }
        let text = match &event.act {
            Act::Text(text) => text.clone(),
            Act::Postback(data) => format!("[taps {data}]"),
            Act::Follow => {
                self.befriend(channel, user, true);
                "[adds the account]".to_owned()
            }
            Act::Unfollow => {
                self.befriend(channel, user, false);
                "[blocks the account]".to_owned()
            }
            Act::Business(_) | Act::Other => format!("[{}]", event.name()),
        };
        self.say(channel, user, Line { at, by_person: true, text });
    }

    pub(crate) fn say(&mut self, channel: &ChannelId, user: &str, line: Line) {
        self.chats.entry((channel.clone(), user.to_owned())).or_default().push(line);
    }

    pub(crate) fn reach(&self, channel: &ChannelId, user: &str) -> Reach {
        if self.friends.get(&(channel.clone(), user.to_owned())) == Some(&true) {
            return Reach::Friend;
        }
        let given = self.given.get(user);
        let here = self.providers.get(channel).zip(given).is_some_and(|(p, all)| all.contains(p));
        if here || given.is_none() { Reach::Nobody } else { Reach::Foreign }
    }

    /// The chat as the person sees it.
    pub(crate) fn chat(&self, channel: &ChannelId, user: &str) -> &[Line] {
        self.chats.get(&(channel.clone(), user.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The longest chats first.
    pub(crate) fn longest(&self, most: usize) -> Vec<(&Chat, usize)> {
        let mut all: Vec<_> = self.chats.iter().map(|(chat, lines)| (chat, lines.len())).collect();
        all.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
        all.truncate(most);
        all
    }
}
