use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered, StreamExt as _};
use mainstem_bus::nats::{Outbox, OutboxItem};
use mainstem_domain::{ChannelId, ItemId};
use tokio_util::sync::CancellationToken;

use crate::Sender;
use crate::decide::Pause;
use crate::deliver::{Fate, Held, Work};
use crate::lanes::{Admission, Lanes};

/// Sends until `shutdown`; then takes no new item and returns when those in hand are let go. Who
/// drops it before that leaves them to the broker, which hands them out again.
pub async fn run(
    sender: Sender,
    outbox: Outbox,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let sender = &sender;
    // Holds a half-taken item while other branches of the loop run.
    let items = stream::unfold(outbox, async |mut outbox| {
        let item = outbox.next().await?;
        Some((item, outbox))
    });
    let mut items = std::pin::pin!(items);
    let mut in_work: FuturesUnordered<BoxFuture<'_, Finished>> = FuturesUnordered::new();
    let mut lanes = Lanes::new(sender.limits);
    let (mut stopping, mut closed) = (false, false);
    while !in_work.is_empty() || !(stopping || closed) {
        let room = !stopping && !closed && in_work.len() < sender.limits.in_work;
        tokio::select! {
            Some(finished) = in_work.next() => {
                if let Finished::Item(channel, item) = finished
                    && let Some(next) = lanes.finish(&channel, item)
                {
                    in_work.push(Box::pin(sender.work_off(next)));
                }
            }
            () = shutdown.cancelled(), if !stopping => stopping = true,
            item = items.next(), if room => match item {
                Some(item) => match lanes.admit(&item.channel.clone(), item.item, (item, Held::new())) {
                    Admission::Start(item) => in_work.push(Box::pin(sender.work_off(item))),
                    Admission::Waits => {}
                    Admission::Full((item, _)) => in_work.push(Box::pin(sender.give_back(item))),
                    // The one in hand takes it off, or gives it back.
                    Admission::Twice(item) => drop(item),
                },
                None => closed = true,
            },
        }
    }
    anyhow::ensure!(stopping, "the outbox closed by itself");
    Ok(())
}

/// What a future in work was.
enum Finished {
    /// An item of a lane.
    Item(ChannelId, ItemId),
    /// An item that never had a lane.
    GivenBack,
}

impl Sender {
    async fn work_off(&self, (item, held): (OutboxItem, Held)) -> Finished {
        let mut work = Work {
            channel: item.channel.clone(),
            item: item.item,
            trace: item.trace,
            body: item.body.clone(),
            attempt: item.attempt,
            held,
        };
        let let_go = match self.handle(&mut work).await {
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
        Finished::Item(work.channel, work.item)
    }

    /// The account has enough to do; nothing was tried.
    async fn give_back(&self, item: OutboxItem) -> Finished {
        let id = item.item;
        self.metrics.item(item.channel.as_str(), "given_back");
        let delay = Pause::Short.length(id, item.attempt.min(3)).max(Duration::from_millis(500));
        if let Err(error) = item.retry_after(delay).await {
            tracing::warn!(item = %id, %error, "the item comes back");
        }
        Finished::GivenBack
    }
}
