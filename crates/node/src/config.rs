//! What a node is told at start; all of it checked before it gets here.

use sluice_moqt::Namespace;
use sluice_topology::PopId;
use sluice_track::Forwarding;
use std::net::SocketAddr;
use std::time::Duration;

/// Tier of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Terminates users, reports what they publish to its origins.
    Edge,
    /// Homes namespaces and keeps a window of their tracks.
    Origin,
    /// Another shard of this process; never a node's own tier.
    Sibling,
}

/// One shard of a process, and how many there are. Shards are joined like PoPs: each subscribes to a track at the
/// shard that owns it, and only the owner asks upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Below `count`.
    pub index: u8,
    /// At least 1.
    pub count: u8,
}

impl Shard {
    /// The only shard of a process.
    pub const ONLY: Self = Self { index: 0, count: 1 };
}

/// When an origin pulls a track that was announced to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ingest {
    /// At once; it keeps the window whether anybody watches or not.
    Always,
    /// When somebody asks.
    OnDemand,
}

/// What to do with a second live publisher of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublisherPolicy {
    /// Subscribe to both and de-duplicate (draft-18 8.3).
    Merge,
    /// The newest replaces the others.
    Newest,
    /// The first keeps it.
    Refuse,
}

/// A trunk peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its name; the certificate must carry it.
    pub pop: PopId,
    /// Where its trunk port is; `None`: it dials us.
    pub addr: Option<SocketAddr>,
    /// Tier of the peer as configured here: whether we report namespaces to it.
    pub role: Role,
}

/// Bounds of one node, and what bounds a viewer's wait. Each bound is counted in the metrics when hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of users.
    pub max_sessions: usize,
    /// Tracks known at a time.
    pub max_tracks: usize,
    /// Memory for media, in logs and in what transports hold of them.
    pub memory_bytes: usize,
    /// Subscriptions and fetches of one session.
    pub max_requests_per_session: usize,
    /// Namespaces published by one session.
    pub max_namespaces_per_session: usize,
    /// How long log and subscribers of a track outlive its last publisher, and an upstream its last reader.
    pub linger: Duration,
    /// Longest time that a subscriber may wait for a publisher (RENDEZVOUS_TIMEOUT is cut to it).
    pub max_rendezvous: Duration,
    /// How long an upstream may take to answer.
    pub upstream_timeout: Duration,
    /// Groups that a viewer may lag before it skips to the newest.
    pub max_lag_groups: u64,
    /// Age at which what a viewer has not taken makes it skip likewise, where neither publisher nor subscriber gives a
    /// delivery timeout.
    pub max_lag_age: Duration,
    /// When a viewer gets an object: whole costs least CPU, cut through saves the time that a frame takes to arrive.
    /// Trunks are always cut through.
    pub viewer_forwarding: Forwarding,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sessions: 20_000,
            max_tracks: 50_000,
            memory_bytes: 1 << 30,
            max_requests_per_session: 4_096,
            max_namespaces_per_session: 1_024,
            linger: Duration::from_secs(10),
            max_rendezvous: Duration::from_secs(60),
            upstream_timeout: Duration::from_secs(10),
            max_lag_groups: 1,
            max_lag_age: Duration::from_secs(10),
            viewer_forwarding: Forwarding::Whole,
        }
    }
}

/// The directory part: who reports what to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homing {
    /// Origins that this relay reports to and resolves at, in order of preference.
    pub origins: Vec<PopId>,
    /// Namespaces with a configured home, longest prefix wins.
    pub homes: Vec<(Namespace, PopId)>,
    /// Origins: when to pull.
    pub ingest: Ingest,
    /// Second publishers.
    pub publishers: PublisherPolicy,
}

/// Everything a node needs to know at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name.
    pub pop: PopId,
    /// Our tier.
    pub role: Role,
    /// Which part of the process this node is.
    pub shard: Shard,
    /// Trunk peers.
    pub peers: Vec<PeerConfig>,
    /// Directory rules.
    pub homing: Homing,
    /// Bounds.
    pub limits: Limits,
    /// Bounds of each track log.
    pub track: sluice_track::Limits,
    /// Unix milliseconds at start: the epoch of what is announced here, and the instance of this process.
    pub epoch: u64,
    /// Sent as MOQT_IMPLEMENTATION.
    pub implementation: String,
    /// The PATH served besides empty and `/` (draft-18 9.3.1.2).
    pub scope: Option<String>,
    /// Ask for a verdict on every request instead of allowing all.
    pub authorize: bool,
    /// Seed for retry jitter.
    pub seed: u64,
}
