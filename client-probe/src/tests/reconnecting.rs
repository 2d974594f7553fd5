//! What is lost with a connection is fetched after it.

use super::station::{Recorder, World, namespace, world};
use super::wire::{Door, Wire};
use crate::core::{Client, Down, Event, Keep, LinkId, Role};
use sluice_net::Rng;
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn downs(world: &World) -> Vec<(Duration, &Down)> {
    let events = world.a.driver().events.iter();
    events
        .filter_map(|(at, _, e)| if let Event::Down { why, .. } = e { Some((*at - world.start(), why)) } else { None })
        .collect()
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice() {
    let mut world = world(&[ms(0)], None);
    world.run(ms(2300));
    for pause in [0, 90, 700, 1900] {
        world.cut();
        world.door = Door::Shut;
        world.run(ms(pause));
        world.door = Door::Open;
        world.run(ms(1700));
    }
    world.run(ms(1000));
    let diff = world.diff(0);
    assert!(diff.same && diff.objects_compared > 400, "{diff:?}");
    assert!(downs(&world).len() >= 4);
}

#[test]
fn redials_double_up_to_half_a_second_and_alternate_addresses() {
    let mut world = world(&[ms(0)], None);
    world.door = Door::Shut;
    world.run(ms(90_000));
    let times: Vec<Duration> = world.dials.iter().map(|(at, _)| *at).collect();
    // A failed dial takes one round trip, 20 ms here.
    let gaps: Vec<u128> = times.windows(2).map(|w| (w[1] - w[0]).as_millis().saturating_sub(20)).collect();
    for (gap, base) in gaps.iter().zip([50, 100, 200, 400, 500, 500, 500]) {
        assert!((base * 8 / 10..=base * 12 / 10).contains(gap), "{gap} is not within 20 % of {base}");
    }
    let last = gaps[gaps.len() - 1];
    assert!((8_000..=12_000).contains(&last), "{last}");
    let addresses: Vec<_> = world.dials.iter().map(|(_, dial)| dial.remote.to_string()).take(3).collect();
    assert_eq!(addresses, ["192.0.2.1:4443", "192.0.2.2:4443", "192.0.2.1:4443"]);
}

#[test]
fn equal_seeds_dial_at_equal_times() {
    let run = || {
        let mut world = world(&[ms(0)], None);
        world.door = Door::Shut;
        world.run(ms(5000));
        world.dials.iter().map(|(at, _)| *at).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_closed_link_stays_closed() {
    let mut world = Wire::new(
        Recorder::with_role(Role::Watcher { namespace: namespace(), keep: Keep::Sizes }).host(),
        Client::new(Rng::from_seed(3), None),
    );
    world.run(ms(100));
    assert_eq!(world.dials.len(), 1);
    let now = world.now;
    world.a.with_client(now, |client| client.close(now, LinkId(0)));
    world.run(ms(5000));
    assert_eq!((world.dials.len(), world.closes.as_slice()), (1, &[0][..]));
}
