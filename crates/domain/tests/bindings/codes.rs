//! Codes that customers present.

use mainstem_domain::configuration::{Handle, Mode, Zone};
use mainstem_domain::notification::Words;
use mainstem_domain::person::Act;
use mainstem_domain::routing::{Answer, EndedWhy, Event, Input, Opened, Refused, RefusedWhy};
use mainstem_domain::voice::{self, Message, Voice};
use mainstem_domain::{At, Language, person::ChannelEvent};
use proptest::prelude::*;

use super::{World, bindings, brand, claims, customer, staff, templates, told};

#[test]
fn a_scan_binds_and_is_answered_by_reply_in_the_voice_of_the_brand() {
    let mut world = World::new();
    let code = world.code("lin", Some("aurora"));
    let decided = world.scan(1, code);
    let [Event::Bound { binding, .. }, Event::MessageRequested(request)] = &decided.events[..]
    else {
        panic!("{decided:?}")
    };
    assert_eq!((binding.staff.as_str(), &binding.brand), ("lin", &Some(brand("aurora"))));
    assert_eq!(binding.store.as_ref().unwrap().as_str(), "taipei-1");
    assert_eq!(binding.bound_at, world.at);
    assert!(binding.carrier.is_some());
    assert_eq!(request.templates, ["binding-done"]);
    assert_eq!(request.reply.as_ref().unwrap().token, "token");
    let brand = request.brand.as_ref();
    let words = Words {
        templates: request.templates.clone(),
        staff: request.staff.clone(),
        ..Words::default()
    };
    let voice = Voice { brand, language: Language::default(), zone: &Zone::default() };
    let said = voice::render(&world.configuration, &words, voice).unwrap();
    assert_eq!(said, [Message::text("Aurora: Lin")]);
    // The same code once more is answered like the first time, and changes nothing.
    world.pass(60);
    let again = world.scan(1, code);
    assert_eq!((bindings(&again.events), templates(&again)), (0, vec!["binding-done"]));
    // Any number of customers can use it.
    assert_eq!(bindings(&world.scan(2, code).events), 1);
    world.check();
}

#[test]
fn the_own_binding_of_a_brand_wins_over_the_one_for_all() {
    let mut world = World::new();
    let all = world.code("lin", None);
    world.scan(1, all);
    assert_eq!(world.bound(1, None).as_deref(), Some("lin"));
    assert_eq!(world.bound(1, Some("aurora")).as_deref(), Some("lin"));
    let own = world.code("chen", Some("aurora"));
    world.scan(1, own);
    assert_eq!(world.bound(1, Some("aurora")).as_deref(), Some("chen"));
    assert_eq!(world.bound(1, Some("borea")).as_deref(), Some("lin"));
    assert_eq!(world.bound(1, None).as_deref(), Some("lin"));
    // A newer one for all brands leaves the brand's own alone.
    let other = world.code("wu", None);
    world.scan(1, other);
    assert_eq!(world.bound(1, Some("aurora")).as_deref(), Some("chen"));
    assert_eq!(world.bound(1, None).as_deref(), Some("wu"));
    let end = Input::EndBinding {
        customer: customer(1),
        brand: Some(brand("aurora")),
        by: "desk/1".to_owned(),
    };
    let ended = world.give(&end);
    assert!(matches!(ended.answer, Some(Ok(Answer::Ended { .. }))), "{ended:?}");
    assert_eq!(world.bound(1, Some("aurora")).as_deref(), Some("wu"));
    let again = world.give(&end);
    assert_eq!(again.answer.unwrap().unwrap_err().reason, "NOT_FOUND");
    world.check();
}

#[test]
fn a_code_is_good_up_to_its_moment_and_not_in_it() {
    let mut world = World::new();
    let code = world.code("lin", None);
    let expires_at = code.expires_at();
    assert_eq!(expires_at, world.at.after(std::time::Duration::from_mins(10)));
    world.at = At::from_millis(expires_at.as_millis() - 1);
    assert_eq!(bindings(&world.scan(1, code).events), 1);
    world.at = expires_at;
    let late = world.scan(2, code);
    assert_eq!((bindings(&late.events), templates(&late)), (0, vec!["binding-expired"]));
    assert_eq!(told(&late.events)[0].staff, Some(staff("lin")));
    assert_eq!(world.bound(2, None), None);
    // What is bound stays so.
    assert_eq!(world.bound(1, None).as_deref(), Some("lin"));
    world.check();
}

#[test]
fn what_is_not_ours_or_was_revoked_binds_nobody_and_is_counted() {
    let mut world = World::new();
    let code = world.code("lin", None);
    let event = world.event(1);
    let forged = world.present(1, Opened::Forged, true, event);
    assert_eq!(templates(&forged), ["binding-forged"]);
    assert!(matches!(
        forged.events[0],
        Event::CodeRefused { why: RefusedWhy::Forged, staff: None, .. }
    ));
    let revoke = Input::RevokeCode { nonce: code.nonce, by: "store/1".to_owned() };
    assert_eq!(world.give(&revoke).events.len(), 1);
    let again = world.give(&revoke);
    assert!(again.events.is_empty() && matches!(again.answer, Some(Ok(Answer::Revoked(_)))));
    let revoked = world.scan(1, code);
    assert_eq!(templates(&revoked), ["binding-revoked"]);
    assert_eq!(world.bound(1, None), None);
    // One whose time is up besides is expired, as everybody else's is.
    world.pass(600);
    assert_eq!(templates(&world.scan(1, code)), ["binding-expired"]);
    assert_eq!(world.state.refused_codes(), Refused { expired: 1, revoked: 1, forged: 1 });
    // A code of somebody who has left, or for what is not there any more.
    world.configuration.staff.remove(&staff("wu"));
    for claims in [
        claims("wu", world.at.after(std::time::Duration::from_mins(5))),
        mainstem_domain::routing::Claims {
            brand: Some(Handle::of("nobody")),
            ..claims("lin", world.at.after(std::time::Duration::from_mins(5)))
        },
    ] {
        let left = world.scan(1, claims);
        assert_eq!((bindings(&left.events), templates(&left)), (0, vec!["binding-revoked"]));
    }
    assert_eq!(world.state.refused_codes().revoked, 3);
    // No record of these names the customer.
    for (event, _) in &world.ledger {
        if matches!(event, Event::CodeRefused { .. } | Event::CodeRevoked { .. }) {
            assert!(!format!("{event:?}").contains(customer(1).as_str()));
        }
    }
    world.check();
}

#[test]
fn a_code_is_remembered_until_its_time_is_up() {
    let mut world = World::new();
    let first = world.code("lin", None);
    world.give(&Input::RevokeCode { nonce: first.nonce, by: "store/1".to_owned() });
    assert!(world.state.issued_code(first.nonce).unwrap().1);
    world.pass(599);
    world.code("wu", None);
    assert!(world.state.issued_code(first.nonce).is_some());
    world.pass(1);
    world.code("chen", None);
    assert_eq!(world.state.issued_code(first.nonce), None);
    world.check();
}

#[test]
fn nothing_is_said_without_a_template_and_nothing_where_nobody_can_be_answered() {
    let mut world = World::new();
    let code = world.code("lin", None);
    world.configuration.templates.remove("binding-done");
    let decided = world.scan(1, code);
    assert_eq!((bindings(&decided.events), told(&decided.events).len()), (1, 0));
    let event = Box::new(world.event(2));
    let presented = mainstem_domain::routing::Presented { opened: Opened::Code(code), alone: true };
    let input =
        Input::Channel { customer: customer(2), event, address: None, code: Some(presented) };
    let decided = world.give(&input);
    assert_eq!((bindings(&decided.events), told(&decided.events).len()), (1, 0));
}

#[test]
fn a_code_alone_is_no_wish_and_one_among_words_is_answered_first() {
    let mut world = World::new();
    let code = world.code("lin", None);
    // Alone: the rule for everything is not asked.
    assert_eq!(templates(&world.scan(1, code)), ["binding-done"]);
    let event = ChannelEvent {
        act: Act::Text("MS-… and my watch is broken".to_owned()),
        ..world.event(2)
    };
    let decided = world.present(2, Opened::Code(code), false, event);
    // One request, for the one reply that there is.
    let requests = told(&decided.events);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].templates, ["binding-done", "opened"]);
    assert!(requests[0].case.is_some());
    assert_eq!(requests[0].staff, Some(staff("lin")));
    assert!(decided.events.iter().any(|event| matches!(event, Event::Opened { .. })));
    let event = world.event(3);
    let decided = world.present(3, Opened::Forged, false, event);
    assert_eq!(templates(&decided), ["binding-forged", "hello"]);
    world.check();
}

#[test]
fn a_retired_account_binds_and_shows_the_way() {
    let mut world = World::new();
    let code = world.code("lin", None);
    let event = ChannelEvent { mode: Mode::Retired, ..world.event(1) };
    let decided = world.present(1, Opened::Code(code), true, event);
    assert_eq!(templates(&decided), ["binding-done", "moved"]);
    assert_eq!(bindings(&decided.events), 1);
    let event = ChannelEvent { mode: Mode::Shadow, ..world.event(2) };
    let decided = world.present(2, Opened::Code(code), true, event);
    assert_eq!(told(&decided.events)[0].mode, Mode::Shadow);
}

#[test]
fn history_says_who_was_bound_when() {
    let mut world = World::new();
    let begun = world.at;
    for (who, of) in [("lin", None), ("chen", Some("aurora")), ("wu", None), ("lin", None)] {
        let code = world.code(who, of);
        world.scan(1, code);
        world.pass(60);
    }
    world.give(&Input::EndBinding { customer: customer(1), brand: None, by: "desk/1".to_owned() });
    let at = |minutes: i64, millis: i64, of: Option<&str>| {
        let moment = At::from_millis(begun.as_millis() + minutes * 60_000 + millis);
        let brand = of.map(brand);
        let staff = world.state.bound_staff_at(customer(1), brand.as_ref(), moment);
        staff.map(|staff| staff.to_string())
    };
    for (minutes, millis, of, who) in [
        (0, -1, None, None),
        (0, 0, None, Some("lin")),
        (1, -1, Some("aurora"), Some("lin")),
        (1, 0, Some("aurora"), Some("chen")),
        (1, 0, Some("borea"), Some("lin")),
        (2, -1, None, Some("lin")),
        (2, 0, None, Some("wu")),
        (3, 0, None, Some("lin")),
        (4, -1, None, Some("lin")),
        (4, 0, None, None),
        (4, 0, Some("aurora"), Some("chen")),
    ] {
        assert_eq!(at(minutes, millis, of).as_deref(), who, "{minutes} min {millis} ms {of:?}");
    }
    let ends: Vec<_> = world.state.bindings_of(customer(1)).map(|view| view.end).collect();
    let why: Vec<_> = ends.into_iter().map(|end| end.map(|(_, why)| why)).collect();
    let replaced = Some(EndedWhy::Replaced);
    assert_eq!(why, [replaced, None, replaced, Some(EndedWhy::ByStaff)]);
}

#[derive(Clone, Debug)]
enum Op {
    Issue { staff: usize, of: usize, minutes: u64 },
    Scan { person: u32, code: usize, forged: bool },
    Revoke { code: usize },
    End { person: u32, of: usize },
    Leave { staff: usize },
    Pass { seconds: u64 },
}

const STAFF: [&str; 3] = ["lin", "wu", "su"];
const BRANDS: [Option<&str>; 3] = [None, Some("aurora"), Some("borea")];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..3_usize, 0..3_usize, prop::sample::select(vec![1, 2, 5, 60]))
            .prop_map(|(staff, of, minutes)| Op::Issue { staff, of, minutes }),
        8 => (0..3_u32, 0..6_usize, prop::bool::weighted(0.1))
            .prop_map(|(person, code, forged)| Op::Scan { person, code, forged }),
        2 => (0..6_usize).prop_map(|code| Op::Revoke { code }),
        2 => (0..3_u32, 0..3_usize).prop_map(|(person, of)| Op::End { person, of }),
        1 => (0..3_usize).prop_map(|staff| Op::Leave { staff }),
        3 => prop::sample::select(vec![0, 1, 59, 60, 120, 300])
            .prop_map(|seconds| Op::Pass { seconds }),
    ];
    prop::collection::vec(op, 1..40)
}

/// Everything that was ever bound, as one would write it down.
#[derive(Default)]
struct Model {
    /// Person, brand, salesperson, from when.
    rows: Vec<(u32, Option<&'static str>, Option<&'static str>, At)>,
    refused: Refused,
}

impl Model {
    fn at(&self, person: u32, of: Option<&str>, at: At) -> Option<&'static str> {
        let mut rows = self.rows.iter().rev();
        let row = rows.find(|row| row.0 == person && row.1 == of && row.3 <= at)?;
        row.2
    }

    fn bound(&self, person: u32, of: Option<&str>, at: At) -> Option<&'static str> {
        of.and_then(|_| self.at(person, of, at)).or_else(|| self.at(person, None, at))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn codes_bind_as_the_naive_model_says(ops in ops()) {
        let (mut world, mut model) = (World::new(), Model::default());
        let (begun, mut codes, mut revoked, mut left) = (world.at, Vec::new(), Vec::new(), Vec::new());
        for op in ops {
            // Of two things in one millisecond nobody can say which was first.
            world.at = At::from_millis(world.at.as_millis() + 1);
            match op {
                Op::Issue { staff, of, minutes } if !left.contains(&staff) => {
                    let valid_for = std::time::Duration::from_mins(minutes);
                    let wish = World::wish(STAFF[staff]);
                    let wish = mainstem_domain::routing::NewCode {
                        brand: BRANDS[of].map(brand), valid_for, ..wish
                    };
                    codes.push((world.issue(wish), staff, of));
                }
                Op::Scan { person, code, forged } => {
                    let Some((claims, staff, of)) = codes.get(code).copied() else { continue };
                    let opened = if forged { Opened::Forged } else { Opened::Code(claims) };
                    let event = world.event(person);
                    let decided = world.present(person, opened, true, event);
                    let (template, count) = if forged {
                        ("binding-forged", Some(&mut model.refused.forged))
                    } else if claims.expires_at() <= world.at {
                        ("binding-expired", Some(&mut model.refused.expired))
                    } else if revoked.contains(&code) || left.contains(&staff) {
                        ("binding-revoked", Some(&mut model.refused.revoked))
                    } else {
                        ("binding-done", None)
                    };
                    prop_assert_eq!(templates(&decided), [template]);
                    if let Some(count) = count {
                        *count += 1;
                        prop_assert_eq!(bindings(&decided.events), 0);
                    } else if model.at(person, BRANDS[of], world.at) != Some(STAFF[staff]) {
                        model.rows.push((person, BRANDS[of], Some(STAFF[staff]), world.at));
                        prop_assert_eq!(bindings(&decided.events), 1);
                    } else {
                        prop_assert_eq!(bindings(&decided.events), 0);
                    }
                }
                Op::Revoke { code } => {
                    let Some((claims, ..)) = codes.get(code) else { continue };
                    let known = world.state.issued_code(claims.nonce).is_some();
                    let by = "store/1".to_owned();
                    let decided = world.give(&Input::RevokeCode { nonce: claims.nonce, by });
                    prop_assert_eq!(decided.answer.unwrap().is_ok(), known);
                    prop_assert!(known || claims.expires_at() <= world.at);
                    revoked.push(code);
                }
                Op::End { person, of } => {
                    let brand = BRANDS[of].map(brand);
                    let by = "desk/1".to_owned();
                    let ended = world.give(&Input::EndBinding { customer: customer(person), brand, by });
                    let known = model.at(person, BRANDS[of], world.at).is_some();
                    prop_assert_eq!(ended.answer.unwrap().is_ok(), known);
                    if known {
                        model.rows.push((person, BRANDS[of], None, world.at));
                    }
                }
                Op::Leave { staff } => {
                    world.configuration.staff.remove(&super::staff(STAFF[staff]));
                    left.push(staff);
                }
                Op::Issue { .. } => {}
                Op::Pass { seconds } => world.pass(seconds),
            }
            for person in 0..3 {
                for of in BRANDS {
                    let bound = world.bound(person, of);
                    prop_assert_eq!(bound.as_deref(), model.bound(person, of, world.at));
                }
            }
        }
        prop_assert_eq!(world.state.refused_codes(), model.refused);
        let span = world.at.as_millis() - begun.as_millis();
        for (person, of) in (0..3).flat_map(|person| BRANDS.map(|of| (person, of))) {
            let rows: Vec<_> = model.rows.iter().map(|row| row.3).collect();
            let moments = (0..20).map(|part| At::from_millis(begun.as_millis() + span * part / 20));
            for at in moments.chain(rows) {
                let staff = world.state.bound_staff_at(customer(person), of.map(brand).as_ref(), at);
                let staff = staff.map(|staff| staff.to_string());
                prop_assert_eq!(staff.as_deref(), model.bound(person, of, at));
            }
        }
        for who in STAFF {
            let listed: Vec<_> = world.state.bound_to(&staff(who), None).collect();
            let mut wanted: Vec<_> = (0..3).filter(|person| {
                BRANDS.iter().any(|of| model.at(*person, *of, world.at) == Some(who))
            }).map(customer).collect();
            wanted.sort();
            prop_assert_eq!(listed, wanted);
            let ever: Vec<_> = world.state.ever_bound_to(&staff(who), None).collect();
            let mut wanted: Vec<_> = model.rows.iter().filter(|row| row.2 == Some(who))
                .map(|row| customer(row.0)).collect();
            wanted.sort();
            wanted.dedup();
            prop_assert_eq!(ever, wanted);
        }
        world.check();
    }
}
