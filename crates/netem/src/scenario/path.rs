//! The undisturbed way of media through a scenario.

use super::{LinkId, NodeId, Role, Scenario};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The quickest way between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// Sum of the delays of its links.
    pub delay: Duration,
    /// Whom it passes, both ends included.
    pub nodes: Vec<NodeId>,
    /// Its links.
    pub links: Vec<LinkId>,
}

impl Scenario {
    /// The quickest way from one node to another under the conditions at the start; `None` where there is none.
    #[must_use]
    pub fn route(&self, from: NodeId, to: NodeId) -> Option<Route> {
        // How each node is reached: the delay so far, from whom, by which link.
        let mut known: BTreeMap<NodeId, (Duration, NodeId, LinkId)> = BTreeMap::new();
        let mut open = BTreeSet::from([(Duration::ZERO, from)]);
        while let Some((delay, node)) = open.pop_first() {
            if node == to {
                return Some(trace_back(&known, from, to, delay));
            }
            // Media passes relays only.
            if node != from && !self.node(node).role.is_relay() {
                continue;
            }
            for (id, link) in self.link_ids() {
                let Some(next) = link.other(node).filter(|next| *next != from) else { continue };
                let way = if link.between[0] == node { &link.ways.down } else { &link.ways.up };
                let delay = delay + way.delay.get();
                if known.get(&next).is_none_or(|(least, ..)| delay < *least) {
                    known.insert(next, (delay, node, id));
                    open.insert((delay, next));
                }
            }
        }
        None
    }

    /// The way from a publisher to viewers of its stream, and the time there and back.
    #[must_use]
    pub fn path(&self, viewers: NodeId) -> Option<(Route, Duration)> {
        let Role::Viewers(of) = self.node(viewers).role else { return None };
        let (there, back) = (self.route(of.watch, viewers)?, self.route(viewers, of.watch)?);
        let round_trip = there.delay + back.delay;
        Some((there, round_trip))
    }

    /// The relay that a client hangs on, and by which link.
    #[must_use]
    pub fn relay_of(&self, client: NodeId) -> Option<(NodeId, LinkId)> {
        self.link_ids().find_map(|(id, link)| Some((link.other(client)?, id)))
    }

    /// How many relays lie between each relay and the nearest origin; 0 for origins themselves.
    #[must_use]
    pub fn distances(&self) -> BTreeMap<NodeId, usize> {
        let origins = self.node_ids().filter(|(_, node)| matches!(node.role, Role::Origin)).map(|(id, _)| id);
        let mut known: BTreeMap<NodeId, usize> = origins.map(|id| (id, 0)).collect();
        let mut edge: Vec<NodeId> = known.keys().copied().collect();
        while !edge.is_empty() {
            let mut next = Vec::new();
            for node in edge {
                let distance = known.get(&node).copied().unwrap_or_default() + 1;
                let others = self.links.iter().filter_map(|link| link.other(node));
                let relays = others.filter(|other| self.node(*other).role.is_relay());
                let new: Vec<NodeId> = relays.filter(|other| !known.contains_key(other)).collect();
                known.extend(new.iter().map(|other| (*other, distance)));
                next.extend(new);
            }
            edge = next;
        }
        known
    }
}

fn trace_back(
    known: &BTreeMap<NodeId, (Duration, NodeId, LinkId)>,
    from: NodeId,
    to: NodeId,
    delay: Duration,
) -> Route {
    let mut route = Route { delay, nodes: vec![to], links: Vec::new() };
    let mut at = to;
    while let Some((_, before, link)) = known.get(&at).filter(|_| at != from) {
        route.links.push(*link);
        route.nodes.push(*before);
        at = *before;
    }
    route.nodes.reverse();
    route.links.reverse();
    route
}
