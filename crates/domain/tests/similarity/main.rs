//! Who may be one person: field by field, by properties, and tried on invented records.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

mod fields;
mod linkage;
mod properties;

use mainstem_domain::AttributeName;
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::Traits;

/// The traits of somebody with these attributes, and with the phone number and address among them.
fn traits(told: &[(&str, &str)]) -> Traits {
    let mut attributes: Vec<(AttributeName, &str)> = Vec::new();
    let mut identifiers: Vec<Identifier> = Vec::new();
    for (name, value) in told {
        match *name {
            "phone" | "email" => {
                identifiers.extend(format!("{name}:{value}").parse::<Identifier>());
            }
            name => attributes.push((name.parse().unwrap(), value)),
        }
    }
    Traits::of(attributes.iter().map(|(name, value)| (name, *value)), &identifiers)
}
