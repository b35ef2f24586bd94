//! Taking a customer apart.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use imbl::OrdSet;
use sha2::{Digest as _, Sha256};

use super::graph::{Graph, Node, Who, add_cuts};
use super::parts::Parts;
use super::resolve::unused;
use super::{Alias, Answer, Event, Facts, Profile, Restated, Splitting, State};
use crate::identifier::Identifier;
use crate::person::Sighting;
use crate::{At, CustomerId, Decision, Refusal, RefusalCode, SplitId};

/// What one input may lead to: it is one atomic batch of the broker, which takes 1,000, and the
/// engine may add a few of its own.
pub(super) const RECORDS_AT_MOST: usize = 995;

/// So many pairs of pieces are cut off each other; where there are more, only those that something
/// tied.
const PAIRS_AT_MOST: usize = 4_096;

pub(super) fn split(
    state: &State,
    customer: CustomerId,
    identifiers: &BTreeSet<Identifier>,
    origin: &str,
    validate_only: bool,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    let who = state.known(customer)?;
    let graph = &state.graph;
    let mut apart = Vec::with_capacity(identifiers.len());
    for (place, identifier) in identifiers.iter().enumerate() {
        let node = graph.find(identifier).filter(|node| graph.owner(*node) == who);
        let node = node.ok_or_else(|| {
            Refusal::field(&format!("identifiers[{place}]"), "does not belong to the customer")
        })?;
        apart.push(node);
    }
    if apart.is_empty() {
        return Err(Refusal::field("identifiers", "must name what belongs to somebody else"));
    }
    let nodes: Vec<_> = graph.nodes(who).collect();
    if apart.len() == nodes.len() {
        return Err(Refusal::field(
            "identifiers",
            "must not be all that the customer has; name only what belongs to somebody else",
        ));
    }
    if state.splits().any(|(_, splitting)| splitting.customer == graph.id(who)) {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "SPLIT_UNDERWAY",
            "records of the customer are still being moved after a split; try again in a moment",
        ));
    }
    let pieces = Pieces::of(graph, who, &BTreeSet::new(), &apart, origin);
    if pieces.all.len() >= RECORDS_AT_MOST {
        return Err(Refusal::field(
            "identifiers",
            format!("fall into more than {RECORDS_AT_MOST} pieces; name fewer at a time"),
        ));
    }
    let answer = pieces.profiles(state);
    let events = if validate_only {
        Vec::new()
    } else {
        pieces.events(state, &|id| id, at, RECORDS_AT_MOST)
    };
    Ok(Decision::answered(events, Answer::Pieces(answer)))
}

/// What follows when identifiers are taken from a customer: nothing while the rest holds together.
/// `now` tells who is one by the same input. `None`: more than `room` records.
pub(super) fn after_withdrawal(
    state: &State,
    who: Who,
    taken: &BTreeSet<Node>,
    origin: &str,
    now: &dyn Fn(CustomerId) -> CustomerId,
    at: At,
    room: usize,
) -> Option<Vec<Event>> {
    let pieces = Pieces::of(&state.graph, who, taken, &[], origin);
    if pieces.all.len() < 2 {
        return Some(Vec::new());
    }
    (pieces.all.len() < room)
        .then(|| pieces.events(state, now, at, room))
        .filter(|events| events.len() <= room)
}

/// Whether a split keeps any of these customers apart.
pub(super) fn are_cut(graph: &Graph, group: &[Who]) -> bool {
    let mut cuts: Vec<(u64, Who)> = Vec::new();
    for who in group {
        for node in graph.nodes(*who) {
            cuts.extend(graph.cuts(node).iter().map(|cut| (*cut, *who)));
        }
    }
    cuts.sort_unstable();
    cuts.iter().any(|(cut, who)| {
        let from = cuts.partition_point(|(other, _)| *other < cut ^ 1);
        cuts[from..]
            .iter()
            .take_while(|(other, _)| *other == cut ^ 1)
            .any(|(_, other)| other != who)
    })
}

/// Takes a part of a piece into the state.
///
/// The record of the split itself may be gone, with everything else of whom it was of. Then what is
/// known of the piece is void all the same; until its last part has come, a splitting of that one
/// piece stands for it.
pub(super) fn restate(state: &mut State, restated: &Restated) {
    let splitting = state.splits.get(&restated.split);
    let begins = splitting.is_none();
    let alone = splitting.is_none_or(|splitting| splitting.pieces.len() == 1);
    if alone {
        let first = begins.then_some(restated.customer);
        let aliases = restated.aliases.iter().map(|alias| alias.customer);
        for customer in first.into_iter().chain(aliases) {
            state.forget(state.current(customer));
            state.forget(customer);
        }
        if restated.more {
            let pieces = [restated.customer].into_iter().collect();
            let splitting = Splitting {
                customer: restated.before,
                pieces,
                aliases: OrdSet::new(),
                split_at: restated.created_at,
                moved: false,
            };
            state.splits.insert(restated.split, splitting);
        } else {
            state.splits.remove(&restated.split);
        }
    }
    let graph = &mut state.graph;
    let who = match graph.who(restated.customer) {
        Some(who) => who,
        None => graph.create(restated.customer, restated.created_at),
    };
    graph.see(who, restated.seen_at);
    let mut nodes = Vec::with_capacity(restated.identifiers.len());
    for kept in &restated.identifiers {
        nodes.push((&kept.identifier, graph.restate(who, kept)));
        state.review.carried_no_more(&kept.identifier);
    }
    // Ties come in the order of their ends, as identifiers do: an end is most often one of the tie
    // before, or the identifier that comes next.
    let mut next = nodes.into_iter().peekable();
    let mut ends: [Option<(&Identifier, Node)>; 2] = [None, None];
    for tie in &restated.ties {
        ends = [&tie.one, &tie.other].map(|identifier| {
            let mut known = ends.iter().rev().flatten();
            let known = known.find(|(known, _)| *known == identifier).copied();
            let known = known.or_else(|| next.next_if(|(known, _)| *known == identifier));
            known.or_else(|| Some((identifier, graph.find(identifier)?)))
        });
        if let [Some((_, one)), Some((_, other))] = ends {
            graph.tie(one, &[(other, tie.verified)], tie.source.as_ref(), tie.at);
        }
    }
    if let Some(founder) = restated.founder.as_ref().and_then(|founder| graph.find(founder)) {
        graph.found(who, Some(founder));
    }
    for Alias { customer, created_at, founder } in &restated.aliases {
        let founder = founder.as_ref().and_then(|founder| graph.find(founder));
        if graph.who(*customer).is_none() {
            graph.create_alias(who, *customer, *created_at, founder);
        }
    }
    state.likeness.follow(&state.graph, who);
}

/// By the number of an identifier, which nobody chooses.
type Places = HashMap<Node, usize, FixedState>;

struct Piece {
    id: CustomerId,
    created_at: At,
    founder: Option<Node>,
    /// Each with the identifier that founds it from now on.
    aliases: Vec<(Who, Option<Node>)>,
    /// Where its identifiers stand among all, in the order of what they are.
    places: Vec<usize>,
}

struct Pieces<'a> {
    graph: &'a Graph,
    /// Who is taken apart.
    who: Who,
    split: SplitId,
    /// What identifiers that were taken away refuse; all pieces refuse it still.
    refused: Facts,
    /// The cuts that they lie at; all pieces lie at them still.
    cut: Vec<u64>,
    /// The one that keeps the id first, then by their ids.
    all: Vec<Piece>,
    /// The nodes that were not taken away, each with its place in `all`.
    places: Vec<(Node, usize)>,
    /// Where each of them stands.
    at: Places,
    /// Whether each of them is somebody else's.
    is_apart: Vec<bool>,
    /// What each of them is.
    identifiers: Vec<Identifier>,
    /// Of each of them, which one it is in the order of identifiers; and which is at each of these.
    ranks: Vec<usize>,
    ranked: Vec<usize>,
}

impl<'a> Pieces<'a> {
    /// What is still connected without `taken`, and without the ties between `apart` and the rest.
    fn of(
        graph: &'a Graph,
        who: Who,
        taken: &BTreeSet<Node>,
        apart: &[Node],
        origin: &str,
    ) -> Self {
        let mut places: Vec<_> = graph.nodes(who).map(|node| (node, UNSEEN)).collect();
        places.retain(|(node, _)| !taken.contains(node));
        // As they came, which is often the order of what they are; a ring is nearly in that order.
        places.sort_by_key(|(node, _)| *node);
        let at: Places =
            places.iter().enumerate().map(|(place, (node, _))| (*node, place)).collect();
        let place = |node: Node| at.get(&node).copied();
        let mut is_apart = vec![false; places.len()];
        apart.iter().filter_map(|node| place(*node)).for_each(|place| is_apart[place] = true);
        let components = connect(graph, &mut places, &at, &is_apart);
        let identifiers: Vec<_> = places.iter().map(|(node, _)| graph.identifier(*node)).collect();
        let (ranks, ranked) = ranks(&identifiers);
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); components];
        for place in &ranked {
            members[places[*place].1].push(*place);
        }
        // Whose founder was taken away goes where the oldest identifier that is left goes.
        let age = |place: usize| (graph.attached_at(places[place].0), &identifiers[place]);
        let mut eldest: Vec<Option<usize>> = vec![None; components];
        for (place, (_, component)) in places.iter().enumerate() {
            let known = &mut eldest[*component];
            if known.is_none_or(|known| age(place) < age(known)) {
                *known = Some(place);
            }
        }
        let first = eldest.iter().copied().flatten().min_by_key(|place| age(*place));
        let first = first.map(|place| places[place].0);
        let mut whose: Vec<Vec<(Who, Option<Node>)>> = vec![Vec::new(); components];
        for customer in graph.aliases(who).chain([who]) {
            let founder = graph.founder(customer).filter(|node| !taken.contains(node)).or(first);
            let component = founder.and_then(place).map(|place| places[place].1);
            if let Some(component) = component {
                whose[component].push((customer, founder));
            }
        }
        let split = unused(format!("{origin}/{}", graph.id(who)), SplitId::derive, |_| false);
        let mut unnamed = 0;
        let mut order: Vec<_> = (0..components).collect();
        order.sort_unstable_by_key(|component| eldest[*component].map(age));
        let mut pieces: Vec<_> = order
            .into_iter()
            .map(|component| {
                let members = std::mem::take(&mut members[component]);
                let mut whose = std::mem::take(&mut whose[component]);
                whose.sort_by_key(|(who, _)| (graph.created_at(*who), graph.id(*who)));
                let Some((first, founder)) = whose.first().copied() else {
                    let id = unused(format!("{origin}/{unnamed}"), CustomerId::derive, |id| {
                        graph.who(*id).is_some()
                    });
                    unnamed += 1;
                    let founder = eldest[component].map(|place| places[place].0);
                    let created_at = founder.map(|node| graph.attached_at(node));
                    let created_at = created_at.unwrap_or_default();
                    return Piece { id, created_at, founder, aliases: Vec::new(), places: members };
                };
                Piece {
                    id: graph.id(first),
                    created_at: graph.created_at(first),
                    founder,
                    aliases: whose.split_off(1),
                    places: members,
                }
            })
            .collect();
        let own = graph.id(who);
        pieces.sort_by_key(|piece| (piece.id != own, piece.id));
        for (number, piece) in pieces.iter().enumerate() {
            for place in &piece.places {
                places[*place].1 = number;
            }
        }
        let mut refused = Facts::default();
        taken
            .iter()
            .filter_map(|node| graph.facts(*node))
            .for_each(|facts| refused.refuse_as(facts));
        let mut cut: Vec<u64> =
            taken.iter().flat_map(|node| graph.cuts(*node).iter().copied()).collect();
        cut.sort_unstable();
        cut.dedup();
        Self {
            graph,
            who,
            split,
            refused,
            cut,
            all: pieces,
            places,
            at,
            is_apart,
            identifiers,
            ranks,
            ranked,
        }
    }

    /// What an identifier of a piece is.
    fn identifier(&self, node: Node) -> Identifier {
        let place = self.at.get(&node);
        place.map_or_else(|| self.graph.identifier(node), |place| self.identifiers[*place].clone())
    }

    fn place(&self, node: Node) -> Option<usize> {
        Some(self.rank_and_place(node)?.1)
    }

    fn rank_and_place(&self, node: Node) -> Option<(usize, usize)> {
        let place = *self.at.get(&node)?;
        Some((self.ranks[place], self.places[place].1))
    }

    /// When a piece was last seen: only of the one that keeps the id it is known.
    fn seen_at(&self, piece: &Piece) -> At {
        if piece.id == self.graph.id(self.who) {
            return self.graph.seen_at(self.who);
        }
        let attached = |place: &usize| self.graph.attached_at(self.places[*place].0);
        let attached = piece.places.iter().map(attached).max();
        attached.unwrap_or_default().max(piece.created_at)
    }

    fn profiles(&self, state: &State) -> Vec<Profile> {
        let known = |place: &usize| (self.identifiers[*place].clone(), self.places[*place].0);
        let profile = |piece: &Piece| Profile {
            created_at: piece.created_at,
            seen_at: self.seen_at(piece),
            aliases: piece.aliases.iter().map(|(alias, _)| self.graph.id(*alias)).collect(),
            ..state.profile_of(piece.id, piece.places.iter().map(known))
        };
        self.all.iter().map(profile).collect()
    }

    /// At most `room` records, unless the parts alone are more.
    fn events(
        &self,
        state: &State,
        now: &dyn Fn(CustomerId) -> CustomerId,
        at: At,
        room: usize,
    ) -> Vec<Event> {
        let graph = self.graph;
        let customer = graph.id(self.who);
        let mut events = vec![Event::Split {
            id: self.split,
            customer,
            pieces: self.all.iter().map(|piece| piece.id).collect(),
            aliases: self
                .all
                .iter()
                .flat_map(|piece| piece.aliases.iter().map(|(alias, _)| graph.id(*alias)))
                .collect(),
        }];
        let cuts = self.cuts();
        // Sorted by what they are: their numbers differ between two graphs that hold the same.
        let mut ties: Vec<Vec<(usize, usize, u32)>> = vec![Vec::new(); self.all.len()];
        for (one, other, tie) in graph.tie_nodes(self.who) {
            if let (Some((one, place)), Some((other, also))) =
                (self.rank_and_place(one), self.rank_and_place(other))
                && place == also
            {
                ties[place].push((one.min(other), one.max(other), tie));
            }
        }
        let ranked = |rank: usize| self.identifiers[self.ranked[rank]].clone();
        for ((piece, mut ties), cuts) in self.all.iter().zip(ties).zip(cuts) {
            ties.sort_by_key(|(one, other, _)| (*one, *other));
            let cuts: Vec<_> = cuts.into_iter().collect();
            let mut parts = Parts::new(Restated {
                customer: piece.id,
                split: self.split,
                before: customer,
                created_at: piece.created_at,
                seen_at: self.seen_at(piece),
                founder: piece.founder.map(|node| self.identifier(node)),
                aliases: Vec::new(),
                identifiers: Vec::new(),
                ties: Vec::new(),
                more: false,
            });
            parts.reserve(piece.places.len(), ties.len());
            for place in &piece.places {
                let node = self.places[*place].0;
                let mut kept = graph.kept(self.identifiers[*place].clone(), node);
                kept.facts.refuse_as(&self.refused);
                add_cuts(&mut kept.cuts, &self.cut);
                kept.cuts.extend_from_slice(&cuts);
                parts.identifier(kept);
            }
            for (one, other, tie) in ties {
                parts.tie(graph.read_tie((ranked(one), ranked(other)), tie));
            }
            for (alias, founder) in &piece.aliases {
                parts.alias(Alias {
                    customer: graph.id(*alias),
                    created_at: graph.created_at(*alias),
                    founder: founder.map(|node| self.identifier(node)),
                });
            }
            events.extend(parts.finish());
        }
        let room = room.saturating_sub(events.len());
        events.extend(self.waiting(state, now, at, room));
        events
    }

    /// For each piece of what is somebody else's and each of the rest, a cut with two sides, also
    /// where nothing tied the two: an event that a limit kept from tying them may come again. All
    /// that either has lies at it, so that it holds whatever is taken from them later. Of each piece
    /// its cuts.
    fn cuts(&self) -> Vec<BTreeSet<u64>> {
        let mut cuts = vec![BTreeSet::new(); self.all.len()];
        let mut is_apart = vec![false; self.all.len()];
        for ((_, piece), apart) in self.places.iter().zip(&self.is_apart) {
            is_apart[*piece] |= apart;
        }
        let (theirs, rest): (Vec<_>, Vec<_>) =
            (0..self.all.len()).partition(|piece| is_apart[*piece]);
        if theirs.is_empty() {
            return cuts;
        }
        let pairs: BTreeSet<_> = if theirs.len() * rest.len() <= PAIRS_AT_MOST {
            theirs
                .iter()
                .flat_map(|one| rest.iter().map(|other| (*one.min(other), *one.max(other))))
                .collect()
        } else {
            let ties = self.graph.tie_nodes(self.who);
            let places =
                ties.filter_map(|(one, other, _)| Some((self.place(one)?, self.place(other)?)));
            places
                .filter(|(one, other)| one != other)
                .map(|(one, other)| (one.min(other), one.max(other)))
                .collect()
        };
        for (low, high) in pairs {
            let digest = Sha256::digest(format!("{}/{low}/{high}", self.split));
            let mut number = [0; 8];
            number.copy_from_slice(&digest[..8]);
            let number = u64::from_le_bytes(number) & !1;
            cuts[low].insert(number);
            cuts[high].insert(number | 1);
        }
        cuts
    }

    /// What was suggested, and the conflicts, are said again of the piece that they are about; where
    /// there are too many for one input, the newest.
    fn waiting(
        &self,
        state: &State,
        now: &dyn Fn(CustomerId) -> CustomerId,
        at: At,
        room: usize,
    ) -> Vec<Event> {
        let mut said = Vec::new();
        let graph = self.graph;
        let customer = graph.id(self.who);
        let piece = |sightings: &[Sighting]| {
            let found = |sighting: &Sighting| {
                self.place(graph.find(&sighting.identifier)?).map(|place| self.all[place].id)
            };
            sightings.iter().find_map(found)
        };
        let ids = graph.aliases(self.who).chain([self.who]).map(|who| graph.id(who)).collect();
        let waiting = state.review.of(customer, &ids, now);
        for (id, suggestion) in waiting.suggestions {
            let by = &suggestion.evidence.by;
            let (of_customer, of_other) = by.split_at(by.len().min(1));
            let (one, other) = if suggestion.customer == customer {
                (piece(of_customer), Some(suggestion.other))
            } else {
                (Some(suggestion.customer), piece(of_other))
            };
            if let (Some(one), Some(other)) = (one, other) {
                let evidence = suggestion.evidence.clone();
                let likeness = suggestion.likeness.clone();
                let event = Event::Suggested { id, customer: one, other, evidence, likeness };
                said.push((suggestion.suggested_at, event));
            }
        }
        for (id, conflict) in waiting.conflicts {
            let mut conflict = conflict.clone();
            let recorded_at = std::mem::replace(&mut conflict.recorded_at, at);
            conflict.customer = piece(&conflict.evidence.by).unwrap_or(customer);
            said.push((recorded_at, Event::Conflicted { id, conflict }));
        }
        if said.len() > room {
            said.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
            said.truncate(room);
        }
        said.into_iter().map(|(_, event)| event).collect()
    }
}

const UNSEEN: usize = usize::MAX;

/// Numbers what is connected without the ties between what is apart and the rest, and says how many
/// such components there are.
fn connect(graph: &Graph, places: &mut [(Node, usize)], at: &Places, is_apart: &[bool]) -> usize {
    let mut components = 0;
    for start in 0..places.len() {
        if places[start].1 != UNSEEN {
            continue;
        }
        places[start].1 = components;
        let mut next = vec![start];
        while let Some(from) = next.pop() {
            for neighbour in graph.neighbours(places[from].0) {
                if let Some(place) = at.get(&neighbour).copied()
                    && places[place].1 == UNSEEN
                    && is_apart[place] == is_apart[from]
                {
                    places[place].1 = components;
                    next.push(place);
                }
            }
        }
        components += 1;
    }
    components
}

/// Of each of these, which one it is in their order; and which is at each of these.
fn ranks(all: &[Identifier]) -> (Vec<usize>, Vec<usize>) {
    let mut ranked: Vec<_> = (0..all.len()).collect();
    ranked.sort_unstable_by_key(|place| &all[*place]);
    let mut ranks = vec![0; all.len()];
    for (rank, place) in ranked.iter().enumerate() {
        ranks[*place] = rank;
    }
    (ranks, ranked)
}
