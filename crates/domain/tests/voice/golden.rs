//! Every template of the example as three brands say it in each language. `BLESS=1` writes the file anew.

use std::fmt::Write as _;
use std::path::Path;

use mainstem_domain::notification::Words;
use mainstem_domain::{CaseId, Language};
use serde_json::Value;

use super::{example, line, render};

/// One with a voice of its own, one without, and nobody.
const BRANDS: [Option<&str>; 3] = [Some("aurelune"), Some("belvarra"), None];

#[expect(clippy::disallowed_methods, reason = "a test is not configured by the configuration")]
fn is_blessed() -> bool {
    std::env::var_os("BLESS").is_some()
}

#[test]
fn what_the_example_says() {
    let configuration = example();
    assert_eq!(configuration.lint(), []);
    let variables = [
        ("amount", "TWD 128000"),
        ("arrives", "2026-12-03"),
        ("number", "SO-20261130-0042"),
        ("occasion", "Winter Atelier"),
        ("seats", "1200"),
        ("starts", "2026-12-12T06:30:00Z"),
        ("way", "https://shop.mainstem.example/atelier?from=line"),
    ];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let words = Words {
        variables: variables.map(own).into(),
        case: Some(CaseId::derive("golden")),
        staff: configuration.staff.keys().next().cloned(),
        ..Words::default()
    };
    let mut said = String::new();
    for name in configuration.templates.keys() {
        for language in Language::ALL {
            for brand in BRANDS {
                let words = Words { templates: vec![name.clone()], ..words.clone() };
                let messages = render(&configuration, &words, brand, language).unwrap();
                let _ = writeln!(said, "# {name}, {language}, {}", brand.unwrap_or("no brand"));
                for message in messages {
                    line::takes(message.as_str());
                    let value: Value = serde_json::from_str(message.as_str()).unwrap();
                    assert!(value.get("sender").is_some(), "{message:?}");
                    let _ = writeln!(said, "{message:?}");
                }
            }
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/voice/golden.txt");
    if is_blessed() {
        std::fs::write(&file, &said).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    for (line, (now, golden)) in said.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, golden, "line {}; BLESS=1 writes tests/voice/golden.txt anew", line + 1);
    }
    assert_eq!(said.len(), golden.len(), "BLESS=1 writes tests/voice/golden.txt anew");
}
