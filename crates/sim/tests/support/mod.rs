//! Plans made by hand.

use sluice_moqt::Namespace;
use sluice_netem::model::{Direction, Span};
use sluice_sim::plan::{Demands, Kind, Link, Node, NodeId, Plan, Publisher, Relay, Role, Track, Viewer};
use std::time::Duration;

/// Of a [`Chain`].
pub(crate) const ORIGIN: NodeId = NodeId(0);

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An origin, edges around it, one publisher at the first edge, viewers at the others.
pub(crate) struct Chain {
    pub(crate) edges: u16,
    pub(crate) viewers: u16,
    pub(crate) track: Track,
    pub(crate) duration: Duration,
}

impl Default for Chain {
    fn default() -> Self {
        Self { edges: 2, viewers: 1, track: Track::video("video", 1_000_000, 25), duration: ms(10_000) }
    }
}

impl Chain {
    pub(crate) fn plan(&self) -> Plan {
        let mut plan = Plan {
            name: "chain".to_owned(),
            seed: 7,
            duration: self.duration,
            nodes: Vec::new(),
            links: Vec::new(),
            events: Vec::new(),
            demands: Demands::default(),
        };
        let relay = |role, origins| Kind::Relay(Relay { role, origins, peers: Vec::new(), config: String::new() });
        add(&mut plan, "origin", 0, relay(Role::Origin, vec![]));
        for edge in 0..self.edges {
            let id = add(&mut plan, &format!("edge-{edge}"), 0, relay(Role::Edge, vec![ORIGIN]));
            join(&mut plan, id, ORIGIN, 20);
        }
        let namespace = Namespace::from_path("live/a").expect("short");
        let publisher = Publisher { relay: NodeId(1), namespace, tracks: vec![self.track.clone()] };
        let of = add(&mut plan, "publisher", 200, Kind::Publisher(publisher));
        join(&mut plan, of, NodeId(1), 10);
        for viewer in 0..self.viewers {
            let relay = NodeId(1 + (viewer + 1) % self.edges);
            let kind = Kind::Viewer(Viewer { relay, of, reads: None });
            let id = add(&mut plan, &format!("viewer-{viewer}"), 1_000 + 20 * u64::from(viewer), kind);
            join(&mut plan, id, relay, 10);
        }
        plan
    }
}

fn add(plan: &mut Plan, name: &str, starts: u64, kind: Kind) -> NodeId {
    plan.nodes.push(Node { name: name.to_owned(), starts: Some(ms(starts)), kind });
    NodeId(u16::try_from(plan.nodes.len() - 1).expect("few"))
}

fn join(plan: &mut Plan, a: NodeId, b: NodeId, delay: u64) {
    let way = Direction::delayed(Span::from_millis(delay));
    let ways = [way.clone(), way];
    plan.links.push(Link { name: format!("{}-{}", a.0, b.0), between: [a, b], ways, programs: [None, None] });
}
