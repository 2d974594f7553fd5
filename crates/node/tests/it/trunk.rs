//! Tracks across trunks: edges, an origin, two hops (decisions 3, 4, 5).

use crate::actors::{Known, filter, ms, object, payload, secs, track, track_in};
use crate::client::Object;
use crate::world::{C, N, World, edge, origin};
use sluice_moqt::data::SubgroupFlags;
use sluice_moqt::error::{DoneCode, RequestCode};
use sluice_moqt::message::{FetchKind, Params};
use sluice_moqt::{Filter, Location, RequestId};
use sluice_node::LinkBytes;

/// Two edges below one origin.
pub(crate) struct Tree {
    pub(crate) origin: N,
    pub(crate) a: N,
    pub(crate) b: N,
}

pub(crate) fn tree(w: &mut World) -> Tree {
    let origin = w.node(origin("o1", &[]));
    let (a, b) = (w.node(edge("e1", &["o1"])), w.node(edge("e2", &["o1"])));
    w.pass(ms(10));
    assert_eq!((w.connections(a, origin), w.connections(b, origin)), (2, 2));
    Tree { origin, a, b }
}

fn link(w: &mut World, node: N, peer: &str) -> LinkBytes {
    let snapshot = w.n(node).snapshot();
    snapshot.trunks.iter().find(|trunk| trunk.peer.as_str() == peer).expect("a peer").bytes
}

/// A publisher at edge a and a viewer at edge b, served.
fn served(w: &mut World, t: &Tree) -> (crate::actors::Source, C, RequestId) {
    let (publisher, viewer) = (w.client(t.a), w.client(t.b));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    assert!(w.subscribed(viewer, request).is_some());
    (source, viewer, request)
}

#[test]
fn a_viewer_at_another_edge_is_served_through_the_origin() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (source, viewer, request) = served(&mut w, &t);
    w.put_group(source, 5, 3);
    assert_eq!(w.locations(viewer, request), [(5, 0), (5, 1), (5, 2)]);
    assert_eq!(w.n(t.origin).snapshot().upstreams, 1);
}

#[test]
fn a_link_carries_one_copy_for_twenty_viewers() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (source, _, _) = served(&mut w, &t);
    for _ in 0..19 {
        let viewer = w.client(t.b);
        w.subscribe(viewer, &track("video"), Params::default());
    }
    for group in 0..20 {
        w.put_group(source, group, 30);
    }
    for (node, peer) in [(t.origin, "e2"), (t.a, "o1")] {
        let bytes = link(&mut w, node, peer);
        let copies = bytes.sent_total as f64 / bytes.carried_total as f64;
        assert!((0.99..1.02).contains(&copies), "{copies} of {bytes:?}");
    }
    assert_eq!(w.n(t.b).snapshot().viewers, 20);
    assert_eq!(w.n(t.b).snapshot().upstreams, 1);
}

#[test]
fn subscribe_ok_waits_for_the_publisher_across_hops() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer) = (w.client(t.a), w.client(t.b));
    w.publish_namespace(publisher, "live/a");
    let request = w.subscribe(viewer, &track("video"), Params::default());
    w.pass(secs(1));
    assert_eq!(w.subscribed(viewer, request), None);
    w.accept(publisher, Known::default());
    assert!(w.subscribed(viewer, request).is_some());
}

#[test]
fn a_track_that_nobody_has_is_asked_for_once_a_second() {
    let mut w = World::new();
    let t = tree(&mut w);
    let asked = |w: &mut World| w.n(t.b).snapshot().metrics.upstream_subscribes_total;
    for second in 1..=3 {
        for _ in 0..5 {
            let viewer = w.client(t.b);
            let request = w.subscribe(viewer, &track("video"), Params::default());
            assert_eq!(w.error(viewer, request), Some(RequestCode::DoesNotExist));
        }
        assert_eq!(asked(&mut w), second);
        w.pass(secs(1));
    }
}

#[test]
fn a_track_that_nobody_had_is_served_as_soon_as_it_is_told_of() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (viewer, publisher) = (w.client(t.b), w.client(t.b));
    let request = w.subscribe(viewer, &track("video"), Params::default());
    assert_eq!(w.error(viewer, request), Some(RequestCode::DoesNotExist));
    w.publish_namespace(publisher, "live/a");
    let request = w.subscribe(viewer, &track("video"), Params::default());
    w.accept(publisher, Known::default());
    assert!(w.subscribed(viewer, request).is_some());
    // Whoever is ready to wait is not told to go.
    let waiting = Params { rendezvous_timeout: Some(secs(5)), ..Params::default() };
    let missing = track_in("live/b", "video");
    w.subscribe(viewer, &missing, Params::default());
    let request = w.subscribe(viewer, &missing, waiting);
    assert_eq!(w.error(viewer, request), None);
}

#[test]
fn nobody_has_it_is_heard_across_hops() {
    let mut w = World::new();
    let t = tree(&mut w);
    let viewer = w.client(t.b);
    let request = w.subscribe(viewer, &track("video"), Params::default());
    assert_eq!(w.error(viewer, request), Some(RequestCode::DoesNotExist));
    w.pass(secs(11));
    assert_eq!(w.n(t.origin).snapshot().tracks, 0);
}

#[test]
fn a_rendezvous_at_one_edge_meets_the_publisher_at_another() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer, second) = (w.client(t.a), w.client(t.b), w.client(t.b));
    let params = Params { rendezvous_timeout: Some(secs(10)), ..Params::default() };
    let request = w.subscribe(viewer, &track("video"), params.clone());
    let audio = w.subscribe(second, &track("audio"), params);
    w.pass(secs(2));
    w.publish_namespace(publisher, "live/a");
    let asked = w.all_asked(publisher);
    assert_eq!(asked.len(), 2);
    for (upstream, _) in asked {
        w.accept_request(publisher, upstream, Known::default());
    }
    assert!(w.subscribed(viewer, request).is_some());
    assert!(w.subscribed(second, audio).is_some());
}

#[test]
fn a_published_track_is_found_from_another_edge() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer) = (w.client(t.a), w.client(t.b));
    let source = w.publish(publisher, &track("video"), Known::default());
    w.put_group(source, 0, 2);
    // The home pulls a track at once and keeps its window.
    assert_eq!(w.n(t.origin).snapshot().tracks, 1);
    let request = w.subscribe(viewer, &track("video"), Params::default());
    assert!(w.subscribed(viewer, request).is_some());
    w.put_group(source, 1, 2);
    assert_eq!(w.locations(viewer, request), [(0, 0), (0, 1), (1, 0), (1, 1)]);
    w.close(publisher);
    w.pass(secs(21));
    for node in [t.origin, t.a, t.b] {
        assert_eq!(w.n(node).snapshot().tracks, 0);
    }
}

#[test]
fn a_join_across_two_hops_gets_the_whole_group() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (source, _, _) = served(&mut w, &t);
    w.put_group(source, 0, 3);
    let out = w.group(source, 1);
    w.put(source, out, 1, 0..4);
    let late = w.client(t.origin);
    let request = w.subscribe(late, &track("video"), filter(Filter::LargestObject));
    let fetch = w.join(late, request);
    w.put(source, out, 1, 4..6);
    assert_eq!(w.locations(late, fetch), [(1, 0), (1, 1), (1, 2), (1, 3)]);
    assert_eq!(w.locations(late, request), [(1, 4), (1, 5)]);
}

#[test]
fn an_edge_that_joins_late_fetches_the_group_once() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, first) = (w.client(t.a), w.client(t.a));
    let (source, _) = w.live(publisher, first, &track("video"));
    let out = w.group(source, 1);
    w.put(source, out, 1, 0..4);
    let late = w.client(t.b);
    let request = w.subscribe(late, &track("video"), filter(Filter::LargestObject));
    let fetch = w.join(late, request);
    w.put(source, out, 1, 4..6);
    assert_eq!(w.locations(late, fetch), [(1, 0), (1, 1), (1, 2), (1, 3)]);
    assert_eq!(w.locations(late, request), [(1, 4), (1, 5)]);
}

#[test]
fn a_standalone_fetch_is_filled_from_upstream() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, first) = (w.client(t.a), w.client(t.a));
    let (source, _) = w.live(publisher, first, &track("video"));
    for group in 0..3 {
        w.put_group(source, group, 3);
    }
    let late = w.client(t.b);
    let range = FetchKind::Standalone { track: track("video"), start: Location::new(0, 1), end: Location::new(2, 2) };
    let fetch = w.fetch(late, range);
    w.pass(ms(100));
    assert_eq!(w.locations(late, fetch), [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]);
}

#[test]
fn a_fetch_that_stalls_inside_an_object_fires_no_timer_in_vain() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, first) = (w.client(t.a), w.client(t.a));
    let (source, _) = w.live(publisher, first, &track("video"));
    let out = w.group(source, 0);
    w.put(source, out, 0, 0..1);
    w.c(publisher).object(out, &object(1, 100), &payload(0, 1, 50));
    w.run();
    // The trunk's fetch gets the half object and waits for the rest.
    let late = w.client(t.b);
    let request = w.subscribe(late, &track("video"), filter(Filter::LargestObject));
    w.join(late, request);
    w.pass(secs(8));
    let before = w.visits;
    w.pass(secs(10));
    // Probes of two busy links.
    assert!(w.visits - before < 2_000, "{} visits", w.visits - before);
}

#[test]
fn a_lost_trunk_that_comes_back_leaves_no_gap() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (source, viewer, request) = served(&mut w, &t);
    w.put_group(source, 0, 3);
    let out = w.group(source, 1);
    w.put(source, out, 1, 0..2);
    w.c(source.client).object(out, &object(2, 100), &payload(1, 2, 30));
    w.run();
    w.cut(t.b, t.origin);
    w.c(source.client).bytes(out, &payload(1, 2, 100)[30..]);
    w.put(source, out, 1, 3..5);
    w.c(source.client).fin(out);
    w.put_group(source, 2, 2);
    w.pass(ms(900));
    w.mend(t.b, t.origin);
    w.pass(secs(1));
    w.put_group(source, 3, 1);
    w.pass(secs(3));
    let mut got = w.locations(viewer, request);
    got.sort_unstable();
    let all = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0), (2, 1), (3, 0)];
    assert_eq!(got, all);
    assert_eq!(w.ended(viewer, request), None);
    assert!(contents_agree(&w.c(viewer).streams.iter().flat_map(|s| s.objects.clone()).collect::<Vec<_>>()));
}

fn contents_agree(objects: &[Object]) -> bool {
    objects
        .iter()
        .filter(|object| object.is_whole())
        .all(|object| object.payload == payload(object.location.group, object.location.object, 100))
}

#[test]
fn holes_of_several_subgroups_are_filled_after_a_loss() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (source, viewer, request) = served(&mut w, &t);
    let first = w.subgroup(source, (0, 0), SubgroupFlags::FIRST_OBJECT);
    let second = w.subgroup(source, (0, 1), SubgroupFlags::FIRST_OBJECT);
    w.put(source, first, 0, 0..1);
    w.put(source, second, 0, 1..2);
    // Subgroup 1 stops in the middle of object 3, subgroup 0 is ahead of it.
    w.c(source.client).object(second, &object(3, 100), &payload(0, 3, 20));
    for id in [2, 4, 6] {
        w.put(source, first, 0, id..id + 1);
    }
    w.cut(t.b, t.origin);
    w.c(source.client).bytes(second, &payload(0, 3, 100)[20..]);
    w.put(source, second, 0, 5..6);
    w.c(source.client).fin(first);
    w.c(source.client).fin(second);
    w.pass(ms(500));
    w.mend(t.b, t.origin);
    w.pass(secs(2));
    w.put_group(source, 1, 1);
    w.pass(secs(3));
    let mut got = w.locations(viewer, request);
    got.sort_unstable();
    assert_eq!(got, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (1, 0)]);
}

#[test]
fn a_trunk_that_stays_away_ends_the_track_after_the_linger() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (source, viewer, request) = served(&mut w, &t);
    w.put_group(source, 0, 1);
    w.cut(t.b, t.origin);
    w.pass(secs(11));
    assert_eq!(w.ended(viewer, request), Some(DoneCode::TrackEnded));
    // The other side gives up its part, too.
    w.pass(secs(11));
    assert!(w.cancelled(source.client, source.request));
    assert_eq!(w.n(t.origin).snapshot().tracks, 0);
    assert!(w.dials < 110, "{} dials", w.dials);
}

#[test]
fn a_malformed_track_ends_across_hops() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (source, viewer, request) = served(&mut w, &t);
    w.put_group(source, 0, 2);
    let twin = w.client(t.a);
    let twin = w.publish(twin, &track("video"), Known::at(0, 1));
    let out = w.group(twin, 0);
    w.c(twin.client).object(out, &object(0, 100), &payload(9, 9, 100));
    w.run();
    w.pass(secs(3));
    assert_eq!(w.ended(viewer, request), Some(DoneCode::MalformedTrack));
    w.pass(secs(11));
    for node in [t.origin, t.a, t.b] {
        assert_eq!(w.n(node).snapshot().tracks, 0);
    }
}

#[test]
fn a_local_publisher_frees_an_edge_from_its_parent() {
    let mut w = World::new();
    let t = tree(&mut w);
    // Both edges watch what a publisher at the origin sends.
    let publisher = w.client(t.origin);
    let (va, vb) = (w.client(t.a), w.client(t.b));
    let source = w.publish(publisher, &track("video"), Known::default());
    let ra = w.subscribe(va, &track("video"), Params::default());
    let rb = w.subscribe(vb, &track("video"), Params::default());
    w.put_group(source, 0, 1);
    // The publisher moves to edge a: the origin becomes a child of its child.
    let moved = w.client(t.a);
    let again = w.publish(moved, &track("video"), Known::at(0, 0));
    w.close(publisher);
    w.pass(secs(2));
    w.put_group(again, 1, 1);
    w.pass(secs(20));
    w.put_group(again, 2, 1);
    assert_eq!(w.locations(va, ra), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(w.locations(vb, rb), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!((w.ended(va, ra), w.ended(vb, rb)), (None, None));
    // Edge a is the root: nothing comes to it from its child.
    assert_eq!(w.n(t.a).snapshot().upstreams, 1);
}

#[test]
fn an_edge_with_a_publisher_serves_its_viewers_while_the_origin_is_away() {
    let mut w = World::new();
    let t = tree(&mut w);
    w.cut(t.a, t.origin);
    let (publisher, viewer) = (w.client(t.a), w.client(t.a));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    w.pass(secs(30));
    w.put_group(source, 1, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0), (1, 0)]);
    w.mend(t.a, t.origin);
    w.pass(secs(11));
    let far = w.client(t.b);
    let request = w.subscribe(far, &track("video"), Params::default());
    assert!(w.subscribed(far, request).is_some());
}

#[test]
fn the_last_viewer_gone_frees_every_hop() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (source, viewer, _) = served(&mut w, &t);
    w.put_group(source, 0, 1);
    w.close(viewer);
    w.pass(secs(31));
    assert!(w.cancelled(source.client, source.request));
    for node in [t.origin, t.a, t.b] {
        let snapshot = w.n(node).snapshot();
        assert_eq!((snapshot.tracks, snapshot.upstreams, snapshot.log_bytes), (0, 0, 0));
    }
}
