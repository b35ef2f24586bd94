//! What a customer is to be told, and by which rule.

use crate::configuration::{Mode, RuleFailure};
use crate::person::{Carrier, ReplyRight};
use crate::{BrandId, CaseId, ChannelId, CustomerId, EventId, StaffId};

/// What a customer is to be told, and how it may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRequest {
    /// The customer.
    pub customer: CustomerId,
    /// Where.
    pub channel: ChannelId,
    /// In whose voice.
    pub brand: Option<BrandId>,
    /// What: names of templates, one message each, in this order.
    pub templates: Vec<String>,
    /// What somebody of the staff says in their own words, instead of a template.
    pub text: Option<String>,
    /// The case it is about, if any.
    pub case: Option<CaseId>,
    /// The right to answer for free, when this answers an event that gave one.
    pub reply: Option<ReplyRight>,
    /// How the channel was run when the event that this answers came in; for news that answer
    /// nothing, how it is run now.
    pub mode: Mode,
    /// What it hangs on: the event that it answers, or its case; none, when nobody knows.
    pub carrier: Option<Carrier>,
    /// The salesperson whose name it tells, if any.
    pub staff: Option<StaffId>,
    /// The rule that matched the event that this answers; none, when none did, or when it answers
    /// none.
    pub rule: Option<String>,
}

/// What the rules came to for an event of which nothing else tells it: a condition failed, or the
/// rule that matched led to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesTried {
    /// Whose event it was.
    pub customer: CustomerId,
    /// Where it came in.
    pub channel: ChannelId,
    /// The event.
    pub event: EventId,
    /// What it hangs on; none, when nobody knows.
    pub carrier: Option<Carrier>,
    /// The rule that matched, if one did.
    pub rule: Option<String>,
    /// The rules before it whose condition could not be evaluated.
    pub failed: Vec<RuleFailure>,
}
