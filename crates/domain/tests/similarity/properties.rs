//! What holds for anybody.

use mainstem_domain::AttributeName;
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Bits, Traits, Weights, blocks, compare};
use proptest::collection::vec;
use proptest::prelude::*;

/// A value as a source may write it: often near to another one, sometimes anything.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{1,4}( [ab]{1,4})?",
        "[王小明大]{1,4}",
        "(民國)?[0-9]{2,4}[-/年.][0-9]{1,2}[-/月][0-9]{1,2}日?",
        "19[0-9]{2}-0[1-9]-[012][0-9]",
        "\\PC{0,24}",
        any::<String>(),
    ]
}

fn identifier() -> impl Strategy<Value = Identifier> {
    prop_oneof![
        "phone:\\+88691200000[0-3]",
        "email:[ab.+]{1,8}@[ab]\\.example",
        "email:\\PC{1,12}@\\PC{1,6}",
        "member:[0-9]{1,4}",
    ]
    .prop_filter_map("no identifier", |text| text.parse().ok())
}

fn attribute() -> impl Strategy<Value = (AttributeName, String)> {
    let name = prop_oneof![
        Just("given-name"),
        Just("family-name"),
        Just("name"),
        Just("birth-date"),
        Just("city"),
        Just("language"),
    ];
    (name.prop_map(|name| name.parse().unwrap()), value())
}

fn somebody() -> impl Strategy<Value = Traits> {
    (vec(attribute(), 0..6), vec(identifier(), 0..4)).prop_map(|(attributes, identifiers)| {
        Traits::of(attributes.iter().map(|(name, value)| (name, value.as_str())), &identifiers)
    })
}

/// Made by hand: every field holds anything.
fn anything() -> impl Strategy<Value = Traits> {
    let maybe = || proptest::option::of(any::<String>());
    let several = || vec(any::<String>(), 0..3);
    (maybe(), maybe(), maybe(), maybe(), maybe(), several(), several()).prop_map(
        |(given_name, family_name, name, birth_date, city, phones, emails)| Traits {
            given_name,
            family_name,
            name,
            birth_date,
            city,
            phones,
            emails,
        },
    )
}

proptest! {
    #[test]
    fn a_comparison_is_the_same_in_both_directions(one in somebody(), other in somebody()) {
        let weights = Weights::default();
        prop_assert_eq!(compare(&one, &other, &weights), compare(&other, &one, &weights));
    }

    #[test]
    fn nothing_panics_and_everything_is_bounded(one in anything(), other in anything()) {
        let weights = Weights::default();
        for score in [compare(&one, &other, &weights), compare(&one, &one, &weights)] {
            prop_assert!(score.fields.len() <= 6);
            prop_assert!(score.fields.is_sorted_by(|one, next| one.field < next.field));
            let sum: Bits = score.fields.iter().map(|field| field.bits).sum();
            prop_assert_eq!(score.bits, sum);
            prop_assert!(score.bits.hundredths().abs() <= 6 * 4_000);
        }
        prop_assert_eq!(compare(&one, &other, &weights), compare(&other, &one, &weights));
        prop_assert!(blocks(&one).len() <= 3 + one.phones.len() + one.emails.len());
    }

    #[test]
    fn nobody_is_liker_to_somebody_than_that_person(one in somebody(), other in somebody()) {
        let weights = Weights::default();
        let of_self = compare(&one, &one, &weights);
        prop_assert!(of_self.fields.iter().all(|field| field.bits > Bits::default()));
        prop_assert!(compare(&one, &other, &weights).bits <= of_self.bits);
    }

    #[test]
    fn what_is_not_known_of_both_adds_nothing(one in somebody(), other in somebody(), field in 0..5) {
        let weights = Weights::default();
        let mut less = other.clone();
        match field {
            0 => less.birth_date = None,
            1 => less.city = None,
            2 => less.phones.clear(),
            3 => less.emails.clear(),
            _ => (less.given_name, less.family_name, less.name) = (None, None, None),
        }
        let (all, less) = (compare(&one, &other, &weights), compare(&one, &less, &weights));
        let gone: Bits = all
            .fields
            .iter()
            .filter(|score| !less.fields.contains(score))
            .map(|score| score.bits)
            .sum();
        prop_assert_eq!(all.bits, less.bits + gone);
        prop_assert_eq!(compare(&one, &Traits::default(), &weights).fields, []);
    }

    #[test]
    fn what_is_comparable_stays_as_it_is(one in somebody()) {
        let name = |name: &str| name.parse::<AttributeName>().unwrap();
        let told: Vec<_> = [
            ("given-name", &one.given_name),
            ("family-name", &one.family_name),
            ("name", &one.name),
            ("birth-date", &one.birth_date),
            ("city", &one.city),
        ]
        .into_iter()
        .filter_map(|(attribute, value)| Some((name(attribute), value.clone()?)))
        .collect();
        let again = Traits::of(told.iter().map(|(name, value)| (name, value.as_str())), []);
        let kept = Traits { phones: Vec::new(), emails: Vec::new(), ..one };
        prop_assert_eq!(again, kept);
    }

    #[test]
    fn the_same_people_share_all_keys(one in somebody()) {
        let keys = blocks(&one);
        prop_assert_eq!(&keys, &blocks(&one.clone()));
        prop_assert!(keys.is_sorted_by(|one, next| one < next));
    }
}
