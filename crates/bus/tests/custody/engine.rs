//! The engine alone, on a ledger with holes.

use mainstem_bus::engine::{
    Ack, Append, Ask, Command, Engine, FoldError, Folded, Offered, Settings, kind,
};
use mainstem_bus::record::header;
use mainstem_bus::{Headers, Record, Stored, sha256_hex};
use mainstem_domain::{At, CustomerId};

use crate::machine::{Heard, Input, Notes, Reader, name_of};

type Ledger = Vec<Option<Record>>;

pub(crate) fn customer(name: &str) -> CustomerId {
    CustomerId::derive(name)
}

fn store<M: mainstem_bus::Machine>(engine: &mut Engine<M>, ledger: &mut Ledger) {
    while let Some(append) = engine.next_append() {
        let (expect, records) = match append {
            Append::One { expect, record } => (expect, vec![record]),
            Append::Batch { expect, records } => (expect, records),
        };
        assert_eq!(expect, ledger.len() as u64);
        ledger.extend(records.into_iter().map(Some));
        let sequence = ledger.len() as u64;
        engine.acknowledge(&Ack::Stored { sequence, duplicate: false }).unwrap();
    }
}

fn stored(ledger: &Ledger) -> impl Iterator<Item = Stored> + '_ {
    ledger.iter().enumerate().filter_map(|(index, record)| {
        let record = record.clone()?;
        Some(Stored { sequence: index as u64 + 1, stored_at: 0, record })
    })
}

fn fold<M: mainstem_bus::Machine>(ledger: &Ledger) -> Result<Engine<M>, FoldError> {
    let mut engine = Engine::new(Settings::default());
    for message in stored(ledger) {
        engine.fold(&message)?;
    }
    engine.folded_to(ledger.len() as u64);
    Ok(engine)
}

fn writer(ledger: &mut Ledger) -> Engine<Notes> {
    let mut engine = fold(ledger).unwrap();
    engine.fence(At::from_millis(1));
    store(&mut engine, ledger);
    engine
}

fn note(engine: &mut Engine<Notes>, sequence: u64, notes: &[(CustomerId, &str)]) {
    let body = serde_json::to_vec(notes).unwrap().into();
    let record =
        Record { subject: "inbound.line.a.h".to_owned(), headers: Headers::default(), body };
    let message = Stored { sequence, stored_at: 0, record };
    assert_eq!(engine.offer("INBOUND", &message, At::from_millis(5)), Offered::Taken);
}

fn ask(engine: &mut Engine<Notes>, request_id: Option<&str>, ask: Ask<Input>) {
    let command = Command {
        ticket: 1,
        request_id: request_id.map(str::to_owned),
        id: "one".to_owned(),
        hash: "h".to_owned(),
        actor: "test".to_owned(),
        trace: None,
        ask,
    };
    engine.command(command, At::from_millis(9));
}

fn verdict(engine: &mut Engine<Notes>, ledger: &mut Ledger, job: &str, sequence: u64) -> String {
    let record = ledger[usize::try_from(sequence).unwrap() - 1].clone().unwrap();
    let original = Box::new(Stored { sequence, stored_at: 0, record });
    let job = job.to_owned();
    let hides = job.starts_with("hide");
    ask(
        engine,
        None,
        if hides { Ask::Hide { job, original } } else { Ask::Move { job, original } },
    );
    assert!(engine.settled() || engine.next_answer().is_none(), "not before the copy is stored");
    store(engine, ledger);
    engine.next_answer().unwrap().1.unwrap()
}

/// One input with three records of one customer, of which `stored` were stored.
fn cut_off(stored: usize) -> (Ledger, usize) {
    let mut ledger = Ledger::new();
    let mut engine = writer(&mut ledger);
    let before = ledger.len();
    let a = customer("a");
    note(&mut engine, 1, &[(a, "1"), (a, "2"), (a, "3")]);
    store(&mut engine, &mut ledger);
    assert_eq!(ledger.len(), before + 3);
    ledger.truncate(before + stored);
    (ledger, before)
}

fn texts(engine: &Engine<Notes>) -> Vec<&str> {
    engine.state().notes.keys().map(String::as_str).collect()
}

#[test]
fn deleted_records_of_an_input_are_neither_missed_nor_written_again() {
    for (deleted, left) in [
        (vec![0], vec!["2", "3"]),
        (vec![1], vec!["1", "3"]),
        (vec![2], vec!["1", "2"]),
        (vec![1, 2], vec!["1"]),
        (vec![0, 1, 2], vec![]),
    ] {
        let (mut ledger, before) = cut_off(3);
        for index in &deleted {
            ledger[before + index] = None;
        }
        // As the end of the ledger, and with another input behind it.
        let engine = writer(&mut ledger.clone());
        assert_eq!(texts(&engine), left, "{deleted:?}");
        let mut engine = writer(&mut ledger);
        note(&mut engine, 2, &[(customer("b"), "4")]);
        store(&mut engine, &mut ledger);
        assert_eq!(texts(&fold(&ledger).unwrap()), [left, vec!["4"]].concat(), "{deleted:?}");
        assert!(fold::<Notes>(&ledger).unwrap().snapshot().is_some(), "no input is open");
    }
}

#[test]
fn what_was_completed_behind_an_epoch_can_be_deleted_too() {
    for cut in [1, 2] {
        for deleted in [vec![], vec![2], vec![1], vec![1, 2]] {
            let (mut ledger, before) = cut_off(cut);
            let mut engine = writer(&mut ledger);
            assert_eq!(texts(&engine), ["1", "2", "3"], "completed");
            note(&mut engine, 2, &[(customer("b"), "4")]);
            store(&mut engine, &mut ledger);
            let end = ledger.len();
            for index in &deleted {
                let at = if *index < cut { before + index } else { end - 4 + index };
                assert_eq!(ledger[at].as_ref().unwrap().kind(), "note.v1");
                ledger[at] = None;
            }
            let left = ["1", "2", "3", "4"].iter().enumerate();
            let left: Vec<_> =
                left.filter(|(i, _)| !deleted.contains(i)).map(|(_, text)| *text).collect();
            assert_eq!(texts(&fold(&ledger).unwrap()), left, "{cut} {deleted:?}");
        }
    }
}

#[test]
fn a_rest_that_is_missing_where_nothing_was_deleted_is_damage() {
    let (mut ledger, before) = cut_off(3);
    let mut engine = writer(&mut ledger);
    note(&mut engine, 2, &[(customer("b"), "4")]);
    store(&mut engine, &mut ledger);
    // Gone without a trace, as no deletion leaves it.
    ledger.remove(before + 1);
    assert!(matches!(fold::<Notes>(&ledger), Err(FoldError::Damaged { .. })));
    // One hole does not excuse two missing records.
    ledger.remove(before + 1);
    ledger[before] = ledger[before].clone();
    ledger.insert(before + 1, None);
    assert!(matches!(fold::<Notes>(&ledger), Err(FoldError::Damaged { .. })));
}

#[test]
fn nobody_stands_in_the_headers_of_another_customer() {
    let mut ledger = Ledger::new();
    let mut engine = writer(&mut ledger);
    let (a, b) = (customer("a"), customer("b"));
    note(&mut engine, 1, &[(a, "1"), (b, "2")]);
    let Some(Append::Batch { records, .. }) = engine.next_append() else { panic!("no batch") };
    assert!(records.iter().all(|record| record.header(header::REST).is_none()));

    // The same of one customer needs no batch.
    let mut ledger = Ledger::new();
    let mut engine = writer(&mut ledger);
    note(&mut engine, 1, &[(a, "1"), (a, "2")]);
    assert!(matches!(engine.next_append(), Some(Append::One { .. })));

    // An answer that names another goes into a record of its own, and one that does not stays.
    let mut ledger = Ledger::new();
    let mut engine = writer(&mut ledger);
    ask(&mut engine, Some("r"), Ask::Decider(Input::Split(a, b)));
    let Some(Append::Batch { records, .. }) = engine.next_append() else { panic!("no batch") };
    assert!(records.iter().all(|record| record.header(header::RECEIPT).is_none()));
    assert_eq!(records[1].kind(), kind::RECEIPT);
    let mut engine = writer(&mut ledger);
    ask(&mut engine, Some("s"), Ask::Decider(Input::Erase(vec![a])));
    store(&mut engine, &mut ledger);
    assert!(ledger.last().unwrap().as_ref().unwrap().header(header::RECEIPT).is_some());
    let same = fold::<Notes>(&ledger).unwrap();
    assert!(same.same_fold(&engine), "receipts are folded as they were remembered");
}

#[test]
fn a_record_is_copied_once_and_as_history() {
    let mut ledger = Ledger::new();
    let mut engine = writer(&mut ledger);
    let (a, b) = (customer("a"), customer("b"));
    let first = ledger.len() as u64 + 1;
    note(&mut engine, 1, &[(a, "a1"), (a, "b1")]);
    note(&mut engine, 2, &[(a, "b2")]);
    note(&mut engine, 3, &[(a, "x1")]);
    note(&mut engine, 4, &[(a, "a2")]);
    ask(&mut engine, None, Ask::Decider(Input::Split(a, b)));
    store(&mut engine, &mut ledger);
    while engine.next_answer().is_some() {}
    note(&mut engine, 5, &[(a, "b3")]);
    store(&mut engine, &mut ledger);
    let job = format!("split-{a}");
    let length = ledger.len();

    // The first carries the second, so it is copied to where it stands, without it.
    assert_eq!(verdict(&mut engine, &mut ledger, &job, first), "remove");
    let copy = ledger.last().unwrap().as_ref().unwrap();
    assert_eq!(
        (copy.header(header::REST), copy.header(header::CUSTOMER)),
        (None, Some(a.as_str()))
    );
    assert_eq!(verdict(&mut engine, &mut ledger, &job, first), "remove", "and not copied again");
    assert_eq!(ledger.len(), length + 1);
    ledger[usize::try_from(first).unwrap() - 1] = None;

    let original = ledger[usize::try_from(first).unwrap()].clone().unwrap();
    assert_eq!(verdict(&mut engine, &mut ledger, &job, first + 1), "remove");
    let copy = ledger.last().unwrap().as_ref().unwrap();
    assert!(copy.subject.starts_with(&format!("customer.{b}.")));
    assert_eq!(copy.header(header::MOVED_FROM), Some(format!("{job}/{}", first + 1).as_str()));
    for same in [header::ID, header::TYPE, header::TIME, header::RECORDED_TIME, header::CAUSE] {
        assert_eq!(copy.header(same), original.header(same), "{same}");
    }
    assert_eq!(copy.body, original.body);
    assert_ne!(copy.header(header::POSITIONS), original.header(header::POSITIONS), "as of now");
    ledger[usize::try_from(first).unwrap()] = None;

    // Another instance goes on where this one stopped.
    let mut engine = writer(&mut ledger);
    let sequence = |text: &str, ledger: &Ledger| {
        let body = format!("\"{text}\"");
        let position = ledger.iter().flatten().position(|_| true).map(|_| {
            ledger.iter().position(|record| {
                record.as_ref().is_some_and(|record| {
                    !record.is_moved() && String::from_utf8_lossy(&record.body).contains(&body)
                })
            })
        });
        position.flatten().unwrap() as u64 + 1
    };
    let at = sequence("b2", &ledger);
    assert_eq!(verdict(&mut engine, &mut ledger, &job, at), "remove");
    let mut engine = writer(&mut ledger);
    let length = ledger.len();
    assert_eq!(verdict(&mut engine, &mut ledger, &job, at), "remove", "the copy is stored");
    assert_eq!(ledger.len(), length, "and not stored again");
    ledger[usize::try_from(at).unwrap() - 1] = None;
    for (text, expected) in [("x1", "remove"), ("a2", "stays"), ("b3", "stays")] {
        let at = sequence(text, &ledger);
        assert_eq!(verdict(&mut engine, &mut ledger, &job, at), expected, "{text}");
        if expected == "remove" {
            ledger[usize::try_from(at).unwrap() - 1] = None;
        }
    }
    assert_eq!(ledger.len(), length, "no copies of what stays or is nobody's");

    let counts = mainstem_bus::custody::Counts::new();
    ask(&mut engine, None, Ask::Decider(Input::Done(job.clone(), counts)));
    store(&mut engine, &mut ledger);
    let again = fold::<Notes>(&ledger).unwrap();
    assert!(again.same_fold(&engine), "the log alone gives the same");
    assert_eq!(again.state().notes[&"b1".to_owned()], b);

    // Who reads the ledger hears of the original or of nothing, never of the copy.
    let mut reader = Engine::<Reader>::new(Settings::default());
    let mut own = Ledger::new();
    reader.fence(At::from_millis(1));
    store(&mut reader, &mut own);
    for message in stored(&ledger) {
        assert_eq!(reader.offer("CUSTOMER", &message, At::from_millis(9)), Offered::Taken);
        store(&mut reader, &mut own);
    }
    let heard = ["a2", "b3"].map(|text| sha256_hex(text.as_bytes())).into();
    assert_eq!(*reader.state(), Heard(heard, 2));
    assert_eq!(reader.positions().get("CUSTOMER").sequence, ledger.len() as u64);
}

#[test]
fn a_record_is_hidden_where_it_stands_and_as_history() {
    let mut ledger = Ledger::new();
    let mut engine = writer(&mut ledger);
    let (a, b) = (customer("a"), customer("b"));
    let first = ledger.len() as u64 + 1;
    note(&mut engine, 1, &[(a, "a1"), (a, "m1")]);
    store(&mut engine, &mut ledger);
    note(&mut engine, 2, &[(a, "m1"), (a, "a2")]);
    note(&mut engine, 3, &[(a, "m2")]);
    note(&mut engine, 4, &[(a, "bm1")]);
    store(&mut engine, &mut ledger);
    let carries = |at: u64| {
        let record = ledger[usize::try_from(at).unwrap() - 1].as_ref().unwrap();
        record.header(header::REST).is_some()
    };
    assert!(!carries(first), "what can be hidden is carried by nobody");
    assert!(carries(first + 2));
    ask(&mut engine, None, Ask::Decider(Input::Split(a, b)));
    ask(&mut engine, None, Ask::Decider(Input::Hide(vec![a], name_of("m1"))));
    ask(&mut engine, None, Ask::Decider(Input::Hide(vec![b], name_of("bm1"))));
    store(&mut engine, &mut ledger);
    while engine.next_answer().is_some() {}
    let since = ledger.len() as u64;
    note(&mut engine, 5, &[(a, "m1")]);
    store(&mut engine, &mut ledger);
    let (job, other) =
        (format!("hide-{}", &name_of("m1")[..8]), format!("hide-{}", &name_of("bm1")[..8]));

    let original = ledger[usize::try_from(first).unwrap()].clone().unwrap();
    assert_eq!(verdict(&mut engine, &mut ledger, &job, first), "stays");
    assert_eq!(verdict(&mut engine, &mut ledger, &job, first + 1), "remove");
    let copy = ledger.last().unwrap().clone().unwrap();
    assert_eq!(copy.subject, original.subject);
    assert_eq!(copy.header(header::MOVED_FROM), Some(format!("{job}/{}", first + 1).as_str()));
    for same in [header::ID, header::TYPE, header::RECORDED_TIME, header::CAUSE, header::CUSTOMER] {
        assert_eq!(copy.header(same), original.header(same), "{same}");
    }
    assert!(!String::from_utf8_lossy(&copy.body).contains("m1"));
    // Another instance goes on where this one stopped.
    let mut engine = writer(&mut ledger);
    let length = ledger.len();
    assert_eq!(verdict(&mut engine, &mut ledger, &job, first + 1), "remove", "it is stored");
    assert_eq!(ledger.len(), length, "and not copied again");
    ledger[usize::try_from(first).unwrap()] = None;
    assert_eq!(verdict(&mut engine, &mut ledger, &job, first + 2), "remove");
    assert_eq!(ledger.last().unwrap().as_ref().unwrap().header(header::REST), None);
    ledger[usize::try_from(first).unwrap() + 1] = None;
    for stays in [first + 3, first + 4, first + 5, since + 1] {
        assert_eq!(verdict(&mut engine, &mut ledger, &job, stays), "stays", "{stays}");
    }
    assert_eq!(verdict(&mut engine, &mut ledger, "hide-nothing", first + 4), "stays");

    // What a move has copied behind the record that opened the job is hidden as well.
    let split = format!("split-{a}");
    assert_eq!(verdict(&mut engine, &mut ledger, &split, first + 5), "remove");
    ledger[usize::try_from(first).unwrap() + 4] = None;
    let moved = ledger.len() as u64;
    assert_eq!(verdict(&mut engine, &mut ledger, &other, moved), "remove");
    assert_eq!(ledger.last().unwrap().as_ref().unwrap().header(header::CUSTOMER), Some(b.as_str()));
    ledger[usize::try_from(moved).unwrap() - 1] = None;

    for job in [job, other, split] {
        ask(
            &mut engine,
            None,
            Ask::Decider(Input::Done(job, mainstem_bus::custody::Counts::new())),
        );
    }
    store(&mut engine, &mut ledger);
    let again = fold::<Notes>(&ledger).unwrap();
    assert!(again.same_fold(&engine), "the log alone gives the same");
    let text: Vec<_> = ledger.iter().flatten().map(|record| record.body.clone()).collect();
    let holds = |what: &str| text.iter().any(|body| String::from_utf8_lossy(body).contains(what));
    assert!(holds("\"m2\"") && !holds("\"bm1\""));

    let mut reader = Engine::<Reader>::new(Settings::default());
    let mut own = Ledger::new();
    reader.fence(At::from_millis(1));
    store(&mut reader, &mut own);
    for message in stored(&ledger) {
        assert_eq!(reader.offer("CUSTOMER", &message, At::from_millis(9)), Offered::Taken);
        store(&mut reader, &mut own);
    }
    // The one that came after it was taken back is another's to hide.
    let heard = ["a1", "a2", "m2", "m1"].map(|text| sha256_hex(text.as_bytes())).into();
    assert_eq!(*reader.state(), Heard(heard, 4));
}

#[test]
fn a_snapshot_behind_a_moved_copy_is_of_this_ledger() {
    let mut ledger = Ledger::new();
    let mut engine = writer(&mut ledger);
    let (a, b) = (customer("a"), customer("b"));
    note(&mut engine, 1, &[(a, "b1")]);
    let at = ledger.len() as u64 + 1;
    ask(&mut engine, None, Ask::Decider(Input::Split(a, b)));
    store(&mut engine, &mut ledger);
    while engine.next_answer().is_some() {}
    verdict(&mut engine, &mut ledger, &format!("split-{a}"), at);
    let snapshot = engine.snapshot().unwrap();
    assert!(snapshot.follows(ledger.last().unwrap().as_ref()));
}

#[test]
fn answers_that_name_the_erased_are_forgotten_and_others_are_not() {
    let mut ledger = Ledger::new();
    let mut engine = writer(&mut ledger);
    let (a, b, c) = (customer("a"), customer("b"), customer("c"));
    let answer_of = |ledger: &Ledger| ledger.last().unwrap().as_ref().unwrap().kind().to_owned();
    ask(&mut engine, Some("of-a"), Ask::Decider(Input::Split(a, c)));
    ask(&mut engine, Some("of-b"), Ask::Decider(Input::Split(b, c)));
    ask(&mut engine, Some("erase"), Ask::Decider(Input::Erase(vec![a])));
    store(&mut engine, &mut ledger);
    while engine.next_answer().is_some() {}
    let length = ledger.len();
    ask(&mut engine, Some("of-b"), Ask::Decider(Input::Split(b, c)));
    ask(&mut engine, Some("erase"), Ask::Decider(Input::Erase(vec![a])));
    assert!(engine.next_append().is_none(), "both are remembered");
    ask(&mut engine, Some("of-a"), Ask::Decider(Input::Split(a, c)));
    store(&mut engine, &mut ledger);
    assert_eq!(ledger.len(), length + 2, "and this one is not");
    assert_eq!(answer_of(&ledger), kind::RECEIPT, "it stands in no record of a");
}

#[test]
fn a_record_of_an_old_writer_is_deleted_and_not_moved() {
    let mut ledger = Ledger::new();
    let mut old = writer(&mut ledger);
    let (a, b) = (customer("a"), customer("b"));
    note(&mut old, 1, &[(a, "b1")]);
    let Some(Append::One { record, .. }) = old.next_append() else { panic!("no record") };
    let mut engine = writer(&mut ledger);
    drop(engine);
    ledger.push(Some(record));
    let void = ledger.len() as u64;
    let message = stored(&ledger).last().unwrap();
    assert_eq!(
        fold::<Notes>(&ledger.clone()[..ledger.len() - 1].to_vec()).unwrap().fold(&message),
        Ok(Folded::Void)
    );
    engine = writer(&mut ledger);
    ask(&mut engine, None, Ask::Decider(Input::Split(a, b)));
    store(&mut engine, &mut ledger);
    while engine.next_answer().is_some() {}
    let length = ledger.len();
    assert_eq!(verdict(&mut engine, &mut ledger, &format!("split-{a}"), void), "remove");
    assert_eq!(ledger.len(), length);
    assert!(ledger.iter().flatten().all(|record| record.kind() != kind::RECEIPT));
}
