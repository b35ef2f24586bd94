use std::borrow::Cow;

use mainstem_bus::record::header;
use mainstem_bus::{Headers, Record};
use proptest::prelude::*;

use super::*;

fn message(sequence: u64, millis: i64, length: usize) -> Stored {
    let mut headers = Headers::default();
    headers.set(Cow::Borrowed(header::RECORDED_TIME), At::from_millis(millis).to_string());
    let body = vec![b'x'; length].into();
    Stored {
        sequence,
        stored_at: 0,
        record: Record { subject: "customer.x.channel".to_owned(), headers, body },
    }
}

/// Ledgers as they are: sequences with gaps, times that never go back.
fn ledgers() -> impl Strategy<Value = [Vec<Stored>; 3]> {
    let ledger =
        prop::collection::vec((1_u64..4, 0_i64..3, 0_usize..40), 0..25).prop_map(|steps| {
            let (mut sequence, mut millis) = (0, 0);
            let next = |(gap, later, length): (u64, i64, usize)| {
                sequence += gap;
                millis += later;
                message(sequence, millis, length)
            };
            steps.into_iter().map(next).collect::<Vec<_>>()
        });
    [ledger.clone(), ledger.clone(), ledger]
}

/// What a read gives: no more than `at_most`, and possibly less than there is.
fn read(ledger: &[Stored], from: u64, at_most: usize) -> Run {
    let mut rest = ledger.iter().filter(|message| message.sequence >= from).cloned();
    let messages: Vec<_> = rest.by_ref().take(at_most).collect();
    let next = messages.last().map_or(from, |last| last.sequence + 1);
    Run { messages, next, more: rest.next().is_some() }
}

fn key((ledger, message): &(usize, Stored)) -> (At, usize, u64) {
    (message.decided_at(), *ledger, message.sequence)
}

proptest! {
    #[test]
    fn every_record_comes_once_and_in_order(
        ledgers in ledgers(), size in 1_usize..30, ahead in 1_usize..31, bytes in 1_usize..200,
    ) {
        let mut all: Vec<_> = ledgers
            .iter()
            .enumerate()
            .flat_map(|(ledger, messages)| messages.iter().map(move |one| (ledger, one.clone())))
            .collect();
        all.sort_by_key(key);

        let (mut found, mut places, mut pages) = (Vec::new(), [1; 3], 0);
        loop {
            let mut ledger = 0;
            let runs = places.map(|from| {
                ledger += 1;
                read(&ledgers[ledger - 1], from, ahead)
            });
            let page = merge(runs, size, bytes);
            prop_assert!(page.messages.len() <= size);
            let length: usize = page.messages.iter().map(|(_, one)| one.record.body.len()).sum();
            prop_assert!(length <= bytes || page.messages.len() == 1);
            found.extend(page.messages);
            let customer = CustomerId::derive("x");
            places = parse_token(customer, &token(customer, page.places)).unwrap();
            pages += 1;
            prop_assert!(pages <= all.len() + 1, "a page without an entry is the last");
            if !page.more {
                break;
            }
        }
        prop_assert_eq!(found, all);
        for (place, ledger) in places.into_iter().zip(&ledgers) {
            prop_assert!(ledger.iter().all(|message| message.sequence < place));
        }
    }
}

#[test]
fn a_run_without_a_record_that_counts_is_passed_by() {
    let empty = Run { messages: Vec::new(), next: 1, more: false };
    let void = Run { messages: Vec::new(), next: 90, more: true };
    let one = Run { messages: vec![message(7, 5, 1)], next: 8, more: false };
    let page = merge([void, one, empty], 10, 100);
    assert!(page.messages.is_empty() && page.more);
    assert_eq!(page.places, [90, 7, 1]);
}

#[test]
fn a_token_of_another_customer_is_none() {
    let (one, other) = (CustomerId::derive("1"), CustomerId::derive("2"));
    let given = token(one, [1, u64::MAX, 3]);
    assert_eq!(parse_token(one, &given), Some([1, u64::MAX, 3]));
    assert_eq!(parse_token(other, &given), None);
    let text = |text: String| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let short = text(format!("{one} 1 2"));
    let long = text(format!("{one} 1 2 3 4"));
    let negative = text(format!("{one} 1 2 -3"));
    for wrong in ["1 2 3", "!", "維修", &short, &long, &negative, &given[1..]] {
        assert_eq!(parse_token(one, wrong), None, "{wrong}");
    }
}

#[test]
fn while_records_are_moved_only_what_is_sure_is_shown() {
    let apart_since = At::from_millis(100);
    let (before, since) = (message(1, 99, 0), message(2, 100, 0));
    let mut moved = message(3, 5, 0);
    let split = mainstem_domain::SplitId::derive("1");
    moved.record.headers.set(Cow::Borrowed(header::MOVED_FROM), format!("{split}/1"));
    assert!(!is_shown(apart_since, &before, false));
    assert!(is_shown(apart_since, &before, true));
    assert!(is_shown(apart_since, &since, false));
    assert!(is_shown(apart_since, &moved, false));
    let mut hidden = moved;
    let unsend = mainstem_domain::UnsendId::derive("1");
    hidden.record.headers.set(Cow::Borrowed(header::MOVED_FROM), format!("{unsend}/1"));
    assert!(!is_shown(apart_since, &hidden, false));
    assert!(is_shown(apart_since, &hidden, true));
}
