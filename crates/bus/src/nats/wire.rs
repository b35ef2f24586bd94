//! Between records and the client's messages.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use crate::record::{Headers, Record, Stored, header};

pub(crate) fn header_map(headers: Headers) -> HeaderMap {
    headers
        .into_parts()
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
    let mut named: Vec<(Cow<'static, str>, String)> = headers
        .into_iter()
        .flat_map(HeaderMap::iter)
        .map(|(name, values)| (name.as_ref(), values))
        .filter(|(name, _): &(&str, _)| !name.starts_with("Nats-"))
        .filter_map(|(name, values)| {
            let name =
                header::known(name).map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed);
            Some((name, values.first()?.as_str().to_owned()))
        })
        .collect();
    named.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut ordered = Headers::with_capacity(named.len());
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
