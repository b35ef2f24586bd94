//! A piece of a customer in records that fit one message each.

use super::graph::Kept;
use super::ties::Tie;
use super::{Alias, Event, Restated};

/// How large the part of a customer in one record may be, in bytes, roughly: a quarter of what the
/// broker takes, as JSON needs more room than is counted here.
const PART_AT_MOST: usize = 256 * 1_024;

/// What one entry of a part takes beside its texts.
const ENTRY: usize = 200;

/// A piece in parts that fit one message each.
pub(super) struct Parts {
    empty: Restated,
    part: Restated,
    size: usize,
    done: Vec<Restated>,
}

impl Parts {
    pub(super) fn new(empty: Restated) -> Self {
        Self { part: empty.clone(), empty, size: 0, done: Vec::new() }
    }

    pub(super) fn reserve(&mut self, identifiers: usize, ties: usize) {
        self.part.identifiers.reserve(identifiers);
        self.part.ties.reserve(ties);
    }

    fn room(&mut self, size: usize) {
        if self.size + size > PART_AT_MOST {
            self.done.push(std::mem::replace(&mut self.part, self.empty.clone()));
            self.size = 0;
        }
        self.size += size;
    }

    pub(super) fn identifier(&mut self, kept: Kept) {
        let attributes =
            kept.facts.attributes.iter().map(|fact| fact.attribute.value.len() + ENTRY);
        let facts = attributes.sum::<usize>() + kept.facts.consents.len() * ENTRY;
        self.room(kept.identifier.value().len() + facts + kept.cuts.len() * 24 + ENTRY);
        self.part.identifiers.push(kept);
    }

    pub(super) fn tie(&mut self, tie: Tie) {
        let source = tie.source.as_ref().map_or(0, |source| source.event.as_str().len());
        self.room(tie.one.value().len() + tie.other.value().len() + source + ENTRY);
        self.part.ties.push(tie);
    }

    pub(super) fn alias(&mut self, alias: Alias) {
        let founder = alias.founder.as_ref().map_or(0, |founder| founder.value().len());
        self.room(founder + ENTRY);
        self.part.aliases.push(alias);
    }

    pub(super) fn finish(mut self) -> Vec<Event> {
        self.done.push(self.part);
        let last = self.done.len() - 1;
        let parts = self.done.into_iter().enumerate();
        parts
            .map(|(number, part)| {
                Event::Restated(Box::new(Restated { more: number < last, ..part }))
            })
            .collect()
    }
}
