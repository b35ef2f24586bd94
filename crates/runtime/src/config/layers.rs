//! Values by `section.key`, each with the layer that it comes from.
//!
//! The file of defaults is the list of what is known: a key is known when it stands there, and
//! its type there tells how a text from the environment is read.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::{Config, ConfigError, DEFAULTS, Problem};

const ENVIRONMENT: &str = "environment";
const PREFIX: &str = "MAINSTEM__";

/// The last words of keys whose values are secrets, in whatever section.
const SECRETS: [&str; 3] = ["handle_key", "nats_password", "token"];

struct Setting {
    value: Value,
    layer: String,
}

pub(super) struct Layers {
    defaults: BTreeMap<String, Value>,
    given: BTreeMap<String, Setting>,
    problems: Vec<Problem>,
}

impl Layers {
    pub(super) fn defaults() -> Self {
        let mut layers =
            Self { defaults: BTreeMap::new(), given: BTreeMap::new(), problems: Vec::new() };
        // The text is ours and tested; were it broken, every key would be unknown and named.
        let table = DEFAULTS.parse::<Table>().unwrap_or_default();
        layers.defaults = layers.flat(table, "defaults").into_iter().collect();
        layers
    }

    pub(super) fn add_file(&mut self, path: &Path) {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let what = format!("cannot be read: {error}");
                let remedy = "name a file that exists and is readable, or none";
                return self.problem(&name, "file", what, remedy);
            }
        };
        match text.parse::<Table>() {
            Ok(table) => {
                for (key, value) in self.flat(table, &name) {
                    self.set(&name, key, value);
                }
            }
            Err(error) => {
                // Only the place: the message shows the line, and a secret may stand on it.
                let offset = error.span().map_or(0, |span| span.start);
                let line = text.get(..offset).map_or(0, |before| before.matches('\n').count()) + 1;
                let what = format!("is no TOML: {} in line {line}", error.message());
                self.problem(&name, "file", what, "correct that line");
            }
        }
    }

    pub(super) fn add_environment(&mut self, environment: Vec<(String, String)>) {
        for (name, text) in environment {
            let Some(name) = name.strip_prefix(PREFIX) else { continue };
            let key = name.to_lowercase().replacen("__", ".", 1);
            let value = match self.defaults.get(&key) {
                Some(Value::Integer(_)) => text.parse().ok().map(Value::Integer),
                Some(Value::Float(_)) => text.parse().ok().map(Value::Float),
                Some(Value::Boolean(_)) => text.parse().ok().map(Value::Boolean),
                _ => None,
            };
            self.set(ENVIRONMENT, key, value.unwrap_or(Value::String(text)));
        }
    }

    /// The sections' keys; whatever is no section is a problem.
    fn flat(&mut self, table: Table, layer: &str) -> Vec<(String, Value)> {
        let mut keys = Vec::new();
        for (section, value) in table {
            let Value::Table(values) = value else {
                let remedy = "write keys under a [section], as the file of defaults does";
                self.problem(&section, layer, "is no section", remedy);
                continue;
            };
            keys.extend(values.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
        }
        keys
    }

    fn set(&mut self, layer: &str, key: String, value: Value) {
        if self.defaults.contains_key(&key) {
            self.insert(layer, key, value);
        } else if let Some(secret) = key.strip_suffix("_file").filter(|key| self.is_secret(key)) {
            let Value::String(path) = value else {
                return self.problem(&key, layer, "is no text", "write a path");
            };
            match std::fs::read_to_string(&path) {
                Ok(text) => self.insert(layer, secret.to_owned(), text.trim().into()),
                Err(error) => {
                    let what = format!("names {path}, which cannot be read: {error}");
                    self.problem(&key, layer, what, "name a readable file with the secret");
                }
            }
        } else {
            let section = key.split_once('.').map_or("", |(section, _)| section);
            let siblings: Vec<&str> = self
                .defaults
                .keys()
                .filter_map(|known| known.strip_prefix(section)?.strip_prefix('.'))
                .collect();
            let remedy = if siblings.is_empty() {
                let mut sections: Vec<&str> =
                    self.defaults.keys().filter_map(|key| Some(key.split_once('.')?.0)).collect();
                sections.dedup();
                format!("the sections are {}", sections.join(", "))
            } else {
                format!("[{section}] knows {}", siblings.join(", "))
            };
            self.problem(&key, layer, "is unknown", remedy);
        }
    }

    fn insert(&mut self, layer: &str, key: String, value: Value) {
        if self.given.get(&key).is_some_and(|setting| setting.layer == layer) {
            self.problem(&key, layer, "is given twice", "keep either the value or the file of it");
        }
        self.given.insert(key, Setting { value, layer: layer.to_owned() });
    }

    fn is_secret(&self, key: &str) -> bool {
        let last = key.split_once('.').map_or(key, |(_, last)| last);
        SECRETS.contains(&last) && self.defaults.contains_key(key)
    }

    fn problem(
        &mut self,
        key: &str,
        layer: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(Problem {
            key: key.to_owned(),
            layer: layer.to_owned(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        for (key, default) in &self.defaults {
            let Some((section, key_in_section)) = key.split_once('.') else { continue };
            let value = self.given.get(key).map_or(default, |setting| &setting.value);
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(key_in_section.to_owned(), value.clone());
            }
        }
        table
    }

    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        let config = loop {
            match serde_path_to_error::deserialize::<_, Config>(Value::Table(self.table())) {
                Ok(config) => break config,
                Err(error) => {
                    let key = error.path().to_string();
                    let inner = error.into_inner();
                    // Replaced by its default, so that the next wrong value is found as well.
                    let given = self.given.remove(&key);
                    let again = given.is_some();
                    let layer = given.map_or_else(|| "defaults".to_owned(), |given| given.layer);
                    if self.is_secret(&key) {
                        self.problem(&key, &layer, "is no text", "put it in quotes");
                    } else {
                        let default =
                            self.defaults.get(&key).map(Value::to_string).unwrap_or_default();
                        let what = format!("has a wrong value: {}", inner.message());
                        self.problem(&key, &layer, what, format!("the default is {default}"));
                    }
                    if !again {
                        return Err(ConfigError { problems: self.problems });
                    }
                }
            }
        };
        for (key, what, remedy) in config.validate() {
            let layer = self.given.get(key).map_or("defaults", |given| &given.layer).to_owned();
            self.problem(key, &layer, what, remedy);
        }
        if self.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }
}
