//! What was said between people and accounts, as each person's telephone shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_domain::{At, ChannelId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All chats, by account and by the person, group or room.
#[derive(Debug, Default)]
pub(crate) struct Chats {
    chats: BTreeMap<(ChannelId, String), Vec<Entry>>,
    /// Rises with every change, for those who wait for one.
    changes: u64,
}

/// One line of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: String,
    /// Whose it is.
    pub by: Author,
    /// LINE's id of the message; what is no message has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The message as it was sent; of what a person did otherwise (a tap, a block) the webhook's
    /// event without its common fields.
    pub message: Arc<Value>,
    /// The person took it back.
    pub unsent: bool,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The person.
    Person,
    /// The account.
    Account,
}

/// What a list of chats shows of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatLine {
    /// The account.
    pub channel: ChannelId,
    /// The person, group or room.
    pub user: String,
    /// The person's name.
    pub name: String,
    /// How many entries.
    pub entries: usize,
    /// When the last was.
    pub at: String,
    /// What the last was.
    pub last: Arc<Value>,
}

impl Chats {
    pub(super) fn say(&mut self, channel: &ChannelId, with: &str, entry: Entry) {
        self.chats.entry((channel.clone(), with.to_owned())).or_default().push(entry);
        self.changes += 1;
    }

    /// Takes a message back. Whether it was there.
    pub(super) fn unsend(&mut self, channel: &ChannelId, with: &str, id: &str) -> bool {
        let Some(entries) = self.chats.get_mut(&(channel.clone(), with.to_owned())) else {
            return false;
        };
        let held = entries.iter_mut().rfind(|entry| entry.id.as_deref() == Some(id));
        held.is_some_and(|entry| {
            entry.unsent = true;
            self.changes += 1;
            true
        })
    }

    /// Replaces what a message says. Whether it was there.
    pub(super) fn edit(&mut self, channel: &ChannelId, with: &str, id: &str, to: Value) -> bool {
        let Some(entries) = self.chats.get_mut(&(channel.clone(), with.to_owned())) else {
            return false;
        };
        let held = entries.iter_mut().rfind(|entry| entry.id.as_deref() == Some(id));
        held.is_some_and(|entry| {
            entry.message = Arc::new(to);
            self.changes += 1;
            true
        })
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn entries(&self, channel: &ChannelId, with: &str) -> &[Entry] {
        self.chats.get(&(channel.clone(), with.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Those of one account, or of all; the one that changed last first.
    pub(crate) fn latest(
        &self,
        channel: Option<&ChannelId>,
        most: usize,
    ) -> Vec<(&ChannelId, &str, &[Entry])> {
        let mut all: Vec<_> = self
            .chats
            .iter()
            .filter(|((of, _), _)| channel.is_none_or(|channel| channel == of))
            .map(|((of, with), entries)| (of, with.as_str(), entries.as_slice()))
            .collect();
        let last = |entries: &[Entry]| entries.last().map(|entry| entry.at.clone());
        all.sort_by_cached_key(|(_, _, entries)| std::cmp::Reverse(last(entries)));
        all.truncate(most);
        all
    }
}

impl Entry {
    /// Something that happened just now.
    pub(super) fn new(at: At, by: Author, id: Option<String>, message: Arc<Value>) -> Self {
        Self { at: at.to_string(), by, id, message, unsent: false }
    }
}
