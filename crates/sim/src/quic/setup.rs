//! From a plan's node to a shard on the virtual network: the ports that the daemon or our client would open.

use super::WorldError;
use super::certs::Authority;
use super::engine::Engine;
use super::net::HostId;
use super::process::Process;
use crate::actor::{Actor, Birth};
use crate::plan::{Kind, NodeId, Plan};
use sluice_net::tls::ClientTls;
use sluice_net::{Clock, NodeKey, PortConfig, Rng, Shard, ShardConfig, TransportProfile};
use sluice_node::USER_ALPN;
use sluice_relay::daemon::Credentials;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The port that clients send from.
const CLIENT_PORT: u16 = 40_000;

/// What a node's processes are made from, over all their lives.
#[derive(Debug)]
pub(super) enum Parts {
    Relay(sluice_relay::daemon::Parts),
    Client(Box<ClientTls>, NodeKey),
}

impl Parts {
    pub(super) fn new(
        plan: &Plan,
        id: NodeId,
        authority: &mut Authority,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, WorldError> {
        let node = plan.node(id);
        let node_key = node_key(plan, id);
        Ok(match &node.kind {
            Kind::Relay(_) => {
                let user = authority.address(id.ip())?;
                let trunk = Some((authority.pop(&node.name)?, authority.roots()?));
                Self::Relay(sluice_relay::daemon::Parts::new(1, &Credentials { node_key, user, trunk }, clock)?)
            }
            Kind::Publisher(_) | Kind::Viewer(_) => {
                let tls = ClientTls::verified(&authority.roots()?, USER_ALPN, Arc::clone(clock))?;
                Self::Client(Box::new(tls), node_key)
            }
        })
    }
}

fn node_key(plan: &Plan, id: NodeId) -> NodeKey {
    let mut key = [0; 32];
    Rng::from_seed(seed(plan, id, 0)).fill(&mut key);
    NodeKey::from_bytes(key)
}

/// A seed of its own for each process: connection ids of two lives must differ.
fn seed(plan: &Plan, id: NodeId, life: u32) -> u64 {
    plan.seed ^ (u64::from(id.0) + 1) << 44 ^ u64::from(life) << 32
}

/// Starts the process of a node for the `life`th time, counted from 0.
///
/// # Errors
/// The plan contradicts itself.
pub(super) fn start(
    engine: &mut Engine<Process>,
    plan: &Plan,
    (id, parts): (NodeId, &Parts),
    life: u32,
) -> Result<(), WorldError> {
    let host = HostId(id.index());
    let clock: Arc<dyn Clock> = Arc::new(engine.clock(host).clone());
    let app = Process(Actor::start(plan, id, Birth { now: clock.now(), wall: clock.unix_time(), life })?);
    let (config, ports) = match parts {
        Parts::Relay(parts) => {
            let user = engine.net().bind(host, id.user_addr());
            let trunk = engine.net().bind(host, id.trunk_addr());
            (parts.shard(0), parts.ports(user, Some(trunk)))
        }
        Parts::Client(tls, node_key) => {
            let socket = engine.net().bind(host, client_addr(id));
            // As `client-probe` sets it.
            let profile = TransportProfile {
                keep_alive: Some(Duration::from_secs(1)),
                idle_timeout: Duration::from_secs(10),
                ..TransportProfile::client()
            };
            let port = PortConfig::client(socket, tls.as_ref().clone(), profile);
            (ShardConfig::single(node_key.clone()), vec![port])
        }
    };
    let config = ShardConfig { seed: Some(seed(plan, id, life + 1)), ..config };
    engine.start(host, Shard::new(config, ports, clock, app)?);
    Ok(())
}

/// Where a client sends from.
pub(super) const fn client_addr(id: NodeId) -> SocketAddr {
    SocketAddr::new(id.ip(), CLIENT_PORT)
}
