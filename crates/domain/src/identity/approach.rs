//! Looking ahead: what is far away in memory is asked for before it is needed.

use std::hint::black_box;

use smallvec::SmallVec;

use super::State;
use crate::person::ChannelEvent;

/// Reads what [`resolve`](super::resolve::resolve) will read of these events: their places in the
/// indexes, then the identifiers that are known, then whose they are. Within a step nothing depends
/// on what was read, so that the processor waits for all of it at once.
pub(super) fn approach<'a>(state: &State, events: impl Iterator<Item = &'a ChannelEvent>) {
    let (graph, seen) = (&state.graph, &state.seen);
    let mut again: SmallVec<[u32; 64]> = SmallVec::new();
    let mut hashes: SmallVec<[u32; 64]> = SmallVec::new();
    for event in events {
        again.push(seen.hash_of(&event.channel, event.id.as_str()));
        hashes.extend(event.sightings.iter().map(|one| graph.hash(&one.identifier)));
    }
    for hash in &again {
        seen.index.approach(*hash);
    }
    for hash in &hashes {
        graph.by_identifier.approach(*hash);
    }
    let nodes: SmallVec<[_; 64]> = hashes.iter().filter_map(|hash| graph.any_with(*hash)).collect();
    for node in &nodes {
        black_box(graph.owner(*node));
    }
    for node in nodes {
        black_box(graph.seen_at(graph.owner(node)));
    }
}
