//! A configuration as people keep it: one YAML file, or a folder of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mainstem_domain::configuration::{Configuration, Template};
use serde_yaml_ng::with::singleton_map_recursive;

/// A YAML file, by the name that errors show.
pub type File = (String, String);

/// Reads a file, or every `*.yaml` file under a folder, in the order of their paths.
pub fn read(path: &Path) -> anyhow::Result<Vec<File>> {
    let mut paths = Vec::new();
    if path.is_dir() {
        collect(path, &mut paths)?;
        if paths.is_empty() {
            bail!("{} holds no *.yaml file", path.display());
        }
        paths.sort_unstable();
    } else {
        paths.push(path.to_owned());
    }
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let failed = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            into.push(path);
        }
    }
    Ok(())
}

/// Makes one configuration of the files: maps are merged, templates down to each text, and rules
/// stand one after the other in the order of the files.
///
/// # Errors
/// Every file that cannot be read, with its line, and every key that stands in two of them.
pub fn merge(files: &[File]) -> anyhow::Result<Configuration> {
    let mut whole = Configuration::default();
    let mut places = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, text) in files {
        match parse(text) {
            Ok(part) => {
                let mut merge = Merge { file: name, places: &mut places, problems: &mut problems };
                merge.map("brands", &mut whole.brands, part.brands);
                merge.map("stores", &mut whole.stores, part.stores);
                merge.map("channels", &mut whole.channels, part.channels);
                merge.map("queues", &mut whole.queues, part.queues);
                merge.map("calendars", &mut whole.calendars, part.calendars);
                merge.map("units", &mut whole.units, part.units);
                merge.map("desks", &mut whole.desks, part.desks);
                merge.map("staff", &mut whole.staff, part.staff);
                merge.templates(&mut whole.templates, part.templates);
                merge.one("entry", &mut whole.entry, part.entry);
                merge.one("identity", &mut whole.identity, part.identity);
                merge.one("notification", &mut whole.notification, part.notification);
                merge.one("languages", &mut whole.languages, part.languages);
                merge.one("house", &mut whole.house, part.house);
                whole.rules.extend(part.rules);
                whole.forbidden.extend(part.forbidden);
            }
            Err(error) => problems.push(match error.location() {
                Some(place) => format!("{name}:{}: {error}", place.line()),
                None => format!("{name}: {error}"),
            }),
        }
    }
    if !problems.is_empty() {
        bail!(problems.join("\nerror: "));
    }
    Ok(whole)
}

fn parse(text: &str) -> Result<Configuration, serde_yaml_ng::Error> {
    // A value refuses a key that stands twice in one file; the typed reading would take the last.
    let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
    if value.is_null() {
        return Ok(Configuration::default());
    }
    singleton_map_recursive::deserialize(serde_yaml_ng::Deserializer::from_str(text))
}

struct Merge<'a> {
    file: &'a str,
    /// The file in which each key stood first.
    places: &'a mut BTreeMap<String, String>,
    problems: &'a mut Vec<String>,
}

impl Merge<'_> {
    /// Whether this file is the first in which it stands.
    fn is_first(&mut self, key: String) -> bool {
        if let Some(first) = self.places.get(&key) {
            self.problems.push(format!("{}: {key} stands in {first} too; keep one", self.file));
            return false;
        }
        self.places.insert(key, self.file.to_owned());
        true
    }

    /// Something that stands in one file, or in none.
    fn one<T: Default + PartialEq>(&mut self, key: &str, whole: &mut T, part: T) {
        if part != T::default() && self.is_first(key.to_owned()) {
            *whole = part;
        }
    }

    fn map<K: Ord + fmt::Display, V>(
        &mut self,
        section: &str,
        whole: &mut BTreeMap<K, V>,
        part: BTreeMap<K, V>,
    ) {
        for (key, value) in part {
            if self.is_first(format!("{section}.{key}")) {
                whole.insert(key, value);
            }
        }
    }

    /// Each voice of a template can stand in a file of its own, and each language too.
    fn templates(
        &mut self,
        whole: &mut BTreeMap<String, Template>,
        part: BTreeMap<String, Template>,
    ) {
        for (name, Template { class, card, variables, house, brands }) in part {
            let key = format!("templates.{name}");
            let into = whole.entry(name).or_default();
            self.one(&format!("{key}.class"), &mut into.class, class);
            self.one(&format!("{key}.card"), &mut into.card, card);
            self.map(&format!("{key}.variables"), &mut into.variables, variables);
            self.map(&format!("{key}.house"), &mut into.house.0, house.0);
            for (brand, texts) in brands {
                let key = format!("{key}.brands.{brand}");
                self.map(&key, &mut into.brands.entry(brand).or_default().0, texts.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mainstem_domain::configuration::{ChannelKind, Mode};

    use super::*;

    fn merged(files: &[(&str, &str)]) -> anyhow::Result<Configuration> {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        merge(&files.iter().map(own).collect::<Vec<_>>())
    }

    #[test]
    fn maps_are_merged_and_rules_stand_in_the_order_of_the_files() {
        let whole = merged(&[
            ("a.yaml", "queues: { one: { name: One } }\nrules:\n- { name: x, when: follow, reply: t }\n"),
            ("b.yaml", "queues: { two: { name: Two } }\nrules:\n- name: y\n  when: event.text.contains('維修')\n  open: { queue: one, priority: P1 }\n"),
            ("c.yaml", "# nothing yet\n"),
        ])
        .unwrap();
        assert_eq!(whole.queues.len(), 2);
        assert_eq!(
            whole.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(),
            ["x", "y"]
        );
    }

    #[test]
    fn voices_and_languages_of_a_template_stand_in_files_of_their_own() {
        let house = ("a.yaml", "templates:\n  t: { class: reply, house: 好 }\n");
        let english = "templates: { t: { house: { en: hi }, brands: { one: { en: hello } } } }\n";
        let brand = "templates: { t: { brands: { one: 哈囉 } } }\n";
        let whole = merged(&[house, ("b.yaml", english), ("c.yaml", brand)]).unwrap();
        let template = serde_json::to_value(&whole.templates["t"]).unwrap();
        let texts = |zh: &str, en: &str| serde_json::json!({"zh-TW": zh, "en": en});
        assert_eq!(
            template,
            serde_json::json!({
                "class": "reply", "house": texts("好", "hi"), "brands": {"one": texts("哈囉", "hello")},
            })
        );
        let twice = merged(&[house, ("b.yaml", "templates: { t: { house: 嗨 } }\n")]);
        let twice = twice.unwrap_err().to_string();
        assert_eq!(twice, "b.yaml: templates.t.house.zh-TW stands in a.yaml too; keep one");
    }

    #[test]
    fn every_problem_names_its_file_and_line() {
        let error = merged(&[
            ("a.yaml", "queues:\n  one: { name: One }\n"),
            ("b.yaml", "queues:\n  one: { name: Other }\n"),
            ("c.yaml", "queues:\n  two: { nam: Two }\n"),
            ("d.yaml", "queue: {}\n"),
            ("e.yaml", "queues:\n  x: { name: X }\n  x: { name: Y }\n"),
            ("f.yaml", "rules:\n- name: x\n  when: event.\n"),
        ])
        .unwrap_err()
        .to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 5, "{error}");
        assert_eq!(lines[0], "b.yaml: queues.one stands in a.yaml too; keep one");
        for (line, expected) in lines[1..].iter().zip([
            ["c.yaml:2: ", "unknown field `nam`"],
            ["d.yaml:1: ", "unknown field `queue`"],
            ["e.yaml:2: ", "duplicate entry"],
            ["f.yaml:2: ", "is no CEL expression"],
        ]) {
            assert!(expected.iter().all(|part| line.contains(part)), "{line} – {expected:?}");
        }
    }

    #[test]
    fn the_example_can_be_applied() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/example");
        let example = merge(&read(&folder).unwrap()).unwrap();
        assert_eq!((example.brands.len(), example.stores.len()), (29, 76));
        let kinds = example.channels.values().map(|channel| channel.kind);
        let count = |kind| kinds.clone().filter(|known| *known == kind).count();
        assert_eq!(count(ChannelKind::Line), 77, "76 counters and the single entry");
        assert_eq!(
            [ChannelKind::Shop, ChannelKind::Till, ChannelKind::Phone].map(count),
            [1, 8, 1]
        );
        let served: BTreeSet<_> =
            example.channels.values().filter_map(|channel| channel.brand.as_ref()).collect();
        assert_eq!(served.len(), 29, "every brand has a counter");
        let retired = example.channels.values().filter(|channel| channel.mode == Mode::Retired);
        assert_eq!(retired.count(), 3);
        assert_eq!((example.units.len(), example.queues.len()), (12, 12));
        assert_eq!(example.staff.len(), 304);
        assert_eq!(example.lint(), []);
    }
}
