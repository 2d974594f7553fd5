//! From a checked configuration to running shards.

use super::files;
use super::fleet::Fleet;
use super::host::{Command, Host};
use super::parts::{Credentials, Parts, node_config, peer_configs};
use crate::admin::{self, Publisher};
use crate::ca::CaError;
use crate::config::{Config, Role};
use sluice_net::supervise::Ending;
use sluice_net::task::Thread;
use sluice_net::tls::TlsError;
use sluice_net::{Clock, SendError, Shard, ShardError, UdpSocket, supervise};
use sluice_node::{Node, PeerConfig};
use sluice_topology::PopId;
use std::io;
use std::net::SocketAddr;
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
    fleet: Fleet,
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
        let mut plan = Plan::new(config.clone(), clock)?;
        let shards = plan.parts.shards();
        let now = Arc::clone(clock);
        let (state, publishers) = admin::State::new(identity, usize::from(shards), move || now.now());
        let mut addresses = None;
        let mut started = Vec::new();
        for (index, publisher) in (0..shards).zip(publishers) {
            let (shard, bound) = plan.shard(index)?;
            let first = *addresses.get_or_insert(bound);
            // The other shards share what port 0 became for the first.
            plan.listen = first;
            started.push((shard, publisher));
        }
        let handles = started.iter().map(|(shard, _)| shard.handle()).collect();
        let fleet = Fleet::new(config.pop.clone(), handles).map_err(StartError::Join)?;
        let plan = Arc::new(plan);
        let mut threads = Vec::new();
        for (index, (shard, publisher)) in (0..shards).zip(started) {
            let keeper =
                Keeper { index, plan: Arc::clone(&plan), fleet: fleet.clone(), publisher, state: state.clone() };
            let body = move || keeper.keep(shard);
            threads.push(Thread::spawn(&format!("shard-{index}"), body).map_err(StartError::Thread)?);
        }
        let addresses = addresses.unwrap_or(Addresses { user: config.listen.addr, trunk: None });
        Ok(Self { fleet, threads, state, addresses })
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
        self.fleet.first().send(command)
    }

    /// The shards, for sources that live on threads of their own.
    #[must_use]
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Asks users to leave and ends when they have, or after `grace`.
    pub fn stop(mut self, grace: Duration) {
        for shard in self.fleet.close() {
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
        for shard in self.fleet.close() {
            let _ = shard.stop(Duration::ZERO);
        }
    }
}

/// Looks after one shard on its thread.
struct Keeper {
    index: u8,
    plan: Arc<Plan>,
    fleet: Fleet,
    publisher: Publisher,
    state: admin::State,
}

impl Keeper {
    /// The body of a shard's thread: runs `shard`, and a fresh one in its place after a panic.
    fn keep(self, shard: Shard<UdpSocket, Host>) {
        let clock = Arc::clone(&self.plan.clock);
        let mut first = Some(shard);
        let start = |panics: usize| match first.take() {
            Some(shard) => Ok(self.introduce(shard)),
            None => {
                self.state.count_panic();
                let (shard, _) = self.plan.shard(self.index)?;
                let shard = self.introduce(shard);
                self.fleet.replace(self.index, shard.handle()).map_err(StartError::Join)?;
                tracing::warn!(shard = self.index, panics, "a shard was started again; its sessions are lost");
                Ok(shard)
            }
        };
        let ended: Result<(), Ending<StartError>> =
            supervise(&*clock, start, |shard| drive(shard, &self.publisher, &*clock));
        if let Err(error) = ended {
            if matches!(error, Ending::GaveUp) {
                self.state.count_panic();
            }
            tracing::error!(shard = self.index, %error, "a shard ends for good");
            self.fleet.close();
        }
    }

    fn introduce(&self, mut shard: Shard<UdpSocket, Host>) -> Shard<UdpSocket, Host> {
        let mut siblings = self.fleet.handles();
        if let Some(own) = siblings.get_mut(usize::from(self.index)) {
            *own = shard.handle();
        }
        shard.set_siblings(siblings);
        shard
    }
}

/// Turns a shard until it is stopped, and publishes what it counts in between.
fn drive(shard: &mut Shard<UdpSocket, Host>, publisher: &Publisher, clock: &dyn Clock) -> io::Result<()> {
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
        shard.turn(next.saturating_duration_since(now))?;
    }
    Ok(())
}

/// Everything that the daemon's shards are made from.
struct Plan {
    config: Config,
    clock: Arc<dyn Clock>,
    parts: Parts,
    peers: Vec<PeerConfig>,
    listen: Addresses,
}

impl Plan {
    fn new(config: Config, clock: &Arc<dyn Clock>) -> Result<Self, StartError> {
        let now = std::time::UNIX_EPOCH + clock.unix_time();
        let credentials = Credentials {
            user: files::user_identity(&config, now)?,
            trunk: config.trunk.as_ref().map(|trunk| files::trunk_identity(trunk, &config)).transpose()?,
            node_key: files::node_key(&config.state_dir)?,
        };
        let shards = u8::try_from(config.shards.get()).unwrap_or(u8::MAX);
        let parts = Parts::new(shards, &credentials, clock)?;
        let listen = Addresses { user: config.listen.addr, trunk: config.trunk.as_ref().map(|t| t.addr) };
        let peers = peer_configs(&config)?;
        let plan = Self { config, clock: Arc::clone(clock), parts, peers, listen };
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
        let trunk = self.listen.trunk.map(|addr| bind(addr, "trunk.addr")).transpose()?;
        let ports = self.parts.ports(user, trunk);
        let place = sluice_node::Shard { index, count: self.parts.shards() };
        let node = node_config(&self.config, place, &self.peers, self.clock.as_ref());
        let node = Node::new(self.clock.now(), node);
        let shard = Shard::new(self.parts.shard(index), ports, Arc::clone(&self.clock), Host::new(node))?;
        let mut addrs = shard.local_addrs().into_iter();
        let user = addrs.next().unwrap_or(self.listen.user);
        Ok((shard, Addresses { user, trunk: addrs.next() }))
    }
}

fn bind(addr: SocketAddr, key: &'static str) -> Result<UdpSocket, StartError> {
    let (socket, warnings) = UdpSocket::bind(addr).map_err(|source| StartError::Bind { addr, key, source })?;
    for warning in warnings {
        tracing::warn!(%addr, "{warning}");
    }
    Ok(socket)
}
