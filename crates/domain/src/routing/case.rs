//! One case: what is known of it, and what may become of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::Timing;
use super::serial::Serial;
use crate::configuration::Priority;
use crate::person::Carrier;
use crate::{
    At, BrandId, CaseId, ChannelId, CustomerId, EventId, QueueId, Refusal, RefusalCode, StoreId,
    Tag,
};

/// An open case that was put on its queue this long ago, and is not there any more, is put there
/// again: somebody took it off and did not accept it.
pub const REQUEUE_AFTER: Duration = Duration::from_mins(2);

/// A case can be reopened for so long after it was resolved, and is closed then.
pub const REOPENED_WITHIN: Duration = Duration::from_hours(14 * 24);

/// How long the reason of a cancellation or a transfer may be, in characters.
pub const REASON_AT_MOST: usize = 500;

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Whose it is.
    pub customer: CustomerId,
    /// The channel it was opened on, or that was named then; news about it goes there.
    pub channel: ChannelId,
    /// The brand it is about.
    pub brand: Option<BrandId>,
    /// The store it was opened in.
    pub store: Option<StoreId>,
    /// The queue it is on.
    pub queue: QueueId,
    /// How urgent it is.
    pub priority: Priority,
    /// How it came to be.
    pub opener: Opener,
    /// What staff wrote down when they opened it.
    pub details: Details,
    /// What its opening hangs on; none, when staff opened it or nobody knows.
    pub carrier: Option<Carrier>,
    /// When it was opened.
    pub opened_at: At,
    /// When it was put on its queue last.
    pub queued_at: At,
    /// How often it was put on a queue: above 1, it is there again, or on another one.
    pub queued_times: u32,
    /// Where it stands.
    pub stage: Stage,
    /// How long it has been with whom, and when it is late.
    pub timing: Timing,
    /// What the rule that opened it marked it with.
    pub tags: BTreeSet<Tag>,
    /// When its machine came in, another customer had a case with the same brand and serial number
    /// that was not over, or one came in later. For staff alone: no customer learns of it, and it
    /// does not say whose the other is. Stays when the two customers become one.
    pub shared_serial: bool,
}

/// How a case came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opener {
    /// By a rule, of what a customer did.
    Event {
        /// The rule.
        rule: String,
        /// The event.
        event: EventId,
    },
    /// By somebody of the staff.
    Staff {
        /// The caller.
        by: String,
    },
}

/// What staff wrote down about a case; each empty when nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// What came in, e.g. a model.
    pub product: String,
    /// Its serial number as it was written down. What it comes to is [`Serial::read`].
    pub serial: String,
    /// Where and when it was bought, e.g. the number of a receipt.
    pub purchase: String,
    /// Until when, or why, it is repaired free of charge.
    pub warranty: String,
    /// What is wrong with it.
    pub symptom: String,
    /// Where its pictures are.
    pub photos: Vec<String>,
    /// Its number in another system.
    pub reference: String,
}

/// Where a case stands.
///
/// | a case that is | Accept | Start | Wait | Resolve | Close | Reopen | Cancel | Transfer | SetPriority | Requeue |
/// |---|---|---|---|---|---|---|---|---|---|---|
/// | open | accepted | – | – | – | – | – | cancelled | open, on the other queue | open | on its queue again, 2 min after the last time |
/// | accepted | same | in progress | – | resolved | – | – | cancelled | open, on the other queue | accepted | – |
/// | in progress | same | same | waiting | resolved | – | – | cancelled | open, on the other queue | in progress | – |
/// | waiting | same | in progress | same | resolved | – | – | cancelled | open, on the other queue | waiting | – |
/// | resolved | – | – | – | same | closed | open | cancelled | – | – | – |
/// | closed | – | – | – | – | same | open, within 14 days of being resolved | – | – | – | – |
/// | cancelled | – | – | – | – | – | – | same | – | – | – |
///
/// *Same* changes nothing and is answered like the first time; – is refused, naming what is allowed.
/// Accepted, in progress and waiting cases are their holder's: anybody else is refused and told who has
/// it, except that an operator may cancel and transfer it, and whoever sees it may change its priority.
///
/// There is no state *offered* between open and accepted. On a queue from which people pull there is
/// nobody in particular to offer a case to: open *is* on offer, to all of the unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// On the queue, for anybody to take.
    Open,
    /// Somebody has it.
    Accepted {
        /// Who: the caller that accepted it.
        by: String,
        /// Since when.
        at: At,
    },
    /// Its holder works on it.
    InProgress {
        /// Who.
        by: String,
        /// Since when.
        at: At,
    },
    /// Its holder waits for the customer.
    Waiting {
        /// Who.
        by: String,
        /// Since when.
        at: At,
    },
    /// Done. After [`REOPENED_WITHIN`] it is closed by itself.
    Resolved {
        /// By whom.
        by: String,
        /// When.
        at: At,
    },
    /// Over and done.
    Closed {
        /// By whom: a caller, or [`CLOSER`].
        by: String,
        /// When.
        at: At,
        /// When it was resolved.
        resolved_at: At,
    },
    /// Given up.
    Cancelled {
        /// By whom.
        by: String,
        /// When.
        at: At,
        /// Why, for staff; no customer is told.
        reason: String,
    },
}

/// Who closes what was resolved long ago.
pub const CLOSER: &str = "routing";

/// A case with its id, as commands are answered and reads are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseView {
    /// The id.
    pub id: CaseId,
    /// The rest.
    pub case: Case,
}

impl Case {
    /// The machine that it is about, if that has a serial number.
    #[must_use]
    pub fn serial(&self) -> Option<Serial> {
        Serial::read(&self.details.serial)
    }

    /// When something is to become of it without anybody asking.
    pub(super) fn deadline(&self) -> Option<At> {
        match &self.stage {
            Stage::Open | Stage::Accepted { .. } | Stage::InProgress { .. } => {
                self.timing.deadline()
            }
            Stage::Resolved { at, .. } => Some(at.after(REOPENED_WITHIN)),
            Stage::Waiting { .. } | Stage::Closed { .. } | Stage::Cancelled { .. } => None,
        }
    }
}

impl Stage {
    /// Nobody works on it any more. A resolved case can still be reopened.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match self {
            Self::Resolved { .. } | Self::Closed { .. } | Self::Cancelled { .. } => true,
            Self::Open | Self::Accepted { .. } | Self::InProgress { .. } | Self::Waiting { .. } => {
                false
            }
        }
    }

    /// It is closed or cancelled.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::Cancelled { .. })
    }

    /// Whether the clock of its unit runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self, Self::Open | Self::Accepted { .. } | Self::InProgress { .. })
    }

    /// Its name in refusals.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted { .. } => "accepted",
            Self::InProgress { .. } => "in progress",
            Self::Waiting { .. } => "waiting for the customer",
            Self::Resolved { .. } => "resolved",
            Self::Closed { .. } => "closed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Who has it, while somebody has.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        match self {
            Self::Accepted { by, .. } | Self::InProgress { by, .. } | Self::Waiting { by, .. } => {
                Some(by)
            }
            Self::Open | Self::Resolved { .. } | Self::Closed { .. } | Self::Cancelled { .. } => {
                None
            }
        }
    }

    /// The methods that lead out of it at this moment.
    #[must_use]
    pub fn allowed(&self, at: At) -> &'static str {
        match self {
            Self::Open => "AcceptCase, TransferCase, SetPriority, CancelCase",
            Self::Accepted { .. } | Self::Waiting { .. } => {
                "StartCase, ResolveCase, TransferCase, SetPriority, CancelCase"
            }
            Self::InProgress { .. } => {
                "WaitCase, ResolveCase, TransferCase, SetPriority, CancelCase"
            }
            Self::Resolved { .. } => "CloseCase, ReopenCase, CancelCase",
            Self::Closed { resolved_at, .. } if at.since(*resolved_at) < REOPENED_WITHIN => {
                "ReopenCase"
            }
            Self::Closed { .. } | Self::Cancelled { .. } => "none",
        }
    }
}

/// What a transition leads to: another stage, or `None` when the case stands there already.
pub(super) type Step = Result<Option<Stage>, Refusal>;

impl CaseView {
    pub(super) fn accept(&self, by: &str, at: At) -> Step {
        if self.case.stage == Stage::Open {
            return Ok(Some(Stage::Accepted { by: by.to_owned(), at }));
        }
        // The item can come again after its case was accepted.
        if self.case.stage.holder() == Some(by) { Ok(None) } else { Err(self.refused(by, at)) }
    }

    pub(super) fn start(&self, by: &str, at: At) -> Step {
        let stage = &self.case.stage;
        if stage.holder() != Some(by) {
            return Err(self.refused(by, at));
        }
        let starts = !matches!(stage, Stage::InProgress { .. });
        Ok(starts.then(|| Stage::InProgress { by: by.to_owned(), at }))
    }

    pub(super) fn wait(&self, by: &str, at: At) -> Step {
        let stage = &self.case.stage;
        if stage.holder() != Some(by) || matches!(stage, Stage::Accepted { .. }) {
            return Err(self.refused(by, at));
        }
        let waits = matches!(stage, Stage::InProgress { .. });
        Ok(waits.then(|| Stage::Waiting { by: by.to_owned(), at }))
    }

    pub(super) fn resolve(&self, by: &str, at: At) -> Step {
        if self.case.stage.holder() == Some(by) {
            return Ok(Some(Stage::Resolved { by: by.to_owned(), at }));
        }
        let is = matches!(self.case.stage, Stage::Resolved { .. });
        if is { Ok(None) } else { Err(self.refused(by, at)) }
    }

    pub(super) fn close(&self, by: &str, at: At) -> Step {
        if let Stage::Resolved { at: resolved_at, .. } = self.case.stage {
            return Ok(Some(Stage::Closed { by: by.to_owned(), at, resolved_at }));
        }
        let is = matches!(self.case.stage, Stage::Closed { .. });
        if is { Ok(None) } else { Err(self.refused(by, at)) }
    }

    pub(super) fn reopen(&self, by: &str, at: At) -> Step {
        if let Stage::Resolved { at: resolved_at, .. } | Stage::Closed { resolved_at, .. } =
            self.case.stage
            && at.since(resolved_at) < REOPENED_WITHIN
        {
            return Ok(Some(Stage::Open));
        }
        Err(self.refused(by, at))
    }

    /// `overrules`: whoever has the case.
    pub(super) fn cancel(&self, by: &str, overrules: bool, reason: &str, at: At) -> Step {
        let stage = &self.case.stage;
        if matches!(stage, Stage::Cancelled { .. }) {
            return Ok(None);
        }
        let anothers = stage.holder().is_some_and(|holder| !overrules && holder != by);
        if anothers || matches!(stage, Stage::Closed { .. }) {
            return Err(self.refused(by, at));
        }
        Ok(Some(Stage::Cancelled { by: by.to_owned(), at, reason: reason.to_owned() }))
    }

    /// Whether it can go to another queue now.
    pub(super) fn may_transfer(&self, by: &str, overrules: bool, at: At) -> Result<(), Refusal> {
        let stage = &self.case.stage;
        let anothers = stage.holder().is_some_and(|holder| !overrules && holder != by);
        if stage.is_finished() || anothers { Err(self.refused(by, at)) } else { Ok(()) }
    }

    /// The case as it is queued again.
    pub(super) fn queue_again(&self, by: &str, at: At) -> Result<Case, Refusal> {
        if self.case.stage != Stage::Open {
            return Err(self.refused(by, at));
        }
        let queued_at = self.case.queued_at;
        if at.since(queued_at) < REQUEUE_AFTER {
            let seconds = REQUEUE_AFTER.as_secs();
            return Err(self.refusal(
                "CASE_QUEUED_RECENTLY",
                format!(
                    "case {} was queued at {queued_at}; it is queued again {seconds} s later at \
                     the earliest",
                    self.id
                ),
                at,
            ));
        }
        Ok(self.case.queued(at))
    }

    /// Why nothing else becomes of it now, and what could.
    pub(super) fn refused(&self, asking: &str, now: At) -> Refusal {
        let (id, stage) = (self.id, &self.case.stage);
        let allowed = stage.allowed(now);
        match stage {
            Stage::Open => self.refusal(
                "CASE_NOT_ACCEPTED",
                format!("nobody has case {id}; allowed now: {allowed}"),
                now,
            ),
            Stage::Accepted { by, at }
            | Stage::InProgress { by, at }
            | Stage::Waiting { by, at }
                if by != asking =>
            {
                self.refusal(
                    "CASE_TAKEN",
                    format!("{by} has case {id} since {at}; allowed to its holder: {allowed}"),
                    now,
                )
                .with("holder", by)
                .with("since", at)
            }
            Stage::Accepted { by, at }
            | Stage::InProgress { by, at }
            | Stage::Waiting { by, at } => self
                .refusal(
                    "CASE_NOT_THERE",
                    format!("case {id} is {} since {at}; allowed now: {allowed}", stage.name()),
                    now,
                )
                .with("holder", by)
                .with("since", at),
            Stage::Resolved { by, at } => self
                .refusal(
                    "CASE_RESOLVED",
                    format!("case {id} was resolved by {by} at {at}; allowed now: {allowed}"),
                    now,
                )
                .with("since", at),
            Stage::Closed { by, at, .. } => self
                .refusal(
                    "CASE_CLOSED",
                    format!("case {id} was closed by {by} at {at}; allowed now: {allowed}"),
                    now,
                )
                .with("since", at),
            Stage::Cancelled { by, at, .. } => self
                .refusal(
                    "CASE_CANCELLED",
                    format!("case {id} was cancelled by {by} at {at}; take another one"),
                    now,
                )
                .with("since", at),
        }
    }

    fn refusal(&self, reason: &str, message: String, now: At) -> Refusal {
        let stage = &self.case.stage;
        Refusal::new(RefusalCode::FailedPrecondition, reason, message)
            .with("state", stage.name())
            .with("allowed", stage.allowed(now))
    }
}

impl Case {
    /// Put on its queue once more.
    pub(super) fn queued(&self, at: At) -> Self {
        let queued_times = self.queued_times.saturating_add(1);
        Self { queued_at: at, queued_times, ..self.clone() }
    }
}
