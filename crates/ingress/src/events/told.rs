use std::borrow::Cow;

use mainstem_bus::nats::InboundMessage;
use mainstem_bus::{TraceContext, sha256_hex, topology};
use mainstem_domain::configuration::Mode;
use mainstem_domain::identifier::{Identifier, Normal};
use mainstem_domain::person::Business;
use mainstem_domain::{At, AttributeName, BrandId, EventId, Means, Purpose, StoreId};
use mainstem_proto::channel::{answer_to, business_to, mode_to};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::About;
use crate::{Handles, Place};

/// How long `source`, `id` and `type` may be, in bytes.
pub(crate) const ATTRIBUTE_AT_MOST: usize = 256;

/// 9999-01-01T00:00:00Z: later moments cannot be written with four digits for the year.
const YEAR_9999: At = At::from_millis(253_370_764_800_000);

pub(super) const UNREADABLE: &str = "JSON that readers do not agree on";

/// What a source tells of one event, before it is placed on a channel.
#[derive(Clone, Debug)]
pub(crate) struct Told<'a> {
    /// Who tells it.
    pub(crate) source: String,
    /// The id that the source gave it; without one, the same content is the same event.
    pub(crate) id: Option<String>,
    /// `order-placed` and so on, with or without `mainstem.` before it; or anything else.
    pub(crate) kind: String,
    /// What it says about the person.
    pub(crate) about: About,
    /// The brand it is about, if not the channel's.
    pub(crate) brand: Option<String>,
    /// The store it happened in, if not the channel's.
    pub(crate) store: Option<String>,
    /// When it happened.
    pub(crate) occurred_at: Option<At>,
    /// All of it, as it came in: a JSON object.
    pub(crate) raw: Cow<'a, RawValue>,
}

/// An attribute that must be there.
pub(super) fn attribute(name: &str, value: Option<&str>) -> Result<String, String> {
    value
        .filter(|value| (1..=ATTRIBUTE_AT_MOST).contains(&value.len()))
        .map(str::to_owned)
        .ok_or_else(|| format!("{name} must be a text of 1 to {ATTRIBUTE_AT_MOST} bytes"))
}

/// Says where the JSON ends to be any, and shows nothing of it.
pub(super) fn no_json(what: &str, error: &serde_json::Error) -> String {
    format!("not {what}: no JSON of that shape at line {}, column {}", error.line(), error.column())
}

pub(super) fn raw(value: &impl Serialize) -> Result<Box<RawValue>, String> {
    serde_json::value::to_raw_value(value).map_err(|_| "an event that cannot be written".to_owned())
}

/// Places an event on its channel.
///
/// A brand or store that the directory does not hold counts as not told: the channel's own stands
/// in its place, and the event's stays under `raw`.
pub(crate) fn message(
    told: &Told<'_>,
    place: &Place<'_>,
    handles: &Handles,
    received_at: At,
    trace: Option<TraceContext>,
) -> Result<InboundMessage, String> {
    if !told.raw.get().starts_with('{') {
        return Err("an event that is no object".to_owned());
    }
    let id = id(told)?;
    let business = business(&told.kind);
    let sightings = sightings(told, place);
    let (brand, store) = whereabouts(told, place);
    let in_range = |at: &At| (At::from_millis(0)..YEAR_9999).contains(at);
    let occurred_at = told.occurred_at.filter(in_range).unwrap_or(received_at);
    let body = Body {
        id: id.as_str(),
        channel: place.id.as_str(),
        store: store.map(StoreId::as_str),
        brand: brand.map(BrandId::as_str),
        business: business.map(|business| business_to(business).as_str_name()),
        other: business.is_none().then_some(told.kind.as_str()),
        occur_time: occurred_at.to_string(),
        receive_time: received_at.to_string(),
        mode: (place.channel.mode != Mode::Live).then(|| mode_to(place.channel.mode).as_str_name()),
        identifiers: &sightings,
        attributes: attributes(told, place),
        consents: consents(told),
        raw: &told.raw,
    };
    let body =
        serde_json::to_vec(&body).map_err(|_| "an event that cannot be written".to_owned())?;
    let first = sightings.first().map(|sighting| sighting.identifier.to_string());
    let trace = trace.unwrap_or_else(|| TraceContext::root(&format!("{}/{id}", place.id)));
    Ok(InboundMessage {
        kind: topology::inbound_kind(place.channel.kind, business.map_or("other", Business::name)),
        handle: handles.of(first.as_deref().unwrap_or(id.as_str())),
        channel: place.id.clone(),
        store: store.cloned(),
        brand: brand.cloned(),
        occurred_at,
        media: None,
        trace: trace.child(id.as_str()),
        body: body.into(),
        id,
    })
}

/// The brand and the store that an event belongs to.
pub(crate) fn whereabouts<'p>(
    told: &Told<'_>,
    place: &Place<'p>,
) -> (Option<&'p BrandId>, Option<&'p StoreId>) {
    let configuration = place.configuration;
    let brand = told.brand.as_ref().and_then(|text| text.parse::<BrandId>().ok());
    let brand = brand.and_then(|id| configuration.brands.get_key_value(&id)).map(|(id, _)| id);
    let store = told.store.as_ref().and_then(|text| text.parse::<StoreId>().ok());
    let store = store.and_then(|id| configuration.stores.get_key_value(&id)).map(|(id, _)| id);
    (brand.or(place.channel.brand.as_ref()), store.or(place.channel.store.as_ref()))
}

/// Follows from the source and its id alone, so that the same event is the same in every delivery.
fn id(told: &Told<'_>) -> Result<EventId, String> {
    let (word, own) = match &told.id {
        Some(id) => ("told", Cow::Borrowed(id.as_str())),
        None => ("derived", Cow::Owned(content(&told.raw)?)),
    };
    // The length keeps `a` and `bc` apart from `ab` and `c`.
    let origin = format!("{} {}{own}", told.source.len(), told.source);
    format!("{word}-{}", sha256_hex(origin.as_bytes())).parse().map_err(|_| UNREADABLE.to_owned())
}

/// The same for the same content, whatever its spacing and the order of its keys.
fn content(raw: &RawValue) -> Result<String, String> {
    let mut value: Value = serde_json::from_str(raw.get()).map_err(|_| UNREADABLE.to_owned())?;
    value.sort_all_objects();
    Ok(value.to_string())
}

fn business(kind: &str) -> Option<Business> {
    Business::from_name(kind.strip_prefix("mainstem.").unwrap_or(kind))
}

fn sightings<'t>(told: &'t Told<'_>, place: &Place<'_>) -> Vec<Sighting<'t>> {
    let owns =
        |identifier: &Identifier| place.channel.owns.iter().any(|owned| owned.covers(identifier));
    let sighting = |normal: &'t Normal| Sighting {
        identifier: &normal.identifier,
        verified: owns(&normal.identifier),
        extension: normal.extension.as_deref(),
    };
    told.about.identifiers.iter().map(sighting).collect()
}

fn attributes<'t>(told: &'t Told<'_>, place: &Place<'_>) -> Vec<Attribute<'t>> {
    let owns =
        |name: &AttributeName| place.channel.owns.iter().any(|owned| owned.covers_attribute(name));
    let attributes = told.about.attributes.iter();
    attributes.map(|(name, value)| Attribute { name, value, verified: owns(name) }).collect()
}

fn consents<'t>(told: &'t Told<'_>) -> Vec<Consent<'t>> {
    let consents = told.about.consents.iter();
    consents
        .map(|((means, purpose), answer)| Consent {
            means,
            purpose,
            answer: answer_to(*answer).as_str_name(),
        })
        .collect()
}

/// `mainstem.channel.v1.ChannelEvent` in the proto3 JSON mapping, by hand as for LINE: `raw` has to
/// stay as its source wrote it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    id: &'a str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    business: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    identifiers: &'a [Sighting<'a>],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consents: Vec<Consent<'a>>,
    occur_time: String,
    receive_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    raw: &'a RawValue,
}

#[derive(Serialize)]
struct Sighting<'a> {
    identifier: &'a Identifier,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<&'a str>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    name: &'a AttributeName,
    value: &'a str,
    verified: bool,
}

#[derive(Serialize)]
struct Consent<'a> {
    means: &'a Means,
    purpose: &'a Purpose,
    answer: &'static str,
}
