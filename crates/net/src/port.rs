//! One UDP socket with its QUIC endpoint, which both accepts and dials.

use crate::batch::{Blocked, Sent};
use crate::cid::{CID_LEN, CidGenerator, CidReader};
use crate::clock::Clock;
use crate::config::{PortConfig, ShardConfig};
use crate::profile::{Race, Reordering, SendWindow, TransportProfile};
use crate::rng::Rng;
use crate::socket::Socket;
use crate::stats::Stats;
use crate::tls::Peers;
use quinn_proto::{ClientConfig, ConnectionHandle, ConnectionId};
use quinn_proto::{Endpoint, EndpointConfig, ServerConfig, TimeSource};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a connection inherits from the configuration that made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) send_window: SendWindow,
    pub(crate) ack_hold: Duration,
    pub(crate) reordering: Reordering,
    pub(crate) idle_timeout: Duration,
    pub(crate) race: Race,
    pub(crate) peers: Peers,
}

impl Leg {
    const fn new(profile: &TransportProfile, peers: Peers) -> Self {
        Self {
            send_window: profile.send_window,
            ack_hold: profile.ack_hold,
            reordering: profile.reordering,
            idle_timeout: profile.idle_timeout,
            race: profile.opening.race,
            peers,
        }
    }
}

struct Dialer {
    alpn: Vec<u8>,
    config: ClientConfig,
    leg: Leg,
}

pub(crate) struct Port<S> {
    pub(crate) socket: S,
    pub(crate) endpoint: Endpoint,
    /// Key of the connection behind each handle of the endpoint.
    keys: Vec<Option<u32>>,
    accepted: Option<Leg>,
    dialers: Vec<Dialer>,
    /// The socket may hold datagrams.
    pub(crate) readable: bool,
    /// A batch that the kernel put off; nothing else is sent before it.
    pub(crate) blocked: Option<Blocked>,
    /// Connections that wait for `blocked` to leave.
    pub(crate) stalled: Vec<u32>,
}

impl<S: fmt::Debug> fmt::Debug for Port<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl<S: Socket> Port<S> {
    pub(crate) fn new(config: PortConfig<S>, shard: &ShardConfig, cids: &CidReader, clock: &Arc<dyn Clock>) -> Self {
        let PortConfig { socket, server, clients } = config;
        // Ports of one shard share the seed but not the numbers drawn from it.
        let salt = u64::from(socket.local_addr().port());
        let mut rng = shard.seed.map_or_else(Rng::from_entropy, |seed| Rng::from_seed(seed ^ salt));
        let accepted = server.as_ref().map(|(tls, profile)| Leg::new(profile, tls.peers));
        let server = server.map(|(tls, profile)| {
            let mut config = ServerConfig::new(tls.quic(), Arc::new(shard.node_key.token_key()));
            config
                .transport_config(Arc::new(profile.transport_config()))
                .time_source(Arc::new(WallTime(clock.clone())));
            // First packets are judged at once, so nothing needs to be buffered for them.
            config.max_incoming(64).incoming_buffer_size(64 << 10).incoming_buffer_size_total(1 << 20);
            Arc::new(config)
        });
        let dialers = clients
            .into_iter()
            .map(|(tls, profile)| Dialer {
                alpn: tls.alpn().to_vec(),
                leg: Leg::new(&profile, tls.peers),
                config: client_config(tls.quic(), &profile, &mut rng),
            })
            .collect();
        let endpoint_config = endpoint_config(shard, cids, &mut rng);
        let endpoint = Endpoint::new(Arc::new(endpoint_config), server, !socket.may_fragment(), None);
        Self {
            socket,
            endpoint,
            keys: Vec::new(),
            accepted,
            dialers,
            readable: true,
            blocked: None,
            stalled: Vec::new(),
        }
    }

    /// The leg of connections that arrive here.
    pub(crate) const fn accepted(&self) -> Option<Leg> {
        self.accepted
    }

    /// How to dial `alpn` from here.
    pub(crate) fn dialer(&self, alpn: &[u8]) -> Option<(ClientConfig, Leg)> {
        let dialer = self.dialers.iter().find(|dialer| dialer.alpn == alpn)?;
        Some((dialer.config.clone(), dialer.leg))
    }

    /// `remote` in this socket's address family, if it can be reached at all.
    pub(crate) fn reachable(&self, remote: SocketAddr) -> Option<SocketAddr> {
        match (self.socket.local_addr().ip(), remote.ip()) {
            (IpAddr::V6(_), IpAddr::V4(v4)) => Some((v4.to_ipv6_mapped(), remote.port()).into()),
            (IpAddr::V4(_), IpAddr::V6(v6)) => v6.to_ipv4_mapped().map(|v4| (v4, remote.port()).into()),
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => Some(remote),
        }
    }

    pub(crate) fn key(&self, handle: ConnectionHandle) -> Option<u32> {
        self.keys.get(handle.0).copied().flatten()
    }

    pub(crate) fn set_key(&mut self, handle: ConnectionHandle, key: Option<u32>) {
        if handle.0 >= self.keys.len() {
            self.keys.resize(handle.0 + 1, None);
        }
        self.keys[handle.0] = key;
    }

    /// Sends what was put off; whether the port is free again.
    pub(crate) fn unblock(&mut self, stats: &mut Stats) -> bool {
        if let Some(blocked) = self.blocked.take()
            && blocked.retry(&mut self.socket, stats) == Sent::Blocked
        {
            self.blocked = Some(blocked);
            return false;
        }
        true
    }
}

fn endpoint_config(shard: &ShardConfig, cids: &CidReader, rng: &mut Rng) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(shard.node_key.reset_key()));
    let (reader, index, seed) = (cids.clone(), shard.index, rng.next_u64());
    let mut endpoint_seed = [0; 32];
    if shard.seed.is_some() {
        rng.fill(&mut endpoint_seed);
    } else {
        endpoint_seed = crate::keys::entropy();
    }
    config
        .cid_generator(move || Box::new(CidGenerator::new(reader.clone(), index, seed)))
        // The default of 20 ms per endpoint makes 500 viewers wait 10 s after a restart.
        .min_reset_interval(Duration::from_millis(1))
        .rng_seed(Some(endpoint_seed));
    config
}

fn client_config(
    tls: Arc<quinn_proto::crypto::rustls::QuicClientConfig>,
    profile: &TransportProfile,
    rng: &mut Rng,
) -> ClientConfig {
    let mut config = ClientConfig::new(tls);
    // The server's id before it has chosen one (RFC 9000 7.2): 8 bytes at least, from our own generator so that
    // a seed replays.
    let ids = Mutex::new(Rng::from_seed(rng.next_u64()));
    config.transport_config(Arc::new(profile.transport_config())).initial_dst_cid_provider(Arc::new(move || {
        let mut id = [0; CID_LEN];
        ids.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut id);
        ConnectionId::new(&id)
    }));
    config
}

/// Retry tokens carry wall time, which must stand still in the simulator.
struct WallTime(Arc<dyn Clock>);

impl TimeSource for WallTime {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.0.unix_time()
    }
}
