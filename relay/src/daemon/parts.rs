//! What a relay's shards are made from, whatever their sockets and clock are: the daemon's over UDP, the simulator's
//! over links in memory.

use super::StartError;
use crate::config::{Config, IngestMode, Peer, Publishers, Role, Trunk};
use sluice_net::tls::{ClientTls, Identity, Roots, ServerTls, TlsError};
use sluice_net::{Clock, NodeKey, PortConfig, ShardConfig, TransportProfile};
use sluice_node::{CONTROL_ALPN, Homing, Ingest, MEDIA_ALPN, PeerConfig, PublisherPolicy, USER_ALPN};
use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;

/// What proves who a relay is.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Root of connection ids and reset tokens.
    pub node_key: NodeKey,
    /// Shown to users.
    pub user: Identity,
    /// Shown to peers, and whom to trust among them; without trunks there is none.
    pub trunk: Option<(Identity, Roots)>,
}

/// Everything that the shards of one relay share.
#[derive(Debug)]
pub struct Parts {
    node_key: NodeKey,
    user: ServerTls,
    trunk: Option<TrunkTls>,
    shards: u8,
}

#[derive(Debug)]
struct TrunkTls {
    server: ServerTls,
    control: ClientTls,
    media: ClientTls,
}

impl TrunkTls {
    fn new((identity, roots): &(Identity, Roots), clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        Ok(Self {
            server: ServerTls::trunk(identity, roots, &[CONTROL_ALPN, MEDIA_ALPN], Arc::clone(clock))?,
            control: ClientTls::trunk(identity, roots, CONTROL_ALPN, Arc::clone(clock))?,
            media: ClientTls::trunk(identity, roots, MEDIA_ALPN, Arc::clone(clock))?,
        })
    }
}

impl Parts {
    /// The parts of a relay with that many shards.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub fn new(shards: u8, credentials: &Credentials, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        Ok(Self {
            node_key: credentials.node_key.clone(),
            user: ServerTls::open(&credentials.user, &[USER_ALPN], Arc::clone(clock))?,
            trunk: credentials.trunk.as_ref().map(|trunk| TrunkTls::new(trunk, clock)).transpose()?,
            shards,
        })
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shards(&self) -> u8 {
        self.shards
    }

    /// The settings of shard `index`.
    #[must_use]
    pub fn shard(&self, index: u8) -> ShardConfig {
        ShardConfig { index, shards: self.shards, ..ShardConfig::single(self.node_key.clone()) }
    }

    /// The ports of a shard on these sockets: for users, and for peers where the relay has trunks.
    pub fn ports<S>(&self, user: S, trunk: Option<S>) -> Vec<PortConfig<S>> {
        let mut ports = vec![PortConfig::server(user, self.user.clone(), TransportProfile::viewer())];
        if let (Some(tls), Some(socket)) = (&self.trunk, trunk) {
            let port = PortConfig::server(socket, tls.server.clone(), TransportProfile::trunk())
                .with_client(tls.control.clone(), TransportProfile::trunk_control())
                .with_client(tls.media.clone(), TransportProfile::trunk());
            ports.push(port);
        }
        ports
    }
}

/// The settings of the node in one shard.
#[must_use]
pub fn node_config(
    config: &Config,
    place: sluice_node::Shard,
    peers: &[PeerConfig],
    clock: &dyn Clock,
) -> sluice_node::Config {
    let epoch = u64::try_from(clock.unix_time().as_millis()).unwrap_or(u64::MAX);
    sluice_node::Config {
        pop: config.pop.clone(),
        role: match config.role {
            Role::Edge => sluice_node::Role::Edge,
            Role::Origin => sluice_node::Role::Origin,
        },
        shard: place,
        peers: peers.iter().enumerate().map(|(at, peer)| dialled_here(place, at, peer)).collect(),
        homing: homing(config),
        limits: limits(config),
        track: track_limits(config),
        epoch,
        implementation: concat!("sluice/", env!("CARGO_PKG_VERSION")).to_owned(),
        scope: None,
        authorize: false,
        seed: epoch,
    }
}

/// The peers of a configuration, their names resolved.
///
/// # Errors
/// A name has no address.
pub fn peer_configs(config: &Config) -> Result<Vec<PeerConfig>, StartError> {
    config.trunk.iter().flat_map(|trunk| trunk.peers.iter().map(|peer| resolve(trunk, peer))).collect()
}

fn resolve(trunk: &Trunk, peer: &Peer) -> Result<PeerConfig, StartError> {
    let fail = |source| StartError::Resolve { pop: peer.pop.clone(), addr: peer.addr.to_string(), source };
    let mut found = (peer.addr.host(), peer.addr.port()).to_socket_addrs().map_err(fail)?;
    let none = || fail(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    let addr = found.next().ok_or_else(none)?;
    let role = if trunk.origins.contains(&peer.pop) { sluice_node::Role::Origin } else { sluice_node::Role::Edge };
    Ok(PeerConfig { pop: peer.pop.clone(), addr: Some(addr), role })
}

/// One shard dials a peer, so that one trunk leads to it; the others ask through that shard.
fn dialled_here(place: sluice_node::Shard, at: usize, peer: &PeerConfig) -> PeerConfig {
    let here = at % usize::from(place.count) == usize::from(place.index);
    PeerConfig { addr: peer.addr.filter(|_| here), ..peer.clone() }
}

fn homing(config: &Config) -> Homing {
    Homing {
        origins: config.trunk.as_ref().map(|t| t.origins.clone()).unwrap_or_default(),
        homes: config.homes.as_slice().iter().map(|h| (h.prefix.clone(), h.origin.clone())).collect(),
        ingest: match config.ingest.mode {
            IngestMode::Always => Ingest::Always,
            IngestMode::OnDemand => Ingest::OnDemand,
        },
        publishers: match config.ingest.publishers {
            Publishers::Merge => PublisherPolicy::Merge,
            Publishers::Newest => PublisherPolicy::Newest,
            Publishers::Refuse => PublisherPolicy::Refuse,
        },
    }
}

fn limits(config: &Config) -> sluice_node::Limits {
    let limits = config.limits;
    sluice_node::Limits {
        max_sessions: count(limits.sessions),
        max_requests_per_session: count(limits.requests_per_session),
        max_lag_groups: limits.viewer_max_lag_groups,
        max_lag_age: limits.delivery_timeout,
        memory_bytes: count(limits.memory_bytes / config.shards.get().max(1)),
        ..sluice_node::Limits::default()
    }
}

fn track_limits(config: &Config) -> sluice_track::Limits {
    let limits = config.limits;
    sluice_track::Limits {
        bytes: count(limits.window_bytes),
        groups: count(limits.window_groups),
        window: Some(limits.window_age),
        ..sluice_track::Limits::default()
    }
}

fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
