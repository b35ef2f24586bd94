//! Dead letters: what could not be read, where it came from, and why. No content, no person.

use async_nats::jetstream::message::PublishMessage;
use serde::Serialize;

use crate::nats::{Bus, PublishError};
use crate::record::header;
use crate::topology;

#[derive(Serialize)]
struct DeadLetter<'a> {
    origin: &'a str,
    reason: &'a str,
}

/// Stores a dead letter; once for each origin, however often it is tried within two minutes.
pub(crate) async fn bury(
    bus: &Bus,
    service: &str,
    origin: &str,
    reason: &str,
) -> Result<(), PublishError> {
    let body = serde_json::to_vec(&DeadLetter { origin, reason })
        .map_err(|error| PublishError(error.to_string()))?;
    let publish = PublishMessage::build()
        .message_id(format!("{service}/{origin}"))
        .header(header::SPEC_VERSION, "1.0")
        .header(header::ID, format!("{service}/{origin}").as_str())
        .header(header::SOURCE, format!("/mainstem/{service}").as_str())
        .header(header::TYPE, "mainstem.dead-letter.v1")
        .header(header::CONTENT_TYPE, "application/json")
        .payload(body.into());
    bus.jetstream
        .send_publish(topology::dead_subject(service), publish)
        .await
        .map_err(|error| PublishError(error.to_string()))?
        .await
        .map_err(|error| PublishError(error.to_string()))?;
    Ok(())
}
