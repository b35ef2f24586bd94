//! The lines of memory that a graph is made of, and by what an identifier is looked for.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::RandomState;

use super::graph::{Node, Who};
use super::pack::{PLAIN, pack};
use super::pages::Texts;
use crate::identifier::Identifier;
use crate::{At, CustomerId};

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct NodeEntry {
    pub(super) attached_at: At,
    pub(super) customer: Who,
    /// The ring of the customer's identifiers; of a free entry, the next free one.
    pub(super) next: Node,
    /// The first tie.
    pub(super) ties: u32,
    /// The provider or system.
    pub(super) space: u16,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// How long the value is that stands in `text`; [`ELSEWHERE`].
    pub(super) length: u8,
    pub(super) text: [u8; TEXT_AT_MOST],
}

/// How long a value may be that stands with its identifier, on one line of memory, with the byte
/// before it. That is most, none of which are packed: a search waits for none other. Those that are
/// longer are packed first, and most that then fit are digests.
pub(super) const TEXT_AT_MOST: usize = 39;

/// The value is too long; `text` begins with its place among the texts.
pub(super) const ELSEWHERE: u8 = u8::MAX;

/// A source that owns it has said it.
pub(super) const VERIFIED: u8 = 1;
/// Has [`Facts`].
pub(super) const FACTS: u8 = 2;
/// Was cut off something; see [`Graph::cuts`].
pub(super) const CUT: u8 = 4;

#[derive(Clone, Copy, Debug)]
pub(super) struct TieEntry {
    pub(super) at: At,
    pub(super) ends: [Node; 2],
    /// The next tie of each end; of a free entry, the next free one.
    pub(super) next: [u32; 2],
    /// The event's id, packed; [`NONE`] when a person tied.
    pub(super) text: u32,
    pub(super) channel: u16,
    pub(super) verified: bool,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct CustomerEntry {
    pub(super) created_at: At,
    pub(super) seen_at: At,
    pub(super) id: CustomerId,
    /// Whether it was taken away.
    pub(super) gone: bool,
    /// The identifier that the customer began with.
    pub(super) founder: Node,
    /// Any of its identifiers.
    pub(super) head: Node,
    /// The customer that absorbed this one.
    pub(super) merged_into: Who,
    /// The customers that this one absorbed, as a list.
    pub(super) aliases: Who,
    pub(super) next_alias: Who,
}

/// Where an identifier is kept: its kind, its provider or system, and its value as it is kept, the
/// first byte of which stands apart, so that most values need not be copied to be looked for.
pub(super) struct Key<'a> {
    pub(super) kind: u8,
    pub(super) space: u16,
    pub(super) first: u8,
    pub(super) rest: Cow<'a, [u8]>,
}

impl<'a> Key<'a> {
    pub(super) fn new(identifier: &'a Identifier, space: Option<(&str, Option<u16>)>) -> Self {
        let (kind, value) = (identifier.kind() as u8, identifier.value());
        let (number, name) = match space {
            None => (0, None),
            Some((_, Some(number))) => (number, None),
            Some((name, None)) => (0, Some(name)),
        };
        if name.is_none() && value.len() < TEXT_AT_MOST {
            let rest = Cow::Borrowed(value.as_bytes());
            return Self { kind, space: number, first: PLAIN, rest };
        }
        let kept = pack(name, value);
        let (first, rest) = parts(&kept);
        Self { kind, space: number, first, rest: Cow::Owned(rest.to_vec()) }
    }

    /// One of what stands with an identifier.
    pub(super) fn of_text(kind: u8, space: u16, text: &'a [u8]) -> Self {
        let (first, rest) = parts(text);
        Self { kind, space, first, rest: Cow::Borrowed(rest) }
    }

    pub(super) fn is(&self, entry: &NodeEntry, texts: &Texts) -> bool {
        (entry.space, entry.kind) == (self.space, self.kind)
            && parts(text(entry, texts)) == (self.first, &self.rest)
    }

    pub(super) fn hash(&self, seed: &RandomState) -> u32 {
        let mut hasher = seed.build_hasher();
        let [low, high] = self.space.to_le_bytes();
        hasher.write_u32(u32::from_le_bytes([self.kind, self.first, low, high]));
        hasher.write(&self.rest);
        short(hasher.finish())
    }
}

pub(super) fn text<'a>(entry: &'a NodeEntry, texts: &'a Texts) -> &'a [u8] {
    match entry.length {
        ELSEWHERE => texts.get(place(entry)),
        length => &entry.text[..usize::from(length)],
    }
}

fn parts(text: &[u8]) -> (u8, &[u8]) {
    text.split_first().map_or((PLAIN, text), |(first, rest)| (*first, rest))
}

/// As many bits of a hash as an [`Index`] keeps.
pub(super) fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Where a value stands that is [`ELSEWHERE`].
pub(super) fn place(entry: &NodeEntry) -> u32 {
    let [a, b, c, d, ..] = entry.text;
    u32::from_le_bytes([a, b, c, d])
}
