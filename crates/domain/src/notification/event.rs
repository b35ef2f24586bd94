//! What notification decides, as it stands in the ledger.

use std::sync::Arc;

use smol_str::SmolStr;

use super::person::{Consent, Place, Preferences, Push, Told};
use super::request::{Class, Deferred, Ended, Item, Outcome, Standing};
use crate::custody;
use crate::person::{Address, Carrier};
use crate::{At, ChannelId, CustomerId, ItemId};

/// What notification decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A customer can be reached there.
    AddressLearned {
        /// The customer.
        customer: CustomerId,
        /// The address.
        address: Address,
        /// What it hangs on.
        carrier: Option<Carrier>,
    },
    /// A person followed or blocked an account.
    Followed {
        /// The customer.
        customer: CustomerId,
        /// The account.
        channel: ChannelId,
        /// What the address hangs on.
        carrier: Option<Carrier>,
        /// Blocked, rather than followed.
        blocked: bool,
        /// When, by the vendor's clock.
        told_at: At,
    },
    /// The person did something for the first time since the last marketing message.
    Engaged {
        /// The customer.
        customer: CustomerId,
    },
    /// A person's language or zone became known.
    TraitTold {
        /// The customer.
        customer: CustomerId,
        /// What was told.
        told: Told,
    },
    /// A person allowed or refused marketing messages.
    ConsentTold {
        /// The customer.
        customer: CustomerId,
        /// The answer.
        consent: Consent,
    },
    /// Somebody set what a person prefers, all of it.
    PreferencesSet {
        /// The customer.
        customer: CustomerId,
        /// What is set from now on.
        preferences: Preferences,
    },
    /// What is known of a customer belongs to another one now.
    PersonMoved {
        /// The customer that was absorbed.
        from: CustomerId,
        /// The survivor.
        to: CustomerId,
    },
    /// Some of what is known of a piece of a customer that was split. It hangs on one identifier, so
    /// that it can go with that when the piece is split again.
    PersonRestated {
        /// The piece.
        customer: CustomerId,
        /// What it hangs on.
        carrier: Carrier,
        /// What it is.
        portion: Portion,
    },
    /// What a piece of a customer that was split wants, whatever it hangs on.
    WishesRestated {
        /// The piece.
        customer: CustomerId,
        /// The strictest answer on the identifiers of this part.
        consent: Option<Consent>,
        /// What was set.
        preferences: Preferences,
        /// Whether it is the last part: then the next one of the person begins anew.
        last: bool,
    },
    /// A request waits, and is checked again in full at `until`.
    Deferred {
        /// The item that it will be.
        id: ItemId,
        /// All of it.
        deferred: Arc<Deferred>,
    },
    /// What stood here does not any more: what became of the request follows, under another id or
    /// hanging on something else. Whoever folds a log from which that was taken finds the request
    /// nowhere, rather than waiting for ever.
    Released {
        /// The item.
        id: ItemId,
        /// Under whom it stood.
        customer: CustomerId,
        /// What it hung on.
        carrier: Option<Carrier>,
    },
    /// An item is on its way to the sender, who asks for it by its id.
    Queued {
        /// The item.
        id: ItemId,
        /// All of it.
        item: Arc<Item>,
    },
    /// Senders are told of an item that was queued: the broker copies this to the outbox. It says
    /// neither to whom nor what, because what is taken off a work queue is not overwritten.
    Handed {
        /// The item.
        id: ItemId,
        /// What is left of it.
        item: Arc<Item>,
    },
    /// A request ended without an item.
    Ended {
        /// The item that it would have been.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// What the request hangs on.
        carrier: Option<Carrier>,
        /// Of which kind it was.
        class: Class,
        /// Where, when that was known.
        channel: Option<ChannelId>,
        /// When it was asked for.
        asked_at: At,
        /// How; never sent.
        outcome: Outcome,
    },
    /// A sender is about to reply, or for the first time to push what is not to be sent after a
    /// deadline. Other pushes are not written down: their retry key makes them safe.
    Begun {
        /// The item.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// What tells this attempt from all others.
        attempt: String,
        /// What the item hangs on.
        carrier: Option<Carrier>,
    },
    /// An item ended, and with it whatever joined it.
    Settled {
        /// The item.
        id: ItemId,
        /// The customer.
        customer: CustomerId,
        /// How.
        outcome: Outcome,
        /// What the item hangs on.
        carrier: Option<Carrier>,
    },
    /// A request belongs to a piece of the customer that it belonged to. Everything else is as it
    /// was, and it is not sent by this.
    Restated {
        /// The item.
        id: ItemId,
        /// All of it.
        standing: Standing,
    },
    /// A request of a customer who was erased ended without an item. Names nobody.
    RequestVoided {
        /// The item that it would have been.
        id: ItemId,
    },
    /// Requests of a customer who was forgotten by the same input. Names nobody.
    ItemsVoided {
        /// Their items.
        items: Vec<ItemId>,
    },
    /// Whose records are whose.
    Custody(custody::Event),
}

/// Some of what is known of a person and hangs on one identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// Where they can be reached.
    pub places: Vec<Place>,
    /// What is told of them.
    pub told: Vec<Told>,
    /// Which marketing messages they got.
    pub pushes: Vec<Push>,
}

impl Event {
    /// What senders are told of an item.
    fn handed(id: ItemId, item: &Item) -> Self {
        let item = Item {
            customer: item.customer,
            carrier: item.carrier,
            class: item.class,
            address: Address { channel: item.address.channel.clone(), user: SmolStr::default() },
            way: item.way.clone(),
            messages: Vec::new(),
            asked_at: item.asked_at,
            deadline: item.deadline,
            joined: Vec::new(),
            attempts: Vec::new(),
        };
        Self::Handed { id, item: Arc::new(item) }
    }

    /// These, and behind each item what senders are told of it. Behind it: the first record of an
    /// input carries the others in a header, and the broker would copy that too.
    pub(super) fn with_handed(events: Vec<Self>) -> Vec<Self> {
        if !events.iter().any(|event| matches!(event, Self::Queued { .. })) {
            return events;
        }
        let mut all = Vec::with_capacity(events.len() + 1);
        for event in events {
            let mut handed = None;
            if let Self::Queued { id, item } = &event {
                handed = Some(Self::handed(*id, item));
            }
            all.push(event);
            all.extend(handed);
        }
        all
    }

    /// Where a request stands after this, which is about it: it stood there before.
    pub(super) fn standing(&self, before: Option<&Standing>, at: At) -> Option<Standing> {
        match (self, before) {
            (Self::Deferred { deferred, .. }, _) => Some(Standing::Deferred(Arc::clone(deferred))),
            (Self::Queued { item, .. }, _) => Some(Standing::Queued(Arc::clone(item))),
            (Self::Restated { standing, .. }, _) => Some(standing.clone()),
            (Self::Begun { attempt, .. }, Some(Standing::Queued(item))) => {
                let mut item = Item::clone(item);
                item.attempts.push(attempt.clone());
                Some(Standing::Queued(Arc::new(item)))
            }
            (Self::Settled { outcome, .. }, Some(Standing::Queued(item))) => {
                Some(Standing::ended(Ended {
                    customer: item.customer,
                    carrier: item.carrier,
                    class: item.class,
                    channel: Some(item.address.channel.clone()),
                    asked_at: item.asked_at,
                    ended_at: at,
                    outcome: outcome.clone(),
                }))
            }
            (Self::Ended { customer, carrier, class, channel, asked_at, outcome, .. }, _) => {
                Some(Standing::ended(Ended {
                    customer: *customer,
                    carrier: *carrier,
                    class: *class,
                    channel: channel.clone(),
                    asked_at: *asked_at,
                    ended_at: at,
                    outcome: outcome.clone(),
                }))
            }
            _ => None,
        }
    }

    /// What it hangs on.
    #[must_use]
    pub fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::AddressLearned { carrier, .. }
            | Self::Followed { carrier, .. }
            | Self::Released { carrier, .. }
            | Self::Ended { carrier, .. }
            | Self::Begun { carrier, .. }
            | Self::Settled { carrier, .. } => *carrier,
            Self::TraitTold { told, .. } => Some(told.carrier),
            Self::PersonRestated { carrier, .. } => Some(*carrier),
            Self::Queued { item, .. } | Self::Handed { item, .. } => item.carrier,
            Self::Deferred { deferred, .. } => deferred.request.carrier,
            Self::Restated { standing, .. } => standing.carrier(),
            Self::Engaged { .. }
            | Self::ConsentTold { .. }
            | Self::PreferencesSet { .. }
            | Self::PersonMoved { .. }
            | Self::WishesRestated { .. }
            | Self::RequestVoided { .. }
            | Self::ItemsVoided { .. }
            | Self::Custody(_) => None,
        }
    }

    /// Under whose id it stands; nobody's, when it is about an erasure.
    #[must_use]
    pub fn owner(&self) -> Option<CustomerId> {
        match self {
            Self::AddressLearned { customer, .. }
            | Self::Followed { customer, .. }
            | Self::Engaged { customer }
            | Self::TraitTold { customer, .. }
            | Self::ConsentTold { customer, .. }
            | Self::PreferencesSet { customer, .. }
            | Self::PersonRestated { customer, .. }
            | Self::WishesRestated { customer, .. }
            | Self::Released { customer, .. }
            | Self::Ended { customer, .. }
            | Self::Begun { customer, .. }
            | Self::Settled { customer, .. } => Some(*customer),
            Self::PersonMoved { to, .. } => Some(*to),
            Self::Deferred { deferred, .. } => Some(deferred.request.customer),
            Self::Queued { item, .. } | Self::Handed { item, .. } => Some(item.customer),
            Self::Restated { standing, .. } => Some(standing.customer()),
            Self::RequestVoided { .. } | Self::ItemsVoided { .. } => None,
            Self::Custody(event) => event.owner(),
        }
    }
}
