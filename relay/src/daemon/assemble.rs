//! From a checked configuration to running shards.

use super::files;
use super::host::{Command, Host};
use crate::admin::{self, Publisher};
use crate::ca::CaError;
use crate::config::{Config, IngestMode, Peer, Publishers, Role, Trunk};
use sluice_net::task::Thread;
use sluice_net::tls::{ClientTls, ServerTls, TlsError};
use sluice_net::{
    Clock, NodeKey, PortConfig, SendError, Shard, ShardConfig, ShardError, ShardHandle, TransportProfile, UdpSocket,
};
use sluice_node::{CONTROL_ALPN, Homing, Ingest, MEDIA_ALPN, Node, PeerConfig, PublisherPolicy, USER_ALPN};
use sluice_topology::PopId;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often shards publish what the admin side shows.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A file of the configuration cannot be read.
    #[error("cannot read {path} ({key}): {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The key that names it.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("cannot use {path}: {source}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TlsError,
    },
    /// The trunk certificate belongs to another PoP.
    #[error("{path} is the certificate of {named:?}, this PoP is {pop}: run `sluice ca issue {pop}`", path = path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The name in it.
        named: String,
        /// Our name.
        pop: PopId,
    },
    /// The node key cannot be read or made.
    #[error("cannot use {path}: {source}", path = path.display())]
    NodeKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Development certificates cannot be made.
    #[error(transparent)]
    Development(#[from] CaError),
    /// A name of a peer does not resolve.
    #[error("cannot resolve {addr} of peer {pop}: {source}")]
    Resolve {
        /// The peer.
        pop: PopId,
        /// Its address as configured.
        addr: String,
        /// Why.
        source: io::Error,
    },
    /// A port is taken or not ours.
    #[error("cannot listen on UDP {addr} ({key}): {source}; choose another address")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The key that names it.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A shard cannot be set up.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Shards cannot be joined.
    #[error("cannot join the shards: {0}")]
    Join(SendError),
    /// No thread to be had.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Where a relay listens, with the ports that port 0 became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Users.
    pub user: SocketAddr,
    /// Trunk peers.
    pub trunk: Option<SocketAddr>,
}

/// A running relay. Dropping it stops it at once.
#[derive(Debug)]
pub struct Daemon {
    shards: Vec<ShardHandle<Command>>,
    threads: Vec<Thread>,
    state: admin::State,
    addresses: Addresses,
}

impl Daemon {
    /// Starts the shards of `config`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, StartError> {
        let identity = admin::Identity {
            pop: config.pop.clone(),
            role: match config.role {
                Role::Edge => "edge",
                Role::Origin => "origin",
            },
            drain_grace: config.drain_grace,
        };
        let shards = config.shards.get();
        let now = Arc::clone(clock);
        let (state, publishers) = admin::State::new(identity, usize::from(u8_of(shards)), move || now.now());
        let mut plan = Plan::new(config, clock)?;
        let mut addresses = None;
        let mut started = Vec::new();
        for (index, publisher) in (0..u8_of(shards)).zip(publishers) {
            let (shard, bound) = plan.shard(index)?;
            let first = *addresses.get_or_insert(bound);
            // The other shards share what port 0 became for the first.
            plan.listen = first;
            started.push((shard, publisher));
        }
        let handles: Vec<ShardHandle<Command>> = started.iter().map(|(shard, _)| shard.handle()).collect();
        join_shards(&config.pop, &handles)?;
        let mut threads = Vec::new();
        for (index, (mut shard, publisher)) in started.into_iter().enumerate() {
            shard.set_siblings(handles.clone());
            let clock = Arc::clone(clock);
            let name = format!("shard-{index}");
            let body = move || drive(&mut shard, &publisher, &*clock);
            threads.push(Thread::spawn(&name, body).map_err(StartError::Thread)?);
        }
        let addresses = addresses.unwrap_or(Addresses { user: config.listen.addr, trunk: None });
        Ok(Self { shards: handles, threads, state, addresses })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What the admin side shows.
    #[must_use]
    pub const fn state(&self) -> &admin::State {
        &self.state
    }

    /// Sends a command to the first shard.
    ///
    /// # Errors
    /// The shard is behind, or gone.
    pub fn send(&self, command: Command) -> Result<(), SendError> {
        self.handle().send(command)
    }

    /// The first shard, for sources that live on threads of their own.
    #[must_use]
    pub fn handle(&self) -> &ShardHandle<Command> {
        self.shards.first().expect("the type of `shards` in the configuration starts at 1")
    }

    /// Asks users to leave and ends when they have, or after `grace`.
    pub fn stop(mut self, grace: Duration) {
        for shard in &self.shards {
            // A shard that cannot hear has ended or is stuck; its thread is joined either way.
            let _ = shard.send(Command::Drain(grace));
            let _ = shard.stop(grace);
        }
        self.threads.drain(..).for_each(Thread::join);
    }

    /// Whether a shard has ended on its own.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(Thread::is_finished)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for shard in &self.shards {
            let _ = shard.stop(Duration::ZERO);
        }
    }
}

/// Joins every pair of shards by the two legs of a trunk.
fn join_shards(pop: &PopId, handles: &[ShardHandle<Command>]) -> Result<(), StartError> {
    let name = |index: usize| pop.shard(u8::try_from(index).unwrap_or(u8::MAX));
    for (second, other) in handles.iter().enumerate() {
        for (first, handle) in handles.iter().enumerate().take(second) {
            let names = [name(first), name(second)];
            for alpn in [CONTROL_ALPN, MEDIA_ALPN] {
                handle.join(other, alpn, [names[0].as_str(), names[1].as_str()]).map_err(StartError::Join)?;
            }
        }
    }
    Ok(())
}

/// The body of a shard's thread.
fn drive(shard: &mut Shard<UdpSocket, Host>, publisher: &Publisher, clock: &dyn Clock) {
    let mut next = clock.now();
    while !shard.is_stopped() {
        let now = clock.now();
        if now >= next {
            next = now + PUBLISH_EVERY;
            shard.app().publish(now, shard.stats(), publisher);
        }
        if shard.app().is_drained() {
            // Trunks stand until the end; nobody is left whom they would serve.
            let _ = shard.handle().stop(Duration::ZERO);
        }
        if let Err(error) = shard.turn(next.saturating_duration_since(now)) {
            tracing::error!(%error, "a shard cannot wait for its sockets and ends");
            return;
        }
    }
}

/// Everything that shards are made from.
struct Plan<'a> {
    config: &'a Config,
    clock: &'a Arc<dyn Clock>,
    node_key: NodeKey,
    user: ServerTls,
    trunk: Option<TrunkTls>,
    peers: Vec<PeerConfig>,
    listen: Addresses,
}

struct TrunkTls {
    server: ServerTls,
    control: ClientTls,
    media: ClientTls,
}

impl<'a> Plan<'a> {
    fn new(config: &'a Config, clock: &'a Arc<dyn Clock>) -> Result<Self, StartError> {
        let now = std::time::UNIX_EPOCH + clock.unix_time();
        let user = ServerTls::open(&files::user_identity(config, now)?, &[USER_ALPN], Arc::clone(clock))?;
        let trunk = config.trunk.as_ref().map(|trunk| trunk_tls(trunk, config, clock)).transpose()?;
        let peers = config.trunk.iter().flat_map(|t| t.peers.iter().map(|p| peer(t, p))).collect::<Result<_, _>>()?;
        let listen = Addresses { user: config.listen.addr, trunk: config.trunk.as_ref().map(|t| t.addr) };
        let plan = Self { config, clock, node_key: files::node_key(&config.state_dir)?, user, trunk, peers, listen };
        plan.check_free(listen.user, "listen.addr")?;
        if let Some(addr) = listen.trunk {
            plan.check_free(addr, "trunk.addr")?;
        }
        Ok(plan)
    }

    /// Shards share their ports, which would let a second relay share them, too, and get half of the packets.
    #[expect(clippy::unused_self, reason = "belongs to the plan")]
    fn check_free(&self, addr: SocketAddr, key: &'static str) -> Result<(), StartError> {
        std::net::UdpSocket::bind(addr).map(drop).map_err(|source| StartError::Bind { addr, key, source })
    }

    fn shard(&self, index: u8) -> Result<(Shard<UdpSocket, Host>, Addresses), StartError> {
        let user = bind(self.listen.user, "listen.addr")?;
        let mut ports = vec![PortConfig::server(user, self.user.clone(), TransportProfile::viewer())];
        if let (Some(tls), Some(addr)) = (&self.trunk, self.listen.trunk) {
            let socket = bind(addr, "trunk.addr")?;
            let port = PortConfig::server(socket, tls.server.clone(), TransportProfile::trunk())
                .with_client(tls.control.clone(), TransportProfile::trunk_control())
                .with_client(tls.media.clone(), TransportProfile::trunk());
            ports.push(port);
        }
        let shards = u8_of(self.config.shards.get());
        let config = ShardConfig { index, shards, ..ShardConfig::single(self.node_key.clone()) };
        let place = sluice_node::Shard { index, count: shards };
        let node = Node::new(self.clock.now(), node_config(self.config, place, &self.peers, self.clock.as_ref()));
        let shard = Shard::new(config, ports, Arc::clone(self.clock), Host::new(node))?;
        let mut addrs = shard.local_addrs().into_iter();
        let user = addrs.next().unwrap_or(self.listen.user);
        Ok((shard, Addresses { user, trunk: addrs.next() }))
    }
}

fn u8_of(shards: u64) -> u8 {
    u8::try_from(shards).unwrap_or(u8::MAX)
}

fn bind(addr: SocketAddr, key: &'static str) -> Result<UdpSocket, StartError> {
    let (socket, warnings) = UdpSocket::bind(addr).map_err(|source| StartError::Bind { addr, key, source })?;
    for warning in warnings {
        tracing::warn!(%addr, "{warning}");
    }
    Ok(socket)
}

fn trunk_tls(trunk: &Trunk, config: &Config, clock: &Arc<dyn Clock>) -> Result<TrunkTls, StartError> {
    let (identity, roots) = files::trunk_identity(trunk, config)?;
    Ok(TrunkTls {
        server: ServerTls::trunk(&identity, &roots, &[CONTROL_ALPN, MEDIA_ALPN], Arc::clone(clock))?,
        control: ClientTls::trunk(&identity, &roots, CONTROL_ALPN, Arc::clone(clock))?,
        media: ClientTls::trunk(&identity, &roots, MEDIA_ALPN, Arc::clone(clock))?,
    })
}

fn peer(trunk: &Trunk, peer: &Peer) -> Result<PeerConfig, StartError> {
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

fn node_config(
    config: &Config,
    place: sluice_node::Shard,
    peers: &[PeerConfig],
    clock: &dyn Clock,
) -> sluice_node::Config {
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let limits = config.limits;
    let epoch = u64::try_from(clock.unix_time().as_millis()).unwrap_or(u64::MAX);
    sluice_node::Config {
        pop: config.pop.clone(),
        role: match config.role {
            Role::Edge => sluice_node::Role::Edge,
            Role::Origin => sluice_node::Role::Origin,
        },
        shard: place,
        peers: peers.iter().enumerate().map(|(at, peer)| dialled_here(place, at, peer)).collect(),
        homing: Homing {
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
        },
        limits: sluice_node::Limits {
            max_sessions: count(limits.sessions),
            max_requests_per_session: count(limits.requests_per_session),
            max_lag_groups: limits.viewer_max_lag_groups,
            ..sluice_node::Limits::default()
        },
        track: sluice_track::Limits {
            bytes: count(limits.window_bytes),
            groups: count(limits.window_groups),
            age: Some(limits.window_age),
            ..sluice_track::Limits::default()
        },
        epoch,
        implementation: concat!("sluice/", env!("CARGO_PKG_VERSION")).to_owned(),
        scope: None,
        authorize: false,
        seed: epoch,
    }
}
