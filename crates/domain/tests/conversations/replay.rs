//! The past lived through again: under the same rules nothing differs, and under others everybody is
//! accounted for.

use mainstem_domain::configuration::{Configuration, Rule};
use mainstem_domain::routing::replay::{Habits, Happened, Outcome, Replay};
use mainstem_domain::routing::{Event, Input, Routing, State};
use mainstem_domain::{At, Decider as _, Wakeup};
use proptest::prelude::*;

use crate::world::{Op, World, configuration, ops};

type Step = (Input, Vec<Event>, At, Configuration);

/// Lives through it again; `look` at each step.
fn again(world: &World, rules: Vec<Rule>, mut look: impl FnMut(&Replay)) -> Outcome {
    let steps: &[Step] = &world.steps;
    let (mut habits, mut state) = (Habits::default(), State::default());
    for (_, events, at, _) in steps {
        for event in events {
            habits.learn(&state, event, *at);
            Routing::evolve(&mut state, event, *at);
        }
    }
    let mut replay = Replay::new(State::default(), &configuration(0), rules, habits, At::default());
    for (number, (input, events, at, configuration)) in steps.iter().enumerate() {
        let name = number.to_string();
        let happened = match input {
            Input::Wakeup(Wakeup::Due) => Happened::Due,
            Input::Wakeup(Wakeup::Configured) => Happened::Configured(configuration),
            Input::Conversation { .. } => Happened::Command,
            _ => Happened::Input(input, &name),
        };
        replay.take(happened, events, *at);
        look(&replay);
    }
    replay.end(world.at)
}

fn lived(ops: &[Op]) -> World {
    let mut world = World::new();
    for op in ops {
        world.run(op);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn under_the_rules_that_were_in_force_nothing_differs(ops in ops()) {
        let world = lived(&ops);
        let mut same = true;
        let outcome = again(&world, configuration(0).rules, |replay| same &= replay.is_same());
        prop_assert!(same);
        prop_assert_eq!(outcome.differences, []);
        prop_assert_eq!(outcome.was, outcome.would);
        prop_assert_eq!(outcome.assumptions, []);
    }

    /// Whatever the rules: of what began each was taken, left, or over before anybody had it.
    #[test]
    fn under_other_rules_everybody_is_accounted_for(ops in ops(), which in 0..4_usize) {
        let world = lived(&ops);
        let mut rules = configuration(0).rules;
        rules.swap(0, 1);
        rules.remove(which);
        let targets = rules[0].targets.clone();
        rules[1].targets = targets;
        let outcome = again(&world, rules, |_| {});
        for figures in [&outcome.was, &outcome.would] {
            prop_assert!(figures.taken + figures.left <= figures.begun);
            prop_assert_eq!(figures.waited.count() as u64, figures.taken);
            let (staff, places) = (figures.by_staff.values(), figures.by_place.values());
            prop_assert_eq!(staff.sum::<u64>(), places.sum::<u64>());
        }
    }
}

#[test]
fn what_was_never_offered_is_answered_by_the_median_of_that_desk() {
    let (a1, c3) = (0, 5);
    let there = |staff| Op::Presence { staff, available: true, capacity: None };
    let tap = |customer, menu, store| Op::Say {
        customer,
        menu: Some(menu),
        brand: Some("aurora"),
        store,
        token: false,
    };
    let wait = |seconds| Op::Pass { seconds };
    let yes = |pick| Op::Answer { pick, yes: true };
    // The central desk says yes after 30 s; the store after 10 s, and that one the rule takes away.
    let world = lived(&[
        there(a1),
        there(c3),
        tap(0, 1, false),
        wait(30),
        yes(0),
        tap(1, 0, true),
        wait(10),
        yes(1),
        wait(600),
    ]);
    let mut rules = configuration(0).rules;
    let central = rules[0].targets[3];
    rules[0].targets = vec![central];
    let outcome = again(&world, rules, |_| {});
    let [difference] = &outcome.differences[..] else { panic!("{:?}", outcome.differences) };
    assert_eq!(difference.was.offered.as_deref(), Some("a1"));
    assert_eq!(difference.would.offered.as_deref(), Some("c3"));
    assert_eq!(outcome.was.by_place["store s1"], 1);
    assert_eq!(outcome.would.by_place["central desk"], 2);
    assert!(!outcome.would.by_place.contains_key("store s1"));
    let [assumed] = &outcome.assumptions[..] else { panic!("{:?}", outcome.assumptions) };
    assert_eq!((assumed.place.as_str(), assumed.times, assumed.seen), ("central desk", 1, 1));
    assert_eq!(assumed.taken_after.map(|after| after.as_secs()), Some(30));
    let seconds = |of: &mainstem_domain::routing::replay::Figures| {
        of.waited.percentile(100).map(|span| span.as_secs())
    };
    assert_eq!((seconds(&outcome.was), seconds(&outcome.would)), (Some(30), Some(30)));
}
