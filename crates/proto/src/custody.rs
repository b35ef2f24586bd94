//! Records of routing and notification about whose records are whose.

use mainstem_domain::CustomerId;
use mainstem_domain::custody::{Event, Part, Split};
use mainstem_domain::person::NoCarrier;

use crate::error::{DecodeError, FieldError};
use crate::field::{parse_customer, parse_id};
use crate::record::{self, Encoded};
use crate::wire::custody as wire;

/// How these records are called in one service's ledger.
pub(crate) struct Kinds {
    pub(crate) split_begun: &'static str,
    pub(crate) divided: &'static str,
    pub(crate) upstream_moved: &'static str,
    pub(crate) records_moved: &'static str,
    pub(crate) customers_forgotten: &'static str,
    pub(crate) erasure_done: &'static str,
    pub(crate) erasure_reported: &'static str,
}

pub(crate) fn encode(kinds: &Kinds, event: &Event) -> Encoded {
    match event {
        Event::SplitBegun(Split { split, before, pieces, aliases }) => record::write(
            kinds.split_begun,
            &wire::SplitBegun {
                split: split.to_string(),
                before: before.to_string(),
                pieces: texts(pieces),
                aliases: texts(aliases),
            },
        ),
        Event::Divided(Part { split, before, customer, aliases, carriers, last }) => record::write(
            kinds.divided,
            &wire::Divided {
                split: split.to_string(),
                before: before.to_string(),
                customer: customer.to_string(),
                aliases: texts(aliases),
                carriers: texts(carriers),
                last: *last,
            },
        ),
        Event::UpstreamMoved { split, before } => record::write(
            kinds.upstream_moved,
            &wire::UpstreamMoved { split: split.to_string(), before: before.to_string() },
        ),
        Event::RecordsMoved { split, customer, counts } => record::write(
            kinds.records_moved,
            &wire::RecordsMoved {
                split: split.to_string(),
                customer: customer.to_string(),
                counts: counts.clone(),
            },
        ),
        Event::CustomersForgotten { erasure, customers } => record::write(
            kinds.customers_forgotten,
            &wire::CustomersForgotten { erasure: erasure.to_string(), customers: texts(customers) },
        ),
        Event::ErasureDone { erasure, counts } => record::write(
            kinds.erasure_done,
            &wire::ErasureDone { erasure: erasure.to_string(), counts: counts.clone() },
        ),
        Event::ErasureReported { erasure } => record::write(
            kinds.erasure_reported,
            &wire::ErasureReported { erasure: erasure.to_string() },
        ),
    }
}

/// The event of a record that [`encode`] made; `None` when it is of another kind.
pub(crate) fn decode(kinds: &Kinds, kind: &str, body: &[u8]) -> Result<Option<Event>, DecodeError> {
    let event = if kind == kinds.split_begun {
        let record: wire::SplitBegun = record::read(body)?;
        Event::SplitBegun(Split {
            split: parse_id("split", &record.split)?,
            before: parse_customer("before", &record.before)?,
            pieces: customers("pieces", &record.pieces)?,
            aliases: customers("aliases", &record.aliases)?,
        })
    } else if kind == kinds.divided {
        let record: wire::Divided = record::read(body)?;
        let carriers = record.carriers.iter().map(|carrier| carrier.parse());
        Event::Divided(Part {
            split: parse_id("split", &record.split)?,
            before: parse_customer("before", &record.before)?,
            customer: parse_customer("customer", &record.customer)?,
            aliases: customers("aliases", &record.aliases)?,
            carriers: carriers
                .collect::<Result<_, _>>()
                .map_err(|error: NoCarrier| FieldError::new("carriers", error.to_string()))?,
            last: record.last,
        })
    } else if kind == kinds.upstream_moved {
        let record: wire::UpstreamMoved = record::read(body)?;
        let split = parse_id("split", &record.split)?;
        Event::UpstreamMoved { split, before: parse_customer("before", &record.before)? }
    } else if kind == kinds.records_moved {
        let record: wire::RecordsMoved = record::read(body)?;
        Event::RecordsMoved {
            split: parse_id("split", &record.split)?,
            customer: parse_customer("customer", &record.customer)?,
            counts: record.counts,
        }
    } else if kind == kinds.customers_forgotten {
        let record: wire::CustomersForgotten = record::read(body)?;
        Event::CustomersForgotten {
            erasure: parse_id("erasure", &record.erasure)?,
            customers: customers("customers", &record.customers)?,
        }
    } else if kind == kinds.erasure_done {
        let record: wire::ErasureDone = record::read(body)?;
        let erasure = parse_id("erasure", &record.erasure)?;
        Event::ErasureDone { erasure, counts: record.counts }
    } else if kind == kinds.erasure_reported {
        let record: wire::ErasureReported = record::read(body)?;
        Event::ErasureReported { erasure: parse_id("erasure", &record.erasure)? }
    } else {
        return Ok(None);
    };
    Ok(Some(event))
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn customers(field: &str, texts: &[String]) -> Result<Vec<CustomerId>, FieldError> {
    texts.iter().map(|text| parse_customer(field, text)).collect()
}
