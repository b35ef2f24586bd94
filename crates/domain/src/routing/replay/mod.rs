//! The past lived through again under other rules: who would have gone where, and who would have waited
//! how long.
//!
//! Two states live side by side: as it *was*, which folds what was recorded, and as it *would* have been,
//! for which every inbound event is decided again. They begin equal.
//!
//! | what was recorded | what is done as it would have been |
//! |---|---|
//! | an inbound event | it is decided under the other rules |
//! | somebody comes, goes, binds, opens a case at a counter | the same |
//! | somebody answers an offer, gives a conversation away or ends it | the same, when it stands there as it stood |
//! | somebody works on a case | the same, when it is on the queue that it was on |
//! | a deadline | deadlines come by themselves; one that is the same in both comes when it came |
//!
//! What was never offered was never answered. Whoever is asked there is assumed to say yes after the
//! median time that the same place took to say yes, and to end the conversation after the median time that
//! it took for that; of a case likewise by the queue. Each such assumption is counted
//! ([`Outcome::assumptions`]).
//!
//! Invariant: under the rules that were in force nothing differs.

mod assume;
mod figures;
mod repeat;

use std::collections::{BTreeMap, BTreeSet};

pub use assume::{Assumption, Habits};
pub use figures::{Figures, Spread};

use super::conversation::{ConversationEvent, Talk};
use super::event::{Event, Input};
use super::state::State;
use crate::configuration::{Configuration, Rule};
use crate::{At, CaseId, ConversationId, Decider as _, StaffId, Wakeup};

/// What happened, as the ledger tells it.
#[derive(Clone, Copy, Debug)]
pub enum Happened<'a> {
    /// An upstream message, and its name.
    Input(&'a Input, &'a str),
    /// A command.
    Command,
    /// A deadline.
    Due,
    /// Another configuration was in force from here on.
    Configured(&'a Configuration),
}

/// What comes of living through the past again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Inbound events that were decided again.
    pub inputs: u64,
    /// Those of which something else would have come.
    pub differences: Vec<Difference>,
    /// How it was.
    pub was: Figures,
    /// How it would have been.
    pub would: Figures,
    /// What was assumed about offers and cases that never were.
    pub assumptions: Vec<Assumption>,
}

/// An inbound event of which something else would have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub input: String,
    /// When it was decided.
    pub at: At,
    /// What came of it.
    pub was: Verdict,
    /// What would have come of it.
    pub would: Verdict,
}

/// What came of one inbound event, for its customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that matched.
    pub rule: Option<String>,
    /// The queue on which a case was opened.
    pub queue: Option<String>,
    /// Who was asked first, or `in line`, when a conversation began.
    pub offered: Option<String>,
    /// What was said.
    pub templates: Vec<String>,
    /// A conversation was closed.
    pub closed: bool,
}

/// The past, lived through again.
#[derive(Debug)]
pub struct Replay {
    was: State,
    would: State,
    /// As it was; the rules of the other are the other ones.
    rules: Vec<Rule>,
    configuration: Configuration,
    habits: Habits,
    assumed: BTreeMap<String, Assumption>,
    agenda: BTreeSet<(At, Deed)>,
    outcome: Outcome,
    at: At,
}

/// What is assumed to be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    /// Whoever is asked says yes.
    Accept(ConversationId, StaffId),
    /// Whoever has it ends it.
    Close(ConversationId, StaffId),
    /// Somebody takes the case.
    Take(CaseId),
    /// Whoever took it is done.
    Resolve(CaseId),
}

impl Replay {
    /// From a state on, as it was at `at` under this configuration, with other rules. `habits`: how
    /// people answered.
    #[must_use]
    pub fn new(
        state: State,
        configuration: &Configuration,
        rules: Vec<Rule>,
        habits: Habits,
        at: At,
    ) -> Self {
        let other = Configuration { rules: rules.clone(), ..configuration.clone() };
        Self {
            was: state.clone(),
            would: state,
            rules,
            configuration: other,
            habits,
            assumed: BTreeMap::new(),
            agenda: BTreeSet::new(),
            outcome: Outcome::default(),
            at,
        }
    }

    /// Something happened, and this was recorded of it.
    pub fn take(&mut self, happened: Happened<'_>, recorded: &[Event], at: At) {
        self.advance(at);
        self.at = self.at.max(at);
        match happened {
            Happened::Input(input, name) => {
                self.record(recorded);
                self.outcome.inputs += 1;
                if is_a_code_alone(input) {
                    return self.as_it_stands(recorded);
                }
                let events = self.decide(input, self.at);
                if matches!(input, Input::Channel { .. }) {
                    self.compare(name, recorded, &events);
                }
            }
            Happened::Command => {
                let repeated = repeat::inputs(&self.was, &self.would, recorded);
                self.record(recorded);
                for repeated in repeated {
                    match repeated {
                        repeat::Repeated::Input(input) => {
                            self.decide(&input, self.at);
                        }
                        repeat::Repeated::Event(event) => self.as_it_stands(&[*event]),
                    }
                }
            }
            Happened::Due => {
                self.record(recorded);
                if super::Routing::due(&self.would).is_some_and(|due| due <= self.at) {
                    self.decide(&Input::Wakeup(Wakeup::Due), self.at);
                }
            }
            Happened::Configured(configuration) => {
                self.record(recorded);
                let rules = self.rules.clone();
                self.configuration = Configuration { rules, ..configuration.clone() };
                self.decide(&Input::Wakeup(Wakeup::Configured), self.at);
            }
        }
        self.outcome.was.note_line(self.was.waiting());
        self.outcome.would.note_line(self.would.waiting());
    }

    /// How it was, and how it would have been, by then.
    #[must_use]
    pub fn end(mut self, at: At) -> Outcome {
        self.advance(at);
        self.outcome.was.end(&self.was);
        self.outcome.would.end(&self.would);
        self.outcome.assumptions = self.assumed.into_values().collect();
        self.outcome
    }

    /// Whether both states are the same, so that nothing that comes can differ.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.was == self.would
    }

    /// What would have happened by itself until then.
    fn advance(&mut self, until: At) {
        loop {
            let own = super::Routing::due(&self.would);
            // What both wait for comes when it came.
            let own = own.filter(|own| Some(*own) != super::Routing::due(&self.was));
            let deed = self.agenda.first().map(|(at, _)| *at);
            let Some(next) = own.into_iter().chain(deed).min().filter(|next| *next <= until) else {
                return;
            };
            self.at = self.at.max(next);
            if own == Some(next) {
                if self.decide(&Input::Wakeup(Wakeup::Due), self.at).is_empty() {
                    return;
                }
            } else if let Some((_, deed)) = self.agenda.pop_first() {
                self.act(&deed);
            }
        }
    }

    /// Takes in what hangs on no rule.
    fn as_it_stands(&mut self, recorded: &[Event]) {
        for event in recorded {
            let (state, figures) = (&mut self.would, &mut self.outcome.would);
            Self::fold(&self.configuration, state, figures, event, self.at);
        }
    }

    /// Takes in what was recorded.
    fn record(&mut self, recorded: &[Event]) {
        for event in recorded {
            Self::fold(&self.configuration, &mut self.was, &mut self.outcome.was, event, self.at);
        }
    }

    /// Decides as it would have been, and assumes what whoever is asked answers.
    fn decide(&mut self, input: &Input, at: At) -> Vec<Event> {
        let decision = super::Routing::decide(&self.would, &self.configuration, input, at);
        for event in &decision.events {
            Self::fold(&self.configuration, &mut self.would, &mut self.outcome.would, event, at);
        }
        for event in &decision.events {
            self.assume(event, at);
        }
        decision.events
    }

    fn fold(
        configuration: &Configuration,
        state: &mut State,
        figures: &mut Figures,
        event: &Event,
        at: At,
    ) {
        figures.note(configuration, state, event, at);
        super::Routing::evolve(state, event, at);
    }

    fn compare(&mut self, name: &str, recorded: &[Event], events: &[Event]) {
        let (was, would) = (Verdict::of(recorded), Verdict::of(events));
        // Older records of a mere answer do not tell its rule.
        let untold = was.rule.is_none() && !was.templates.is_empty();
        let told = Verdict {
            rule: if untold { would.rule.clone() } else { was.rule.clone() },
            ..was.clone()
        };
        if told != would {
            let (input, at) = (name.to_owned(), self.at);
            self.outcome.differences.push(Difference { input, at, was, would });
        }
    }
}

impl Verdict {
    /// Of what was decided for one event.
    fn of(events: &[Event]) -> Self {
        let mut verdict = Self::default();
        for event in events {
            let rule = event.rule();
            if verdict.rule.is_none() {
                verdict.rule = rule.map(str::to_owned);
            }
            if let Event::Opened { case, .. } = event {
                verdict.queue = Some(case.queue.to_string());
            }
            if let Event::MessageRequested(request) = event {
                verdict.templates.clone_from(&request.templates);
            }
            let Event::Conversation(event) = event else { continue };
            if let ConversationEvent::Opened { conversation, .. } = event {
                let asked = conversation.stage.staff().map(ToString::to_string);
                verdict.offered = Some(asked.unwrap_or_else(|| "in line".to_owned()));
            }
            verdict.closed |= rule.is_some() && matches!(event, ConversationEvent::Closed { .. });
        }
        verdict
    }
}

/// No rule is asked about a code that is all that was said.
fn is_a_code_alone(input: &Input) -> bool {
    matches!(input, Input::Channel { code: Some(code), .. } if code.alone)
}

/// Whether a conversation stands the same in both.
fn stands_the_same(was: &State, would: &State, id: ConversationId) -> bool {
    let stage = |state: &State| state.conversation(id).map(|view| view.conversation.stage);
    match (stage(was), stage(would)) {
        (
            Some(Talk::InProgress { staff: one, .. }),
            Some(Talk::InProgress { staff: other, .. }),
        ) => one == other,
        (one, other) => one == other,
    }
}
