//! How the graph and the seen-set stand in a snapshot, and when two of them are the same.

use std::collections::BTreeSet;
use std::fmt;

use imbl::{OrdMap, OrdSet};
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::graph::{Graph, Kept, Who};
use super::likeness::Likeness;
use super::review::Review;
use super::seen::{Entry, SEEN_FOR, Seen};
use super::ties::Tie;
use super::{Alias, Erasure, Source, Splitting, State, Token};
use crate::{At, CustomerId, ErasureId, Means, Purpose, SplitId};

/// One living customer with all that hangs on it.
#[derive(Serialize, Deserialize)]
struct Saved {
    id: CustomerId,
    created_at: At,
    seen_at: At,
    /// A place in `identifiers`.
    founder: Option<u32>,
    aliases: Vec<(CustomerId, At, Option<u32>)>,
    identifiers: Vec<Kept>,
    /// The places of both ends, and the rest of a [`Tie`].
    ties: Vec<(u32, u32, Option<Source>, bool, At)>,
}

impl Saved {
    fn of(graph: &Graph, who: Who) -> Self {
        let nodes: Vec<_> = graph.nodes(who).collect();
        let place = |node: u32| {
            let place = nodes.iter().position(|other| *other == node);
            place.and_then(|place| u32::try_from(place).ok())
        };
        let identifiers: Vec<_> = nodes.iter().map(|node| graph.kept(*node)).collect();
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
                    let (source, verified, at) = graph.tie_parts(tie);
                    Some((place(one)?, place(other)?, source, verified, at))
                })
                .collect(),
            identifiers,
        }
    }

    fn restore(self, graph: &mut Graph) {
        let who = graph.create(self.id, self.created_at);
        graph.see(who, self.seen_at);
        let nodes: Vec<_> = self.identifiers.iter().map(|kept| graph.restate(who, kept)).collect();
        let node = |place: u32| nodes.get(place as usize).copied();
        for (one, other, source, verified, at) in self.ties {
            if let (Some(one), Some(other)) = (node(one), node(other)) {
                graph.tie((one, other), source.as_ref(), verified, at);
            }
        }
        graph.found(who, self.founder.and_then(node));
        for (id, created_at, founder) in self.aliases {
            graph.create_alias(who, id, created_at, founder.and_then(node));
        }
    }
}

impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut customers = serializer.serialize_seq(Some(self.customers()))?;
        for who in self.living(None) {
            customers.serialize_element(&Saved::of(self, who))?;
        }
        customers.end()
    }
}

impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Customers;
        impl<'de> Visitor<'de> for Customers {
            type Value = Graph;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("customers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut customers: A) -> Result<Graph, A::Error> {
                let mut graph = Graph::default();
                while let Some(saved) = customers.next_element::<Saved>()? {
                    saved.restore(&mut graph);
                }
                Ok(graph)
            }
        }
        deserializer.deserialize_seq(Customers)
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
            identifiers: graph.nodes(who).map(|node| graph.kept(node)).collect(),
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
    refused: OrdMap<Token, OrdSet<(Means, Purpose)>>,
}

impl From<SavedState> for State {
    fn from(saved: SavedState) -> Self {
        let SavedState { graph, review, seen, splits, erasures, erasing, erased, refused } = saved;
        let likeness = Likeness::of(&graph);
        Self { graph, likeness, review, seen, splits, erasures, erasing, erased, refused }
    }
}

#[derive(Serialize, Deserialize)]
struct SavedSeen {
    entries: Vec<Entry>,
    forgotten_early: u64,
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.entries().iter().cloned().collect();
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
        let newest = |seen: &Self| seen.entries().iter().map(Entry::at).max();
        let counting = |seen: &Self| -> BTreeSet<Entry> {
            let counts =
                |entry: &&Entry| newest(seen).is_some_and(|at| at.since(entry.at()) <= SEEN_FOR);
            seen.entries().iter().filter(counts).cloned().collect()
        };
        newest(self) == newest(other) && counting(self) == counting(other)
    }
}
