//! What each field says, and what a whole comparison says of people who are easily confused.

use mainstem_domain::identity::{Bits, Field, Level, Score, Weights, blocks, compare};
use serde_json::json;

use crate::traits;

const MILLION: usize = 1_000_000;

fn score(one: &[(&str, &str)], other: &[(&str, &str)]) -> Score {
    compare(&traits(one), &traits(other), &Weights::default())
}

/// The one level that two people who have told one thing reach in it.
fn level(name: &str, one: &str, other: &str) -> Option<Level> {
    let score = score(&[(name, one)], &[(name, other)]);
    assert!(score.fields.len() <= 1, "{score:?}");
    score.fields.first().map(|field| field.level)
}

#[test]
fn the_same_weighs_more_than_the_close_and_that_more_than_the_different() {
    for (name, value, close, different) in [
        ("given-name", "Robert", "Robret", "Rupert"),
        ("given-name", "Mary", "Mary Ann", "Anna"),
        ("family-name", "Griffiths", "Grifiths", "Griffin"),
        ("name", "Robert Allen", "Robert James Allen", "Robert Cox"),
        ("name", "司馬相如", "司馬湘如", "司馬遷"),
        ("birth-date", "1990-05-12", "1990-12-05", "1991-06-12"),
        ("city", "台北市", "臺北市信義區", "新北市"),
        ("city", "Taipei", "Taipei City", "Tainan"),
        ("email", "mei.ling@a.example", "mei.lign@a.example", "xiao.hua@a.example"),
    ] {
        let bits = |other| score(&[(name, value)], &[(name, other)]).bits;
        assert_eq!(level(name, value, value), Some(Level::Exact));
        assert_eq!(level(name, value, close), Some(Level::Close), "{close}");
        assert_eq!(level(name, value, different), Some(Level::Different), "{different}");
        assert!(bits(value) > bits(close) && bits(close) > bits(different), "{name}");
        assert!(bits(value) > Bits::default() && bits(different) < Bits::default(), "{name}");
    }
    let bits = |other| score(&[("email", "mei.ling@a.example")], &[("email", other)]).bits;
    let elsewhere = bits("meiling+shop@b.example");
    assert!(bits("mei.ling@a.example") > elsewhere && elsewhere > bits("mei.lign@a.example"));
    assert_eq!(level("phone", "+886912000001", "+886912000001"), Some(Level::Exact));
    assert_eq!(level("phone", "+886912000001", "+886912000002"), Some(Level::Different));
}

#[test]
fn another_sign_makes_another_chinese_name() {
    for (name, one, other) in [
        ("name", "王小明", "王大明"),
        ("name", "王明", "王小明"),
        ("given-name", "小明", "曉明"),
        ("family-name", "王", "汪"),
    ] {
        assert_eq!(level(name, one, other), Some(Level::Different), "{one} {other}");
    }
}

#[test]
fn a_name_is_the_same_in_one_piece_and_in_two() {
    let chinese = [("given-name", "小明"), ("family-name", "王")];
    let english = [("given-name", "Robert"), ("family-name", "Allen")];
    for (parts, whole) in [
        (chinese, "王小明"),
        (chinese, "王 小明 先生"),
        (english, "Allen, Robert"),
        (english, "ＲＯＢＥＲＴ　ＡＬＬＥＮ"),
    ] {
        let found = score(&parts, &[("name", whole)]);
        assert_eq!((found.fields[0].field, found.fields[0].level), (Field::Name, Level::Exact));
        assert_eq!(found.fields.len(), 1);
        assert_eq!(blocks(&traits(&parts)), blocks(&traits(&[("name", whole)])), "{whole}");
    }
    assert_eq!(level("name", "Amy", "Amy"), None);
    assert_eq!(level("name", "陳小姐", "陳小姐"), None);
}

#[test]
fn names_that_changed_places_meet() {
    let one = [("given-name", "Robert"), ("family-name", "Allen")];
    let other = [("given-name", "Allen"), ("family-name", "Robret")];
    let swapped = score(&one, &other);
    assert_eq!((swapped.fields[0].field, swapped.fields[0].level), (Field::Name, Level::Swapped));
    assert!(swapped.bits < score(&one, &one).bits);
    let straight = [("given-name", "Allen"), ("family-name", "Robert")];
    assert_eq!(blocks(&traits(&one)), blocks(&traits(&straight)));
}

#[test]
fn twins_and_households_are_not_suggested() {
    let hui = [
        ("given-name", "家慧"),
        ("family-name", "林"),
        ("birth-date", "2001-09-09"),
        ("city", "高雄市"),
    ];
    let mut min = hui;
    min[0].1 = "家敏";
    let weights = Weights::default();
    let twins = score(&hui, &min);
    assert!(!twins.suggests(&weights, MILLION), "{}", twins.bits);
    assert!(score(&hui, &hui).suggests(&weights, MILLION));

    let father = [
        ("given-name", "國華"),
        ("family-name", "林"),
        ("birth-date", "1970-05-21"),
        ("phone", "+886912000104"),
    ];
    let daughter = [
        ("given-name", "家慧"),
        ("family-name", "林"),
        ("birth-date", "2001-09-09"),
        ("phone", "+886912000104"),
    ];
    assert!(!score(&father, &daughter).suggests(&weights, MILLION));
}

#[test]
fn what_stands_for_nothing_says_nothing() {
    for (name, value) in [
        ("birth-date", "1900-01-01"),
        ("birth-date", "1990-02-30"),
        ("given-name", "null"),
        ("given-name", "小姐"),
        ("city", "N/A"),
        ("phone", "+00000000"),
    ] {
        assert_eq!(score(&[(name, value)], &[(name, value)]), Score::default(), "{value}");
        assert_eq!(blocks(&traits(&[(name, value)])), [0_u64; 0], "{value}");
    }
}

#[test]
fn of_several_the_best_counts() {
    let one = [
        ("email", "mei.ling@a.example"),
        ("email", "a.chen@work.example"),
        ("phone", "+886912000001"),
    ];
    let other = [
        ("email", "achen@work.example"),
        ("email", "mei.ling@a.example"),
        ("phone", "+886912000002"),
        ("phone", "+886912000001"),
    ];
    let levels: Vec<_> = score(&one, &other).fields.iter().map(|field| field.level).collect();
    assert_eq!(levels, [Level::Exact, Level::Exact]);
}

#[test]
fn a_score_can_be_read() {
    let one = [("given-name", "Robert"), ("city", "Taipei"), ("email", "robert.allen@a.example")];
    let other = [("given-name", "Robret"), ("city", "Tainan"), ("email", "robertallen@b.example")];
    let found = score(&one, &other);
    assert_eq!(
        serde_json::to_value(&found).unwrap(),
        json!({"bits": 1200, "fields": [
            {"field": "given-name", "level": "close", "bits": 400},
            {"field": "city", "level": "different", "bits": -200},
            {"field": "email", "level": "same-local-part", "bits": 1000},
        ]})
    );
    assert_eq!(found.bits.to_string(), "12.00");
}

/// They are stored, so they must not change.
#[test]
fn keys_are_what_they_always_were() {
    assert_eq!(blocks(&traits(&[("birth-date", "1990-05-12")])), [0x2d6f_2084_21ef_8aea]);
    assert_eq!(blocks(&traits(&[("name", "王小明")])), [0xb5da_d350_e0e6_bc50]);
    assert_eq!(blocks(&traits(&[("name", "Robert Allen")])), [0xb3b4_5e00_b8fe_9363]);
    let nobody = [("city", "台北市"), ("given-name", "怡君")];
    assert_eq!(blocks(&traits(&nobody)), [0_u64; 0]);
    assert_eq!(blocks(&traits(&[("city", "台北市"), ("family-name", "陳")])), [0_u64; 0]);
}
