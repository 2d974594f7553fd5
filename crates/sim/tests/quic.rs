//! The world over real QUIC: seeds of the shared plans, replay, and how fast it is.
//!
//! A seed that fails prints the command that replays it. More seeds, in the release profile:
//! `SLUICE_SIM_SEEDS=100 cargo test --release -p sluice-sim --test quic -- --nocapture`.

#![expect(clippy::panic, clippy::print_stdout, reason = "a test fails by panicking and shows its run when asked to")]

mod support;

use sluice_net::{Clock as _, SystemClock};
use sluice_sim::plan::Track;
use sluice_sim::quic::World;
use sluice_sim::{Report, Stage as _, examine, seed};
use std::env;
use std::time::Duration;
use support::Chain;

/// Seeds that the test command runs: real handshakes and encryption in the dev profile take their time.
const SEEDS: u64 = 3;

/// Seeds that once broke an invariant, with what was wrong.
const REGRESSIONS: [(u64, &str); 2] = [
    (20, "after a cut the controller took jitter for a queue of ours, and the window never came back"),
    (88, "the same"),
];

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

fn run_seed(seed: u64) -> Report {
    let mut world = World::new(seed::plan(seed)).expect("the plan of a seed is legal");
    examine(&mut world)
}

fn run(seed: u64) -> Option<String> {
    let report = run_seed(seed);
    if number("SLUICE_SIM_SEED").is_some() {
        println!("{report:#}");
    } else if env::var_os("SLUICE_SIM_VERBOSE").is_some() {
        println!("{report}");
    }
    report.breach.as_ref()?;
    Some(format!("{report}\n  replay: SLUICE_SIM_SEED={seed} cargo test -p sluice-sim --test quic -- --nocapture"))
}

#[test]
fn invariants_hold_over_seeds() {
    let seeds: Vec<u64> = match number("SLUICE_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SLUICE_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        // Two threads: what a small machine has. A world stays on the thread that made it.
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

#[test]
fn a_seed_replays() {
    let first = run_seed(1);
    assert_eq!(first, run_seed(1));
    assert_eq!(first, run_seed(1));
    assert_ne!(first.trace, run_seed(2).trace);
}

/// `cargo test --release -p sluice-sim --test quic a_hundred_runs -- --ignored`
#[test]
#[ignore = "takes long in the dev profile; the command stands in CONTRIBUTING.md"]
fn a_hundred_runs_are_one() {
    let first = run_seed(42);
    for run in 1..100 {
        assert_eq!(run_seed(42), first, "run {run}");
    }
}

/// `cargo test --release -p sluice-sim --test quic fifty_viewers -- --ignored --nocapture`
#[test]
#[ignore = "a figure, of the release profile and a quiet machine only"]
fn ten_relays_and_fifty_viewers() {
    let virtual_time = Duration::from_secs(30);
    let track = Track::video("video", 2_000_000, 25);
    let plan = Chain { edges: 9, viewers: 50, track, duration: virtual_time }.plan();
    let mut world = World::new(plan).expect("legal");
    let start = SystemClock.now();
    world.run_until(virtual_time);
    let wall = SystemClock.now().saturating_duration_since(start);
    assert_eq!(world.watch().breach(), None);
    let times = virtual_time.as_secs_f64() / wall.as_secs_f64();
    let figures = world.watch().figures();
    println!(
        "{times:.1} times real time: {:.1} s in {:.2} s, {} objects, {} packets, {} turns, trace {:016x}",
        virtual_time.as_secs_f64(),
        wall.as_secs_f64(),
        figures.objects,
        world.trace().packets(),
        world.turns(),
        world.trace().value()
    );
    assert!(times >= 5.0, "{times:.1} times real time");
}
