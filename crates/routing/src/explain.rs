//! Why an inbound event went where it went, as the ledgers tell it.
//!
//! The event is a record of `CUSTOMER`. What was decided for it names that record (`ce-cause`) and
//! stands under one of the customer's ids in `ROUTING`; of a conversation what was decided later is
//! read on until it is over. Where nothing stands, nothing was decided, and the rules that were in
//! force then are those of the last configuration before the place where routing had read so far.
//!
//! A record that was moved after a split stands under its owner and names the original that it is a
//! copy of; while records are still being moved, the state says of each whether it stays.

use mainstem_bus::nats::{Past, Question, ReadError};
use mainstem_bus::record::header;
use mainstem_bus::{Machine as _, Stored, read_request, topology};
use mainstem_domain::person::{Carrier, ChannelEvent};
use mainstem_domain::routing::{About, ConversationEvent, Event, Opener};
use mainstem_domain::{
    BrandId, CaseId, ChannelId, ConversationId, CustomerId, EventId, Refusal, RefusalCode, StoreId,
};
use mainstem_proto::field::{parse_id, parse_optional, timestamp};
use mainstem_proto::wire::channel;
use mainstem_proto::wire::routing as wire;
use mainstem_proto::{FieldError, channel as channel_event, decision};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RoutingMachine;
use crate::outside::Beyond;
use crate::trail::{AskSight, AskTrail, SIGHT, Sight, TRAIL, Trail};

/// Records that are read at once.
const PAGE: usize = 500;

/// Steps of a conversation that one answer tells.
const STEPS_AT_MOST: usize = 100;

/// The inbound event.
struct Inbound {
    event: ChannelEvent,
    customer: CustomerId,
    /// Where its record stands now.
    sequence: u64,
    /// Where routing read it: of a copy, its original.
    read_at: u64,
    is_moved: bool,
    trail: Trail,
}

/// A record of routing, read.
struct Decided {
    message: Stored,
    event: Event,
}

/// Answers `ExplainDecision`.
pub(crate) async fn answer(question: &Question<'_>, beyond: &Beyond) -> Result<String, Refusal> {
    let request: wire::ExplainDecisionRequest = read_request(question.body.as_bytes())?;
    let customer: Option<CustomerId> = parse_optional("customer", &request.customer)?;
    let inbound = if let Some(sequence) = sequence_of(&request.event)? {
        at(question, beyond, sequence, customer).await?
    } else {
        let event: EventId = parse_id("event", &request.event)?;
        let customer = customer.ok_or_else(|| {
            let rule = "must be given with the id of an event; it stands in ce-customer";
            FieldError::new("customer", rule)
        })?;
        named(question, beyond, &event, customer).await?
    };
    let inbound = inbound.ok_or_else(|| Refusal::not_found("event", &request.event))?;
    let read = question.handle.status().positions.get(topology::CUSTOMER).sequence;
    let pending = read < inbound.read_at;
    // Answered when everything is stored that was decided by now.
    let Trail { ids, dividing, .. } = trail(question, inbound.customer, None).await?;
    let subjects: Vec<_> = ids
        .iter()
        .flat_map(|id| [topology::conversation_subject(*id), topology::case_subject(*id)])
        .collect();
    let from = beyond.decisions.first_with(topology::CUSTOMER, inbound.read_at).await;
    let from = from.map_err(|error| no_broker(&error))?;
    let told = told(&beyond.decisions, &subjects, from, &inbound).await?;
    let chain = match &told.conversation {
        Some((about, Part::WentOn | Part::Closed)) => {
            chain_before(&beyond.decisions, &subjects, about.id, told.since).await?
        }
        Some((_, Part::Began | Part::BeganAnew)) | None => None,
    };
    let sight = sight(question, &inbound, &told, dividing).await?;
    if !(sight.event || sight.case || sight.conversation) {
        return Err(Refusal::not_found("event", &request.event));
    }
    let configuration = match told.decided.first() {
        Some(first) => {
            first.message.record.header(header::CONFIGURATION).unwrap_or_default().to_owned()
        }
        None if pending => String::new(),
        None => {
            let in_force = beyond.decisions.in_force_before(from).await;
            in_force.map_err(|error| no_broker(&error))?.unwrap_or_default()
        }
    };
    let head = wire::ExplainDecisionResponse {
        event: inbound.event.id.to_string(),
        customer: ids.first().map(ToString::to_string).unwrap_or_default(),
        channel: inbound.event.channel.to_string(),
        store: inbound.event.store.as_ref().map(ToString::to_string).unwrap_or_default(),
        brand: inbound.event.brand.as_ref().map(ToString::to_string).unwrap_or_default(),
        sequence: inbound.sequence,
        receive_time: Some(timestamp(inbound.event.received_at)),
        pending,
        configuration,
        ..wire::ExplainDecisionResponse::default()
    };
    let explained = told.explained(head, chain, &sight);
    Ok(serde_json::to_string(&explained).unwrap_or_default())
}

/// `CUSTOMER=<sequence>`, as it stands in `ce-cause`; `None`: it is an event's id.
fn sequence_of(event: &str) -> Result<Option<u64>, FieldError> {
    let Some(sequence) = event.strip_prefix("CUSTOMER=") else { return Ok(None) };
    let wrong = |_| FieldError::new("event", "must name a record by a number behind CUSTOMER=");
    sequence.parse().map(Some).map_err(wrong)
}

/// The event whose record stands at a sequence of `CUSTOMER`.
async fn at(
    question: &Question<'_>,
    beyond: &Beyond,
    sequence: u64,
    customer: Option<CustomerId>,
) -> Result<Option<Inbound>, Refusal> {
    let all = [topology::ALL_CHANNELS.to_owned()];
    let slice =
        beyond.customers.slice(&all, sequence, 1).await.map_err(|error| no_broker(&error))?;
    let found = slice.records.into_iter().find(|message| message.sequence == sequence);
    let Some(message) = found else { return Ok(None) };
    let inbound = read(question, &message).await?;
    let asked_for =
        |inbound: &Inbound| customer.is_none_or(|customer| inbound.trail.ids.contains(&customer));
    Ok(inbound.filter(asked_for))
}

/// The event of a customer with this id; of two, the newer one: a source may use an id again.
async fn named(
    question: &Question<'_>,
    beyond: &Beyond,
    event: &EventId,
    customer: CustomerId,
) -> Result<Option<Inbound>, Refusal> {
    let Trail { ids, .. } = trail(question, customer, None).await?;
    let subjects: Vec<_> = ids.iter().map(|id| topology::channels_of(*id)).collect();
    let (mut from, mut newest) = (1, None);
    loop {
        let slice = beyond
            .customers
            .slice(&subjects, from, PAGE)
            .await
            .map_err(|error| no_broker(&error))?;
        let is_it = |message: &Stored| message.record.header(header::ID) == Some(event.as_str());
        newest = slice.records.into_iter().rfind(is_it).or(newest);
        if !slice.more {
            break;
        }
        from = slice.next;
    }
    match newest {
        Some(message) => read(question, &message).await,
        None => Ok(None),
    }
}

/// Reads an event's record; `None` when it is being moved to somebody else.
async fn read(question: &Question<'_>, message: &Stored) -> Result<Option<Inbound>, Refusal> {
    let record = &message.record;
    let Some(customer) = topology::customer_of(&record.subject) else { return Ok(None) };
    let Ok(event) = serde_json::from_slice::<channel::ChannelEvent>(&record.body) else {
        return Ok(None);
    };
    let Ok(read) = channel_event::decode(event) else { return Ok(None) };
    let event = read.event;
    let carrier = Carrier::of_event(&event);
    let trail = trail(question, customer, Some((record.subject.clone(), carrier))).await?;
    let read_at = message.original();
    Ok(trail.own.then(|| Inbound {
        event,
        customer,
        sequence: message.sequence,
        read_at,
        is_moved: record.is_moved(),
        trail,
    }))
}

/// What an event was to a conversation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Began,
    BeganAnew,
    WentOn,
    Closed,
}

/// What stands in the ledger of it.
#[derive(Default)]
struct Told {
    /// What was decided for the event.
    decided: Vec<Decided>,
    /// The first of these; 0 when there is none.
    since: u64,
    conversation: Option<(About, Part)>,
    /// What was decided about the conversation from then on.
    steps: Vec<Decided>,
    more_steps: bool,
}

impl Inbound {
    /// Whether a record was decided for this event. A copy of a copy does not tell its original any
    /// more; what was decided for it may name it.
    fn caused(&self, decided: &Decided) -> bool {
        let cause = decided.message.record.header(header::CAUSE).unwrap_or_default();
        let by_place = cause.strip_prefix("CUSTOMER=").and_then(|at| at.parse().ok());
        by_place == Some(self.read_at) || (self.is_moved && self.is_named_by(&decided.event))
    }

    fn is_named_by(&self, event: &Event) -> bool {
        let is_it = |event: &EventId, channel: &ChannelId| {
            self.event.id == *event && self.event.channel == *channel
        };
        if let Event::Opened { case, .. } = event {
            return matches!(&case.opener, Opener::Event { event, .. } if is_it(event, &case.channel));
        }
        if let Event::RulesTried(tried) = event {
            return is_it(&tried.event, &tried.channel);
        }
        if let Event::Conversation(ConversationEvent::Opened { conversation, .. }) = event {
            return is_it(&conversation.event, &conversation.channel);
        }
        matches!(
            event,
            Event::Conversation(ConversationEvent::Active { event, .. }) if self.event.id == *event
        )
    }
}

/// Reads what was decided for the event, and what became of its conversation.
async fn told(
    ledger: &Past,
    subjects: &[String],
    from: u64,
    inbound: &Inbound,
) -> Result<Told, Refusal> {
    let (mut from, mut told) = (from, Told::default());
    loop {
        let slice = ledger.slice(subjects, from, PAGE).await.map_err(|error| no_broker(&error))?;
        for message in slice.records {
            let Some(decided) = decode(message)? else { continue };
            told.take(decided, inbound);
        }
        if !slice.more || told.is_whole() {
            return Ok(told);
        }
        from = slice.next;
    }
}

impl Told {
    fn take(&mut self, decided: Decided, inbound: &Inbound) {
        let caused = inbound.caused(&decided);
        // Of a mark and a message, or a mark and an end, the latter says what the event was.
        if caused && self.conversation.as_ref().is_none_or(|(_, part)| *part == Part::WentOn) {
            self.conversation = part(&decided.event).or(self.conversation.take());
        }
        if caused && self.since == 0 {
            self.since = decided.message.sequence;
        }
        let goes_on = !self.is_over() && self.is_step(&decided.event, caused);
        if goes_on && self.steps.len() == STEPS_AT_MOST {
            self.more_steps = true;
        } else if goes_on {
            let Decided { message, event } = &decided;
            self.steps.push(Decided { message: message.clone(), event: event.clone() });
        }
        if caused {
            self.decided.push(decided);
        }
    }

    /// Whether a record is a step of the conversation: one that it begins anew with later is not.
    fn is_step(&self, event: &Event, caused: bool) -> bool {
        let Some((about, _)) = &self.conversation else { return false };
        let Event::Conversation(event) = event else { return false };
        let begins = matches!(event, ConversationEvent::Opened { .. });
        id_of(event) == Some(about.id) && decision::step(event).is_some() && (caused || !begins)
    }

    /// The conversation was closed, or begins anew by something else.
    fn is_over(&self) -> bool {
        self.steps.last().is_some_and(|last| {
            matches!(last.event, Event::Conversation(ConversationEvent::Closed { .. }))
        })
    }

    /// Nothing that comes later is told.
    fn is_whole(&self) -> bool {
        self.more_steps || self.is_over()
    }

    fn explained(
        &self,
        head: wire::ExplainDecisionResponse,
        chain: Option<Opening>,
        sight: &Sight,
    ) -> wire::ExplainDecisionResponse {
        let own = |index: usize| sight.own.get(index).copied().unwrap_or(true);
        let decided = self.decided.iter().enumerate();
        let decided: Vec<_> =
            decided.filter(|(index, _)| own(*index)).map(|(_, decided)| decided).collect();
        let rule = decided.iter().find_map(|decided| rule_of(&decided.event));
        let mut explained = wire::ExplainDecisionResponse {
            decide_time: decided.first().map(|first| timestamp(first.message.decided_at())),
            rule: rule.unwrap_or_default(),
            ..head
        };
        for decided in decided {
            let (sequence, event) = (decided.message.sequence, &decided.event);
            let seen = if matches!(event, Event::Conversation(_)) {
                sight.conversation
            } else if matches!(event, Event::Opened { .. } | Event::Queued { .. }) {
                sight.case
            } else {
                sight.event || sight.case
            };
            if !seen {
                continue;
            }
            let kind = decided.message.record.kind().to_owned();
            explained.records.push(wire::DecidedRecord { sequence, r#type: kind });
            if let Event::RulesTried(tried) = event {
                explained.failed_rules = decision::failures(tried);
            }
            if let Event::Opened { id, .. } = event {
                (explained.case, explained.case_opened) = (id.to_string(), true);
            }
            if let Event::MessageRequested(request) = event {
                if let Some(case) = request.case.filter(|_| sight.case) {
                    explained.case = case.to_string();
                }
                explained.messages.push(wire::MessageExplained {
                    templates: request.templates.clone(),
                    brand: request.brand.as_ref().map(ToString::to_string).unwrap_or_default(),
                    reply: request.reply.is_some(),
                    sequence,
                });
            }
        }
        if let Some((about, part)) = self.conversation.as_ref().filter(|_| sight.conversation) {
            explained.conversation = Some(self.conversation(about, *part, chain, sight));
        }
        explained
    }

    fn conversation(
        &self,
        about: &About,
        part: Part,
        chain: Option<Opening>,
        sight: &Sight,
    ) -> wire::ConversationExplained {
        let own = |index: usize| sight.own.get(self.decided.len() + index).copied().unwrap_or(true);
        let steps = self.steps.iter().enumerate().filter(|(index, _)| own(*index));
        let steps: Vec<_> = steps.filter_map(|(_, decided)| step(decided)).collect();
        let opening = chain.or_else(|| self.steps.first().and_then(Opening::of));
        let Opening { event, targets } = opening.unwrap_or_default();
        let part = match part {
            Part::Began => wire::ConversationPart::Began,
            Part::BeganAnew => wire::ConversationPart::BeganAnew,
            Part::WentOn => wire::ConversationPart::WentOn,
            Part::Closed => wire::ConversationPart::Closed,
        };
        wire::ConversationExplained {
            conversation: about.id.to_string(),
            part: part.into(),
            targets,
            opening_event: event,
            steps,
            more_steps: self.more_steps,
            talk: sight.talk.clone(),
        }
    }
}

/// The chain of a conversation, and the event that it began with.
#[derive(Clone, Default)]
struct Opening {
    event: String,
    targets: Vec<wire::Target>,
}

impl Opening {
    fn of(decided: &Decided) -> Option<Self> {
        let Event::Conversation(event) = &decided.event else { return None };
        let ConversationEvent::Opened { conversation, .. } = event else { return None };
        let targets = decision::chain(event).unwrap_or_default();
        Some(Self { event: conversation.event.to_string(), targets })
    }
}

/// The chain that a conversation had before a record: that of its last beginning, or of a transfer
/// since.
async fn chain_before(
    ledger: &Past,
    subjects: &[String],
    id: ConversationId,
    before: u64,
) -> Result<Option<Opening>, Refusal> {
    let (mut from, mut opening) = (1, None);
    loop {
        let slice = ledger.slice(subjects, from, PAGE).await.map_err(|error| no_broker(&error))?;
        for message in slice.records {
            if message.sequence >= before {
                return Ok(opening);
            }
            let Some(decided) = decode(message)? else { continue };
            let Event::Conversation(event) = &decided.event else { continue };
            if id_of(event) != Some(id) {
                continue;
            }
            if let Some(begun) = Opening::of(&decided) {
                opening = Some(begun);
            } else if let (Some(opening), Some(targets)) =
                (opening.as_mut(), decision::chain(event))
            {
                opening.targets = targets;
            }
        }
        if !slice.more {
            return Ok(opening);
        }
        from = slice.next;
    }
}

fn step(decided: &Decided) -> Option<wire::ConversationStep> {
    let Event::Conversation(event) = &decided.event else { return None };
    let step = decision::step(event)?;
    let time = Some(timestamp(decided.message.decided_at()));
    Some(wire::ConversationStep { time, sequence: decided.message.sequence, ..step })
}

/// What an event was to a conversation, when it was decided for that event.
fn part(event: &Event) -> Option<(About, Part)> {
    let Event::Conversation(event) = event else { return None };
    if let ConversationEvent::Opened { id, conversation, again, .. } = event {
        let about = About {
            id: *id,
            customer: conversation.customer,
            carrier: conversation.carrier,
            store: conversation.store.clone(),
            brand: conversation.brand.clone(),
            staff: None,
        };
        return Some((about, if *again { Part::BeganAnew } else { Part::Began }));
    }
    if let ConversationEvent::Active { about, .. } | ConversationEvent::Tagged { about, .. } = event
    {
        return Some((about.clone(), Part::WentOn));
    }
    if let ConversationEvent::Closed { about, .. } = event {
        return Some((about.clone(), Part::Closed));
    }
    None
}

/// Which conversation a record is about; that it was said again after a split is no step of it.
fn id_of(event: &ConversationEvent) -> Option<ConversationId> {
    match event {
        ConversationEvent::Opened { id, .. } => Some(*id),
        ConversationEvent::Active { about, .. }
        | ConversationEvent::Tagged { about, .. }
        | ConversationEvent::Offered { about, .. }
        | ConversationEvent::Accepted { about, .. }
        | ConversationEvent::Assigned { about, .. }
        | ConversationEvent::Replied { about, .. }
        | ConversationEvent::Closed { about, .. } => Some(about.id),
        ConversationEvent::Restated { .. }
        | ConversationEvent::Stands { .. }
        | ConversationEvent::Reviewed { .. }
        | ConversationEvent::Forgotten { .. }
        | ConversationEvent::IdleRestated { .. } => None,
    }
}

/// The rule that a record was decided by. What closes a conversation for an event is a rule.
fn rule_of(event: &Event) -> Option<String> {
    if let Event::Conversation(ConversationEvent::Closed { by, .. }) = event {
        return Some(by.clone());
    }
    event.rule().map(str::to_owned)
}

fn decode(message: Stored) -> Result<Option<Decided>, Refusal> {
    if message.record.kind().starts_with(mainstem_bus::engine::kind::OWN) {
        return Ok(None);
    }
    match RoutingMachine::decode(&message) {
        Ok(event) => Ok(Some(Decided { message, event })),
        Err(error) => {
            tracing::error!(sequence = message.sequence, %error, "a record cannot be read");
            Err(Refusal::new(
                RefusalCode::Unavailable,
                "OTHER_VERSION",
                "another version of routing has written; ask that one",
            ))
        }
    }
}

async fn trail(
    question: &Question<'_>,
    customer: CustomerId,
    event: Option<(String, Option<Carrier>)>,
) -> Result<Trail, Refusal> {
    ask(question, TRAIL, &AskTrail { customer, event }).await
}

async fn sight(
    question: &Question<'_>,
    inbound: &Inbound,
    told: &Told,
    dividing: bool,
) -> Result<Sight, Refusal> {
    let doubtful = |decided: &Decided| {
        let record = &decided.message.record;
        let body = String::from_utf8_lossy(&record.body).into_owned();
        (record.subject.clone(), record.kind().to_owned(), body)
    };
    let records = told.decided.iter().chain(&told.steps).filter(|_| dividing);
    let conversation = told.conversation.as_ref().map(|(about, _)| {
        let place: (Option<StoreId>, Option<BrandId>) = (about.store.clone(), about.brand.clone());
        (about.id, place.0, place.1)
    });
    let case: Option<CaseId> = told.decided.iter().find_map(|decided| {
        if let Event::Opened { id, .. } = &decided.event {
            return Some(*id);
        }
        let Event::MessageRequested(request) = &decided.event else { return None };
        request.case
    });
    let look = AskSight {
        store: inbound.event.store.clone(),
        brand: inbound.event.brand.clone(),
        case,
        conversation,
        doubtful: records.map(doubtful).collect(),
    };
    ask(question, SIGHT, &look).await
}

async fn ask<Answer: DeserializeOwned>(
    question: &Question<'_>,
    method: &str,
    request: &impl Serialize,
) -> Result<Answer, Refusal> {
    let body = serde_json::to_string(request).unwrap_or_default();
    let answer = question.ask(method, body).await?;
    read_request(answer.as_bytes())
}

fn no_broker(error: &ReadError) -> Refusal {
    let message = format!("{error}; send the request again");
    Refusal::new(RefusalCode::Unavailable, "NO_BROKER", message)
}
