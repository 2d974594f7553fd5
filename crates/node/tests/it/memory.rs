//! The cap on memory: what gives way when it comes near, in which order, and that it holds.

use crate::actors::{Known, Source, ms, object, secs, track};
use crate::world::{N, World, config};
use sluice_moqt::error::RequestCode;
use sluice_moqt::message::Params;
use sluice_node::{Config, Incident, Limits, MemoryLevel, MemoryMetrics};

const MIB: usize = 1 << 20;
/// Objects of a group; one in 40 ms.
const OBJECTS: u64 = 25;

fn capped(cap: usize) -> Config {
    let config = config("e1");
    Config { limits: Limits { memory_bytes: cap, ..config.limits }, ..config }
}

impl World {
    /// A group of `count` objects of `len` bytes, a second long.
    fn put_second(&mut self, source: Source, group: u64, (count, len): (u64, usize)) {
        let out = self.group(source, group);
        let payload = vec![group.to_le_bytes()[0]; len];
        for id in 0..count {
            self.c(source.client).object(out, &object(id, len), &payload);
            self.pass(ms(1000 / count));
        }
        self.c(source.client).fin(out);
        self.run();
    }

    fn memory_used(&mut self, node: N) -> usize {
        let snapshot = self.n(node).snapshot();
        snapshot.log_bytes + snapshot.retained_bytes
    }

    fn levels(&mut self, node: N) -> Vec<MemoryLevel> {
        let incidents = std::iter::from_fn(|| self.n(node).poll_incident());
        let level = |incident| if let Incident::Memory { level, .. } = incident { Some(level) } else { None };
        incidents.filter_map(level).collect()
    }
}

#[test]
fn old_groups_go_first_and_nobody_notices() {
    const CAP: usize = 2 * MIB;
    let mut w = World::new();
    let node = w.node(capped(CAP));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    for group in 0..20 {
        w.put_second(source, group, (OBJECTS, 20_000));
        assert!(w.memory_used(node) < CAP, "{} bytes after group {group}", w.memory_used(node));
    }
    assert_eq!(w.locations(viewer, request).len() as u64, 20 * OBJECTS);
    let metrics = w.n(node).snapshot().metrics.memory;
    assert!(metrics.groups_evicted_total >= 10, "{metrics:?}");
    assert_eq!((metrics.refused_total, metrics.shed_total), (0, 0));
    assert_eq!(w.levels(node)[0], MemoryLevel::Draining);
}

#[test]
fn a_thousand_slow_viewers_hold_little_more_than_one() {
    let mut w = World::new();
    let node = w.node(capped(8 * MIB));
    let (publisher, first) = (w.client(node), w.client(node));
    let (source, _) = w.live(publisher, first, &track("video"));
    for group in 0..10 {
        for viewer in w.crowd(node, 100) {
            w.sink_to(viewer).hoard(300_000);
            w.c(viewer).protocol.subscribe(track("video"), Params::default()).expect("allowed");
        }
        // No viewer's window holds a group: all of them are behind all the time.
        w.put_second(source, group, (5, 80_000));
        assert!(w.memory_used(node) < 4 * MIB, "{} bytes after group {group}", w.memory_used(node));
    }
    let snapshot = w.n(node).snapshot();
    assert_eq!((snapshot.viewers, snapshot.metrics.memory), (1001, MemoryMetrics::default()));
}

#[test]
fn hoarders_are_kept_under_the_cap_and_the_newest_leave_first() {
    const CAP: usize = 8 * MIB;
    const GROUPS: u64 = 80;
    let mut w = World::new();
    let node = w.node(capped(CAP));
    let (publisher, old) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, old, &track("video"));
    let (mut served, mut refused) = (Vec::new(), 0);
    for group in 0..GROUPS {
        // It takes everything and acknowledges nothing: what came since it joined cannot be freed while it is there.
        let hoarder = w.client(node);
        w.sink_to(hoarder).hoard(usize::MAX);
        let asked = w.subscribe(hoarder, &track("video"), Params::default());
        match w.error(hoarder, asked) {
            Some(RequestCode::ExcessiveLoad) => refused += 1,
            error => {
                assert_eq!(error, None);
                served.push(hoarder);
            }
        }
        w.put_second(source, group, (10, 20_000));
        assert!(w.memory_used(node) < CAP, "{} bytes after group {group}", w.memory_used(node));
    }
    assert_eq!(w.locations(old, request).len() as u64, 10 * GROUPS, "whoever was there keeps the live edge");
    let shed = served.iter().filter(|viewer| !w.is_open(**viewer)).count() as u64;
    let metrics = w.n(node).snapshot().metrics.memory;
    assert!(shed > 0 && refused > 0, "{shed} shed, {refused} refused");
    assert_eq!((metrics.shed_total, metrics.refused_total), (shed, refused));
    assert!(w.levels(node).contains(&MemoryLevel::Refusing));
}

#[test]
fn a_relay_that_was_short_of_memory_serves_again() {
    let mut w = World::new();
    let node = w.node(capped(2 * MIB));
    let (publisher, viewer, late) = (w.client(node), w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.sink_to(viewer).hoard(usize::MAX);
    // Between 95 and 98 % of the cap.
    w.put_second(source, 0, (40, 50_000));
    let refused = w.subscribe(late, &track("video"), Params::default());
    assert_eq!(w.error(late, refused), Some(RequestCode::ExcessiveLoad));
    let other = w.client(node);
    let published = w.publish(other, &track("audio"), Known::default());
    assert_eq!(w.error(other, published.request), Some(RequestCode::ExcessiveLoad));
    w.sink_to(viewer).let_go();
    w.put_second(source, 1, (1, 1_000));
    w.pass(secs(1));
    let served = w.subscribe(late, &track("video"), Params::default());
    assert!(w.subscribed(late, served).is_some());
    assert_eq!((w.ended(viewer, request), w.n(node).snapshot().retained_bytes), (None, 0));
    assert_eq!(w.levels(node).last(), Some(&MemoryLevel::Ample));
}
