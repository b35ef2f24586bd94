//! What people are told: the example's templates, LINE's limits, and what lint refuses.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

mod asked;
mod golden;
mod limits;
mod line;
mod lint;

use std::collections::BTreeMap;
use std::path::Path;

use mainstem_domain::configuration::{Configuration, Zone};
use mainstem_domain::notification::Words;
use mainstem_domain::voice::{self, Message, Unsaid, Voice};
use mainstem_domain::{BrandId, Language};
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

/// `deploy/example`, as `mainstem apply` reads it.
fn example() -> Configuration {
    let mut whole = Yaml::Mapping(serde_yaml_ng::Mapping::new());
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/example"), &mut whole);
    serde_yaml_ng::with::singleton_map_recursive::deserialize(whole).unwrap()
}

fn collect(folder: &Path, whole: &mut Yaml) {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, whole);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            merge(whole, serde_yaml_ng::from_str(&text).unwrap(), "");
        }
    }
}

fn merge(into: &mut Yaml, part: Yaml, at: &str) {
    match (into, part) {
        (Yaml::Mapping(into), Yaml::Mapping(part)) => {
            for (key, value) in part {
                let at = key.as_str().unwrap_or_default().to_owned();
                match into.get_mut(&key) {
                    Some(known) => merge(known, value, &at),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        // A text alone is one in the default language, and another file has the other languages.
        (into @ Yaml::String(_), Yaml::Mapping(mut part)) => {
            part.insert("zh-TW".into(), std::mem::take(into));
            *into = Yaml::Mapping(part);
        }
        (Yaml::Mapping(into), text @ Yaml::String(_)) => {
            into.insert("zh-TW".into(), text);
        }
        (into, part) => panic!("{at} stands twice: {into:?}, {part:?}"),
    }
}

/// A configuration with one template `t`.
fn with_template(template: &Value) -> Configuration {
    serde_json::from_value(serde_json::json!({
        "brands": {"aurora": {"name": "極光 Aurora"}, "borea": {"name": "Borea"}},
        "channels": {"line-1": {}},
        "entry": {"channel": "line-1", "link": "https://line.me/x"},
        "templates": {"t": template},
    }))
    .unwrap()
}

fn words(template: &str, variables: &[(&str, &str)]) -> Words {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let variables: BTreeMap<_, _> = variables.collect();
    Words { templates: vec![template.to_owned()], variables, ..Words::default() }
}

fn render(
    configuration: &Configuration,
    words: &Words,
    brand: Option<&str>,
    language: Language,
) -> Result<Vec<Message>, Unsaid> {
    let brand: Option<BrandId> = brand.map(|brand| brand.parse().unwrap());
    let voice = Voice { brand: brand.as_ref(), language, zone: &Zone::default() };
    voice::render(configuration, words, voice)
}

/// The one text that is said.
fn text(configuration: &Configuration, words: &Words, brand: &str, language: Language) -> String {
    let messages = render(configuration, words, Some(brand), language).unwrap();
    let [message] = &messages[..] else { panic!("{messages:?}") };
    let message: Value = serde_json::from_str(message.as_str()).unwrap();
    message["text"].as_str().unwrap().to_owned()
}

#[test]
fn the_persons_language_comes_before_the_brands_voice() {
    let configuration = with_template(&serde_json::json!({
        "house": {"zh-TW": "您好", "en": "Hello"},
        "brands": {"aurora": "極光您好"},
    }));
    let text = |brand, language| text(&configuration, &words("t", &[]), brand, language);
    assert_eq!(text("aurora", Language::ZhTw), "極光您好");
    assert_eq!(text("aurora", Language::En), "Hello");
    assert_eq!(text("borea", Language::ZhTw), "您好");
    let configuration = with_template(&serde_json::json!({"house": "您好"}));
    assert_eq!(in_house_voice(&configuration, Language::En), "您好");
}

fn in_house_voice(configuration: &Configuration, language: Language) -> String {
    text(configuration, &words("t", &[]), "borea", language)
}

#[test]
fn nothing_is_said_without_words() {
    let configuration = with_template(&serde_json::json!({"house": "{case}"}));
    let said = |words: &Words| render(&configuration, words, None, Language::ZhTw);
    assert_eq!(said(&words("t", &[])), Err(Unsaid::Nothing));
    assert_eq!(said(&words("other", &[])), Err(Unsaid::NoTemplate));
    assert_eq!(said(&Words::default()), Err(Unsaid::Nothing));
}

#[test]
fn whoever_has_left_has_no_name() {
    let configuration = with_template(
        &serde_json::json!({"house": {"zh-TW": "由 {staff} 服務", "en": "Ask {staff}."}}),
    );
    let words = Words { staff: Some("lin".parse().unwrap()), ..words("t", &[]) };
    assert_eq!(text(&configuration, &words, "aurora", Language::ZhTw), "由 專人 服務");
    assert_eq!(text(&configuration, &words, "aurora", Language::En), "Ask a colleague.");
}
