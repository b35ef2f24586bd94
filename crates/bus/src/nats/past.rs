//! Pages of what stands in a ledger under some subjects.
//!
//! By direct gets in batches, one for each subject. Ten records among 500,000 took as long as by a
//! consumer that is made, read and deleted again, since either loads the blocks that they lie in;
//! but a direct get leaves nothing behind in the server when its reader dies.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::StatusCode;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::try_join_all;
use mainstem_domain::At;
use serde::Serialize;

use crate::engine::ConfigurationBody;
use crate::nats::wire::{nanos, record};
use crate::nats::{Bus, ReadError};
use crate::positions::Positions;
use crate::record::{Stored, header};
use crate::topology;

/// Longer than the server takes between two messages of a batch.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of one batch; a longer one ends early, and is asked for in two.
const BATCH_BYTES: usize = 1024 * 1024;

/// A batch of many subjects is no smaller than this.
const BATCH_AT_LEAST: usize = 16;

/// How much earlier than asked for a search begins, so that an old writer's record, which can be a
/// little older than what stands before it, does not hide anything.
const MARGIN: Duration = Duration::from_mins(1);

/// One ledger, read by subject.
#[derive(Clone, Debug)]
pub struct Past {
    bus: Bus,
    service: &'static str,
    ledger: &'static str,
}

/// Records of some subjects, in the order of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Those that count.
    pub records: Vec<Stored>,
    /// The first sequence that was not looked at.
    pub next: u64,
    /// Whether there may be more from there on.
    pub more: bool,
}

/// As the server has it.
#[derive(Serialize)]
struct Get<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_last: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to_seq: Option<u64>,
}

impl Past {
    /// Reads the ledger of that service as the connection's user.
    #[must_use]
    pub fn new(bus: Bus, service: &'static str, ledger: &'static str) -> Self {
        Self { bus, service, ledger }
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &'static str {
        self.ledger
    }

    /// Up to `at_most` records of these subjects, which must not overlap, from the sequence `from`
    /// on. Holds no more than about that many at a time.
    ///
    /// A record counts here when it carries the epoch that the newest epoch record before it
    /// opened. That a foreign record has come since, which voids those behind it, cannot be seen
    /// without reading the whole ledger: the fence makes it impossible for a writer of ours, and
    /// nobody else may write there.
    ///
    /// # Errors
    /// [`ReadError::Broker`].
    pub async fn slice(
        &self,
        subjects: &[String],
        from: u64,
        at_most: usize,
    ) -> Result<Slice, ReadError> {
        let each = (at_most / subjects.len().max(1) + 1).max(BATCH_AT_LEAST).min(at_most);
        let mut sources: Vec<_> = subjects
            .iter()
            .map(|subject| Source { subject, from, ahead: VecDeque::new(), ended: false })
            .collect();
        let mut records: Vec<Stored> = Vec::new();
        loop {
            try_join_all(sources.iter_mut().map(|source| source.fill(self, each))).await?;
            let first = sources
                .iter_mut()
                .filter(|source| !source.ahead.is_empty())
                .min_by_key(|source| source.ahead.front().map(|message| message.sequence));
            let Some(first) = first else { break };
            if records.len() == at_most {
                break;
            }
            records.extend(first.ahead.pop_front());
        }
        let next = records.last().map_or(from, |last| last.sequence + 1);
        let more = sources.iter().any(|source| !source.ahead.is_empty());
        self.drop_void(&mut records).await?;
        Ok(Slice { records, next, more })
    }

    /// Leaves only what counts. Asks once for each epoch that the records are of.
    async fn drop_void(&self, records: &mut Vec<Stored>) -> Result<(), ReadError> {
        let mut unknown = records.len();
        let mut counts = vec![false; records.len()];
        while let Some(last) = unknown.checked_sub(1).and_then(|last| records.get(last)) {
            let opened = self.epoch_at(last.sequence).await?;
            let Some(opened) = opened else { break };
            let number = opened.record.header(header::EPOCH);
            while let Some(place) = unknown.checked_sub(1)
                && records[place].sequence > opened.sequence
            {
                let carried = records[place].record.header(header::EPOCH);
                counts[place] = carried.is_some() && carried == number;
                unknown = place;
            }
        }
        let mut counts = counts.into_iter();
        records.retain(|_| counts.next().unwrap_or(false));
        Ok(())
    }

    /// The newest epoch record before a sequence.
    async fn epoch_at(&self, sequence: u64) -> Result<Option<Stored>, ReadError> {
        self.newest(&topology::ledger_subject(self.service, topology::EPOCH), sequence).await
    }

    /// The newest record of a subject up to a sequence.
    async fn newest(&self, subject: &str, up_to: u64) -> Result<Option<Stored>, ReadError> {
        if up_to == 0 {
            return Ok(None);
        }
        let get =
            Get { multi_last: Some([subject]), up_to_seq: Some(up_to), ..Get::next(None, 0, None) };
        Ok(self.get(&get).await?.0.pop())
    }

    /// A sequence before which nothing was decided at this time or later. What was moved after a
    /// split can be older than what stands before it.
    ///
    /// # Errors
    /// [`ReadError::Broker`].
    pub async fn first_since(&self, at: At) -> Result<u64, ReadError> {
        let at = At::from_millis(
            at.as_millis().saturating_sub(i64::try_from(MARGIN.as_millis()).unwrap_or(0)),
        );
        self.first_after(|found| Some(decided_at(found)? < at)).await
    }

    /// A sequence before which nothing was decided with this message of an upstream read.
    ///
    /// # Errors
    /// [`ReadError::Broker`].
    pub async fn first_with(&self, upstream: &str, sequence: u64) -> Result<u64, ReadError> {
        let read = |found: &Stored| found.record.header(header::POSITIONS)?.parse().ok();
        self.first_after(|found| {
            read(found).map(|read: Positions| read.get(upstream).sequence < sequence)
        })
        .await
    }

    /// The digest of the configuration that was in force behind the record before this sequence;
    /// `None` when none was.
    ///
    /// # Errors
    /// [`ReadError::Broker`].
    pub async fn in_force_before(&self, sequence: u64) -> Result<Option<String>, ReadError> {
        let subject = topology::ledger_subject(self.service, topology::CONFIGURATION);
        let told = self.newest(&subject, sequence.saturating_sub(1)).await?;
        let body = told.and_then(|told| serde_json::from_slice(&told.record.body).ok());
        Ok(body.map(|ConfigurationBody { digest }| digest))
    }

    /// The first record of those that are not `earlier`, which are earlier than all others.
    async fn first_after(
        &self,
        earlier: impl Fn(&Stored) -> Option<bool>,
    ) -> Result<u64, ReadError> {
        let stream = self.bus.jetstream.get_stream(self.ledger).await;
        let state = &stream.map_err(|error| self.broker(error))?.cached_info().state.clone();
        let own = topology::ledger_subject(self.service, "*");
        let (mut from, mut until) = (state.first_sequence.max(1), state.last_sequence + 1);
        while from < until {
            let middle = from + (until - from) / 2;
            let mut found = self.first(">", middle).await?;
            if let Some(moved) = found.take_if(|found| found.record.moved_from().is_some()) {
                found = self.first(&own, moved.sequence).await?;
            }
            let found = found.filter(|found| found.sequence < until);
            match found.as_ref().and_then(|found| Some((found.sequence, earlier(found)?))) {
                Some((sequence, true)) => from = sequence + 1,
                Some((_, false)) | None => until = middle,
            }
        }
        Ok(from)
    }

    async fn first(&self, subject: &str, from: u64) -> Result<Option<Stored>, ReadError> {
        Ok(self.get(&Get::next(Some(subject), from, Some(1))).await?.0.pop())
    }

    /// The messages that the server gives, and whether it has more.
    async fn get(&self, get: &Get<'_>) -> Result<(Vec<Stored>, bool), ReadError> {
        let client = &self.bus.client;
        let inbox = client.new_inbox();
        let mut answers =
            client.subscribe(inbox.clone()).await.map_err(|error| self.broker(error))?;
        let body = serde_json::to_vec(get).map(Bytes::from).map_err(|error| self.broker(error))?;
        let subject = topology::direct_get_subject(self.ledger);
        client
            .publish_with_reply(subject, inbox, body)
            .await
            .map_err(|error| self.broker(error))?;
        let mut messages = Vec::new();
        loop {
            let answer = tokio::time::timeout(PATIENCE, answers.next()).await;
            let Ok(Some(answer)) = answer else {
                return Err(self.broker("no answer within 5 s"));
            };
            if let Some(status) = answer.status {
                // The end of a batch, or nothing there.
                if status.as_u16() == END_OF_BATCH || status == StatusCode::NOT_FOUND {
                    let pending = answer.headers.as_ref().and_then(|headers| {
                        headers.get("Nats-Num-Pending")?.as_str().parse::<u64>().ok()
                    });
                    return Ok((messages, pending.is_some_and(|pending| pending > 0)));
                }
                let what = answer.description.as_ref().map(ToString::to_string);
                return Err(self.broker(what.unwrap_or_else(|| status.to_string())));
            }
            let message = StreamMessage::try_from(answer).map_err(|error| self.broker(error))?;
            messages.push(Stored {
                sequence: message.sequence,
                stored_at: nanos(message.time),
                record: record(&message.subject, Some(&message.headers), message.payload),
            });
        }
    }

    fn broker(&self, what: impl std::fmt::Display) -> ReadError {
        ReadError::Broker { stream: self.ledger, what: what.to_string() }
    }
}

/// What the server ends a batch with.
const END_OF_BATCH: u16 = 204;

fn decided_at(message: &Stored) -> Option<At> {
    message.record.header(header::RECORDED_TIME).and_then(At::parse)
}

impl<'a> Get<'a> {
    fn next(subject: Option<&'a str>, from: u64, batch: Option<usize>) -> Self {
        Self {
            seq: (from > 0).then_some(from),
            batch,
            max_bytes: batch.is_some_and(|batch| batch > 1).then_some(BATCH_BYTES),
            next_by_subj: subject,
            multi_last: None,
            up_to_seq: None,
        }
    }
}

/// One subject, read ahead.
struct Source<'a> {
    subject: &'a str,
    from: u64,
    ahead: VecDeque<Stored>,
    ended: bool,
}

impl Source<'_> {
    async fn fill(&mut self, past: &Past, batch: usize) -> Result<(), ReadError> {
        if self.ended || !self.ahead.is_empty() {
            return Ok(());
        }
        let from = self.from.max(1);
        let (mut messages, mut more) =
            past.get(&Get::next(Some(self.subject), from, Some(batch))).await?;
        if messages.is_empty() && more {
            // One that is longer than a whole batch may be.
            (messages, more) = past.get(&Get::next(Some(self.subject), from, Some(1))).await?;
        }
        self.ended = !more || messages.is_empty();
        if let Some(last) = messages.last() {
            self.from = last.sequence + 1;
        }
        self.ahead.extend(messages);
        Ok(())
    }
}
