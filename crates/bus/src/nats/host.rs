use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mainstem_domain::At;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::{Answer, Engine, FoldError, Folded, Lost, Settings, Span, Ticket};
use crate::machine::{Gauge, Machine};
use crate::nats::handle::{Handle, Status, Submission, unavailable};
use crate::nats::lease::{Lease, Renewal};
use crate::nats::store::{Configurations, Snapshots, StoreError};
use crate::nats::{Bus, Log, PublishError, ReadError, writer};
use crate::positions::Position;
use crate::record::Stored;
use crate::topology;

/// What a host needs of the process around it.
pub trait Surroundings: Send + Sync + 'static {
    /// The process's one clock.
    fn now(&self) -> At;
    /// The broker's clock showed this a moment ago, in milliseconds since 1970.
    fn observe(&self, broker: i64);
    /// How long to wait in real time for this much of the clock's.
    fn real(&self, span: Duration) -> Duration;
    /// Real time since whenever, which never goes back, and goes on while the process is stopped.
    fn monotonic(&self) -> Duration;
    /// Counts what operators are told of.
    fn count(&self, service: &'static str, what: Counted);
    /// Shows how much of something there is.
    fn gauge(&self, service: &'static str, gauge: Gauge) {
        let _ = (service, gauge);
    }
    /// The moment, if spans are exported.
    fn span_start(&self) -> Option<SystemTime>;
    /// Exports the span of one input.
    fn span_end(&self, start: SystemTime, service: &'static str, span: Span);
}

/// What operators are told of by a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// An upstream message could not be read.
    DeadLetter,
    /// A record of a ledger does not count.
    Voided,
}

/// How one instance of a service works.
#[derive(Clone)]
pub struct Instance {
    /// Tells instances apart; stands in the lease.
    pub name: String,
    /// The engine's.
    pub settings: Settings,
    /// How often the lease is renewed, and tried for.
    pub lease_renew: Duration,
    /// A snapshot is taken after this many records,
    pub snapshot_every_records: u64,
    /// or after this long if there are any.
    pub snapshot_every: Duration,
    /// How long a stopping writer waits until all it sent is stored.
    pub drain: Duration,
    /// The process around it.
    pub surroundings: Arc<dyn Surroundings>,
}

/// One instance of one service with a ledger: a standby until it has the lease, then the writer.
pub struct Host<M: Machine> {
    pub(crate) bus: Bus,
    pub(crate) instance: Instance,
    pub(crate) configurations: Configurations,
    pub(crate) snapshots: Snapshots,
    pub(crate) submissions: mpsc::Receiver<Submission>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) handle: Handle,
    forwards: TaskTracker,
    machine: std::marker::PhantomData<M>,
}

/// Why an instance begins anew, or ends.
pub(crate) enum Trouble {
    /// Nothing is lost by beginning anew.
    Again(String),
    /// A person has to decide.
    Fatal(HostError),
}

/// Why a service cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// An upstream is not what it was.
    #[error(transparent)]
    Upstream(ReadError),
    /// The own ledger cannot be folded.
    #[error(transparent)]
    Ledger(FoldError),
    /// What it needs at the start is not there.
    #[error("{0}")]
    Setup(String),
}

impl From<Lost> for Trouble {
    fn from(lost: Lost) -> Self {
        Self::Again(lost.to_string())
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Broker { .. } => Self::Again(error.to_string()),
            ReadError::LostTail { .. } => Self::Fatal(HostError::Upstream(error)),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Again(error.to_string())
    }
}

impl From<PublishError> for Trouble {
    fn from(error: PublishError) -> Self {
        Self::Again(error.to_string())
    }
}

impl<M: Machine> Host<M> {
    /// Opens what the instance needs.
    ///
    /// # Errors
    /// [`HostError::Setup`] says what is missing.
    pub async fn open(bus: Bus, instance: Instance) -> Result<(Self, Handle), HostError> {
        let setup = |error: StoreError| {
            HostError::Setup(format!("{error}; has mainstem provision been run?"))
        };
        let configurations = Configurations::open(&bus).await.map_err(setup)?;
        let snapshots = Snapshots::open(&bus, M::SERVICE).await.map_err(setup)?;
        let (sender, submissions) = mpsc::channel(1_024);
        let (status, watched) = watch::channel(Status::default());
        let handle = Handle::new(
            M::SERVICE,
            M::METHODS,
            bus.clone(),
            configurations.clone(),
            sender,
            watched,
        );
        let host = Self {
            bus,
            instance,
            configurations,
            snapshots,
            submissions,
            status,
            handle: handle.clone(),
            forwards: TaskTracker::new(),
            machine: std::marker::PhantomData,
        };
        Ok((host, handle))
    }

    /// Follows the ledger, writes it when it has the lease, until `stop`.
    ///
    /// # Errors
    /// When a person has to decide; everything else is tried again.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), HostError> {
        loop {
            match self.live(&stop).await {
                Ok(()) => break,
                Err(Trouble::Fatal(error)) => return Err(error),
                Err(Trouble::Again(why)) => {
                    tracing::warn!(service = M::SERVICE, why, "begins anew from the ledger");
                    self.status.send_modify(|status| status.writer = false);
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(Duration::from_millis(250)) => {}
                    }
                }
            }
        }
        self.forwards.close();
        self.forwards.wait().await;
        self.bus.flush().await;
        Ok(())
    }

    async fn live(&mut self, stop: &CancellationToken) -> Result<(), Trouble> {
        let (mut engine, mut log) = self.restore().await?;
        let Some((lease, since)) = self.follow(&mut engine, &mut log, stop).await? else {
            return Ok(());
        };
        let mut keeper = Keeper::start(lease, since, &self.instance);
        let written = self.write(engine, log, &keeper, stop).await;
        self.status.send_modify(|status| status.writer = false);
        keeper.stop().await;
        written
    }

    async fn write(
        &mut self,
        mut engine: Engine<M>,
        mut log: Log,
        keeper: &Keeper,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let last = self.catch_up(&mut engine, &mut log).await?;
        // Nothing may be written behind a ledger that is not the one that was folded.
        log.verify().await.map_err(|error| own(&error))?;
        engine.folded_to(last);
        drop(log);
        writer::write(self, engine, keeper, stop).await
    }

    /// The engine as the newest good snapshot and the log behind it give it.
    async fn restore(&self) -> Result<(Engine<M>, Log), Trouble> {
        let mut ledger = Log::tail(&self.bus, M::LEDGER, Position::default()).await?;
        let settings = self.instance.settings;
        let found = self.snapshots.newest::<M>(&mut ledger).await?;
        self.snapshots.forget(&found.strange).await?;
        let mut engine = match found.snapshot {
            Some(snapshot) => {
                let applied = self.configurations.get(snapshot.configuration()).await?;
                Engine::restore(settings, snapshot.configured(applied))
            }
            None => Engine::new(settings),
        };
        let from = Position { sequence: engine.sequence(), ..Position::default() };
        let mut log = Log::tail(&self.bus, M::LEDGER, from).await?;
        self.catch_up(&mut engine, &mut log).await?;
        tracing::info!(service = M::SERVICE, sequence = engine.sequence(), "has read its ledger");
        Ok((engine, log))
    }

    /// Folds what the ledger holds now, and says its last sequence.
    async fn catch_up(&self, engine: &mut Engine<M>, log: &mut Log) -> Result<u64, Trouble> {
        let (last, present) = log.end().await?;
        if last < engine.sequence() {
            return Err(Trouble::Again(format!("{} is shorter than it was", M::LEDGER)));
        }
        while engine.sequence() < present {
            let message = log.next().await.map_err(|error| own(&error))?;
            self.fold(engine, &message).await?;
        }
        self.report(engine, false);
        Ok(last)
    }

    async fn fold(&self, engine: &mut Engine<M>, message: &Stored) -> Result<(), Trouble> {
        loop {
            match engine.fold(message) {
                Ok(Folded::Taken) => return Ok(()),
                Ok(Folded::Void) => {
                    self.void(M::LEDGER, message.sequence);
                    return Ok(());
                }
                Err(FoldError::NeedsConfiguration(digest)) => {
                    engine.configure(self.configurations.get(&digest).await?);
                }
                Err(error @ FoldError::Damaged { .. }) => {
                    return Err(Trouble::Fatal(HostError::Ledger(error)));
                }
            }
        }
    }

    /// A record that does not count: an old writer's, or one that nobody may write.
    pub(crate) fn void(&self, stream: &str, sequence: u64) {
        tracing::error!(
            service = M::SERVICE,
            stream,
            sequence,
            "ALARM: a record does not count; an old writer or a stranger has written"
        );
        self.status.send_modify(|status| status.voided += 1);
        self.instance.surroundings.count(M::SERVICE, Counted::Voided);
    }

    pub(crate) fn report(&self, engine: &Engine<M>, writer: bool) {
        self.status.send_modify(|status| {
            status.writer = writer;
            status.epoch = engine.epoch().number;
            status.sequence = engine.sequence();
            if status.positions != *engine.positions() {
                status.positions = engine.positions().clone();
            }
            if status.configuration != engine.configuration().digest {
                status.configuration.clone_from(&engine.configuration().digest);
            }
        });
    }

    /// Stays warm until the lease is ours, and says since when at the earliest; `None` when it is
    /// time to stop.
    async fn follow(
        &mut self,
        engine: &mut Engine<M>,
        log: &mut Log,
        stop: &CancellationToken,
    ) -> Result<Option<(Lease, Duration)>, Trouble> {
        let mut lease = Lease::open(&self.bus, M::SERVICE, &self.instance.name)
            .await
            .map_err(Trouble::Again)?;
        let mut attempts = tokio::time::interval(self.instance.lease_renew / 2);
        attempts.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                _ = attempts.tick() => {
                    self.report(engine, false);
                    let surroundings = &self.instance.surroundings;
                    let since = surroundings.monotonic();
                    if lease.acquire().await.map_err(Trouble::Again)? {
                        // Nothing is decided by a clock that the broker's was not held against.
                        let Some(stored_at) = lease.stored_at().await else {
                            return Err(Trouble::Again("the broker does not tell its time".to_owned()));
                        };
                        surroundings.observe(stored_at);
                        return Ok(Some((lease, since)));
                    }
                }
                message = log.next() => {
                    let message = message.map_err(|error| own(&error))?;
                    self.fold(engine, &message).await?;
                }
                Some(submission) = self.submissions.recv() => self.pass_on(submission),
            }
        }
    }

    /// Sends a call to the writer, from an instance that is not it.
    fn pass_on(&self, submission: Submission) {
        let Submission { request, forwarded, reply, .. } = submission;
        if forwarded {
            // The one that asks tries again; a closed channel only means that it gave up.
            let _ = reply.send(Err(unavailable("this instance does not write")));
            return;
        }
        let handle = self.handle.clone();
        self.forwards.spawn(async move {
            let _ = reply.send(handle.forward(request).await);
        });
    }
}

/// The own ledger is another one than it was: it was restored from a backup under this instance,
/// which then begins anew from what is there.
fn own(error: &ReadError) -> Trouble {
    Trouble::Again(error.to_string())
}

/// Answers that callers wait for.
#[derive(Default)]
pub(crate) struct Replies {
    last: Ticket,
    waiting: HashMap<Ticket, oneshot::Sender<Answer>>,
}

impl Replies {
    pub(crate) fn expect(&mut self, reply: oneshot::Sender<Answer>) -> Ticket {
        self.last += 1;
        self.waiting.insert(self.last, reply);
        self.last
    }

    pub(crate) fn give(&mut self, ticket: Ticket, answer: Answer) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            let _ = reply.send(answer);
        }
    }

    /// Nobody knows whether these were stored; the same requests will find out.
    pub(crate) fn fail(&mut self) {
        for (_, reply) in self.waiting.drain() {
            let _ = reply.send(Err(unavailable(
                "the writer changed; send the request again with the same request_id",
            )));
        }
    }
}

/// Renews the lease in the background, and says when it is lost. Dropped, it renews no more and
/// gives nothing back, as if the process had died.
pub(crate) struct Keeper {
    pub(crate) lost: CancellationToken,
    stop: CancellationToken,
    task: JoinSet<()>,
    surroundings: Arc<dyn Surroundings>,
    /// When the lease was renewed at the earliest, in milliseconds of the monotonic clock.
    renewed: Arc<AtomicU64>,
}

impl Keeper {
    fn start(mut lease: Lease, since: Duration, instance: &Instance) -> Self {
        let (lost, stop, mut task) =
            (CancellationToken::new(), CancellationToken::new(), JoinSet::new());
        let (on_lost, on_stop) = (lost.clone(), stop.clone());
        let renewed = Arc::new(AtomicU64::new(millis(since)));
        let held_since = Arc::clone(&renewed);
        let (renew, surroundings) = (instance.lease_renew, Arc::clone(&instance.surroundings));
        task.spawn(async move {
            loop {
                tokio::select! {
                    () = on_stop.cancelled() => break lease.release().await,
                    () = tokio::time::sleep(renew) => {}
                }
                // Since the last renewal `renew` has gone by; what is left of the lease is ours.
                let left = topology::LEASE_TTL.saturating_sub(renew);
                let renewed = tokio::time::timeout(left, async {
                    loop {
                        let since = surroundings.monotonic();
                        match lease.renew().await {
                            Renewal::Held => {
                                held_since.store(millis(since), Ordering::Release);
                                break true;
                            }
                            Renewal::Lost => break false,
                            Renewal::Unknown => tokio::time::sleep(renew / 10).await,
                        }
                    }
                });
                if !matches!(renewed.await, Ok(true)) {
                    on_lost.cancel();
                    break;
                }
                if let Some(stored_at) = lease.stored_at().await {
                    surroundings.observe(stored_at);
                }
            }
        });
        let surroundings = Arc::clone(&instance.surroundings);
        Self { lost, stop, task, surroundings, renewed }
    }

    /// Whether nobody else can have begun to write. A process that was stopped for a while asks
    /// before it answers from memory: [`lost`](Self::lost) is told only when its timers run again.
    pub(crate) fn holds(&self) -> bool {
        let renewed = Duration::from_millis(self.renewed.load(Ordering::Acquire));
        self.surroundings.monotonic().saturating_sub(renewed) < topology::LEASE_TTL
    }

    /// Gives the lease back, in the background. Nothing may be written from here on.
    pub(crate) fn give_back(&self) {
        self.stop.cancel();
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        while self.task.join_next().await.is_some() {}
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
