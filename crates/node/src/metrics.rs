//! Counters of one node. Plain numbers: the host reads a snapshot, nothing is looked up by name on the way.

use sluice_topology::PopId;
use std::time::Duration;

/// Counts since the node started, and gauges as of the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// User sessions that completed their handshake.
    pub sessions_total: u64,
    /// Requests received, of any kind.
    pub requests_total: u64,
    /// Requests answered with REQUEST_ERROR.
    pub requests_refused_total: u64,
    /// Sessions closed by us for a violation.
    pub sessions_violated_total: u64,
    /// A configured limit was hit.
    pub limits_hit_total: u64,
    /// Subscriptions sent to publishers and other PoPs, those included that were refused.
    pub upstream_subscribes_total: u64,
    /// Subscriptions sent to other shards of the process.
    pub shard_subscribes_total: u64,
    /// Upstream subscriptions lost and tried again.
    pub upstream_retries_total: u64,
    /// Tracks that another parent took over because theirs was silent or leaving.
    pub reroutes_total: u64,
    /// Tracks ended as malformed.
    pub tracks_malformed_total: u64,
    /// Media moved.
    pub media: MediaMetrics,
    /// What gave way to the memory cap.
    pub memory: MemoryMetrics,
}

/// What gave way when memory for media was short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryMetrics {
    /// Groups dropped before their time.
    pub groups_evicted_total: u64,
    /// Requests answered EXCESSIVE_LOAD.
    pub refused_total: u64,
    /// Sessions of viewers that were closed.
    pub shed_total: u64,
}

/// What happened to objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaMetrics {
    /// Payload and object header bytes appended to track logs.
    pub appended_bytes_total: u64,
    /// Objects completed in track logs.
    pub appended_objects_total: u64,
    /// Bytes handed to viewers' transports.
    pub viewer_bytes_total: u64,
    /// Objects handed to viewers' transports.
    pub viewer_objects_total: u64,
    /// Groups that viewers skipped because they were behind.
    pub groups_skipped_total: u64,
    /// Objects dropped at select because the reader was behind.
    pub dropped_behind_total: u64,
    /// Objects dropped because a delivery timeout passed.
    pub dropped_timeout_total: u64,
    /// Datagrams dropped because they exceed the leg's size.
    pub dropped_datagram_size_total: u64,
}

/// One trunk as seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "three independent facts, each a gauge of its own")]
pub struct TrunkMetrics {
    /// The peer.
    pub peer: PopId,
    /// Control connection established, and the peer has greeted on it.
    pub control_up: bool,
    /// Media connection established.
    pub media_up: bool,
    /// Silent too long.
    pub suspect: bool,
    /// Round trip now.
    pub rtt: Option<Duration>,
    /// What moved on it.
    pub bytes: LinkBytes,
    /// Packets declared lost on the media connection.
    pub lost_packets_total: u64,
}

impl TrunkMetrics {
    /// Adds what another shard of the relay says of the same peer.
    pub fn absorb(&mut self, other: &Self) {
        self.control_up |= other.control_up;
        self.media_up |= other.media_up;
        self.suspect |= other.suspect;
        self.rtt = self.rtt.max(other.rtt);
        self.lost_packets_total += other.lost_packets_total;
        let (ours, theirs) = (&mut self.bytes, other.bytes);
        ours.sent_total += theirs.sent_total;
        ours.carried_total += theirs.carried_total;
        ours.received_total += theirs.received_total;
        ours.udp_sent_total += theirs.udp_sent_total;
        ours.udp_received_total += theirs.udp_received_total;
    }
}

/// Bytes of one trunk. Copies on the link = `sent_total` / `carried_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkBytes {
    /// Media bytes handed to this trunk's transport for the first time.
    pub sent_total: u64,
    /// Bytes appended here to tracks while this trunk carried them, once per track.
    pub carried_total: u64,
    /// Media bytes received.
    pub received_total: u64,
    /// UDP payload bytes sent on the media connection.
    pub udp_sent_total: u64,
    /// UDP payload bytes received on the media connection.
    pub udp_received_total: u64,
}

/// One live track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackStatus {
    /// Which.
    pub name: sluice_moqt::TrackName,
    /// Subscriptions and fetches of users.
    pub viewers: usize,
    /// Largest location.
    pub largest: Option<sluice_moqt::Location>,
    /// Bytes held.
    pub log_bytes: usize,
}

/// A snapshot for the admin side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Counters.
    pub metrics: Metrics,
    /// User sessions now.
    pub sessions: usize,
    /// Tracks now.
    pub tracks: usize,
    /// Tracks known now, those included that have no source.
    pub known_tracks: usize,
    /// Namespaces and single tracks offered now, here or by peers.
    pub namespaces: usize,
    /// Requests that wait for a verdict now.
    pub held_requests: usize,
    /// Subscriptions of users now.
    pub viewers: usize,
    /// Subscriptions sent upstream now.
    pub upstreams: usize,
    /// Bytes held by track logs now.
    pub log_bytes: usize,
    /// Bytes that logs have dropped and transports hold, at the last look.
    pub retained_bytes: usize,
    /// What both together may be.
    pub memory_cap_bytes: usize,
    /// Trunks, ordered by peer.
    pub trunks: Vec<TrunkMetrics>,
}
