//! The writer's loop: whatever can go on without waiting goes on; then it waits for anything.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use mainstem_domain::Refusal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::{Ask, Command, Engine, LOOK_AHEAD, Offered, Read, Snapshot};
use crate::machine::{Call, InputOf, Machine, StateOf, looked};
use crate::nats::append::Appender;
use crate::nats::custodian::{Custodian, Errand};
use crate::nats::handle::Submission;
use crate::nats::host::{Counted, Host, Keeper, Replies, Trouble};
use crate::nats::{Bus, Log, ReadError, dead};
use crate::positions::Position;
use crate::record::Stored;

/// An append that is not acknowledged for this long is lost.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the status is told, and the silent position noted.
const TICK: Duration = Duration::from_millis(200);

/// Messages of one upstream that are read ahead.
const READ_AHEAD: usize = 512;

/// A dead letter that is not stored within this time is tried again after [`BURY_AGAIN`]; the rest
/// goes on meanwhile.
const BURY_WITHIN: Duration = Duration::from_millis(500);
const BURY_AGAIN: Duration = Duration::from_secs(2);

/// Rounds of the loop before it looks at what else has happened: a signal, the lease, the clock.
const ROUNDS: usize = 256;

struct Feed<M: Machine> {
    stream: &'static str,
    messages: mpsc::Receiver<Result<Stored, ReadError>>,
    /// The next messages; the first one may be held. An error waits behind those before it.
    near: VecDeque<Result<(Stored, Read<M>), ReadError>>,
    /// The first one is not offered again before this, by the monotonic clock.
    rests_until: Option<Duration>,
}

impl<M: Machine> Feed<M> {
    /// Takes what has come, if nothing is near any more.
    fn fill(&mut self, engine: &Engine<M>) {
        if !self.near.is_empty() {
            return;
        }
        while self.near.len() < LOOK_AHEAD
            && let Ok(message) = self.messages.try_recv()
        {
            self.near.push_back(message.map(|message| {
                let read = Engine::<M>::read(self.stream, &message);
                (message, read)
            }));
        }
        if self.near.len() > 1 {
            engine.approach(self.near.iter().flatten().map(|(_, read)| read));
        }
    }
}

/// Writes until the lease is lost or `stop`.
pub(crate) async fn write<M: Machine>(
    host: &mut Host<M>,
    engine: Engine<M>,
    keeper: &Keeper,
    stop: &CancellationToken,
) -> Result<(), Trouble> {
    let appender = Appender::new(&host.bus).await?;
    let mut readers = JoinSet::new();
    let mut feeds = Vec::new();
    // Before the epoch begins: an upstream that lost its tail must not be written after.
    for upstream in M::UPSTREAMS {
        let position = engine.positions().get(upstream.stream);
        feeds.push(feed(&host.bus, upstream.stream, position, &mut readers).await?);
    }
    let serving = CancellationToken::new();
    let _stop_serving = serving.clone().drop_guard();
    readers.spawn({
        let (bus, handle) = (host.bus.clone(), host.handle.clone());
        async move {
            if let Err(error) = crate::nats::endpoints::serve_forwarded(bus, handle, serving).await
            {
                tracing::warn!(%error, "standbys cannot reach this writer");
            }
        }
    });
    let (errand, errands) = mpsc::channel(1);
    let jobs = watch::Sender::default();
    let custodian = Custodian::<M>::open(&host.bus, &host.snapshots, errand, jobs.subscribe());
    readers.spawn(custodian.await.map_err(|error| Trouble::Again(error.to_string()))?.run());
    let mut writer = Writer {
        host,
        keeper,
        engine,
        appender,
        feeds,
        replies: Replies::default(),
        snapshots: JoinSet::new(),
        lists: JoinSet::new(),
        gauges: Vec::new(),
        errands,
        jobs,
        snapshot_for: None,
    };
    let ended = writer.run(stop).await;
    writer.replies.fail();
    ended
}

async fn feed<M: Machine>(
    bus: &Bus,
    stream: &'static str,
    position: Position,
    readers: &mut JoinSet<()>,
) -> Result<Feed<M>, Trouble> {
    let mut log = Log::open(bus, stream, position).await?;
    let (sender, messages) = mpsc::channel(READ_AHEAD);
    readers.spawn(async move {
        loop {
            let message = log.next().await;
            if matches!(message, Err(ReadError::Broker { .. })) {
                tokio::time::sleep(Duration::from_millis(250)).await;
                continue;
            }
            if sender.send(message).await.is_err() {
                break;
            }
        }
    });
    Ok(Feed { stream, messages, near: VecDeque::new(), rests_until: None })
}

struct Writer<'a, M: Machine> {
    host: &'a mut Host<M>,
    keeper: &'a Keeper,
    engine: Engine<M>,
    appender: Appender,
    feeds: Vec<Feed<M>>,
    replies: Replies,
    snapshots: JoinSet<()>,
    /// Reads that may take long, on a copy of the state.
    lists: JoinSet<(Submission, Asked<InputOf<M>>)>,
    /// As they were shown last.
    gauges: Vec<crate::machine::Gauge>,
    /// From the custodian.
    errands: mpsc::Receiver<Errand<M>>,
    /// The names of the open jobs, for the custodian.
    jobs: watch::Sender<Vec<String>>,
    /// The custodian waits for a snapshot.
    snapshot_for: Option<oneshot::Sender<Snapshot<M>>>,
}

/// What a call asks for, or why not.
type Asked<Input> = Result<Ask<Input>, Refusal>;

enum Woken<M: Machine> {
    Ack(crate::engine::Ack),
    Errand(Errand<M>),
    Submission(Submission),
    Listed(Submission, Asked<InputOf<M>>),
    Message(usize, Result<Stored, ReadError>),
    Tick,
    LeaseLost,
    Stop,
}

impl<M: Machine> Writer<'_, M> {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), Trouble> {
        self.engine.fence(self.host.instance.surroundings.now());
        // Nothing is decided and nobody is told that this is the writer before the epoch is stored.
        while !self.engine.settled() {
            self.send().await?;
            self.wait_for_ack().await?;
        }
        self.host.report(&self.engine, true);
        tracing::info!(service = M::SERVICE, epoch = self.engine.epoch().number, "writes");

        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut snapshot_tick = tokio::time::interval(self.host.instance.snapshot_every);
        snapshot_tick.reset();
        loop {
            self.go_on().await?;
            self.appender.flush().await?;
            let due = self.until_due();
            let woken: Woken<M> = tokio::select! {
                biased;
                () = stop.cancelled() => Woken::Stop,
                () = self.keeper.lost.cancelled() => Woken::LeaseLost,
                Some(errand) = self.errands.recv(), if self.engine.ready() => {
                    Woken::Errand(errand)
                }
                ack = self.appender.next(), if self.appender.in_flight() => Woken::Ack(ack?),
                Some(submission) = self.host.submissions.recv(), if self.engine.ready() => {
                    Woken::Submission(submission)
                }
                Some(Ok((submission, ask))) = self.lists.join_next(), if self.engine.ready() => {
                    Woken::Listed(submission, ask)
                }
                (feed, message) = next_message(&mut self.feeds), if self.engine.ready() => {
                    Woken::Message(feed, message)
                }
                () = sleep(due) => continue,
                _ = tick.tick() => Woken::Tick,
                _ = snapshot_tick.tick() => {
                    if self.engine.records_since_snapshot() > 0 {
                        self.snapshot();
                    }
                    Woken::Tick
                }
            };
            match woken {
                Woken::Ack(ack) => self.engine.acknowledge(&ack)?,
                Woken::Errand(errand) => self.run_errand(errand),
                Woken::Submission(submission) => self.take(submission),
                Woken::Listed(submission, ask) => self.command(submission, ask),
                Woken::Message(feed, message) => {
                    let message = message?;
                    let read = Engine::<M>::read(self.feeds[feed].stream, &message);
                    self.offer(feed, message, read).await?;
                }
                Woken::Tick => self.tick().await?,
                Woken::LeaseLost => {
                    return Err(Trouble::Again("the lease is lost".to_owned()));
                }
                Woken::Stop => return self.drain().await,
            }
        }
    }

    /// How long until the decider's earliest deadline; `None` when there is none.
    fn until_due(&self) -> Option<Duration> {
        let surroundings = &self.host.instance.surroundings;
        let deadline = self.engine.next_due().filter(|_| self.engine.ready())?;
        let left = surroundings.real(deadline.since(surroundings.now()));
        // At least a moment: a decider that does nothing about a deadline must not spin.
        Some(left.max(Duration::from_millis(1)))
    }

    /// What can be done without waiting for anything but the client's buffer, for some rounds.
    async fn go_on(&mut self) -> Result<(), Trouble> {
        for _ in 0..ROUNDS {
            self.send().await?;
            while self.appender.in_flight()
                && let Some(ack) = futures::FutureExt::now_or_never(self.appender.next())
            {
                self.engine.acknowledge(&ack?)?;
            }
            self.give_answers()?;
            self.give_snapshot();
            let instance = &self.host.instance;
            if self.engine.records_since_snapshot() >= instance.snapshot_every_records {
                self.snapshot();
            }
            self.send().await?;
            if !self.engine.ready() {
                return Ok(());
            }
            let start = self.host.instance.surroundings.span_start();
            if self.engine.due(self.host.instance.surroundings.now()) {
                self.export_span(start);
                continue;
            }
            // Commands and messages take turns: neither can starve the other.
            let commanded = match self.host.submissions.try_recv() {
                Ok(submission) => {
                    self.take(submission);
                    self.send().await?;
                    true
                }
                Err(_) => false,
            };
            let offered = self.engine.ready() && self.offer_any().await?;
            if !commanded && !offered {
                return Ok(());
            }
        }
        Ok(())
    }

    fn give_answers(&mut self) -> Result<(), Trouble> {
        while let Some((ticket, answer)) = self.engine.next_answer() {
            // Another may write already, and what is remembered here be old.
            if !self.keeper.holds() {
                return Err(Trouble::Again("the lease has run out".to_owned()));
            }
            self.replies.give(ticket, answer);
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Trouble> {
        while let Some(append) = self.engine.next_append() {
            self.appender.send(append).await?;
        }
        Ok(())
    }

    async fn wait_for_ack(&mut self) -> Result<(), Trouble> {
        self.appender.flush().await?;
        let ack = tokio::time::timeout(ACK_TIMEOUT, self.appender.next())
            .await
            .map_err(|_| Trouble::Again("the broker does not acknowledge".to_owned()))??;
        Ok(self.engine.acknowledge(&ack)?)
    }

    /// Offers one message of any upstream that has one; says whether there was any.
    async fn offer_any(&mut self) -> Result<bool, Trouble> {
        for index in 0..self.feeds.len() {
            let now = self.host.instance.surroundings.monotonic();
            let feed = &mut self.feeds[index];
            if feed.rests_until.is_some_and(|until| now < until) {
                continue;
            }
            feed.rests_until = None;
            feed.fill(&self.engine);
            let Some(next) = feed.near.pop_front() else { continue };
            let (message, read) = next?;
            if self.offer(index, message, read).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says whether the message was taken; it is held if not.
    async fn offer(
        &mut self,
        index: usize,
        message: Stored,
        read: Read<M>,
    ) -> Result<bool, Trouble> {
        let surroundings = &self.host.instance.surroundings;
        let stream = self.feeds[index].stream;
        let (start, now) = (surroundings.span_start(), surroundings.now());
        match self.engine.offer_read(stream, &message, &read, now) {
            Offered::Taken => self.export_span(start),
            Offered::Void => self.host.void(stream, message.sequence),
            Offered::Held { .. } => {
                self.feeds[index].near.push_front(Ok((message, read)));
                return Ok(false);
            }
            Offered::Unreadable(why) => {
                let origin = format!("{stream}/{}", message.sequence);
                let bury = dead::bury(&self.host.bus, M::SERVICE, &origin, &why.0);
                let buried = tokio::time::timeout(BURY_WITHIN, bury).await;
                if !matches!(buried, Ok(Ok(()))) {
                    tracing::error!(
                        service = M::SERVICE,
                        origin,
                        "a dead letter is not stored yet"
                    );
                    let surroundings = &self.host.instance.surroundings;
                    self.feeds[index].rests_until = Some(surroundings.monotonic() + BURY_AGAIN);
                    self.feeds[index].near.push_front(Ok((message, read)));
                    return Ok(false);
                }
                tracing::warn!(service = M::SERVICE, origin, %why, "a dead letter");
                self.host.status.send_modify(|status| status.dead_lettered += 1);
                self.host.instance.surroundings.count(M::SERVICE, Counted::DeadLetter);
                self.engine.skip(stream, &message, now);
            }
        }
        self.engine.note_position(now);
        Ok(true)
    }

    fn take(&mut self, mut submission: Submission) {
        // Nobody waits any more: whoever still wants it has sent it again.
        if submission.reply.is_closed() {
            return;
        }
        if let Some(applied) = submission.applied.take() {
            return self.command(submission, Ok(Ask::Configure(applied)));
        }
        // A list may look at everything there is; the writer goes on meanwhile.
        if submission.request.method.starts_with("List") {
            let (state, sequence) = (self.engine.state().clone(), self.engine.sequence());
            self.lists.spawn_blocking(move || {
                let ask = ask::<M>(&state, sequence, &submission);
                (submission, ask)
            });
            return;
        }
        let ask = ask::<M>(self.engine.state(), self.engine.sequence(), &submission);
        self.command(submission, ask);
    }

    fn command(&mut self, submission: Submission, ask: Asked<InputOf<M>>) {
        let id = submission.id().to_owned();
        let Submission { request, request_id, hash, reply, .. } = submission;
        // A standby names every call that it passes on. A refusal that the client asks nobody to
        // remember must not be written: it may be that of a read.
        let request_id = request_id.filter(|id| ask.is_ok() || *id != request.call_id);
        let surroundings = &self.host.instance.surroundings;
        let (start, now) = (surroundings.span_start(), surroundings.now());
        let command = Command {
            ticket: self.replies.expect(reply),
            request_id,
            id,
            hash,
            actor: request.caller.name,
            trace: request.trace,
            ask: ask.unwrap_or_else(Ask::Refused),
        };
        self.engine.command(command, now);
        self.export_span(start);
    }

    /// What the custodian wants. One at a time, so it never keeps anybody else waiting for long.
    fn run_errand(&mut self, errand: Errand<M>) {
        match errand {
            Errand::Work(reply) => {
                let _ = reply.send(self.engine.work());
            }
            Errand::Snapshot(reply) => self.snapshot_for = Some(reply),
            Errand::Ask { id, ask, reply } => {
                let surroundings = &self.host.instance.surroundings;
                let (start, now) = (surroundings.span_start(), surroundings.now());
                let command = Command {
                    ticket: self.replies.expect(reply),
                    request_id: None,
                    id,
                    hash: String::new(),
                    actor: format!("{}/custodian", M::SERVICE),
                    trace: None,
                    ask,
                };
                self.engine.command(command, now);
                self.export_span(start);
            }
        }
    }

    fn export_span(&mut self, start: Option<std::time::SystemTime>) {
        if let (Some(span), Some(start)) = (self.engine.take_span(), start) {
            self.host.instance.surroundings.span_end(start, M::SERVICE, span);
        }
    }

    async fn tick(&mut self) -> Result<(), Trouble> {
        self.host.report(&self.engine, true);
        self.show_gauges();
        self.tell_jobs();
        if self.engine.ready() {
            let now = self.host.instance.surroundings.now();
            self.engine.note_position(now);
        }
        while self.snapshots.try_join_next().is_some() {}
        // Everything in flight was sent before this tick, and the window is small: when the
        // oldest is not acknowledged within the time-out, it never will be.
        if self.appender.in_flight() {
            self.wait_for_ack().await?;
        }
        Ok(())
    }

    fn tell_jobs(&self) {
        let names: Vec<_> =
            self.engine.work().iter().map(|work| work.chore.job().to_owned()).collect();
        self.jobs.send_if_modified(|known| {
            let changed = *known != names;
            *known = names;
            changed
        });
    }

    /// Gives the custodian its snapshot, if it waits for one and there is one.
    fn give_snapshot(&mut self) {
        if let Some(reply) = self.snapshot_for.take() {
            match self.engine.snapshot() {
                Some(snapshot) => drop(reply.send(snapshot)),
                None => self.snapshot_for = Some(reply),
            }
        }
    }

    fn show_gauges(&mut self) {
        let gauges = M::gauges(self.engine.state());
        for (place, gauge) in gauges.iter().enumerate() {
            if let Some(alert) = gauge.alert
                && self.gauges.get(place).is_some_and(|before| before.value < gauge.value)
            {
                tracing::warn!(
                    service = M::SERVICE,
                    gauge = gauge.name,
                    value = gauge.value,
                    alert
                );
            }
            self.host.instance.surroundings.gauge(M::SERVICE, *gauge);
        }
        self.gauges = gauges;
    }

    fn snapshot(&mut self) {
        if !self.snapshots.is_empty() || self.snapshot_for.is_some() {
            return;
        }
        let Some(snapshot) = self.engine.snapshot() else { return };
        let store = self.host.snapshots.clone();
        self.snapshots.spawn(async move {
            let sequence = snapshot.sequence();
            let encoded = tokio::task::spawn_blocking(move || snapshot.encode()).await;
            let stored = match encoded {
                Ok(Ok(bytes)) => store.put(sequence, &bytes).await.map_err(|e| e.to_string()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match stored {
                Ok(()) => tracing::debug!(service = M::SERVICE, sequence, "took a snapshot"),
                Err(error) => tracing::warn!(service = M::SERVICE, error, "no snapshot was kept"),
            }
        });
    }

    /// Takes nothing more, waits until everything is stored, answers, lets a standby begin, and
    /// leaves a snapshot. Takes three quarters of `drain` at most; the rest is for what is around.
    async fn drain(&mut self) -> Result<(), Trouble> {
        // The custodian has to let go of the snapshots.
        self.errands.close();
        while self.errands.try_recv().is_ok() {}
        self.snapshot_for = None;
        let drained = tokio::time::timeout(self.host.instance.drain / 2, async {
            while !self.engine.settled() {
                self.send().await?;
                self.wait_for_ack().await?;
            }
            Ok::<(), Trouble>(())
        })
        .await;
        self.give_answers()?;
        self.keeper.give_back();
        if matches!(drained, Ok(Ok(()))) && self.engine.records_since_snapshot() > 0 {
            self.snapshot();
        }
        let written = async { while self.snapshots.join_next().await.is_some() {} };
        if tokio::time::timeout(self.host.instance.drain / 4, written).await.is_err() {
            tracing::warn!(service = M::SERVICE, "stopped before the snapshot was written");
        }
        // What was not stored was not answered either, and the next writer decides it again.
        if !matches!(drained, Ok(Ok(()))) {
            tracing::warn!(service = M::SERVICE, "stopped before everything was acknowledged");
        }
        Ok(())
    }
}

/// What a call asks for, by this state, which has taken in everything up to this sequence.
fn ask<M: Machine>(
    state: &StateOf<M>,
    sequence: u64,
    submission: &Submission,
) -> Result<Ask<InputOf<M>>, Refusal> {
    let request = &submission.request;
    let body = request.body.as_bytes();
    let call = M::call(state, &request.method, &request.caller, submission.id(), body)?;
    Ok(match call {
        Call::Read(answer) => Ask::Read(answer),
        Call::Look(body) => Ask::Read(looked(sequence, &body)),
        Call::Command(input) => Ask::Decider(input),
    })
}

/// The next message of any upstream of which none is near.
async fn next_message<M: Machine>(feeds: &mut [Feed<M>]) -> (usize, Result<Stored, ReadError>) {
    poll_fn(|context| {
        for (index, feed) in feeds.iter_mut().enumerate() {
            if feed.near.is_empty()
                && let Poll::Ready(Some(message)) = feed.messages.poll_recv(context)
            {
                return Poll::Ready((index, message));
            }
        }
        Poll::Pending
    })
    .await
}

async fn sleep(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
}
