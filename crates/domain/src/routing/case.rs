//! One case: what is known of it, and what may become of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::configuration::Priority;
use crate::person::Carrier;
use crate::{
    At, BrandId, CaseId, ChannelId, CustomerId, EventId, QueueId, Refusal, RefusalCode, StoreId,
};

/// An open case that was put on its queue this long ago, and is not there any more, is put there
/// again: somebody took it off and did not accept it.
pub const REQUEUE_AFTER: Duration = Duration::from_mins(2);

/// How long the reason of a cancellation may be, in characters.
pub const REASON_AT_MOST: usize = 500;

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Whose it is.
    pub customer: CustomerId,
    /// The channel it was opened on; news about it goes there.
    pub channel: ChannelId,
    /// The brand it is about.
    pub brand: Option<BrandId>,
    /// The store it was opened in.
    pub store: Option<StoreId>,
    /// The queue it is on.
    pub queue: QueueId,
    /// How urgent it is.
    pub priority: Priority,
    /// The rule that opened it.
    pub rule: String,
    /// The event that opened it.
    pub opened_by: EventId,
    /// What that hangs on; none, when nobody knows.
    pub carrier: Option<Carrier>,
    /// When.
    pub opened_at: At,
    /// When it was put on its queue last.
    pub queued_at: At,
    /// How often it was put there: above 1, it is there again.
    pub queued_times: u32,
    /// Where it stands.
    pub stage: Stage,
}

/// Where a case stands.
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
    /// Done.
    Resolved {
        /// By whom.
        by: String,
        /// When.
        at: At,
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

/// A case with its id, as commands are answered and reads are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseView {
    /// The id.
    pub id: CaseId,
    /// The rest.
    pub case: Case,
}

impl Stage {
    /// Nothing more becomes of it, and the same wish opens another case.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Resolved { .. } | Self::Cancelled { .. })
    }

    /// Its name in refusals.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted { .. } => "accepted",
            Self::InProgress { .. } => "in progress",
            Self::Resolved { .. } => "resolved",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// The methods that lead out of it.
    fn allowed(&self) -> &'static str {
        match self {
            Self::Open => "AcceptCase, CancelCase",
            Self::Accepted { .. } => "StartCase, ResolveCase, CancelCase",
            Self::InProgress { .. } => "ResolveCase, CancelCase",
            Self::Resolved { .. } | Self::Cancelled { .. } => "none",
        }
    }
}

/// What a transition leads to: another stage, or `None` when the case stands there already.
type Step = Result<Option<Stage>, Refusal>;

impl CaseView {
    pub(super) fn accept(&self, by: &str, at: At) -> Step {
        match &self.case.stage {
            Stage::Open => Ok(Some(Stage::Accepted { by: by.to_owned(), at })),
            // The item can come again after its case was accepted.
            Stage::Accepted { by: holder, .. } | Stage::InProgress { by: holder, .. }
                if holder == by =>
            {
                Ok(None)
            }
            Stage::Accepted { .. }
            | Stage::InProgress { .. }
            | Stage::Resolved { .. }
            | Stage::Cancelled { .. } => Err(self.refused()),
        }
    }

    pub(super) fn start(&self, by: &str, at: At) -> Step {
        match &self.case.stage {
            Stage::Accepted { by: holder, .. } if holder == by => {
                Ok(Some(Stage::InProgress { by: by.to_owned(), at }))
            }
            Stage::InProgress { by: holder, .. } if holder == by => Ok(None),
            Stage::Open
            | Stage::Accepted { .. }
            | Stage::InProgress { .. }
            | Stage::Resolved { .. }
            | Stage::Cancelled { .. } => Err(self.refused()),
        }
    }

    pub(super) fn resolve(&self, by: &str, at: At) -> Step {
        match &self.case.stage {
            Stage::Accepted { by: holder, .. } | Stage::InProgress { by: holder, .. }
                if holder == by =>
            {
                Ok(Some(Stage::Resolved { by: by.to_owned(), at }))
            }
            Stage::Resolved { .. } => Ok(None),
            Stage::Open
            | Stage::Accepted { .. }
            | Stage::InProgress { .. }
            | Stage::Cancelled { .. } => Err(self.refused()),
        }
    }

    /// `overrules`: whoever has the case.
    pub(super) fn cancel(&self, by: &str, overrules: bool, reason: &str, at: At) -> Step {
        let mine = |holder: &str| overrules || holder == by;
        match &self.case.stage {
            Stage::Cancelled { .. } => Ok(None),
            Stage::Accepted { by: holder, .. } | Stage::InProgress { by: holder, .. }
                if !mine(holder) =>
            {
                Err(self.refused())
            }
            Stage::Resolved { .. } => Err(self.refused()),
            Stage::Open | Stage::Accepted { .. } | Stage::InProgress { .. } => {
                let reason = reason.to_owned();
                Ok(Some(Stage::Cancelled { by: by.to_owned(), at, reason }))
            }
        }
    }

    /// The case as it is queued again.
    pub(super) fn queue_again(&self, at: At) -> Result<Case, Refusal> {
        if self.case.stage != Stage::Open {
            return Err(self.refused());
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
            ));
        }
        let queued_times = self.case.queued_times.saturating_add(1);
        Ok(Case { queued_at: at, queued_times, ..self.case.clone() })
    }

    /// Why nothing else becomes of it now, and what could.
    fn refused(&self) -> Refusal {
        let (id, allowed) = (self.id, self.case.stage.allowed());
        match &self.case.stage {
            Stage::Open => self.refusal(
                "CASE_NOT_ACCEPTED",
                format!("nobody has case {id}; allowed now: {allowed}"),
            ),
            Stage::Accepted { by, at } | Stage::InProgress { by, at } => self
                .refusal(
                    "CASE_TAKEN",
                    format!("{by} has case {id} since {at}; allowed to its holder: {allowed}"),
                )
                .with("holder", by)
                .with("since", at),
            Stage::Resolved { by, at } => self
                .refusal(
                    "CASE_RESOLVED",
                    format!("case {id} was resolved by {by} at {at}; take another one"),
                )
                .with("since", at),
            Stage::Cancelled { by, at, .. } => self
                .refusal(
                    "CASE_CANCELLED",
                    format!("case {id} was cancelled by {by} at {at}; take another one"),
                )
                .with("since", at),
        }
    }

    fn refusal(&self, reason: &str, message: String) -> Refusal {
        let stage = &self.case.stage;
        Refusal::new(RefusalCode::FailedPrecondition, reason, message)
            .with("state", stage.name())
            .with("allowed", stage.allowed())
    }
}
