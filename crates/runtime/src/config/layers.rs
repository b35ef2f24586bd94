//! The crate `config` lays the file and the environment over the defaults; what they hold is
//! checked one by one, so that all problems are found.
//!
//! The file of defaults is the list of what is known: a key is known when it stands there.

use std::path::Path;

use config::{Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::{Config, ConfigError, DEFAULTS, Problem};

const DEFAULT_LAYER: &str = "defaults";

/// The last words of keys whose values are secrets, in whatever section.
const SECRETS: [&str; 5] = ["binding_key", "handle_key", "key", "nats_password", "token"];

pub(super) struct Layers {
    defaults: config::Config,
    given: Vec<config::Config>,
    problems: Vec<Problem>,
}

impl Layers {
    pub(super) fn defaults() -> Self {
        // The text is ours and tested; were it broken, every key would be unknown and named.
        let defaults = built(File::from_str(DEFAULTS, FileFormat::Toml)).unwrap_or_default();
        Self { defaults, given: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn add_file(&mut self, path: &Path) {
        match built(File::from(path).format(FileFormat::Toml)) {
            Ok(layer) => self.add(layer),
            Err(error) => {
                // Only the place: what follows shows the line, and a secret may stand on it.
                let error = error.to_string();
                let what = format!("cannot be read: {}", error.lines().next().unwrap_or_default());
                let remedy = "name a readable file of correct TOML, or none";
                self.problem(&path.display().to_string(), "file", what, remedy);
            }
        }
    }

    pub(super) fn add_environment(&mut self, environment: Map<String, String>) {
        // Without `try_parsing`, which makes another text of a secret like 0123 or 1e9. A text
        // becomes a number where a number is wanted.
        let source = Environment::with_prefix("MAINSTEM").prefix_separator("__").separator("__");
        self.add(built(source.source(Some(environment))).unwrap_or_default());
    }

    fn add(&mut self, mut layer: config::Config) {
        if let ValueKind::Table(sections) = &mut layer.cache.kind {
            sections.retain(|section, values| self.check(section, values));
        }
        self.given.push(layer);
    }

    /// Keeps what is known, with the secrets from their files. Is the section itself known?
    fn check(&mut self, section: &str, values: &mut Value) -> bool {
        let known = self.defaults.get_table(section).unwrap_or_default();
        let layer = origin(values).to_owned();
        let ValueKind::Table(values) = &mut values.kind else {
            let remedy = "write keys under a [section], as the file of defaults does";
            self.problem(section, &layer, "is no section", remedy);
            return false;
        };
        for (mut key, mut value) in std::mem::take(values) {
            let path = format!("{section}.{key}");
            let secret = key.strip_suffix("_file").filter(|key| SECRETS.contains(key));
            let is_text = matches!(value.kind, ValueKind::String(_));
            if let Some(default) = known.get(&key) {
                if !is_text && matches!(default.kind, ValueKind::String(_)) {
                    self.problem(&path, &layer, "is no text", "put it in quotes");
                    continue;
                }
            } else if let Some(secret) = secret.filter(|key| known.contains_key(*key)) {
                match std::fs::read_to_string(value.to_string()) {
                    Ok(text) => value = Value::new(Some(&layer), text.trim()),
                    Err(error) => {
                        let what = format!("names {value}, which cannot be read: {error}");
                        let remedy = "name a readable file with the secret";
                        self.problem(&path, &layer, what, remedy);
                        continue;
                    }
                }
                key.truncate(secret.len());
            } else {
                let remedy = if known.is_empty() {
                    let sections = self.defaults.cache.clone().into_table().unwrap_or_default();
                    format!("the sections are {}", names(&sections))
                } else {
                    format!("[{section}] knows {}", names(&known))
                };
                self.problem(&path, &layer, "is unknown", remedy);
                continue;
            }
            let path = format!("{section}.{key}");
            if values.insert(key, value).is_some() {
                self.problem(&path, &layer, "is given twice", "keep the value or the file of it");
            }
        }
        !known.is_empty()
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

    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        let layers = config::Config::builder().add_source(self.defaults.clone());
        let layers = layers.add_source(std::mem::take(&mut self.given));
        let mut merged = layers.build().unwrap_or_default();
        let config = loop {
            let (key, what) = match merged.clone().try_deserialize::<Config>() {
                Ok(config) => break config,
                Err(error) => explained(error),
            };
            let given = value(&merged, &key).unwrap_or_default();
            let default = value(&self.defaults, &key).unwrap_or_default();
            let what = format!("has a wrong value: {what}");
            self.problem(&key, origin(&given), what, format!("the default is `{default}`"));
            // Replaced by its default, so that the next wrong value is found as well.
            match config::Config::builder().add_source(merged).set_override(key, default) {
                Ok(next) if origin(&given) != DEFAULT_LAYER => {
                    merged = next.build().unwrap_or_default();
                }
                _ => return Err(ConfigError { problems: self.problems }),
            }
        };
        for (key, what, remedy) in config.validate() {
            let given = value(&merged, key).unwrap_or_default();
            self.problem(key, origin(&given), what, remedy);
        }
        if self.problems.is_empty() {
            return Ok(config);
        }
        self.problems.sort_by(|one, other| one.key.cmp(&other.key));
        Err(ConfigError { problems: self.problems })
    }
}

fn built(
    source: impl Source + Send + Sync + 'static,
) -> Result<config::Config, config::ConfigError> {
    config::Config::builder().add_source(source).build()
}

fn value(layer: &config::Config, path: &str) -> Option<Value> {
    let (section, key) = path.split_once('.')?;
    layer.get_table(section).ok()?.remove(key)
}

/// Where a value, or the first in it, comes from; the defaults have no name of their own.
fn origin(value: &Value) -> &str {
    if let ValueKind::Table(values) = &value.kind {
        return values.values().next().map_or(DEFAULT_LAYER, origin);
    }
    value.origin().unwrap_or(DEFAULT_LAYER)
}

fn names(keys: &Map<String, Value>) -> String {
    let mut names: Vec<&str> = keys.keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(", ")
}

/// The key, and what is wrong with its value.
fn explained(error: config::ConfigError) -> (String, String) {
    if let config::ConfigError::Type { key: Some(key), unexpected, expected, .. } = error {
        (key, format!("{unexpected} is not {expected}"))
    } else if let config::ConfigError::At { key: Some(key), error, .. } = error {
        (key, error.to_string())
    } else {
        (String::new(), error.to_string())
    }
}
