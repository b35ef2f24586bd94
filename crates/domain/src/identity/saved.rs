//! How the graph and the seen-set stand in a snapshot, and when two of them are the same.

use std::collections::BTreeSet;
use std::fmt;

use imbl::{OrdMap, OrdSet};
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::Key;
use super::graph::{Cuts, Graph, Kept, NONE, Node, Who};
use super::index::Index;
use super::likeness::Likeness;
use super::pack::Packed;
use super::review::Review;
use super::seen::{Entry, SEEN_FOR, Seen};
use super::ties::Tie;
use super::{Alias, Erasure, Facts, Splitting, State, Token, Unsend};
use crate::identifier::Kind;
use crate::{At, CustomerId, ErasureId, Means, Purpose, SplitId, UnsendId};

/// One living customer with all that hangs on it, as the graph holds it: texts stay packed, and
/// spaces and channels are numbers of the names that stand before all customers.
#[derive(Serialize, Deserialize)]
struct Saved {
    id: CustomerId,
    created_at: At,
    seen_at: At,
    /// A place in `identifiers`.
    founder: Option<u32>,
    aliases: Vec<(CustomerId, At, Option<u32>)>,
    identifiers: Vec<SavedIdentifier>,
    ties: Vec<SavedTie>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedIdentifier {
    pub(super) kind: Kind,
    /// 0: none, or it stands in the value.
    pub(super) space: u16,
    #[serde(with = "bytes")]
    pub(super) value: Packed,
    pub(super) verified: bool,
    pub(super) attached_at: At,
    pub(super) facts: Option<Facts>,
    pub(super) cuts: Cuts,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedTie {
    /// Places in `identifiers`.
    pub(super) ends: (u32, u32),
    pub(super) source: Option<SavedSource>,
    pub(super) verified: bool,
    pub(super) at: At,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedSource {
    /// 0: it stands in the event.
    pub(super) channel: u16,
    #[serde(with = "bytes")]
    pub(super) event: Packed,
}

/// How bytes are saved: as they are, and not as numbers one by one.
pub(super) mod bytes {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};
    use smallvec::{Array, SmallVec};

    pub(in super::super) fn serialize<A: Array<Item = u8>, S: Serializer>(
        bytes: &SmallVec<A>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(in super::super) fn deserialize<'de, A: Array<Item = u8>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SmallVec<A>, D::Error> {
        struct Bytes<A>(PhantomData<A>);
        impl<A: Array<Item = u8>> Visitor<'_> for Bytes<A> {
            type Value = SmallVec<A>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<SmallVec<A>, E> {
                Ok(SmallVec::from_slice(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes(PhantomData))
    }
}

impl Saved {
    fn of(graph: &Graph, who: Who) -> Self {
        let nodes: Vec<_> = graph.nodes(who).collect();
        let mut places: Vec<_> =
            (0_u32..).zip(&nodes).map(|(place, node)| (*node, place)).collect();
        places.sort_unstable();
        let place = |node: u32| {
            let at = places.binary_search_by_key(&node, |(node, _)| *node).ok()?;
            Some(places[at].1)
        };
        let mut aliases: Vec<_> = graph
            .aliases(who)
            .map(|alias| {
                let founder = graph.founder(alias).and_then(place);
                (graph.id(alias), graph.created_at(alias), founder)
            })
            .collect();
        // The list is read from its last entry on, and made by adding in front.
        aliases.reverse();
        Self {
            id: graph.id(who),
            created_at: graph.created_at(who),
            seen_at: graph.seen_at(who),
            founder: graph.founder(who).and_then(place),
            aliases,
            ties: graph
                .tie_nodes(who)
                .filter_map(|(one, other, tie)| {
                    Some(graph.saved_tie((place(one)?, place(other)?), tie))
                })
                .collect(),
            identifiers: nodes.iter().map(|node| graph.saved(*node)).collect(),
        }
    }

    fn restore(self, graph: &mut Graph) -> Result<(), &'static str> {
        let who = graph.create(self.id, self.created_at);
        graph.see(who, self.seen_at);
        let mut nodes = Vec::with_capacity(self.identifiers.len());
        for saved in self.identifiers {
            nodes.push(graph.put_back(who, saved).ok_or("a space has no name")?);
        }
        let node = |place: u32| nodes.get(place as usize).copied();
        for tie in self.ties {
            let ends = node(tie.ends.0).zip(node(tie.ends.1)).ok_or("a tie has no end")?;
            graph.tie_back(ends, &tie).ok_or("a channel has no name")?;
        }
        graph.found(who, self.founder.and_then(node));
        for (id, created_at, founder) in self.aliases {
            graph.create_alias(who, id, created_at, founder.and_then(node));
        }
        Ok(())
    }
}

/// What is saved of the graph's own numbers and packed texts.
impl Graph {
    /// The names of spaces and of channels, in the order of their numbers.
    pub(super) fn names(&self) -> (Vec<&str>, Vec<&str>) {
        (self.spaces.all(), self.channels.all())
    }

    /// A graph with these names, for customers to be put back. Nothing is found in it before
    /// [`indexed`](Self::indexed).
    pub(super) fn with_names(spaces: &[String], channels: &[String]) -> Self {
        let mut graph = Self::default();
        (graph.by_identifier, graph.by_id) = (Index::unbuilt(), Index::unbuilt());
        for space in spaces {
            graph.spaces.number(space);
        }
        for channel in channels {
            graph.channels.number(channel);
        }
        graph
    }

    /// The same, after all customers were put back.
    pub(super) fn indexed(mut self) -> Self {
        let count = |len| u32::try_from(len).unwrap_or(NONE);
        let nodes = 0..count(self.nodes.len());
        let hashes: Vec<_> = nodes.map(|node| self.hash_of(self.nodes.get(node))).collect();
        self.by_identifier = Index::build(&hashes);
        let customers = 0..count(self.customers.len());
        let hashes: Vec<_> = customers.map(|who| self.hash_id(self.id(who))).collect();
        self.by_id = Index::build(&hashes);
        self
    }

    /// An identifier as it stands in a snapshot.
    pub(super) fn saved(&self, node: Node) -> SavedIdentifier {
        let entry = self.nodes.get(node);
        SavedIdentifier {
            kind: self.kind(node),
            space: entry.space,
            value: Packed::from_slice(self.text(entry)),
            verified: self.is_verified(node),
            attached_at: entry.attached_at,
            facts: self.facts(node).cloned(),
            cuts: Cuts::from_slice(self.cuts(node)),
        }
    }

    /// Takes back what [`saved`](Self::saved) gave, unless its space has no name.
    pub(super) fn put_back(&mut self, who: Who, saved: SavedIdentifier) -> Option<Node> {
        let SavedIdentifier { kind, space, value, verified, attached_at, facts, cuts } = saved;
        if !self.spaces.has(space) {
            return None;
        }
        let key = Key::of_text(kind as u8, space, &value);
        let node = self.add(who, &key, verified, attached_at);
        if let Some(facts) = facts {
            *self.facts_mut(node) = facts;
        }
        if !cuts.is_empty() {
            self.cut(node, cuts);
        }
        Some(node)
    }
}

impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Customers<'a>(&'a Graph);
        impl Serialize for Customers<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut customers = serializer.serialize_seq(Some(self.0.customers()))?;
                for who in self.0.living(None) {
                    customers.serialize_element(&Saved::of(self.0, who))?;
                }
                customers.end()
            }
        }
        let (spaces, channels) = self.names();
        (spaces, channels, Customers(self)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Graph;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names, and customers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Graph, A::Error> {
                let missing = || A::Error::custom("a part is missing");
                let spaces: Vec<String> = parts.next_element()?.ok_or_else(missing)?;
                let channels: Vec<String> = parts.next_element()?.ok_or_else(missing)?;
                let graph = Graph::with_names(&spaces, &channels);
                parts.next_element_seed(Customers(graph))?.ok_or_else(missing)
            }
        }

        struct Customers(Graph);
        impl<'de> DeserializeSeed<'de> for Customers {
            type Value = Graph;

            fn deserialize<D: Deserializer<'de>>(self, customers: D) -> Result<Graph, D::Error> {
                customers.deserialize_seq(self)
            }
        }
        impl<'de> Visitor<'de> for Customers {
            type Value = Graph;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("customers")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut customers: A) -> Result<Graph, A::Error> {
                while let Some(saved) = customers.next_element::<Saved>()? {
                    saved.restore(&mut self.0).map_err(A::Error::custom)?;
                }
                Ok(self.0.indexed())
            }
        }
        deserializer.deserialize_tuple(3, Whole)
    }
}

/// Everything of a living customer, in an order that two graphs with the same content share.
#[derive(PartialEq, Eq)]
struct Whole {
    created_at: At,
    seen_at: At,
    aliases: BTreeSet<Alias>,
    founder: Option<crate::identifier::Identifier>,
    identifiers: BTreeSet<Kept>,
    ties: BTreeSet<Tie>,
}

impl Whole {
    fn of(graph: &Graph, who: Who) -> Self {
        Self {
            created_at: graph.created_at(who),
            seen_at: graph.seen_at(who),
            aliases: graph.aliases(who).map(|alias| Alias::of(graph, alias)).collect(),
            founder: graph.founder(who).map(|node| graph.identifier(node)),
            identifiers: graph
                .nodes(who)
                .map(|node| graph.kept(graph.identifier(node), node))
                .collect(),
            ties: graph.ties(who).collect(),
        }
    }
}

/// Two graphs are the same when they hold the same customers, whatever their numbers.
impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        (self.customers(), self.identifiers()) == (other.customers(), other.identifiers())
            && self.living(None).all(|who| {
                other
                    .who(self.id(who))
                    .filter(|theirs| other.current(*theirs) == *theirs)
                    .is_some_and(|theirs| Whole::of(self, who) == Whole::of(other, theirs))
            })
    }
}

/// A state as it was saved; the rest follows from it.
#[derive(Deserialize)]
pub(super) struct SavedState {
    graph: Graph,
    review: Review,
    seen: Seen,
    splits: OrdMap<SplitId, Splitting>,
    erasures: OrdMap<ErasureId, Erasure>,
    erasing: OrdSet<ErasureId>,
    erased: OrdSet<CustomerId>,
    unsends: OrdMap<UnsendId, Unsend>,
    taken_back: Seen,
    refused: OrdMap<Token, OrdMap<(Means, Purpose), At>>,
}

impl From<SavedState> for State {
    fn from(saved: SavedState) -> Self {
        let SavedState { graph, review, seen, splits, erasures, erasing, erased, .. } = saved;
        let SavedState { unsends, taken_back, refused, .. } = saved;
        let likeness = Likeness::of(&graph);
        Self {
            graph,
            likeness,
            review,
            seen,
            splits,
            erasures,
            erasing,
            erased,
            unsends,
            taken_back,
            refused,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SavedSeen {
    entries: Vec<Entry>,
    forgotten_early: u64,
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.entries().cloned().collect();
        SavedSeen { entries, forgotten_early: self.forgotten_early() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = SavedSeen::deserialize(deserializer)?;
        Ok(Self::from_entries(saved.entries, saved.forgotten_early))
    }
}

/// Two seen-sets are the same when they remember the same of the time that counts: a record that
/// was moved after a split stands later in the log than it was taken.
impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        let newest = |seen: &Self| seen.entries().map(Entry::at).max();
        let counting = |seen: &Self| -> BTreeSet<Entry> {
            let counts =
                |entry: &&Entry| newest(seen).is_some_and(|at| at.since(entry.at()) <= SEEN_FOR);
            seen.entries().filter(counts).cloned().collect()
        };
        newest(self) == newest(other) && counting(self) == counting(other)
    }
}
