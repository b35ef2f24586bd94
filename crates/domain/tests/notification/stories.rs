//! Named after what hurts people who are told something, and those who tell them.

use std::time::Duration;

use mainstem_domain::configuration::Mode;
use mainstem_domain::notification::{
    Answer, Class, Consent, Deed, Input, Item, Notification, Outcome, Preferences, REPLY_WITHIN,
    Standing, Wait, Way,
};
use mainstem_domain::person::Answer as Said;
use mainstem_domain::{At, Decider as _, Refusal};

use crate::ops::{Op, Say, Send, Step, at};
use crate::world::{World, channel, own, user, zone};

pub(crate) const AURORA: usize = 0;
const BOREA: usize = 1;
const ENTRY: usize = 2;
const OLD: usize = 3;
const SHADOW: usize = 4;

/// A day in Taipei.
pub(crate) fn taipei(time: &str) -> At {
    at(&format!("2026-05-{time}:00+08:00"))
}

pub(crate) fn world_of(now: At, ops: &[Op]) -> World {
    let mut world = World::new("2026-05-01T00:00:00Z");
    world.at = now;
    run(&mut world, ops);
    world
}

pub(crate) fn run(world: &mut World, ops: &[Op]) {
    for op in ops {
        world.run(op).unwrap();
        crate::check(world).unwrap();
    }
}

/// Until then, by way of every deadline that comes before.
pub(crate) fn pass(world: &mut World, until: At) {
    loop {
        let due = Notification::due(&world.state);
        let Some(due) = due.filter(|due| *due < until) else { break };
        let millis = due.as_millis() - world.at.as_millis();
        run(world, &[Op::Pass(Step::Millis(millis))]);
    }
    let millis = until.as_millis() - world.at.as_millis();
    run(world, &[Op::Pass(Step::Millis(millis))]);
}

fn seen(person: usize, channel: usize, deed: Deed) -> Op {
    Op::Seen { person, channel: Some(channel), deed, age: 0 }
}

pub(crate) fn followed(person: usize, channel: usize) -> Op {
    seen(person, channel, Deed::Followed)
}

pub(crate) fn says(person: usize, channel: usize) -> Say {
    Say {
        person,
        channel,
        text: false,
        templates: 1,
        case: None,
        brand: None,
        reply_age: None,
        mode: Mode::Live,
        by_member: false,
        by_nothing: false,
    }
}

fn news(person: usize, channel: usize, case: u8) -> Op {
    Op::Say(Say { case: Some(case), ..says(person, channel) })
}

pub(crate) fn sends(person: usize) -> Send {
    Send {
        person,
        class: Class::Marketing,
        channel: None,
        elsewhere: false,
        templates: 1,
        brand: None,
        key: None,
        minutes: None,
        digest: false,
    }
}

pub(crate) fn send(send: Send) -> Op {
    Op::Send { send, times: 1 }
}

pub(crate) fn campaign(person: usize) -> Op {
    send(sends(person))
}

fn standing(world: &World, pick: usize) -> Standing {
    let delivery = world.state.delivery(world.item(pick));
    delivery.unwrap().standing
}

pub(crate) fn item(world: &World, pick: usize) -> Item {
    match standing(world, pick) {
        Standing::Queued(item) => Item::clone(&item),
        other => panic!("{other:?}"),
    }
}

fn waits(world: &World, pick: usize) -> (At, Wait) {
    match standing(world, pick) {
        Standing::Deferred(deferred) => (deferred.until, deferred.wait),
        other => panic!("{other:?}"),
    }
}

/// Why it ended.
pub(crate) fn reason(world: &World, pick: usize) -> String {
    match standing(world, pick) {
        Standing::Ended(ended) => ended.outcome.reason().unwrap_or("sent").to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Gives one input, beside the model.
pub(crate) fn give(world: &mut World, input: &Input) -> Result<Answer, Refusal> {
    world.try_take(input).unwrap().answer.unwrap()
}

#[test]
fn a_counter_that_binds_a_customer_at_21_40_gets_its_confirmation_at_21_40() {
    let now = taipei("04T21:40");
    let mut world = world_of(now, &[followed(0, AURORA)]);
    run(&mut world, &[Op::Say(Say { reply_age: Some(2_000), ..says(0, AURORA) })]);
    let sent = item(&world, 0);
    assert_eq!((sent.class, sent.way), (Class::Reply, Way::Reply { token: "token".to_owned() }));
    // Without the right to reply it is news like any other.
    run(&mut world, &[Op::Say(says(0, AURORA))]);
    assert_eq!(waits(&world, 1), (taipei("05T09:00"), Wait::QuietHours));
    // What somebody of the staff says in a conversation is waited for.
    run(&mut world, &[Op::Say(Say { text: true, ..says(0, AURORA) })]);
    assert_eq!(item(&world, 2).way, Way::Push);
}

#[test]
fn a_repair_that_is_finished_at_23_00_is_told_at_09_00_where_the_customer_lives() {
    let tell = |zone_name: &str| Op::Tell {
        person: 0,
        by_member: true,
        what: zone(zone_name),
        verified: true,
        age: 0,
    };
    let now = taipei("04T23:00");
    for (lives, told) in [
        ("Asia/Taipei", taipei("05T09:00")),
        // 17:00 there.
        ("Europe/Berlin", now),
        // 01:00 there.
        ("Australia/Sydney", at("2026-05-05T09:00:00+10:00")),
    ] {
        let mut world = world_of(now, &[followed(0, AURORA), tell(lives), news(0, AURORA, 1)]);
        if told > now {
            assert_eq!(waits(&world, 0), (told, Wait::QuietHours), "{lives}");
            pass(&mut world, At::from_millis(told.as_millis() - 1));
            assert!(matches!(standing(&world, 0), Standing::Deferred(_)), "{lives}");
            pass(&mut world, told);
        }
        assert_eq!(item(&world, 0).class, Class::Service, "{lives}");
    }
}

#[test]
fn at_exactly_50_seconds_a_right_to_reply_is_stale() {
    let within = i64::try_from(REPLY_WITHIN.as_millis()).unwrap();
    for (age, replies) in [(0, true), (within - 1, true), (within, false), (within + 1, false)] {
        let say = Op::Say(Say { reply_age: Some(age), ..says(0, AURORA) });
        let world = world_of(taipei("04T12:00"), &[followed(0, AURORA), say]);
        assert_eq!(matches!(item(&world, 0).way, Way::Reply { .. }), replies, "{age} ms");
    }
}

#[test]
fn two_messages_without_any_answer_double_the_spans_and_any_answer_resets_them() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA), campaign(0)]);
    let later = |hours: u64| taipei("04T10:00").after(Duration::from_hours(hours));
    pass(&mut world, At::from_millis(later(24).as_millis() - 1));
    run(&mut world, &[campaign(0)]);
    assert_eq!(reason(&world, 1), "over the person's budget");
    pass(&mut world, later(24));
    run(&mut world, &[campaign(0)]);
    assert_eq!(item(&world, 2).class, Class::Marketing);
    // Tired now: 48 h from the second one on.
    pass(&mut world, later(24 + 47));
    run(&mut world, &[campaign(0)]);
    assert_eq!(reason(&world, 3), "over the person's budget");
    // But not who says something, anywhere.
    run(&mut world, &[seen(0, BOREA, Deed::Acted), campaign(0)]);
    assert_eq!(item(&world, 4).class, Class::Marketing);
    // And a block is no answer.
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA)]);
    run(&mut world, &[followed(0, BOREA), campaign(0)]);
    pass(&mut world, later(24));
    run(&mut world, &[campaign(0), seen(0, BOREA, Deed::Blocked)]);
    pass(&mut world, later(24 + 47));
    run(&mut world, &[campaign(0)]);
    assert_eq!(reason(&world, 2), "over the person's budget");
    pass(&mut world, later(24 + 48));
    run(&mut world, &[campaign(0)]);
    assert_eq!(item(&world, 3).address.channel, channel(AURORA));
}

#[test]
fn three_in_a_week_are_enough() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA)]);
    for day in [4, 5, 6, 7] {
        pass(&mut world, taipei(&format!("{day:02}T12:00")));
        run(&mut world, &[campaign(0), seen(0, AURORA, Deed::Acted)]);
    }
    assert_eq!(reason(&world, 3), "over the person's budget");
    run(&mut world, &[send(Send { digest: true, minutes: Some(9 * 24 * 60), ..sends(0) })]);
    assert_eq!(waits(&world, 4), (taipei("11T12:00"), Wait::Budget));
}

#[test]
fn a_refusal_survives_merge_and_split() {
    let refuse = |person| Op::Consent { person, answer: Said::Refused, age: 0 };
    let merge = Op::Merge { survivor: 0, absorbed: 1 };
    let split = Op::Split { person: 1, parts: true };
    let start = [followed(0, AURORA), followed(1, BOREA)];
    let mut world = world_of(taipei("04T10:00"), &start);
    run(&mut world, &[refuse(1), merge.clone(), campaign(0), campaign(1)]);
    assert_eq!(reason(&world, 0), "no consent to marketing");
    assert_eq!(reason(&world, 1), "no consent to marketing");
    // What one of them had allowed before lifts nothing, however late it is heard of.
    run(&mut world, &[Op::Consent { person: 0, answer: Said::Granted, age: 1_000 }, campaign(0)]);
    assert_eq!(reason(&world, 2), "no consent to marketing");
    run(&mut world, &[split.clone(), campaign(1), campaign(0)]);
    assert_eq!(reason(&world, 3), "no consent to marketing");
    assert_eq!(item(&world, 4).address.user, user(0));
    // What both said as one stands on each.
    let mut world = world_of(taipei("04T10:00"), &start);
    run(&mut world, &[merge, refuse(0), split, campaign(0), campaign(1)]);
    assert_eq!(reason(&world, 0), "no consent to marketing");
    assert_eq!(reason(&world, 1), "no consent to marketing");
    // And is no refusal of anything else.
    run(&mut world, &[news(0, AURORA, 1)]);
    assert_eq!(item(&world, 2).class, Class::Service);
}

#[test]
fn a_later_grant_lifts_a_refusal_and_an_earlier_one_that_comes_late_does_not() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA)]);
    let consent = |answer, age| Op::Consent { person: 0, answer, age };
    run(&mut world, &[consent(Said::Refused, 1_000), consent(Said::Granted, 1_000), campaign(0)]);
    assert_eq!(reason(&world, 0), "no consent to marketing", "of the same moment, the stricter");
    run(&mut world, &[consent(Said::Granted, 1_001), campaign(0)]);
    assert_eq!(reason(&world, 1), "no consent to marketing");
    run(&mut world, &[consent(Said::Granted, 999), campaign(0)]);
    assert_eq!(item(&world, 2).class, Class::Marketing);
    // What is set refuses beside all consents.
    let refuses = Preferences { marketing: Some(Said::Refused), ..Preferences::default() };
    run(&mut world, &[Op::Prefer { person: 0, preferences: refuses }, campaign(0)]);
    assert_eq!(reason(&world, 3), "no consent to marketing");
}

#[test]
fn a_campaign_of_two_brands_reaches_one_person_once() {
    let of = |person, brand| send(Send { brand: Some(brand), ..sends(person) });
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA), followed(1, BOREA)]);
    run(&mut world, &[Op::Merge { survivor: 0, absorbed: 1 }]);
    run(&mut world, &[of(0, "borea"), of(1, "aurora")]);
    let sent = item(&world, 0);
    assert_eq!(
        (sent.address.channel, sent.address.user.as_str()),
        (channel(BOREA), user(1).as_str())
    );
    assert_eq!(reason(&world, 1), "over the person's budget");
    // Told under one key while they wait, and merged: the newer waits on.
    let keyed = |person| {
        send(Send { key: Some(1), digest: true, minutes: Some(3 * 24 * 60), ..sends(person) })
    };
    let mut world = world_of(taipei("04T10:00"), &[]);
    run(&mut world, &[followed(0, AURORA), followed(1, BOREA), campaign(0), campaign(1)]);
    run(&mut world, &[keyed(0), keyed(1), Op::Merge { survivor: 0, absorbed: 1 }]);
    let stand = [2, 3].map(|pick| matches!(standing(&world, pick), Standing::Deferred(_)));
    assert!(stand == [true, false] || stand == [false, true], "of the same moment, by id");
}

#[test]
fn twenty_at_the_same_moment_are_one() {
    let all = Op::Send { send: sends(0), times: 20 };
    let world = world_of(taipei("04T10:00"), &[followed(0, AURORA), all]);
    assert_eq!(world.state.waiting(), 1);
    assert_eq!(world.tally.ended(), [0, 0, 19, 0]);
}

#[test]
fn who_has_blocked_one_of_five_accounts_is_told_once_on_another() {
    let all = [AURORA, BOREA, OLD, SHADOW, ENTRY].map(|channel| followed(0, channel));
    let mut world = world_of(taipei("04T10:00"), &all);
    run(&mut world, &[seen(0, AURORA, Deed::Blocked), news(0, AURORA, 1), campaign(0)]);
    assert_eq!(item(&world, 0).address.channel, channel(ENTRY));
    assert_eq!(item(&world, 1).address.channel, channel(ENTRY));
    // An answer goes where the question came from, or nowhere.
    run(&mut world, &[Op::Say(Say { reply_age: Some(0), ..says(0, AURORA) })]);
    assert_eq!(reason(&world, 2), "blocked by the person");
    // Old accounts and those of the incumbent do not speak up, but where they are named.
    run(&mut world, &[seen(0, ENTRY, Deed::Blocked), seen(0, BOREA, Deed::Blocked)]);
    run(&mut world, &[news(0, AURORA, 2)]);
    assert_eq!(reason(&world, 3), "blocked by the person");
    let later = Op::Pass(Step::Millis(2));
    run(&mut world, &[later, followed(0, BOREA), news(0, AURORA, 2)]);
    assert_eq!(item(&world, 4).address.channel, channel(BOREA));
    // A block that comes late is older than the follow.
    let late = Op::Seen { person: 0, channel: Some(BOREA), deed: Deed::Blocked, age: 1 };
    run(&mut world, &[late, news(0, AURORA, 3)]);
    assert_eq!(item(&world, 5).address.channel, channel(BOREA));
}

#[test]
fn a_digest_joins_what_waited() {
    let digest =
        |templates| send(Send { digest: true, minutes: Some(9 * 24 * 60), templates, ..sends(0) });
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA), campaign(0)]);
    run(&mut world, &[digest(1), digest(2), digest(3), digest(1)]);
    for pick in [1, 2, 3, 4] {
        assert_eq!(waits(&world, pick), (taipei("05T10:00"), Wait::Budget));
    }
    pass(&mut world, taipei("05T10:00"));
    let queued = |world: &World, pick| matches!(standing(world, pick), Standing::Queued(_));
    let out: Vec<_> = (1..5).filter(|pick| queued(&world, *pick)).collect();
    let first = item(&world, out[0]);
    assert!(first.messages.len() <= 5 && first.joined.len() + 1 == out.len() && out.len() > 1);
    // All end as the one does, and are called by it alone.
    let id = out.iter().find(|pick| !first.joined.contains(&world.item(**pick))).unwrap();
    let joined = Input::Record { item: first.joined[0], outcome: Outcome::Sent };
    assert_eq!(give(&mut world, &joined).unwrap_err().reason, "IN_DIGEST");
    run(&mut world, &[Op::Record { pick: *id, outcome: Outcome::Sent }]);
    for pick in out {
        assert_eq!(reason(&world, pick), "sent");
    }
}

/// Two messages found no answer, so all that waits waits for twice as long; then the person writes, and
/// what waited goes out together, each of it once.
#[test]
fn what_an_answer_sets_free_goes_out_once() {
    let digest = send(Send { digest: true, minutes: Some(20 * 24 * 60), ..sends(0) });
    let mut world = world_of(taipei("01T10:00"), &[followed(0, AURORA), campaign(0)]);
    pass(&mut world, taipei("02T10:00"));
    run(&mut world, &[campaign(0), digest.clone(), digest]);
    pass(&mut world, taipei("03T12:00"));
    for pick in [2, 3] {
        assert_eq!(waits(&world, pick).1, Wait::Budget);
    }
    run(&mut world, &[seen(0, AURORA, Deed::Acted)]);
    let call = item(&world, 2);
    assert_eq!((call.messages.len(), call.joined.len()), (2, 1));
    assert_eq!(item(&world, 3), call, "they are one call");
}

#[test]
fn the_newest_news_of_a_case_is_told_in_the_morning_and_no_other() {
    let mut world = world_of(taipei("04T23:00"), &[followed(0, AURORA), news(0, AURORA, 1)]);
    run(&mut world, &[news(0, AURORA, 2), news(0, AURORA, 1)]);
    assert_eq!(reason(&world, 0), "replaced by a newer one");
    pass(&mut world, taipei("05T09:00"));
    assert_eq!(item(&world, 1).asked_at, taipei("04T23:00"));
    assert_eq!(item(&world, 2).asked_at, taipei("04T23:00"));
}

/// The digest that it joined would have said both.
#[test]
fn what_is_replaced_does_not_go_out_with_what_replaces_it() {
    let keyed =
        || send(Send { key: Some(1), digest: true, minutes: Some(9 * 24 * 60), ..sends(0) });
    let now = taipei("04T10:00");
    let mut world = world_of(now, &[followed(0, AURORA), campaign(0), keyed()]);
    // The first one is never tried, so there is room before the second looks again.
    let outcome = Outcome::Expired { reason: "held too long".into() };
    run(&mut world, &[Op::Record { pick: 0, outcome }, keyed()]);
    assert_eq!(reason(&world, 1), "replaced by a newer one");
    assert_eq!(item(&world, 2).joined, []);
}

/// A caller asks under an id that it learned before a merge, of somebody who had no account.
#[test]
fn an_old_id_leads_to_the_person_it_is_now() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA)]);
    run(&mut world, &[Op::Merge { survivor: 0, absorbed: 1 }, campaign(1)]);
    let sent = item(&world, 0);
    assert_eq!((sent.customer, sent.address.user.as_str()), (own(0), user(0).as_str()));
}

#[test]
fn a_deadline_is_the_last_moment_and_not_the_one_after() {
    let until = |minutes| send(Send { minutes: Some(minutes), ..sends(0) });
    let mut world = world_of(taipei("04T23:00"), &[followed(0, AURORA)]);
    run(&mut world, &[until(10 * 60), until(10 * 60 - 1)]);
    assert_eq!(waits(&world, 0).0, taipei("05T09:00"));
    assert_eq!(reason(&world, 1), "quiet hours last longer than its deadline");
    pass(&mut world, taipei("05T09:00"));
    item(&world, 0);
    // A sender that was away finds that it is too late, and there is room again.
    let begin = Op::Begin { pick: 0, attempt: 0 };
    run(&mut world, &[Op::Pass(Step::Millis(1)), begin, campaign(0)]);
    assert_eq!(reason(&world, 0), "its deadline was over");
    assert_eq!(item(&world, 2).class, Class::Marketing);
}

/// A sender began at the last moment, and LINE's answer was lost: the message may have come, so it is
/// neither sent late nor given back to the budget.
#[test]
fn what_was_tried_before_its_deadline_is_not_said_to_have_expired() {
    let until = send(Send { minutes: Some(10), ..sends(0) });
    let mut world = world_of(taipei("05T10:00"), &[followed(0, AURORA), until]);
    let begin = |attempt| Op::Begin { pick: 0, attempt };
    let last = Op::Pass(Step::Millis(10 * 60_000));
    run(&mut world, &[last, begin(0), begin(1), Op::Pass(Step::Millis(1))]);
    assert_eq!(item(&world, 0).attempts, ["a0"]);
    run(&mut world, &[begin(2), campaign(0)]);
    assert_eq!(reason(&world, 0), "its deadline was over and an attempt was not answered");
    assert_eq!(reason(&world, 1), "over the person's budget");
}

#[test]
fn the_stricter_of_what_two_people_set_and_said_holds_when_they_are_one() {
    let mut world = world_of(taipei("04T10:00"), &[followed(0, AURORA), followed(1, BOREA)]);
    let quiet = Preferences {
        marketing: Some(Said::Granted),
        quiet_hours: Some("12:00-14:00".parse().unwrap()),
        ..Preferences::default()
    };
    let refuses = Preferences {
        marketing: Some(Said::Refused),
        quiet_hours: Some("15:00-16:00".parse().unwrap()),
        ..Preferences::default()
    };
    run(
        &mut world,
        &[
            Op::Prefer { person: 0, preferences: quiet.clone() },
            Op::Prefer { person: 1, preferences: refuses },
            Op::Merge { survivor: 0, absorbed: 1 },
            campaign(0),
        ],
    );
    assert_eq!(reason(&world, 0), "no consent to marketing");
    let set = world.state.person(own(1)).unwrap().preferences().clone();
    assert_eq!(set.quiet_hours, quiet.quiet_hours, "else the survivor's");
    let told = Consent::strictest(
        Some(Consent { answer: Said::Refused, told_at: at("2026-05-01T00:00:00Z") }),
        Some(Consent { answer: Said::Granted, told_at: at("2026-05-02T00:00:00Z") }),
    );
    assert_eq!(told.unwrap().answer, Said::Refused);
}
