//! A relay: the node that the daemon would make of the same configuration.

use super::{Birth, PlanError};
use crate::plan::{self, Kind, NodeId, Plan, Role};
use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use sluice_net::Clock;
use sluice_node::{Incident, Node, Shard};
use sluice_relay::Config;
use sluice_relay::daemon::{node_config, peer_configs};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// The process of a relay: one shard.
#[derive(Debug)]
pub struct Relay {
    node: Node,
    incidents: Vec<Incident>,
}

/// The clocks of a node as it starts.
#[derive(Debug)]
struct Start(Birth);

impl Clock for Start {
    fn now(&self) -> Instant {
        self.0.now
    }

    fn unix_time(&self) -> Duration {
        self.0.wall
    }
}

impl Relay {
    pub(super) fn start(plan: &Plan, id: NodeId, birth: Birth) -> Result<Self, PlanError> {
        let mut config = config(plan, id, birth)?;
        config.seed = super::seed_of(plan, id, birth);
        Ok(Self { node: Node::new(birth.now, config), incidents: Vec::new() })
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The node.
    pub const fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// What it would have logged since the last call.
    pub fn take_incidents(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.incidents)
    }
}

/// The configuration of a relay's node, made from the text that an operator would write.
///
/// # Errors
/// What the daemon would refuse.
pub fn config(plan: &Plan, id: NodeId, birth: Birth) -> Result<sluice_node::Config, PlanError> {
    let node = plan.node(id);
    let refuse = |problems: String| PlanError::Config { node: node.name.clone(), problems };
    let config = Config::from_toml(&text(plan, id)?).map_err(|problems| refuse(problems.to_string()))?;
    let peers = peer_configs(&config).map_err(|error| refuse(error.to_string()))?;
    Ok(node_config(&config, Shard::ONLY, &peers, &Start(birth)))
}

/// The configuration file of a relay.
fn text(plan: &Plan, id: NodeId) -> Result<String, PlanError> {
    let node = plan.node(id);
    let Kind::Relay(relay) = &node.kind else {
        return Err(PlanError::NotA { node: plan.name.clone(), what: "a relay", other: node.name.clone() });
    };
    let name = |peer: &NodeId| match &plan.node(*peer).kind {
        Kind::Relay(_) => Ok(plan.node(*peer).name.clone()),
        Kind::Publisher(_) | Kind::Viewer(_) => {
            Err(PlanError::NotA { node: node.name.clone(), what: "a relay", other: plan.node(*peer).name.clone() })
        }
    };
    let origins: Vec<String> = relay.origins.iter().map(name).collect::<Result<_, _>>()?;
    let role = match relay.role {
        Role::Edge => "edge",
        Role::Origin => "origin",
    };
    let mut text = format!(
        "pop = {:?}\nrole = {role:?}\n[listen]\naddr = \"{}\"\n[trunk]\naddr = \"{}\"\nca = \"ca.pem\"\n\
         cert = \"trunk.pem\"\nkey = \"trunk.key\"\norigins = {origins:?}\n",
        node.name,
        id.user_addr(),
        id.trunk_addr(),
    );
    for peer in relay.origins.iter().chain(&relay.peers) {
        // Writing to a string does not fail.
        let _ = write!(text, "[[peer]]\npop = {:?}\naddr = \"{}\"\n", name(peer)?, peer.trunk_addr());
    }
    text.push_str(&relay.config);
    Ok(text)
}

impl App for Relay {
    fn handle_connected(&mut self, now: Instant, session: SessionId, peer: Peer) {
        self.node.handle_connected(now, session, peer);
    }

    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason) {
        self.node.handle_dial_failed(now, token, reason);
    }

    fn handle_stream(&mut self, now: Instant, session: SessionId, stream: StreamId, event: StreamEvent) {
        self.node.handle_stream(now, session, stream, event);
    }

    fn handle_streams_available(&mut self, now: Instant, session: SessionId, dir: Dir) {
        self.node.handle_streams_available(now, session, dir);
    }

    fn handle_datagram(&mut self, now: Instant, session: SessionId, data: Bytes) {
        self.node.handle_datagram(now, session, data);
    }

    fn handle_closed(&mut self, now: Instant, session: SessionId, reason: CloseReason) {
        self.node.handle_closed(now, session, reason);
    }

    fn handle_stats(&mut self, now: Instant, session: SessionId, stats: PathStats) {
        self.node.handle_stats(now, session, stats);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
    }

    fn select(&mut self, now: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        self.node.select(now, session, sink);
    }

    fn poll_output(&mut self) -> Option<Output> {
        while let Some(incident) = self.node.poll_incident() {
            self.incidents.push(incident);
        }
        self.node.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.node.poll_timeout()
    }
}

/// Addresses of a relay as its peers know them.
#[must_use]
pub fn owner_of(addr: std::net::SocketAddr) -> Option<NodeId> {
    let known = matches!(addr.port(), plan::USER_PORT | plan::TRUNK_PORT);
    NodeId::of_ip(addr.ip()).filter(|_| known)
}
