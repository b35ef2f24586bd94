//! What identity-merge decides, as it stands in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::graph::{Graph, Who};
use super::{Conflict, Kept, Score, Tie, Token};
use crate::identifier::Identifier;
use crate::person::{Attribute, Consent, Sighting};
use crate::{
    At, ChannelId, ConflictId, CustomerId, DisputeId, ErasureId, EventId, Means, Purpose, SplitId,
    SuggestionId, UnsendId,
};

/// The event that evidence came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// Where the event came in.
    pub channel: ChannelId,
    /// The source's id of it.
    pub event: EventId,
}

/// Why something was decided: an event, and those of its identifiers that led to it. Never an
/// identifier that the event did not carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The event; none where a person decided.
    pub source: Option<Source>,
    /// What led there.
    pub by: Vec<Sighting>,
}

/// A customer that was absorbed by another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    /// Its id.
    pub customer: CustomerId,
    /// When it was first seen.
    pub created_at: At,
    /// The identifier that it began with, if it is still known.
    pub founder: Option<Identifier>,
}

impl Alias {
    pub(super) fn of(graph: &Graph, who: Who) -> Self {
        Self {
            customer: graph.id(who),
            created_at: graph.created_at(who),
            founder: graph.founder(who).map(|node| graph.identifier(node)),
        }
    }
}

/// What identity-merge decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody new.
    Created {
        /// The new customer.
        customer: CustomerId,
        /// What told it apart, all of one event; the first one founds the customer.
        sightings: Vec<Sighting>,
        /// The event; `by` is empty, as nothing led there.
        evidence: Evidence,
    },
    /// A customer is known by more identifiers.
    Attached {
        /// The customer.
        customer: CustomerId,
        /// The identifiers; asserted, where a person attached them, and verified, where a person
        /// settled a dispute.
        sightings: Vec<Sighting>,
        /// The strongest identifier that led to the customer.
        evidence: Evidence,
    },
    /// Something ties identifiers of one customer that nothing tied directly, or says of some for
    /// the first time that they are verified.
    Tied {
        /// The customer.
        customer: CustomerId,
        /// What is tied to the first of `evidence.by`.
        sightings: Vec<Sighting>,
        /// The strongest identifier that the event carried for the customer.
        evidence: Evidence,
    },
    /// Two customers are one.
    Merged {
        /// The older of the two; keeps its id.
        survivor: CustomerId,
        /// From now on an alias of the survivor.
        absorbed: CustomerId,
        /// The strongest verified identifier that led to the survivor, and to the absorbed; where
        /// a person decided, the strongest of each that has any.
        evidence: Evidence,
    },
    /// Something was told of a person.
    Described {
        /// The customer.
        customer: CustomerId,
        /// The strongest identifier that led to the customer; it keeps the attributes.
        identifier: Identifier,
        /// What was told and counts.
        attributes: Vec<Attribute>,
        /// When it was told, by the source's clock.
        told_at: At,
        /// The event.
        source: Source,
    },
    /// A person allowed or refused something.
    Consented {
        /// The customer; all its identifiers keep the answers.
        customer: CustomerId,
        /// The answers.
        consents: Vec<Consent>,
        /// When they were told, by the source's clock.
        told_at: At,
        /// The event.
        source: Source,
    },
    /// Two customers may be one person.
    Suggested {
        /// The new suggestion.
        id: SuggestionId,
        /// Whose the event is.
        customer: CustomerId,
        /// Who may be the same person.
        other: CustomerId,
        /// The strongest identifier that led to `customer`, then those that led to `other`, no
        /// more than [`LISTED_AT_MOST`](super::LISTED_AT_MOST) together.
        evidence: Evidence,
        /// How alike they are, where no identifier suggests it.
        likeness: Option<Score>,
    },
    /// Two customers are two people.
    SuggestionRejected {
        /// The suggestion.
        id: SuggestionId,
        /// Its customer.
        customer: CustomerId,
    },
    /// Something was set aside; see [`Conflict`].
    Conflicted {
        /// The new conflict.
        id: ConflictId,
        /// What it says.
        conflict: Conflict,
    },
    /// The event of one customer carried an identifier that another one has.
    Carried {
        /// Whose the event is.
        customer: CustomerId,
        /// The identifier.
        identifier: Identifier,
    },
    /// An identifier is a hub from now on.
    HubFound {
        /// The identifier.
        identifier: Identifier,
        /// Who had it.
        customer: CustomerId,
        /// Whose events carried it, the last one last.
        carriers: Vec<CustomerId>,
    },
    /// An identifier is no hub any more, and nobody's.
    HubReleased {
        /// The identifier.
        identifier: Identifier,
        /// Who had it before it was a hub.
        customer: CustomerId,
    },
    /// An identifier is disputed from now on, or somebody more claims it.
    Disputed {
        /// The dispute.
        id: DisputeId,
        /// The identifier.
        identifier: Identifier,
        /// Who had it, then who claimed it, in that order.
        claimants: Vec<CustomerId>,
        /// The event that claimed it last.
        source: Source,
    },
    /// An identifier is disputed no more.
    DisputeSettled {
        /// The dispute.
        id: DisputeId,
        /// The first of the claimants, by the id under which the dispute stands.
        claimant: CustomerId,
        /// Whose it is now, as an [`Attached`](Self::Attached) of that customer says next.
        customer: Option<CustomerId>,
    },
    /// A customer is taken apart. Everything that was known of these ids is void; a
    /// [`Restated`](Self::Restated) for each piece follows in the same input, and then what was
    /// suggested and recorded as a conflict. Older records of the customer may be deleted.
    Split {
        /// The split.
        id: SplitId,
        /// The id under which everything stood.
        customer: CustomerId,
        /// The customers that come of it.
        pieces: Vec<CustomerId>,
        /// All their aliases.
        aliases: Vec<CustomerId>,
    },
    /// Some of what is known of a customer.
    Restated(Box<Restated>),
    /// The records of a split all stand under their owners.
    Moved {
        /// The split.
        split: SplitId,
        /// The id under which everything stood.
        customer: CustomerId,
        /// How many were moved, and how many were deleted.
        counts: BTreeMap<String, u64>,
    },
    /// A customer is forgotten. Its records, and those in the other ledgers, are deleted next.
    Erased {
        /// The erasure.
        id: ErasureId,
        /// The id, then its aliases.
        customers: Vec<CustomerId>,
        /// What the customer refused, by a keyed hash of each of its identifiers.
        refused: BTreeMap<Token, BTreeSet<(Means, Purpose)>>,
    },
    /// A service has taken an erased customer out of all its places.
    ErasureReported {
        /// The erasure.
        id: ErasureId,
        /// The service.
        service: String,
        /// How much was taken out of each place.
        counts: BTreeMap<String, u64>,
    },
    /// A message was taken back: every record that holds it is replaced by one without its content.
    Unsent {
        /// What takes it back.
        id: UnsendId,
        /// Under whom the message stands: the id, then its aliases; empty when it is nobody's.
        customers: Vec<CustomerId>,
        /// Where it came in.
        channel: ChannelId,
        /// The source's id of it.
        message: String,
    },
    /// No record holds a message any more that was taken back.
    Hidden {
        /// What took it back.
        unsend: UnsendId,
        /// The first of those under whom it stood.
        customer: Option<CustomerId>,
        /// Where it came in.
        channel: ChannelId,
        /// How many were replaced or deleted at each place.
        counts: BTreeMap<String, u64>,
    },
    /// A channel event was told to belong to a customer, or to nobody. Its body is the inbound
    /// event's, unchanged.
    Channel {
        /// Whose it is.
        customer: Option<CustomerId>,
        /// Where it came in.
        channel: ChannelId,
        /// The source's id of it.
        event: EventId,
    },
}

/// A part of a customer that was taken apart: no more than fits one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restated {
    /// The customer.
    pub customer: CustomerId,
    /// The split.
    pub split: SplitId,
    /// The id under which everything stood before.
    pub before: CustomerId,
    /// When the customer was first seen.
    pub created_at: At,
    /// When it was last seen.
    pub seen_at: At,
    /// The identifier that it began with.
    pub founder: Option<Identifier>,
    /// Customers that it absorbed; in its last part.
    pub aliases: Vec<Alias>,
    /// Some of its identifiers.
    pub identifiers: Vec<Kept>,
    /// Some of its ties; after all its identifiers.
    pub ties: Vec<Tie>,
    /// Whether more parts follow.
    pub more: bool,
}
