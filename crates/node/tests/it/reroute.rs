//! Another way for tracks whose parent is silent, and fresh media after a silence (decisions 3.2, 3.5, 5).

use crate::actors::{Known, Source, ms, secs, track};
use crate::world::{C, N, World, edge, origin};
use sluice_moqt::RequestId;
use sluice_moqt::message::Params;
use sluice_node::{Config, Origin};

/// An origin, two relays below it, and an edge below both, which prefers `a`.
struct Diamond {
    top: N,
    a: N,
    b: N,
    edge: N,
}

fn middle(pop: &str) -> Config {
    let mut config = origin(pop, &["top"]);
    config.homing.origins = edge(pop, &["top"]).homing.origins;
    config
}

fn diamond(w: &mut World) -> Diamond {
    let top = w.node(origin("top", &[]));
    let (a, b) = (w.node(middle("a")), w.node(middle("b")));
    let edge = w.node(edge("edge", &["a", "b"]));
    w.pass(ms(1_200));
    assert_eq!((w.connections(a, edge), w.connections(b, edge)), (2, 2));
    Diamond { top, a, b, edge }
}

/// A publisher at the top and a viewer at the edge, served through `a`.
fn served(w: &mut World, d: &Diamond) -> (Source, C, RequestId) {
    let (publisher, viewer) = (w.client(d.top), w.client(d.edge));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.pass(ms(200));
    assert_eq!(parents(w, d.edge), ["a"]);
    (source, viewer, request)
}

/// The peers that a node has its only track from.
fn parents(w: &mut World, node: N) -> Vec<String> {
    let audit = w.n(node).audit();
    let track = audit.tracks.first().expect("a track");
    let peer = |from: &Origin| match from {
        Origin::Peer(pop) => Some(pop.to_string()),
        Origin::Publisher | Origin::Local => None,
    };
    track.sources.iter().filter_map(|source| peer(&source.from)).collect()
}

/// Publishes one object after another, 40 ms each, in groups of `per_group`.
fn stream(w: &mut World, source: Source, groups: std::ops::Range<u64>, per_group: u64) {
    for group in groups {
        let out = w.group(source, group);
        for id in 0..per_group {
            w.put(source, out, group, id..id + 1);
            w.pass(ms(40));
        }
        w.c(source.client).fin(out);
        w.run();
    }
}

fn all(groups: std::ops::Range<u64>, per_group: u64) -> Vec<(u64, u64)> {
    groups.flat_map(|group| (0..per_group).map(move |id| (group, id))).collect()
}

fn got(w: &mut World, viewer: C, request: RequestId) -> Vec<(u64, u64)> {
    let mut got = w.locations(viewer, request);
    got.sort_unstable();
    got
}

#[test]
fn a_silent_parent_is_left_for_the_next_one_and_nothing_is_missing() {
    let mut w = World::new();
    let d = diamond(&mut w);
    let (source, viewer, request) = served(&mut w, &d);
    stream(&mut w, source, 0..1, 5);
    w.lose(d.a, d.edge);
    w.lose(d.a, d.top);
    // The suspicion falls within three probes of 100 ms, in the middle of a group.
    stream(&mut w, source, 1..2, 10);
    assert_eq!(
        got(&mut w, viewer, request),
        all(0..2, 10).into_iter().filter(|l| l.0 > 0 || l.1 < 5).collect::<Vec<_>>()
    );
    assert_eq!(parents(&mut w, d.edge), ["b"]);
    assert_eq!(w.connections(d.a, d.edge), 2, "suspicion closes nothing");
    assert_eq!(w.n(d.edge).snapshot().metrics.reroutes_total, 1);
    assert_eq!(w.ended(viewer, request), None);
}

#[test]
fn a_trusted_parent_is_not_returned_to() {
    let mut w = World::new();
    let d = diamond(&mut w);
    let (source, viewer, request) = served(&mut w, &d);
    w.lose(d.a, d.edge);
    stream(&mut w, source, 0..2, 10);
    assert_eq!(parents(&mut w, d.edge), ["b"]);
    let asked = w.n(d.edge).snapshot().metrics.upstream_subscribes_total;
    w.speak(d.a, d.edge);
    stream(&mut w, source, 2..12, 10);
    assert_eq!(got(&mut w, viewer, request), all(0..12, 10));
    let metrics = w.n(d.edge).snapshot().metrics;
    assert_eq!((metrics.upstream_subscribes_total, metrics.reroutes_total), (asked, 1));
    // The one that was left has let go, and keeps its own window.
    assert_eq!(w.n(d.a).audit().tracks.iter().map(|t| t.readers).sum::<usize>(), 0);
}

#[test]
fn an_outage_below_300_ms_moves_nothing() {
    let mut w = World::new();
    let d = diamond(&mut w);
    let (source, viewer, request) = served(&mut w, &d);
    for group in 0..10 {
        w.silence(d.a, d.edge);
        w.pass(ms(190));
        w.speak(d.a, d.edge);
        stream(&mut w, source, group..group + 1, 5);
    }
    assert_eq!(got(&mut w, viewer, request), all(0..10, 5));
    assert_eq!(parents(&mut w, d.edge), ["a"]);
    assert_eq!(w.n(d.edge).snapshot().metrics.reroutes_total, 0);
}

#[test]
fn what_stands_is_kept_until_the_other_way_delivers() {
    let mut w = World::new();
    let d = diamond(&mut w);
    let (source, viewer, request) = served(&mut w, &d);
    stream(&mut w, source, 0..1, 5);
    // The standby answers no more than the parent does, but nobody knows yet.
    w.lose(d.a, d.edge);
    w.silence(d.b, d.edge);
    stream(&mut w, source, 1..2, 20);
    assert!(parents(&mut w, d.edge).contains(&"a".to_owned()));
    w.speak(d.a, d.edge);
    stream(&mut w, source, 2..3, 5);
    assert_eq!(got(&mut w, viewer, request), [all(0..1, 5), all(1..2, 20), all(2..3, 5)].concat());
    w.speak(d.b, d.edge);
    stream(&mut w, source, 3..6, 5);
    assert_eq!(parents(&mut w, d.edge).len(), 1, "one subscription remains");
    assert_eq!(got(&mut w, viewer, request).len(), 45);
}

#[test]
fn a_track_at_rest_moves_without_waiting_for_its_next_object() {
    let mut w = World::new();
    let d = diamond(&mut w);
    let (source, viewer, request) = served(&mut w, &d);
    w.put_group(source, 0, 1);
    w.lose(d.a, d.edge);
    w.pass(secs(1));
    assert_eq!(parents(&mut w, d.edge), ["b"]);
    w.put_group(source, 1, 1);
    assert_eq!(got(&mut w, viewer, request), [(0, 0), (1, 0)]);
}

#[test]
fn a_standby_is_probed_as_often_as_the_parent() {
    let mut w = World::new();
    let d = diamond(&mut w);
    let (source, _, _) = served(&mut w, &d);
    stream(&mut w, source, 0..1, 5);
    w.lose(d.b, d.edge);
    w.pass(ms(450));
    let suspects = |w: &mut World| {
        let trunks = w.n(d.edge).snapshot().trunks;
        trunks.into_iter().filter(|t| t.suspect).map(|t| t.peer.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(suspects(&mut w), ["b"]);
}

#[test]
fn a_viewer_that_comes_while_the_parent_is_suspect_is_served_by_the_other() {
    let mut w = World::new();
    let d = diamond(&mut w);
    let (source, _, _) = served(&mut w, &d);
    stream(&mut w, source, 0..1, 5);
    w.lose(d.a, d.edge);
    w.pass(ms(600));
    let late = w.client(d.edge);
    let request = w.subscribe(late, &track("audio"), Params::default());
    assert!(w.subscribed(late, request).is_none());
    let (asked, _) = w.all_asked(source.client).pop().expect("asked through b");
    w.accept_request(source.client, asked, Known::default());
    assert!(w.subscribed(late, request).is_some());
}

#[test]
fn media_that_stays_silent_when_control_is_heard_again_is_dialled_anew() {
    let mut w = World::new();
    let top = w.node(origin("top", &[]));
    let below = w.node(edge("edge", &["top"]));
    w.pass(ms(1_200));
    let (publisher, viewer) = (w.client(top), w.client(below));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    stream(&mut w, source, 0..1, 10);
    w.silence(top, below);
    stream(&mut w, source, 1..2, 25);
    let dials = w.dials;
    // The media connection waits for its next retransmission, a second away.
    w.speak_control(top, below);
    w.pass(ms(110));
    assert_eq!(w.dials, dials + 1, "one fresh media connection");
    stream(&mut w, source, 2..3, 10);
    assert_eq!(got(&mut w, viewer, request), [all(0..1, 10), all(1..2, 25), all(2..3, 10)].concat());
    // The old one ends when the fresh one has delivered, without a word in the log.
    w.pass(secs(3));
    assert_eq!(w.connections(top, below), 2);
    let down = |w: &mut World, n: N| {
        std::iter::from_fn(|| w.n(n).poll_incident()).any(|i| matches!(i, sluice_node::Incident::TrunkDown { .. }))
    };
    assert!(!down(&mut w, top) && !down(&mut w, below));
}

#[test]
fn media_that_goes_on_by_itself_is_left_alone() {
    let mut w = World::new();
    let top = w.node(origin("top", &[]));
    let below = w.node(edge("edge", &["top"]));
    w.pass(ms(1_200));
    let (publisher, viewer) = (w.client(top), w.client(below));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    stream(&mut w, source, 0..1, 10);
    let dials = w.dials;
    w.silence(top, below);
    w.pass(ms(150));
    w.speak(top, below);
    stream(&mut w, source, 1..2, 10);
    assert_eq!(got(&mut w, viewer, request), all(0..2, 10));
    assert_eq!(w.dials, dials);
}

#[test]
fn the_group_that_goes_on_is_caught_up_with_before_older_ones() {
    let mut w = World::new();
    let top = w.node(origin("top", &[]));
    let below = w.node(edge("edge", &["top"]));
    w.pass(ms(1_200));
    let (publisher, viewer) = (w.client(top), w.client(below));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    stream(&mut w, source, 0..1, 10);
    w.silence(top, below);
    stream(&mut w, source, 1..4, 10);
    let out = w.group(source, 4);
    w.put(source, out, 4, 0..5);
    // Enough for the newest group, not for all that was missed.
    w.trunk_room = 1_000;
    w.speak_control(top, below);
    w.pass(ms(500));
    let arrived = got(&mut w, viewer, request);
    assert!(arrived.ends_with(&all(4..5, 5)), "{arrived:?}");
    assert!(!arrived.contains(&(3, 9)), "{arrived:?}");
}
