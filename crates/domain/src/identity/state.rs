//! What identity-merge remembers, and what it tells of it.

use std::collections::{BTreeMap, BTreeSet};

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::facts::{Effective, Facts};
use super::graph::{Graph, Node, Who};
use super::likeness::Likeness;
use super::review::{Conflict, Dispute, Hub, Review, Suggestion};
use super::seen::Seen;
use super::ties::Tie;
use crate::identifier::Identifier;
use crate::person::Sighting;
use crate::{
    At, ChannelId, ConflictId, CustomerId, DisputeId, ErasureId, EventId, Means, Purpose, Refusal,
    SplitId, SuggestionId, UnsendId,
};

/// What identity-merge remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "super::saved::SavedState")]
pub struct State {
    pub(super) graph: Graph,
    #[serde(skip)]
    pub(super) likeness: Likeness,
    pub(super) review: Review,
    pub(super) seen: Seen,
    /// Splits whose records are not all under their owners yet; and those that are through, while
    /// an earlier one is not: what that still moves goes where a later one says.
    pub(super) splits: OrdMap<SplitId, Splitting>,
    pub(super) erasures: OrdMap<ErasureId, Erasure>,
    /// Those of them whose records are not all deleted here.
    pub(super) erasing: OrdSet<ErasureId>,
    /// Ids that are never given again: the jobs of an erasure may still delete what is theirs.
    pub(super) erased: OrdSet<CustomerId>,
    /// Messages that were taken back and may still stand in records.
    pub(super) unsends: OrdMap<UnsendId, Unsend>,
    /// Messages that were taken back lately: one that comes after that is taken back as well.
    pub(super) taken_back: Seen,
    /// What people who were erased had refused, by a keyed hash of each of their identifiers; and
    /// when they were erased.
    pub(super) refused: OrdMap<Token, OrdMap<(Means, Purpose), At>>,
}

/// A keyed hash of an identifier, in hexadecimal. Who does not have the key cannot tell from it
/// which identifier it is.
pub type Token = String;

/// A split whose records are being moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splitting {
    /// The id under which everything stood.
    pub customer: CustomerId,
    /// The customers that came of it.
    pub pieces: OrdSet<CustomerId>,
    /// All their aliases.
    pub aliases: OrdSet<CustomerId>,
    /// Since when.
    pub split_at: At,
    /// All records stand under their owners.
    pub moved: bool,
}

impl Splitting {
    /// Every id under which records of another piece may stand.
    pub fn ids(&self) -> impl Iterator<Item = CustomerId> {
        let others = self.pieces.iter().chain(&self.aliases).copied();
        std::iter::once(self.customer).chain(others.filter(|id| *id != self.customer))
    }
}

/// A message that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsend {
    /// Under whom it stands: the id, then its aliases; empty when it is nobody's.
    pub customers: Vec<CustomerId>,
    /// Where it came in.
    pub channel: ChannelId,
    /// The source's id of it.
    pub message: String,
}

/// A customer whose data is taken out of every place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// The id, then its aliases.
    pub customers: Vec<CustomerId>,
    /// Since when.
    pub erased_at: At,
    /// For each service that is through, how much it took out of each place.
    pub reports: OrdMap<String, BTreeMap<String, u64>>,
}

/// A customer as commands are answered and reads are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The id; never an alias.
    pub id: CustomerId,
    /// When the customer was first seen.
    pub created_at: At,
    /// When an event of the customer came last.
    pub seen_at: At,
    /// Everything that tells this customer from others.
    pub identifiers: BTreeMap<Identifier, Known>,
    /// Ids that customers absorbed by this one had.
    pub aliases: BTreeSet<CustomerId>,
    /// What is known of the person.
    pub facts: Facts,
}

/// What is known of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whether a source that owns it has ever said so.
    pub verified: bool,
    /// Since when the customer is known by it.
    pub attached_at: At,
}

impl State {
    /// The id that a customer has now: itself, or the one that absorbed it.
    #[must_use]
    pub fn current(&self, id: CustomerId) -> CustomerId {
        self.graph.who(id).map_or(id, |who| self.graph.id(self.graph.current(who)))
    }

    /// Whether a customer is known by this id, living or absorbed.
    #[must_use]
    pub fn knows(&self, id: CustomerId) -> bool {
        self.graph.who(id).is_some()
    }

    /// A customer by its id or an alias.
    #[must_use]
    pub fn customer(&self, id: CustomerId) -> Option<Profile> {
        self.graph.who(id).map(|who| self.profile(self.graph.current(who)))
    }

    pub(super) fn profile(&self, who: Who) -> Profile {
        let graph = &self.graph;
        Profile {
            id: graph.id(who),
            created_at: graph.created_at(who),
            seen_at: graph.seen_at(who),
            aliases: graph.aliases(who).map(|alias| graph.id(alias)).collect(),
            ..self.profile_of(
                graph.id(who),
                graph.nodes(who).map(|node| (graph.identifier(node), node)),
            )
        }
    }

    /// What these identifiers say of a customer; the rest is empty.
    pub(super) fn profile_of(
        &self,
        id: CustomerId,
        nodes: impl Iterator<Item = (Identifier, Node)>,
    ) -> Profile {
        let graph = &self.graph;
        let mut facts = Effective::default();
        let known = |(identifier, node)| {
            graph.facts(node).into_iter().for_each(|told| facts.add(told));
            let (verified, attached_at) = (graph.is_verified(node), graph.attached_at(node));
            (identifier, Known { verified, attached_at })
        };
        let identifiers = nodes.map(known).collect();
        Profile {
            id,
            created_at: At::default(),
            seen_at: At::default(),
            identifiers,
            aliases: BTreeSet::new(),
            facts: facts.into_facts(),
        }
    }

    /// The customer that an identifier belongs to.
    #[must_use]
    pub fn owner(&self, identifier: &Identifier) -> Option<CustomerId> {
        self.graph.find(identifier).map(|node| self.graph.id(self.graph.owner(node)))
    }

    /// Customers now, not counting aliases.
    #[must_use]
    pub fn customers(&self) -> usize {
        self.graph.customers()
    }

    /// Identifiers that belong to somebody.
    #[must_use]
    pub fn identifiers(&self) -> usize {
        self.graph.identifiers()
    }

    /// Customers in the order in which they came to be known, from the one after `after` on. An
    /// `after` that is unknown begins at the first.
    pub fn customers_after(&self, after: Option<CustomerId>) -> impl Iterator<Item = Profile> + '_ {
        let after = after.and_then(|id| self.graph.who(id));
        self.graph.living(after).map(|who| self.profile(who))
    }

    /// Everything that ties the identifiers of a customer, in their order.
    #[must_use]
    pub fn evidence(&self, id: CustomerId) -> Option<BTreeSet<Tie>> {
        let who = self.graph.who(id)?;
        Some(self.graph.ties(self.graph.current(who)).collect())
    }

    /// A suggestion that stands.
    #[must_use]
    pub fn suggestion(&self, id: SuggestionId) -> Option<&Suggestion> {
        self.review.suggestion(id)
    }

    /// Suggestions that stand, in the order of their ids, from the one after `after` on.
    pub fn suggestions_after(
        &self,
        after: Option<SuggestionId>,
    ) -> impl Iterator<Item = (&SuggestionId, &Suggestion)> {
        self.review.suggestions_after(after)
    }

    /// Conflicts in the order of their ids, from the one after `after` on. Customers in them may
    /// have been absorbed since: see [`current`](Self::current).
    pub fn conflicts_after(
        &self,
        after: Option<ConflictId>,
    ) -> impl Iterator<Item = (&ConflictId, &Conflict)> {
        self.review.conflicts_after(after)
    }

    /// Hubs, in the order of the identifiers, from the one after `after` on.
    pub fn hubs_after(
        &self,
        after: Option<&Identifier>,
    ) -> impl Iterator<Item = (&Identifier, &Hub)> {
        self.review.hubs_after(after)
    }

    /// Disputes that stand, in the order of their ids, from the one after `after` on.
    pub fn disputes_after(
        &self,
        after: Option<DisputeId>,
    ) -> impl Iterator<Item = (&DisputeId, &Dispute)> {
        self.review.disputes_after(after)
    }

    /// Splits whose records are still being moved.
    pub fn splits(&self) -> impl Iterator<Item = (&SplitId, &Splitting)> {
        self.splits.iter().filter(|(_, split)| !split.moved)
    }

    /// Messages that were taken back and may still stand in records.
    pub fn unsends(&self) -> impl Iterator<Item = (&UnsendId, &Unsend)> {
        self.unsends.iter()
    }

    /// Every erasure, with what became of it.
    pub fn erasures(&self) -> impl Iterator<Item = (&ErasureId, &Erasure)> {
        self.erasures.iter()
    }

    /// Erasures that this service itself is not through with.
    pub fn erasures_open(&self) -> impl Iterator<Item = (&ErasureId, &Erasure)> {
        self.erasing.iter().filter_map(|id| self.erasures.get_key_value(id))
    }

    /// Whether records that stand under an id may be another customer's, who is a living one: by a
    /// split whose records are still being moved, and by whatever became of its pieces since.
    #[must_use]
    pub fn is_piece_of(&self, piece: CustomerId, customer: CustomerId) -> bool {
        piece != self.current(customer)
            && self
                .led_to(customer, At::default())
                .into_keys()
                .any(|one| self.current(one) == piece)
    }

    /// An id, and every piece that splits from then on gave of it, and of what came of it; each with
    /// when it came.
    fn led_to(&self, customer: CustomerId, from: At) -> BTreeMap<CustomerId, At> {
        let mut led = BTreeMap::from([(customer, from)]);
        loop {
            let before = led.clone();
            for split in self.splits.values() {
                let came = |id| led.get(&id).is_some_and(|came| *came <= split.split_at);
                if split.ids().any(came) {
                    for piece in &split.pieces {
                        let at = led.entry(*piece).or_insert(split.split_at);
                        *at = split.split_at.min(*at);
                    }
                }
            }
            if led == before {
                return led;
            }
        }
    }

    /// Whether records of a living customer may still stand under another.
    pub(super) fn is_moving(&self, customer: CustomerId) -> bool {
        self.splits().any(|(_, split)| {
            let led = self.led_to(split.customer, split.split_at);
            led.into_keys().any(|id| self.current(id) == customer)
        })
    }

    /// Takes note that all records of a split stand under their owners.
    pub(super) fn moved(&mut self, split: SplitId) {
        if let Some(split) = self.splits.get_mut(&split) {
            split.moved = true;
        }
        let oldest = self.splits().map(|(_, split)| split.split_at).min();
        self.keep_splits(|split| !split.moved || oldest.is_some_and(|at| at <= split.split_at));
    }

    /// Forgets the splits of customers who are erased: they are through, or nobody could be.
    pub(super) fn forget_splits(&mut self, customers: &[CustomerId]) {
        self.keep_splits(|split| !split.ids().any(|id| customers.contains(&id)));
    }

    fn keep_splits(&mut self, stays: impl Fn(&Splitting) -> bool) {
        let stay = self.splits.iter().filter(|(_, split)| stays(split));
        self.splits = stay.map(|(id, split)| (*id, split.clone())).collect();
    }

    /// An erasure.
    #[must_use]
    pub fn erasure(&self, id: ErasureId) -> Option<&Erasure> {
        self.erasures.get(&id)
    }

    /// Has this event been taken within [`SEEN_FOR`](super::SEEN_FOR) before `at`?
    #[must_use]
    pub fn has_seen(&self, channel: &ChannelId, event: &EventId, at: At) -> bool {
        self.seen.has(channel, event.as_str(), at)
    }

    /// How many events were forgotten before [`SEEN_FOR`](super::SEEN_FOR) was over, because there were too many:
    /// a delivery that comes again that late would be taken for a new one.
    #[must_use]
    pub fn forgotten_early(&self) -> u64 {
        self.seen.forgotten_early()
    }

    pub(super) fn known(&self, id: CustomerId) -> Result<Who, Refusal> {
        let who = self.graph.who(id).map(|who| self.graph.current(who));
        who.ok_or_else(|| Refusal::not_found("customer", id.as_str()))
    }

    /// Less is older. Two of the same moment go by their ids, so that every run says the same.
    pub(super) fn age(&self, who: Who) -> (At, CustomerId) {
        (self.graph.created_at(who), self.graph.id(who))
    }

    /// The strongest identifier of a customer: verified before asserted, then by rank, then in
    /// their order.
    pub(super) fn strongest(&self, who: Who) -> Option<Node> {
        self.graph.nodes(who).min_by_key(|node| {
            let graph = &self.graph;
            (!graph.is_verified(*node), graph.kind(*node).rank(), graph.identifier(*node))
        })
    }

    pub(super) fn sighting(&self, node: Node) -> Sighting {
        Sighting { identifier: self.graph.identifier(node), verified: self.graph.is_verified(node) }
    }
}
