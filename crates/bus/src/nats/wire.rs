//! Between records and the client's messages.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use crate::record::{Headers, Record, Stored};

pub(crate) fn header_map(headers: &Headers) -> HeaderMap {
    headers
        .parts()
        .filter_map(|(name, value)| {
            let name = match name {
                Cow::Borrowed(name) => HeaderName::from_static(name),
                // `Headers` holds no line breaks, so only an empty or odd name can fail here.
                Cow::Owned(name) => name.parse().ok()?,
            };
            Some((name, HeaderValue::from(value)))
        })
        .collect()
}

pub(crate) fn record(subject: &str, headers: Option<&HeaderMap>, body: Bytes) -> Record {
    let mut named: Vec<_> = headers
        .into_iter()
        .flat_map(HeaderMap::iter)
        .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
        .filter(|(name, _)| !name.starts_with("Nats-"))
        .collect();
    named.sort_unstable();
    let mut ordered = Headers::default();
    for (name, value) in named {
        ordered.set(name, value);
    }
    Record { subject: subject.to_owned(), headers: ordered, body }
}

/// Reads a message of a consumer, and that consumer's name; `None` when it carries no JetStream
/// facts.
pub(crate) fn stored(message: &async_nats::jetstream::Message) -> Option<(Stored, &str)> {
    let info = message.info().ok()?;
    let record = record(&message.subject, message.headers.as_ref(), message.payload.clone());
    let stored =
        Stored { sequence: info.stream_sequence, stored_at: nanos(info.published), record };
    Some((stored, info.consumer))
}

pub(crate) fn nanos(moment: async_nats::datetime::DateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}
