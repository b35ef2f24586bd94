//! Crash equivalence: whatever goes wrong, the same is decided as if nothing had. And the
//! simulation is worth something: each promise of the engine, broken on purpose, is found.
//!
//! `MAINSTEM_SEEDS=10000` runs more seeds, `MAINSTEM_SEED=7` runs that one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstem_bus::engine::BrokenPromise;
use mainstem_tests::sim::check::{self, Check, Outcome, Violation};

/// Seeds of a run without further wishes.
const SEEDS: u64 = 1_000;

/// A broken promise must show in one of so many seeds.
const SEEDS_FOR_A_PROMISE: u64 = 300;

/// So many seeds try everything.
const SEEDS_FOR_EVERYTHING: u64 = 200;

const THREADS: usize = 2;

/// What must have happened in some of the seeds, or they prove little.
const HAPPENED: [&str; 23] = [
    "a crash",
    "a crash with a part of the window on its way",
    "a fence was refused",
    "a half snapshot was passed over",
    "a lease ran out",
    "a lease was given twice",
    "a reader of an upstream voided a record",
    "a reader of its ledger voided a record",
    "a reader stalled",
    "a stranger filled a slot",
    "a stranger wrote",
    "a writer lost its patience",
    "a writer saw that an append was lost",
    "a writer stood still",
    "a writer was refused",
    "a writer without the lease was asked",
    "acknowledgements were lost",
    "an append came late",
    "an effect waited for its cause",
    "an input that was cut off was completed",
    "an instance began from a snapshot",
    "the broker was restarted",
    "the head of a window was lost",
];

#[expect(clippy::disallowed_methods, reason = "a test is not configured by the configuration")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs these seeds, in parallel, until `enough` says so; what each led to.
fn run_all(
    seeds: Range<u64>,
    broken: Option<BrokenPromise>,
    enough: impl Fn(&Outcome) -> bool + Sync,
) -> BTreeMap<u64, Outcome> {
    let next = AtomicU64::new(seeds.start);
    let end = AtomicU64::new(seeds.end);
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                return;
            }
            let outcome = run(seed, broken);
            if enough(&outcome) {
                end.fetch_min(seed, Ordering::Relaxed);
            }
            outcomes.lock().expect("no panic").insert(seed, outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().expect("no panic")
}

fn run(seed: u64, broken: Option<BrokenPromise>) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| check::run(seed, broken))).unwrap_or_else(|_| {
        let what = format!("seed {seed} panicked, see above");
        Outcome { violations: vec![Violation::new(Check::Damaged, what)], ..Outcome::default() }
    })
}

#[test]
fn crash_equivalence() {
    let seeds = match number("MAINSTEM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MAINSTEM_SEEDS").unwrap_or(SEEDS),
    };
    let many = seeds.end - seeds.start >= SEEDS_FOR_EVERYTHING;
    let outcomes = run_all(seeds, None, |outcome| !outcome.violations.is_empty());
    if let Some((seed, outcome)) = outcomes.iter().find(|(_, o)| !o.violations.is_empty()) {
        let what: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        panic!(
            "seed {seed}:\n{}\nto see it again: MAINSTEM_SEED={seed} \
             cargo test -p mainstem-tests --test simulation crash_equivalence",
            what.join("\n")
        );
    }
    let happened: BTreeSet<_> = outcomes.values().flat_map(|o| o.happened.keys()).collect();
    let missing: Vec<_> = HAPPENED.iter().filter(|what| !happened.contains(what)).collect();
    assert!(!many || missing.is_empty(), "never happened: {missing:?}");
}

/// The promise is broken, and some seed shows one of these.
fn shows(broken: BrokenPromise, checks: &[Check]) {
    let shows = |outcome: &Outcome| outcome.violations.iter().any(|v| checks.contains(&v.check));
    let outcomes = run_all(0..SEEDS_FOR_A_PROMISE, Some(broken), shows);
    let (seed, outcome) = outcomes
        .iter()
        .find(|(_, outcome)| shows(outcome))
        .unwrap_or_else(|| panic!("{broken:?} is not found by {checks:?}"));
    println!("{broken:?}: found first by seed {seed}");
    for violation in &outcome.violations {
        println!("{}", violation.to_string().chars().take(400).collect::<String>());
    }
}

/// What an old writer had in flight is stored behind the new epoch. Readers void it, but it
/// stands in the ledger, and on the queues that are sourced from it.
#[test]
fn one_epoch_record_lets_an_old_window_through() {
    shows(BrokenPromise::OneEpochRecord, &[Check::Fence]);
}

/// Customers are told something else, or nothing: the address was not known yet.
#[test]
fn without_the_causal_hold_effects_come_before_causes() {
    shows(BrokenPromise::NoCausalHold, &[Check::SameMessages]);
}

/// A writer that takes over has forgotten how far the others were read, and reads them again.
#[test]
fn one_cause_instead_of_the_vector_decides_inputs_twice() {
    shows(BrokenPromise::OneCause, &[Check::SameRecords]);
}

/// A customer was created, and the event that did it never got its record.
#[test]
fn without_completion_an_input_stays_cut_off() {
    shows(BrokenPromise::NoCompletion, &[Check::DecidedOnce]);
}

/// A client was told that its request is done, and it is not; or an input is lost.
#[test]
fn a_duplicate_that_counts_as_stored_loses_records() {
    shows(
        BrokenPromise::DuplicateIsSuccess,
        &[Check::AnswerKept, Check::DecidedOnce, Check::SameRecords],
    );
}

/// Whoever begins from it does not know that an input is to be completed.
#[test]
fn a_snapshot_inside_an_input_loses_the_rest_of_it() {
    shows(
        BrokenPromise::SnapshotInsideInput,
        &[Check::SameRecords, Check::DecidedOnce, Check::Damaged],
    );
}
