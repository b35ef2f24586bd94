use imbl::{OrdMap, OrdSet};

use super::graph::{Graph, Who};
use super::similarity::{Traits, blocks};
use super::{Facts, facts::Effective};
use crate::CustomerId;
use crate::identifier::Identifier;

/// So many customers may share a key; a key of more tells too little to compare all of them.
const BLOCK_AT_MOST: usize = 32;

/// Where customers who may be alike meet: those of whom attributes are known, by the keys of what
/// is known of them. It follows from the graph, so it is neither saved nor compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Likeness {
    keys: OrdMap<CustomerId, Vec<u64>>,
    meeting: OrdSet<(u64, CustomerId)>,
}

impl PartialEq for Likeness {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Likeness {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut likeness = Self::default();
        for who in graph.living(None) {
            likeness.follow(graph, who);
        }
        likeness
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes note that something about a customer has changed.
    pub(super) fn follow(&mut self, graph: &Graph, who: Who) {
        let id = graph.id(who);
        let described = is_described(graph, who);
        if !described && !self.keys.contains_key(&id) {
            return;
        }
        let keys = if described { blocks(&traits(graph, &[who])) } else { Vec::new() };
        if self.keys.get(&id) == Some(&keys) {
            return;
        }
        self.forget(id);
        for key in &keys {
            self.meeting.insert((*key, id));
        }
        if described {
            self.keys.insert(id, keys);
        }
    }

    pub(super) fn forget(&mut self, id: CustomerId) {
        for key in self.keys.remove(&id).unwrap_or_default() {
            self.meeting.remove(&(key, id));
        }
    }

    /// Who may be alike, each once, in the order of the keys.
    pub(super) fn met(&self, traits: &Traits) -> Vec<CustomerId> {
        let mut met = Vec::new();
        for key in blocks(traits) {
            let from = (key, CustomerId::LEAST);
            let here = self.meeting.range(from..).take_while(|(other, _)| *other == key);
            let here: Vec<_> = here.map(|(_, id)| *id).take(BLOCK_AT_MOST + 1).collect();
            if here.len() <= BLOCK_AT_MOST {
                met.extend(here.into_iter().filter(|id| !met.contains(id)).collect::<Vec<_>>());
            }
        }
        met
    }
}

/// Whether any attribute of a customer is known.
pub(super) fn is_described(graph: &Graph, who: Who) -> bool {
    let described = |facts: &Facts| !facts.attributes.is_empty();
    graph.nodes(who).any(|node| graph.facts(node).is_some_and(described))
}

/// What is known of customers who are one person.
pub(super) fn traits(graph: &Graph, customers: &[Who]) -> Traits {
    traits_with(graph, customers, &Facts::default(), &[])
}

/// The same with what is told now.
pub(super) fn traits_with(
    graph: &Graph,
    customers: &[Who],
    told: &Facts,
    new: &[&Identifier],
) -> Traits {
    let nodes = || customers.iter().flat_map(|who| graph.nodes(*who));
    let mut known = Effective::default();
    nodes().filter_map(|node| graph.facts(node)).for_each(|facts| known.add(facts));
    known.add(told);
    let known = known.into_facts();
    let attributes =
        known.attributes.iter().map(|fact| (&fact.attribute.name, fact.attribute.value.as_str()));
    let identifiers: Vec<_> = nodes().map(|node| graph.identifier(node)).collect();
    Traits::of(attributes, identifiers.iter().chain(new.iter().copied()))
}
