use std::time::Duration;

use mainstem_domain::configuration::{Configuration, Handle, Mode};
use mainstem_domain::person::{Act, Address, Carrier, ChannelEvent, Sighting};
use mainstem_domain::routing::{Claims, Event, HandOver, Input, Nonce, Opened, Presented, Routing};
use mainstem_domain::{At, BrandId, Decider as _, StaffId, Wakeup};
use proptest::collection::vec;
use proptest::prelude::*;

use super::routing::TheRouting;
use super::world::{Change, PEOPLE, World, change, line, member, person_of};

const STAFF: [&str; 3] = ["lin", "chen", "wu"];
const BRANDS: [Option<&str>; 3] = [None, Some("aurora"), Some("borea")];

#[derive(Clone, Debug)]
enum Op {
    Scan { person: usize, by_line: bool, staff: usize, of: usize },
    End { person: usize, of: usize },
    HandOver { from: usize, to: usize, of: Option<usize> },
    Change(Change),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..PEOPLE, any::<bool>(), 0..3_usize, 0..3_usize)
            .prop_map(|(person, by_line, staff, of)| Op::Scan { person, by_line, staff, of }),
        2 => (0..PEOPLE, 0..3_usize).prop_map(|(person, of)| Op::End { person, of }),
        2 => (0..3_usize, 0..3_usize, prop::option::of(1..3_usize))
            .prop_map(|(from, to, of)| Op::HandOver { from, to, of }),
        8 => change().prop_map(Op::Change),
    ];
    vec(op, 1..50)
}

fn configuration() -> Configuration {
    let member = |name: &str| serde_json::json!({"name": name, "store": "taipei-1"});
    serde_json::from_value(serde_json::json!({
        "brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Borea"}},
        "stores": {"taipei-1": {"name": "Taipei 1"}},
        "staff": {"lin": member("Lin"), "chen": member("Chen"), "wu": member("Wu")},
        "templates": {
            "binding-done": {"house": "{staff}"},
            "binding-handed-over": {"house": "{staff}"},
        },
    }))
    .unwrap()
}

fn brand(of: usize) -> Option<BrandId> {
    BRANDS[of].map(|brand| brand.parse().unwrap())
}

fn staff(number: usize) -> StaffId {
    STAFF[number].parse().unwrap()
}

/// One binding, as one would write it down: of a person, whoever that is taken for.
#[derive(Clone, Debug)]
struct Row {
    person: usize,
    by_line: bool,
    of: usize,
    staff: usize,
    at: At,
    ended: Option<At>,
}

struct Bench {
    world: World<TheRouting>,
    rows: Vec<Row>,
}

impl Bench {
    fn new() -> Self {
        Self { world: World::new(configuration()), rows: Vec::new() }
    }

    /// Of the rows of a customer for exactly this brand the newest by `at`, if it was not ended then.
    /// Those of one hand-over are of one moment: of these, what they hang on decides.
    fn exact(&self, person: usize, of: usize, at: At) -> Option<usize> {
        let customer = self.world.customer(person);
        let theirs = |row: &Row| self.world.customer(row.person) == customer;
        let rows = self.rows.iter().enumerate();
        let rows = rows.filter(|(_, row)| row.of == of && row.at <= at && theirs(row));
        let (index, row) = rows.max_by_key(|(_, row)| {
            let identifier = if row.by_line { line(row.person) } else { member(row.person) };
            (row.at, Carrier::of(&identifier))
        })?;
        row.ended.is_none_or(|ended| at < ended).then_some(index)
    }

    fn bound(&self, person: usize, of: usize, at: At) -> Option<StaffId> {
        let own = self.exact(person, of, at);
        let index = own.or_else(|| self.exact(person, 0, at))?;
        Some(staff(self.rows[index].staff))
    }

    fn scan(&mut self, person: usize, by_line: bool, who: usize, of: usize) {
        let identifier = if by_line { line(person) } else { member(person) };
        let event = ChannelEvent {
            id: format!("e{}", self.world.number()).parse().unwrap(),
            channel: "line-1".parse().unwrap(),
            mode: Mode::Live,
            store: None,
            brand: None,
            act: Act::Text("MS-…".to_owned()),
            sightings: vec![Sighting { identifier, verified: true }],
            occurred_at: self.world.at,
            received_at: self.world.at,
            reply_token: None,
            attributes: Vec::new(),
            consents: Vec::new(),
            message: None,
        };
        let expires_at = self.world.at.after(Duration::from_hours(1));
        let claims = Claims {
            nonce: Nonce::from_bytes([7; 5]),
            staff: Handle::of(STAFF[who]),
            store: Some(Handle::of("taipei-1")),
            brand: BRANDS[of].map(Handle::of),
            expires_minute: u32::try_from(expires_at.as_millis() / 60_000).unwrap(),
        };
        let known = self.exact(person, of, self.world.at).map(|index| self.rows[index].clone());
        let address = Address { channel: event.channel.clone(), user: format!("U{person}").into() };
        self.world.give(&Input::Channel {
            customer: self.world.customer(person),
            event: Box::new(event),
            address: Some(address),
            code: Some(Presented { opened: Opened::Code(claims), alone: true }),
        });
        let same =
            known.is_some_and(|row| (row.person, row.by_line, row.staff) == (person, by_line, who));
        if !same {
            let at = self.world.at;
            self.rows.push(Row { person, by_line, of, staff: who, at, ended: None });
        }
    }

    fn end(&mut self, person: usize, of: usize) {
        let known = self.exact(person, of, self.world.at);
        let customer = self.world.customer(person);
        let by = "desk/1".to_owned();
        self.world.give(&Input::EndBinding { customer, brand: brand(of), by });
        if let Some(index) = known {
            self.rows[index].ended = Some(self.world.at);
        }
    }

    fn hand_over(&mut self, from: usize, to: usize, only: Option<usize>) {
        if from == to {
            return;
        }
        let now = self.world.at;
        let all = (0..PEOPLE).flat_map(|person| (0..3).map(move |of| (person, of)));
        let mut going: Vec<_> = all
            .filter(|(_, of)| only.is_none_or(|only| only == *of))
            .filter_map(|(person, of)| self.exact(person, of, now))
            .filter(|index| self.rows[*index].staff == from)
            .collect();
        going.sort_unstable();
        going.dedup();
        let decided = self.world.give(&Input::HandOver(HandOver {
            from: staff(from),
            to: staff(to),
            store: None,
            brand: only.and_then(brand),
            by: "operator/1".to_owned(),
        }));
        let bound = decided.events.iter().filter(|event| matches!(event, Event::Bound { .. }));
        assert_eq!(bound.count(), going.len());
        for index in going {
            let at = self.world.at;
            let row = Row { staff: to, at, ended: None, ..self.rows[index].clone() };
            self.rows.push(row);
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Scan { person, by_line, staff, of } => self.scan(*person, *by_line, *staff, *of),
            Op::End { person, of } => self.end(*person, *of),
            Op::HandOver { from, to, of } => self.hand_over(*from, *to, *of),
            Op::Change(change) => {
                let before = self.world.own;
                self.world.change(change);
                let own = self.world.own;
                self.rows.retain(|row| own[row.person] == before[row.person]);
            }
        }
        while Routing::due(&self.world.state).is_some_and(|due| due <= self.world.at) {
            self.world.give(&Input::Wakeup(Wakeup::Due));
        }
    }

    /// Everybody is bound, and was, as the rows say.
    fn check(&self) -> Result<(), TestCaseError> {
        let (state, now) = (&self.world.state, self.world.at);
        let all = (0..PEOPLE).flat_map(|person| (0..3).map(move |of| (person, of)));
        for (person, of) in all {
            let (customer, brand) = (self.world.customer(person), brand(of));
            let bound = state.bound_staff(customer, brand.as_ref());
            prop_assert_eq!(bound, self.bound(person, of, now), "person {} {:?}", person, brand);
            for row in &self.rows {
                for at in [At::from_millis(row.at.as_millis() - 1), row.at] {
                    let held = state.bound_staff_at(customer, brand.as_ref(), at);
                    prop_assert_eq!(held, self.bound(person, of, at));
                }
            }
        }
        for (number, id) in STAFF.iter().enumerate() {
            let listed: Vec<_> = state.bound_to(&id.parse().unwrap(), None).collect();
            let mut wanted: Vec<_> = (0..PEOPLE)
                .filter(|person| {
                    (0..3).any(|of| {
                        let index = self.exact(*person, of, now);
                        index.is_some_and(|index| self.rows[index].staff == number)
                    })
                })
                .map(|person| self.world.customer(person))
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            prop_assert_eq!(listed, wanted);
        }
        for person in 0..PEOPLE {
            for view in state.bindings_of(self.world.customer(person)) {
                let whose = person_of(view.binding.carrier.unwrap());
                prop_assert_eq!(self.world.customer(whose), self.world.customer(person));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Merges, splits and erasures leave each person bound as if nobody had ever been mistaken.
    #[test]
    fn everybody_keeps_their_own_salesperson(ops in ops()) {
        let mut bench = Bench::new();
        for op in &ops {
            bench.run(op);
            bench.check()?;
        }
        bench.world.custodian();
        bench.check()?;
        bench.world.check()?;
    }
}

#[test]
fn of_two_who_are_taken_for_one_the_newest_binding_wins_and_each_has_their_own_again() {
    let mut bench = Bench::new();
    bench.scan(0, false, 0, 0);
    bench.scan(1, false, 1, 0);
    let bound = |bench: &Bench, person: usize| {
        bench.world.state.bound_staff(bench.world.customer(person), None)
    };
    bench.run(&Op::Change(Change::Merge { survivor: 0, absorbed: 1 }));
    assert_eq!(bound(&bench, 0), Some(staff(1)));
    // Staff end what is in force: the older one does not come back while they are one.
    bench.end(0, 0);
    assert_eq!(bound(&bench, 0), None);
    bench.run(&Op::Change(Change::Split { of: 0, apart: 1 << 1, parts: true }));
    assert_eq!((bound(&bench, 0), bound(&bench, 1)), (Some(staff(0)), None));
    bench.world.custodian();
    bench.check().unwrap();
    bench.world.check().unwrap();
}

#[test]
fn who_is_erased_is_bound_to_nobody_and_nobody_lists_them() {
    let mut bench = Bench::new();
    bench.scan(0, false, 0, 1);
    let customer = bench.world.customer(0);
    bench.run(&Op::Change(Change::Erase { of: 0 }));
    assert_eq!(bench.world.state.bindings_of(customer).count(), 0);
    assert_eq!(bench.world.state.ever_bound_to(&staff(0), None).count(), 0);
    bench.world.custodian();
    bench.world.check().unwrap();
}

/// The records of both merges are gone with who is erased, and the last of them stood in between.
#[test]
fn what_an_erased_merge_had_moved_is_forgotten_where_it_stood_before() {
    let mut bench = Bench::new();
    bench.scan(3, true, 0, 0);
    for (survivor, absorbed) in [(2, 3), (0, 2), (4, 0)] {
        bench.run(&Op::Change(Change::Merge { survivor, absorbed }));
    }
    let apart = |people: &[u8]| people.iter().fold(0, |bits, person| bits | 1 << person);
    for (of, apart, parts) in [(0, apart(&[0, 2, 4]), true), (2, apart(&[2, 3]), false)] {
        bench.run(&Op::Change(Change::Split { of, apart, parts }));
    }
    bench.world.custodian();
    bench.run(&Op::Change(Change::Erase { of: 0 }));
    bench.world.custodian();
    bench.check().unwrap();
    bench.world.check().unwrap();
}
