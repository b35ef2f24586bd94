//! What routing and notification remember of customers who were taken apart or forgotten, until
//! every record stands under its owner or is gone.
//!
//! | identity-merge says | what is decided | until when it is remembered |
//! |---|---|---|
//! | a customer is split | [`Event::SplitBegun`], then for each part of a piece [`Event::Divided`] and what the service holds of it, said again | every id that took part was looked through: [`Event::RecordsMoved`] for each |
//! | a customer is erased | [`Event::CustomersForgotten`] | the records are deleted, [`Event::ErasureDone`], and identity-merge was told, [`Event::ErasureReported`]; the ids for ever |
//!
//! A record belongs to the piece that has its [`Carrier`]. What has none, because it is older than
//! carriers or was opened by staff, and what hangs on an identifier that is nobody's any more, stays
//! where it is.
//!
//! Invariants: a split lists no job before all its parts were read; of splits that follow each other
//! the last one counts; everything here can be folded from a log that lacks the records of whoever was
//! erased.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use crate::identity::Event as IdentityEvent;
use crate::person::Carrier;
use crate::{At, CustomerId, ErasureId, SplitId};

/// Pieces of customers whose last part was not read yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Partings(OrdMap<CustomerId, Parting>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parting {
    /// Whose it was before its first part.
    home: CustomerId,
    /// Of its parts up to now.
    carriers: Vector<Carrier>,
}

impl Partings {
    /// Under whom something may stand that hangs on a part, and on which carriers it hangs there: it
    /// is forgotten there, and said again of the piece.
    ///
    /// The record of a merge goes when its survivor is erased: then what was moved by it stands where
    /// it was, with the piece itself or where an earlier merge had moved it. Where that is, is known up
    /// to the first part of the piece, and of its aliases up to the last.
    ///
    /// `current`: whose an id is before the part.
    pub(crate) fn places(
        &mut self,
        part: &Part,
        current: impl Fn(CustomerId) -> CustomerId,
    ) -> Vec<(CustomerId, Vec<Carrier>)> {
        let piece = part.customer;
        let mut parting = self
            .0
            .remove(&piece)
            .unwrap_or_else(|| Parting { home: current(piece), carriers: Vector::new() });
        let own = [part.before, parting.home, piece];
        let mut places: Vec<_> = own.into_iter().map(|id| (id, part.carriers.clone())).collect();
        parting.carriers.extend(part.carriers.iter().copied());
        let all: Vec<_> = parting.carriers.iter().copied().collect();
        // With the piece itself stands what was said again of earlier parts.
        let elsewhere = part.aliases.iter().filter(|alias| **alias != piece);
        let elsewhere = elsewhere.map(|alias| current(*alias)).filter(|place| *place != piece);
        places.extend(elsewhere.map(|place| (place, all.clone())));
        if !part.last {
            self.0.insert(piece, parting);
        }
        places
    }

    /// Nothing more comes of a customer.
    pub(crate) fn forget(&mut self, customer: CustomerId) {
        self.0.remove(&customer);
    }
}

/// How many records were at each place. Names nobody.
pub type Counts = BTreeMap<String, u64>;

/// Who erases: the actor of what is cancelled because its customer goes.
pub const ERASER: &str = "identity-merge";

/// Why something of an erased customer ends.
pub const ERASED: &str = "the customer is erased";

/// What one input may restate at most: an input is one atomic batch of the broker.
pub const RESTATED_AT_MOST: usize = 900;

/// What can happen to the records of customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A customer is taken apart; the parts follow.
    Split(Split),
    /// Some of what belongs to a piece.
    Part(Part),
    /// A customer is forgotten.
    Erased {
        /// The erasure.
        erasure: ErasureId,
        /// The id, then its aliases.
        customers: Vec<CustomerId>,
    },
    /// Upstream, everything of a split stands under its owners.
    UpstreamMoved {
        /// The split.
        split: SplitId,
        /// Whose records were looked through.
        customer: CustomerId,
    },
    /// A job is through.
    JobDone {
        /// Its name.
        job: String,
        /// What was done.
        counts: Counts,
    },
    /// identity-merge was told that an erasure is done here.
    Reported(ErasureId),
}

impl Input {
    /// What a record of identity-merge means to the records of other services.
    #[must_use]
    pub fn of_identity(event: &IdentityEvent) -> Option<Self> {
        match event {
            IdentityEvent::Split { id, customer, pieces, aliases } => Some(Self::Split(Split {
                split: *id,
                before: *customer,
                pieces: pieces.clone(),
                aliases: aliases.clone(),
            })),
            IdentityEvent::Restated(restated) => Some(Self::Part(Part {
                split: restated.split,
                before: restated.before,
                customer: restated.customer,
                aliases: restated.aliases.iter().map(|alias| alias.customer).collect(),
                carriers: {
                    let kept = restated.identifiers.iter();
                    kept.map(|kept| Carrier::of(&kept.identifier)).collect()
                },
                last: !restated.more,
            })),
            IdentityEvent::Erased { id, customers, .. } => {
                Some(Self::Erased { erasure: *id, customers: customers.clone() })
            }
            IdentityEvent::Created { .. }
            | IdentityEvent::Attached { .. }
            | IdentityEvent::Tied { .. }
            | IdentityEvent::Merged { .. }
            | IdentityEvent::Described { .. }
            | IdentityEvent::Consented { .. }
            | IdentityEvent::SuggestionRejected { .. }
            | IdentityEvent::Carried { .. }
            | IdentityEvent::HubFound { .. }
            | IdentityEvent::HubReleased { .. }
            | IdentityEvent::Disputed { .. }
            | IdentityEvent::DisputeSettled { .. }
            | IdentityEvent::Moved { .. }
            | IdentityEvent::Unsent { .. }
            | IdentityEvent::Hidden { .. }
            | IdentityEvent::ErasureReported { .. }
            | IdentityEvent::Suggested { .. }
            | IdentityEvent::Conflicted { .. }
            | IdentityEvent::Channel { .. } => None,
        }
    }
}

/// A customer is taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The split.
    pub split: SplitId,
    /// The id under which everything stood.
    pub before: CustomerId,
    /// The customers that come of it.
    pub pieces: Vec<CustomerId>,
    /// All their aliases.
    pub aliases: Vec<CustomerId>,
}

/// Some of what belongs to a piece of a customer that was taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The split.
    pub split: SplitId,
    /// The id under which everything stood.
    pub before: CustomerId,
    /// The piece; one of them keeps the id `before`.
    pub customer: CustomerId,
    /// Customers that the piece absorbed; in its last part.
    pub aliases: Vec<CustomerId>,
    /// Some of what its records hang on.
    pub carriers: Vec<Carrier>,
    /// Whether no more parts of this piece follow.
    pub last: bool,
}

/// What is decided about the records of customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A customer is taken apart. Its parts follow, and then records are moved.
    SplitBegun(Split),
    /// From now on this is the piece's. What the service holds of it is said again behind this.
    Divided(Part),
    /// The service that this one follows has moved all its records of a split.
    UpstreamMoved {
        /// The split.
        split: SplitId,
        /// The id under which everything stood.
        before: CustomerId,
    },
    /// Every record of a customer stands under its owner.
    RecordsMoved {
        /// The split.
        split: SplitId,
        /// Whose records were looked through.
        customer: CustomerId,
        /// How many were moved.
        counts: Counts,
    },
    /// A customer is forgotten. Its records are deleted next.
    CustomersForgotten {
        /// The erasure.
        erasure: ErasureId,
        /// The id, then its aliases.
        customers: Vec<CustomerId>,
    },
    /// The records of a forgotten customer are gone.
    ErasureDone {
        /// The erasure.
        erasure: ErasureId,
        /// How many there were at each place.
        counts: Counts,
    },
    /// identity-merge knows that they are.
    ErasureReported {
        /// The erasure.
        erasure: ErasureId,
    },
}

impl Event {
    /// Under whose id it stands; nobody's, when it is about an erasure.
    #[must_use]
    pub fn owner(&self) -> Option<CustomerId> {
        match self {
            Self::SplitBegun(Split { before, .. }) | Self::UpstreamMoved { before, .. } => {
                Some(*before)
            }
            Self::Divided(Part { customer, .. }) | Self::RecordsMoved { customer, .. } => {
                Some(*customer)
            }
            Self::CustomersForgotten { .. }
            | Self::ErasureDone { .. }
            | Self::ErasureReported { .. } => None,
        }
    }
}

/// The splits and erasures that are under way, and who was ever erased.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Custody {
    splits: OrdMap<SplitId, Splitting>,
    erasures: OrdMap<ErasureId, Erasing>,
    erased: OrdSet<CustomerId>,
}

/// A split whose records do not all stand under their owners yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Splitting {
    before: CustomerId,
    begun_at: At,
    /// Pieces with parts that were not read yet.
    left: OrdSet<CustomerId>,
    /// Whether the service that this one follows may still say something of `before`.
    awaits: bool,
    /// Every id that took part, and the piece that it is now.
    homes: OrdMap<CustomerId, Option<CustomerId>>,
    owners: OrdMap<Carrier, CustomerId>,
    /// Whose records were not looked through yet.
    unmoved: OrdSet<CustomerId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Erasing {
    customers: Vec<CustomerId>,
    /// When its records are gone.
    counts: Option<Counts>,
}

/// A job that is open, as the engine wants it done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Look through the records of a customer.
    Move {
        /// Its name.
        job: String,
        /// The customer.
        customer: CustomerId,
    },
    /// Delete the records of customers.
    Erase {
        /// Its name.
        job: String,
        /// The customers.
        customers: Vec<CustomerId>,
    },
}

/// Whose a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The customer's under whom it stands.
    Same,
    /// This customer's.
    Other(CustomerId),
    /// One who was erased.
    Nobody,
}

impl Custody {
    /// The events that an input leads to here; what the service holds, the service says.
    #[must_use]
    pub fn decide(&self, input: &Input) -> Vec<Event> {
        match input {
            Input::Split(split) => vec![Event::SplitBegun(split.clone())],
            Input::Part(part) => vec![Event::Divided(part.clone())],
            Input::Erased { erasure, customers } => {
                vec![Event::CustomersForgotten { erasure: *erasure, customers: customers.clone() }]
            }
            Input::UpstreamMoved { split, customer } => {
                let open = self.splits.get(split);
                let open = open.filter(|open| open.awaits && open.before == *customer);
                let moved =
                    |open: &Splitting| Event::UpstreamMoved { split: *split, before: open.before };
                open.map(moved).into_iter().collect()
            }
            Input::JobDone { job, counts } => self.job_done(job, counts).into_iter().collect(),
            Input::Reported(erasure) => {
                let done =
                    self.erasures.get(erasure).is_some_and(|erasing| erasing.counts.is_some());
                let reported = Event::ErasureReported { erasure: *erasure };
                done.then_some(reported).into_iter().collect()
            }
        }
    }

    fn job_done(&self, job: &str, counts: &Counts) -> Option<Event> {
        if let Ok(erasure) = job.parse::<ErasureId>() {
            let open = self.erasures.get(&erasure)?.counts.is_none();
            return open.then(|| Event::ErasureDone { erasure, counts: counts.clone() });
        }
        let (split, customer) = if let Some((split, customer)) = job.split_once('-') {
            (split.parse().ok()?, customer.parse().ok()?)
        } else {
            let split = job.parse().ok()?;
            (split, self.splits.get(&split)?.before)
        };
        let open = self.splits.get(&split)?.unmoved.contains(&customer);
        open.then(|| Event::RecordsMoved { split, customer, counts: counts.clone() })
    }

    /// Takes an event in. `follows`: the service reads another that divides what it holds as well,
    /// and waits for it.
    pub fn evolve(&mut self, event: &Event, follows: bool, at: At) {
        match event {
            Event::SplitBegun(split) => {
                let mut homes: OrdMap<_, _> =
                    split.aliases.iter().map(|alias| (*alias, None)).collect();
                homes.insert(split.before, None);
                homes.extend(split.pieces.iter().map(|piece| (*piece, Some(*piece))));
                let splitting = Splitting {
                    before: split.before,
                    begun_at: at,
                    left: split.pieces.iter().copied().collect(),
                    awaits: follows,
                    unmoved: homes.keys().copied().collect(),
                    homes,
                    owners: OrdMap::new(),
                };
                self.splits.insert(split.split, splitting);
            }
            Event::Divided(part) => {
                let Some(splitting) = self.splits.get_mut(&part.split) else { return };
                for carrier in &part.carriers {
                    splitting.owners.insert(*carrier, part.customer);
                }
                for alias in &part.aliases {
                    splitting.homes.insert(*alias, Some(part.customer));
                }
                if part.last {
                    splitting.left.remove(&part.customer);
                }
            }
            Event::UpstreamMoved { split, .. } => {
                if let Some(splitting) = self.splits.get_mut(split) {
                    splitting.awaits = false;
                }
            }
            Event::RecordsMoved { split, customer, .. } => {
                if let Some(splitting) = self.splits.get_mut(split) {
                    splitting.unmoved.remove(customer);
                }
                self.sweep();
            }
            Event::CustomersForgotten { erasure, customers } => {
                self.forget(customers);
                self.erased.extend(customers.iter().copied());
                let erasing = Erasing { customers: customers.clone(), counts: None };
                self.erasures.insert(*erasure, erasing);
            }
            Event::ErasureDone { erasure, counts } => {
                if let Some(erasing) = self.erasures.get_mut(erasure) {
                    erasing.counts = Some(counts.clone());
                }
            }
            Event::ErasureReported { erasure } => {
                self.erasures.remove(erasure);
            }
        }
    }

    /// All of theirs is deleted, so nothing is looked through, and their parts may be missing.
    fn forget(&mut self, customers: &[CustomerId]) {
        let splits: Vec<_> = self.splits.keys().copied().collect();
        for split in splits {
            let Some(splitting) = self.splits.get_mut(&split) else { continue };
            for customer in customers {
                splitting.left.remove(customer);
                splitting.unmoved.remove(customer);
                splitting.awaits &= splitting.before != *customer;
            }
        }
        self.sweep();
    }

    /// Forgets splits that are through, oldest first: what an older one still moves goes where a
    /// newer one says.
    fn sweep(&mut self) {
        let oldest = |splits: &OrdMap<SplitId, Splitting>| {
            let age = |(id, splitting): &(&SplitId, &Splitting)| (splitting.begun_at, **id);
            let (id, splitting) = splits.iter().min_by_key(age)?;
            splitting.unmoved.is_empty().then_some(*id)
        };
        while let Some(split) = oldest(&self.splits) {
            self.splits.remove(&split);
        }
    }

    /// Whether a split is under way: records of some customers may stand under another.
    #[must_use]
    pub fn is_dividing(&self) -> bool {
        !self.splits.is_empty()
    }

    /// The jobs that are open, in a fixed order.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        let ready = |splitting: &&Splitting| splitting.left.is_empty() && !splitting.awaits;
        let moves = self.splits.iter().filter(|(_, splitting)| ready(splitting)).flat_map(
            |(split, splitting)| {
                splitting.unmoved.iter().map(move |customer| {
                    let job = if *customer == splitting.before {
                        split.to_string()
                    } else {
                        format!("{split}-{customer}")
                    };
                    Job::Move { job, customer: *customer }
                })
            },
        );
        let erasures = self.erasures.iter().filter(|(_, erasing)| erasing.counts.is_none());
        let erasures = erasures.map(|(erasure, erasing)| Job::Erase {
            job: erasure.to_string(),
            customers: erasing.customers.clone(),
        });
        moves.chain(erasures).collect()
    }

    /// Erasures that are done and that identity-merge was not told of.
    pub fn unreported(&self) -> impl Iterator<Item = (ErasureId, &Counts)> {
        self.erasures.iter().filter_map(|(id, erasing)| Some((*id, erasing.counts.as_ref()?)))
    }

    /// Whether a customer was erased: nothing may be written under this id any more.
    #[must_use]
    pub fn is_erased(&self, customer: CustomerId) -> bool {
        self.erased.contains(&customer)
    }

    /// Whose a record is that stands under a customer and hangs on a carrier.
    #[must_use]
    pub fn owner(&self, customer: CustomerId, carrier: Option<Carrier>) -> Owner {
        let Some(carrier) = carrier.filter(|_| !self.splits.is_empty()) else { return Owner::Same };
        let mut splits: Vec<_> = self.splits.iter().collect();
        splits.sort_by_key(|(id, splitting)| (splitting.begun_at, **id));
        // A piece may have been split again before the first split is through.
        let (mut owner, mut home) = (customer, Some(customer));
        for (_, splitting) in splits {
            if let Some(now) = splitting.homes.get(&customer) {
                home = *now;
            }
            if splitting.homes.contains_key(&owner) {
                owner = splitting.owners.get(&carrier).copied().unwrap_or(owner);
            }
        }
        if self.is_erased(owner) {
            Owner::Nobody
        } else if owner == customer || home == Some(owner) {
            Owner::Same
        } else {
            Owner::Other(owner)
        }
    }

    /// Every id that took part in the split of a part.
    #[must_use]
    pub fn involved(&self, part: &Part) -> Vec<CustomerId> {
        match self.splits.get(&part.split) {
            Some(splitting) => splitting.homes.keys().copied().collect(),
            None => vec![part.before, part.customer],
        }
    }
}
