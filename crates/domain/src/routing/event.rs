//! What can happen to routing, and what it decides.

use super::binding::{
    Binding, CodeAnswer, HandOver, IssuedCode, NewCode, Nonce, Presented, RefusedWhy,
};
use super::case::{Case, CaseView, Details, Opener};
use super::clock::Timing;
use super::conversation::{ConversationEvent, ConversationView};
use super::floor::Standing;
use super::message::{MessageRequest, RulesTried};
use super::parted::Withdrawn;
use super::pause::QueueView;
use super::state::Purchase;
use crate::access::Caller;
use crate::configuration::{Priority, RuleFailure, Who};
use crate::custody;
use crate::person::{Address, ChannelEvent};
use crate::{
    BrandId, CaseId, ChannelId, ConversationId, CustomerId, QueueId, StaffId, StoreId, UnitId,
    Wakeup,
};

/// What can happen to routing.
#[derive(Clone, Debug)]
pub enum Input {
    /// A customer did something.
    Channel {
        /// Who.
        customer: CustomerId,
        /// What.
        event: Box<ChannelEvent>,
        /// Where the person can be answered, if anywhere.
        address: Option<Address>,
        /// The binding code that stands in it, if one does.
        code: Option<Presented>,
    },
    /// Two customers are one.
    Merged {
        /// Keeps its id.
        survivor: CustomerId,
        /// An alias from now on.
        absorbed: CustomerId,
    },
    /// Staff open a case.
    Open(Box<NewCase>),
    /// A worker takes a case.
    Accept {
        /// The case.
        case: CaseId,
        /// The worker.
        by: String,
    },
    /// A worker takes the case that a queue serves next.
    Claim {
        /// The queue.
        queue: QueueId,
        /// The worker.
        by: String,
    },
    /// A worker begins with it, or goes on after waiting.
    Start {
        /// The case.
        case: CaseId,
        /// The worker.
        by: String,
    },
    /// A worker waits for the customer.
    Wait {
        /// The case.
        case: CaseId,
        /// The worker.
        by: String,
    },
    /// A worker has done it.
    Resolve {
        /// The case.
        case: CaseId,
        /// The worker.
        by: String,
    },
    /// Nothing more is to become of a case that is resolved.
    Close {
        /// The case.
        case: CaseId,
        /// Who says so.
        by: String,
    },
    /// What was resolved is not.
    Reopen {
        /// The case.
        case: CaseId,
        /// Who says so.
        by: String,
    },
    /// Nobody will do it.
    Cancel {
        /// The case.
        case: CaseId,
        /// Who says so.
        by: String,
        /// Whether that counts against its holder.
        overrules: bool,
        /// Why.
        reason: String,
    },
    /// It is another queue's.
    Transfer {
        /// The case.
        case: CaseId,
        /// The other queue.
        to: QueueId,
        /// Who says so.
        by: String,
        /// Whether that counts against its holder.
        overrules: bool,
        /// Why.
        reason: String,
    },
    /// Nothing of a queue is given out until somebody says otherwise.
    Pause {
        /// The queue.
        queue: QueueId,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// What is on a queue is given out again.
    Resume {
        /// The queue.
        queue: QueueId,
        /// Who says so.
        by: String,
    },
    /// It is more urgent, or less.
    Prioritise {
        /// The case.
        case: CaseId,
        /// How urgent it is from now on.
        priority: Priority,
        /// Who says so.
        by: String,
    },
    /// It is not on its queue, and should be.
    Requeue {
        /// The case.
        case: CaseId,
        /// Who misses it.
        by: String,
    },
    /// Staff do something, or say that they are there.
    Conversation {
        /// What.
        wish: ConversationInput,
        /// Who asks, with the scope that counts.
        caller: Box<Caller>,
    },
    /// A customer is taken apart or forgotten.
    Custody(custody::Input),
    /// The engine's own.
    Wakeup(Wakeup),
    /// Staff want a binding code.
    IssueCode(Box<NewCode>),
    /// A binding code is to be good no more.
    RevokeCode {
        /// The code.
        nonce: Nonce,
        /// Who says so.
        by: String,
    },
    /// A customer is to have no salesperson any more for a brand, or for all.
    EndBinding {
        /// The customer; an alias counts for its survivor.
        customer: CustomerId,
        /// The brand; none: the binding that is for all brands.
        brand: Option<BrandId>,
        /// Who says so.
        by: String,
    },
    /// Customers of one salesperson become another's.
    HandOver(HandOver),
}

impl From<Wakeup> for Input {
    fn from(wakeup: Wakeup) -> Self {
        Self::Wakeup(wakeup)
    }
}

/// What staff do with conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationInput {
    /// Somebody says to be there, or to be away.
    Presence {
        /// Who.
        staff: StaffId,
        /// There or away.
        available: bool,
        /// How many conversations at once; none: what the directory says.
        capacity: Option<u32>,
    },
    /// Somebody takes what was offered, or what waits in line.
    Accept {
        /// The conversation.
        conversation: ConversationId,
        /// Who.
        staff: StaffId,
    },
    /// Somebody does not take what was offered.
    Reject {
        /// The conversation.
        conversation: ConversationId,
        /// Who.
        staff: StaffId,
    },
    /// It is given to a person, whether that one has room or not.
    Assign {
        /// The conversation.
        conversation: ConversationId,
        /// Who has it from now on.
        to: StaffId,
        /// Who says so.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// It is offered to another target, and to the central desk after that.
    Transfer {
        /// The conversation.
        conversation: ConversationId,
        /// To whom.
        to: Who,
        /// Who says so.
        actor: Actor,
    },
    /// Its holder answers the customer.
    Reply {
        /// The conversation.
        conversation: ConversationId,
        /// Who.
        staff: StaffId,
        /// What is said: 1 to 5,000 UTF-16 units.
        text: String,
    },
    /// Nothing more is to be said.
    Close {
        /// The conversation.
        conversation: ConversationId,
        /// Who says so.
        actor: Actor,
    },
}

/// Who gives a conversation away or closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The caller, or the member of staff, as it stands in records.
    pub by: String,
    /// As whom, when as a member of staff.
    pub staff: Option<StaffId>,
    /// Whether that counts against its holder.
    pub overrules: bool,
}

/// A case as staff ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCase {
    /// Whose it is; an alias counts for its survivor.
    pub customer: CustomerId,
    /// Where news about it goes; none: to the account of the store, else to the single entry.
    pub channel: Option<ChannelId>,
    /// The brand it is about.
    pub brand: Option<BrandId>,
    /// The store that it is opened in.
    pub store: Option<StoreId>,
    /// On which queue.
    pub queue: QueueId,
    /// How urgent it is.
    pub priority: Priority,
    /// What is written down about it.
    pub details: Details,
    /// Who opens it.
    pub by: String,
}

/// What a command is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A queue has nothing on offer.
    Nothing,
    /// A queue gives nothing out now.
    Paused(QueueView),
    /// The queue as it is now.
    Queue(QueueView),
    /// The case as it is now.
    Case(CaseView),
    /// A new case was asked for, and this one is about the same.
    Existing(CaseView),
    /// The conversation as it is now.
    Conversation(Box<ConversationView>),
    /// How a member of staff stands now; none: the person has left.
    Staff(StaffId, Option<Box<Standing>>),
    /// A new binding code, to be sealed.
    Code(Box<CodeAnswer>),
    /// The binding code that is good no more.
    Revoked(IssuedCode),
    /// The binding that is in force no more.
    Ended {
        /// Whose it was.
        customer: CustomerId,
        /// All of it.
        binding: Binding,
    },
    /// A hand-over has begun, unless there was nothing to hand over.
    HandedOver {
        /// How many bindings are handed over.
        bindings: usize,
        /// How many stay, because they are for brands that the other one does not speak for.
        left: usize,
    },
}

impl Answer {
    /// The case, if there is one.
    #[must_use]
    pub fn case(&self) -> Option<&CaseView> {
        match self {
            Self::Nothing
            | Self::Paused(_)
            | Self::Queue(_)
            | Self::Conversation(_)
            | Self::Staff(..)
            | Self::Code(_)
            | Self::Revoked(_)
            | Self::Ended { .. }
            | Self::HandedOver { .. } => None,
            Self::Case(view) | Self::Existing(view) => Some(view),
        }
    }
}

/// What routing decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A case is open, and on its queue.
    Opened {
        /// The new case.
        id: CaseId,
        /// All of it.
        case: Case,
    },
    /// The work item for the back office; the broker copies it to the queue.
    Queued {
        /// The case.
        id: CaseId,
        /// All of it. [`Case::queued_times`] tells whether it is there again.
        case: Case,
    },
    /// Somebody took it.
    Accepted {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it leaves.
        queue: QueueId,
        /// With which priority it was there.
        priority: Priority,
        /// Who.
        by: String,
    },
    /// Its holder works on it, or works on it again.
    Started {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on, or was on.
        queue: Option<QueueId>,
        /// Who.
        by: String,
        /// Its clocks from now on.
        timing: Timing,
    },
    /// Its holder waits for the customer.
    Waits {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on, or was on.
        queue: Option<QueueId>,
        /// Who.
        by: String,
        /// Its clocks from now on.
        timing: Timing,
    },
    /// It is done.
    Resolved {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on, or was on.
        queue: Option<QueueId>,
        /// Who.
        by: String,
        /// Its clocks from now on.
        timing: Timing,
    },
    /// It is over and done.
    Closed {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on, or was on.
        queue: Option<QueueId>,
        /// Who, or [`CLOSER`](super::CLOSER).
        by: String,
    },
    /// It is to be done again; [`Event::Queued`] follows.
    Reopened {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on, or was on.
        queue: Option<QueueId>,
        /// Who.
        by: String,
        /// Its clocks from now on.
        timing: Timing,
    },
    /// It is given up.
    Cancelled {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it leaves, or left.
        queue: QueueId,
        /// With which priority it was there.
        priority: Priority,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Its clocks from now on.
        timing: Timing,
    },
    /// It is another queue's, and open there; [`Event::Queued`] follows.
    Transferred {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it leaves.
        queue: QueueId,
        /// With which priority it was there.
        priority: Priority,
        /// Where it goes.
        to: QueueId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Its clocks from now on.
        timing: Timing,
    },
    /// Its priority changed. If it is open, [`Event::Queued`] follows.
    Prioritised {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on.
        queue: QueueId,
        /// With which priority it was there.
        priority: Priority,
        /// With which it is there now.
        to: Priority,
        /// Who.
        by: String,
        /// Its clocks from now on.
        timing: Timing,
    },
    /// Most of the time that its unit has for it is up.
    Warned {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on, or was on.
        queue: Option<QueueId>,
        /// The unit.
        unit: Option<UnitId>,
    },
    /// It is late.
    Escalated {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on, or was on.
        queue: Option<QueueId>,
        /// The unit where it is late.
        unit: Option<UnitId>,
    },
    /// A queue gives nothing out until [`Event::QueueResumed`].
    QueuePaused {
        /// The queue.
        queue: QueueId,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// What is on the queue is given out again.
    QueueResumed {
        /// The queue.
        queue: QueueId,
        /// Who says so.
        by: String,
    },
    /// The machine of a stranger's case came in with another customer; see
    /// [`Case::shared_serial`].
    SerialShared {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it is on, or was on.
        queue: Option<QueueId>,
    },
    /// What is known of a customer belongs to another one now: cases and the last purchase.
    Moved {
        /// The customer that was absorbed.
        from: CustomerId,
        /// The survivor.
        to: CustomerId,
    },
    /// The customer bought of another brand than before.
    PurchaseNoted {
        /// The customer.
        customer: CustomerId,
        /// What is to be remembered of it.
        purchase: Purchase,
    },
    /// The customer is to be told something.
    MessageRequested(MessageRequest),
    /// What the rules came to for an event, when nothing else that is decided for it says so.
    RulesTried(RulesTried),
    /// The condition of a rule could not be evaluated for an event. Names no customer, so that the
    /// count outlives an erasure; [`Event::RulesTried`] says for which event.
    RuleFailed(RuleFailure),
    /// A case belongs to a piece of the customer that it belonged to. Everything else is as it was.
    CaseRestated {
        /// The case.
        id: CaseId,
        /// All of it.
        case: Case,
    },
    /// What is decided about conversations and staff.
    Conversation(ConversationEvent),
    /// Its customer is forgotten, and with the customer this.
    Withdrawn(Withdrawn),
    /// Whose records are whose.
    Custody(custody::Event),
    /// A binding code is good from now on.
    CodeIssued {
        /// The code.
        code: IssuedCode,
        /// Who asked for it.
        by: String,
    },
    /// A binding code is good no more.
    CodeRevoked {
        /// The code.
        nonce: Nonce,
        /// Whose it was.
        staff: StaffId,
        /// Who says so.
        by: String,
    },
    /// A presented code bound nobody. Names no customer, so that the count outlives an erasure.
    CodeRefused {
        /// Why.
        why: RefusedWhy,
        /// Whose it was, if that can be told.
        staff: Option<StaffId>,
        /// Where it came in.
        channel: ChannelId,
    },
    /// The customer has this salesperson from now on; see [`Binding`] for what that ends.
    Bound {
        /// The customer.
        customer: CustomerId,
        /// All of it.
        binding: Binding,
    },
    /// Staff ended a binding.
    BindingEnded {
        /// The customer.
        customer: CustomerId,
        /// All of it.
        binding: Binding,
    },
    /// A binding belongs to a piece of the customer that it belonged to. Everything else is as it was.
    BindingRestated {
        /// The piece.
        customer: CustomerId,
        /// All of it.
        binding: Binding,
    },
    /// Customers are being handed over: [`Event::Bound`] for each of them follows.
    HandOverBegun(HandOver),
    /// That was all.
    HandOverDone {
        /// Whose they were.
        from: StaffId,
        /// Whose they are.
        to: StaffId,
    },
}

impl Event {
    /// The case that it is about, if it is about one.
    #[must_use]
    pub fn case(&self) -> Option<CaseId> {
        match self {
            Self::Opened { id, .. }
            | Self::Queued { id, .. }
            | Self::Accepted { id, .. }
            | Self::Started { id, .. }
            | Self::Waits { id, .. }
            | Self::Resolved { id, .. }
            | Self::Closed { id, .. }
            | Self::Reopened { id, .. }
            | Self::Cancelled { id, .. }
            | Self::Transferred { id, .. }
            | Self::Prioritised { id, .. }
            | Self::Warned { id, .. }
            | Self::Escalated { id, .. }
            | Self::SerialShared { id, .. }
            | Self::CaseRestated { id, .. }
            | Self::Withdrawn(Withdrawn::Case { id, .. }) => Some(*id),
            Self::MessageRequested(request) => request.case,
            Self::Moved { .. }
            | Self::PurchaseNoted { .. }
            | Self::RulesTried(_)
            | Self::RuleFailed(_)
            | Self::Conversation(_)
            | Self::Withdrawn(Withdrawn::Conversation { .. })
            | Self::Custody(_)
            | Self::CodeIssued { .. }
            | Self::CodeRevoked { .. }
            | Self::CodeRefused { .. }
            | Self::Bound { .. }
            | Self::BindingEnded { .. }
            | Self::BindingRestated { .. }
            | Self::HandOverBegun(_)
            | Self::HandOverDone { .. }
            | Self::QueuePaused { .. }
            | Self::QueueResumed { .. } => None,
        }
    }

    /// The rule that it was decided by, if it says so.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        if let Self::Opened { case, .. } = self
            && let Opener::Event { rule, .. } = &case.opener
        {
            return Some(rule);
        }
        if let Self::Conversation(ConversationEvent::Tagged { rule, .. }) = self {
            return Some(rule);
        }
        if let Self::RulesTried(tried) = self {
            return tried.rule.as_deref();
        }
        if let Self::MessageRequested(request) = self {
            return request.rule.as_deref();
        }
        let Self::Conversation(event) = self else { return None };
        if let ConversationEvent::Opened { conversation, .. } = event {
            return Some(&conversation.rule);
        }
        if let ConversationEvent::Active { rule, .. } = event {
            return rule.as_deref();
        }
        None
    }
}
