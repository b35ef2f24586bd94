//! notification: what a person is sent, at most once, and no more than they can bear.
//!
//! A *request* asks that a customer be told something: routing's answers and news, and whatever a
//! caller sends. It is judged at once (see `policy`), and when it waited, again in full. It ends in exactly
//! one [`Outcome`]: sent, suppressed, expired or failed; so at every moment, of the requests that
//! were asked for,
//!
//! ```text
//! asked = sent + suppressed + expired + failed + waiting
//! ```
//!
//! where those that wait are deferred here or queued at the sender. An *item* is one call to a vendor's
//! sending API, and has the id of the request that it came from. It is settled once; whoever settles
//! it again is told how it was settled. A reply that a sender is about to make is written down before
//! it is made: the vendor has no key that makes a reply safe to repeat, and no count of the broker's
//! survives its crash.
//!
//! When a customer is split, addresses, requests and marketing messages follow the LINE identifier
//! that the address was seen with ([`Carrier`]), or the one that the request hangs on; a request that
//! was decided before goes where its own carrier went. Of a customer who is erased everything that
//! waits fails, and everything is forgotten but the ids of items that a sender may still ask about;
//! a request that comes later ends without naming anybody. See [`custody`](mod@crate::custody).
//!
//! Invariants: one request gives at most one item; an item is settled at most once; a reply right
//! is used by at most one item, because each request carries its own.

mod ask;
mod event;
mod parted;
mod person;
mod policy;
mod request;
mod state;

use std::time::Duration;

use crate::configuration::Configuration;
use crate::custody;
use crate::person::{Address, Carrier};
use crate::routing::MessageRequest;
use crate::{At, CustomerId, Decider, Decision, ItemId, Wakeup};

pub use ask::{ALREADY_QUEUED, Answer, Budgeted, IN_DIGEST, OUTBOX_FULL};
pub use event::{Event, Portion};
pub use person::{Consent, Person, Place, Preferences, Push, Told, Trait};
pub use policy::Verdict;
pub use request::{
    BLOCKED, CANCELLED, Class, Deferred, Ended, Item, LATE, LATE_UNKNOWN, NO_ADDRESS, NO_CONSENT,
    NO_TEMPLATE, OVER_BUDGET, Outcome, QUIET_TOO_LONG, REPLACED, Reason, Request, SHADOW, Standing,
    Wait, Way, Words,
};
pub use state::{Delivery, ITEM_ERASED, SETTLED_FOR, State};

/// A reply right older than this, counted from when ingress took the delivery, is not used: LINE
/// takes it for about a minute, and the call needs some of that.
pub const REPLY_WITHIN: Duration = Duration::from_secs(50);

/// How many deferred requests one wake-up looks at: what it decides is one batch.
const RELEASED_AT_ONCE: usize = 100;

/// The rules.
#[derive(Debug)]
pub struct Notification;

/// What a person did, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Became a friend of the account.
    Followed,
    /// Blocked the account.
    Blocked,
    /// Anything else that the person did.
    Acted,
    /// Somebody else did something about the person.
    Nothing,
}

/// What can happen to notification.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something was heard of a customer.
    Seen {
        /// The customer.
        customer: CustomerId,
        /// Where the customer can be reached, if it was there.
        address: Option<Address>,
        /// What the address hangs on: the identifier that it was seen with.
        carrier: Option<Carrier>,
        /// What the person did.
        deed: Deed,
        /// When, by the source's clock.
        occurred_at: At,
    },
    /// A person's language or zone was told.
    Told {
        /// The customer.
        customer: CustomerId,
        /// What was told.
        told: Vec<Told>,
    },
    /// A person allowed or refused marketing messages.
    Consented {
        /// The customer.
        customer: CustomerId,
        /// The answer.
        consent: Consent,
    },
    /// Two customers are one.
    Merged {
        /// Keeps its id.
        survivor: CustomerId,
        /// An alias from now on.
        absorbed: CustomerId,
    },
    /// Routing wants a customer told something.
    Requested {
        /// What tells this request from all others: the id of routing's record.
        id: String,
        /// The request.
        request: MessageRequest,
    },
    /// A caller wants a customer told something.
    Send {
        /// What tells this request from all others.
        id: String,
        /// The request; when it was asked for is filled in.
        request: Box<Request>,
    },
    /// A caller wants to know what would become of a request.
    Preview {
        /// The request; when it was asked for is filled in.
        request: Box<Request>,
    },
    /// A caller takes a request back.
    Cancel {
        /// Its item.
        item: ItemId,
    },
    /// A caller sets what a customer prefers, all of it.
    SetPreferences {
        /// The customer.
        customer: CustomerId,
        /// What is set from now on.
        preferences: Preferences,
    },
    /// A caller wants to know how much more of marketing a customer can bear.
    Budget {
        /// The customer.
        customer: CustomerId,
    },
    /// A sender is about to make the call of an item.
    Begin {
        /// The item.
        item: ItemId,
        /// What tells this attempt from all others.
        attempt: String,
    },
    /// A sender says how an item ended.
    Record {
        /// The item.
        item: ItemId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Some of what belongs to a piece of a customer.
    Part {
        /// The part.
        part: custody::Part,
        /// The strictest answer to marketing on its identifiers.
        consent: Option<Consent>,
    },
    /// A customer is taken apart or forgotten.
    Custody(custody::Input),
    /// The engine's own.
    Wakeup(Wakeup),
}

impl From<Wakeup> for Input {
    fn from(wakeup: Wakeup) -> Self {
        Self::Wakeup(wakeup)
    }
}

impl Decider for Notification {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = Answer;

    fn decide(
        state: &State,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Decision<Event, Answer> {
        let Decision { events, answer } = decide(state, configuration, input, at);
        Decision { events: Event::with_handed(events), answer }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        state.evolve(event, at);
    }

    fn due(state: &State) -> Option<At> {
        state.next_due()
    }
}

fn decide(
    state: &State,
    configuration: &Configuration,
    input: &Input,
    at: At,
) -> Decision<Event, Answer> {
    match input {
        // An id that nothing may be written under any more.
        Input::Seen { customer, .. }
        | Input::Told { customer, .. }
        | Input::Consented { customer, .. }
            if state.custody().is_erased(*customer) =>
        {
            Decision::silent()
        }
        Input::Seen { customer, address, carrier, deed, occurred_at } => {
            let heard = ask::Heard {
                customer: *customer,
                address: address.as_ref(),
                carrier: *carrier,
                deed: *deed,
                occurred_at: *occurred_at,
            };
            Decision::events(ask::hear(state, configuration, &heard, at))
        }
        Input::Told { customer, told } => Decision::events(ask::told(state, *customer, told)),
        Input::Consented { customer, consent } => {
            let known = state.person(*customer).and_then(|person| person.consent);
            let told = Event::ConsentTold { customer: *customer, consent: *consent };
            let told = Consent::news(known, *consent).then_some(told);
            Decision::events(told.into_iter().collect())
        }
        Input::Merged { survivor, absorbed } => {
            Decision::events(ask::merged(state, configuration, *survivor, *absorbed, at))
        }
        Input::Requested { id, request } => {
            let id = ItemId::derive(id);
            if state.delivery(id).is_some() {
                return Decision::silent();
            }
            let request = Request::of_routing(request, at);
            Decision::events(ask::requested(state, configuration, id, request, at))
        }
        Input::Send { id, request } => {
            ask::send(state, configuration, id, request, at).unwrap_or_else(Decision::refused)
        }
        Input::Preview { request } => {
            ask::preview(state, configuration, request, at).unwrap_or_else(Decision::refused)
        }
        Input::Cancel { item } => ask::cancel(state, *item, at).unwrap_or_else(Decision::refused),
        Input::SetPreferences { customer, preferences } => {
            ask::set_preferences(state, *customer, preferences).unwrap_or_else(Decision::refused)
        }
        Input::Budget { customer } => {
            ask::budget(state, configuration, *customer, at).unwrap_or_else(Decision::refused)
        }
        Input::Begin { item, attempt } => {
            ask::begin(state, *item, attempt, at).unwrap_or_else(Decision::refused)
        }
        Input::Record { item, outcome } => {
            ask::record(state, *item, outcome, at).unwrap_or_else(Decision::refused)
        }
        Input::Part { part, consent } => Decision::events(parted::part(state, part, *consent)),
        Input::Custody(input) => Decision::events(parted::custody(state, input)),
        Input::Wakeup(Wakeup::Due) => {
            Decision::events(ask::release(state, configuration, RELEASED_AT_ONCE, at))
        }
        Input::Wakeup(Wakeup::Configured) => Decision::silent(),
    }
}
