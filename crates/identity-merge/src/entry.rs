//! A record of a ledger as one entry of a customer's journey.

use mainstem_bus::Stored;
use mainstem_bus::record::header;
use mainstem_domain::At;

use mainstem_proto::field::timestamp;
use mainstem_proto::wire::identity as wire;

/// Everything but the body.
pub(crate) fn without_body(ledger: &str, message: &Stored) -> wire::TimelineEntry {
    let header = |name: &str| message.record.header(name).unwrap_or_default().to_owned();
    let occurred_at = message.record.header(header::TIME).and_then(At::parse);
    wire::TimelineEntry {
        ledger: ledger.to_owned(),
        sequence: message.sequence,
        time: Some(timestamp(message.decided_at())),
        occur_time: occurred_at.map(timestamp),
        customer: header(header::CUSTOMER),
        kind: message.record.kind().to_owned(),
        channel: header(header::CHANNEL),
        store: header(header::STORE),
        brand: header(header::BRAND),
        actor: header(header::ACTOR),
        body: None,
    }
}

/// All of it. The body is left out when it is no JSON object.
pub(crate) fn whole(ledger: &str, message: &Stored) -> wire::TimelineEntry {
    let body = serde_json::from_slice(&message.record.body).ok();
    wire::TimelineEntry { body, ..without_body(ledger, message) }
}
