//! A watcher joins a live stream: at the start of the current group, every object once, in order.

use super::station::{Recorder, Station, World, wall, world};
use super::wire::{LATENCY, Wire};
use crate::core::{Event, LinkId, Object};
use crate::manifest::Via;
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn objects(world: &World, link: u64) -> Vec<&Object> {
    let events = world.a.driver().events.iter();
    events
        .filter_map(|(_, of, event)| match event {
            Event::Object(object) if *of == LinkId(link) && object.rendition.is_some() => Some(object),
            _ => None,
        })
        .collect()
}

#[test]
fn joins_at_any_instant_and_gets_every_object_from_the_group_start() {
    let joins: Vec<Duration> = (0..20).map(|i| ms(137 * i + 20)).collect();
    let mut world = world(&joins, None);
    world.run(ms(7000));
    for link in 0..20 {
        let diff = world.diff(link);
        assert!(diff.same && diff.objects_compared > 100, "{link}: {diff:?}");
        for track in diff.tracks {
            assert_eq!(track.joined_object, 0, "{link}: {track:?}");
        }
    }
}

#[test]
fn the_running_group_comes_by_fetch_in_three_round_trips() {
    let mut world = world(&[ms(1500)], None);
    world.run(ms(4000));
    let first = objects(&world, 0)[0];
    assert_eq!((first.at.object, first.flags.via), (0, Via::Fetch));
    // One for the connection, one for SETUP and the catalog, one for the tracks.
    let spent = first.arrived - world.a.driver().events[0].0;
    assert!(spent < 5 * LATENCY, "{spent:?} after the session was ready");
    assert!(objects(&world, 0).iter().any(|o| o.flags.via == Via::Subgroup));
}

#[test]
fn a_stream_that_ends_is_whole_and_said_to_be_over() {
    let mut world = world(&[ms(500)], Some(ms(3000)));
    world.run(ms(4000));
    assert!(world.diff(0).same);
    let events = &world.a.driver().events;
    assert!(events.iter().any(|(_, _, event)| *event == Event::Ended));
    assert!(world.b.client().is_drained());
    // Every group that began has ended.
    let count = |f: fn(&Event) -> Option<(bytes::Bytes, u64)>| {
        events.iter().filter_map(|(_, _, e)| f(e)).collect::<std::collections::BTreeSet<_>>()
    };
    let begun = count(|e| if let Event::Object(o) = e { Some((o.track.clone(), o.at.group)) } else { None });
    let ended = count(|e| if let Event::GroupEnd { track, group } = e { Some((track.clone(), *group)) } else { None });
    assert_eq!(begun, ended);
}

#[test]
fn a_watcher_that_comes_first_waits_for_the_publisher() {
    let station = Station::new(None).begin_after(ms(900));
    let mut world = Wire::new(Recorder::new(&[ms(0)]).host(), station.host());
    world.run(ms(890));
    let events = world.a.driver().events.iter();
    assert!(events.filter(|(_, _, event)| *event == Event::NoSuchStream).count() >= 2);
    world.run(ms(4000));
    assert!(world.diff(0).same);
}

#[test]
fn stamps_tell_the_latency() {
    let mut world = world(&[ms(100)], None);
    world.run(ms(3000));
    for object in objects(&world, 0).into_iter().filter(|o| o.flags.via == Via::Subgroup) {
        let stamp = sluice_media::stamp_micros(&object.properties).expect("the station stamps");
        let latency = wall().unix(object.arrived).saturating_sub(Duration::from_micros(stamp));
        assert!(latency >= LATENCY && latency < 10 * LATENCY, "{latency:?}");
    }
}
