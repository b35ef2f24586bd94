//! Codes that staff ask for.

use std::time::Duration;

use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::routing::{Answer, CODE_VALID_AT_MOST, CodeAnswer, Input, NewCode};
use mainstem_domain::{Decider as _, Refusal, routing::Routing};

use super::{World, brand};

fn issue(world: &World, wish: NewCode) -> Result<CodeAnswer, Refusal> {
    let input = Input::IssueCode(Box::new(wish));
    let decided = Routing::decide(&world.state, &world.configuration, &input, world.at);
    match decided.answer.unwrap()? {
        Answer::Code(answer) => Ok(*answer),
        other => panic!("{other:?}"),
    }
}

fn caller(role: Role, stores: &[&str], brands: &[&str]) -> Caller {
    let scope = Scope {
        stores: stores.iter().map(|store| store.parse().unwrap()).collect(),
        brands: brands.iter().map(|brand| brand.parse().unwrap()).collect(),
        ..Scope::default()
    };
    Caller { name: "somebody".to_owned(), role, scope }
}

#[test]
fn the_same_request_has_the_same_code_and_no_other_has() {
    let mut world = World::new();
    let code = |world: &World, wish| issue(world, wish).unwrap().claims;
    let first = code(&world, World::wish("lin"));
    assert_eq!(code(&world, World::wish("lin")), first);
    let other = NewCode { request: "r-2".to_owned(), ..World::wish("lin") };
    assert_ne!(code(&world, other).nonce, first.nonce);
    assert_ne!(code(&world, World::wish("wu")).nonce, first.nonce);
    // Once issued, it is not issued again while it is good.
    world.issue(World::wish("lin"));
    assert_ne!(code(&world, World::wish("lin")).nonce, first.nonce);
    world.pass(1);
    assert_ne!(code(&world, World::wish("lin")).nonce, first.nonce);
}

#[test]
fn a_code_is_for_somebody_of_the_callers_store_or_brand() {
    let world = World::new();
    let ask = |caller: Caller, staff: &str, store: Option<&str>| {
        let store = store.map(|store| store.parse().unwrap());
        issue(&world, NewCode { caller, store, ..World::wish(staff) }).map_err(|no| no.reason)
    };
    let out = || Err("OUT_OF_SCOPE".to_owned());
    let store = || caller(Role::Store, &["taipei-1"], &[]);
    assert!(ask(store(), "lin", None).is_ok());
    assert_eq!(ask(store(), "wu", None), out());
    assert_eq!(ask(store(), "ho", None), out());
    // In another store than the person's own: only if that is the caller's as well.
    assert_eq!(ask(store(), "lin", Some("taipei-2")), out());
    assert!(
        ask(caller(Role::Store, &["taipei-1", "taipei-2"], &[]), "lin", Some("taipei-2")).is_ok()
    );
    let desk = || caller(Role::Desk, &[], &["aurora"]);
    for (staff, may) in [("chen", true), ("ho", true), ("lin", false), ("su", false)] {
        assert_eq!(ask(desk(), staff, None).is_ok(), may, "{staff}");
    }
    assert_eq!(ask(caller(Role::Store, &[], &[]), "lin", None), out());
}

#[test]
fn a_code_names_what_there_is_and_what_the_person_speaks_for() {
    let world = World::new();
    let refused = |change: &dyn Fn(&mut NewCode)| {
        let mut wish = World::wish("chen");
        change(&mut wish);
        let refusal = issue(&world, wish).unwrap_err();
        let field = refusal.violations.first().map(|violation| violation.field.clone());
        field.unwrap_or(refusal.reason)
    };
    assert_eq!(refused(&|wish| wish.staff = "nobody".parse().unwrap()), "NOT_FOUND");
    assert_eq!(refused(&|wish| wish.store = Some("nowhere".parse().unwrap())), "NOT_FOUND");
    assert_eq!(refused(&|wish| wish.brand = Some(brand("nothing"))), "NOT_FOUND");
    assert_eq!(refused(&|wish| wish.brand = Some(brand("borea"))), "brand");
    assert_eq!(refused(&|wish| wish.valid_for = Duration::ZERO), "valid_minutes");
    let long = CODE_VALID_AT_MOST + Duration::from_millis(1);
    assert_eq!(refused(&|wish| wish.valid_for = long), "valid_minutes");
    // Whoever works at a brand's desk speaks for that brand alone.
    let ask = |staff: &str, of: &str| {
        issue(&world, NewCode { brand: Some(brand(of)), ..World::wish(staff) }).is_ok()
    };
    assert!(ask("ho", "aurora") && !ask("ho", "borea") && ask("su", "borea"));
    assert!(issue(&world, NewCode { valid_for: CODE_VALID_AT_MOST, ..World::wish("lin") }).is_ok());
}

#[test]
fn the_link_leads_to_the_live_account_of_the_store_and_else_to_the_single_entry() {
    let mut world = World::new();
    let account = |world: &World, staff: &str| issue(world, World::wish(staff)).unwrap().account;
    assert_eq!(account(&world, "lin").as_deref(), Some("@taipei1"));
    // Retired, and somebody at a desk has no store.
    assert_eq!(account(&world, "wu").as_deref(), Some("@entry"));
    assert_eq!(account(&world, "ho").as_deref(), Some("@entry"));
    world.configuration.channels.get_mut(&"line-entry".parse().unwrap()).unwrap().basic_id = None;
    assert_eq!(account(&world, "wu"), None);
    world.configuration.entry = None;
    assert_eq!(account(&world, "wu"), None);
}
