//! The writer's half of the engine: from inputs to appends.

use std::borrow::Cow;

use mainstem_domain::{At, Decider, Decision, Refusal, RefusalCode, Wakeup, derive_uuid};

use super::memory::{ConfigurationBody, Receipt, Stamp};
use super::{
    Ack, Answer, Append, Ask, BATCH_AT_MOST, BrokenPromise, Command, Engine, InFlight, Lost, Mode,
    Offered, Read, Span, Ticket, kind,
};
use crate::custody::named;
use crate::machine::{Draft, EventOf, InputOf, Machine};
use crate::positions::{Epoch, Position, Positions};
use crate::record::{Headers, Record, Stored, carry, header};
use crate::topology;
use crate::trace::TraceContext;

/// The server refuses headers above 64 KiB; an input whose first record could not carry the rest
/// is appended as one atomic batch instead, which needs no completion.
const HEADERS_AT_MOST: usize = 48 * 1024;

/// A longer answer gets a receipt record of its own instead of a header.
const ANSWER_AT_MOST: usize = 16 * 1024;

/// Room for the headers of a record, so that they are not moved as they grow.
const HEADERS_USUALLY: usize = 20;

/// What an input was, as its records tell it.
pub(super) struct Cause<'a> {
    /// The stream it came from, or what else it was.
    from: &'static str,
    /// What the ids of its records are derived from; the same on every run.
    id: String,
    actor: Option<&'a str>,
    trace: Option<TraceContext>,
    message: Option<&'a Stored>,
    positions: Positions,
}

/// What all records of one input have in common, as text.
struct Common<'a> {
    cause: &'a Cause<'a>,
    seed: String,
    span: TraceContext,
    at: String,
    epoch: String,
    trace: String,
    name: String,
    positions: String,
}

impl<M: Machine> Engine<M> {
    /// Begins to write: an epoch of its own, then the rest of an input that was cut off.
    ///
    /// Call it with the lease, and with the ledger folded to its end.
    pub fn fence(&mut self, now: At) {
        let number = self.memory.epoch.number + 1;
        self.mode = Mode::Writing;
        self.memory.epoch = Epoch { number, broken: false };
        let records = match self.settings.broken {
            Some(BrokenPromise::OneEpochRecord) => 1,
            _ => self.settings.window + 1,
        };
        let at = now.max(self.memory.at);
        let cause = self.own_cause("epoch", &format!("epoch/{number}"));
        let common = self.common(&cause, at);
        let epoch: Vec<_> = (0..records)
            .map(|index| {
                let draft = own_draft::<M>(topology::EPOCH, kind::EPOCH, "{}".to_owned());
                self.record(draft, index, &common)
            })
            .collect();
        self.memory.take(Stamp::new(at, cause.positions));
        self.send(epoch, true);

        let mut rest = self.memory.take_rest();
        if self.settings.broken == Some(BrokenPromise::NoCompletion) {
            rest.clear();
        }
        for mut record in rest {
            record.headers.set(header::EPOCH, number.to_string());
            let message =
                Stored { sequence: self.memory.sequence + 1, stored_at: 0, record: record.clone() };
            // What does not decode here was written by this very code and did not decode when the
            // first record was taken either; the next fold names the place.
            let Ok(stamp) = Stamp::read(&record) else { continue };
            if !record.kind().starts_with(kind::OWN)
                && let Ok(event) = M::decode(&message)
            {
                self.evolve(&event, stamp.at, message.sequence, &stamp.positions);
            }
            self.memory.take(stamp);
            self.send(vec![record], false);
        }
    }

    /// What a message of an upstream says to the decider: nothing, when an engine wrote it for itself.
    pub fn read(upstream: &str, message: &Stored) -> Read<M> {
        let record = &message.record;
        // A moved copy is history: its original was read, or was deleted before anybody could.
        if record.kind().starts_with(kind::OWN) || record.is_moved() {
            return Ok(None);
        }
        M::input(upstream, message)
    }

    /// Messages that are offered next: see [`Decider::approach`].
    pub fn approach<'a>(&self, messages: impl Iterator<Item = &'a Read<M>>) {
        let inputs = messages.filter_map(|read| read.as_ref().ok()?.as_ref());
        M::Decider::approach(&self.memory.state, inputs);
    }

    /// Takes the next message of an upstream. Only when [`ready`](Self::ready).
    pub fn offer(&mut self, upstream: &str, message: &Stored, now: At) -> Offered {
        self.offer_read(upstream, message, &Self::read(upstream, message), now)
    }

    /// The same of one that was [read](Self::read) before.
    pub fn offer_read(
        &mut self,
        upstream: &str,
        message: &Stored,
        read: &Read<M>,
        now: At,
    ) -> Offered {
        let Some(upstream) = M::UPSTREAMS.iter().find(|known| known.stream == upstream) else {
            return Offered::Void;
        };
        let (position, counts) = self.position_after(upstream, message);
        let record = &message.record;
        if !counts {
            self.silent(upstream.stream, position, now);
            return Offered::Void;
        }
        if upstream.ledger
            && self.settings.broken != Some(BrokenPromise::NoCausalHold)
            && let Some((stream, sequence)) = self.missing_cause(record)
        {
            return Offered::Held { stream, sequence };
        }
        let input = match read {
            Ok(input) => input.as_ref(),
            Err(unreadable) => return Offered::Unreadable(unreadable.clone()),
        };
        let decision = input.map_or_else(Decision::silent, |input| self.decide(input, now));
        if decision.events.is_empty() {
            self.silent(upstream.stream, position, now);
            return Offered::Taken;
        }
        let mut positions = self.memory.positions.clone();
        positions.advance(upstream.stream, position);
        let id = match (record.header(header::SOURCE), record.header(header::ID)) {
            (Some(source), Some(id)) => format!("{source}/{id}"),
            _ => format!("{}/{}", upstream.stream, message.sequence),
        };
        let cause = Cause {
            from: upstream.stream,
            id,
            actor: None,
            trace: record.header(header::TRACE).and_then(TraceContext::parse),
            message: Some(message),
            positions,
        };
        self.append(&cause, &decision.events, Vec::new(), None, now);
        Offered::Taken
    }

    /// Passes over a message that was stored as a dead letter.
    pub fn skip(&mut self, upstream: &str, message: &Stored, now: At) {
        if let Some(upstream) = M::UPSTREAMS.iter().find(|known| known.stream == upstream) {
            let (position, _) = self.position_after(upstream, message);
            self.silent(upstream.stream, position, now);
        }
    }

    /// Decides what is due by now; `false` when nothing is. Only when [`ready`](Self::ready).
    pub fn due(&mut self, now: At) -> bool {
        let Some(deadline) = self.next_due().filter(|deadline| *deadline <= now) else {
            return false;
        };
        let decision = self.decide(&InputOf::<M>::from(Wakeup::Due), now);
        if decision.events.is_empty() {
            return false;
        }
        let id = format!("due/{deadline}/{}", self.memory.decided);
        let cause = self.own_cause("due", &id);
        self.append(&cause, &decision.events, Vec::new(), None, now);
        true
    }

    /// Decides a command. Only when [`ready`](Self::ready). The answer leaves by
    /// [`next_answer`](Self::next_answer).
    pub fn command(&mut self, command: Command<InputOf<M>>, now: At) {
        let Command { ticket, request_id, id, hash, actor, trace, ask } = command;
        if let Some(known) = request_id.as_ref().and_then(|id| self.memory.receipts.get(id)) {
            let answer = if known.hash == hash { known.answer.clone() } else { Err(reused()) };
            return self.answer(ticket, answer);
        }
        let mut own = Vec::new();
        let (events, answer) = match ask {
            Ask::Read(answer) => return self.answer(ticket, Ok(answer)),
            Ask::Refused(refusal) => (Vec::new(), Err(refusal)),
            Ask::Move { job, original } => {
                let verdict = self.relocate(&job, &original, now);
                return self.answer(ticket, Ok(verdict.to_owned()));
            }
            Ask::Hide { job, original } => {
                let verdict = self.hide(&job, &original, now);
                return self.answer(ticket, Ok(verdict.to_owned()));
            }
            Ask::Plan { job, counts } => {
                self.plan(&job, counts, now);
                return self.answer(ticket, Ok("{}".to_owned()));
            }
            Ask::Decider(input) => {
                let decision = self.decide(&input, now);
                let answer = match decision.answer {
                    Some(Ok(answer)) => Ok(M::answer(&answer)),
                    Some(Err(refusal)) => Err(refusal),
                    None => Ok("{}".to_owned()),
                };
                (decision.events, answer)
            }
            Ask::Configure(applied) => {
                if let Err(refusal) = applied.configuration.check() {
                    (Vec::new(), Err(refusal))
                } else {
                    let digest = applied.digest.clone();
                    let body = json(&ConfigurationBody { digest: digest.clone() });
                    let mut events = Vec::new();
                    if self.memory.configuration != digest {
                        own.push(own_draft::<M>(
                            topology::CONFIGURATION,
                            kind::CONFIGURATION,
                            body.clone(),
                        ));
                        self.applied = applied;
                        self.memory.configuration = digest;
                        let configured = InputOf::<M>::from(Wakeup::Configured);
                        events = self.decide(&configured, now).events;
                    }
                    (events, Ok(body))
                }
            }
        };
        let cause = Cause {
            from: "command",
            // With the moment: the same request_id is another command when its receipt is gone.
            id: format!("command/{actor}/{id}/{}", now.max(self.memory.at).as_millis()),
            actor: Some(&actor),
            trace: trace.as_deref().and_then(TraceContext::parse),
            message: None,
            positions: self.memory.positions.clone(),
        };
        let receipt = request_id.map(|request_id| {
            let answer = answer.clone();
            Receipt { request_id, hash, answer, owner: None }
        });
        if receipt.is_some() || !events.is_empty() || !own.is_empty() {
            self.append(&cause, &events, own, receipt, now);
        }
        self.answer(ticket, answer);
    }

    /// Writes how far the upstreams were read, when nothing was written for long. Only when
    /// [`ready`](Self::ready).
    pub fn note_position(&mut self, now: At) {
        let long = self.silent_inputs >= self.settings.position_every_inputs
            || self
                .silent_since
                .is_some_and(|since| now.since(since) >= self.settings.position_every);
        if !long {
            return;
        }
        let cause = self.own_cause("position", &format!("position/{}", self.memory.sequence));
        let draft = own_draft::<M>(topology::POSITION, kind::POSITION, "{}".to_owned());
        self.append(&cause, &[], vec![draft], None, now);
    }

    /// The next append to send now, if the window has room.
    ///
    /// A window that was full is filled again when half of it is acknowledged: many appends go out
    /// by one write, and the broker answers them by one.
    pub fn next_append(&mut self) -> Option<Append> {
        let in_flight = self.in_flight.len();
        self.full = in_flight >= self.settings.window
            || (self.full && in_flight > self.settings.window / 2);
        // A batch goes alone: behind a refused one, a record could meet the sequence that it
        // expects, which another writer's batch of the same length has made.
        let room = match (self.unsent.front()?, self.in_flight.back()) {
            (Append::One { .. }, None | Some(InFlight { records: 1, .. })) => !self.full,
            (_, in_flight) => in_flight.is_none(),
        };
        let append = room.then(|| self.unsent.pop_front()).flatten()?;
        self.in_flight.push_back(match &append {
            Append::One { expect, .. } => InFlight { last: expect + 1, records: 1 },
            Append::Batch { expect, records } => {
                InFlight { last: expect + records.len() as u64, records: records.len() }
            }
        });
        Some(append)
    }

    /// Takes note of what the broker said to the oldest append in flight.
    ///
    /// # Errors
    /// [`Lost`] unless it was stored, not as a duplicate, and where it was expected.
    pub fn acknowledge(&mut self, ack: &Ack) -> Result<(), Lost> {
        let lost = |what: String| Err(Lost(what));
        let Some(InFlight { last, .. }) = self.in_flight.pop_front() else {
            return lost("an acknowledgement came for nothing".to_owned());
        };
        let careless = self.settings.broken == Some(BrokenPromise::DuplicateIsSuccess);
        match ack {
            Ack::Stored { duplicate: true, .. } if careless => {}
            Ack::Stored { duplicate: false, sequence } if *sequence == last => {}
            Ack::Stored { duplicate: true, sequence } => {
                return lost(format!("{sequence} holds a duplicate, {last} was expected"));
            }
            Ack::Stored { sequence, .. } => {
                return lost(format!("it is at {sequence}, {last} was expected"));
            }
            Ack::Refused(reason) => return lost(reason.clone()),
        }
        self.stored = last;
        Ok(())
    }

    /// The next answer whose record, and everything it was decided from, is stored.
    pub fn next_answer(&mut self) -> Option<(Ticket, Answer)> {
        let (after, ..) = self.answers.front()?;
        if *after > self.stored {
            return None;
        }
        self.answers.pop_front().map(|(_, ticket, answer)| (ticket, answer))
    }

    /// The span of the input that was decided last, if it led to records.
    pub fn take_span(&mut self) -> Option<Span> {
        self.span.take()
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.answers.push_back((self.memory.sequence, ticket, answer));
    }

    fn decide(
        &self,
        input: &InputOf<M>,
        now: At,
    ) -> Decision<EventOf<M>, <M::Decider as Decider>::Answer> {
        let at = now.max(self.memory.at);
        M::Decider::decide(&self.memory.state, &self.applied.configuration, input, at)
    }

    fn silent(&mut self, stream: &str, position: Position, now: At) {
        self.memory.positions.advance(stream, position);
        self.silent_inputs += 1;
        self.silent_since.get_or_insert(now);
    }

    /// The first shared upstream that has not been read as far as the record's writer had.
    fn missing_cause(&self, record: &Record) -> Option<(String, u64)> {
        let seen: Positions = record.header(header::POSITIONS)?.parse().ok()?;
        seen.iter()
            .filter(|(stream, _)| M::UPSTREAMS.iter().any(|own| own.stream == *stream))
            .find(|(stream, cause)| self.memory.positions.get(stream).sequence < cause.sequence)
            .map(|(stream, cause)| (stream.to_owned(), cause.sequence))
    }

    pub(super) fn own_cause(&self, from: &'static str, id: &str) -> Cause<'static> {
        Cause {
            from,
            id: id.to_owned(),
            actor: None,
            trace: None,
            message: None,
            positions: self.memory.positions.clone(),
        }
    }

    /// Appends everything that one input led to.
    pub(super) fn append(
        &mut self,
        cause: &Cause<'_>,
        events: &[EventOf<M>],
        own: Vec<Draft>,
        receipt: Option<Receipt>,
        now: At,
    ) {
        let at = now.max(self.memory.at);
        let own_records = own.len();
        let mut drafts = own;
        drafts.extend(events.iter().map(|event| M::encode(event, cause.message)));
        let text = receipt.as_ref().map(json);
        // Only who owns the first record may stand in it, in whatever header.
        let owner = drafts.first().and_then(|draft| topology::customer_of(&draft.subject));
        let names_another =
            text.as_ref().is_some_and(|text| named(text).any(|id| Some(id) != owner));
        let mut together = drafts.iter().skip(1).any(|draft| {
            let other = topology::customer_of(&draft.subject);
            other.is_some() && other != owner
        });
        // And nothing stands there that is hidden alone.
        let carried = events.iter().skip(usize::from(own_records == 0));
        together |= carried.into_iter().any(|event| M::stands_alone(event, cause.message));
        let mut receipt_at = 0;
        if let Some(text) = text {
            if drafts.is_empty() || names_another || text.len() > ANSWER_AT_MOST {
                receipt_at = drafts.len();
                together |= names_another && !drafts.is_empty();
                drafts.push(own_draft::<M>(topology::RECEIPT, kind::RECEIPT, text));
            } else {
                drafts[0].headers.push((header::RECEIPT, text));
            }
        }
        let common = self.common(cause, at);
        let mut records: Vec<_> = drafts
            .into_iter()
            .enumerate()
            .map(|(index, draft)| self.record(draft, index, &common))
            .collect();
        if records.len() > 1 && !together {
            let rest = carry(&records[1..])
                .filter(|rest| rest.len() + records[0].headers.size() <= HEADERS_AT_MOST);
            match rest {
                Some(rest) => records[0].headers.set(header::REST, rest),
                None => together = true,
            }
        }
        // As they are folded: each record's event, then its receipt.
        self.memory.take(Stamp::new(at, cause.positions.clone()));
        let mut receipt = receipt;
        for (index, record) in records.iter().enumerate() {
            let sequence = self.memory.sequence + 1 + index as u64;
            if let Some(event) = index.checked_sub(own_records).and_then(|event| events.get(event))
            {
                self.evolve(event, at, sequence, &cause.positions);
            }
            if let Some(receipt) = receipt.take_if(|_| index == receipt_at) {
                let stamp = Stamp::new(at, cause.positions.clone());
                self.memory.take(stamp.with_receipt(receipt, &record.subject));
            }
        }
        self.span = Some(Span { parent: cause.trace, context: common.span, from: cause.from });
        self.silent_inputs = 0;
        self.silent_since = None;
        self.send(records, together);
    }

    pub(super) fn send(&mut self, records: Vec<Record>, together: bool) {
        self.records_since_snapshot += records.len() as u64;
        if together {
            debug_assert!(records.len() <= BATCH_AT_MOST, "an input of {} records", records.len());
            let expect = self.memory.sequence;
            self.memory.sequence += records.len() as u64;
            self.unsent.push_back(Append::Batch { expect, records });
        } else {
            for record in records {
                let expect = self.memory.sequence;
                self.memory.sequence += 1;
                self.unsent.push_back(Append::One { expect, record });
            }
        }
    }

    fn common<'a>(&self, cause: &'a Cause<'a>, at: At) -> Common<'a> {
        let seed = format!("{}/{}", M::SERVICE, cause.id);
        let span = cause.span(&seed);
        Common {
            cause,
            seed,
            span,
            at: at.to_string(),
            epoch: self.memory.epoch.number.to_string(),
            trace: span.to_string(),
            name: cause.name(),
            positions: self.positions_header(cause),
        }
    }

    fn record(&self, draft: Draft, index: usize, common: &Common<'_>) -> Record {
        let id = derive_uuid(&format!("{}/{index}", common.seed));
        let mut headers = Headers::with_capacity(HEADERS_USUALLY);
        headers.set(header::SPEC_VERSION, "1.0");
        headers.set(header::ID, id.to_string());
        headers.set(header::SOURCE, format!("/mainstem/{}", M::SERVICE));
        headers.set(header::TYPE, draft.kind);
        headers.set(header::TIME, common.at.as_str());
        headers.set(header::CONTENT_TYPE, "application/json");
        for (name, value) in draft.headers {
            headers.set(name, value);
        }
        headers.set(header::RECORDED_TIME, common.at.as_str());
        if let Some(actor) = common.cause.actor {
            headers.set(header::ACTOR, actor);
        }
        if !self.memory.configuration.is_empty() {
            headers.set(header::CONFIGURATION, self.memory.configuration.as_str());
        }
        headers.set(header::TRACE, common.trace.as_str());
        headers.set(header::CAUSE, common.name.as_str());
        headers.set(header::EPOCH, common.epoch.as_str());
        headers.set(header::POSITIONS, common.positions.as_str());
        if self.settings.broken == Some(BrokenPromise::DuplicateIsSuccess) {
            headers.set("Nats-Msg-Id", headers.get(header::ID).unwrap_or_default().to_owned());
        }
        Record { subject: draft.subject, headers, body: draft.body }
    }

    fn positions_header(&self, cause: &Cause<'_>) -> String {
        if self.settings.broken == Some(BrokenPromise::OneCause) {
            let mut one = Positions::default();
            if cause.message.is_some() {
                one.advance(cause.from, cause.positions.get(cause.from));
            }
            return one.to_string();
        }
        cause.positions.to_string()
    }
}

impl Cause<'_> {
    /// For [`header::CAUSE`].
    fn name(&self) -> String {
        match self.message {
            Some(message) => format!("{}={}", self.from, message.sequence),
            None => self.from.to_owned(),
        }
    }

    /// The span in which the input is processed.
    fn span(&self, seed: &str) -> TraceContext {
        self.trace.unwrap_or_else(|| TraceContext::root(seed)).child(seed)
    }
}

pub(super) fn own_draft<M: Machine>(what: &str, kind: &'static str, body: String) -> Draft {
    Draft {
        subject: topology::ledger_subject(M::SERVICE, what),
        kind: Cow::Borrowed(kind),
        body: body.into(),
        headers: Vec::new(),
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

fn reused() -> Refusal {
    Refusal::new(
        RefusalCode::AlreadyExists,
        "REQUEST_ID_REUSED",
        "this request_id came with another request within 24 h; use a new one",
    )
}
