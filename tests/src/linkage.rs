//! How well identity-merge brings the records of one person together, on a set whose people are
//! known: by itself, and with everything that it suggests to a person.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::identifier::{Identifier, normalise};
use mainstem_domain::identity::{Identity, Input, State};
use mainstem_domain::person::{Act, Attribute, ChannelEvent, Sighting};
use mainstem_domain::{At, CustomerId, Decider as _};
use serde::Serialize;

/// A column that a set can have and the attribute that it is loaded as.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("first_name", "given-name"),
    ("given-name", "given-name"),
    ("surname", "family-name"),
    ("family-name", "family-name"),
    ("name", "name"),
    ("dob", "birth-date"),
    ("birth-date", "birth-date"),
    ("city", "city"),
];

/// What came of a set, in pairs of records.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Linkage {
    /// Records that were loaded.
    pub records: usize,
    /// Pairs that are one person's.
    pub of_one_person: usize,
    /// Pairs in one customer.
    pub merged: usize,
    /// Of these, pairs that are one person's.
    pub merged_right: usize,
    /// Pairs in one customer, or in two who are suggested to be one.
    pub suggested: usize,
    /// Of these, pairs that are one person's.
    pub suggested_right: usize,
}

impl Linkage {
    /// How many of the pairs that were merged are one person's.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share(self.merged_right, self.merged)
    }

    /// How many of the pairs that are one person's were merged.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.merged_right, self.of_one_person)
    }

    /// How many of the pairs that were merged or suggested are one person's.
    #[must_use]
    pub fn suggested_precision(&self) -> f64 {
        share(self.suggested_right, self.suggested)
    }

    /// How many of the pairs that are one person's were merged or suggested.
    #[must_use]
    pub fn suggested_recall(&self) -> f64 {
        share(self.suggested_right, self.of_one_person)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(part: usize, of: usize) -> f64 {
    if of == 0 { 1.0 } else { part as f64 / of as f64 }
}

/// Loads each record of a file as one event of a customer database: `external:crm:<unique_id>`, its
/// e-mail address verified, everything else asserted. `cluster` says who it is.
pub fn link(file: &Path) -> anyhow::Result<Linkage> {
    let mut reader =
        csv::Reader::from_path(file).with_context(|| format!("cannot read {}", file.display()))?;
    let configuration = Configuration::default();
    let mut state = State::default();
    let mut records: Vec<(Vec<Identifier>, String)> = Vec::new();
    for (number, row) in reader.deserialize::<BTreeMap<String, String>>().enumerate() {
        let row = row?;
        let at = At::from_millis(1_795_219_200_000 + i64::try_from(number)? * 1_000);
        let id = row.get("unique_id").cloned().unwrap_or_else(|| format!("row-{number}"));
        let id: Identifier = format!("external:crm:{id}").parse()?;
        let event = event(&row, &id, number, at)?;
        // A placeholder such as `0` tells nobody; then the address does.
        let told = event.sightings.iter().filter(|one| one.verified);
        let told = told.map(|one| one.identifier.clone()).collect();
        let input = Input::Inbound { event, tokens: Vec::new() };
        let decision = Identity::decide(&state, &configuration, &input, at);
        for event in &decision.events {
            Identity::evolve(&mut state, event, at);
        }
        records.push((told, row.get("cluster").context("the column cluster is missing")?.clone()));
    }
    count(&state, &records)
}

fn event(
    row: &BTreeMap<String, String>,
    id: &Identifier,
    number: usize,
    at: At,
) -> anyhow::Result<ChannelEvent> {
    let told = |column: &str| row.get(column).map(String::as_str).filter(|text| !text.is_empty());
    let mut sightings = vec![Sighting { identifier: id.clone(), verified: true }];
    for (kind, verified) in [("email", true), ("phone", false)] {
        let normal = told(kind).and_then(|text| normalise(&format!("{kind}:{text}")).ok());
        sightings.extend(normal.map(|normal| Sighting { identifier: normal.identifier, verified }));
    }
    let mut attributes = Vec::new();
    for (column, name) in ATTRIBUTES {
        if let Some(value) = told(column) {
            let (name, value) = (name.parse()?, value.to_owned());
            attributes.push(Attribute { name, value, verified: false });
        }
    }
    Ok(ChannelEvent {
        id: format!("record-{number}").parse()?,
        channel: "crm".parse()?,
        mode: Mode::Live,
        store: None,
        brand: None,
        act: Act::Other,
        sightings,
        occurred_at: at,
        received_at: at,
        reply_token: None,
        attributes,
        consents: Vec::new(),
        message: None,
    })
}

fn count(state: &State, records: &[(Vec<Identifier>, String)]) -> anyhow::Result<Linkage> {
    let owner = |told: &Vec<Identifier>| told.iter().find_map(|one| state.owner(one));
    let owners: Option<Vec<CustomerId>> = records.iter().map(|(told, _)| owner(told)).collect();
    let owners = owners.context("a record belongs to nobody")?;
    let pair = |one: CustomerId, other: CustomerId| (one.min(other), one.max(other));
    let suggested: BTreeSet<_> = state
        .suggestions_after(None)
        .map(|(_, suggestion)| pair(suggestion.customer, suggestion.other))
        .collect();
    let mut linkage = Linkage {
        records: records.len(),
        of_one_person: 0,
        merged: 0,
        merged_right: 0,
        suggested: 0,
        suggested_right: 0,
    };
    for one in 0..records.len() {
        for other in one + 1..records.len() {
            let same = usize::from(records[one].1 == records[other].1);
            linkage.of_one_person += same;
            let merged = owners[one] == owners[other];
            if merged {
                linkage.merged += 1;
                linkage.merged_right += same;
            }
            if merged || suggested.contains(&pair(owners[one], owners[other])) {
                linkage.suggested += 1;
                linkage.suggested_right += same;
            }
        }
    }
    Ok(linkage)
}
