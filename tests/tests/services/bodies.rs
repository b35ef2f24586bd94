//! Every body that a sender makes is one that LINE takes, read strictly: each kind of message has the
//! fields that it needs, within LINE's limits, whatever is said in it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mainstem_cli::tree;
use mainstem_domain::configuration::{Configuration, Zone};
use mainstem_domain::notification::Words;
use mainstem_domain::voice::{Message, Unsaid, Voice, render};
use mainstem_domain::{CaseId, Language};
use mainstem_line::api::{Push, Reply};
use mainstem_line_sandbox::Endpoint;
use mainstem_line_sandbox::check::check;
use mainstem_tests::tools;
use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

/// What LINE says against these messages, in a reply or in a push.
fn refused(messages: &[Message]) -> Option<String> {
    let to = format!("U{}", "a".repeat(32));
    against(Endpoint::Reply, &Reply::new("nHuyWiB7yP5Zw52FIkcQobQuGDXCTA", messages))
        .or_else(|| against(Endpoint::Push, &Push::new(&to, messages)))
}

fn against(endpoint: Endpoint, body: &impl Serialize) -> Option<String> {
    let body = serde_json::from_slice(&serde_json::to_vec(body).unwrap()).unwrap();
    check(endpoint, &body).err().map(|invalid| format!("{invalid:?}: {body}"))
}

fn example() -> Configuration {
    let files = tree::read(&tools::workspace().join("deploy/example")).unwrap();
    tree::merge(&files).unwrap()
}

/// Says it as every brand and nobody, in every language.
fn said(configuration: &Configuration, words: &Words) -> Vec<Result<Vec<Message>, Unsaid>> {
    let zone = Zone::default();
    let brands = configuration.brands.keys().map(Some).chain([None]);
    let voices = brands.flat_map(|brand| Language::ALL.map(|language| (brand, language)));
    voices
        .map(|(brand, language)| {
            render(configuration, words, Voice { brand, language, zone: &zone })
        })
        .collect()
}

#[test]
fn what_the_example_says_is_valid_in_every_voice() {
    let configuration = example();
    let staff = configuration.staff.keys().next().cloned();
    let mut valid = 0;
    for name in configuration.templates.keys() {
        let words = Words {
            templates: vec![name.clone()],
            case: Some(CaseId::derive("1")),
            staff: staff.clone(),
            ..Words::default()
        };
        for messages in said(&configuration, &words) {
            assert_eq!(refused(&messages.unwrap()), None, "{name}");
            valid += 1;
        }
    }
    assert!(valid >= 2 * 30 * 10, "{valid}");
}

#[test]
fn the_check_refuses_what_line_refuses() {
    let without_text: Message = r#"{"type":"text"}"#.parse().unwrap();
    assert!(refused(&[without_text]).is_some());
    assert!(refused(&[]).is_some());
}

/// A text of one letter over and over, of odd letters, or what could be taken for something else.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        (any::<char>(), 1_usize..7_000)
            .prop_map(|(letter, times)| letter.to_string().repeat(times)),
        ".{0,40}",
        Just("{case}".to_owned()),
        Just("https://example.com/a?b=\"c\"".to_owned()),
        Just("2026-12-12T06:30:00Z".to_owned()),
        Just("TWD 128000".to_owned()),
        Just("\u{202e}\u{0}\n\t\"\\".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_a_value_is_the_body_is_valid(
        values in prop::collection::vec(value(), 7),
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..7),
    ) {
        let configuration = example();
        let names: Vec<_> = configuration.templates.keys().cloned().collect();
        let variables = ["amount", "arrives", "number", "occasion", "seats", "starts", "way"];
        let words = Words {
            templates: places.iter().map(|place| place.get(&names).clone()).collect(),
            variables: variables.map(str::to_owned).into_iter().zip(values.clone()).collect(),
            ..Words::default()
        };
        let text = Words { text: Some(values[0].clone()), ..Words::default() };
        for messages in said(&configuration, &words).into_iter().chain(said(&configuration, &text)) {
            // Nothing but blanks is not said at all.
            let Ok(messages) = messages else { continue };
            prop_assert_eq!(refused(&messages), None);
        }
    }

    #[test]
    fn whatever_a_brand_is_called_the_body_is_valid(name in value(), text in value()) {
        let configuration: Configuration = serde_json::from_value(json!({
            "brands": {"aurora": {"name": name}},
            "channels": {"line-1": {}},
            "templates": {"t": {"house": {"zh-TW": text}}},
        })).unwrap();
        prop_assume!(configuration.lint().is_empty());
        let words = Words { templates: vec!["t".to_owned()], ..Words::default() };
        for messages in said(&configuration, &words) {
            let Ok(messages) = messages else { continue };
            prop_assert_eq!(refused(&messages), None);
        }
    }
}
