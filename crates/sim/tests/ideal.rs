//! Small worlds whose course is known.

mod support;

use sluice_net::{Clock as _, SystemClock};
use sluice_sim::ideal::{Options, World};
use sluice_sim::plan::{Act, Event, LinkId, Track};
use sluice_sim::{Stage as _, examine};
use std::time::Duration;
use support::{Chain, ms};

#[test]
fn one_viewer_gets_everything_in_a_quiet_world() {
    let mut world = World::new(Chain::default().plan(), Options::default()).expect("legal");
    let report = examine(&mut world);
    assert_eq!(report.breach, None, "{report}");
    // 10 ms from the publisher to its edge, twice 20 ms over the origin, 10 ms to the viewer.
    let age = report.figures.age_mean();
    assert!((ms(59)..ms(63)).contains(&age), "{report}");
    assert_eq!((report.figures.accepted, report.figures.cuts), (1, 0), "{report}");
}

#[test]
fn a_blink_of_a_trunk_loses_nothing() {
    let mut plan = Chain::default().plan();
    let trunk = LinkId(0);
    plan.events = vec![Event { at: ms(6_000), act: Act::Down(trunk) }, Event { at: ms(6_400), act: Act::Up(trunk) }];
    let mut world = World::new(plan, Options::default()).expect("legal");
    let report = examine(&mut world);
    assert_eq!(report.breach, None, "{report}");
    assert_eq!(report.figures.cuts, 0, "{report}");
    assert!(report.figures.longest_gap < Duration::from_secs(2), "{report}");
}

#[test]
fn an_origin_that_restarts_is_found_again() {
    let mut plan = Chain::default().plan();
    let origin = support::ORIGIN;
    plan.events =
        vec![Event { at: ms(6_000), act: Act::Kill(origin) }, Event { at: ms(7_000), act: Act::Start(origin) }];
    let mut world = World::new(plan, Options::default()).expect("legal");
    let report = examine(&mut world);
    assert_eq!(report.breach, None, "{report}");
    assert!(report.healed_after.is_some_and(|after| after < Duration::from_secs(12)), "{report}");
}

#[test]
fn what_cannot_be_served_is_not_demanded() {
    let mut plan = Chain::default().plan();
    plan.events = vec![Event { at: ms(6_000), act: Act::Kill(support::ORIGIN) }];
    let mut world = World::new(plan, Options::default()).expect("legal");
    let report = examine(&mut world);
    assert_eq!(report.breach, None, "{report}");
    assert!(!world.is_running(support::ORIGIN));
}

/// `cargo test --release -p sluice-sim --test ideal -- --ignored --nocapture`
#[test]
#[ignore = "a figure, of the release profile and a quiet machine only"]
fn ten_relays_and_fifty_viewers() {
    let virtual_time = Duration::from_secs(120);
    let track = Track::video("video", 2_000_000, 25);
    let plan = Chain { edges: 9, viewers: 50, track, duration: virtual_time }.plan();
    let mut world = World::new(plan, Options::default()).expect("legal");
    let start = SystemClock.now();
    world.run_until(virtual_time);
    let took = SystemClock.now().saturating_duration_since(start);
    let figures = world.watch().figures();
    assert!(world.watch().breach().is_none());
    println!(
        "ideal links: 10 relays, 50 viewers of 2 Mbit/s at 25 fps: {:.0} times real time ({} objects in {:.2} s)",
        virtual_time.as_secs_f64() / took.as_secs_f64(),
        figures.objects,
        took.as_secs_f64(),
    );
}
