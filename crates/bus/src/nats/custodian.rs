//! The custodian: does the jobs that move, hide and erase records, while its instance writes. See
//! [`crate::custody`] for what they are and what holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstem_domain::CustomerId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::custody::{Chore, Counts, HIDDEN_WITHIN, Message, Work, verdict};
use crate::engine::{Answer, Ask, Snapshot};
use crate::machine::{InputOf, Machine};
use crate::nats::downstream::{Downstream, Slowest};
use crate::nats::overwrite::{NotRemoved, Overwriter};
use crate::nats::store::{Snapshots, StoreError};
use crate::nats::{Bus, Media, PublishError, ReadError};
use crate::record::{Stored, header};
use crate::topology;

/// Every subject of a stream.
const ALL: &str = ">";

/// When the broker was in the way, a job is taken up again after this long.
const AGAIN: Duration = Duration::from_secs(1);

/// When somebody downstream has not read far enough, it is asked how far it is after this long,
/// then after twice as long, up to the longest.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
const LOOK_AGAIN_AT_MOST: Duration = Duration::from_secs(5);

/// A move or a hiding that waits for longer is told of, once.
const LONG: Duration = Duration::from_mins(1);

/// What the custodian wants of the writer.
pub(crate) enum Errand<M: Machine> {
    /// Which jobs are open.
    Work(oneshot::Sender<Vec<Work>>),
    /// Decide this; the answer comes when everything that it saw is stored.
    Ask { id: String, ask: Ask<InputOf<M>>, reply: oneshot::Sender<Answer> },
    /// A snapshot of everything that is stored.
    Snapshot(oneshot::Sender<Snapshot<M>>),
}

/// Works for one writer, and ends with it.
pub(crate) struct Custodian<M: Machine> {
    ledger: Overwriter,
    /// Upstreams that are no ledgers: what came in stands there as well.
    upstreams: BTreeMap<&'static str, Overwriter>,
    /// What the broker has copied out of the ledger, for somebody to take.
    waiting: Option<Overwriter>,
    /// What people sent that is no text, there or on its way there.
    media: Option<(Media, Overwriter)>,
    downstream: Downstream,
    snapshots: Snapshots,
    writer: mpsc::Sender<Errand<M>>,
    jobs: watch::Receiver<Vec<String>>,
}

/// Why a job is not through yet.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Broker(#[from] NotRemoved),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{service} has read {ledger} up to {read} only")]
    Unread { service: &'static str, ledger: &'static str, read: u64 },
    #[error("the writer refuses: {0}")]
    Refused(mainstem_domain::Refusal),
    #[error("the writer has ended")]
    WriterEnded,
}

/// What the custodian needs is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Own(#[from] NotRemoved),
    #[error(transparent)]
    Downstream(#[from] ReadError),
    #[error(transparent)]
    Media(#[from] PublishError),
}

/// How long it was waited for somebody downstream.
#[derive(Default)]
struct Patience {
    next: Duration,
    waited: Duration,
}

impl Patience {
    /// How long to wait now, and whether it has become worth telling.
    fn wait(&mut self) -> (Duration, bool) {
        let now = self.next.clamp(LOOK_AGAIN, LOOK_AGAIN_AT_MOST);
        self.next = now * 2;
        let before = self.waited;
        self.waited += now;
        (now, before < LONG && self.waited >= LONG)
    }
}

/// Pauses for this long, or for ever.
async fn pause(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
}

/// The records of some subjects, in the order of the ledger: so the writer knows what it was asked
/// before.
struct Heads<'a> {
    subjects: &'a [String],
    /// The next one of each.
    next: Vec<Option<Stored>>,
}

impl<'a> Heads<'a> {
    async fn open(
        ledger: &Overwriter,
        subjects: &'a [String],
        from: u64,
    ) -> Result<Self, NotRemoved> {
        let mut next = Vec::with_capacity(subjects.len());
        for subject in subjects {
            next.push(ledger.next(subject, from).await?);
        }
        Ok(Self { subjects, next })
    }

    async fn next(&mut self, ledger: &Overwriter) -> Result<Option<Stored>, NotRemoved> {
        let heads = self.next.iter().enumerate();
        let first = heads.filter_map(|(at, head)| Some((head.as_ref()?.sequence, at))).min();
        let Some((sequence, at)) = first else { return Ok(None) };
        let following = ledger.next(&self.subjects[at], sequence + 1).await?;
        Ok(std::mem::replace(&mut self.next[at], following))
    }
}

impl<M: Machine> Custodian<M> {
    pub(crate) async fn open(
        bus: &Bus,
        snapshots: &Snapshots,
        writer: mpsc::Sender<Errand<M>>,
        jobs: watch::Receiver<Vec<String>>,
    ) -> Result<Self, OpenError> {
        let mut upstreams = BTreeMap::new();
        for upstream in M::UPSTREAMS.iter().filter(|upstream| !upstream.ledger) {
            upstreams.insert(upstream.stream, Overwriter::open(bus, upstream.stream).await?);
        }
        let ledger = Overwriter::open(bus, M::LEDGER).await?;
        let mut waiting = None;
        if let Some(items) = topology::items_of(M::LEDGER) {
            waiting = Some(Overwriter::open(bus, items).await?);
        }
        let mut media = None;
        if upstreams.contains_key(topology::INBOUND) {
            let objects = Media::open(bus).await?;
            media = Some((objects, Overwriter::open(bus, topology::FETCH).await?));
        }
        let downstream = Downstream::open(bus, M::LEDGER).await?;
        let snapshots = snapshots.clone();
        Ok(Self { ledger, upstreams, waiting, media, downstream, snapshots, writer, jobs })
    }

    pub(crate) async fn run(mut self) {
        // What was done and is listed all the same is not done again.
        let mut done = BTreeSet::new();
        let mut patience = Patience::default();
        loop {
            self.jobs.mark_unchanged();
            let worked = match self.work().await {
                Ok(work) => self.do_all(work, &mut done).await,
                Err(stopped) => Err(stopped),
            };
            let again = match worked {
                Ok(()) => {
                    patience = Patience::default();
                    None
                }
                Err(Stopped::WriterEnded) => return,
                Err(stopped @ Stopped::Unread { .. }) => {
                    let (again, tell) = patience.wait();
                    if tell {
                        tracing::warn!(
                            service = M::SERVICE,
                            %stopped,
                            "records are not moved or hidden yet; does it run?"
                        );
                    }
                    Some(again)
                }
                Err(stopped) => {
                    tracing::warn!(service = M::SERVICE, %stopped, "the custodian tries again");
                    Some(AGAIN)
                }
            };
            tokio::select! {
                changed = self.jobs.changed() => match changed {
                    Ok(()) => patience.next = LOOK_AGAIN,
                    Err(_) => return,
                },
                () = pause(again) => {}
            }
        }
    }

    /// Does every job; one that is stopped keeps only those of its own customers waiting. Theirs
    /// are done in the order in which they were opened: what is to be moved away from somebody is
    /// not erased with them. Whose a message was when it was taken back, a move may change, so none is
    /// hidden before all that were opened earlier are through.
    async fn do_all(
        &self,
        mut work: Vec<Work>,
        done: &mut BTreeSet<(String, u64)>,
    ) -> Result<(), Stopped> {
        let name = |work: &Work| (work.chore.job().to_owned(), work.job.since);
        work.retain(|work| !done.contains(&name(work)));
        work.sort_by_key(|work| work.job.since);
        let waits = |work: &Work| work.chore.waits();
        // Nobody reads less later, so once is enough.
        let mut stopped = Ok(());
        let read = if work.iter().any(waits) { self.downstream.slowest().await } else { Ok(None) };
        let mut waiting: BTreeSet<CustomerId> = BTreeSet::new();
        let mut moving = false;
        for work in &work {
            let customers = work.chore.customers();
            let behind = moving && matches!(work.chore, Chore::Hide { .. });
            let moves = matches!(work.chore, Chore::Move { .. });
            if behind || customers.iter().any(|customer| waiting.contains(customer)) {
                waiting.extend(customers);
                moving |= moves;
                continue;
            }
            let worked = match &read {
                Err(error) if waits(work) => Err(Stopped::Read(error.clone())),
                Ok(Some(slowest)) if waits(work) && slowest.read < work.job.since => {
                    let Slowest { service, read } = *slowest;
                    Err(Stopped::Unread { service, ledger: M::LEDGER, read })
                }
                _ => self.do_one(work).await,
            };
            match worked {
                Ok(()) => {
                    done.insert(name(work));
                }
                Err(Stopped::WriterEnded) => return Err(Stopped::WriterEnded),
                Err(error) => {
                    waiting.extend(customers);
                    moving |= moves;
                    if stopped.is_ok() || !matches!(error, Stopped::Unread { .. }) {
                        stopped = Err(error);
                    }
                }
            }
        }
        stopped
    }

    async fn do_one(&self, Work { chore, job }: &Work) -> Result<(), Stopped> {
        let name = chore.job();
        let counts = match chore {
            Chore::Move { customers, .. } => self.relocate(name, customers, job.since).await?,
            Chore::Hide { customers, message, .. } => {
                self.hide(name, customers, message, job).await?
            }
            Chore::Erase { customers, .. } => self.erase(name, customers).await?,
        };
        tracing::info!(service = M::SERVICE, job = name, ?counts, "a job is through");
        if let Some(input) = M::chore_done(name, counts) {
            self.ask(format!("done/{name}"), Ask::Decider(input)).await?;
        }
        Ok(())
    }

    /// Moves what stands under customers who were split to whom it belongs.
    async fn relocate(
        &self,
        job: &str,
        customers: &[CustomerId],
        since: u64,
    ) -> Result<Counts, Stopped> {
        let subjects: Vec<_> = customers.iter().map(|one| topology::all_of(*one)).collect();
        let mut heads = Heads::open(&self.ledger, &subjects, 1).await?;
        while let Some(original) = heads.next(&self.ledger).await?
            && original.sequence < since
        {
            let sequence = original.sequence;
            let ask = Ask::Move { job: job.to_owned(), original: Box::new(original) };
            // The answer comes when the copy is stored.
            if self.ask(format!("move/{job}/{sequence}"), ask).await? == verdict::REMOVE {
                self.ledger.remove(sequence).await?;
            }
        }
        let moved = self.open_job(job).await?.map_or(0, |work| work.job.moved);
        Ok(Counts::from([(format!("{} moved", M::LEDGER), moved)]))
    }

    /// Hides a message that was taken back. What is deleted upstream is counted from the last time on
    /// that the job was taken up.
    async fn hide(
        &self,
        name: &str,
        customers: &[CustomerId],
        message: &Message,
        job: &crate::custody::Job,
    ) -> Result<Counts, Stopped> {
        let mut counts = Counts::new();
        let subjects: Vec<_> = if customers.is_empty() {
            vec![topology::channel_subject(None, &message.channel)]
        } else {
            customers.iter().map(|customer| topology::channels_of(*customer)).collect()
        };
        let Some(opened) = self.ledger.next(ALL, job.since).await? else { return Ok(counts) };
        let within = i64::try_from(HIDDEN_WITHIN.as_nanos()).unwrap_or(i64::MAX);
        let first = self.first_since(opened.stored_at.saturating_sub(within), job.since).await?;
        let mut heads = Heads::open(&self.ledger, &subjects, first).await?;
        while let Some(original) = heads.next(&self.ledger).await? {
            let sequence = original.sequence;
            let hidden = original.hidden_since(job.since);
            if !hidden || M::without(message, &original.record).is_none() {
                continue;
            }
            let cause = self.cause(&original);
            let ask = Ask::Hide { job: name.to_owned(), original: Box::new(original) };
            // The answer comes when the copy is stored.
            if self.ask(format!("hide/{name}/{sequence}"), ask).await? != verdict::REMOVE {
                continue;
            }
            if let Some((stream, pointer)) = cause {
                self.hide_upstream(stream, pointer, message, job, &mut counts).await?;
            }
            self.ledger.remove(sequence).await?;
        }
        // What was delivered more than once left one record. It came where it was taken back.
        if let Some((stream, pointer)) = self.cause(&opened) {
            self.hide_upstream(stream, pointer, message, job, &mut counts).await?;
        }
        let moved = self.open_job(name).await?.map_or(0, |work| work.job.moved);
        counts.insert(format!("{} {}", M::LEDGER, topology::place_of(&subjects[0])), moved);
        Ok(counts)
    }

    /// Deletes what holds a message on the upstream subject that a record points to; what it points
    /// to goes last: as long as it is there, the rest is found.
    async fn hide_upstream(
        &self,
        stream: &'static str,
        pointer: u64,
        message: &Message,
        job: &crate::custody::Job,
        counts: &mut Counts,
    ) -> Result<(), Stopped> {
        let Some(upstream) = self.upstreams.get(stream) else { return Ok(()) };
        let Some(subject) = upstream.subject_at(pointer).await? else { return Ok(()) };
        let (mut from, mut found) = (1, Vec::new());
        while let Some(stored) = upstream.next(&subject, from).await?
            && stored.sequence <= job.read.get(stream).sequence
        {
            from = stored.sequence + 1;
            if M::without(message, &stored.record).is_some() {
                found.push(stored.sequence);
            }
        }
        found.sort_by_key(|sequence| *sequence == pointer);
        for sequence in found {
            upstream.remove(sequence).await?;
            *counts.entry(stream.to_owned()).or_default() += 1;
        }
        Ok(())
    }

    /// A sequence before which the ledger holds nothing that was stored at this moment or later; no
    /// more than `up_to`.
    async fn first_since(&self, moment: i64, up_to: u64) -> Result<u64, Stopped> {
        let (mut before, mut after) = (1, up_to);
        while before < after {
            let middle = before + (after - before) / 2;
            match self.ledger.next(ALL, middle).await? {
                Some(message) if message.stored_at < moment => before = message.sequence + 1,
                _ => after = middle,
            }
        }
        Ok(before.min(up_to))
    }

    /// Erases what there is of a customer.
    async fn erase(&self, job: &str, customers: &[CustomerId]) -> Result<Counts, Stopped> {
        let Some(Work { job: open, .. }) = self.open_job(job).await? else {
            return Ok(Counts::new());
        };
        if open.planned.is_none() {
            let counts = self.count(customers, &open).await?;
            let plan = Ask::Plan { job: job.to_owned(), counts };
            self.ask(format!("plan/{job}"), plan).await?;
        }
        let Some(Work { job: open, .. }) = self.open_job(job).await? else {
            return Ok(Counts::new());
        };
        let Some(planned) = open.planned else { return Err(Stopped::WriterEnded) };
        self.replace_snapshots(planned.sequence).await?;
        self.erase_media(customers, planned.sequence).await?;
        for (stream, pointers) in self.pointers(customers, planned.sequence).await? {
            let Some(upstream) = self.upstreams.get(stream) else { continue };
            let read = open.read.get(stream).sequence;
            for (subject, pointer) in pointers {
                let mut from = 1;
                // What a record points to goes last: as long as it is there, the rest is found.
                while let Some(message) = upstream.next(&subject, from).await?
                    && message.sequence <= read
                {
                    from = message.sequence + 1;
                    if message.sequence != pointer {
                        upstream.remove(message.sequence).await?;
                    }
                }
                upstream.remove(pointer).await?;
            }
        }
        for message in self.receipts(customers, open.since).await? {
            self.ledger.remove(message).await?;
        }
        for customer in customers {
            let mut from = 1;
            while let Some(message) = self.ledger.next(&topology::all_of(*customer), from).await?
                && message.sequence < planned.sequence
            {
                from = message.sequence + 1;
                if message.sequence != open.since {
                    self.ledger.remove(message.sequence).await?;
                }
            }
        }
        // What is not in the ledger any more is not copied any more.
        if let Some(waiting) = &self.waiting {
            for customer in customers {
                waiting.remove_all(&topology::items_for(*customer), u64::MAX).await?;
            }
        }
        Ok(planned.counts)
    }

    /// Erases what the customers sent. What is on its way there is taken off its queue first: who has
    /// it in hand looks there afterwards.
    async fn erase_media(&self, customers: &[CustomerId], up_to: u64) -> Result<(), Stopped> {
        let Some((objects, fetches)) = &self.media else { return Ok(()) };
        for (stream, pointers) in self.pointers(customers, up_to).await? {
            if stream == topology::INBOUND {
                for subject in pointers.keys().filter_map(|subject| topology::fetched_for(subject))
                {
                    fetches.remove_all(&subject, u64::MAX).await?;
                }
            }
        }
        for media in self.media_of(customers, up_to).await? {
            objects.overwrite(&media).await?;
        }
        Ok(())
    }

    /// The names of what the customers sent, by their records up to a sequence.
    async fn media_of(
        &self,
        customers: &[CustomerId],
        up_to: u64,
    ) -> Result<BTreeSet<String>, Stopped> {
        let mut found = BTreeSet::new();
        for customer in customers {
            let mut from = 1;
            while let Some(message) = self.ledger.next(&topology::all_of(*customer), from).await?
                && message.sequence <= up_to
            {
                from = message.sequence + 1;
                found.extend(message.record.header(header::MEDIA).map(str::to_owned));
            }
        }
        Ok(found)
    }

    /// What there is to erase, by place.
    async fn count(
        &self,
        customers: &[CustomerId],
        open: &crate::custody::Job,
    ) -> Result<Counts, Stopped> {
        let mut counts = Counts::new();
        let mut count = |place: String, more: u64| {
            if more > 0 {
                *counts.entry(place).or_default() += more;
            }
        };
        count(topology::snapshots(M::SERVICE), self.snapshots.older_than(open.since).await?);
        for (stream, pointers) in self.pointers(customers, u64::MAX).await? {
            let Some(upstream) = self.upstreams.get(stream) else { continue };
            for subject in pointers.keys() {
                let mut from = 1;
                while let Some(message) = upstream.next(subject, from).await?
                    && message.sequence <= open.read.get(stream).sequence
                {
                    from = message.sequence + 1;
                    count(stream.to_owned(), 1);
                }
            }
        }
        let media = self.media_of(customers, u64::MAX).await?.len();
        count(topology::MEDIA.to_owned(), media as u64);
        if let Some(waiting) = &self.waiting {
            for customer in customers {
                let mut from = 1;
                while let Some(message) =
                    waiting.next(&topology::items_for(*customer), from).await?
                {
                    from = message.sequence + 1;
                    count(topology::OUTBOX.to_owned(), 1);
                }
            }
        }
        let receipts = self.receipts(customers, open.since).await?.len() as u64;
        let place = topology::ledger_subject(M::SERVICE, topology::RECEIPT);
        count(format!("{} {place}", M::LEDGER), receipts);
        for customer in customers {
            let mut from = 1;
            while let Some(message) = self.ledger.next(&topology::all_of(*customer), from).await? {
                from = message.sequence + 1;
                if message.sequence != open.since {
                    let place = topology::place_of(&message.record.subject);
                    count(format!("{} {place}", M::LEDGER), 1);
                }
            }
        }
        Ok(counts)
    }

    /// Leaves one snapshot: a verified one that holds the record at this sequence.
    async fn replace_snapshots(&self, sequence: u64) -> Result<(), Stopped> {
        let mut hold = self.snapshots.hold().await;
        loop {
            let (reply, snapshot) = oneshot::channel();
            self.send(Errand::Snapshot(reply)).await?;
            let snapshot = snapshot.await.map_err(|_| Stopped::WriterEnded)?;
            // One that was planned before may be older.
            if snapshot.sequence() >= sequence {
                return Ok(self.snapshots.replace_all(&mut hold, snapshot).await?);
            }
        }
    }

    /// The upstream subjects that the customers' records up to a sequence came from, each with one
    /// message that a record points to.
    async fn pointers(
        &self,
        customers: &[CustomerId],
        up_to: u64,
    ) -> Result<BTreeMap<&'static str, BTreeMap<String, u64>>, Stopped> {
        let mut found: BTreeMap<_, BTreeMap<String, u64>> = BTreeMap::new();
        for customer in customers {
            let mut from = 1;
            while let Some(message) = self.ledger.next(&topology::all_of(*customer), from).await?
                && message.sequence <= up_to
            {
                from = message.sequence + 1;
                let Some((stream, sequence)) = self.cause(&message) else { continue };
                if let Some(upstream) = self.upstreams.get(stream)
                    && let Some(subject) = upstream.subject_at(sequence).await?
                {
                    found.entry(stream).or_default().insert(subject, sequence);
                }
            }
        }
        Ok(found)
    }

    fn cause(&self, message: &Stored) -> Option<(&'static str, u64)> {
        let (stream, sequence) = message.record.header(header::CAUSE)?.split_once('=')?;
        let stream = self.upstreams.keys().find(|known| **known == stream)?;
        Some((stream, sequence.parse().ok()?))
    }

    /// The receipts before a sequence that name one of the customers.
    async fn receipts(&self, customers: &[CustomerId], before: u64) -> Result<Vec<u64>, Stopped> {
        let subject = topology::ledger_subject(M::SERVICE, topology::RECEIPT);
        let (mut from, mut found) = (1, Vec::new());
        while let Some(message) = self.ledger.next(&subject, from).await?
            && message.sequence < before
        {
            from = message.sequence + 1;
            let text = String::from_utf8_lossy(&message.record.body);
            if customers.iter().any(|customer| text.contains(customer.as_str())) {
                found.push(message.sequence);
            }
        }
        Ok(found)
    }

    async fn open_job(&self, job: &str) -> Result<Option<Work>, Stopped> {
        Ok(self.work().await?.into_iter().find(|work| work.chore.job() == job))
    }

    async fn work(&self) -> Result<Vec<Work>, Stopped> {
        let (reply, work) = oneshot::channel();
        self.send(Errand::Work(reply)).await?;
        work.await.map_err(|_| Stopped::WriterEnded)
    }

    async fn ask(&self, id: String, ask: Ask<InputOf<M>>) -> Result<String, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Errand::Ask { id: format!("custody/{id}"), ask, reply }).await?;
        answer.await.map_err(|_| Stopped::WriterEnded)?.map_err(Stopped::Refused)
    }

    async fn send(&self, errand: Errand<M>) -> Result<(), Stopped> {
        self.writer.send(errand).await.map_err(|_| Stopped::WriterEnded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_told_of_once_and_asks_seldom() {
        let mut patience = Patience::default();
        let waits: Vec<_> = (0..40).map(|_| patience.wait()).collect();
        assert_eq!(waits[0].0, LOOK_AGAIN);
        assert!(waits.iter().skip(5).all(|(wait, _)| *wait == LOOK_AGAIN_AT_MOST));
        let told: Vec<_> = waits.iter().filter(|(_, tell)| *tell).collect();
        assert_eq!(told.len(), 1);
        let before = waits.iter().take_while(|(_, tell)| !tell).map(|(wait, _)| *wait);
        assert!(before.sum::<Duration>() < LONG);
    }
}
