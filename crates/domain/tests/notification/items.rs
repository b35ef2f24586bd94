//! What callers, upstreams and senders do again, too late, wrongly or too often.

use std::time::Duration;

use mainstem_domain::configuration::TEXT_AT_MOST;
use mainstem_domain::notification::{
    Answer, Class, Delivery, Input, OUTBOX_FULL, Outcome, Request, SETTLED_FOR, Standing, Words,
};
use mainstem_domain::{At, ItemId, RefusalCode};

use crate::ops::{Op, Send};
use crate::stories::{
    AURORA, campaign, followed, give, item, pass, run, says, send, sends, taipei, world_of,
};
use crate::world::{World, fates};

/// A replayed upstream brings a request again.
#[test]
fn the_same_request_again_is_the_same_item() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA)]);
    let (id, request) = world.routed(&says(0, AURORA));
    let requested = Input::Requested { id: id.clone(), request };
    let first = world.try_take(&requested).unwrap();
    assert_eq!(fates(&first.events).len(), 1);
    let item = ItemId::derive(&id);
    let record = Input::Record { item, outcome: Outcome::Sent };
    give(&mut world, &record).unwrap();
    assert_eq!(world.try_take(&requested).unwrap().events, []);
    // And of two who settle it, the second is told what the first said.
    let other = Input::Record { item, outcome: Outcome::Failed { reason: "b".into() } };
    let Ok(Answer::Delivery(delivery)) = give(&mut world, &other) else { panic!() };
    assert_eq!(delivery.standing.outcome(), Some(&Outcome::Sent));
}

/// Its receipt is gone after 24 h, and then it is a new request, not an old answer.
#[test]
fn a_request_id_that_is_used_again_later_sends_again() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA)]);
    let mut asked = |text: &str| -> Delivery {
        world.at = world.at.after(Duration::from_hours(25));
        let request = Box::new(Request {
            class: Class::Transactional,
            words: Words { text: Some(text.to_owned()), ..Words::default() },
            ..world.wish(&sends(0))
        });
        let input = Input::Send { id: "request".to_owned(), request };
        let Ok(Answer::Delivery(first)) = give(&mut world, &input) else { panic!() };
        assert_eq!(world.try_take(&input).unwrap().events, [], "at the same moment: once");
        first
    };
    let (one, two) = (asked("one"), asked("two"));
    assert_ne!(one.id, two.id);
    assert!([one, two].iter().all(|it| matches!(it.standing, Standing::Queued(_))));
}

#[test]
fn a_settled_item_is_forgotten_and_a_waiting_one_never() {
    let push = || send(Send { class: Class::Transactional, ..sends(0) });
    let sent = |pick| Op::Record { pick, outcome: Outcome::Sent };
    let now = taipei("04T10:00");
    let mut world = world_of(now, &[followed(0, AURORA), push(), push(), push(), sent(0)]);
    let known = |world: &World, pick| world.state.delivery(world.item(pick)).is_some();
    pass(&mut world, now.after(SETTLED_FOR));
    run(&mut world, &[sent(1)]);
    assert!(known(&world, 0), "exactly that old");
    pass(&mut world, At::from_millis(now.after(SETTLED_FOR).as_millis() + 1));
    run(&mut world, &[push(), sent(3)]);
    assert!(!known(&world, 0) && known(&world, 1) && known(&world, 2));
    pass(&mut world, now.after(SETTLED_FOR * 9));
    run(&mut world, &[push(), sent(4)]);
    assert!(!known(&world, 1) && known(&world, 2));
}

#[test]
fn bad_input_is_refused_by_its_field() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA)]);
    let wish = world.wish(&sends(0));
    let text = |units: usize| {
        let words = Words { text: Some("好".repeat(units)), ..Words::default() };
        Request { words, class: Class::Transactional, ..wish.clone() }
    };
    let unknown = Words { templates: vec!["t9".to_owned()], ..Words::default() };
    for (request, field) in [
        (text(0), Some("text")),
        (text(1), None),
        (text(TEXT_AT_MOST), None),
        (text(TEXT_AT_MOST + 1), Some("text")),
        (Request { words: unknown, ..wish.clone() }, Some("template")),
        (Request { deadline: Some(world.at), ..wish.clone() }, Some("expire_time")),
    ] {
        let answer = give(&mut world, &Input::Preview { request: Box::new(request) });
        let refused = answer.err().map(|refusal| {
            assert_eq!(refusal.code, RefusalCode::InvalidArgument);
            refusal.violations[0].field.clone()
        });
        assert_eq!(refused.as_deref(), field);
    }
}

#[test]
fn an_account_with_too_many_on_their_way_takes_no_more_marketing() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA), followed(1, AURORA)]);
    let push = send(Send { class: Class::Transactional, ..sends(0) });
    run(&mut world, &vec![push.clone(); 6]);
    let request = Box::new(world.wish(&sends(1)));
    let full = give(&mut world, &Input::Preview { request: request.clone() }).unwrap_err();
    assert_eq!((full.code, full.reason.as_str()), (RefusalCode::ResourceExhausted, OUTBOX_FULL));
    let sent = give(&mut world, &Input::Send { id: "again".to_owned(), request });
    assert_eq!(sent.unwrap_err().reason, OUTBOX_FULL);
    run(&mut world, &[push, Op::Record { pick: 0, outcome: Outcome::Sent }]);
    run(&mut world, &[Op::Record { pick: 1, outcome: Outcome::Sent }, campaign(1)]);
    assert_eq!(item(&world, 7).class, Class::Marketing);
}
