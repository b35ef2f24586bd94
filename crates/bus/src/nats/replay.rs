use std::ops::ControlFlow;
use std::sync::Arc;

use mainstem_domain::{At, Decider};
use serde::Serialize;

use crate::engine::{Applied, kind};
use crate::machine::{Machine, Upstream};
use crate::nats::{Bus, Configurations, HostError, Log};
use crate::positions::{Epoch, Position, Positions};
use crate::record::{Stored, header};

/// What a replay found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replayed {
    /// Messages of upstreams that were decided again.
    pub inputs: u64,
    /// Inputs of which other records came.
    pub differences: Vec<Difference>,
}

/// One input that would be decided otherwise. Shows subjects and kinds, and no content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The input, as `<STREAM>=<sequence>`.
    pub input: String,
    /// What stands in the ledger.
    pub recorded: Vec<String>,
    /// What would stand there.
    pub replayed: Vec<String>,
}

/// One input, as the ledger tells it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The message that it was, and its stream; none: it was no message of an upstream.
    pub message: Option<(&'static str, &'a Stored)>,
    /// What it was: `<STREAM>=<sequence>`, `command`, `due` or another of [`header::CAUSE`].
    pub cause: &'a str,
    /// What was recorded of it, without the engine's own records.
    pub records: &'a [Stored],
    /// When it was decided. Of a message that led to nothing nobody wrote that down: then it is not
    /// before the message, nor after the next input that led to something.
    pub at: At,
    /// The configuration that was in force then, or that came into force by it.
    pub applied: &'a Arc<Applied>,
    /// Whether another configuration came into force by it.
    pub configured: bool,
}

/// Decides the past again, under another configuration or, without one, under those that were in
/// force; the latter finds nothing unless the rules in this program have changed.
///
/// Inputs come in the order in which they were decided, at the times that were recorded. Commands
/// are not in the log; what they led to is taken as it stands.
///
/// # Errors
/// When a stream cannot be read; see [`HostError`].
pub async fn replay<M: Machine>(
    bus: &Bus,
    configuration: Option<Arc<Applied>>,
) -> Result<Replayed, HostError> {
    let mut again = Again::<M> {
        state: <M::Decider as Decider>::State::default(),
        other: configuration,
        found: Replayed::default(),
    };
    walk::<M>(bus, |step| {
        again.take(&step);
        ControlFlow::Continue(())
    })
    .await?;
    Ok(again.found)
}

/// Goes through the past of a service, one input after the other, until `visit` has seen enough.
///
/// # Errors
/// When a stream cannot be read; see [`HostError`].
pub async fn walk<M: Machine>(
    bus: &Bus,
    mut visit: impl FnMut(Step<'_>) -> ControlFlow<()>,
) -> Result<(), HostError> {
    let configurations =
        Configurations::open(bus).await.map_err(|error| HostError::Setup(error.to_string()))?;
    let mut ledger = Feed::open(bus, M::LEDGER, true).await?;
    let mut upstreams = Vec::new();
    for Upstream { stream, ledger } in M::UPSTREAMS {
        upstreams.push(Feed::open(bus, stream, *ledger).await?);
    }
    let mut applied = Arc::new(Applied::default());
    let (mut group, mut at) = (Vec::new(), At::default());
    loop {
        let next = ledger.next_until(u64::MAX).await?;
        // What a crash cut off is completed behind the next writer's epoch.
        if next.as_ref().is_some_and(|next| next.record.kind() == kind::EPOCH) {
            continue;
        }
        let same = next.as_ref().is_some_and(|next| {
            group.first().is_none_or(|first: &Stored| {
                // Of two commands in a row only the moment or the trace may tell.
                [header::CAUSE, header::POSITIONS, header::RECORDED_TIME, header::TRACE]
                    .iter()
                    .all(|name| first.record.header(name) == next.record.header(name))
            })
        });
        if !same && !group.is_empty() {
            let records = std::mem::take(&mut group);
            let digest = digest(&records);
            let before = Arc::clone(&applied);
            if let Some(digest) = &digest {
                let told = configurations.get(digest).await;
                applied = told.map_err(|error| HostError::Setup(error.to_string()))?;
            }
            let turn = Turn { records, before, applied: &applied, configured: digest.is_some() };
            if turn.walk(&mut upstreams, &mut at, &mut visit).await?.is_break() {
                return Ok(());
            }
        }
        match next {
            Some(next) => group.push(next),
            None => return Ok(()),
        }
    }
}

/// The records of one input.
struct Turn<'a> {
    records: Vec<Stored>,
    before: Arc<Applied>,
    applied: &'a Arc<Applied>,
    configured: bool,
}

impl Turn<'_> {
    /// First what was read up to it and led to nothing.
    async fn walk(
        mut self,
        feeds: &mut [Feed],
        at: &mut At,
        visit: &mut impl FnMut(Step<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, HostError> {
        let Some(first) = self.records.first() else { return Ok(ControlFlow::Continue(())) };
        let header = |name: &str| first.record.header(name).unwrap_or_default();
        let decided_at = At::parse(header(header::RECORDED_TIME)).unwrap_or_default();
        let positions: Positions = header(header::POSITIONS).parse().unwrap_or_default();
        let cause = header(header::CAUSE).to_owned();
        let mut caused = None;
        for feed in feeds {
            let until = positions.get(feed.stream).sequence;
            while let Some(message) = feed.next_until(until).await? {
                let name = format!("{}={}", feed.stream, message.sequence);
                if name == cause {
                    caused = Some((feed.stream, message));
                    continue;
                }
                *at = message.decided_at().max(*at).min(decided_at.max(*at));
                let silent = Step {
                    message: Some((feed.stream, &message)),
                    cause: &name,
                    records: &[],
                    at: *at,
                    applied: &self.before,
                    configured: false,
                };
                if visit(silent).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        *at = decided_at.max(*at);
        self.records.retain(|message| !message.record.kind().starts_with(kind::OWN));
        let (stream, message) = match &caused {
            Some((stream, message)) => (*stream, Some(message)),
            None => ("", None),
        };
        Ok(visit(Step {
            message: message.map(|message| (stream, message)),
            cause: &cause,
            records: &self.records,
            at: *at,
            applied: self.applied,
            configured: self.configured,
        }))
    }
}

struct Again<M: Machine> {
    state: <M::Decider as Decider>::State,
    other: Option<Arc<Applied>>,
    found: Replayed,
}

impl<M: Machine> Again<M> {
    fn take(&mut self, step: &Step<'_>) {
        if let Some((stream, message)) = step.message {
            return self.input(stream, message, step);
        }
        for message in step.records {
            if let Ok(event) = M::decode(message) {
                M::Decider::evolve(&mut self.state, &event, step.at);
            }
        }
    }

    fn input(&mut self, stream: &str, message: &Stored, step: &Step<'_>) {
        if message.record.kind().starts_with(kind::OWN) {
            return;
        }
        let Ok(Some(input)) = M::input(stream, message) else { return };
        self.found.inputs += 1;
        let applied = self.other.as_ref().unwrap_or(step.applied);
        let configuration = &applied.configuration;
        let events = M::Decider::decide(&self.state, configuration, &input, step.at).events;
        let drafts: Vec<_> = events.iter().map(|event| M::encode(event, Some(message))).collect();
        let equal = drafts.len() == step.records.len()
            && drafts.iter().zip(step.records).all(|(draft, message)| {
                let record = &message.record;
                draft.subject == record.subject
                    && draft.kind == record.kind()
                    && draft.body == record.body
            });
        if !equal {
            let shown = |subject: &str, kind: &str| format!("{kind} on {subject}");
            self.found.differences.push(Difference {
                input: step.cause.to_owned(),
                recorded: step
                    .records
                    .iter()
                    .map(|message| shown(&message.record.subject, message.record.kind()))
                    .collect(),
                replayed: drafts.iter().map(|draft| shown(&draft.subject, &draft.kind)).collect(),
            });
        }
        for event in &events {
            M::Decider::evolve(&mut self.state, event, step.at);
        }
    }
}

fn digest(records: &[Stored]) -> Option<String> {
    let message = records.iter().rfind(|message| message.record.kind() == kind::CONFIGURATION)?;
    let body: serde_json::Value = serde_json::from_slice(&message.record.body).ok()?;
    Some(body["digest"].as_str()?.to_owned())
}

/// One stream from its start to what is its end now, without what does not count.
struct Feed {
    stream: &'static str,
    log: Log,
    ledger: bool,
    epoch: Epoch,
    read: u64,
    end: u64,
    ahead: Option<Stored>,
}

impl Feed {
    async fn open(bus: &Bus, stream: &'static str, ledger: bool) -> Result<Self, HostError> {
        let opened = Log::open(bus, stream, Position::default()).await;
        let mut log = opened.map_err(HostError::Upstream)?;
        let (_, end) = log.end().await.map_err(HostError::Upstream)?;
        Ok(Self { stream, log, ledger, epoch: Epoch::default(), read: 0, end, ahead: None })
    }

    async fn next_until(&mut self, until: u64) -> Result<Option<Stored>, HostError> {
        loop {
            if self.ahead.is_none() && self.read < self.end {
                let message = self.log.next().await.map_err(HostError::Upstream)?;
                self.read = message.sequence;
                self.ahead = Some(message);
            }
            let Some(message) = self.ahead.take_if(|message| message.sequence <= until) else {
                return Ok(None);
            };
            let record = &message.record;
            let carried = record.header(header::EPOCH).and_then(|text| text.parse().ok());
            let counts = !self.ledger || self.epoch.admit(carried, record.kind() == kind::EPOCH);
            // A moved copy was decided when its original was.
            if counts && !record.is_moved() {
                return Ok(Some(message));
            }
        }
    }
}
