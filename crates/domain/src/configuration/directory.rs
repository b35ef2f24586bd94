use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identifier::Owned;
use crate::{BrandId, ChannelId, Language, StoreId};

/// A brand, or the house that has them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// As customers see it; in two scripts, where it is written in both, e.g. `曜侖 Aurelune`.
    pub name: String,
    /// As whom it sends messages; none: as the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender>,
}

/// How a brand shows as the sender of its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// Shown as "name from account": 1 to 20 characters, without "LINE".
    pub name: String,
    /// The `https://` address of a PNG picture of at most 1 MB; none: the account's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
}

impl Brand {
    /// The name as it is read in a language: in English the part in Latin letters, where there is
    /// one; otherwise all of it.
    #[must_use]
    pub fn name_in(&self, language: Language) -> String {
        let latin = || self.scripts().into_iter().find(|(latin, _)| *latin);
        match language {
            Language::ZhTw => self.name.clone(),
            Language::En => latin().map_or_else(|| self.name.clone(), |(_, name)| name),
        }
    }

    /// The name's parts that are written in one script each, and whether that is Latin.
    pub(super) fn scripts(&self) -> Vec<(bool, String)> {
        let mut parts: Vec<(bool, String)> = Vec::new();
        for word in self.name.split_whitespace() {
            // Where the scripts of East Asia begin.
            let latin = word.chars().all(|char| char < '\u{2E80}');
            match parts.last_mut() {
                Some((same, part)) if *same == latin => {
                    part.push(' ');
                    part.push_str(word);
                }
                Some(_) | None => parts.push((latin, word.to_owned())),
            }
        }
        parts
    }
}

/// A store (counter).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// As customers see it.
    pub name: String,
}

/// One LINE account, web shop, till or phone desk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Channel {
    /// What it is.
    pub kind: ChannelKind,
    /// The brand that speaks here, if there is one. The single entry speaks for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brand: Option<BrandId>,
    /// The store that it belongs to, if to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// How it is run.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// Where the system that answers a shadow channel takes its webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incumbent: Option<String>,
    /// The identifiers and attributes that this channel's source owns: from here they are
    /// verified, all others asserted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owns: Vec<Owned>,
    /// The basic id of a LINE account as LINE shows it, with its `@`. The links of binding codes
    /// lead to it; without one they have no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_id: Option<String>,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a channel is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// A LINE Official Account.
    #[default]
    Line,
    /// A web shop.
    Shop,
    /// The tills of a store, or of all.
    Till,
    /// A phone desk.
    Phone,
}

impl ChannelKind {
    /// As it stands in subjects, rules and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Shop => "shop",
            Self::Till => "till",
            Self::Phone => "phone",
        }
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a channel is run, so that 70-80 accounts can move to one without losing a customer.
///
/// Ingress stamps each event with the mode that was in force when it came in, and its answers keep
/// to that: no person is answered twice, or by nobody, while an account is moved.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything is decided and sent.
    #[default]
    Live,
    /// Everything is decided and nothing is sent: the incumbent still answers.
    Shadow,
    /// An old account: every message still reaches its people, and is answered by reply, with the
    /// way to the single entry.
    Retired,
}

impl Mode {
    /// As it stands in rules.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Shadow => "shadow",
            Self::Retired => "retired",
        }
    }
}

/// The single entry that all the old accounts lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The LINE account.
    pub channel: ChannelId,
    /// How people get there, e.g. its add-friend link. Stands in the template `moved` as `{link}`.
    pub link: String,
}

/// A back-office queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// As staff see it.
    pub name: String,
}

/// Urgency of a case; `P1` first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    /// Now.
    P1,
    /// Today.
    P2,
    /// The usual.
    #[default]
    P3,
    /// When there is time.
    P4,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::P1, Self::P2, Self::P3, Self::P4];
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
