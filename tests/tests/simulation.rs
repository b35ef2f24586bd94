//! Crash equivalence: whatever goes wrong, the same is decided as if nothing had.
//!
//! `MAINSTEM_SEEDS=10000` runs more seeds, `MAINSTEM_SEED=7` runs that one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstem_bus::engine::BrokenPromise;
use mainstem_tests::sim::check::{self, Check, Violation};

/// Seeds without further wishes.
const SEEDS: u64 = 1_000;

/// A broken promise must show in one of so many seeds.
const SEEDS_FOR_A_BROKEN_PROMISE: u64 = 300;

const THREADS: usize = 2;

#[expect(clippy::disallowed_methods, reason = "a test is not configured by the configuration")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The first of these seeds that fails, with why.
fn first_failure(
    from: u64,
    to: u64,
    broken: Option<BrokenPromise>,
) -> Option<(u64, Violation)> {
    let next = AtomicU64::new(from);
    let failed = AtomicU64::new(u64::MAX);
    let work = || {
        let mut first: Option<(u64, Violation)> = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to || seed > failed.load(Ordering::Relaxed) {
                return first;
            }
            if let Err(violation) = run(seed, broken) {
                failed.fetch_min(seed, Ordering::Relaxed);
                first.get_or_insert((seed, violation));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let found = workers.into_iter().filter_map(|worker| worker.join().expect("no panic"));
        found.min_by_key(|(seed, _)| *seed)
    })
}

fn run(seed: u64, broken: Option<BrokenPromise>) -> Result<(), Violation> {
    catch_unwind(AssertUnwindSafe(|| check::run(seed, broken))).unwrap_or_else(|_| {
        eprintln!("seed {seed} panicked");
        Err(Violation::new(Check::Damaged, "a panic, see above"))
    })
}

#[test]
fn crash_equivalence() {
    let (from, to) = match number("MAINSTEM_SEED") {
        Some(seed) => (seed, seed + 1),
        None => (0, number("MAINSTEM_SEEDS").unwrap_or(SEEDS)),
    };
    if let Some((seed, violation)) = first_failure(from, to, None) {
        panic!("seed {seed}: {violation}\nto see it again: MAINSTEM_SEED={seed} cargo test -p mainstem-tests --test simulation crash_equivalence");
    }
}

const PROMISES: [BrokenPromise; 6] = [
    BrokenPromise::OneEpochRecord,
    BrokenPromise::NoCausalHold,
    BrokenPromise::OneCause,
    BrokenPromise::NoCompletion,
    BrokenPromise::DuplicateIsSuccess,
    BrokenPromise::SnapshotInsideInput,
];

#[test]
#[ignore = "shows which seeds find which broken promise"]
fn survey() {
    let seeds = number("MAINSTEM_SEEDS").unwrap_or(SEEDS_FOR_A_BROKEN_PROMISE);
    for promise in PROMISES {
        let found: Mutex<BTreeMap<Check, (u64, usize)>> = Mutex::default();
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    if let Err(violation) = run(seed, Some(promise)) {
                        let mut found = found.lock().unwrap();
                        let first = found.entry(violation.check).or_insert((seed, 0));
                        *first = (first.0.min(seed), first.1 + 1);
                    }
                });
            }
        });
        println!("{promise:?}: {found:?}");
    }
}

#[test]
#[ignore = "debug"]
fn debug_dump() {
    let seed = number("MAINSTEM_SEED").unwrap_or(0);
    let workload = mainstem_tests::sim::workload::Workload::new(seed);
    let calm = number("CALM").is_some();
    let mut world = if calm { mainstem_tests::sim::world::World::calm(seed) } else { mainstem_tests::sim::world::World::rough(seed, None) };
    println!("{:?}", world.live(&workload));
    println!("steps {}", world.net.step);
    for ledger in ["INBOUND", "CUSTOMER", "ROUTING", "NOTIFICATION"] {
        for m in world.net.broker.messages(ledger) {
            let h = |n| m.record.header(n).unwrap_or("-").to_owned();
            println!("{ledger} {} e{} {} {} cause={} pos={} t={} cfg={} {}", m.sequence, h("ce-epoch"), m.record.subject, h("ce-type"), h("ce-cause"), h("ce-positions"), h("ce-recordedtime"), h("ce-configuration").chars().last().unwrap_or('-'), String::from_utf8_lossy(&m.record.body));
        }
    }
}
