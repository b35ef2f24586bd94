//! People, customers, a service, and its custodian.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use mainstem_domain::configuration::Configuration;
use mainstem_domain::custody::{Counts, Custody, Input, Job, Owner, Part, Split};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::person::Carrier;
use mainstem_domain::{At, CustomerId, Decider, Decision, ErasureId, SplitId};
use proptest::prelude::*;

pub(crate) const PEOPLE: usize = 6;

/// A service as the world sees it.
pub(crate) trait Service {
    type Decider: Decider<Event = Self::Event, State = Self::State>;
    type Event: Clone + Debug + PartialEq;
    type State: Clone + Default + Debug + PartialEq;
    /// Whether it waits for another service when a customer is split.
    const FOLLOWS: bool;

    fn custody(state: &Self::State) -> &Custody;
    fn input(input: Input) -> <Self::Decider as Decider>::Input;
    fn merged(survivor: CustomerId, absorbed: CustomerId) -> <Self::Decider as Decider>::Input;
    /// Under whom the event stands.
    fn stands(event: &Self::Event) -> Option<CustomerId>;
    fn carrier(state: &Self::State, event: &Self::Event) -> Option<Carrier>;
}

/// What happens to customers.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Merge {
        survivor: usize,
        absorbed: usize,
    },
    /// Whom of the customer of `of` the bits name goes apart.
    Split {
        of: usize,
        apart: u8,
        parts: bool,
    },
    /// The custodian does all that it can.
    Custodian,
    Erase {
        of: usize,
    },
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..PEOPLE, 0..PEOPLE)
            .prop_map(|(survivor, absorbed)| Change::Merge { survivor, absorbed }),
        4 => (0..PEOPLE, any::<u8>(), any::<bool>())
            .prop_map(|(of, apart, parts)| Change::Split { of, apart, parts }),
        2 => Just(Change::Custodian),
        1 => (0..PEOPLE).prop_map(|of| Change::Erase { of }),
    ]
}

pub(crate) fn member(person: usize) -> Identifier {
    Identifier::Member(format!("m{person}").into())
}

pub(crate) fn line(person: usize) -> Identifier {
    Identifier::Line { provider: "p".into(), user: format!("U{person}").into() }
}

/// Who hangs on that carrier.
pub(crate) fn person_of(carrier: Carrier) -> usize {
    let of = |person: &usize| {
        [member(*person), line(*person)].iter().any(|own| Carrier::of(own) == carrier)
    };
    (0..PEOPLE).find(of).unwrap()
}

struct Entry<S: Service> {
    event: S::Event,
    at: At,
    customer: Option<CustomerId>,
    /// A moved copy is folded by nobody.
    copy: bool,
    gone: bool,
}

pub(crate) struct World<S: Service> {
    pub(crate) configuration: Configuration,
    pub(crate) state: S::State,
    pub(crate) at: At,
    ledger: Vec<Entry<S>>,
    /// Jobs that are open, and the length of the ledger when they were opened.
    since: BTreeMap<String, usize>,
    /// The id that each person began with.
    pub(crate) own: [CustomerId; PEOPLE],
    /// Whose customer each person is: the person that it is named after.
    named: [usize; PEOPLE],
    number: usize,
    /// Splits that the service before this one has not moved yet.
    awaited: Vec<(SplitId, CustomerId)>,
    erased: Vec<CustomerId>,
}

impl<S: Service> World<S> {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self {
            configuration,
            state: S::State::default(),
            at: At::from_millis(1_000_000_000),
            ledger: Vec::new(),
            since: BTreeMap::new(),
            own: std::array::from_fn(|person| CustomerId::derive(&format!("{person}"))),
            named: std::array::from_fn(|person| person),
            number: 0,
            awaited: Vec::new(),
            erased: Vec::new(),
        }
    }

    pub(crate) fn number(&mut self) -> usize {
        self.number += 1;
        self.number
    }

    /// The customer that a person is now.
    pub(crate) fn customer(&self, person: usize) -> CustomerId {
        self.own[self.named[person]]
    }

    fn people(&self, name: usize) -> Vec<usize> {
        (0..PEOPLE).filter(|person| self.named[*person] == name).collect()
    }

    /// Every id that a person can be known by.
    pub(crate) fn ids(&self, person: usize) -> Vec<CustomerId> {
        let people = self.people(self.named[person]);
        people.into_iter().map(|person| self.own[person]).collect()
    }

    pub(crate) fn give(
        &mut self,
        input: &<S::Decider as Decider>::Input,
    ) -> Decision<S::Event, <S::Decider as Decider>::Answer> {
        self.at = self.at.after(Duration::from_millis(1));
        let decision = S::Decider::decide(&self.state, &self.configuration, input, self.at);
        for event in &decision.events {
            S::Decider::evolve(&mut self.state, event, self.at);
            self.ledger.push(Entry {
                event: event.clone(),
                at: self.at,
                customer: S::stands(event),
                copy: false,
                gone: false,
            });
            let jobs = S::custody(&self.state).jobs();
            self.since.retain(|name, _| jobs.iter().any(|job| name_of(job) == name));
            for job in &jobs {
                self.since.entry(name_of(job).to_owned()).or_insert(self.ledger.len() - 1);
            }
        }
        decision
    }

    fn tell(&mut self, input: Input) {
        self.give(&S::input(input));
    }

    pub(crate) fn change(&mut self, change: &Change) {
        match change {
            Change::Merge { survivor, absorbed } => self.merge(*survivor, *absorbed),
            Change::Split { of, apart, parts } => self.split(*of, *apart, *parts),
            Change::Custodian => self.custodian(),
            Change::Erase { of } => self.erase(*of),
        }
    }

    fn merge(&mut self, survivor: usize, absorbed: usize) {
        let (survivor, absorbed) = (self.named[survivor], self.named[absorbed]);
        if survivor == absorbed {
            return;
        }
        self.give(&S::merged(self.own[survivor], self.own[absorbed]));
        for named in self.named.iter_mut().filter(|named| **named == absorbed) {
            *named = survivor;
        }
    }

    fn split(&mut self, of: usize, apart: u8, parts: bool) {
        let name = self.named[of];
        let (gone, stay): (Vec<_>, Vec<_>) =
            self.people(name).into_iter().partition(|person| apart & (1 << person) != 0);
        if gone.is_empty() || stay.is_empty() {
            return;
        }
        // The first is the one that keeps the id.
        let (keeps, other) = if gone.contains(&name) { (gone, stay) } else { (stay, gone) };
        let (before, split) = (self.own[name], SplitId::derive(&format!("{}", self.number())));
        let pieces = [(name, keeps), (other[0], other)];
        let aliases = |(named, people): &(usize, Vec<usize>)| -> Vec<CustomerId> {
            people
                .iter()
                .filter(|person| *person != named)
                .map(|person| self.own[*person])
                .collect()
        };
        let all_aliases: Vec<_> = pieces.iter().flat_map(aliases).collect();
        let inputs: Vec<_> = pieces
            .iter()
            .flat_map(|piece| {
                let customer = self.own[piece.0];
                let part = |carriers, aliases, last| {
                    Input::Part(Part { split, before, customer, aliases, carriers, last })
                };
                let carriers = |identifier: fn(usize) -> Identifier| -> Vec<Carrier> {
                    piece.1.iter().map(|person| Carrier::of(&identifier(*person))).collect()
                };
                if parts {
                    vec![
                        part(carriers(member), Vec::new(), false),
                        part(carriers(line), aliases(piece), true),
                    ]
                } else {
                    let all = [carriers(member), carriers(line)].concat();
                    vec![part(all, aliases(piece), true)]
                }
            })
            .collect();
        self.tell(Input::Split(Split {
            split,
            before,
            pieces: pieces.iter().map(|(name, _)| self.own[*name]).collect(),
            aliases: all_aliases,
        }));
        for input in inputs {
            self.tell(input);
        }
        for (name, people) in pieces {
            for person in people {
                self.named[person] = name;
            }
        }
        if S::FOLLOWS {
            self.awaited.push((split, before));
        }
    }

    /// Whether something is still under way of a split or an erasure.
    pub(crate) fn is_busy(&self) -> bool {
        !self.since.is_empty() || !self.awaited.is_empty()
    }

    pub(crate) fn custodian(&mut self) {
        for (split, customer) in std::mem::take(&mut self.awaited) {
            self.tell(Input::UpstreamMoved { split, customer });
        }
        while let Some(job) = S::custody(&self.state).jobs().into_iter().next() {
            let since = self.since[name_of(&job)];
            match &job {
                Job::Move { customer, .. } => self.relocate(*customer, since),
                Job::Erase { customers, .. } => {
                    for entry in &mut self.ledger {
                        entry.gone |= entry.customer.is_some_and(|one| customers.contains(&one));
                    }
                }
            }
            let job = name_of(&job).to_owned();
            self.tell(Input::JobDone { job, counts: Counts::from([("x".to_owned(), 1)]) });
        }
        let done: Vec<_> = S::custody(&self.state).unreported().map(|(id, _)| id).collect();
        for erasure in done {
            self.tell(Input::Reported(erasure));
        }
    }

    fn relocate(&mut self, customer: CustomerId, since: usize) {
        for place in 0..since {
            let entry = &self.ledger[place];
            if entry.gone || entry.customer != Some(customer) {
                continue;
            }
            let carrier = S::carrier(&self.state, &entry.event);
            match S::custody(&self.state).owner(customer, carrier) {
                Owner::Same => continue,
                Owner::Nobody => {}
                Owner::Other(owner) => {
                    let (event, at) = (entry.event.clone(), entry.at);
                    let (customer, copy, gone) = (Some(owner), true, false);
                    self.ledger.push(Entry { event, at, customer, copy, gone });
                }
            }
            self.ledger[place].gone = true;
        }
    }

    fn erase(&mut self, of: usize) {
        // identity-merge waits for its own moves, and its services are as fast here.
        if self.is_busy() {
            return;
        }
        let name = self.named[of];
        let (people, number) = (self.people(name), self.number());
        let customers = self.ids(of);
        self.erased.extend(customers.iter().copied());
        let erasure = ErasureId::derive(&format!("{number}"));
        self.tell(Input::Erased { erasure, customers });
        for person in people {
            self.own[person] = CustomerId::derive(&format!("{person}/{number}"));
            self.named[person] = person;
        }
    }

    /// After the custodian: every record stands under its own person, and the rest of the log says
    /// the same.
    pub(crate) fn check(&self) -> Result<(), TestCaseError> {
        for entry in self.ledger.iter().filter(|entry| !entry.gone) {
            let Some(customer) = entry.customer else { continue };
            prop_assert!(!self.erased.contains(&customer), "{:?} is left", entry.event);
            if let Some(carrier) = S::carrier(&self.state, &entry.event) {
                let ids = self.ids(person_of(carrier));
                prop_assert!(ids.contains(&customer), "{:?} under {customer}", entry.event);
            }
        }
        prop_assert!(!S::custody(&self.state).jobs().iter().any(|_| true));
        let mut folded = S::State::default();
        for entry in self.ledger.iter().filter(|entry| !entry.gone && !entry.copy) {
            S::Decider::evolve(&mut folded, &entry.event, entry.at);
        }
        prop_assert_eq!(&folded, &self.state);
        Ok(())
    }
}

fn name_of(job: &Job) -> &str {
    match job {
        Job::Move { job, .. } | Job::Erase { job, .. } => job,
    }
}
