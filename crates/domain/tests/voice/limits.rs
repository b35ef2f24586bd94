//! Whatever the values are, LINE takes the messages, and no value is taken for more than it is.

use std::collections::BTreeMap;

use mainstem_domain::configuration::{Configuration, TEXT_AT_MOST};
use mainstem_domain::notification::Words;
use mainstem_domain::{CaseId, Language};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{example, line, render, text, with_template, words};

/// Values that people and systems really send, and worse.
fn value() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("{link}"),
        Just("{"),
        Just("}"),
        Just("{{case}}"),
        Just("\""),
        Just("\\"),
        Just("\u{0}"),
        Just("\u{1b}"),
        Just("\u{7f}"),
        Just("\n"),
        Just("\u{2028}"),
        Just("𝄞"),
        Just("👩‍👩‍👧"),
        Just("曜侖"),
        Just(" "),
        Just("a"),
        Just("TWD 12800"),
        Just("2026-11-30"),
        Just("https://shop.example/"),
    ];
    (vec(word, 0..6), prop_oneof![3 => Just(1), 1 => 2..4_000_usize])
        .prop_map(|(words, times)| words.concat().repeat(times))
}

fn language() -> impl Strategy<Value = Language> {
    prop::sample::select(Language::ALL.to_vec())
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A part of a template's text: itself, or a variable by its number.
#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Variable(usize),
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof!["[a-z曜𝄞 \n]{1,12}".prop_map(Part::Literal), (0..3_usize).prop_map(Part::Variable),]
}

/// As it is said: control characters cannot be read, and a blank says nothing.
fn readable(value: &str) -> String {
    if value.chars().all(|char| char.is_whitespace() || char.is_control()) {
        return String::new();
    }
    value.chars().map(|it| if it.is_control() && it != '\n' { ' ' } else { it }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// The whole of the example, with staff and brands of any name.
    #[test]
    fn line_takes_whatever_is_said(
        values in vec(value(), 12), name in value(), brand in prop::option::of(0..3_usize), language in language(),
        case in prop::option::of(0..3_u8), staff in any::<bool>(),
    ) {
        thread_local!(static EXAMPLE: Configuration = example());
        let mut configuration = EXAMPLE.with(Clone::clone);
        let (lin, member) = configuration.staff.iter_mut().next().unwrap();
        member.name.clone_from(&name);
        let lin = lin.clone();
        for known in configuration.brands.values_mut() {
            known.name.clone_from(&name);
        }
        let names = ["amount", "arrives", "case", "number", "occasion", "seats", "staff", "starts", "way"];
        let given = names.into_iter().map(str::to_owned).zip(values.iter().cloned());
        let words = Words {
            variables: given.collect(),
            case: case.map(|case| CaseId::derive(&case.to_string())),
            staff: staff.then_some(lin),
            ..Words::default()
        };
        let brand = brand.map(|brand| ["aurelune", "belvarra", "nobody"][brand]);
        for template in configuration.templates.keys() {
            let words = Words { templates: vec![template.clone(); 6], ..words.clone() };
            let messages = render(&configuration, &words, brand, language).unwrap();
            prop_assert_eq!(messages.len(), 5);
            line::takes(messages[0].as_str());
        }
    }

    /// Against a template that is put together the other way round: from its parts, without braces.
    #[test]
    fn a_text_is_its_parts_with_the_values_in_their_places(
        parts in vec(part(), 1..8), values in vec(value(), 3),
    ) {
        let written = parts.iter().map(|part| match part {
            Part::Literal(text) => text.clone(),
            Part::Variable(number) => format!("{{v{number}}}"),
        });
        let said: String = parts.iter().map(|part| match part {
            Part::Literal(text) => text.clone(),
            Part::Variable(number) => readable(&values[*number]),
        }).collect();
        let types: BTreeMap<_, _> = (0..3).map(|number| (format!("v{number}"), "text")).collect();
        let house: String = written.collect();
        let configuration = with_template(&serde_json::json!({"variables": types, "house": house}));
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let given: Vec<_> = ["v0", "v1", "v2"].into_iter().zip(values).collect();
        let rendered = render(&configuration, &words("t", &given), None, Language::ZhTw);
        if said.trim().is_empty() {
            prop_assert!(rendered.is_err());
            return Ok(());
        }
        let shown = text(&configuration, &words("t", &given), "aurora", Language::ZhTw);
        if units(&said) <= TEXT_AT_MOST {
            prop_assert_eq!(shown, said);
        } else {
            prop_assert!(units(&shown) <= TEXT_AT_MOST);
            prop_assert!(shown.contains('…'));
            // What the template itself says is whole.
            let mut rest = &*shown;
            for part in &parts {
                if let Part::Literal(text) = part {
                    let place = rest.find(text.as_str());
                    prop_assert!(place.is_some(), "{text:?} is missing");
                    rest = &rest[place.unwrap() + text.len()..];
                }
            }
        }
    }
}

#[test]
fn a_value_is_never_taken_for_a_variable() {
    let configuration = with_template(&serde_json::json!({
        "variables": {"one": "text", "two": "text"}, "house": "{one}-{two}-{link}",
    }));
    let given = words("t", &[("one", "{two}{link}"), ("two", "{one}")]);
    let said = text(&configuration, &given, "aurora", Language::ZhTw);
    assert_eq!(said, "{two}{link}-{one}-https://line.me/x");
}
