//! The fetch worker: brings what people sent into `MEDIA` before LINE lets go of it, and deletes what
//! they take back.
//!
//! | LINE says | what is done |
//! |---|---|
//! | here it is | stored under the name that its event has |
//! | still preparing | asked again soon |
//! | gone | nothing: the person took it back, or it is too old |
//! | larger than the limit | a dead letter says so |
//! | nothing, or too many calls | asked again, for up to a week; then a dead letter says so |
//!
//! What was taken back, or whose person was forgotten, while it was fetched, is deleted again: whoever
//! deletes takes the item off the queue first, and whoever fetched looks whether it is still there
//! after storing. One who was killed before looking leaves a content behind, so what is taken back is
//! deleted once more when nobody can be fetching it any longer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use mainstem_bus::nats::{Fetch, FetchItem, FetchQueue, Media, PublishError};
use mainstem_domain::At;
use mainstem_line_client::{CallError, Content, Fetched, LineClient};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Contents that are fetched at once, each in memory.
pub(crate) const AT_ONCE: usize = 4;

/// A fetch that takes longer is begun anew; well below what the broker waits for it.
const WITHIN: Duration = Duration::from_mins(1);

/// No fetch that began before a message was taken back lasts longer.
const DELETED_AGAIN_AFTER: Duration = WITHIN.saturating_mul(2);

/// LINE does not say how long it holds a content.
const GIVE_UP_AFTER: Duration = Duration::from_hours(7 * 24);

const PREPARING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_AT_MOST: Duration = Duration::from_mins(10);

/// Fetches contents.
pub(crate) struct Worker {
    pub(crate) line: Arc<LineClient>,
    pub(crate) media: Media,
    pub(crate) now: Arc<dyn Fn() -> At + Send + Sync>,
    pub(crate) metrics: Metrics,
    /// A content that is larger is not fetched.
    pub(crate) bytes_at_most: usize,
}

/// What becomes of an item.
enum Fate {
    /// Taken off; what for.
    Done(&'static str),
    /// Given back for so long.
    RetryAfter(Duration),
    /// Dead-lettered and taken off.
    Reject(String),
}

/// What came of reading a content.
enum Gathered {
    Whole(Bytes),
    TooLarge,
}

impl Worker {
    /// Works until `stop`. What is in hand then is left to the broker, which hands it out again.
    pub(crate) async fn run(
        self,
        queue: FetchQueue,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let items = futures::stream::unfold(queue, async |mut queue| {
            let item = queue.next().await?;
            Some((item, queue))
        });
        let worker = Arc::new(self);
        let work = items.for_each_concurrent(AT_ONCE, |item| {
            let worker = worker.clone();
            async move { worker.work_off(item).await }
        });
        let closed = stop.run_until_cancelled(work).await.is_some();
        anyhow::ensure!(!closed, "FETCH closed by itself");
        Ok(())
    }

    async fn work_off(&self, item: FetchItem) {
        let channel = item.message.channel.clone();
        let fate = match tokio::time::timeout(WITHIN, self.handle(&item)).await {
            Ok(Ok(fate)) => fate,
            Ok(Err(error)) => {
                tracing::warn!(%channel, %error, "a content cannot be stored or deleted yet");
                Fate::RetryAfter(pause(item.attempt))
            }
            Err(_) => Fate::RetryAfter(pause(item.attempt)),
        };
        let (outcome, let_go) = match fate {
            Fate::Done(outcome) => (outcome, item.done().await),
            Fate::RetryAfter(delay) => ("given_back", item.retry_after(delay).await),
            Fate::Reject(reason) => {
                tracing::error!(%channel, reason, "a content is dead-lettered");
                ("dead_lettered", item.reject(&reason).await)
            }
        };
        if let Err(error) = let_go {
            tracing::warn!(%channel, %error, "an item of FETCH comes back");
        }
        self.metrics.media(channel.as_str(), outcome);
    }

    async fn handle(&self, item: &FetchItem) -> Result<Fate, PublishError> {
        match &item.message.fetch {
            Fetch::Unsend { media } => {
                item.cancel_content(media).await?;
                self.media.remove(media).await?;
                let rest = rest(item.message.received_at, (self.now)());
                Ok(rest.map_or(Fate::Done("unsent"), Fate::RetryAfter))
            }
            Fetch::Content { message, media } => self.fetch(item, message, media).await,
        }
    }

    async fn fetch(
        &self,
        item: &FetchItem,
        message: &str,
        media: &str,
    ) -> Result<Fate, PublishError> {
        let now = (self.now)();
        let known = self.media.has(media).await?;
        if known && item.is_wanted().await? {
            return Ok(Fate::Done("known"));
        }
        if now.since(item.message.received_at) > GIVE_UP_AFTER {
            return Ok(Fate::Reject("LINE did not give a content within a week".to_owned()));
        }
        let Some(account) = self.line.account(&item.message.channel) else {
            return Ok(Fate::RetryAfter(PAUSE_AT_MOST));
        };
        let mut content = match account.content(message).await {
            Ok(Fetched::Here(content)) => content,
            Ok(Fetched::NotYet) => return Ok(Fate::RetryAfter(PREPARING)),
            Ok(Fetched::Gone) => return Ok(Fate::Done("gone")),
            Err(error) if error.passes() => return Ok(Fate::RetryAfter(pause(item.attempt))),
            Err(error) => return Ok(Fate::Reject(format!("a content: {error}"))),
        };
        let bytes = match self.gather(&mut content).await {
            Ok(Gathered::Whole(bytes)) => bytes,
            Ok(Gathered::TooLarge) => {
                let most = self.bytes_at_most;
                return Ok(Fate::Reject(format!(
                    "a content larger than {most} bytes; raise ingress.media_bytes_at_most for the \
                     next one"
                )));
            }
            Err(_) => return Ok(Fate::RetryAfter(pause(item.attempt))),
        };
        self.media.put(media, content.media_type.as_deref(), &bytes, now).await?;
        if item.is_wanted().await? {
            return Ok(Fate::Done("stored"));
        }
        self.media.remove(media).await?;
        Ok(Fate::Done("unwanted"))
    }

    async fn gather(&self, content: &mut Content) -> Result<Gathered, CallError> {
        let most = self.bytes_at_most;
        let told = content.length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if told.is_some_and(|length| length > most) {
            return Ok(Gathered::TooLarge);
        }
        let mut bytes = BytesMut::with_capacity(told.unwrap_or(0));
        while let Some(chunk) = content.chunk().await? {
            if bytes.len() + chunk.len() > most {
                return Ok(Gathered::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Gathered::Whole(bytes.freeze()))
    }
}

/// How long a content that was taken back may still be stored by who is fetching it.
fn rest(taken_back_at: At, now: At) -> Option<Duration> {
    let rest = DELETED_AGAIN_AFTER.saturating_sub(now.since(taken_back_at));
    (!rest.is_zero()).then_some(rest)
}

/// 2 s, 4 s, 8 s and so on up to 10 min.
fn pause(attempt: u64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    PAUSE.saturating_mul(1 << doublings).min(PAUSE_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_deleted_again_when_nobody_can_be_fetching_it() {
        let taken_back_at = At::from_millis(1_000);
        let after = |seconds| taken_back_at.after(Duration::from_secs(seconds));
        assert_eq!(rest(taken_back_at, taken_back_at), Some(DELETED_AGAIN_AFTER));
        assert_eq!(rest(taken_back_at, after(119)), Some(Duration::from_secs(1)));
        assert_eq!(rest(taken_back_at, after(120)), None);
        // A clock that was put back asks for no longer.
        assert_eq!(rest(after(5), taken_back_at), Some(DELETED_AGAIN_AFTER));
    }

    #[test]
    fn pauses_grow_and_end() {
        let seconds: Vec<_> = [0, 1, 2, 5, 9, 10, 50].map(|n| pause(n).as_secs()).into();
        assert_eq!(seconds, [2, 2, 4, 32, 512, 600, 600]);
    }
}
