//! What callers ask routing to do, read and checked.

use mainstem_domain::access::Caller;
use mainstem_domain::configuration::Priority;
use mainstem_domain::routing::{NewCase, REASON_AT_MOST};
use mainstem_domain::{Refusal, RefusalCode};
use mainstem_proto::field::{parse_customer, parse_optional, parse_queue};
use mainstem_proto::routing;
use mainstem_proto::wire::routing as wire;

/// How long each of the details of a case may be, in characters, and how many photos it may have.
pub(crate) const DETAIL_AT_MOST: usize = 500;
pub(crate) const PHOTOS_AT_MOST: usize = 20;

/// Why somebody does what has to be accounted for.
pub(crate) fn reason(given: &str) -> Result<String, Refusal> {
    let reason = given.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > REASON_AT_MOST {
        let rule = format!("must say why, in 1 to {REASON_AT_MOST} characters");
        return Err(Refusal::field("reason", rule));
    }
    Ok(reason)
}

/// A case as the caller asks for it, in the caller's scope.
pub(crate) fn wish(caller: &Caller, request: wire::OpenCaseRequest) -> Result<NewCase, Refusal> {
    let details = routing::details_from(request.details.unwrap_or_default());
    let texts = [
        ("product", &details.product),
        ("serial", &details.serial),
        ("purchase", &details.purchase),
        ("warranty", &details.warranty),
        ("symptom", &details.symptom),
        ("reference", &details.reference),
    ];
    let photos = details.photos.iter().map(|photo| ("photos", photo));
    for (field, text) in texts.into_iter().chain(photos) {
        if text.chars().count() > DETAIL_AT_MOST {
            let rule = format!("must be at most {DETAIL_AT_MOST} characters");
            return Err(Refusal::field(&format!("details.{field}"), rule));
        }
    }
    if details.photos.len() > PHOTOS_AT_MOST {
        let rule = format!("must be at most {PHOTOS_AT_MOST}");
        return Err(Refusal::field("details.photos", rule));
    }
    let priority = match request.priority.as_str() {
        "" => Priority::default(),
        text => routing::parse_priority("priority", text)?,
    };
    let wish = NewCase {
        customer: parse_customer("customer", &request.customer)?,
        channel: parse_optional("channel", &request.channel)?,
        brand: parse_optional("brand", &request.brand)?,
        store: parse_optional("store", &request.store)?,
        queue: parse_queue("queue", &request.queue)?,
        priority,
        details,
        by: caller.name.clone(),
    };
    if caller.reaches(wish.store.as_ref(), Some(&wish.queue), wish.brand.as_ref()) {
        return Ok(wish);
    }
    Err(Refusal::new(
        RefusalCode::PermissionDenied,
        "OUT_OF_SCOPE",
        "neither the store nor the queue nor the brand is among the caller's",
    ))
}
