//! Identifiers, the evidence that ties them, and the customers that follow from both.
//!
//! Made for size: an identifier, what ties it and its share of a customer take about 130 bytes; and
//! for memory that is far away: who has an identifier is known by three lines of it.
//! Identifiers are numbered; those of one customer are linked in a ring; the ties of one
//! identifier are linked through the ties. Numbers are used again and differ between two graphs
//! that hold the same: nothing outside may depend on them.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::fast::RandomState;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::Facts;
use super::entry::{
    CUT, CustomerEntry, ELSEWHERE, FACTS, Key, NodeEntry, TEXT_AT_MOST, TieEntry, VERIFIED, place,
    short, text,
};
use super::index::Index;
use super::pack::{Names, unpack};
use super::pages::{Pages, Texts};
use crate::identifier::{Identifier, Kind};
use crate::{At, CustomerId};

/// The number of an identifier.
pub(super) type Node = u32;
/// The number of a customer.
pub(super) type Who = u32;

/// No identifier, customer or tie.
pub(super) const NONE: u32 = u32::MAX;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Pages<NodeEntry>,
    pub(super) ties: Pages<TieEntry>,
    pub(super) customers: Pages<CustomerEntry>,
    pub(super) texts: Texts,
    pub(super) by_identifier: Index,
    pub(super) by_id: Index,
    /// Differs between processes, so that nobody who chooses identifiers can make them meet.
    pub(super) seed: RandomState,
    pub(super) spaces: Names,
    pub(super) channels: Names,
    free_node: Option<Node>,
    pub(super) free_tie: Option<u32>,
    pub(super) last_source: Option<(u16, u32)>,
    identifiers: usize,
    living: usize,
    facts: OrdMap<Node, Facts>,
    /// Of each identifier, the cuts that it lies at. A cut has two sides, told apart by the lowest
    /// bit: two customers with identifiers on both sides of one cut must not be tied.
    cuts: OrdMap<Node, Cuts>,
    expected: Expected,
}

/// The customer who is asked for next, most likely. A hint: what it says is checked, and nothing
/// depends on it.
#[derive(Debug)]
struct Expected(AtomicU32);

impl Expected {
    fn get(&self) -> Who {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, who: Who) {
        self.0.store(who, Ordering::Relaxed);
    }
}

impl Default for Expected {
    fn default() -> Self {
        Self(AtomicU32::new(NONE))
    }
}

impl Clone for Expected {
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.get()))
    }
}

/// One identifier of a customer, as it is read and restated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kept {
    /// The identifier.
    pub identifier: Identifier,
    /// Whether a source that owns it has ever said so.
    pub verified: bool,
    /// Since when the customer is known by it; limits with a window count by this.
    pub attached_at: At,
    /// What was told of the person by events that this identifier led.
    pub facts: Facts,
    /// The cuts that it lies at: numbers that a split gave, whose lowest bit tells the side.
    pub cuts: Cuts,
}

/// Cuts that an identifier lies at: of most splits there is one.
pub type Cuts = SmallVec<[u64; 2]>;

/// Adds cuts, each once.
pub(super) fn add_cuts(cuts: &mut Cuts, more: &[u64]) {
    for cut in more {
        if !cuts.contains(cut) {
            cuts.push(*cut);
        }
    }
}

impl Graph {
    pub(super) fn customers(&self) -> usize {
        self.living
    }

    pub(super) fn identifiers(&self) -> usize {
        self.identifiers
    }

    pub(super) fn find(&self, identifier: &Identifier) -> Option<Node> {
        let key = self.key(identifier);
        let is = |node| key.is(self.nodes.get(node), &self.texts);
        self.by_identifier.find(key.hash(&self.seed), is)
    }

    fn key<'a>(&self, identifier: &'a Identifier) -> Key<'a> {
        let space = identifier.space().map(|name| (name, self.spaces.get(name)));
        Key::new(identifier, space)
    }

    /// By what an identifier is found.
    pub(super) fn hash(&self, identifier: &Identifier) -> u32 {
        self.key(identifier).hash(&self.seed)
    }

    /// Any identifier with this hash.
    pub(super) fn any_with(&self, hash: u32) -> Option<Node> {
        self.by_identifier.find(hash, |_| true)
    }

    /// The value of an identifier as it is kept.
    pub(super) fn text<'a>(&'a self, entry: &'a NodeEntry) -> &'a [u8] {
        text(entry, &self.texts)
    }

    /// The hash of an identifier, as of all that it is.
    pub(super) fn hash_of(&self, entry: &NodeEntry) -> u32 {
        Key::of_text(entry.kind, entry.space, self.text(entry)).hash(&self.seed)
    }

    pub(super) fn identifier(&self, node: Node) -> Identifier {
        let entry = self.nodes.get(node);
        let kind = Kind::ALL[usize::from(entry.kind)];
        let value = unpack(self.text(entry));
        let spaced = matches!(kind, Kind::Line | Kind::External);
        match (spaced, entry.space) {
            (false, _) => Identifier::from_parts(kind, SmolStr::default(), value),
            (true, 0) => {
                let (space, value) = value.split_once('\0').unwrap_or(("", &value));
                Identifier::from_parts(kind, space.into(), value.into())
            }
            (true, space) => Identifier::from_parts(kind, self.spaces.name(space).into(), value),
        }
    }

    pub(super) fn kind(&self, node: Node) -> Kind {
        Kind::ALL[usize::from(self.nodes.get(node).kind)]
    }

    pub(super) fn attached_at(&self, node: Node) -> At {
        self.nodes.get(node).attached_at
    }

    pub(super) fn is_verified(&self, node: Node) -> bool {
        self.nodes.get(node).flags & VERIFIED != 0
    }

    pub(super) fn verify(&mut self, node: Node) {
        self.nodes.get_mut(node).flags |= VERIFIED;
    }

    /// The customer that has an identifier.
    pub(super) fn owner(&self, node: Node) -> Who {
        self.nodes.get(node).customer
    }

    /// The customer with an id, be it living or absorbed.
    pub(super) fn who(&self, id: CustomerId) -> Option<Who> {
        let is = |who: Who| self.customers.get(who).id == id;
        let expected = some(self.expected.get()).filter(|who| is(*who) && !self.is_gone(*who));
        expected.or_else(|| self.by_id.find(self.hash_id(id), is))
    }

    pub(super) fn hash_id(&self, id: CustomerId) -> u32 {
        short(self.seed.hash_one(id))
    }

    fn is_gone(&self, who: Who) -> bool {
        self.customers.get(who).gone
    }

    /// Says whose id [`who`](Self::who) will be asked for next, so that it need not search.
    pub(super) fn expect(&self, who: Who) {
        self.expected.set(who);
    }

    pub(super) fn id(&self, who: Who) -> CustomerId {
        self.customers.get(who).id
    }

    /// The living customer that a customer is part of.
    pub(super) fn current(&self, who: Who) -> Who {
        let into = self.customers.get(who).merged_into;
        if into == NONE { who } else { into }
    }

    pub(super) fn created_at(&self, who: Who) -> At {
        self.customers.get(who).created_at
    }

    pub(super) fn seen_at(&self, who: Who) -> At {
        self.customers.get(who).seen_at
    }

    pub(super) fn see(&mut self, who: Who, at: At) {
        // Read first: most events of one customer change nothing that a snapshot shares.
        if self.customers.get(who).seen_at < at {
            self.customers.get_mut(who).seen_at = at;
        }
    }

    /// Every living customer, in the order in which they came to be known here.
    pub(super) fn living(&self, after: Option<Who>) -> impl Iterator<Item = Who> + '_ {
        let first = after.map_or(0, |who| who + 1);
        let end = u32::try_from(self.customers.len()).unwrap_or(NONE);
        (first..end).filter(|who| {
            let entry = self.customers.get(*who);
            !entry.gone && entry.merged_into == NONE
        })
    }

    /// The identifiers of a living customer, in no order that means anything.
    pub(super) fn nodes(&self, who: Who) -> impl Iterator<Item = Node> + '_ {
        let head = self.customers.get(who).head;
        let mut at = head;
        std::iter::from_fn(move || {
            let node = (at != NONE).then_some(at)?;
            let next = self.nodes.get(node).next;
            at = if next == head { NONE } else { next };
            Some(node)
        })
    }

    /// The customers that a living one absorbed, in no order that means anything.
    pub(super) fn aliases(&self, who: Who) -> impl Iterator<Item = Who> + '_ {
        let mut at = self.customers.get(who).aliases;
        std::iter::from_fn(move || {
            let alias = (at != NONE).then_some(at)?;
            at = self.customers.get(alias).next_alias;
            Some(alias)
        })
    }

    pub(super) fn founder(&self, who: Who) -> Option<Node> {
        Some(self.customers.get(who).founder).filter(|node| *node != NONE)
    }

    pub(super) fn found(&mut self, who: Who, founder: Option<Node>) {
        self.customers.get_mut(who).founder = founder.unwrap_or(NONE);
    }

    /// Somebody new, without identifiers yet.
    pub(super) fn create(&mut self, id: CustomerId, created_at: At) -> Who {
        let who = self.customers.push(CustomerEntry {
            created_at,
            seen_at: created_at,
            id,
            gone: false,
            founder: NONE,
            head: NONE,
            merged_into: NONE,
            aliases: NONE,
            next_alias: NONE,
        });
        self.by_id.insert(self.hash_id(id), who, |_| false, |_| false);
        self.living += 1;
        self.expect(who);
        who
    }

    /// A customer is known by one identifier more. Only a log that lacks what was deleted after a
    /// split says it of one that somebody else has, who loses it.
    pub(super) fn attach(
        &mut self,
        who: Who,
        identifier: &Identifier,
        verified: bool,
        at: At,
    ) -> Node {
        let space = identifier.space().map(|name| {
            let number = self.spaces.number(name);
            (name, Some(number).filter(|number| *number != 0))
        });
        let key = Key::new(identifier, space);
        let hash = key.hash(&self.seed);
        let next = self.next_node();
        let Self { by_identifier, nodes, texts, .. } = self;
        let is = |node| key.is(nodes.get(node), texts);
        if let Some(known) = by_identifier.insert(hash, next, is, |_| false) {
            self.detach(known);
            let next = self.next_node();
            self.by_identifier.insert(hash, next, |_| false, |_| false);
        }
        self.add(who, &key, verified, at)
    }

    /// The number that [`add`](Self::add) gives next.
    fn next_node(&self) -> Node {
        self.free_node.unwrap_or_else(|| self.nodes.next())
    }

    /// The same of one that nobody has, and that is not found before it stands in the index.
    pub(super) fn add(&mut self, who: Who, key: &Key<'_>, verified: bool, at: At) -> Node {
        let node = self.next_node();
        let mut entry = NodeEntry {
            attached_at: at,
            customer: who,
            next: self.link(who, node),
            ties: NONE,
            space: key.space,
            kind: key.kind,
            flags: if verified { VERIFIED } else { 0 },
            length: ELSEWHERE,
            text: [0; TEXT_AT_MOST],
        };
        let length = 1 + key.rest.len();
        if let Some(text) = entry.text.get_mut(1..length) {
            text.copy_from_slice(&key.rest);
            entry.text[0] = key.first;
            entry.length = u8::try_from(length).unwrap_or(ELSEWHERE);
        } else {
            let text = self.texts.push(&[&[key.first], &key.rest[..]].concat());
            entry.text[..4].copy_from_slice(&text.to_le_bytes());
        }
        match self.free_node {
            Some(free) => {
                self.free_node = some(self.nodes.get(free).next);
                *self.nodes.get_mut(free) = entry;
            }
            None => {
                self.nodes.push(entry);
            }
        }
        self.identifiers += 1;
        node
    }

    /// Puts an identifier into the ring of a customer, and says which one comes after it.
    fn link(&mut self, who: Who, node: Node) -> Node {
        let head = self.customers.get(who).head;
        if head == NONE {
            self.customers.get_mut(who).head = node;
            return node;
        }
        std::mem::replace(&mut self.nodes.get_mut(head).next, node)
    }

    /// Takes an identifier away from whoever has it, with every tie of it and what was told of the
    /// person by it. Whom it founded, the next oldest identifier founds from now on.
    pub(super) fn detach(&mut self, node: Node) {
        while let Some(tie) = some(self.nodes.get(node).ties) {
            self.untie(tie);
        }
        let who = self.owner(node);
        let next = self.nodes.get(node).next;
        let before = self.nodes(who).find(|other| self.nodes.get(*other).next == node);
        if let Some(before) = before {
            self.nodes.get_mut(before).next = next;
        }
        if self.customers.get(who).head == node {
            self.customers.get_mut(who).head = if next == node { NONE } else { next };
        }
        self.free(node);
        let founded: Vec<_> = self
            .aliases(who)
            .chain([who])
            .filter(|founded| self.founder(*founded) == Some(node))
            .collect();
        if !founded.is_empty() {
            let nodes: Vec<_> = self.nodes(who).collect();
            let next = self.oldest(nodes.iter().copied());
            for founded in founded {
                self.found(founded, next);
            }
        }
    }

    /// The oldest of these. Two of the same moment go by what they are, so that every run says the
    /// same.
    pub(super) fn oldest(&self, nodes: impl Iterator<Item = Node> + Clone) -> Option<Node> {
        let first = nodes.clone().map(|node| self.attached_at(node)).min()?;
        let mut oldest = nodes.filter(|node| self.attached_at(*node) == first);
        let mut best = oldest.next()?;
        let mut identifier = None;
        for node in oldest {
            let own = self.identifier(node);
            let known = identifier.get_or_insert_with(|| self.identifier(best));
            if own < *known {
                (best, *known) = (node, own);
            }
        }
        Some(best)
    }

    /// Frees an identifier that is in no ring, and whose ties are free.
    fn free(&mut self, node: Node) {
        let entry = *self.nodes.get(node);
        self.by_identifier.remove(self.hash_of(&entry), node);
        if entry.length == ELSEWHERE {
            self.texts.wipe(place(&entry));
        }
        if entry.flags & FACTS != 0 {
            self.facts.remove(&node);
        }
        if entry.flags & CUT != 0 {
            self.cuts.remove(&node);
        }
        // What was erased is not found in memory either.
        let entry = self.nodes.get_mut(node);
        (entry.length, entry.text) = (0, [0; TEXT_AT_MOST]);
        entry.ties = NONE;
        entry.next = self.free_node.unwrap_or(NONE);
        self.free_node = Some(node);
        self.identifiers -= 1;
    }

    /// Takes a living customer away, with its identifiers, their ties and its aliases.
    pub(super) fn remove(&mut self, who: Who) {
        // A tie leads to nobody else's, so none needs to be taken out of a list that stays.
        let ties: Vec<_> = self.tie_nodes(who).map(|(_, _, tie)| tie).collect();
        for tie in ties {
            self.free_tie(tie);
        }
        for node in self.nodes(who).collect::<Vec<_>>() {
            self.free(node);
        }
        let gone: Vec<_> = self.aliases(who).chain([who]).collect();
        for who in gone {
            self.by_id.remove(self.hash_id(self.id(who)), who);
            let entry = self.customers.get_mut(who);
            (entry.gone, entry.head, entry.aliases) = (true, NONE, NONE);
        }
        self.living -= 1;
    }

    /// Makes two living customers one. An identifier stays founder of whom it founded.
    pub(super) fn merge(&mut self, survivor: Who, absorbed: Who) {
        let nodes: Vec<_> = self.nodes(absorbed).collect();
        for node in &nodes {
            self.nodes.get_mut(*node).customer = survivor;
        }
        let (one, other) = (self.customers.get(survivor).head, self.customers.get(absorbed).head);
        match (some(one), some(other)) {
            (Some(one), Some(other)) => {
                // Two rings whose links are exchanged at one place each are one ring.
                let next = self.nodes.get(one).next;
                let next = std::mem::replace(&mut self.nodes.get_mut(other).next, next);
                self.nodes.get_mut(one).next = next;
            }
            (None, Some(other)) => self.customers.get_mut(survivor).head = other,
            (_, None) => {}
        }
        let aliases: Vec<_> = self.aliases(absorbed).chain([absorbed]).collect();
        for alias in aliases {
            self.alias(survivor, alias);
        }
        let seen_at = self.seen_at(absorbed);
        self.see(survivor, seen_at);
        self.living -= 1;
        self.forget_cuts_within(survivor);
    }

    fn alias(&mut self, survivor: Who, alias: Who) {
        let next = self.customers.get(survivor).aliases;
        let entry = self.customers.get_mut(alias);
        (entry.merged_into, entry.next_alias) = (survivor, next);
        (entry.head, entry.aliases) = (NONE, NONE);
        self.customers.get_mut(survivor).aliases = alias;
    }

    /// A customer that is known only as a part of a living one.
    pub(super) fn create_alias(
        &mut self,
        survivor: Who,
        id: CustomerId,
        created_at: At,
        founder: Option<Node>,
    ) {
        let who = self.create(id, created_at);
        self.living -= 1;
        self.found(who, founder);
        self.alias(survivor, who);
    }

    /// What was told of the person by events that an identifier led.
    pub(super) fn facts(&self, node: Node) -> Option<&Facts> {
        let known = self.nodes.get(node).flags & FACTS != 0;
        known.then(|| self.facts.get(&node)).flatten()
    }

    pub(super) fn facts_mut(&mut self, node: Node) -> &mut Facts {
        if self.nodes.get(node).flags & FACTS == 0 {
            self.nodes.get_mut(node).flags |= FACTS;
        }
        self.facts.entry(node).or_default()
    }

    pub(super) fn cuts(&self, node: Node) -> &[u64] {
        let known = self.nodes.get(node).flags & CUT != 0;
        known.then(|| self.cuts.get(&node)).flatten().map(Cuts::as_slice).unwrap_or_default()
    }

    pub(super) fn cut(&mut self, node: Node, cuts: Cuts) {
        if cuts.is_empty() {
            if self.nodes.get(node).flags & CUT != 0 {
                self.nodes.get_mut(node).flags &= !CUT;
                self.cuts.remove(&node);
            }
        } else {
            self.nodes.get_mut(node).flags |= CUT;
            self.cuts.insert(node, cuts);
        }
    }

    /// Whoever a person made one again is no longer cut.
    fn forget_cuts_within(&mut self, who: Who) {
        let cut: Vec<Node> = self.nodes(who).filter(|node| !self.cuts(*node).is_empty()).collect();
        let mut all: Vec<u64> =
            cut.iter().flat_map(|node| self.cuts(*node).iter().copied()).collect();
        all.sort_unstable();
        for node in cut {
            let mut cuts = Cuts::from_slice(self.cuts(node));
            cuts.retain(|cut| all.binary_search(&(*cut ^ 1)).is_err());
            self.cut(node, cuts);
        }
    }

    /// An identifier as it is restated.
    pub(super) fn kept(&self, identifier: Identifier, node: Node) -> Kept {
        Kept {
            identifier,
            verified: self.is_verified(node),
            attached_at: self.attached_at(node),
            facts: self.facts(node).cloned().unwrap_or_default(),
            cuts: Cuts::from_slice(self.cuts(node)),
        }
    }

    /// Takes back what [`kept`](Self::kept) gave.
    pub(super) fn restate(&mut self, who: Who, kept: &Kept) -> Node {
        let node = self.attach(who, &kept.identifier, kept.verified, kept.attached_at);
        if kept.facts != Facts::default() {
            *self.facts_mut(node) = kept.facts.clone();
        }
        self.cut(node, kept.cuts.clone());
        node
    }
}

pub(super) fn some(number: u32) -> Option<u32> {
    (number != NONE).then_some(number)
}
