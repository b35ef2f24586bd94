//! How a process lives and ends: its tasks, its signals, its last seconds.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::stream::{self, Stream, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of a process and when they end. Cheap to clone; made once, and passed down.
///
/// SIGINT, SIGTERM or [`Lifecycle::stop`] cancels [`Lifecycle::stopping`]: each task then takes no
/// new work, finishes what it has, and returns. What has not returned by the deadline, or at a
/// second signal, is dropped where it stands. A task that ends before that, in whatever way, ends
/// the process as a failure: a process with half of its tasks is worse than none.
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    tracker: TaskTracker,
    stopping: CancellationToken,
    ended: CancellationToken,
    drain: Duration,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    running: Vec<Arc<str>>,
    failure: Option<anyhow::Error>,
}

impl Lifecycle {
    /// How long tasks may take to finish.
    pub fn drain(&self) -> Duration {
        self.0.drain
    }

    /// `drain` is how long tasks may take to finish.
    pub fn new(drain: Duration) -> Self {
        Self(Arc::new(Inner {
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            ended: CancellationToken::new(),
            drain,
            progress: Mutex::default(),
        }))
    }

    /// Starts a task that lives until [`Lifecycle::stopping`].
    pub fn spawn<F>(&self, name: impl Into<Arc<str>>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let name = name.into();
        self.progress(|progress| progress.running.push(name.clone()));
        let lifecycle = self.clone();
        self.0.tracker.spawn(async move {
            let task = AssertUnwindSafe(task).catch_unwind();
            let outcome = tokio::select! {
                outcome = task => outcome,
                () = lifecycle.0.ended.cancelled() => return,
            };
            lifecycle.finish(&name, outcome);
        });
    }

    /// Cancelled when tasks are to take no new work and to finish what they have.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    /// Begins the end, as a first signal does.
    pub fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// The signals that end a process. Listen before anything starts: one that nobody listens for
    /// ends it at once, in the middle of whatever it does.
    pub fn signals() -> anyhow::Result<impl Stream<Item = ()>> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        Ok(stream::poll_fn(move |context| {
            if interrupt.poll_recv(context).is_ready() || terminate.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(Some(()));
            }
            std::task::Poll::Pending
        }))
    }

    /// Waits for the end, which the first signal begins and the second forces. An error is a
    /// failure exit; it names the task or what was still running.
    pub async fn run_until(self, signals: impl Stream<Item = ()>) -> anyhow::Result<()> {
        let signals = signals.chain(stream::pending());
        tokio::pin!(signals);
        tokio::select! {
            _ = signals.next() => tracing::info!("stopping at a signal"),
            () = self.0.stopping.cancelled() => tracing::info!("stopping"),
        }
        self.0.stopping.cancel();
        self.0.tracker.close();
        let unfinished = tokio::select! {
            () = self.0.tracker.wait() => None,
            _ = signals.next() => Some("a second signal"),
            () = tokio::time::sleep(self.0.drain) => Some("the deadline"),
        };
        self.0.ended.cancel();
        let progress = self.progress(std::mem::take);
        match (progress.failure, unfinished) {
            (Some(failure), _) => Err(failure),
            (None, None) => Ok(()),
            (None, Some(cause)) => {
                anyhow::bail!(
                    "ended at {cause} with tasks still running: {}",
                    progress.running.join(", ")
                )
            }
        }
    }

    fn finish(&self, name: &str, outcome: Result<anyhow::Result<()>, Box<dyn Any + Send>>) {
        let failure = match outcome {
            Ok(Ok(())) if self.0.stopping.is_cancelled() => None,
            Ok(Ok(())) => Some(anyhow::anyhow!("the task {name} ended by itself")),
            Ok(Err(error)) => Some(error.context(format!("the task {name} failed"))),
            Err(panic) => {
                Some(anyhow::anyhow!("the task {name} panicked: {}", text(panic.as_ref())))
            }
        };
        self.progress(|progress| {
            if let Some(place) = progress.running.iter().position(|running| **running == *name) {
                progress.running.swap_remove(place);
            }
            match failure {
                // The first one is the cause; later ones mostly follow from it.
                Some(failure) if progress.failure.is_some() => {
                    tracing::error!(error = format!("{failure:#}"), "another task failed");
                }
                Some(failure) => progress.failure = Some(failure),
                None => return,
            }
            self.0.stopping.cancel();
        });
    }

    fn progress<T>(&self, apply: impl FnOnce(&mut Progress) -> T) -> T {
        apply(&mut self.0.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.progress(|progress| progress.running.clone());
        f.debug_struct("Lifecycle").field("running", &running).finish_non_exhaustive()
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(5);

    fn signals() -> (mpsc::UnboundedSender<()>, impl Stream<Item = ()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, UnboundedReceiverStream::new(receiver))
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_lets_tasks_finish() {
        let lifecycle = Lifecycle::new(DRAIN);
        let stopping = lifecycle.stopping();
        let (finished, outcome) = oneshot::channel();
        lifecycle.spawn("worker", async move {
            stopping.cancelled().await;
            tokio::time::sleep(DRAIN / 2).await;
            finished.send(()).ok();
            Ok(())
        });
        let (signal, signals) = signals();
        signal.send(()).unwrap();
        lifecycle.run_until(signals).await.unwrap();
        outcome.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_names_what_is_still_running() {
        let lifecycle = Lifecycle::new(DRAIN);
        let (held, dropped) = oneshot::channel::<()>();
        lifecycle.spawn("deaf", async move {
            let _held = held;
            std::future::pending().await
        });
        lifecycle.stop();
        let error = lifecycle.run_until(stream::pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "ended at the deadline with tasks still running: deaf");
        assert!(dropped.await.is_err(), "the task was not dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once() {
        let lifecycle = Lifecycle::new(Duration::from_hours(1_000_000));
        lifecycle.spawn("deaf", std::future::pending());
        let (signal, signals) = signals();
        signal.send(()).unwrap();
        signal.send(()).unwrap();
        let error = lifecycle.run_until(signals).await.unwrap_err();
        assert_eq!(error.to_string(), "ended at a second signal with tasks still running: deaf");
    }

    #[tokio::test]
    async fn a_task_that_ends_stops_the_others_and_is_named() {
        type End = fn() -> anyhow::Result<()>;
        let cases: [(End, &str); 3] = [
            (|| Ok(()), "the task one ended by itself"),
            (|| Err(anyhow::anyhow!("no broker")), "the task one failed: no broker"),
            (|| panic!("number {}", 7), "the task one panicked: number 7"),
        ];
        for (end, expected) in cases {
            let lifecycle = Lifecycle::new(DRAIN);
            let stopping = lifecycle.stopping();
            lifecycle.spawn("other", async move {
                stopping.cancelled().await;
                Ok(())
            });
            lifecycle.spawn("one", async move { end() });
            let error = lifecycle.run_until(stream::pending()).await.unwrap_err();
            assert_eq!(format!("{error:#}"), expected);
        }
    }

    #[tokio::test]
    async fn a_failure_while_stopping_is_a_failure() {
        let lifecycle = Lifecycle::new(DRAIN);
        lifecycle.stop();
        lifecycle.spawn("flush", async { anyhow::bail!("disk full") });
        let error = lifecycle.run_until(stream::pending()).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the task flush failed: disk full");
    }
}
