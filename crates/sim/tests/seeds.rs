//! Many seeds of the ideal world: whatever happens to a backbone, its invariants hold.
//!
//! A seed that fails prints the command that replays it. More seeds than the test command takes:
//! `SLUICE_SIM_SEEDS=10000 cargo test --release -p sluice-sim --test seeds -- --nocapture`.

#![expect(clippy::panic, clippy::print_stdout, reason = "a test fails by panicking and shows its run when asked to")]

use sluice_sim::{Report, run_seed};
use std::env;

/// Seeds that the test command runs.
const SEEDS: u64 = 100;

/// Seeds that once broke an invariant, with what was wrong.
const REGRESSIONS: [(u64, &str); 8] = [
    (12, "an origin that had stopped watching believed for ever what it had heard as a watcher"),
    (23, "a home that knew of no publisher hid the one attached to the origin that asked it"),
    (42, "a world counted as healed by what had come before the last fault"),
    (45, "a world counted as healed by what had come before the last fault"),
    (61, "a world counted as healed by what had come before the last fault"),
    (66, "an edge that waited for one parent asked the one that came back, too, and kept both"),
    (69, "the oldest subscriptions of a full trunk took all of it; and full windows wrote ever smaller pieces"),
    (94, "a world counted as healed by what had come before the last fault; and then one track had two parents"),
];

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

fn run(seed: u64) -> Option<String> {
    let report = run_seed(seed);
    if number("SLUICE_SIM_SEED").is_some() {
        println!("{report:#}");
    } else if env::var_os("SLUICE_SIM_VERBOSE").is_some() {
        println!("{report}");
    }
    failure(&report)
}

fn failure(report: &Report) -> Option<String> {
    report.breach.as_ref()?;
    let seed = report.seed;
    Some(format!("{report}\n  replay: SLUICE_SIM_SEED={seed} cargo test -p sluice-sim --test seeds -- --nocapture"))
}

#[test]
fn invariants_hold_over_seeds() {
    let seeds: Vec<u64> = match number("SLUICE_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SLUICE_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        // Two threads: what a small machine has.
        let halves = [0, 1].map(|half| {
            let seeds = seeds.iter().copied().skip(half).step_by(2);
            scope.spawn(move || seeds.filter_map(run).collect::<Vec<String>>())
        });
        halves.into_iter().flat_map(|half| half.join().expect("no panic")).collect()
    });
    assert!(failures.is_empty(), "{} of {} seeds failed:\n{}", failures.len(), seeds.len(), failures.join("\n"));
}

#[test]
fn seeds_that_once_failed_hold() {
    let failures: Vec<String> = REGRESSIONS.iter().filter_map(|(seed, _)| run(*seed)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
