//! What operators apply: the directory, the rules and the templates.
//!
//! A configuration is one value with one digest. All services lint it, then all take it; every
//! decision names the digest it was taken under.

mod calendar;
mod compiled;
mod condition;
mod directory;
mod facts;
mod handle;
mod lint;
mod lint_staff;
mod lint_units;
mod lint_voice;
mod policies;
mod staff;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::access::Caller;
use crate::identity::Rules;
use crate::{
    BrandId, CalendarId, ChannelId, DeskId, Language, QueueId, StaffId, StoreId, Tag, UnitId,
};

pub use calendar::{Calendar, CalendarError, Day, Hours, SPAN_AT_MOST, Span, Unit, Zone};
use condition::Evaluation;
pub use condition::{Condition, ConditionError};
use directory::is_default;
pub use directory::{Brand, Channel, ChannelKind, Entry, Mode, Priority, Queue, Sender, Store};
pub use facts::{Bought, Facts, parameter};
pub use handle::Handle;
pub use lint::Problem;
pub use policies::{Budget, NoQuietHours, Policies, QuietHours};
pub use staff::{CAPACITY_AT_MOST, Desk, StaffMember, Target, TargetError, Who};
pub use template::{
    ALT_TEXT_AT_MOST, BINDING_DONE, BINDING_EXPIRED, BINDING_FORGED, BINDING_HANDED_OVER,
    BINDING_REVOKED, CARD_TEXT_AT_MOST, CASE_CANCELLED, CASE_OPENED, CASE_REOPENED, CASE_RESOLVED,
    CASE_WAITING, MESSAGES_AT_MOST, MOVED, TEXT_AT_MOST, TITLE_AT_MOST, Template, Text, Texts,
};

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
    /// The single entry, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
    /// The back-office queues.
    pub queues: BTreeMap<QueueId, Queue>,
    /// When units work.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub calendars: BTreeMap<CalendarId, Calendar>,
    /// Who serves the queues. The cases of a queue that no unit serves are never late.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<UnitId, Unit>,
    /// The desks of brands, and the central one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub desks: BTreeMap<DeskId, Desk>,
    /// Who speaks with customers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub staff: BTreeMap<StaffId, StaffMember>,
    /// Who is who.
    #[serde(skip_serializing_if = "is_default")]
    pub identity: Rules,
    /// How much people are disturbed.
    #[serde(skip_serializing_if = "is_default")]
    pub notification: Policies,
    /// Tried in order; the first that matches decides.
    pub rules: Vec<Rule>,
    /// What is said, by name.
    pub templates: BTreeMap<String, Template>,
    /// The languages that people are spoken to in; empty: in the default one alone. Each text must be
    /// there in all of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub languages: BTreeSet<Language>,
    /// The house itself, which speaks where no brand is spoken of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub house: Option<Brand>,
    /// What no template may say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<Claim>,
}

/// Something that may not be claimed of what the retailer sells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The words, whatever their case and width; of letters, whole words.
    pub words: String,
    /// Why not, and what to say in place of it.
    pub remedy: String,
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
    /// The template of the answer, if given. Of a rule with targets it is said when a conversation
    /// begins or begins anew, not in the middle of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Hands the customer to somebody of the staff: tried in order, and the last one keeps the
    /// conversation until somebody has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Marks the case that it opens, and the conversation that begins or goes on about the brand, with
    /// these. A mark stays.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// Closes the conversation that goes on about the brand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub close: bool,
    /// How urgent a conversation is that begins by this rule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
}

/// What the rules came to for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried<'a> {
    /// The one that decides; none: nothing comes of the event.
    pub rule: Option<&'a Rule>,
    /// Those before it whose condition could not be evaluated, in the order of the rules.
    pub failed: Vec<RuleFailure>,
}

/// A rule whose condition could not be evaluated for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFailure {
    /// The rule.
    pub rule: String,
    /// Why, without anything that the event says.
    pub why: String,
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

impl Configuration {
    /// The first rule whose condition holds, and those before it whose condition failed: that
    /// counts as no match.
    #[must_use]
    pub fn rule_for(&self, facts: &Facts<'_>) -> Tried<'_> {
        let evaluation = Evaluation::new(facts, &self.calendars);
        let mut failed = Vec::new();
        let rule = self.rules.iter().find(|rule| match rule.when.holds(&evaluation) {
            Ok(holds) => holds,
            Err(error) => {
                failed.push(RuleFailure { rule: rule.name.clone(), why: error.to_string() });
                false
            }
        });
        Tried { rule, failed }
    }

    /// What a channel is.
    #[must_use]
    pub fn kind(&self, channel: &ChannelId) -> ChannelKind {
        self.channels.get(channel).map_or(ChannelKind::Line, |channel| channel.kind)
    }

    /// The unit that serves a queue, if one does.
    #[must_use]
    pub fn unit_of(&self, queue: &QueueId) -> Option<(&UnitId, &Unit)> {
        self.units.iter().find(|(_, unit)| unit.queues.contains(queue))
    }

    /// Whether a member of staff is in a caller's scope: by the store, or by a brand that the person
    /// speaks for. Whoever works at the central desk is in the scope of all.
    #[must_use]
    pub fn is_among(&self, member: &StaffMember, caller: &Caller) -> bool {
        caller.reaches(member.store.as_ref(), None, None)
            || self.brands_of(member).iter().any(|brand| caller.reaches(None, None, Some(brand)))
    }

    /// The brands that a member of staff speaks for: the person's own, else those of the desk; empty:
    /// all of the store, or of the central desk.
    #[must_use]
    pub fn brands_of<'a>(&'a self, member: &'a StaffMember) -> &'a BTreeSet<BrandId> {
        let desk = member.desk.as_ref().and_then(|desk| self.desks.get(desk));
        let of_desk = desk.filter(|_| member.brands.is_empty()).map(|desk| &desk.brands);
        of_desk.unwrap_or(&member.brands)
    }

    /// The desks that speak for a brand, or without one the central desks.
    pub fn desks_of(&self, brand: Option<&BrandId>) -> impl Iterator<Item = &DeskId> {
        let speaks = move |desk: &Desk| match brand {
            Some(brand) => desk.brands.contains(brand),
            None => desk.is_central(),
        };
        self.desks.iter().filter(move |(_, desk)| speaks(desk)).map(|(id, _)| id)
    }

    /// How a channel is run now.
    #[must_use]
    pub fn mode(&self, channel: &ChannelId) -> Mode {
        self.channels.get(channel).map_or(Mode::Live, |channel| channel.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::At;
    use crate::person::{Act, ChannelEvent};

    fn sample() -> Configuration {
        serde_json::from_value(serde_json::json!({
            "brands": {"aurora": {"name": "Aurora"}},
            "stores": {"taipei-1": {"name": "Taipei 1"}},
            "channels": {"line-1": {"brand": "aurora", "store": "taipei-1"}},
            "queues": {"repair": {"name": "Repair"}},
            "rules": [
                {"name": "menu", "when": "event.menu == 'repair'", "open": {"queue": "repair", "priority": "P2"}, "reply": "opened"},
                {"name": "word", "when": "event.text.lowerAscii().contains('broken')", "open": {"queue": "repair"}},
                {"name": "hello", "when": "event.type == 'follow'", "reply": "hello"}
            ],
            "templates": {
                "hello": {"house": "Hello"},
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
        bad.templates.get_mut("opened").unwrap().house = "x".repeat(5_001).as_str().into();
        bad.templates.remove(CASE_RESOLVED);
        bad.rules.push(Rule {
            name: "word".to_owned(),
            when: "event.text.lowerAscii().contains('broken')".parse().unwrap(),
            open: None,
            reply: None,
            targets: Vec::new(),
            tags: BTreeSet::new(),
            close: false,
            priority: Priority::default(),
        });
        bad.rules.push(Rule {
            name: "lost".to_owned(),
            when: "event.text".parse().unwrap(),
            open: None,
            reply: Some("nowhere".to_owned()),
            targets: Vec::new(),
            tags: BTreeSet::new(),
            close: false,
            priority: Priority::default(),
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
                "templates.opened.brands.aurora",
                "templates.opened.house.zh-TW",
            ]
        );
    }

    #[test]
    fn whoever_a_rule_hands_customers_to_must_be_there() {
        let mut config = sample();
        let merge = |config: &mut Configuration, value: serde_json::Value| {
            let other: Configuration = serde_json::from_value(value).unwrap();
            config.desks.extend(other.desks);
            config.staff.extend(other.staff);
            config.rules.extend(other.rules);
        };
        merge(
            &mut config,
            serde_json::json!({
                "desks": {"aurora": {"name": "Aurora", "brands": ["aurora", "nobody"]}},
                "staff": {
                    "nowhere": {"name": "N"},
                    "twice": {"name": "T", "store": "taipei-1", "desk": "aurora", "capacity": 0},
                    "lost": {"name": "L", "store": "taipei-9", "shift": "night", "delegate": "who"},
                    "self": {"name": "S", "desk": "tokyo", "delegate": "self"},
                },
                "rules": [
                    {"name": "ask", "when": "event.text.contains('?')",
                     "targets": ["bound_staff", "bound_staff 5s", "brand_desk 60s"]},
                    {"name": "bye", "when": "event.text == 'bye'", "close": true,
                     "targets": ["central_desk"]},
                    {"name": "open", "when": "open('never')", "reply": "hello"},
                ],
            }),
        );
        let paths: Vec<_> = config.lint().into_iter().map(|problem| problem.path).collect();
        assert_eq!(
            paths,
            [
                "desks.aurora.brands",
                "staff.lost.store",
                "staff.lost.shift",
                "staff.lost.delegate",
                "staff.nowhere",
                "staff.self.desk",
                "staff.self.delegate",
                "staff.twice",
                "staff.twice.capacity",
                "rules[3].targets[0]",
                "rules[3].targets[1]",
                "rules[3].targets",
                "rules[4]",
                "rules[4].targets",
                "rules[5].when",
            ]
        );
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let config = sample();
        let name = |act: Act| {
            let event = ChannelEvent {
                id: "e".parse().unwrap(),
                channel: "line-1".parse().unwrap(),
                mode: Mode::Live,
                store: None,
                brand: None,
                act,
                sightings: Vec::new(),
                occurred_at: At::from_millis(0),
                received_at: At::from_millis(0),
                reply_token: None,
                attributes: Vec::new(),
                consents: Vec::new(),
                message: None,
            };
            let facts = Facts::of(&event, ChannelKind::Line, At::default());
            config.rule_for(&facts).rule.map(|rule| rule.name.as_str())
        };
        assert_eq!(name(Act::Postback("brand=aurora&menu=repair".to_owned())), Some("menu"));
        assert_eq!(name(Act::Postback("menu=repairs".to_owned())), None);
        assert_eq!(name(Act::Text("It is BROKEN".to_owned())), Some("word"));
        assert_eq!(name(Act::Follow), Some("hello"));
        assert_eq!(name(Act::Other), None);
    }

    #[test]
    fn a_retired_account_needs_a_way_and_a_shadow_its_incumbent() {
        let mut config = sample();
        let channel = |mode: &str| serde_json::from_value(serde_json::json!({"mode": mode}));
        config.channels.insert("old".parse().unwrap(), channel("retired").unwrap());
        config.channels.insert("new".parse().unwrap(), channel("shadow").unwrap());
        let paths: Vec<_> = config.lint().into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["channels.new.incumbent", "entry", "templates.moved"]);
        config.channels.get_mut(&"new".parse().unwrap()).unwrap().incumbent =
            Some("https://old.example/webhook".to_owned());
        config.entry = serde_json::from_value(
            serde_json::json!({"channel": "line-1", "link": "https://line.me/x"}),
        )
        .unwrap();
        let moved = Template { house: "→ {link}".into(), ..Template::default() };
        config.templates.insert(MOVED.to_owned(), moved);
        assert_eq!(config.lint(), []);
    }
}
