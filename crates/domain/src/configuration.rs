//! What operators apply: the directory, the rules and the templates.
//!
//! A configuration is one value with one digest. All services lint it, then all take it; every
//! decision names the digest it was taken under.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::person::Act;
use crate::{BrandId, ChannelId, QueueId, Refusal, RefusalCode, StoreId, Violation};

/// Everything that is applied together. The default is empty: no channel, no rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// The brands.
    pub brands: BTreeMap<BrandId, Brand>,
    /// The stores.
    pub stores: BTreeMap<StoreId, Store>,
    /// The channels.
    pub channels: BTreeMap<ChannelId, Channel>,
    /// The back-office queues.
    pub queues: BTreeMap<QueueId, Queue>,
    /// Tried in order; the first that matches decides.
    pub rules: Vec<Rule>,
    /// What is said, by name.
    pub templates: BTreeMap<String, Template>,
}

/// A brand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// As customers see it.
    pub name: String,
}

/// A store (counter).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// As customers see it.
    pub name: String,
}

/// One LINE account, web shop, till or phone desk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// The brand that speaks here.
    pub brand: BrandId,
    /// The store that it belongs to, if to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
}

/// A back-office queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// As staff see it.
    pub name: String,
}

/// Urgency of a case; `P1` first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    /// Now.
    P1,
    /// Today.
    P2,
    /// The usual.
    #[default]
    P3,
    /// When there is time.
    P4,
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What to do with what a person does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Stands in every decision taken by this rule.
    pub name: String,
    /// When it matches.
    pub when: Condition,
    /// Opens a case, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenCase>,
    /// The template of the answer, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// What a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// The person wrote a text that contains this, letter case aside.
    Keyword(String),
    /// The person tapped a menu whose postback data has this as its `menu` parameter.
    Menu(String),
    /// The person became a friend.
    Follow,
}

/// Where a rule opens a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenCase {
    /// The queue.
    pub queue: QueueId,
    /// The priority.
    #[serde(default)]
    pub priority: Priority,
}

/// One text in each brand's voice. `{case}` stands for the case's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// For a brand without a text of its own.
    pub house: String,
    /// In a brand's own voice.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub brands: BTreeMap<BrandId, String>,
}

/// LINE's limit for one text message, in UTF-16 code units.
pub const TEXT_AT_MOST: usize = 5_000;

/// The template that tells a customer that a case is resolved. Always needed.
pub const CASE_RESOLVED: &str = "case-resolved";

/// Something that keeps a configuration from being applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where it is, e.g. `rules[2].open.queue`.
    pub path: String,
    /// What is wrong and what to do.
    pub description: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.description)
    }
}

impl Configuration {
    /// Everything that is wrong with it; empty when it can be applied.
    #[must_use]
    pub fn lint(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: String, description: String| {
            problems.push(Problem { path, description });
        };
        for (id, channel) in &self.channels {
            if !self.brands.contains_key(&channel.brand) {
                problem(
                    format!("channels.{id}.brand"),
                    format!("no brand {}; add it under brands", channel.brand),
                );
            }
            if let Some(store) = channel.store.as_ref().filter(|id| !self.stores.contains_key(id)) {
                problem(
                    format!("channels.{id}.store"),
                    format!("no store {store}; add it under stores"),
                );
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let path = format!("rules[{index}]");
            if self.rules[..index].iter().any(|earlier| earlier.name == rule.name) {
                problem(format!("{path}.name"), format!("{} is used twice; rename one", rule.name));
            }
            if let Some(earlier) =
                self.rules[..index].iter().find(|earlier| earlier.when.covers(&rule.when))
            {
                problem(
                    format!("{path}.when"),
                    format!(
                        "never reached: {} matches first; move this rule before it",
                        earlier.name
                    ),
                );
            }
            if let Condition::Keyword(word) | Condition::Menu(word) = &rule.when
                && word.trim().is_empty()
            {
                problem(format!("{path}.when"), "is empty; give a word".to_owned());
            }
            if let Some(open) = rule.open.as_ref().filter(|o| !self.queues.contains_key(&o.queue)) {
                problem(
                    format!("{path}.open.queue"),
                    format!("no queue {}; add it under queues", open.queue),
                );
            }
            if let Some(name) =
                rule.reply.as_ref().filter(|name| !self.templates.contains_key(*name))
            {
                problem(
                    format!("{path}.reply"),
                    format!("no template {name}; add it under templates"),
                );
            }
            if rule.open.is_none() && rule.reply.is_none() {
                problem(path, "does nothing; give it open or reply".to_owned());
            }
        }
        if self.rules.iter().any(|rule| rule.open.is_some())
            && !self.templates.contains_key(CASE_RESOLVED)
        {
            problem(
                format!("templates.{CASE_RESOLVED}"),
                "is missing; it tells a customer that a case is resolved".to_owned(),
            );
        }
        for (name, template) in &self.templates {
            let texts = template.brands.iter().map(|(id, text)| (format!("brands.{id}"), text));
            for (voice, text) in [("house".to_owned(), &template.house)].into_iter().chain(texts) {
                let units = text.encode_utf16().count();
                if units == 0 || units > TEXT_AT_MOST {
                    problem(
                        format!("templates.{name}.{voice}"),
                        format!("has {units} UTF-16 units; LINE takes 1 to {TEXT_AT_MOST}"),
                    );
                }
            }
            for brand in template.brands.keys().filter(|id| !self.brands.contains_key(*id)) {
                problem(
                    format!("templates.{name}.brands.{brand}"),
                    format!("no brand {brand}; add it under brands"),
                );
            }
        }
        problems
    }

    /// Refuses a configuration that has problems, with all of them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the reason `CONFIGURATION_NOT_APPLICABLE`.
    pub fn check(&self) -> Result<(), Refusal> {
        let problems = self.lint();
        if problems.is_empty() {
            return Ok(());
        }
        let count = problems.len();
        let violations = problems
            .into_iter()
            .map(|problem| Violation { field: problem.path, description: problem.description })
            .collect();
        Err(Refusal {
            violations,
            ..Refusal::new(
                RefusalCode::InvalidArgument,
                "CONFIGURATION_NOT_APPLICABLE",
                format!("the configuration has {count} problems; mend them and apply it again"),
            )
        })
    }

    /// The first rule that matches.
    #[must_use]
    pub fn rule_for(&self, act: &Act) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.when.matches(act))
    }

    /// A template's text in the brand's voice, with the variables filled in.
    #[must_use]
    pub fn text(&self, template: &str, brand: Option<&BrandId>, case: &str) -> Option<String> {
        let template = self.templates.get(template)?;
        let voice = brand.and_then(|brand| template.brands.get(brand)).unwrap_or(&template.house);
        Some(voice.replace("{case}", case))
    }
}

impl Condition {
    fn matches(&self, act: &Act) -> bool {
        match (self, act) {
            (Self::Keyword(word), Act::Text(text)) => {
                text.to_lowercase().contains(&word.to_lowercase())
            }
            (Self::Menu(choice), Act::Postback(data)) => menu_choice(data) == Some(choice),
            (Self::Follow, Act::Follow) => true,
            _ => false,
        }
    }

    /// Does everything that `other` matches match this too?
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keyword(word), Self::Keyword(other)) => {
                other.to_lowercase().contains(&word.to_lowercase())
            }
            (one, other) => one == other,
        }
    }
}

/// The `menu` parameter of postback data such as `menu=repair&brand=aurora`.
fn menu_choice(data: &str) -> Option<&str> {
    data.split('&').find_map(|pair| pair.strip_prefix("menu="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Configuration {
        serde_json::from_value(serde_json::json!({
            "brands": {"aurora": {"name": "Aurora"}},
            "stores": {"taipei-1": {"name": "Taipei 1"}},
            "channels": {"line-1": {"brand": "aurora", "store": "taipei-1"}},
            "queues": {"repair": {"name": "Repair"}},
            "rules": [
                {"name": "menu", "when": {"menu": "repair"}, "open": {"queue": "repair", "priority": "P2"}, "reply": "opened"},
                {"name": "word", "when": {"keyword": "broken"}, "open": {"queue": "repair"}},
                {"name": "hello", "when": "follow", "reply": "opened"}
            ],
            "templates": {
                "opened": {"house": "Case {case}", "brands": {"aurora": "Aurora: {case}"}},
                "case-resolved": {"house": "done {case}"}
            }
        }))
        .unwrap()
    }

    #[test]
    fn a_good_configuration_has_no_problems() {
        assert_eq!(sample().lint(), []);
    }

    #[test]
    fn every_problem_names_its_place() {
        let mut bad = sample();
        bad.brands.clear();
        bad.stores.clear();
        bad.queues.clear();
        bad.templates.get_mut("opened").unwrap().house = "x".repeat(5_001);
        bad.templates.remove(CASE_RESOLVED);
        bad.rules.push(Rule {
            name: "word".to_owned(),
            when: Condition::Keyword("my Broken one".to_owned()),
            open: None,
            reply: None,
        });
        bad.rules.push(Rule {
            name: "lost".to_owned(),
            when: Condition::Keyword(" ".to_owned()),
            open: None,
            reply: Some("nowhere".to_owned()),
        });
        let paths: Vec<_> = bad.lint().into_iter().map(|problem| problem.path).collect();
        assert_eq!(
            paths,
            [
                "channels.line-1.brand",
                "channels.line-1.store",
                "rules[0].open.queue",
                "rules[1].open.queue",
                "rules[3].name",
                "rules[3].when",
                "rules[3]",
                "rules[4].when",
                "rules[4].reply",
                "templates.case-resolved",
                "templates.opened.house",
                "templates.opened.brands.aurora",
            ]
        );
    }

    #[test]
    fn the_first_matching_rule_decides_in_the_brands_voice() {
        let config = sample();
        let name = |act: Act| config.rule_for(&act).map(|rule| rule.name.as_str());
        assert_eq!(name(Act::Postback("brand=aurora&menu=repair".to_owned())), Some("menu"));
        assert_eq!(name(Act::Postback("menu=repairs".to_owned())), None);
        assert_eq!(name(Act::Text("It is BROKEN".to_owned())), Some("word"));
        assert_eq!(name(Act::Follow), Some("hello"));
        assert_eq!(name(Act::Other), None);
        let brand: BrandId = "aurora".parse().unwrap();
        assert_eq!(config.text("opened", Some(&brand), "K1").as_deref(), Some("Aurora: K1"));
        assert_eq!(config.text("opened", None, "K1").as_deref(), Some("Case K1"));
        assert_eq!(config.text("none", None, "K1"), None);
    }
}
