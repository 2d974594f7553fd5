//! The line of `floor`, which every share is computed with.

use serde::{Deserialize, Serialize};

/// The floor at one number of viewers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FloorLine {
    pub(crate) case: String,
    pub(crate) viewers: usize,
    /// CPU time of the sending thread per gigabit of frame bytes, waking up included.
    pub(crate) cpu_s_per_gbit: f64,
    /// The same per packet.
    pub(crate) ns_per_packet: f64,
    /// Copy, seal and mask of one packet, alone.
    pub(crate) seal_ns: f64,
    /// One packet's share of a GSO send, alone.
    pub(crate) sendmsg_ns: f64,
    /// Bytes that reached the receivers.
    pub(crate) delivered_ratio: f64,
    /// Dearer than its parts by more than a tenth: count nothing against it.
    pub(crate) void: bool,
}
