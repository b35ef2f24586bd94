//! A second decider beside each ledger: it decides every input again, in the order of the ledger,
//! and must come to the same records. What left no record must decide nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mainstem_bus::engine::{Applied, kind};
use mainstem_bus::record::header;
use mainstem_bus::{
    Call as Called, Draft, EventOf, InputOf, Machine, Positions, Record, StateOf, Stored,
};
use mainstem_domain::{At, Decider, Wakeup};

use super::calls::{Asked, Call};
use super::check::{
    Check, Violation, counted, counted_upstream, is_domain, positions_of, receipt_of,
};
use super::net::Net;

struct Twin<'a, M: Machine> {
    net: &'a Net,
    sent: &'a BTreeMap<String, Call>,
    /// Of each upstream: what counts.
    upstreams: BTreeMap<&'static str, BTreeSet<u64>>,
    state: StateOf<M>,
    applied: Arc<Applied>,
    positions: Positions,
}

/// Decides a whole ledger again.
pub fn replay<M: Machine>(net: &Net, sent: &BTreeMap<String, Call>) -> Result<(), Violation> {
    let counts = |upstream: &mainstem_bus::Upstream| {
        let messages = counted_upstream(&net.broker, upstream.stream, upstream.ledger);
        (upstream.stream, messages.into_iter().map(|message| message.sequence).collect())
    };
    let mut twin = Twin::<M> {
        net,
        sent,
        upstreams: M::UPSTREAMS.iter().map(counts).collect(),
        state: StateOf::<M>::default(),
        applied: Arc::default(),
        positions: Positions::default(),
    };
    let mut ledger: VecDeque<_> = counted(&net.broker, M::LEDGER).into();
    while let Some(first) = ledger.pop_front() {
        // The records of one input; a new epoch may stand between them.
        let mut input = vec![first];
        for _ in 0..rest_of(&first.record) {
            while let Some(next) = ledger.pop_front() {
                if next.record.kind() != kind::EPOCH {
                    input.push(next);
                    break;
                }
            }
        }
        twin.take(&input).map_err(|what| {
            Violation::new(Check::Twin, format!("{} {}: {what}", M::LEDGER, first.sequence))
        })?;
    }
    Ok(())
}

fn rest_of(record: &Record) -> usize {
    let rest = record.header(header::REST).unwrap_or("[]");
    serde_json::from_str::<Vec<serde_json::Value>>(rest).map_or(0, |rest| rest.len())
}

impl<M: Machine> Twin<'_, M> {
    fn take(&mut self, records: &[&Stored]) -> Result<(), String> {
        let first = &records[0].record;
        let positions = positions_of(first);
        for (stream, position) in self.positions.iter() {
            let now = positions.get(stream).sequence;
            if now < position.sequence {
                return Err(format!("{stream} goes back from {} to {now}", position.sequence));
            }
        }
        let at = first.header(header::RECORDED_TIME).and_then(At::parse).ok_or("no time")?;
        let cause = first.header(header::CAUSE).unwrap_or_default();
        let cause = cause
            .split_once('=')
            .and_then(|(stream, sequence)| Some((stream, sequence.parse::<u64>().ok()?)));
        self.nothing_else_was_to_decide(&positions, cause, at)?;
        let message = cause.and_then(|(stream, sequence)| self.net.broker.get(stream, sequence));
        let decided = match cause {
            Some((stream, sequence)) => {
                if positions.get(stream).sequence != sequence
                    || self.positions.get(stream).sequence >= sequence
                {
                    return Err(format!("{stream} {sequence} is not the one that comes next"));
                }
                let message = message.ok_or("its cause is not there")?;
                let input = M::input(stream, message).map_err(|error| error.to_string())?;
                input.map(|input| self.decide(&input, at))
            }
            None => self.decide_command(first, at),
        };
        if let Some(events) = decided {
            Self::same(&events, message, records)?;
        }
        for record in records.iter().filter(|record| is_domain(&record.record)) {
            let event = M::decode(record).map_err(|error| error.to_string())?;
            M::Decider::evolve(&mut self.state, &event, at);
        }
        self.positions = positions;
        Ok(())
    }

    fn decide(&self, input: &InputOf<M>, at: At) -> Vec<EventOf<M>> {
        M::Decider::decide(&self.state, &self.applied.configuration, input, at).events
    }

    /// `None` when nothing tells what was asked.
    fn decide_command(&mut self, first: &Record, at: At) -> Option<Vec<EventOf<M>>> {
        if first.kind() == kind::EPOCH || first.kind() == kind::POSITION {
            return Some(Vec::new());
        }
        let receipt = receipt_of(first)?;
        let call = self.sent.get(receipt["requestId"].as_str()?)?;
        match &call.asked {
            Asked::Configure(applied) => {
                self.applied = applied.clone();
                Some(self.decide(&InputOf::<M>::from(Wakeup::Configured), at))
            }
            Asked::Method { method, body } => {
                let called = M::call(&self.state, method, &call.caller, &call.id, body.as_bytes());
                match called {
                    Ok(Called::Command(input)) => Some(self.decide(&input, at)),
                    Ok(Called::Read(_) | Called::Look(_)) | Err(_) => None,
                }
            }
        }
    }

    fn same(
        events: &[EventOf<M>],
        message: Option<&Stored>,
        records: &[&Stored],
    ) -> Result<(), String> {
        let drafts: Vec<Draft> = events.iter().map(|event| M::encode(event, message)).collect();
        let wanted: Vec<_> =
            drafts.iter().map(|draft| (&*draft.subject, &*draft.kind, &draft.body)).collect();
        let found: Vec<_> = records
            .iter()
            .map(|message| &message.record)
            .filter(|record| is_domain(record))
            .map(|record| (&*record.subject, record.kind(), &record.body))
            .collect();
        if wanted == found { Ok(()) } else { Err(format!("wanted {wanted:?}, found {found:?}")) }
    }

    /// All that was read since the last record, but the cause, decides nothing.
    fn nothing_else_was_to_decide(
        &self,
        positions: &Positions,
        cause: Option<(&str, u64)>,
        at: At,
    ) -> Result<(), String> {
        for (stream, counts) in &self.upstreams {
            let from = self.positions.get(stream).sequence + 1;
            let to = positions.get(stream).sequence;
            for sequence in counts.range(from..(to + 1).max(from)) {
                if cause == Some((*stream, *sequence)) {
                    continue;
                }
                let Some(message) = self.net.broker.get(stream, *sequence) else { continue };
                if !is_domain(&message.record) {
                    continue;
                }
                let Ok(Some(input)) = M::input(stream, message) else { continue };
                let passed_over = self.decide(&input, at).len();
                if passed_over > 0 {
                    return Err(format!("{stream} {sequence} would decide {passed_over} events"));
                }
            }
        }
        Ok(())
    }
}
