//! What a customer is to be told.

use crate::configuration::Mode;
use crate::person::{Carrier, ReplyRight};
use crate::{BrandId, CaseId, ChannelId, CustomerId, StaffId};

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
}
