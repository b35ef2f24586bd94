//! How many records of one person are found, and how many of two are taken for one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mainstem_domain::identity::{Traits, Weights, blocks, compare};

use crate::traits;

/// A record of a set whose people are known.
struct Record {
    person: String,
    traits: Traits,
}

/// What came of a set, in pairs of records.
#[derive(Debug)]
struct Found {
    of_one_person: usize,
    candidates: usize,
    candidates_of_one_person: usize,
    suggested: usize,
    suggested_of_one_person: usize,
}

impl Found {
    fn per_mille(part: usize, of: usize) -> usize {
        (part * 1_000).checked_div(of).unwrap_or(1_000)
    }

    fn block_recall(&self) -> usize {
        Self::per_mille(self.candidates_of_one_person, self.of_one_person)
    }

    fn recall(&self) -> usize {
        Self::per_mille(self.suggested_of_one_person, self.of_one_person)
    }

    fn precision(&self) -> usize {
        Self::per_mille(self.suggested_of_one_person, self.suggested)
    }
}

/// Reads a set. Each of the columns is an attribute, or the phone number or the address.
fn records(file: &Path, columns: &[(&str, &str)]) -> Vec<Record> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let rows = reader.deserialize::<BTreeMap<String, String>>().map(Result::unwrap);
    rows.map(|row| {
        let told: Vec<_> = columns
            .iter()
            .map(|(column, name)| (*name, row[*column].as_str()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Record { person: row["cluster"].clone(), traits: traits(&told) }
    })
    .collect()
}

fn pairs(of: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..of).flat_map(move |one| (one + 1..of).map(move |other| (one, other)))
}

/// Compares all records that share a key, as in a shop of so many customers.
fn find(records: &[Record], customers: usize) -> Found {
    let weights = &Weights::default();
    let mut by_key: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (number, record) in records.iter().enumerate() {
        for key in blocks(&record.traits) {
            by_key.entry(key).or_default().push(number);
        }
    }
    let candidates: BTreeSet<_> = by_key
        .values()
        .flat_map(|block| pairs(block.len()).map(|(one, other)| (block[one], block[other])))
        .collect();
    let of_one_person =
        |(one, other): &(usize, usize)| records[*one].person == records[*other].person;
    let suggested: Vec<_> = candidates
        .iter()
        .filter(|(one, other)| {
            compare(&records[*one].traits, &records[*other].traits, weights)
                .suggests(weights, customers)
        })
        .copied()
        .collect();
    Found {
        of_one_person: pairs(records.len()).filter(of_one_person).count(),
        candidates: candidates.len(),
        candidates_of_one_person: candidates.iter().filter(|pair| of_one_person(pair)).count(),
        suggested: suggested.len(),
        suggested_of_one_person: suggested.iter().filter(|pair| of_one_person(pair)).count(),
    }
}

fn report(set: &str, found: &Found) {
    let Found { of_one_person, candidates, suggested, .. } = found;
    eprintln!(
        "{set}: of {of_one_person} pairs that are one person, {} per mille are among {candidates} \
         candidates and {} per mille among {suggested} suggestions, of which {} per mille are right",
        found.block_recall(),
        found.recall(),
        found.precision(),
    );
}

#[test]
fn most_records_of_one_person_are_found_in_a_public_set() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/linkage/fake_1000.csv");
    if !file.exists() {
        eprintln!("passed over: there is no {}", file.display());
        return;
    }
    let columns = [
        ("first_name", "given-name"),
        ("surname", "family-name"),
        ("dob", "birth-date"),
        ("city", "city"),
        ("email", "email"),
    ];
    let records = records(&file, &columns);
    let found = find(&records, records.len());
    report("a public set", &found);
    assert!(found.block_recall() >= 740, "{found:?}");
    assert!(found.recall() >= 650, "{found:?}");
    assert!(found.precision() >= 980, "{found:?}");

    // Among more customers more is needed; then less is found, and hardly anything wrongly.
    let found = find(&records, 1_000_000);
    report("a public set, as if among a million", &found);
    assert!(found.recall() >= 400, "{found:?}");
    assert!(found.precision() >= 995, "{found:?}");
}

#[test]
fn records_of_one_person_are_found_among_relatives_and_namesakes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/similarity/people.csv");
    let columns = ["given-name", "family-name", "name", "birth-date", "city", "phone", "email"];
    let records = records(&file, &columns.map(|column| (column, column)));
    let found = find(&records, 1_000_000);
    report("invented people among a million", &found);
    assert_eq!(found.precision(), 1_000, "{found:?}");
    assert!(found.block_recall() >= 800, "{found:?}");
    assert!(found.recall() >= 600, "{found:?}");
}
