//! The world over real QUIC: that it works, that it repeats, and that faults are what they claim to be.

use super::World;
use crate::Stage as _;
use crate::actor::Actor;
use crate::plan::{
    Act, Demands, Event, Jump, Kind, Link, LinkId, Node, NodeId, Plan, Publisher, Relay, Role, Track, Viewer,
};
use sluice_moqt::Namespace;
use sluice_netem::model::{Capacity, Direction, Loss, Queue, Rate, Ratio, Span};
use std::time::Duration;

const ORIGIN: NodeId = NodeId(0);
const EDGES: [NodeId; 2] = [NodeId(1), NodeId(2)];
const PUBLISHER: NodeId = NodeId(3);

/// An origin, two edges, a publisher at the first, and viewers at both in turn. Links: trunks first, then the
/// publisher's, then one of each viewer.
fn plan(seed: u64, viewers: u16, seconds: u64) -> Plan {
    let relay = |role, origins: &[NodeId]| {
        Kind::Relay(Relay { role, origins: origins.to_vec(), peers: Vec::new(), config: String::new() })
    };
    let node = |name: String, kind| Node { name, starts: Some(Duration::ZERO), kind };
    let publisher = Kind::Publisher(Publisher {
        relay: EDGES[0],
        namespace: Namespace::from_path("live/a").unwrap(),
        tracks: vec![Track::video("video", 2_000_000, 25)],
    });
    let mut nodes = vec![
        node("origin".to_owned(), relay(Role::Origin, &[])),
        node("edge-a".to_owned(), relay(Role::Edge, &[ORIGIN])),
        node("edge-b".to_owned(), relay(Role::Edge, &[ORIGIN])),
        node("publisher".to_owned(), publisher),
    ];
    let mut links = vec![link(EDGES[0], ORIGIN, 25), link(EDGES[1], ORIGIN, 25), link(PUBLISHER, EDGES[0], 5)];
    for number in 0..viewers {
        let (id, relay) = (NodeId(4 + number), EDGES[usize::from(number) % 2]);
        nodes.push(node(format!("viewer-{number}"), Kind::Viewer(Viewer { relay, of: PUBLISHER, reads: None })));
        links.push(link(id, relay, 10));
    }
    let duration = Duration::from_secs(seconds);
    Plan { name: "test".to_owned(), seed, duration, nodes, links, events: Vec::new(), demands: Demands::default() }
}

fn link(a: NodeId, b: NodeId, millis: u64) -> Link {
    let way = Direction::delayed(Span::from_millis(millis)).with_loss(Loss::Random(Ratio::percent(1)));
    Link { name: format!("{}-{}", a.0, b.0), between: [a, b], ways: [way.clone(), way], programs: [None, None] }
}

fn at(millis: u64, act: Act) -> Event {
    Event { at: Duration::from_millis(millis), act }
}

fn run(plan: Plan) -> World {
    let end = plan.duration;
    let mut world = World::new(plan).unwrap();
    world.run_until(end);
    assert_eq!(world.watch().breach(), None);
    world
}

fn viewers(world: &World) -> Vec<NodeId> {
    let ids = world.plan().ids().filter(|(_, node)| matches!(node.kind, Kind::Viewer(_)));
    ids.map(|(id, _)| id).collect()
}

/// Objects that each viewer has got of its one track.
fn objects(world: &World) -> Vec<u64> {
    let of = |id: NodeId| {
        let figures = world.watch().deliveries(id).iter().map(|delivery| delivery.figures());
        figures.map(|figures| figures.objects + figures.fetched).sum()
    };
    viewers(world).into_iter().map(of).collect()
}

#[test]
fn every_viewer_gets_the_stream_of_a_publisher_at_another_edge() {
    let world = run(plan(1, 4, 5));
    for (viewer, objects) in objects(&world).into_iter().enumerate() {
        // 25 per second, but for the start: who comes before the publisher asks again after a second.
        assert!(objects > 65, "viewer {viewer} has {objects}");
    }
}

#[test]
fn a_seed_repeats_packet_for_packet() {
    let hash = |seed| {
        let mut plan = plan(seed, 2, 3);
        plan.events = vec![at(1_000, Act::Kill(EDGES[1])), at(1_200, Act::Start(EDGES[1]))];
        let world = run(plan);
        (world.trace().value(), world.trace().packets())
    };
    let first = hash(5);
    assert_eq!(first, hash(5));
    assert_eq!(first, hash(5));
    assert_ne!(first, hash(6));
}

#[test]
fn a_relay_that_comes_back_at_its_address_tells_its_peers_so() {
    let mut plan = plan(2, 2, 8);
    plan.events = vec![at(3_000, Act::Kill(EDGES[1])), at(3_300, Act::Start(EDGES[1]))];
    let mut world = World::new(plan).unwrap();
    world.run_until(Duration::from_millis(2_900));
    let before = objects(&world);
    world.run_until(Duration::from_millis(5_500));
    assert_eq!(world.watch().breach(), None);
    let after = objects(&world);
    // Without a stateless reset the viewer would wait for its idle timeout of 10 s.
    assert!(after[1] > before[1] + 25, "{before:?} {after:?}");
    assert!(after[0] > before[0] + 60, "{before:?} {after:?}");
}

#[test]
fn a_client_behind_a_nat_that_forgot_goes_on() {
    let mut plan = plan(3, 2, 5);
    let viewers = LinkId(3);
    plan.events = vec![at(2_000, Act::Rebind(viewers)), at(3_000, Act::Rebind(viewers))];
    let world = run(plan);
    let objects = objects(&world);
    assert!(objects[0] > 80, "{objects:?}");
    let Some(Actor::Relay(edge)) = world.actor(EDGES[0]) else { panic!("it lives") };
    // One of its own, one for the viewer: nobody has dialled again.
    assert_eq!(edge.node().snapshot().metrics.sessions_total, 2);
}

#[test]
fn a_stopped_relay_and_a_clock_that_jumps_lose_no_connection() {
    let mut plan = plan(4, 2, 8);
    plan.events = vec![
        at(2_000, Act::Clock(EDGES[1], Jump::Ahead(Duration::from_secs(3_600)))),
        at(3_000, Act::Stop(EDGES[1])),
        at(5_000, Act::Cont(EDGES[1])),
    ];
    let world = run(plan);
    let Some(Actor::Relay(edge)) = world.actor(EDGES[1]) else { panic!("it lives") };
    assert_eq!(edge.node().snapshot().metrics.sessions_total, 1);
    let newest = world.watch().deliveries(NodeId(5))[0].newest().unwrap();
    assert!(world.now() - newest < Duration::from_secs(1), "{newest:?}");
}

#[test]
fn a_viewer_on_a_path_with_three_fifths_of_the_stream_stays_near_the_live_edge() {
    let mut plan = plan(8, 1, 30);
    let Kind::Publisher(publisher) = &mut plan.nodes[PUBLISHER.index()].kind else { panic!("it publishes") };
    publisher.tracks = vec![Track::video("video", 200_000, 25)];
    let rate = Capacity::Rate(Rate::clamped(120_000));
    let slow = Direction::delayed(Span::from_millis(10)).with_bottleneck(rate, Queue::Time(Span::from_millis(500)));
    plan.links[3].ways = [slow.clone(), slow];
    let mut world = World::new(plan).unwrap();
    // The first window is larger than the path's queue.
    world.run_until(Duration::from_secs(12));
    for half in 24..60 {
        world.run_until(Duration::from_millis(500) * half);
        let newest = world.watch().deliveries(NodeId(4))[0].newest().unwrap();
        let behind = world.now() - newest;
        assert!(behind < Duration::from_secs(5), "{behind:?} at {:?}", world.now());
    }
    assert_eq!(world.watch().breach(), None);
    let figures = world.watch().deliveries(NodeId(4))[0].figures();
    assert!(figures.objects > 150 && figures.accepted == 1, "a fifth of 750: {figures:?}");
}

#[test]
fn nothing_passes_a_link_that_is_down() {
    let mut plan = plan(7, 1, 4);
    let viewer = LinkId(3);
    plan.events = vec![at(2_000, Act::Down(viewer)), at(3_000, Act::Up(viewer))];
    let mut world = World::new(plan).unwrap();
    world.run_until(Duration::from_millis(2_050));
    let [there, back] = world.counters(viewer);
    world.run_until(Duration::from_millis(2_990));
    assert_eq!(world.counters(viewer)[1].delivered, back.delivered);
    assert_eq!(world.counters(viewer)[0].delivered, there.delivered);
    assert!(!world.is_up(viewer));
    world.run_until(Duration::from_secs(4));
    assert!(world.is_up(viewer));
    assert!(world.counters(viewer)[1].delivered.packets > back.delivered.packets);
}
