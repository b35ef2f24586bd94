//! A message as the streams hold it: header names, records, and what one record carries of others.

use std::borrow::Cow;

use bytes::Bytes;
use mainstem_domain::At;
use serde::{Deserialize, Serialize};

/// Header names. A record is a CloudEvent in the NATS binding's binary mode.
pub mod header {
    /// CloudEvents version, always `1.0`.
    pub const SPEC_VERSION: &str = "ce-specversion";
    /// What tells the event from others of the same source.
    pub const ID: &str = "ce-id";
    /// Who made it: `/mainstem/<service>`, or the channel for what came in there.
    pub const SOURCE: &str = "ce-source";
    /// The event's name.
    pub const TYPE: &str = "ce-type";
    /// When it happened.
    pub const TIME: &str = "ce-time";
    /// Always `application/json`.
    pub const CONTENT_TYPE: &str = "content-type";
    /// Whose it is.
    pub const CUSTOMER: &str = "ce-customer";
    /// The channel it is about.
    pub const CHANNEL: &str = "ce-channel";
    /// The store it is about.
    pub const STORE: &str = "ce-store";
    /// The brand it is about.
    pub const BRAND: &str = "ce-brand";
    /// When it was decided, by the decider's clock.
    pub const RECORDED_TIME: &str = "ce-recordedtime";
    /// Who asked for it.
    pub const ACTOR: &str = "ce-actor";
    /// The digest of the configuration it was decided under.
    pub const CONFIGURATION: &str = "ce-configuration";
    /// The name in `MEDIA` of what the person sent.
    pub const MEDIA: &str = "ce-media";
    /// Where the system that answers a shadow channel took its webhooks when this one came in.
    pub const INCUMBENT: &str = "ce-incumbent";
    /// W3C trace context.
    pub const TRACE: &str = "traceparent";
    /// The writer's epoch.
    pub const EPOCH: &str = "ce-epoch";
    /// How far the writer had read its upstreams.
    pub const POSITIONS: &str = "ce-positions";
    /// What it was decided for: `<STREAM>=<sequence>`, `command`, `due` or `configuration`.
    pub const CAUSE: &str = "ce-cause";
    /// The other records of the same input, for whoever has to complete them.
    pub const REST: &str = "ce-rest";
    /// The receipt of the command that it was decided for.
    pub const RECEIPT: &str = "ce-receipt";
    /// `<job>/<sequence>` of the record that this one is a copy of, under its right owner. It is
    /// history, and no news.
    pub const MOVED_FROM: &str = "ce-movedfrom";

    /// The constant of a name as it was read, if it is one of these.
    pub(crate) fn known(name: &str) -> Option<&'static str> {
        const ALL: [&str; 21] = [
            SPEC_VERSION,
            ID,
            SOURCE,
            TYPE,
            TIME,
            CONTENT_TYPE,
            CUSTOMER,
            CHANNEL,
            STORE,
            BRAND,
            RECORDED_TIME,
            ACTOR,
            CONFIGURATION,
            MEDIA,
            TRACE,
            EPOCH,
            POSITIONS,
            CAUSE,
            REST,
            RECEIPT,
            MOVED_FROM,
        ];
        ALL.into_iter().find(|known| *known == name)
    }
}

/// A message as the ledgers hold it: subject, headers in order, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is published.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Compact JSON.
    pub body: Bytes,
}

/// Headers, in the order in which they were set; each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Vec<(Cow<'static, str>, String)>);

impl Headers {
    /// No headers yet, and room for this many.
    pub(crate) fn with_capacity(headers: usize) -> Self {
        Self(Vec::with_capacity(headers))
    }

    /// A header's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Sets a header, in its old place if it was there. Line breaks, which would end the header
    /// on the wire, become blanks.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let (name, mut value) = (name.into(), value.into());
        if value.bytes().any(|byte| byte == b'\r' || byte == b'\n') {
            value = value.replace(['\r', '\n'], " ");
        }
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes a header away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// All of them, with names that know whether they are constants.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = (Cow<'static, str>, String)> {
        self.0.into_iter()
    }

    /// Bytes on the wire, roughly.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }
}

impl Record {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Whether it is the copy of a record that was moved under its right owner: history, and no
    /// news. Whoever counts records has counted the original.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.header(header::MOVED_FROM).is_some()
    }

    /// The job that a moved copy was made for, and the sequence of its original.
    pub(crate) fn moved_from(&self) -> Option<(&str, u64)> {
        let (job, sequence) = self.header(header::MOVED_FROM)?.rsplit_once('/')?;
        Some((job, sequence.parse().ok()?))
    }

    /// The event's name; empty when it has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.header(header::TYPE).unwrap_or_default()
    }
}

/// A message as a stream gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the server stored it, in nanoseconds since 1970.
    pub stored_at: i64,
    /// The message.
    pub record: Record,
}

impl Stored {
    /// Its sequence; of the copy of a record that was moved, that of its original.
    #[must_use]
    pub fn original(&self) -> u64 {
        self.record.moved_from().map_or(self.sequence, |(_, original)| original)
    }

    /// When a record of a ledger was decided.
    #[must_use]
    pub fn decided_at(&self) -> At {
        let told = self.record.header(header::RECORDED_TIME).and_then(At::parse);
        told.unwrap_or(At::from_millis(self.stored_at / 1_000_000))
    }
}

/// Why a message cannot be read. Carries no content: it is logged and dead-lettered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// The other records of an input as the first one carries them.
#[derive(Serialize, Deserialize)]
struct Carried {
    subject: String,
    headers: Headers,
    body: String,
}

/// Headers that belong to the act of writing and are set anew by whoever completes a record.
const OF_THE_WRITER: [&str; 1] = [header::EPOCH];

/// The value of [`header::REST`] for these records; `None` when a body is no UTF-8.
pub(crate) fn carry(rest: &[Record]) -> Option<String> {
    let carried: Option<Vec<_>> = rest
        .iter()
        .map(|record| {
            let mut headers = record.headers.clone();
            for name in OF_THE_WRITER {
                headers.remove(name);
            }
            let body = std::str::from_utf8(&record.body).ok()?.to_owned();
            Some(Carried { subject: record.subject.clone(), headers, body })
        })
        .collect();
    serde_json::to_string(&carried?).ok()
}

/// The records in a [`header::REST`] value.
pub(crate) fn carried(rest: &str) -> Result<Vec<Record>, Unreadable> {
    let carried: Vec<Carried> = serde_json::from_str(rest)
        .map_err(|error| Unreadable(format!("{}: {error}", header::REST)))?;
    Ok(carried
        .into_iter()
        .map(|Carried { subject, headers, body }| Record { subject, headers, body: body.into() })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_an_input_survives_being_carried() {
        let mut headers = Headers::default();
        headers.set(header::ID, "x");
        headers.set("ce-other", "維修\r\nNats-Expected-Last-Sequence: 0");
        let record = Record {
            subject: "a.b".to_owned(),
            headers,
            body: Bytes::from_static("{\"text\":\"維\\n修\"}".as_bytes()),
        };
        let value = carry(std::slice::from_ref(&record)).unwrap();
        assert!(!value.contains(['\r', '\n']));
        assert_eq!(carried(&value).unwrap(), [record]);
        assert!(carried("[{}]").is_err());
    }
}
