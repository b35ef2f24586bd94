//! One account: its items, its pace, and whether it can send at all.
//!
//! Each account has a lane of its own, which takes items from the broker only while it has room for
//! them. So a slow account, or one that can send nothing, delays no other, and what it cannot take
//! waits in the broker, where another sender may take it. All lanes together take no more than a stop
//! can wait for, but none is ever without an item for that. What people wait for goes before marketing,
//! which has a lane of its own beside it: no answer stands behind ten thousand items of a campaign.
//!
//! | what LINE does | the lane |
//! |---|---|
//! | answers | goes on |
//! | fails some times in a row | rests, then tries one item; each failure doubles the rest, to a minute |
//! | does not let the account in | rests for a minute, then tries one item |
//! | says that the month's quota is used up | goes on with replies; what would be pushed is given back (see [`crate::allowance`]) |

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered, Stream, StreamExt as _};
use mainstem_bus::nats::{Outbox, OutboxItem, OutboxLane, Urgency};
use mainstem_domain::{ChannelId, ItemId};
use tokio::time::{Interval, MissedTickBehavior, Sleep};
use tokio_util::sync::CancellationToken;

use crate::Sender;
use crate::deliver::{Fate, Health, Held, Work};

/// Items that are fetched before there is room for them; they count as in hand.
const AHEAD: usize = 4;

/// Of so many calls at once one is left to what people wait for.
const LEFT_BY_MARKETING: usize = 8;

/// What waits for one account.
pub(crate) struct Lanes {
    pub(crate) prompt: OutboxLane,
    marketing: OutboxLane,
}

impl Lanes {
    pub(crate) async fn open(channel: &ChannelId, outbox: &Outbox) -> anyhow::Result<Self> {
        let lane = |urgency| outbox.lane(channel, urgency, AHEAD);
        let (prompt, marketing) = (lane(Urgency::Prompt).await?, lane(Urgency::Marketing).await?);
        Ok(Self { prompt, marketing })
    }
}

/// The items of a lane. Holds a half-taken one while other branches of a loop run.
fn items(lane: OutboxLane) -> impl Stream<Item = OutboxItem> {
    stream::unfold(lane, async |mut lane| {
        let item = lane.next().await?;
        Some((item, lane))
    })
}

/// After so many failures in a row the account rests.
const FAILURES_AT_MOST: u32 = 8;

const REST: Duration = Duration::from_secs(1);
const REST_AT_MOST: Duration = Duration::from_mins(1);

/// How often the bucket of calls is filled.
const REFILL: Duration = Duration::from_millis(10);

/// Whether an account sends, and how fast.
struct Pace {
    /// Calls until the next refill.
    calls: u32,
    calls_for_a_refill: u32,
    refill: Interval,
    failures: u32,
    /// No new item until then.
    rest: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    fn new(calls_per_second: u32) -> Self {
        let mut refill = tokio::time::interval(REFILL);
        // What was not used while nothing was to be sent is not used later.
        refill.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let refills = u32::try_from(Duration::from_secs(1).as_millis() / REFILL.as_millis());
        let calls_for_a_refill = (calls_per_second / refills.unwrap_or(1)).max(1);
        Self { calls: 0, calls_for_a_refill, refill, failures: 0, rest: None }
    }

    /// How many items may be in work at once.
    fn at_once(&self, limit: usize) -> usize {
        if self.failures < FAILURES_AT_MOST { limit } else { 1 }
    }

    /// The account failed, or did not; whether it begins to rest for it.
    fn note(&mut self, health: Health) -> bool {
        match health {
            Health::Untried => false,
            Health::Well => {
                (self.failures, self.rest) = (0, None);
                false
            }
            Health::Ill => {
                self.failures = self.failures.saturating_add(1);
                let Some(over) = self.failures.checked_sub(FAILURES_AT_MOST) else { return false };
                let rest = REST.saturating_mul(2_u32.saturating_pow(over.min(6)));
                self.rest = Some(Box::pin(tokio::time::sleep(rest.min(REST_AT_MOST))));
                true
            }
            Health::Stopped => {
                self.failures = self.failures.max(FAILURES_AT_MOST);
                self.rest = Some(Box::pin(tokio::time::sleep(REST_AT_MOST)));
                true
            }
        }
    }
}

/// Sends the items of one account until `shutdown`; then takes no new item and returns when those in
/// hand are let go.
pub(crate) async fn run(
    sender: &Sender,
    Lanes { prompt, marketing }: Lanes,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let channel = prompt.channel.clone();
    let mut prompt = std::pin::pin!(items(prompt));
    let mut marketing = std::pin::pin!(items(marketing));
    let mut in_work: FuturesUnordered<BoxFuture<'_, (ItemId, Health)>> = FuturesUnordered::new();
    let mut in_hand = BTreeSet::new();
    let mut pace = Pace::new(sender.limits.calls_per_second);
    let (mut stopping, mut closed) = (false, false);
    while !in_work.is_empty() || !(stopping || closed) {
        let at_once = pace.at_once(sender.limits.in_work_by_channel);
        let takes = !stopping && !closed && pace.rest.is_none() && pace.calls > 0;
        let room = sender.has_room(in_work.len(), at_once);
        let room_for_marketing = room && in_work.len() < at_once - at_once / LEFT_BY_MARKETING;
        let next = tokio::select! {
            biased;
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                continue;
            }
            Some((item, health)) = in_work.next() => {
                in_hand.remove(&item);
                if pace.note(health) && pace.failures == FAILURES_AT_MOST {
                    tracing::warn!(%channel, "this account fails and rests");
                }
                continue;
            }
            () = async { if let Some(rest) = &mut pace.rest { rest.await } }, if pace.rest.is_some() => {
                pace.rest = None;
                continue;
            }
            _ = pace.refill.tick(), if pace.calls == 0 => {
                pace.calls = pace.calls_for_a_refill;
                continue;
            }
            item = prompt.next(), if takes && room => item,
            item = marketing.next(), if takes && room_for_marketing => item,
        };
        match next {
            // The one in hand takes it off, or gives it back.
            Some(item) if !in_hand.insert(item.item) => drop(item),
            Some(item) => {
                pace.calls -= 1;
                let counted = Arc::clone(&sender.in_work);
                in_work.push(Box::pin(sender.work_off(item, Held::new(), counted)));
            }
            None => closed = true,
        }
    }
    anyhow::ensure!(stopping, "the outbox closed by itself");
    Ok(())
}

impl Sender {
    /// Whether an account with so many items in work may take one more. Of all accounts together
    /// there may be a few more than the limit: each looks before it waits for an item.
    pub(crate) fn has_room(&self, in_work: usize, at_once: usize) -> bool {
        let of_all = Arc::strong_count(&self.in_work) - 1;
        in_work == 0 || (in_work < at_once && of_all < self.limits.in_work)
    }

    async fn work_off(&self, item: OutboxItem, held: Held, _in_work: Arc<()>) -> (ItemId, Health) {
        let mut work = Work {
            channel: item.channel.clone(),
            item: item.item,
            trace: item.trace,
            body: item.body.clone(),
            attempt: item.attempt,
            held,
        };
        let (fate, health) = self.handle(&mut work).await;
        let let_go = match fate {
            Fate::Done => item.done().await,
            Fate::RetryAfter(delay) => item.retry_after(delay).await,
            Fate::Reject(reason) => {
                tracing::error!(item = %work.item, reason, "an item is dead-lettered");
                item.reject(&reason).await
            }
            Fate::Leave => Ok(()),
        };
        if let Err(error) = let_go {
            tracing::warn!(item = %work.item, %error, "the item comes back");
        }
        (work.item, health)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "how long a rest is, is measured on a paused clock")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_account_that_fails_rests_and_is_tried_with_one_item() {
        let mut pace = Pace::new(1_800);
        for _ in 1..FAILURES_AT_MOST {
            assert!(!pace.note(Health::Ill));
        }
        assert_eq!((pace.at_once(64), pace.rest.is_none()), (64, true));
        let mut rests = Vec::new();
        for _ in 0..8 {
            assert!(pace.note(Health::Ill));
            assert_eq!(pace.at_once(64), 1);
            let begun = tokio::time::Instant::now();
            pace.rest.take().unwrap().await;
            rests.push(begun.elapsed().as_secs());
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        // What was in work before says little; the first that gets through says all.
        assert!(!pace.note(Health::Untried));
        assert_eq!(pace.at_once(64), 1);
        assert!(!pace.note(Health::Well));
        assert_eq!((pace.at_once(64), pace.failures), (64, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_than_so_many_in_a_second() {
        let mut pace = Pace::new(1_800);
        let begun = tokio::time::Instant::now();
        let mut calls = 0;
        while begun.elapsed() < Duration::from_secs(10) {
            pace.refill.tick().await;
            calls += pace.calls_for_a_refill;
        }
        assert!((17_900..=18_100).contains(&calls), "{calls}");
        // A pause is not made up for.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let begun = tokio::time::Instant::now();
        for _ in 0..10 {
            pace.refill.tick().await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(80), "{:?}", begun.elapsed());
    }
}
