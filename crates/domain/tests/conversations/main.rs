//! Conversations, offers and staff: by properties beside a naive model, and by name what hurts the
//! users of such systems.

#![expect(clippy::unwrap_used, reason = "a test may stop")]
#![expect(clippy::wildcard_enum_match_arm, reason = "what else can happen is not this test's")]

mod hurts;
mod model;
mod replay;
mod world;

use mainstem_domain::routing::{Routing, State, Talk};
use mainstem_domain::{Decider as _, Wakeup};
use proptest::prelude::*;

use crate::world::{Op, World, ops};

fn check(world: &World) -> Result<(), TestCaseError> {
    for (id, one) in world.state.conversations_after(None) {
        let expected = world.model.talk(*id);
        prop_assert_eq!(Some(&one.stage), expected.as_ref(), "{}", id);
        prop_assert_eq!(Some(one.waiting_since), world.model.waiting_since(*id), "{}", id);
        prop_assert_eq!(Some(one.customer), world.model.customer(*id), "{}", id);
        if let Some(staff) = one.stage.staff() {
            let has = world.state.standing(staff).is_some_and(|one| one.held.contains(id));
            prop_assert!(has, "{staff} does not know of {id}");
        }
    }
    for (staff, standing) in world.state.staff_after(None) {
        prop_assert_eq!(standing.held.len(), world.model.load(staff), "{}", staff);
        let over = standing.held.len().saturating_sub(standing.post.capacity as usize);
        prop_assert!(over <= world.model.allowed_over(staff), "{staff} has {over} too many");
        for id in &standing.held {
            let view = world.state.conversation(*id);
            let of = view.and_then(|view| view.conversation.stage.staff().cloned());
            prop_assert_eq!(of.as_ref(), Some(staff));
        }
    }
    prop_assert_eq!(world.state.waiting(), world.model.waiting());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The machine and the model agree on every conversation after every operation.
    #[test]
    fn the_naive_model_agrees(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
            check(&world)?;
        }
    }

    /// Whoever is oldest of the most urgent in line is served first, and nobody waits while somebody
    /// at the central desk has room and did not pass.
    #[test]
    fn nobody_waits_beside_a_free_desk(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
            prop_assert_eq!(world.served_too_late(), None);
        }
    }

    /// The ledger alone gives the same state.
    #[test]
    fn the_fold_of_the_events_is_the_state(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        let mut folded = State::default();
        for (event, at) in &world.ledger {
            Routing::evolve(&mut folded, event, *at);
        }
        prop_assert!(folded == world.state);
    }

    /// A deadline that has come is gone after its wakeups: nothing goes round for ever.
    #[test]
    fn wakeups_come_to_an_end(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
            let mut wakeups = 0;
            while Routing::due(&world.state).is_some_and(|due| due <= world.at) {
                world.wake(Wakeup::Due);
                wakeups += 1;
                prop_assert!(wakeups < 50);
            }
        }
    }

    /// Nothing but a person or a rule closes a conversation, and each is in one place.
    #[test]
    fn nothing_is_cancelled_in_silence(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            let open = world.open();
            world.run(op);
            let said = matches!(op, Op::Say { menu: Some(3), .. });
            let closes = said || matches!(op, Op::Close { .. } | Op::Erase { .. });
            for id in open {
                let stage = world.state.conversation(id).map(|view| view.conversation.stage);
                let over = stage.as_ref().is_none_or(Talk::is_closed);
                prop_assert!(!over || closes, "{id} was closed by {op:?}");
            }
        }
    }
}
