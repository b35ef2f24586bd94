//! Conversations: what they are, and what may become of one.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::configuration::{Priority, Target, Who};
use crate::person::{Carrier, ReplyRight};
use crate::{At, BrandId, ChannelId, ConversationId, CustomerId, EventId, StaffId, StoreId, Tag};

/// Whoever said no to a conversation, or let its offer lapse, is not offered it again for so long.
pub const PASSED_FOR: Duration = Duration::from_mins(5);

/// An offer of the last target of a chain lasts so long when that target has no time of its own.
pub const OFFERED_FOR: Duration = Duration::from_mins(3);

/// A conversation that was closed this long ago is forgotten by the next full hour: what the customer
/// writes then begins another one. Its records stay in the ledger.
pub const REMEMBERED_FOR: Duration = Duration::from_hours(30 * 24);

/// What a customer and the retailer say to each other on one channel about one brand.
///
/// While one with the same customer, channel and brand is open, no second one opens; only a merge can
/// bring two together, and then the customer's next message goes to the one that was active last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Whose it is.
    pub customer: CustomerId,
    /// Where it is held.
    pub channel: ChannelId,
    /// The brand that it is about; none, when nobody knows.
    pub brand: Option<BrandId>,
    /// The store that it began in.
    pub store: Option<StoreId>,
    /// The rule that handed it over last.
    pub rule: String,
    /// The event that it began with, or began anew.
    pub event: EventId,
    /// What it hangs on: the strongest identifier of the event that it began with.
    pub carrier: Option<Carrier>,
    /// How urgent it is.
    pub priority: Priority,
    /// Since when the customer waits for somebody, or waited before somebody had it. This is its age
    /// in line, and stays when its holder goes and it is offered on.
    pub waiting_since: At,
    /// When the customer wrote last.
    pub active_at: At,
    /// To whom it is handed, in this order.
    pub chain: Vec<Target>,
    /// Where it stands.
    pub stage: Talk,
    /// What rules marked it with, in its earlier lives too.
    pub tags: BTreeSet<Tag>,
    /// Who said no to it or let its offer lapse, and when; see [`PASSED_FOR`].
    pub passed: Vec<(StaffId, At)>,
    /// The right to answer the customer's last message, as long as nothing has used it.
    pub reply: Option<ReplyRight>,
}

/// Where a conversation stands.
///
/// | a conversation that is | Accept | Reject | Transfer to a person | Transfer to a target | Reply | Close | time is up | its person goes |
/// |---|---|---|---|---|---|---|---|---|
/// | waiting | in progress | – | in progress | offered, or waiting | – | closed | offered again to whoever passed it | |
/// | offered | in progress, for the one it is offered to | offered to the next, or waiting | in progress | offered, or waiting | – | closed | offered to the next, or waiting | offered to the next, or waiting |
/// | in progress | same, for its holder | – | in progress | offered, or waiting | said | closed | | offered on along its chain, or waiting |
/// | closed | – | – | – | – | – | same | forgotten, see [`REMEMBERED_FOR`] | |
///
/// *Same* changes nothing and is answered like the first time; – is refused, naming what is allowed. A
/// conversation waits only at the last target of its chain, flagged for all of that desk, until somebody
/// has it: nothing cancels it but a person who closes it. A message of the customer opens a closed one
/// again and leads it along the chain of the rule that matches then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Talk {
    /// In line at the last target: nobody there is free.
    Waiting,
    /// Somebody was asked.
    Offered {
        /// Who.
        staff: StaffId,
        /// As which target of the chain; the first is 0.
        target: usize,
        /// Until when the offer stands.
        until: At,
        /// Until when its target is tried; none: until somebody says yes.
        target_until: Option<At>,
    },
    /// Somebody has it.
    InProgress {
        /// Who.
        staff: StaffId,
        /// Since when.
        at: At,
    },
    /// Over, until the customer writes again.
    Closed {
        /// By whom.
        by: String,
        /// When.
        at: At,
    },
}

impl Talk {
    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Who has it, or is asked.
    #[must_use]
    pub fn staff(&self) -> Option<&StaffId> {
        match self {
            Self::Offered { staff, .. } | Self::InProgress { staff, .. } => Some(staff),
            Self::Waiting | Self::Closed { .. } => None,
        }
    }

    /// Who has it.
    #[must_use]
    pub fn holder(&self) -> Option<&StaffId> {
        match self {
            Self::InProgress { staff, .. } => Some(staff),
            Self::Waiting | Self::Offered { .. } | Self::Closed { .. } => None,
        }
    }

    /// Its name in refusals.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Offered { .. } => "offered",
            Self::InProgress { .. } => "in progress",
            Self::Closed { .. } => "closed",
        }
    }

    /// The methods that lead out of it.
    #[must_use]
    pub fn allowed(&self) -> &'static str {
        match self {
            Self::Waiting => "AcceptConversation, TransferConversation, CloseConversation",
            Self::Offered { .. } => {
                "AcceptConversation, RejectConversation, TransferConversation, CloseConversation"
            }
            Self::InProgress { .. } => "ReplyConversation, TransferConversation, CloseConversation",
            Self::Closed { .. } => "none; the customer's next message opens it again",
        }
    }
}

impl Conversation {
    pub(super) fn about(&self, id: ConversationId) -> About {
        About {
            id,
            customer: self.customer,
            carrier: self.carrier,
            store: self.store.clone(),
            brand: self.brand.clone(),
            staff: self.stage.staff().cloned(),
        }
    }

    /// When something is to become of it without anybody asking.
    pub(super) fn deadline(&self) -> Option<At> {
        match &self.stage {
            Talk::Offered { until, .. } => Some(*until),
            Talk::Waiting => self.passed.iter().map(|(_, at)| at.after(PASSED_FOR)).min(),
            Talk::InProgress { .. } | Talk::Closed { .. } => None,
        }
    }

    /// Its place in line, while it waits: the most urgent first, of these the one that waits longest.
    pub(super) fn place_in_line(&self) -> Option<(Priority, At)> {
        (self.stage == Talk::Waiting).then_some((self.priority, self.waiting_since))
    }

    /// Whether somebody said no to it a short while ago.
    pub(super) fn was_passed_by(&self, staff: &StaffId, at: At) -> bool {
        self.passed.iter().any(|(who, when)| who == staff && at.since(*when) < PASSED_FOR)
    }

    /// Those who said no a short while ago, and one more.
    pub(super) fn passed_also(&self, also: Option<&StaffId>, at: At) -> Vec<(StaffId, At)> {
        let lasting = self.passed.iter().filter(|(_, when)| at.since(*when) < PASSED_FOR);
        let others = lasting.filter(|(who, _)| Some(who) != also).cloned();
        others.chain(also.map(|who| (who.clone(), at))).collect()
    }
}

/// A conversation with its id, as commands are answered and reads are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationView {
    /// The id.
    pub id: ConversationId,
    /// The rest.
    pub conversation: Conversation,
}

/// How an offer ended without a yes, or how its holder lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OfferEnd {
    /// The person said no.
    Rejected,
    /// The person said nothing in time.
    TimedOut,
    /// The person is away, off shift, or has left.
    Gone,
    /// Somebody gave it to another target.
    Transferred,
    /// There was nobody before, and now there is somebody.
    Free,
}

impl OfferEnd {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Rejected, Self::TimedOut, Self::Gone, Self::Transferred, Self::Free];

    /// Its name in records and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::TimedOut => "timed-out",
            Self::Gone => "gone",
            Self::Transferred => "transferred",
            Self::Free => "free",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ended| ended.name() == name)
    }
}

/// Somebody, or a target with nobody, that was passed over when a conversation was offered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassedOver {
    /// Of which target.
    pub who: Who,
    /// Who; none: the whole target.
    pub staff: Option<StaffId>,
    /// Why.
    pub why: Why,
}

/// Why somebody was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The customer is bound to nobody.
    NotBound,
    /// The conversation has no store.
    NoStore,
    /// The conversation has no brand.
    NoBrand,
    /// Nobody of this target ever said to be there.
    Nobody,
    /// The person said to be away, or never said to be there.
    Away,
    /// It is not the person's shift.
    OffShift,
    /// The person has as many conversations as fit.
    Full,
    /// The person does not speak for the brand.
    OtherBrand,
    /// The person said no to it, or let its offer lapse, a short while ago.
    Passed,
    /// Another person of the same target has more spare capacity, or has been idle for longer.
    Behind,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NotBound,
        Self::NoStore,
        Self::NoBrand,
        Self::Nobody,
        Self::Away,
        Self::OffShift,
        Self::Full,
        Self::OtherBrand,
        Self::Passed,
        Self::Behind,
    ];

    /// Its name in records and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotBound => "not-bound",
            Self::NoStore => "no-store",
            Self::NoBrand => "no-brand",
            Self::Nobody => "nobody",
            Self::Away => "away",
            Self::OffShift => "off-shift",
            Self::Full => "full",
            Self::OtherBrand => "other-brand",
            Self::Passed => "passed",
            Self::Behind => "behind",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.name() == name)
    }
}

/// Which conversation a record is about, whose it is, and whom it concerns: a record outlives what is
/// remembered of its conversation, and whoever reads it need not know what came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The conversation.
    pub id: ConversationId,
    /// Whose it is.
    pub customer: CustomerId,
    /// What it hangs on.
    pub carrier: Option<Carrier>,
    /// The store that it began in.
    pub store: Option<StoreId>,
    /// The brand that it is about.
    pub brand: Option<BrandId>,
    /// Who had it or was asked before this; none: it was waiting in line.
    pub staff: Option<StaffId>,
}

/// What is decided about conversations and staff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationEvent {
    /// A conversation begins, or a closed one begins anew: all of it, with the first offer.
    Opened {
        /// The conversation.
        id: ConversationId,
        /// All of it.
        conversation: Conversation,
        /// Whether it was there before.
        again: bool,
        /// Who was passed over for the first offer.
        passed_over: Vec<PassedOver>,
    },
    /// The customer wrote while it was open.
    Active {
        /// The conversation.
        about: About,
        /// The message.
        event: EventId,
        /// The rule that matched it, if one did.
        rule: Option<String>,
        /// The right to answer it, unless an answer of a rule uses it.
        reply: Option<ReplyRight>,
    },
    /// A rule marked it.
    Tagged {
        /// The conversation.
        about: About,
        /// With these, which it had not.
        tags: BTreeSet<Tag>,
        /// The rule.
        rule: String,
    },
    /// It was offered to somebody, or waits in line.
    Offered {
        /// The conversation.
        about: About,
        /// [`Talk::Offered`], or [`Talk::Waiting`].
        stage: Talk,
        /// How it ended with whoever had it or was asked before.
        ended: OfferEnd,
        /// The chain from now on; none: as before.
        chain: Option<Vec<Target>>,
        /// Who is not asked for a while, from now on.
        passed: Vec<(StaffId, At)>,
        /// Who was passed over.
        passed_over: Vec<PassedOver>,
    },
    /// Somebody has it.
    Accepted {
        /// The conversation.
        about: About,
        /// Who.
        staff: StaffId,
    },
    /// Somebody gave it to a person, who has it now, offer or not, room or not.
    Assigned {
        /// The conversation.
        about: About,
        /// Who has it now.
        staff: StaffId,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Its holder answered; the right to answer for free is used, if there was one.
    Replied {
        /// The conversation.
        about: About,
        /// Who.
        staff: StaffId,
    },
    /// It is over.
    Closed {
        /// The conversation.
        about: About,
        /// By whom: a caller, or the name of a rule.
        by: String,
    },
    /// It belongs to a piece of the customer that it belonged to. Everything else is as it was.
    Restated {
        /// The conversation.
        id: ConversationId,
        /// All of it.
        conversation: Conversation,
    },
    /// Where a member of staff stands.
    Stands {
        /// Who.
        staff: StaffId,
        /// How.
        post: super::Post,
        /// Where the person worked before, if elsewhere.
        before: Option<super::Place>,
    },
    /// After something that concerns all of the staff, another configuration or much that is forgotten
    /// at once, those up to this one were looked at.
    Reviewed {
        /// The last one; none: all of them were, or nobody was.
        up_to: Option<StaffId>,
        /// Nobody was: all are looked at again.
        again: bool,
    },
    /// They were closed [`REMEMBERED_FOR`] ago. Names no customer, so it stays when their records go.
    Forgotten {
        /// The conversations.
        ids: Vec<ConversationId>,
    },
    /// Since when everybody is idle. Said when records go that tell of it: the rest of the log comes to
    /// the same then.
    IdleRestated {
        /// In the order of their ids.
        since: Vec<(StaffId, At)>,
    },
}
