//! The evidence half of the graph: what ties two identifiers.

use serde::{Deserialize, Serialize};

use super::Source;
use super::entry::TieEntry;
use super::graph::{Graph, NONE, Node, Who, some};
use super::pack::{Packed, pack, unpack};
use super::saved::{SavedSource, SavedTie};
use crate::identifier::Identifier;
use crate::{At, ChannelId, EventId};

/// Evidence that two identifiers of one customer belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tie {
    /// The one; less than the other.
    pub one: Identifier,
    /// The other.
    pub other: Identifier,
    /// The first event that carried both; none when a person decided.
    pub source: Option<Source>,
    /// Whether it said so for both as the source that owns them.
    pub verified: bool,
    /// When.
    pub at: At,
}

impl Graph {
    /// Ties identifiers to a first one, unless they are, each with whether it is verified.
    pub(super) fn tie(
        &mut self,
        first: Node,
        others: &[(Node, bool)],
        source: Option<&Source>,
        at: At,
    ) {
        let mut kept = None;
        for &(other, verified) in others {
            if first != other && !self.are_tied(first, other) {
                let source = *kept.get_or_insert_with(|| {
                    source.map_or((0, NONE), |source| self.keep_source(source))
                });
                self.add_tie((first, other), source, verified, at);
            }
        }
    }

    fn add_tie(
        &mut self,
        (one, other): (Node, Node),
        (channel, text): (u16, u32),
        verified: bool,
        at: At,
    ) {
        let next = [self.nodes.get(one).ties, self.nodes.get(other).ties];
        let entry = TieEntry { at, ends: [one, other], next, text, channel, verified };
        let tie = match self.free_tie {
            Some(tie) => {
                self.free_tie = some(self.ties.get(tie).next[0]);
                *self.ties.get_mut(tie) = entry;
                tie
            }
            None => self.ties.push(entry),
        };
        self.nodes.get_mut(one).ties = tie;
        self.nodes.get_mut(other).ties = tie;
    }

    /// Ties of one event follow each other and share its text.
    fn keep_source(&mut self, Source { channel, event }: &Source) -> (u16, u32) {
        let number = self.channels.number(channel.as_str());
        let packed = pack((number == 0).then_some(channel.as_str()), event.as_str());
        self.keep_packed(number, &packed)
    }

    fn keep_packed(&mut self, number: u16, packed: &[u8]) -> (u16, u32) {
        if let Some((channel, text)) = self.last_source
            && channel == number
            && self.texts.get(text) == packed
        {
            return (number, text);
        }
        let text = self.texts.push(packed);
        self.last_source = Some((number, text));
        (number, text)
    }

    /// Whether some evidence ties two identifiers directly. Looks through the ties of both in
    /// turns, so that it costs as little as the one with fewer ties allows.
    pub(super) fn are_tied(&self, one: Node, other: Node) -> bool {
        let (mut left, mut right) = (self.nodes.get(one).ties, self.nodes.get(other).ties);
        while left != NONE && right != NONE {
            let (of_one, of_other) = (self.ties.get(left), self.ties.get(right));
            if of_one.ends.contains(&other) || of_other.ends.contains(&one) {
                return true;
            }
            left = of_one.next[usize::from(of_one.ends[1] == one)];
            right = of_other.next[usize::from(of_other.ends[1] == other)];
        }
        false
    }

    /// The numbers of the ties of an identifier.
    pub(super) fn ties_of(&self, node: Node) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.nodes.get(node).ties;
        std::iter::from_fn(move || {
            let tie = some(at)?;
            let entry = self.ties.get(tie);
            at = entry.next[usize::from(entry.ends[1] == node)];
            Some(tie)
        })
    }

    /// The identifiers that some evidence ties to this one directly.
    pub(super) fn neighbours(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        self.ties_of(node).map(move |tie| {
            let [one, other] = self.ties.get(tie).ends;
            if one == node { other } else { one }
        })
    }

    /// Every tie of a living customer once.
    pub(super) fn ties(&self, who: Who) -> impl Iterator<Item = Tie> + '_ {
        self.tie_nodes(who).map(|(one, other, tie)| {
            let (one, other) = (self.identifier(one), self.identifier(other));
            self.read_tie(if one < other { (one, other) } else { (other, one) }, tie)
        })
    }

    /// The ends and the number of every tie of a living customer once.
    pub(super) fn tie_nodes(&self, who: Who) -> impl Iterator<Item = (Node, Node, u32)> + '_ {
        self.nodes(who).flat_map(move |node| {
            self.ties_of(node).filter_map(move |tie| {
                let [one, other] = self.ties.get(tie).ends;
                (one == node).then_some((one, other, tie))
            })
        })
    }

    /// What a tie between these says, the lesser of which is the first, as it is restated.
    pub(super) fn read_tie(&self, (one, other): (Identifier, Identifier), tie: u32) -> Tie {
        let (source, verified, at) = self.tie_parts(tie);
        Tie { one, other, source, verified, at }
    }

    /// A tie without its ends.
    pub(super) fn tie_parts(&self, tie: u32) -> (Option<Source>, bool, At) {
        let entry = self.ties.get(tie);
        let source = some(entry.text).and_then(|text| {
            let text = unpack(self.texts.get(text));
            let (channel, event) = match entry.channel {
                0 => text.split_once('\0').map(|(channel, event)| (channel, event.into()))?,
                number => (self.channels.name(number), text.clone()),
            };
            Some(Source { channel: ChannelId::known(channel), event: EventId::known(event) })
        });
        (source, entry.verified, entry.at)
    }

    /// As it stands in a snapshot.
    pub(super) fn saved_tie(&self, ends: (u32, u32), tie: u32) -> SavedTie {
        let TieEntry { at, text, channel, verified, .. } = *self.ties.get(tie);
        let event = |text| Packed::from_slice(self.texts.get(text));
        let source = some(text).map(|text| SavedSource { channel, event: event(text) });
        SavedTie { ends, source, verified, at }
    }

    /// Takes back what [`saved_tie`](Self::saved_tie) gave, unless its channel has no name.
    pub(super) fn tie_back(&mut self, ends: (Node, Node), tie: &SavedTie) -> Option<()> {
        let source = match &tie.source {
            None => (0, NONE),
            Some(source) if self.channels.has(source.channel) => {
                self.keep_packed(source.channel, &source.event)
            }
            Some(_) => return None,
        };
        self.add_tie(ends, source, tie.verified, tie.at);
        Some(())
    }

    pub(super) fn untie(&mut self, tie: u32) {
        let entry = *self.ties.get(tie);
        for (side, node) in entry.ends.into_iter().enumerate() {
            let next = entry.next[side];
            let before = self.ties_of(node).take_while(|other| *other != tie).last();
            match before {
                None => self.nodes.get_mut(node).ties = next,
                Some(before) => {
                    let before = self.ties.get_mut(before);
                    let side = usize::from(before.ends[1] == node);
                    before.next[side] = next;
                }
            }
        }
        self.free_tie(tie);
    }

    /// Frees a tie that is in no list of an identifier that stays.
    pub(super) fn free_tie(&mut self, tie: u32) {
        self.ties.get_mut(tie).next[0] = self.free_tie.unwrap_or(NONE);
        self.free_tie = Some(tie);
    }
}
