//! What becomes of one item, from the note that it is about to be sent to the recorded outcome.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use mainstem_bus::TraceContext;
use mainstem_domain::notification::{
    Class, Delivery, ITEM_ERASED, Item, Outcome, Standing, Way as ItemWay,
};
use mainstem_domain::{ChannelId, ItemId, Refusal, RefusalCode, derive_uuid};
use mainstem_line::api::Answer;
use mainstem_line_client::{Account, Heard};
use mainstem_proto::wire::notification as wire;
use tokio::time::Sleep;

use crate::Sender;
use crate::call::Sending;
use crate::decide::{Next, Pause, Way, decide};

/// Half of what the broker waits before it hands an item out again; two calls fit in the rest.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);
/// LINE forgets a retry key after 24 h, and would then send a second time.
const GIVE_UP_AFTER: Duration = Duration::from_hours(23);
/// How often a refusal that looks final is met before the item is: notification may lag behind the
/// outbox for a while, after a restart for instance.
const FINAL_REFUSALS: u64 = 10;
/// An item that the broker hands out again meanwhile is known here to be in hand.
const RECORD_WITHIN: Duration = Duration::from_secs(25);
const FIRST_RECORD_PAUSE: Duration = Duration::from_millis(200);
const MOST_REASON_CHARACTERS: usize = 200;

/// One item in hand.
pub(crate) struct Work {
    pub(crate) channel: ChannelId,
    pub(crate) item: ItemId,
    pub(crate) trace: TraceContext,
    pub(crate) body: Bytes,
    pub(crate) attempt: u64,
    pub(crate) held: Held,
}

/// How long an item is in hand. One that is held for too long is not begun: the broker is about to
/// hand it to another sender, and of two that reply at once the one that LINE refuses would take
/// its token for dead, and push.
pub(crate) struct Held(Pin<Box<Sleep>>);

impl Held {
    /// From now on.
    pub(crate) fn new() -> Self {
        Self::until(BEGIN_WITHIN)
    }

    pub(crate) fn until(limit: Duration) -> Self {
        Self(Box::pin(tokio::time::sleep(limit)))
    }

    fn too_long(&mut self) -> bool {
        self.0.as_mut().now_or_never().is_some()
    }
}

/// What is done with the item on the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Taken off.
    Done,
    /// Given back for so long.
    RetryAfter(Duration),
    /// Dead-lettered and taken off; says why.
    Reject(String),
    /// Nothing: the broker hands it out again.
    Leave,
}

/// What an item says of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing: LINE was not asked.
    Untried,
    /// LINE answered.
    Well,
    /// LINE failed, or was not reached, or had too much to do.
    Ill,
    /// It can send nothing: LINE does not let it in.
    Stopped,
}

impl Sender {
    pub(crate) async fn handle(&self, work: &mut Work) -> (Fate, Health) {
        let item = match read(work) {
            Ok(item) => item,
            Err(reason) => {
                let fate = self.count(work, "rejected", Fate::Reject(reason));
                return (fate, Health::Untried);
            }
        };
        let trace = work.trace.child(work.item.as_str());
        if let Some(outcome) = self.memory.outcome(work.item) {
            return (self.record(work, outcome, &trace).await, Health::Untried);
        }
        if !self.may_go(work, &item).await {
            let fate = Fate::RetryAfter(Pause::Quota.length(work.item, work.attempt));
            return (self.count(work, "waits_for_quota", fate), Health::Untried);
        }
        let attempt = self.attempts.next();
        let item = match self.begin(work, &attempt, &trace).await {
            Ok(whole) => {
                Item { address: whole.address.clone(), messages: whole.messages.clone(), ..item }
            }
            Err(fate) => return (fate, Health::Untried),
        };
        match self.send(work, &item, &attempt, trace).await {
            Ok(outcome) => (self.record(work, outcome, &trace).await, Health::Well),
            Err(pause) => {
                self.memory.unused(work.item, attempt);
                let fate = Fate::RetryAfter(pause.length(work.item, work.attempt));
                let health = match pause {
                    Pause::Short => Health::Ill,
                    // Replies go on.
                    Pause::Quota => Health::Well,
                    Pause::Long => Health::Stopped,
                };
                (self.count(work, "given_back", fate), health)
            }
        }
    }

    /// Whether the month's quota has room for it, if it needs any. What is over is not kept waiting.
    async fn may_go(&self, work: &Work, item: &Item) -> bool {
        let now = (self.now)();
        let over = item.deadline.is_some_and(|deadline| deadline <= now)
            || now.since(item.asked_at) > GIVE_UP_AFTER;
        match (&item.way, self.line.account(&work.channel)) {
            (ItemWay::Push, Some(account)) if !over => self.may_push(account, item.class).await,
            _ => true,
        }
    }

    async fn may_push(&self, account: Account<'_>, class: Class) -> bool {
        match self.allowances.get(account.channel()) {
            Some(allowance) => allowance.takes(account, class, (self.now)(), &self.metrics).await,
            None => true,
        }
    }

    /// Says that it is about to be sent, and learns to whom and what; or what is done with it instead.
    async fn begin(
        &self,
        work: &mut Work,
        attempt: &str,
        trace: &TraceContext,
    ) -> Result<Arc<Item>, Fate> {
        let item = match self.notification.begin(work.item, attempt, trace).await {
            Ok(Standing::Ended(_)) => {
                self.memory.forget(work.item);
                return Err(self.count(work, "settled_before", Fate::Done));
            }
            Ok(Standing::Queued(item)) => item,
            Ok(Standing::Deferred(_)) => {
                let fate = Fate::RetryAfter(Pause::Short.length(work.item, work.attempt));
                return Err(self.count(work, "given_back", fate));
            }
            // It may stand there as begun all the same.
            Err(refusal) => {
                self.memory.unused(work.item, attempt.to_owned());
                return Err(self.refused(work, &refusal));
            }
        };
        if work.held.too_long() {
            self.memory.unused(work.item, attempt.to_owned());
            return Err(self.count(work, "held_too_long", Fate::Leave));
        }
        if item.address.channel != work.channel {
            let reason = "notification has it on another channel".to_owned();
            return Err(self.count(work, "rejected", Fate::Reject(reason)));
        }
        Ok(item)
    }

    /// How the item ended, or, when the reply token was not used, how long until it is tried again.
    async fn send(
        &self,
        work: &Work,
        item: &Item,
        attempt: &str,
        trace: TraceContext,
    ) -> Result<Outcome, Pause> {
        if (self.now)().since(item.asked_at) > GIVE_UP_AFTER {
            let reason = "not sent within 23 h".into();
            return Ok(match item.class {
                Class::Marketing => Outcome::Expired { reason },
                Class::Reply | Class::Service | Class::Transactional => Outcome::Failed { reason },
            });
        }
        let Some(account) = self.line.account(&work.channel) else {
            tracing::error!(channel = %work.channel, item = %work.item, "the channels file lacks this channel");
            return Err(Pause::Long);
        };
        let sending = Sending { account, trace, parent: work.trace, messages: &item.messages };
        let user = &item.address.user;
        let push = async || {
            let heard = sending.push(user, derive_uuid(work.item.as_str())).await;
            if heard == Heard::Answer(Answer::MonthlyLimit)
                && let Some(allowance) = self.allowances.get(&work.channel)
            {
                allowance.used_up((self.now)()).await;
            }
            self.next(work, Way::Push, true, heard)
        };
        let next = match &item.way {
            ItemWay::Push => push().await,
            ItemWay::Reply { token } => {
                let heard = sending.reply(token).await;
                let dead = heard == Heard::Answer(Answer::InvalidReplyToken);
                let first = !dead || self.nobody_replied(work, attempt, &trace).await?;
                match self.next(work, Way::Reply, first, heard) {
                    Next::PushInstead if !self.may_push(account, item.class).await => {
                        Next::GiveBack(Pause::Quota)
                    }
                    Next::PushInstead => push().await,
                    next @ (Next::Record(_) | Next::GiveBack(_)) => next,
                }
            }
        };
        match next {
            Next::Record(Outcome::Failed { reason }) => {
                Ok(Outcome::Failed { reason: without_person(&reason, user).into() })
            }
            Next::Record(outcome) => Ok(outcome),
            // A push never asks for a push.
            Next::PushInstead => Err(Pause::Short),
            Next::GiveBack(pause) => Err(pause),
        }
    }

    /// Whether no attempt can have used the token that LINE has just called dead. Asked only then:
    /// who began before may have used it, and who begins later cannot.
    async fn nobody_replied(
        &self,
        work: &Work,
        attempt: &str,
        trace: &TraceContext,
    ) -> Result<bool, Pause> {
        let standing =
            self.notification.begin(work.item, attempt, trace).await.map_err(|refusal| {
                tracing::warn!(item = %work.item, %refusal, "notification does not say who began");
                Pause::Short
            })?;
        let Standing::Queued(item) = standing else { return Ok(false) };
        let others = item.attempts.iter().filter(|begun| *begun != attempt);
        Ok(self.memory.all_unused(work.item, others))
    }

    fn next(&self, work: &Work, way: Way, first: bool, heard: Heard) -> Next {
        let label = match &heard {
            Heard::Answer(answer) => answer.name(),
            Heard::NotSent => "not_sent",
            Heard::Nothing => "no_answer",
        };
        self.metrics.call(work.channel.as_str(), way, label);
        let next = decide(way, first, heard);
        if next == Next::GiveBack(Pause::Long) {
            tracing::error!(channel = %work.channel, answer = label, "this account cannot send; it needs somebody");
        }
        next
    }

    /// Tells notification, and only then lets the item go.
    async fn record(&self, work: &Work, outcome: Outcome, trace: &TraceContext) -> Fate {
        let recorded = tokio::time::timeout(RECORD_WITHIN, async {
            let mut pause = FIRST_RECORD_PAUSE;
            loop {
                match self.notification.record(work.item, &outcome, trace).await {
                    Err(refusal) if passes(refusal.code) => {
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                    answer => return answer,
                }
            }
        });
        match recorded.await {
            Ok(Ok(())) => {
                self.memory.forget(work.item);
                let label = match outcome {
                    Outcome::Sent => "sent",
                    Outcome::Failed { .. } => "failed",
                    Outcome::Expired { .. } => "expired",
                    Outcome::Suppressed { .. } => "suppressed",
                };
                self.count(work, label, Fate::Done)
            }
            Ok(Err(refusal)) => {
                self.memory.ended(work.item, outcome);
                self.refused(work, &refusal)
            }
            Err(_) => {
                self.memory.ended(work.item, outcome);
                tracing::warn!(item = %work.item, "notification cannot be told of an outcome");
                let fate = Fate::RetryAfter(Pause::Short.length(work.item, work.attempt));
                self.count(work, "given_back", fate)
            }
        }
    }

    /// Notification does not take the question or the outcome.
    fn refused(&self, work: &Work, refusal: &Refusal) -> Fate {
        // Nobody is to be told, and nothing of the item may stay anywhere.
        if refusal.reason == ITEM_ERASED {
            self.memory.forget(work.item);
            return self.count(work, "erased", Fate::Done);
        }
        tracing::warn!(item = %work.item, reason = refusal.reason, %refusal, "notification refuses");
        let denied =
            matches!(refusal.code, RefusalCode::Unauthenticated | RefusalCode::PermissionDenied);
        if !denied && !passes(refusal.code) && work.attempt >= FINAL_REFUSALS {
            let reason = format!("notification refuses: {}", refusal.reason);
            self.memory.forget(work.item);
            return self.count(work, "rejected", Fate::Reject(reason));
        }
        // Our own token is wrong until somebody changes it.
        let pause = if denied { Pause::Long } else { Pause::Short };
        let fate = Fate::RetryAfter(pause.length(work.item, work.attempt));
        self.count(work, "given_back", fate)
    }

    fn count(&self, work: &Work, outcome: &'static str, fate: Fate) -> Fate {
        self.metrics.item(work.channel.as_str(), outcome);
        fate
    }
}

/// What is told of the item: how, but neither to whom nor what.
fn read(work: &Work) -> Result<Item, String> {
    let wire: wire::Delivery =
        serde_json::from_slice(&work.body).map_err(|_| "the body is no Delivery".to_owned())?;
    let Delivery { id, standing } =
        Delivery::try_from(wire).map_err(|error| format!("the body's {error}"))?;
    match standing {
        Standing::Queued(item) if id == work.item && item.address.channel == work.channel => {
            Ok(Arc::unwrap_or_clone(item))
        }
        Standing::Queued(_) => Err("the body is another item's or another channel's".to_owned()),
        Standing::Deferred(_) | Standing::Ended(_) => {
            Err("the body's state: must be WAITING".to_owned())
        }
    }
}

/// Whether the same request may be taken soon.
fn passes(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::Unavailable | RefusalCode::ResourceExhausted | RefusalCode::Internal
    )
}

/// LINE's words as they may be kept: short, printable, and without the person's id.
fn without_person(reason: &str, user: &str) -> String {
    let reason = if user.is_empty() { reason.to_owned() } else { reason.replace(user, "***") };
    reason
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MOST_REASON_CHARACTERS)
        .collect()
}
