//! Several origins that do not all know the same: who is asked, and what is believed (decisions 4, 5).

use crate::actors::{ms, ns, secs, track};
use crate::discovery::{heard, watch};
use crate::world::{N, World, edge, origin};
use sluice_moqt::error::{RequestCode, ResetCode};
use sluice_moqt::message::Params;
use sluice_node::{Config, Origin};

fn with_home(mut config: Config, home: &str) -> Config {
    config.homing.homes = vec![(ns("live"), home.parse().expect("legal"))];
    config
}

/// An origin that asks other origins as an edge does.
fn reporting(pop: &str, origins: &[&str]) -> Config {
    let mut config = origin(pop, origins);
    config.homing.origins = edge(pop, origins).homing.origins;
    config
}

#[test]
fn a_home_that_knows_of_no_publisher_does_not_hide_the_one_that_is_attached() {
    let mut w = World::new();
    w.node(with_home(origin("o1", &["o2"]), "o1"));
    w.node(with_home(origin("o2", &["o1"]), "o1"));
    let (a, b) = (w.node(edge("e1", &["o2"])), w.node(edge("e2", &["o2"])));
    w.pass(secs(2));
    let (publisher, viewer) = (w.client(a), w.client(b));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0)]);
}

#[test]
fn an_edge_asks_its_second_origin_for_what_the_first_does_not_have() {
    let mut w = World::new();
    let (_, o2) = (w.node(origin("o1", &[])), w.node(origin("o2", &[])));
    let (a, b) = (w.node(edge("e1", &["o2"])), w.node(edge("e2", &["o1", "o2"])));
    w.pass(secs(2));
    let (publisher, viewer) = (w.client(a), w.client(b));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0)]);
    // What nobody has is refused once everybody was asked.
    let nothing = w.subscribe(viewer, &track("nothing"), Params::default());
    assert_eq!(w.all_asked(publisher).len(), 1);
    w.pass(secs(11));
    assert_eq!(w.error(viewer, nothing), Some(RequestCode::Timeout));
    w.cut(a, o2);
    w.pass(secs(12));
    let gone = w.subscribe(viewer, &track("gone"), Params::default());
    assert_eq!(w.error(viewer, gone), Some(RequestCode::DoesNotExist));
}

#[test]
fn an_origin_that_stops_watching_is_told_what_it_will_not_hear_of() {
    let mut w = World::new();
    w.node(origin("o1", &["o2"]));
    w.node(origin("o2", &["o1"]));
    let o3 = w.node(reporting("o3", &["o1"]));
    let a = w.node(edge("e1", &["o2"]));
    w.pass(secs(2));
    let (publisher, viewer) = (w.client(a), w.client(o3));
    let request = w.publish_namespace(publisher, "live/a");
    assert_eq!(w.n(o3).snapshot().namespaces, 0);
    let watching = watch(&mut w, viewer, "live");
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    w.c(viewer).protocol.cancel(watching, ResetCode::Cancelled);
    w.run();
    w.c(publisher).protocol.cancel(request, ResetCode::Cancelled);
    w.run();
    assert_eq!(w.n(o3).snapshot().namespaces, 0);
}

#[test]
fn a_publisher_that_is_known_two_ways_is_not_gone_with_one_of_them() {
    let mut w = World::new();
    let (o1, _) = (w.node(origin("o1", &["o2"])), w.node(origin("o2", &["o1"])));
    let (a, b) = (w.node(edge("e1", &["o1", "o2"])), w.node(edge("e2", &["o1"])));
    w.pass(secs(2));
    let (publisher, viewer) = (w.client(a), w.client(b));
    watch(&mut w, viewer, "live");
    w.publish_namespace(publisher, "live/a");
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    w.cut(a, o1);
    w.pass(secs(12));
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    w.close(publisher);
    w.pass(ms(100));
    assert_eq!(heard(&mut w, viewer), [(true, ns("a")), (false, ns("a"))]);
}

#[test]
fn origins_that_all_watch_do_not_keep_a_withdrawn_publisher_alive_among_them() {
    let mut w = World::new();
    let names = ["o1", "o2", "o3", "o4"];
    let origins = names.map(|pop| {
        let others: Vec<&str> = names.into_iter().filter(|other| *other != pop).collect();
        w.node(reporting(pop, &others))
    });
    let a = w.node(edge("e1", &["o4"]));
    w.pass(secs(2));
    let publisher = w.client(a);
    let viewers = origins.map(|origin| w.client(origin));
    for viewer in viewers {
        watch(&mut w, viewer, "live");
    }
    w.publish_namespace(publisher, "live/a");
    for viewer in viewers {
        assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    }
    w.close(publisher);
    w.pass(ms(100));
    for viewer in viewers {
        assert_eq!(heard(&mut w, viewer), [(true, ns("a")), (false, ns("a"))]);
    }
}

/// Peers that a node has its only track from.
fn parents(w: &mut World, node: N) -> Vec<String> {
    let audit = w.n(node).audit();
    let sources = audit.tracks.iter().flat_map(|track| &track.sources);
    let peer = |from: &Origin| match from {
        Origin::Peer(pop) => Some(pop.to_string()),
        Origin::Publisher | Origin::Local => None,
    };
    sources.filter_map(|source| peer(&source.from)).collect()
}

/// Two origins with a publisher at the second, and an edge below both that prefers the first.
#[test]
fn an_edge_that_found_another_parent_does_not_add_the_one_that_comes_back() {
    let mut w = World::new();
    let (o1, o2) = (w.node(origin("o1", &["o2"])), w.node(origin("o2", &["o1"])));
    let b = w.node(edge("e2", &["o1", "o2"]));
    w.pass(secs(2));
    let (publisher, viewer) = (w.client(o2), w.client(b));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    assert_eq!(parents(&mut w, b), ["o1"]);
    w.put_group(source, 0, 1);
    // The preferred parent is back before the other one has answered.
    w.pass(secs(1));
    w.silence(b, o2);
    w.cut(b, o1);
    w.pass(ms(1));
    assert_eq!(parents(&mut w, b), ["o2"]);
    w.mend(b, o1);
    w.pass(ms(130));
    assert_eq!(w.connections(b, o1), 2);
    w.speak(b, o2);
    w.put_group(source, 1, 1);
    w.pass(secs(2));
    w.put_group(source, 2, 1);
    assert_eq!(parents(&mut w, b), ["o2"]);
    let mut got = w.locations(viewer, request);
    got.sort_unstable();
    assert_eq!(got, [(0, 0), (1, 0), (2, 0)]);
}
