//! What a shard counts: plain integers, copied out as a whole.

/// Counters of one shard since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The loop itself.
    pub turn: TurnStats,
    /// Datagrams in and out.
    pub udp: UdpStats,
    /// Connection attempts by result.
    pub handshake: HandshakeStats,
    /// What was thrown away, by cause.
    pub drop: DropStats,
}

/// The loop's own work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnStats {
    /// Turns of the loop.
    pub turns: u64,
    /// Returns from waiting because something was ready, or a timer due.
    pub wakeups: u64,
    /// Visits to a connection: fed, selected, transmitted.
    pub visits: u64,
    /// Datagrams held back as probable ACKs and fed at a later visit.
    pub held: u64,
    /// Commands carried out.
    pub commands: u64,
}

/// Datagrams of all ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpStats {
    /// Payload bytes sent.
    pub tx_bytes: u64,
    /// Datagrams sent.
    pub tx_datagrams: u64,
    /// Send calls; `tx_datagrams / tx_batches` is the mean GSO batch.
    pub tx_batches: u64,
    /// Payload bytes received.
    pub rx_bytes: u64,
    /// Datagrams received.
    pub rx_datagrams: u64,
    /// Receive calls that brought something.
    pub rx_batches: u64,
    /// Sends that the kernel put off.
    pub tx_blocked: u64,
}

/// Connection attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeStats {
    /// First packets admitted.
    pub admitted: u64,
    /// First packets answered with Retry.
    pub retried: u64,
    /// First packets answered with CONNECTION_REFUSED.
    pub refused: u64,
    /// First packets dropped without an answer.
    pub ignored: u64,
    /// Handshakes completed, either side.
    pub completed: u64,
    /// Handshakes that failed or ran out of time, either side.
    pub failed: u64,
    /// Of those failed: peers that dialled a trunk port, where TLS refused one side, for its certificate mostly.
    pub peers_refused: u64,
    /// Connections dialled.
    pub dialled: u64,
}

/// Things thrown away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropStats {
    /// Batches lost to a send error other than "message too long".
    pub send_error: u64,
    /// Receive calls that failed for another reason than an empty socket.
    pub receive_error: u64,
    /// Datagrams longer than the interface takes; expected from path MTU probes.
    pub too_long: u64,
    /// Datagrams of another shard whose ring was full.
    pub foreign_full: u64,
    /// Effects that named a connection no longer there.
    pub stale_effect: u64,
}
