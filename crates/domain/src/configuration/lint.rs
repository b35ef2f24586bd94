use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ChannelKind, Configuration, Mode, Rule};
use crate::{CalendarId, Refusal, RefusalCode, Violation};

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

/// What was found up to now.
#[derive(Default)]
pub(super) struct Findings(Vec<Problem>);

impl Findings {
    pub(super) fn add(&mut self, path: impl Into<String>, description: impl Into<String>) {
        self.0.push(Problem { path: path.into(), description: description.into() });
    }
}

impl Configuration {
    /// Everything that is wrong with it; empty when it can be applied.
    #[must_use]
    pub fn lint(&self) -> Vec<Problem> {
        let mut findings = Findings::default();
        self.lint_channels(&mut findings);
        self.lint_entry(&mut findings);
        self.lint_calendars(&mut findings);
        self.lint_units(&mut findings);
        self.lint_desks(&mut findings);
        self.lint_staff(&mut findings);
        self.lint_policies(&mut findings);
        for index in 0..self.rules.len() {
            self.lint_rule(index, &mut findings);
        }
        self.lint_senders(&mut findings);
        self.lint_templates(&mut findings);
        self.lint_basic_ids(&mut findings);
        self.lint_handles(&mut findings);
        findings.0
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

    fn lint_channels(&self, findings: &mut Findings) {
        for (id, channel) in &self.channels {
            let path = format!("channels.{id}");
            if let Some(brand) = channel.brand.as_ref().filter(|id| !self.brands.contains_key(id)) {
                findings
                    .add(format!("{path}.brand"), format!("no brand {brand}; add it under brands"));
            }
            if let Some(store) = channel.store.as_ref().filter(|id| !self.stores.contains_key(id)) {
                findings
                    .add(format!("{path}.store"), format!("no store {store}; add it under stores"));
            }
            let is_url = |url: &String| url.starts_with("https://") || url.starts_with("http://");
            match (&channel.incumbent, channel.mode) {
                (None, Mode::Shadow) => findings.add(
                    format!("{path}.incumbent"),
                    "is missing; a shadow channel's webhooks go on to the system that answers it",
                ),
                (Some(url), _) if !is_url(url) => {
                    findings.add(format!("{path}.incumbent"), "is no http:// or https:// address");
                }
                _ => {}
            }
            if channel.kind != ChannelKind::Line && channel.mode != Mode::Live {
                findings
                    .add(format!("{path}.mode"), "only a LINE account can be moved; write live");
            }
        }
    }

    fn lint_entry(&self, findings: &mut Findings) {
        match &self.entry {
            Some(entry) => {
                let live = self
                    .channels
                    .get(&entry.channel)
                    .is_some_and(|c| c.kind == ChannelKind::Line && c.mode == Mode::Live);
                if !live {
                    findings.add(
                        "entry.channel",
                        format!("{} is no live LINE account; add it under channels", entry.channel),
                    );
                }
                if entry.link.trim().is_empty() {
                    findings.add("entry.link", "is empty; write the way to the account");
                }
            }
            None if self.channels.values().any(|channel| channel.mode == Mode::Retired) => {
                findings.add("entry", "is missing; a retired account shows the way to it");
            }
            None => {}
        }
    }

    fn lint_rule(&self, index: usize, findings: &mut Findings) {
        let (earlier, Some(rule)) = (&self.rules[..index], self.rules.get(index)) else { return };
        let path = format!("rules[{index}]");
        if earlier.iter().any(|other| other.name == rule.name) {
            findings
                .add(format!("{path}.name"), format!("{} is used twice; rename one", rule.name));
        }
        let covers = |other: &&Rule| other.when == rule.when || other.when.is_always();
        if let Some(first) = earlier.iter().find(covers) {
            findings.add(
                format!("{path}.when"),
                format!("never reached: {} matches first; move this rule before it", first.name),
            );
        }
        if let Some(problem) = rule.when.problem() {
            findings.add(format!("{path}.when"), problem);
        }
        let unknown = |calendar: &&CalendarId| !self.calendars.contains_key(*calendar);
        for calendar in rule.when.calendars().iter().filter(unknown) {
            findings.add(
                format!("{path}.when"),
                format!("no calendar {calendar}; add it under calendars"),
            );
        }
        if let Some(open) = rule.open.as_ref().filter(|o| !self.queues.contains_key(&o.queue)) {
            findings.add(
                format!("{path}.open.queue"),
                format!("no queue {}; add it under queues", open.queue),
            );
        }
        self.lint_reply(&path, rule, findings);
        let acts = rule.open.is_some() || rule.reply.is_some() || rule.close;
        if !acts && rule.targets.is_empty() && rule.tags.is_empty() {
            findings.add(&*path, "does nothing; give it open, reply, targets, tags or close");
        }
        if rule.close && !rule.targets.is_empty() {
            findings.add(&*path, "hands over what it closes; leave out close or targets");
        }
        self.lint_targets(&path, rule, findings);
    }
}
