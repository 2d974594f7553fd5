//! The same seed moves the same packets, to the nanosecond.

use sluice_sim::run_seed;

#[test]
fn a_seed_replays() {
    for seed in [1, 5, 11] {
        assert_eq!(run_seed(seed), run_seed(seed));
    }
    assert_ne!(run_seed(1).trace, run_seed(5).trace);
}

/// `cargo test --release -p sluice-sim --test replay -- --ignored`
#[test]
#[ignore = "takes long in the dev profile; the command stands in CONTRIBUTING.md"]
fn a_hundred_runs_are_one() {
    let first = run_seed(42);
    for run in 1..100 {
        assert_eq!(run_seed(42), first, "run {run}");
    }
}
