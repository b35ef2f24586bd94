//! How an event stands in a ledger: the name of its kind, and a compact proto3 JSON body.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::DecodeError;

/// An event as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// `ce-type`, e.g. `mainstem.routing.case-opened.v1`.
    pub kind: &'static str,
    /// The kind's message as JSON.
    pub body: Bytes,
}

pub(crate) fn write(kind: &'static str, message: &impl Serialize) -> Encoded {
    // Only a time or an enum number out of range can fail, and conversions make neither. An empty
    // body in a ledger would be worse than to stop here.
    let body = serde_json::to_vec(message).expect("a message made by a conversion is valid JSON");
    Encoded { kind, body: body.into() }
}

pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    Ok(serde_json::from_slice(body)?)
}
