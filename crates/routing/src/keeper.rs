//! The queue keeper: the one place where routing touches the outside. It keeps `QUEUES` to what is
//! on offer.
//!
//! | what it finds | what it does |
//! |---|---|
//! | a case was accepted, cancelled or transferred, or has another priority | takes the item off that it had, at once; a new one comes from the ledger by itself |
//! | an item whose case is not open, or not on that queue | takes it off |
//! | an item of a case that nobody knows | takes it off when it stays so: its record may not count |
//! | an open case without an item, queued more than 2 min ago | has it decided that it is queued again |
//! | a queue was paused, or an item lies on a paused one | takes it off; nothing is missed there |
//! | a queue was resumed | has it decided at once that its cases are queued again |
//!
//! It looks at everything when its instance begins to write, and every 60 s of the deployment's
//! clock. Whatever it misses when it dies, the next look finds; whether a case is queued again is
//! decided in the ledger, once in 2 min, whoever asks. The broker copies items some time after
//! they are decided, and was seen to do so 12 s late: an item can be missed, or come after its case
//! was accepted, so nothing is called missing before it was missed for 30 s of real time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use mainstem_bus::nats::{Bus, CaseNews, Handle, OnOffer, PublishError, case_of};
use mainstem_bus::topology;
use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::routing::{CaseView, Event, REQUEUE_AFTER, Stage};
use mainstem_domain::{CaseId, QueueId, Refusal, RefusalCode};
use mainstem_proto::field::parse_queue;
use mainstem_proto::{FieldError, routing, wire::routing as wire};
use mainstem_runtime::Clock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often it looks at everything, by the deployment's clock,
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// and in real time never more often than this, however fast that clock goes.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// How long, in real time, something must look wrong that the broker may still put right.
const DOUBT_FOR: Duration = Duration::from_secs(30);

/// Open cases on one page.
const PAGE: i32 = 500;

/// Works as long as this instance writes; a standby's waits.
pub(crate) struct Keeper {
    handle: Handle,
    clock: Clock,
    caller: Caller,
    bus: Bus,
    on_offer: OnOffer,
    missing: Doubts,
    strange: Doubts,
    calls: u64,
}

impl Keeper {
    pub(crate) async fn open(bus: Bus, handle: Handle, clock: Clock) -> anyhow::Result<Self> {
        let scope = Scope { all: true, ..Scope::default() };
        let name = "routing/queue-keeper".to_owned();
        Ok(Self {
            handle,
            clock,
            caller: Caller { name, role: Role::Service, scope },
            on_offer: OnOffer::open(&bus).await.context("the queue keeper")?,
            bus,
            missing: Doubts::default(),
            strange: Doubts::default(),
            calls: 0,
        })
    }

    /// Keeps until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            kept = self.keep_in_turn() => kept,
        }
    }

    async fn keep_in_turn(&mut self) -> anyhow::Result<()> {
        let handle = self.handle.clone();
        loop {
            handle.wait_until(|status| status.writer).await;
            tokio::select! {
                () = handle.wait_until(|status| !status.writer) => {}
                kept = self.keep() => kept?,
            }
        }
    }

    async fn keep(&mut self) -> anyhow::Result<()> {
        // What a keeper doubted before another one kept is long since clear.
        (self.missing, self.strange) = (Doubts::default(), Doubts::default());
        let mut news = CaseNews::listen(&self.bus).await.context("the queue keeper listens")?;
        let every = self.clock.real_duration(LOOK_EVERY).max(LOOK_AT_MOST_EVERY);
        let mut looks = tokio::time::interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                record = news.next() => {
                    let (kind, body) = record.context("the queue keeper has no connection")?;
                    self.told(&kind, &body).await;
                }
                _ = looks.tick() => {
                    if let Err(trouble) = self.look().await {
                        tracing::warn!(%trouble, "the queue keeper could not look; trying again");
                    }
                }
            }
        }
    }

    /// Takes off what a record says has left its queue.
    async fn told(&mut self, kind: &str, body: &[u8]) {
        if let Ok(Event::QueuePaused { queue, .. }) = routing::decode(kind, body) {
            let items = topology::items_on(&queue);
            if let Err(error) = self.on_offer.remove(&items).await {
                tracing::warn!(%error, %queue, "its items stay until the next look");
            }
            return;
        }
        if let Ok(Event::QueueResumed { queue, .. }) = routing::decode(kind, body) {
            if let Err(trouble) = self.offer_again(&queue).await {
                tracing::warn!(%trouble, %queue, "its cases are queued again by the next looks");
            }
            return;
        }
        let Ok(
            Event::Accepted { id, queue, priority, .. }
            | Event::Cancelled { id, queue, priority, .. }
            | Event::Transferred { id, queue, priority, .. }
            | Event::Prioritised { id, queue, priority, .. },
        ) = routing::decode(kind, body)
        else {
            return;
        };
        let subject = topology::item_subject(&queue, priority, id);
        if let Err(error) = self.on_offer.remove(&subject).await {
            tracing::warn!(%error, case = %id, "the item stays until the next look");
        }
    }

    /// Whatever is open on a queue is on offer there again, but for what was queued a short while ago:
    /// the next looks find that.
    async fn offer_again(&mut self, queue: &QueueId) -> Result<(), Trouble> {
        let items = self.on_offer.look().await?;
        let open = self.open_cases().await?;
        let missing =
            open.iter().filter(|(item, view)| view.case.queue == *queue && !items.contains(*item));
        let mut missing: Vec<_> = missing.map(|(_, view)| view).collect();
        missing.sort_by_key(|view| (view.case.priority, view.case.opened_at));
        for view in missing {
            self.queue_again(view.id).await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Trouble> {
        // First what lies there, then what should: a case that opens in between is not missed.
        let items = self.on_offer.look().await?;
        let mut open = self.open_cases().await?;
        let paused = self.paused_queues().await?;
        open.retain(|_, view| !paused.contains(&view.case.queue));
        let mut strange = BTreeSet::new();
        for item in items.iter().filter(|item| !open.contains_key(*item)) {
            if topology::queue_of(item).is_some_and(|queue| paused.contains(&queue)) {
                self.remove(item).await?;
                continue;
            }
            match self.stands(item).await? {
                Stands::Here => {}
                Stands::Elsewhere => self.remove(item).await?,
                Stands::Nowhere => {
                    strange.insert(item.clone());
                }
            }
        }
        let real = self.clock.monotonic();
        for item in self.strange.lasting(strange, real) {
            self.remove(&item).await?;
        }
        let now = self.clock.now();
        let missing = open
            .iter()
            .filter(|(item, view)| {
                !items.contains(*item) && now.since(view.case.queued_at) >= REQUEUE_AFTER
            })
            .map(|(item, _)| item.clone());
        for item in self.missing.lasting(missing.collect(), real) {
            if let Some(view) = open.get(&item) {
                self.queue_again(view.id).await?;
            }
        }
        Ok(())
    }

    /// Every open case, by the subject of its item.
    async fn open_cases(&mut self) -> Result<BTreeMap<String, CaseView>, Trouble> {
        let mut open = BTreeMap::new();
        let mut request = wire::ListCasesRequest {
            state: wire::CaseState::Open.into(),
            page_size: PAGE,
            ..wire::ListCasesRequest::default()
        };
        loop {
            let page: wire::ListCasesResponse = self.call("ListCases", &request).await?;
            for case in page.cases {
                let view = CaseView::try_from(case)?;
                open.insert(item(&view), view);
            }
            if page.next_page_token.is_empty() {
                return Ok(open);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Queues that give nothing out.
    async fn paused_queues(&mut self) -> Result<BTreeSet<QueueId>, Trouble> {
        let mut paused = BTreeSet::new();
        let mut request = wire::ListQueuesRequest { page_size: PAGE, ..Default::default() };
        loop {
            let page: wire::ListQueuesResponse = self.call("ListQueues", &request).await?;
            for queue in page.queues.into_iter().filter(|queue| queue.pause.is_some()) {
                paused.insert(parse_queue("queue", &queue.queue)?);
            }
            if page.next_page_token.is_empty() {
                return Ok(paused);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Where the case of an item is on offer now.
    async fn stands(&mut self, subject: &str) -> Result<Stands, Trouble> {
        let Some(id) = case_of(subject) else { return Ok(Stands::Nowhere) };
        let request = wire::GetCaseRequest { case: id.to_string() };
        let answer: Result<wire::GetCaseResponse, _> = self.call("GetCase", &request).await;
        let case = match answer {
            Ok(answer) => answer.case,
            Err(Trouble::Refused(refusal)) if refusal.code == RefusalCode::NotFound => {
                return Ok(Stands::Nowhere);
            }
            Err(trouble) => return Err(trouble),
        };
        let view = case.and_then(|case| CaseView::try_from(case).ok());
        let here =
            view.is_some_and(|view| view.case.stage == Stage::Open && item(&view) == subject);
        Ok(if here { Stands::Here } else { Stands::Elsewhere })
    }

    async fn remove(&self, item: &str) -> Result<(), Trouble> {
        if self.on_offer.remove(item).await? {
            tracing::info!(item, "took an item off QUEUES whose case is not on offer there");
        }
        Ok(())
    }

    async fn queue_again(&mut self, case: CaseId) -> Result<(), Trouble> {
        // Without a request_id: a refusal must not be remembered, and twice is refused anyhow.
        let request = wire::RequeueCaseRequest { case: case.to_string(), ..Default::default() };
        match self.call::<_, wire::RequeueCaseResponse>("RequeueCase", &request).await {
            Ok(_) => tracing::info!(%case, "queued again: it was not on offer, and should be"),
            // Somebody accepted it meanwhile, or another keeper was first.
            Err(Trouble::Refused(refusal)) if refusal.code == RefusalCode::FailedPrecondition => {}
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    async fn call<Ask: Serialize, Answer: DeserializeOwned>(
        &mut self,
        method: &str,
        request: &Ask,
    ) -> Result<Answer, Trouble> {
        self.calls += 1;
        let call_id = format!("queue-keeper/{}/{}", self.clock.now(), self.calls);
        let body = serde_json::to_vec(request)?;
        let answer = self.handle.call(method, self.caller.clone(), &body, None, call_id).await?;
        Ok(serde_json::from_str(&answer)?)
    }
}

fn item(view: &CaseView) -> String {
    topology::item_subject(&view.case.queue, view.case.priority, view.id)
}

/// Where the case of an item is on offer.
enum Stands {
    /// There.
    Here,
    /// On another queue, or not at all any more.
    Elsewhere,
    /// No such case.
    Nowhere,
}

/// Why a look ended early.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("QUEUES: {0}")]
    Broker(#[from] PublishError),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What looks wrong, and since when in real time.
#[derive(Default)]
struct Doubts(BTreeMap<String, Duration>);

impl Doubts {
    /// Of what is doubtful now, that which has been so at every look for [`DOUBT_FOR`].
    fn lasting(&mut self, doubtful: BTreeSet<String>, now: Duration) -> Vec<String> {
        self.0.retain(|item, _| doubtful.contains(item));
        for item in doubtful {
            self.0.entry(item).or_insert(now);
        }
        let lasting = self.0.iter().filter(|(_, since)| now.saturating_sub(**since) >= DOUBT_FOR);
        lasting.map(|(item, _)| item.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_acted_on() {
        let mut doubts = Doubts::default();
        let mut look = |items: &[&str], second| {
            let items = items.iter().map(ToString::to_string).collect();
            doubts.lasting(items, Duration::from_secs(second))
        };
        assert!(look(&["a", "b"], 100).is_empty());
        assert!(look(&["a"], 129).is_empty());
        // b was well in between, so it begins anew.
        assert_eq!(look(&["a", "b"], 130), ["a"]);
        assert_eq!(look(&["b"], 159), [""; 0]);
        assert_eq!(look(&["b"], 160), ["b"]);
    }
}
