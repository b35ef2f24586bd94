//! What LINE takes, of the kinds of messages that are made here: each part with the fields that its
//! subtype requires, and no field that it does not have.

use serde_json::{Map, Value};

/// # Panics
/// When LINE would refuse the message.
pub(crate) fn takes(json: &str) {
    let message: Value = serde_json::from_str(json).unwrap();
    let message = fields(&message);
    if let Some(sender) = message.get("sender") {
        let sender = fields(sender);
        only(sender, &["name", "iconUrl"]);
        let name = said(sender, "name", 20);
        assert!(!name.to_lowercase().contains("line"), "{name}");
        let icon = sender.get("iconUrl").map_or("https://", |icon| icon.as_str().unwrap());
        assert!(icon.starts_with("https://") && icon.len() <= 2_000, "{icon}");
    }
    match message["type"].as_str() {
        Some("text") => {
            only(message, &["type", "text", "sender"]);
            said(message, "text", 5_000);
        }
        Some("flex") => {
            only(message, &["type", "altText", "contents", "sender"]);
            said(message, "altText", 1_500);
            let bubble = fields(&message["contents"]);
            only(bubble, &["type", "size", "body"]);
            assert_eq!(bubble["type"], "bubble");
            one_of(bubble, "size", &["nano", "micro", "deca", "hecto", "kilo", "mega", "giga"]);
            assert_eq!(bubble["body"]["type"], "box");
            component(&bubble["body"]);
            assert!(message["contents"].to_string().len() <= 30 * 1024, "more than a bubble holds");
        }
        other => panic!("{other:?}"),
    }
}

fn component(part: &Value) {
    let part = fields(part);
    match part["type"].as_str() {
        Some("box") => {
            let names = ["type", "layout", "contents", "spacing", "height", "cornerRadius"];
            only(part, &[&names[..], &["backgroundColor"]].concat());
            one_of(part, "layout", &["horizontal", "vertical", "baseline"]);
            let contents = part["contents"].as_array().unwrap();
            for inner in contents {
                // A line of text holds no boxes.
                assert!(part["layout"] != "baseline" || inner["type"] == "text", "{inner}");
                component(inner);
            }
        }
        Some("text") => {
            only(part, &["type", "text", "size", "color", "wrap", "weight", "flex"]);
            said(part, "text", 5_000);
            one_of(part, "size", &["xs", "sm", "md", "lg"]);
            let colour = part["color"].as_str().unwrap();
            assert!(colour.len() == 7 && colour.starts_with('#'), "{colour}");
            assert!(part["wrap"].is_boolean());
            if part.contains_key("weight") {
                one_of(part, "weight", &["regular", "bold"]);
            }
        }
        other => panic!("{other:?}"),
    }
}

fn fields(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

fn only(part: &Map<String, Value>, names: &[&str]) {
    for name in part.keys() {
        assert!(names.contains(&name.as_str()), "{name} is no field of it: {part:?}");
    }
}

fn one_of(part: &Map<String, Value>, name: &str, values: &[&str]) {
    let value = part[name].as_str().unwrap();
    assert!(values.contains(&value), "{name}: {value}");
}

/// A text that is there, of at most so many UTF-16 units.
fn said<'a>(part: &'a Map<String, Value>, name: &str, at_most: usize) -> &'a str {
    let text = part[name].as_str().unwrap();
    let units = text.encode_utf16().count();
    assert!(!text.trim().is_empty() && units <= at_most, "{name} has {units} units: {text}");
    text
}
