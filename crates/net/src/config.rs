//! What a shard and its ports are made from.

use crate::incoming::Admission;
use crate::keys::NodeKey;
use crate::profile::TransportProfile;
use crate::tls::{ClientTls, ServerTls};
use std::time::Duration;

/// One shard's settings.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// This shard's number, below `shards`; part of every connection id that it issues.
    pub index: u8,
    /// Shards in the process.
    pub shards: u8,
    /// Root of reset, connection id and token keys; the same for all shards.
    pub node_key: NodeKey,
    /// Makes connection ids and transport randomness replay; `None` seeds from the operating system.
    pub seed: Option<u64>,
    /// Shortest time between turns of a busy loop, one wake-up for all that comes meanwhile; an idle one answers at once.
    pub tick: Duration,
    /// A handshake that takes longer is given up, and a dial with all its attempts.
    pub handshake_timeout: Duration,
    /// Budgets for new connections.
    pub admission: Admission,
    /// Commands and foreign datagrams that may wait.
    pub queue_capacity: usize,
}

impl ShardConfig {
    /// The only shard of a process, with measured defaults.
    #[must_use]
    pub fn single(node_key: NodeKey) -> Self {
        Self {
            index: 0,
            shards: 1,
            node_key,
            seed: None,
            tick: Duration::from_millis(4),
            handshake_timeout: Duration::from_secs(5),
            admission: Admission::default(),
            queue_capacity: 4096,
        }
    }
}

/// One UDP socket with a QUIC endpoint that may accept and dial.
#[derive(Debug)]
pub struct PortConfig<S> {
    /// The bound socket.
    pub socket: S,
    /// Accepts connections when set.
    pub server: Option<(ServerTls, TransportProfile)>,
    /// One per ALPN that this port dials.
    pub clients: Vec<(ClientTls, TransportProfile)>,
}

impl<S> PortConfig<S> {
    /// A port that only accepts.
    #[must_use]
    pub const fn server(socket: S, tls: ServerTls, profile: TransportProfile) -> Self {
        Self { socket, server: Some((tls, profile)), clients: Vec::new() }
    }

    /// A port that only dials, with one ALPN.
    #[must_use]
    pub fn client(socket: S, tls: ClientTls, profile: TransportProfile) -> Self {
        Self { socket, server: None, clients: vec![(tls, profile)] }
    }

    /// Lets the port dial one more ALPN.
    #[must_use]
    pub fn with_client(mut self, tls: ClientTls, profile: TransportProfile) -> Self {
        self.clients.push((tls, profile));
        self
    }
}
