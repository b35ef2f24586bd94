//! What is asked for, and what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::configuration::Mode;
use crate::person::{Address, Carrier, ReplyRight};
use crate::voice::Message;
use crate::{At, BrandId, CaseId, ChannelId, CustomerId, ItemId, StaffId};

/// What kind of message it is decides what happens at a limit.
///
/// | class | quiet hours | over budget | blocked | no consent |
/// |---|---|---|---|---|
/// | reply | sends | sends | suppressed | sends |
/// | service | defers | sends | suppressed | sends |
/// | transactional | sends | sends | suppressed | sends |
/// | marketing | defers, or expires where its deadline comes first | waits for the digest, if it may, or expires | suppressed | suppressed |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Answers what the person did, while its reply token lives; or what somebody of the staff says
    /// in a conversation, which the person waits for.
    Reply,
    /// News of a case, a binding, a hand-over.
    Service,
    /// Of an order or a payment.
    Transactional,
    /// Everything that the person did not ask for.
    Marketing,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reply, Self::Service, Self::Transactional, Self::Marketing];

    /// Its name in records and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Service => "service",
            Self::Transactional => "transactional",
            Self::Marketing => "marketing",
        }
    }
}

/// A wish that a customer be told something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Whom.
    pub customer: CustomerId,
    /// What it hangs on; none, when nobody knows.
    pub carrier: Option<Carrier>,
    /// Of which kind.
    pub class: Class,
    /// Where; none: on the one account that the person is reached by best.
    pub channel: Option<ChannelId>,
    /// It may go out on another account, where the person blocked this one or was never seen there.
    pub elsewhere: bool,
    /// How the channel was run when this was asked for.
    pub mode: Mode,
    /// In whose voice.
    pub brand: Option<BrandId>,
    /// What.
    pub words: Words,
    /// The right to answer for free, when this answers an event that gave one.
    pub reply: Option<ReplyRight>,
    /// A newer one with the same key takes the place of one that waits.
    pub collapse_key: Option<String>,
    /// Not to be sent after this moment.
    pub deadline: Option<At>,
    /// Over the budget it waits for the person's next digest.
    pub digest: bool,
    /// When it was asked for.
    pub asked_at: At,
}

/// What is said: names of templates, one message each, in this order; or somebody's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// The templates.
    pub templates: Vec<String>,
    /// Instead of a template.
    pub text: Option<String>,
    /// The values of the templates' variables, by name.
    pub variables: BTreeMap<String, String>,
    /// The case it is about, if any.
    pub case: Option<CaseId>,
    /// The salesperson whose name it tells, if any.
    pub staff: Option<StaffId>,
}

/// One call to a vendor's sending API, with everything it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Whom it tells.
    pub customer: CustomerId,
    /// What it hangs on: what its address was seen with; none, when nobody knows.
    pub carrier: Option<Carrier>,
    /// Of which kind.
    pub class: Class,
    /// Where.
    pub address: Address,
    /// How.
    pub way: Way,
    /// What it says; at most 5.
    pub messages: Vec<Message>,
    /// When it was asked for.
    pub asked_at: At,
    /// Not to be sent after this moment.
    pub deadline: Option<At>,
    /// Other requests that go out with it and end as it does: a digest.
    pub joined: Vec<ItemId>,
    /// The attempts that senders began, oldest first: all of a reply, and of a push that has a
    /// deadline the first.
    pub attempts: Vec<String>,
}

/// How an item goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// As the answer to an event, by its token; free of charge.
    Reply {
        /// LINE's reply token.
        token: String,
    },
    /// On our own account.
    Push,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The vendor took it.
    Sent,
    /// It is not to be said, or not there.
    Suppressed {
        /// Why, without personal data.
        reason: Reason,
    },
    /// It could not be said in time.
    Expired {
        /// Why.
        reason: Reason,
    },
    /// The vendor will never take it, or nobody knows whether it did and asking again could tell
    /// a person twice.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// Why something ended otherwise than sent: one of ours, or what the vendor answered. Never personal
/// data.
pub type Reason = std::borrow::Cow<'static, str>;

/// The incumbent speaks on this channel.
pub const SHADOW: &str = "the channel is in shadow";
/// No template has this name, or it says nothing.
pub const NO_TEMPLATE: &str = "no such template";
/// The person was never seen where it could be told.
pub const NO_ADDRESS: &str = "no address";
/// The person blocked every account that it could be told on.
pub const BLOCKED: &str = "blocked by the person";
/// The person does not want to hear of it.
pub const NO_CONSENT: &str = "no consent to marketing";
/// Its deadline was over.
pub const LATE: &str = "its deadline was over";
/// Its deadline was over, and nobody knows whether an earlier attempt got through.
pub const LATE_UNKNOWN: &str = "its deadline was over and an attempt was not answered";
/// Its deadline comes before the end of quiet hours.
pub const QUIET_TOO_LONG: &str = "quiet hours last longer than its deadline";
/// The budget of the person is spent.
pub const OVER_BUDGET: &str = "over the person's budget";
/// A newer one with the same collapse key came.
pub const REPLACED: &str = "replaced by a newer one";
/// Somebody took it back.
pub const CANCELLED: &str = "cancelled";

impl Outcome {
    /// Why, when not sent.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Sent => None,
            Self::Suppressed { reason } | Self::Expired { reason } | Self::Failed { reason } => {
                Some(reason)
            }
        }
    }

    pub(super) fn suppressed(reason: &'static str) -> Self {
        Self::Suppressed { reason: reason.into() }
    }

    pub(super) fn expired(reason: &'static str) -> Self {
        Self::Expired { reason: reason.into() }
    }

    pub(super) fn failed(reason: &'static str) -> Self {
        Self::Failed { reason: reason.into() }
    }
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wait {
    /// The end of quiet hours, or of a holiday.
    QuietHours,
    /// Room in the person's budget: the next digest.
    Budget,
}

/// Where a request stands.
///
/// | from | to |
/// |---|---|
/// | asked | deferred, queued, ended |
/// | deferred | deferred (checked again, in full), queued, ended |
/// | queued | ended |
/// | ended | nothing |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It waits here.
    Deferred(Arc<Deferred>),
    /// It is on its way to the sender.
    Queued(Arc<Item>),
    /// It is over.
    Ended(Arc<Ended>),
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// All of it.
    pub request: Request,
    /// When it is looked at again.
    pub until: At,
    /// What it waits for.
    pub wait: Wait,
}

/// A request that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Whom it was for.
    pub customer: CustomerId,
    /// What it hangs on.
    pub carrier: Option<Carrier>,
    /// Of which kind.
    pub class: Class,
    /// Where, when that was known.
    pub channel: Option<ChannelId>,
    /// When it was asked for.
    pub asked_at: At,
    /// When it ended.
    pub ended_at: At,
    /// How.
    pub outcome: Outcome,
}

impl Request {
    /// Whether it takes the place of another one that waits, of the same person.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.collapse_key.is_some() && self.collapse_key == other.collapse_key
    }
}

impl Standing {
    pub(super) fn ended(ended: Ended) -> Self {
        Self::Ended(Arc::new(ended))
    }

    pub(super) fn waits(&self) -> bool {
        matches!(self, Self::Deferred(_))
    }

    /// Whom it is for.
    #[must_use]
    pub fn customer(&self) -> CustomerId {
        match self {
            Self::Deferred(deferred) => deferred.request.customer,
            Self::Queued(item) => item.customer,
            Self::Ended(ended) => ended.customer,
        }
    }

    /// What it hangs on.
    #[must_use]
    pub fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::Deferred(deferred) => deferred.request.carrier,
            Self::Queued(item) => item.carrier,
            Self::Ended(ended) => ended.carrier,
        }
    }

    /// Of which kind.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Deferred(deferred) => deferred.request.class,
            Self::Queued(item) => item.class,
            Self::Ended(ended) => ended.class,
        }
    }

    /// Where, as far as it is known.
    #[must_use]
    pub fn channel(&self) -> Option<&ChannelId> {
        match self {
            Self::Deferred(deferred) => deferred.request.channel.as_ref(),
            Self::Queued(item) => Some(&item.address.channel),
            Self::Ended(ended) => ended.channel.as_ref(),
        }
    }

    /// When it was asked for.
    #[must_use]
    pub fn asked_at(&self) -> At {
        match self {
            Self::Deferred(deferred) => deferred.request.asked_at,
            Self::Queued(item) => item.asked_at,
            Self::Ended(ended) => ended.asked_at,
        }
    }

    /// How it ended, when it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Deferred(_) | Self::Queued(_) => None,
            Self::Ended(ended) => Some(&ended.outcome),
        }
    }

    /// Under whom its records stand, and what they hang on: all of one request by the same, or they
    /// are [released](super::Event::Released) first.
    pub(super) fn stands(&self) -> (CustomerId, Option<Carrier>) {
        (self.customer(), self.carrier())
    }

    /// The same of a piece of the customer it belonged to.
    pub(super) fn restated(&self, customer: CustomerId) -> Self {
        match self {
            Self::Deferred(deferred) => {
                let mut deferred = Arc::unwrap_or_clone(Arc::clone(deferred));
                deferred.request.customer = customer;
                Self::Deferred(Arc::new(deferred))
            }
            Self::Queued(item) => {
                Self::Queued(Arc::new(Item { customer, ..Arc::unwrap_or_clone(Arc::clone(item)) }))
            }
            Self::Ended(ended) => Self::ended(Ended { customer, ..Ended::clone(ended) }),
        }
    }
}
