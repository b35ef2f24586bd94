//! Records of people with errors in them: what identity-merge joins by itself, and what it suggests.

use std::path::Path;

use mainstem_tests::linkage::{Linkage, link};

fn report(name: &str, linkage: &Linkage) {
    println!(
        "{name}: {} records; merged: precision {:.4}, recall {:.4}; merged or suggested: precision {:.4}, recall {:.4}",
        linkage.records,
        linkage.precision(),
        linkage.recall(),
        linkage.suggested_precision(),
        linkage.suggested_recall()
    );
}

#[test]
fn what_is_merged_is_right_and_what_is_suggested_finds_more() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/linkage/fake_1000.csv");
    if !file.exists() {
        eprintln!("skipped: {} is not there", file.display());
        return;
    }
    let linkage = link(&file).unwrap();
    report("fake_1000", &linkage);
    assert_eq!(linkage.records, 1_000);
    assert!(linkage.precision() >= 0.999, "{linkage:?}");
    assert!(linkage.recall() >= 0.3, "{linkage:?}");
    assert!(linkage.suggested_precision() >= 0.95, "{linkage:?}");
    assert!(linkage.suggested_recall() >= 0.6, "{linkage:?}");
}

#[test]
fn the_shipped_set_is_linked_alike() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/domain/tests/similarity/people.csv");
    let linkage = link(&file).unwrap();
    report("people", &linkage);
    // Two of a family share an address there that is verified for both, so they are one by the rules.
    assert_eq!((linkage.merged, linkage.merged_right), (4, 3), "{linkage:?}");
    assert!(linkage.suggested_right > linkage.merged_right, "{linkage:?}");
}
