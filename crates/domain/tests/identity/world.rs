//! The decider as the engine runs it.

use std::collections::BTreeMap;

use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Answer, Event, Identity, Input, Profile, State};
use mainstem_domain::person::{Act, Answer as Said, Attribute, ChannelEvent, Consent, Sighting};
use mainstem_domain::{At, CaseId, CustomerId, Decider, Decision};
use proptest::test_runner::Config as ProptestConfig;

use crate::story::{Does, IDENTIFIERS, Name, Op, Sight, Told, Under, Word};

pub(crate) type Decided = Decision<Event, Answer>;

impl Under {
    pub(crate) fn configuration(self) -> Configuration {
        let limits = match self {
            Self::Narrow => serde_json::json!({
                "member": 1, "phone": 2, "email": 1, "line": 2, "external": 2, "cookie": 3,
            }),
            Self::Windows => serde_json::json!({
                "member": 1,
                "phone": {"at_most": 2, "within": "30d"},
                "email": {"at_most": 1, "within": "7d"},
                "line": {"at_most": 2, "within": "365d"},
                "external": {"at_most": 1, "within": "7d"},
                "cookie": {"at_most": 2, "within": "30d"},
            }),
            Self::Wide => serde_json::json!({"member": 150, "phone": 150, "email": 150}),
        };
        let hub = match self {
            Self::Narrow | Self::Windows => serde_json::json!({"customers": 3, "days": 7}),
            Self::Wide => serde_json::json!({"customers": 60, "days": 30}),
        };
        // Nothing is alike enough: what is suggested by likeness has tests of its own.
        let similarity = serde_json::json!({"suggest-at": 40});
        configuration(&serde_json::json!({"limits": limits, "hub": hub, "similarity": similarity}))
    }
}

pub(crate) fn configuration(identity: &serde_json::Value) -> Configuration {
    serde_json::from_value(serde_json::json!({"identity": identity})).unwrap()
}

pub(crate) fn id(text: &str) -> Identifier {
    text.parse().unwrap()
}

impl Name {
    pub(crate) fn identifier(self) -> Identifier {
        id(IDENTIFIERS[self.0])
    }
}

/// What is kept of an identifier after its person was erased.
pub(crate) fn token(identifier: &Identifier) -> String {
    format!("token of {identifier}")
}

pub(crate) fn channel_event(event: &str, channel: u8, at: At) -> ChannelEvent {
    ChannelEvent {
        id: event.parse().unwrap(),
        channel: format!("channel-{channel}").parse().unwrap(),
        store: None,
        brand: None,
        act: Act::Follow,
        sightings: Vec::new(),
        mode: Mode::Live,
        occurred_at: at,
        received_at: at,
        reply_token: None,
        attributes: Vec::new(),
        consents: Vec::new(),
        message: None,
    }
}

pub(crate) fn arrives(event: ChannelEvent) -> Input {
    let tokens = event.sightings.iter().map(|one| token(&one.identifier)).collect();
    Input::Inbound { event, tokens }
}

pub(crate) fn inbound(event: &str, at: At, sightings: Vec<(Identifier, bool)>) -> Input {
    let sightings = sightings
        .into_iter()
        .map(|(identifier, verified)| Sighting { identifier, verified })
        .collect();
    arrives(ChannelEvent { sightings, ..channel_event(event, 0, at) })
}

impl Told {
    pub(crate) fn input(&self, at: At) -> Input {
        let late = i64::try_from(self.late.0.as_millis()).unwrap();
        let occurred_at = At::from_millis(at.as_millis() - late);
        let mut event = channel_event(&format!("e{}", self.event), self.channel, at);
        event.occurred_at = occurred_at;
        event.sightings = self
            .carries
            .iter()
            .map(|Sight(name, verified)| Sighting {
                identifier: name.identifier(),
                verified: *verified,
            })
            .collect();
        for word in &self.says {
            match word {
                Word::Named { value, verified } => {
                    event.attributes.push(attribute("name", *value, *verified));
                }
                Word::Lives { value, verified } => {
                    event.attributes.push(attribute("city", *value, *verified));
                }
                Word::Grants(means) => event.consents.push(consent(means, Said::Granted)),
                Word::Refuses(means) => event.consents.push(consent(means, Said::Refused)),
            }
        }
        match self.does {
            Does::Nothing => {}
            Does::Sends(message) => event.message = Some(format!("m{message}").into()),
            Does::TakesBack(message) => event.act = Act::Unsend(format!("m{message}")),
        }
        arrives(event)
    }
}

fn attribute(name: &str, value: u8, verified: bool) -> Attribute {
    Attribute { name: name.parse().unwrap(), value: format!("{name} {value}"), verified }
}

pub(crate) fn consent(means: &str, answer: Said) -> Consent {
    Consent { means: means.parse().unwrap(), purpose: "marketing".parse().unwrap(), answer }
}

/// The decider, with everything that it has decided.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) configuration: Configuration,
    pub(crate) state: State,
    pub(crate) ledger: Vec<(Event, At)>,
    pub(crate) at: At,
    /// Every id that was ever given.
    pub(crate) ids: Vec<CustomerId>,
    /// Every event that was told, and when first.
    pub(crate) told: Vec<Input>,
    /// Which message each record of the ledger holds.
    pub(crate) holds: Vec<Option<String>>,
    commands: usize,
}

impl World {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self { configuration, ..Self::default() }
    }

    pub(crate) fn under(under: Under) -> Self {
        Self::new(under.configuration())
    }

    fn customer(&self, pick: usize) -> CustomerId {
        let pick = pick % (self.ids.len() + 1);
        self.ids.get(pick).copied().unwrap_or(CustomerId::derive("nobody"))
    }

    /// What an operation asks of the decider; nothing when there is nothing to do it to.
    pub(crate) fn input(&self, op: &Op) -> Option<Input> {
        let owner = |name: &Name| self.state.owner(&name.identifier());
        let origin = format!("command-{}", self.commands);
        Some(match op {
            Op::Tell(told) => told.input(self.at),
            Op::Again(back) => self.told.get(self.told.len().checked_sub(back + 1)?)?.clone(),
            Op::Attach { customer, identifier } => Input::Attach {
                customer: self.customer(*customer),
                identifier: identifier.identifier(),
            },
            Op::Merge { customer, other, validate_only } => Input::Merge {
                customer: self.customer(*customer),
                other: self.customer(*other),
                validate_only: *validate_only,
            },
            Op::Join(one, other) => {
                Input::Merge { customer: owner(one)?, other: owner(other)?, validate_only: false }
            }
            Op::Split { off, validate_only } => {
                let customer = owner(off.first()?)?;
                let theirs = off.iter().filter(|name| owner(name) == Some(customer));
                Input::Split {
                    customer,
                    identifiers: theirs.map(|name| name.identifier()).collect(),
                    origin,
                    validate_only: *validate_only,
                }
            }
            Op::SplitBlindly { customer, off } => Input::Split {
                customer: self.customer(*customer),
                identifiers: off.iter().map(|name| name.identifier()).collect(),
                origin,
                validate_only: false,
            },
            Op::Moved => {
                let (split, _) = self.state.splits().next()?;
                Input::Moved { split: *split, counts: BTreeMap::new() }
            }
            Op::Hidden => {
                let (unsend, _) = self.state.unsends().next()?;
                Input::Hidden { unsend: *unsend, counts: BTreeMap::new() }
            }
            Op::Accept(pick) => Input::AcceptSuggestion(*nth(
                *pick,
                self.state.suggestions_after(None).map(|(id, _)| id),
            )?),
            Op::Reject(pick) => Input::RejectSuggestion(*nth(
                *pick,
                self.state.suggestions_after(None).map(|(id, _)| id),
            )?),
            Op::Release(pick) => Input::ReleaseHub(
                nth(*pick, self.state.hubs_after(None).map(|(identifier, _)| identifier))?.clone(),
            ),
            Op::Settle { dispute, to } => {
                let (id, dispute) = nth(*dispute, self.state.disputes_after(None))?;
                let claimant = |to| nth(to, dispute.claimants.iter()).copied();
                Input::SettleDispute { dispute: *id, customer: to.and_then(claimant) }
            }
            Op::Erase { of, force, case_open } => {
                let customer = owner(of)?;
                let profile = self.state.customer(customer)?;
                let tokens =
                    profile.identifiers.keys().map(|one| (one.clone(), token(one))).collect();
                let open_cases = case_open.then(|| CaseId::derive("open")).into_iter().collect();
                Input::Erase { customer, force: *force, open_cases, tokens, origin }
            }
            Op::Wait(_) => return None,
        })
    }

    pub(crate) fn decide(&self, input: &Input) -> Decided {
        Identity::decide(&self.state, &self.configuration, input, self.at)
    }

    pub(crate) fn take(&mut self, input: &Input) -> Decided {
        let decision = self.decide(input);
        self.commands += 1;
        if matches!(input, Input::Inbound { .. }) && !decision.events.is_empty() {
            self.told.push(input.clone());
        }
        for event in &decision.events {
            let new = match event {
                Event::Created { customer, .. } => vec![*customer],
                Event::Split { pieces, .. } => pieces.clone(),
                _ => Vec::new(),
            };
            for id in new {
                if !self.ids.contains(&id) {
                    self.ids.push(id);
                }
            }
            Identity::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
            self.holds.push(match (event, input) {
                (Event::Channel { .. }, Input::Inbound { event, .. }) => {
                    event.message.as_deref().map(str::to_owned)
                }
                _ => None,
            });
        }
        decision
    }

    /// Runs one operation. `None`: time passed or there was nothing to do.
    pub(crate) fn run(&mut self, op: &Op) -> Option<(Input, Decided)> {
        if let Op::Wait(span) = op {
            self.at = self.at.after(span.0);
        }
        let input = self.input(op)?;
        let decision = self.take(&input);
        Some((input, decision))
    }

    /// Every split's records are under their owners.
    pub(crate) fn moved(&mut self) {
        while let Some(input) = self.input(&Op::Moved) {
            self.take(&input);
        }
    }

    /// No record holds a message that was taken back.
    pub(crate) fn hidden(&mut self) {
        while let Some(input) = self.input(&Op::Hidden) {
            self.take(&input);
        }
    }

    /// Every living customer once.
    pub(crate) fn customers(&self) -> Vec<Profile> {
        self.state.customers_after(None).collect()
    }
}

fn nth<T>(pick: usize, all: impl Iterator<Item = T>) -> Option<T> {
    let mut all: Vec<_> = all.collect();
    let place = pick.checked_rem(all.len())?;
    Some(all.swap_remove(place))
}

pub(crate) fn fold<'a>(ledger: impl IntoIterator<Item = &'a (Event, At)>) -> State {
    let mut state = State::default();
    for (event, at) in ledger {
        Identity::evolve(&mut state, event, *at);
    }
    state
}

/// So many tries; a case that fails is kept by writing a test of it, not in a file.
pub(crate) fn tries(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 8_000,
        max_global_rejects: 65_536,
        ..Default::default()
    }
}
