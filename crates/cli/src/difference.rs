//! What one configuration has that another has not: by section and name, for people and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use mainstem_domain::configuration::Configuration;
use serde::Serialize;
use serde_json::{Map, Value};

/// Characters of a value that people are shown.
const VALUE: usize = 80;

/// One thing that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// The section, e.g. `rules`.
    section: String,
    /// Its name there; empty for a section that is one thing, such as `entry`.
    name: String,
    /// What became of it.
    what: What,
    /// Of what changed: which of its fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
}

/// What became of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Added,
    Removed,
    Changed,
    /// A rule is tried at another place among those that are in both.
    Moved,
}

/// A field of something that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the JSON")]
struct Field {
    /// Where it is, e.g. `open.queue`.
    field: String,
    /// What it was; null when it was not there.
    before: Value,
    /// What it is; null when it is not there.
    after: Value,
}

/// What `after` has otherwise than `before`, in the order of sections and names; of rules, in the
/// order in which they are tried.
pub(crate) fn differences(before: &Configuration, after: &Configuration) -> Vec<Difference> {
    let (before, after) = (object(before), object(after));
    let sections: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut found = Vec::new();
    for section in sections {
        let none = Value::Null;
        let (old, new) =
            (before.get(section).unwrap_or(&none), after.get(section).unwrap_or(&none));
        match section.as_str() {
            "entry" | "identity" => found.extend(one(section, "", present(old), present(new))),
            "rules" => found.extend(rules(section, old, new)),
            _ => found.extend(named(section, old, new)),
        }
    }
    found
}

fn object(configuration: &Configuration) -> Map<String, Value> {
    match serde_json::to_value(configuration) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => Map::new(),
    }
}

fn present(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

fn named(section: &str, old: &Value, new: &Value) -> Vec<Difference> {
    let none = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter_map(|name| one(section, name, old.get(name), new.get(name))).collect()
}

fn one(section: &str, name: &str, old: Option<&Value>, new: Option<&Value>) -> Option<Difference> {
    let (what, fields) = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => (What::Added, Vec::new()),
        (Some(_), None) => (What::Removed, Vec::new()),
        (Some(old), Some(new)) => {
            let mut fields = Vec::new();
            compare("", old, new, &mut fields);
            if fields.is_empty() {
                return None;
            }
            (What::Changed, fields)
        }
    };
    Some(Difference { section: section.to_owned(), name: name.to_owned(), what, fields })
}

/// By their names, which no two share, and by their order.
fn rules(section: &str, old: &Value, new: &Value) -> Vec<Difference> {
    let list = |rules: &Value| -> Vec<(String, Value)> {
        let rules = rules.as_array().into_iter().flatten();
        rules
            .map(|rule| (rule["name"].as_str().unwrap_or_default().to_owned(), rule.clone()))
            .collect()
    };
    let (old, new) = (list(old), list(new));
    let was: BTreeMap<&String, &Value> = old.iter().map(|(name, rule)| (name, rule)).collect();
    let is: BTreeMap<&String, &Value> = new.iter().map(|(name, rule)| (name, rule)).collect();
    let order = |rules: &[(String, Value)], other: &BTreeMap<&String, &Value>| -> Vec<String> {
        let both = rules.iter().map(|(name, _)| name).filter(|name| other.contains_key(name));
        both.cloned().collect()
    };
    let stays = in_order(&order(&old, &is), &order(&new, &was));
    let mut found = Vec::new();
    for (name, rule) in &new {
        let known = was.get(name).copied();
        found.extend(one(section, name, known, Some(rule)));
        if known.is_some() && !stays.contains(name) {
            let (section, name) = (section.to_owned(), name.clone());
            found.push(Difference { section, name, what: What::Moved, fields: Vec::new() });
        }
    }
    let gone = old.iter().filter(|(name, _)| !is.contains_key(name));
    found.extend(gone.filter_map(|(name, rule)| one(section, name, Some(rule), None)));
    found
}

/// As many names as there are that stand in the same order in both.
fn in_order(old: &[String], new: &[String]) -> BTreeSet<String> {
    let mut longest = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (row, one) in old.iter().enumerate().rev() {
        for (column, other) in new.iter().enumerate().rev() {
            longest[row][column] = if one == other {
                longest[row + 1][column + 1] + 1
            } else {
                longest[row + 1][column].max(longest[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut kept) = (0, 0, BTreeSet::new());
    while row < old.len() && column < new.len() {
        if old[row] == new[column] {
            kept.insert(old[row].clone());
            (row, column) = (row + 1, column + 1);
        } else if longest[row + 1][column] >= longest[row][column + 1] {
            row += 1;
        } else {
            column += 1;
        }
    }
    kept
}

fn compare(path: &str, old: &Value, new: &Value, into: &mut Vec<Field>) {
    if old == new {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let none = Value::Null;
            let of = |object: &Map<String, Value>| object.get(name).unwrap_or(&none).clone();
            compare(&path, &of(old), &of(new), into);
        }
        return;
    }
    into.push(Field { field: path.to_owned(), before: old.clone(), after: new.clone() });
}

/// For people.
pub(crate) fn shown(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "nothing would change\n".to_owned();
    }
    let mut text = String::new();
    let mut section = "";
    for difference in differences {
        if difference.section != section {
            section = &difference.section;
            let _ = writeln!(text, "{section}");
        }
        let (sign, what) = match difference.what {
            What::Added => ('+', ""),
            What::Removed => ('-', ""),
            What::Changed => ('~', ""),
            What::Moved => ('~', " is tried at another place"),
        };
        let name = if difference.name.is_empty() { section } else { &difference.name };
        let _ = writeln!(text, "  {sign} {name}{what}");
        for Field { field, before, after } in &difference.fields {
            let _ = writeln!(text, "      {field}: {} → {}", value(before), value(after));
        }
    }
    text
}

fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => return "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = text.chars().take(VALUE).collect();
    if text.chars().count() > VALUE {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configuration(change: impl FnOnce(&mut Value)) -> Configuration {
        let mut value = json!({
            "brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Borea"}},
            "queues": {"repair": {"name": "Repair"}},
            "entry": {"channel": "line-1", "link": "https://line.example/x"},
            "rules": [
                {"name": "a", "when": "event.menu == 'a'", "reply": "t"},
                {"name": "b", "when": "event.menu == 'b'", "open": {"queue": "repair"}},
                {"name": "c", "when": "event.menu == 'c'", "reply": "t"},
            ],
            "templates": {"t": {"house": "hello"}},
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    fn told(change: impl FnOnce(&mut Value)) -> String {
        shown(&differences(&configuration(|_| {}), &configuration(change)))
    }

    #[test]
    fn the_same_differs_nowhere() {
        assert_eq!(told(|_| {}), "nothing would change\n");
        // A default that is written out is no difference.
        assert_eq!(
            told(|value| value["rules"][1]["close"] = json!(false)),
            "nothing would change\n"
        );
    }

    #[test]
    fn what_is_added_removed_and_changed_stands_by_section_and_name() {
        let text = told(|value| {
            value["brands"]["ceres"] = json!({"name": "Ceres"});
            value["brands"].as_object_mut().unwrap().remove("borea");
            value["entry"]["link"] = json!("https://line.example/y");
            value["rules"][1]["open"]["priority"] = json!("P1");
            value["rules"].as_array_mut().unwrap().remove(2);
            value["templates"]["t"]["brands"] = json!({"aurora": "hi"});
        });
        let expected = "brands\n  - borea\n  + ceres\nentry\n  ~ entry\n      link: \
                        https://line.example/x → https://line.example/y\nrules\n  ~ b\n      \
                        open.priority: P3 → P1\n  - c\ntemplates\n  ~ t\n      brands: nothing → \
                        {\"aurora\":{\"zh-TW\":\"hi\"}}\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_rule_that_is_moved_is_told_and_those_it_passes_are_not() {
        let text = told(|value| value["rules"].as_array_mut().unwrap().rotate_right(1));
        assert_eq!(text, "rules\n  ~ c is tried at another place\n");
        // One that is added moves nothing.
        let text = told(|value| {
            let rule = json!({"name": "n", "when": "event.menu == 'n'", "reply": "t"});
            value["rules"].as_array_mut().unwrap().insert(0, rule);
        });
        assert_eq!(text, "rules\n  + n\n");
    }

    #[test]
    fn the_first_one_ever_adds_everything() {
        let first = differences(&Configuration::default(), &configuration(|_| {}));
        assert!(first.iter().all(|one| one.what == What::Added));
        assert_eq!(first.len(), 2 + 1 + 1 + 3 + 1);
        let json = serde_json::to_value(&first[0]).unwrap();
        assert_eq!(json, json!({"section": "brands", "name": "aurora", "what": "added"}));
    }
}
