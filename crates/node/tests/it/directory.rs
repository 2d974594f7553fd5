//! The directory between relays, and the health of links (decisions 3.5, 4).

use crate::actors::{Known, ms, ns, secs, track};
use crate::discovery::{heard, offered, watch, watch_tracks};
use crate::trunk::tree;
use crate::world::{World, edge, origin};
use sluice_moqt::error::{RequestCode, ResetCode};
use sluice_moqt::message::{Params, RequestOk};
use sluice_node::Incident;

#[test]
fn a_namespace_at_one_edge_is_heard_at_another_and_gone_with_its_publisher() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, early, late) = (w.client(t.a), w.client(t.b), w.client(t.b));
    watch(&mut w, early, "live");
    let request = w.publish_namespace(publisher, "live/a");
    assert_eq!(heard(&mut w, early), [(true, ns("a"))]);
    watch(&mut w, late, "");
    assert_eq!(heard(&mut w, late), [(true, ns("live/a"))]);
    w.c(publisher).protocol.cancel(request, ResetCode::Cancelled);
    w.run();
    assert_eq!(heard(&mut w, early), [(true, ns("a")), (false, ns("a"))]);
    assert_eq!(heard(&mut w, late), [(true, ns("live/a")), (false, ns("live/a"))]);
}

#[test]
fn a_namespace_with_publishers_at_two_edges_is_one() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (pa, pb, viewer) = (w.client(t.a), w.client(t.b), w.client(t.b));
    watch(&mut w, viewer, "live");
    w.publish_namespace(pa, "live/a");
    w.publish_namespace(pb, "live/a");
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    w.close(pb);
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    w.close(pa);
    assert_eq!(heard(&mut w, viewer), [(true, ns("a")), (false, ns("a"))]);
}

#[test]
fn what_a_lost_peer_told_is_believed_for_the_linger() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer) = (w.client(t.a), w.client(t.origin));
    watch(&mut w, viewer, "live");
    w.publish_namespace(publisher, "live/a");
    w.cut(t.a, t.origin);
    w.pass(ms(9_900));
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    w.pass(ms(200));
    assert_eq!(heard(&mut w, viewer), [(true, ns("a")), (false, ns("a"))]);
}

#[test]
fn what_a_returning_peer_does_not_mention_is_gone() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer) = (w.client(t.a), w.client(t.origin));
    watch(&mut w, viewer, "live");
    w.publish_namespace(publisher, "live/a");
    let gone = w.publish_namespace(publisher, "live/b");
    w.cut(t.a, t.origin);
    w.c(publisher).protocol.cancel(gone, ResetCode::Cancelled);
    w.run();
    w.mend(t.a, t.origin);
    w.pass(secs(1));
    assert_eq!(heard(&mut w, viewer), [(true, ns("a")), (true, ns("b")), (false, ns("b"))]);
    w.pass(secs(20));
    assert_eq!(heard(&mut w, viewer).len(), 3);
}

#[test]
fn a_watch_across_a_trunk_that_blinks_hears_nothing_of_it() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer) = (w.client(t.a), w.client(t.b));
    watch(&mut w, viewer, "live");
    w.publish_namespace(publisher, "live/a");
    w.cut(t.b, t.origin);
    w.pass(secs(1));
    w.mend(t.b, t.origin);
    w.pass(secs(20));
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    w.close(publisher);
    assert_eq!(heard(&mut w, viewer), [(true, ns("a")), (false, ns("a"))]);
}

#[test]
fn a_published_track_is_offered_at_another_edge_early_and_late() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, early, late) = (w.client(t.a), w.client(t.b), w.client(t.b));
    watch_tracks(&mut w, early, "live", None);
    let source = w.publish(publisher, &track("video"), Known::default());
    let (request, name, _) = offered(&mut w, early).remove(0);
    assert_eq!(name, track("video"));
    w.c(early).protocol.accept(request, RequestOk::default());
    w.put_group(source, 0, 2);
    assert_eq!(w.locations(early, request), [(0, 0), (0, 1)]);
    watch_tracks(&mut w, late, "", None);
    assert_eq!(offered(&mut w, late).len(), 1);
    // Nobody at an edge that asked before anybody watched there.
    let third = w.client(t.origin);
    watch_tracks(&mut w, third, "live", None);
    assert_eq!(offered(&mut w, third).len(), 1);
}

#[test]
fn a_track_published_before_an_edge_asks_is_offered_there() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, late) = (w.client(t.a), w.client(t.b));
    let source = w.publish(publisher, &track("video"), Known::default());
    w.put_group(source, 0, 1);
    watch_tracks(&mut w, late, "live", None);
    let (request, _, _) = offered(&mut w, late).remove(0);
    w.c(late).protocol.accept(request, RequestOk::default());
    w.put_group(source, 1, 1);
    assert_eq!(w.locations(late, request).last(), Some(&(1, 0)));
}

#[test]
fn a_track_that_ended_in_any_way_is_offered_no_more() {
    let mut w = World::new();
    let t = tree(&mut w);
    let publisher = w.client(t.a);
    let source = w.publish(publisher, &track("video"), Known::default());
    w.put_group(source, 0, 1);
    w.done(source, sluice_moqt::error::DoneCode::MalformedTrack);
    w.pass(secs(25));
    let late = w.client(t.b);
    watch_tracks(&mut w, late, "live", None);
    assert_eq!(offered(&mut w, late).len(), 0);
    let request = w.subscribe(late, &track("video"), Params::default());
    assert_eq!(w.error(late, request), Some(RequestCode::DoesNotExist));
    for node in [t.origin, t.a, t.b] {
        w.pass(secs(11));
        assert_eq!(w.n(node).snapshot().tracks, 0);
    }
}

#[test]
fn a_silent_peer_is_suspect_and_gets_no_joins_until_it_is_clean() {
    let mut w = World::new();
    let t = tree(&mut w);
    let publisher = w.client(t.a);
    w.publish_namespace(publisher, "live/a");
    w.silence(t.b, t.origin);
    w.pass(secs(4));
    let incidents: Vec<Incident> = std::iter::from_fn(|| w.n(t.b).poll_incident()).collect();
    assert!(incidents.contains(&Incident::PeerSuspect("o1".parse().expect("legal"))), "{incidents:?}");
    assert!(w.n(t.b).snapshot().trunks[0].suspect);
    let viewer = w.client(t.b);
    let request = w.subscribe(viewer, &track("video"), Params::default());
    assert_eq!(w.error(viewer, request), Some(RequestCode::DoesNotExist));
    w.speak(t.b, t.origin);
    w.pass(ms(1_500));
    assert!(w.n(t.b).snapshot().trunks[0].suspect);
    w.pass(secs(2));
    assert!(!w.n(t.b).snapshot().trunks[0].suspect);
    let request = w.subscribe(viewer, &track("video"), Params::default());
    assert_eq!(w.error(viewer, request), None);
    assert_eq!(w.connections(t.b, t.origin), 2);
}

#[test]
fn a_rendezvous_survives_a_suspect_origin() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer) = (w.client(t.a), w.client(t.b));
    w.silence(t.b, t.origin);
    w.pass(secs(4));
    w.publish_namespace(publisher, "live/a");
    let params = Params { rendezvous_timeout: Some(secs(20)), ..Params::default() };
    let request = w.subscribe(viewer, &track("video"), params);
    w.speak(t.b, t.origin);
    w.pass(secs(5));
    w.accept(publisher, Known::default());
    assert!(w.subscribed(viewer, request).is_some());
}

#[test]
fn of_two_origins_the_one_that_heard_first_is_the_home() {
    let mut w = World::new();
    let (o1, o2) = (w.node(origin("o1", &["o2"])), w.node(origin("o2", &["o1"])));
    let a = w.node(edge("e1", &["o1", "o2"]));
    let b = w.node(edge("e2", &["o2", "o1"]));
    w.pass(secs(2));
    let (publisher, viewer) = (w.client(a), w.client(b));
    w.publish_namespace(publisher, "live/a");
    let request = w.subscribe(viewer, &track("video"), Params::default());
    // Both heard of it with the epoch of e1: the smaller name is the home, and alone asks the edge.
    let source = w.accept(publisher, Known::default());
    assert!(w.subscribed(viewer, request).is_some());
    w.put_group(source, 0, 2);
    assert_eq!(w.locations(viewer, request), [(0, 0), (0, 1)]);
    assert_eq!((w.n(o1).snapshot().upstreams, w.n(o2).snapshot().upstreams), (1, 1));
    let carried = |w: &mut World, node, peer: &str| {
        let trunks = w.n(node).snapshot().trunks;
        trunks.iter().find(|trunk| trunk.peer.as_str() == peer).expect("a peer").bytes.carried_total
    };
    assert!(carried(&mut w, a, "o1") > 0);
    assert_eq!(carried(&mut w, a, "o2"), 0);
    assert!(carried(&mut w, o1, "o2") > 0);
}

#[test]
fn a_configured_home_counts_more() {
    let mut w = World::new();
    let home = |mut config: sluice_node::Config| {
        config.homing.homes = vec![(ns("live"), "o2".parse().expect("legal"))];
        config
    };
    let (o1, o2) = (w.node(home(origin("o1", &["o2"]))), w.node(home(origin("o2", &["o1"]))));
    let (a, b) = (w.node(edge("e1", &["o1", "o2"])), w.node(edge("e2", &["o1"])));
    w.pass(secs(2));
    let (publisher, viewer) = (w.client(a), w.client(b));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0)]);
    // e2 asks o1, o1 asks the home o2, o2 asks e1.
    assert_eq!((w.n(o1).snapshot().upstreams, w.n(o2).snapshot().upstreams), (1, 1));
    assert_eq!(w.connections(o1, o2), 2);
}

#[test]
fn a_second_origin_takes_over_when_the_first_is_gone() {
    let mut w = World::new();
    let (o1, o2) = (w.node(origin("o1", &["o2"])), w.node(origin("o2", &["o1"])));
    let (a, b) = (w.node(edge("e1", &["o1", "o2"])), w.node(edge("e2", &["o1", "o2"])));
    w.pass(secs(2));
    let (publisher, viewer) = (w.client(a), w.client(b));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    for node in [a, b, o2] {
        w.cut(o1, node);
    }
    w.put_group(source, 1, 1);
    w.pass(secs(2));
    w.put_group(source, 2, 1);
    w.pass(secs(2));
    let mut got = w.locations(viewer, request);
    got.sort_unstable();
    assert_eq!(got, [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(w.ended(viewer, request), None);
}

#[test]
fn a_peer_without_a_certificate_or_with_our_own_name_is_refused() {
    let mut w = World::new();
    let t = tree(&mut w);
    let twin = w.node(edge("o1", &["e9"]));
    let _ = (t, twin);
    w.pass(secs(5));
    assert!(w.n(twin).snapshot().trunks.iter().all(|trunk| !trunk.media_up));
}
