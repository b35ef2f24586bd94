//! What shops, tills, phone desks and other services tell: CloudEvents, or a shop's own webhooks by
//! a mapping.

mod about;
mod cloud_event;
mod mapping;
mod signature;
mod sources;
mod told;

use bytes::Bytes;
use http::HeaderMap;
use mainstem_bus::TraceContext;
use mainstem_domain::At;

pub(crate) use about::{About, check_consents};
pub use mapping::{Mapping, MappingError};
pub use sources::{Source, SourceError, Sources};
pub(crate) use told::{ATTRIBUTE_AT_MOST, Told, message, whereabouts};

use crate::accept::{Accepted, Refused, unreadable};
use crate::{Handles, Place};

/// One POST of a source, as it came.
#[derive(Clone, Copy, Debug)]
pub struct EventsRequest<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The raw body.
    pub body: &'a Bytes,
    /// When the body was here, by ingress's clock.
    pub received_at: At,
}

/// Decides what becomes of a request of a source that is known. No I/O.
///
/// The signature comes first, as with [`crate::accept`]. An event that is not understood is kept
/// and dead-lettered, and its neighbours live.
pub fn accept_events(
    source: &Source,
    place: Option<&Place<'_>>,
    handles: &Handles,
    request: EventsRequest<'_>,
) -> Result<Accepted, Refused> {
    let EventsRequest { headers, body, received_at } = request;
    source.verify(headers, body, received_at)?;
    let place = place.ok_or_else(Refused::not_configured)?;
    let trace = header(headers, "traceparent").and_then(TraceContext::parse);
    let mut accepted = Accepted { trace, ..Accepted::default() };
    let read = match source.mapping() {
        Some(mapping) if !cloud_event::is_one(headers) => mapping.read(body),
        Some(_) | None => cloud_event::read(headers, body),
    };
    for (bytes, told) in read {
        let message = told.and_then(|told| message(&told, place, handles, received_at, trace));
        match message {
            Ok(message) => accepted.publish.push(message),
            Err(reason) => accepted.unreadable.push(unreadable(
                place,
                handles,
                received_at,
                trace,
                reason,
                Bytes::copy_from_slice(bytes),
            )),
        }
    }
    Ok(accepted)
}

/// What a body holds: the bytes of each event, and the event or why there is none.
type Read<'a> = Vec<(&'a [u8], Result<Told<'a>, String>)>;

/// A header that is text.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
pub(crate) mod tests;
