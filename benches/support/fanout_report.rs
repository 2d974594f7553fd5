//! The lines of `fanout`.

use crate::support::protocol::{AckMode, Case, Shape};
use serde::Serialize;

/// One case at one number of viewers and one ACK mode; medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct FanoutLine {
    pub(crate) case: Case,
    pub(crate) viewers: usize,
    pub(crate) ack_mode: AckMode,
    #[serde(flatten)]
    pub(crate) shape: Shape,
    /// Part of the latencies that is the source's own.
    pub(crate) source_spread_ms: u32,
    #[serde(flatten)]
    pub(crate) cost: Cost,
    #[serde(flatten)]
    pub(crate) memory: Memory,
    #[serde(flatten)]
    pub(crate) service: Service,
    /// Rounds run.
    pub(crate) rounds: usize,
    /// Rounds in which delivery, latency and the load side's spare time are such that the CPU figure counts; the
    /// figures are made of those, where there are any.
    pub(crate) rounds_counted: usize,
    /// More than half of the rounds count.
    pub(crate) counts: bool,
    /// The floor or the baseline that the shares stand on is dearer than it may be.
    pub(crate) void: bool,
}

/// CPU seconds of the sender's process per gigabit of frames delivered, beside what it is compared with.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_s_per_gbit: f64,
    pub(crate) floor_cpu_s_per_gbit: f64,
    pub(crate) share_of_floor: f64,
    /// In the same ACK mode; null where the plan left it out.
    pub(crate) bare_cpu_s_per_gbit: Option<f64>,
    /// At one acknowledgement per frame; null where the plan left it out.
    pub(crate) quinn_cpu_s_per_gbit: Option<f64>,
    /// The same case with coalescing off; null where the plan left it out.
    pub(crate) uncoalesced_cpu_s_per_gbit: Option<f64>,
    /// The same case with one shard; null where the plan left it out.
    pub(crate) one_shard_cpu_s_per_gbit: Option<f64>,
    #[serde(flatten)]
    pub(crate) ratios: Ratios,
}

/// The case in units of another: the median over rounds of the ratio within the round; null where the plan left the
/// other out.
#[derive(Debug, Serialize)]
pub(crate) struct Ratios {
    pub(crate) to_bare: Option<f64>,
    pub(crate) to_quinn: Option<f64>,
    pub(crate) to_uncoalesced: Option<f64>,
    pub(crate) to_one_shard: Option<f64>,
}

/// Resident memory per viewer; null where the plan left it out.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss_per_viewer_kib: Option<f64>,
    pub(crate) idle_rss_per_viewer_kib: Option<f64>,
}

/// What viewers got, and how.
#[derive(Debug, Serialize)]
pub(crate) struct Service {
    pub(crate) gso_avg: f64,
    pub(crate) delivered_ratio: f64,
    pub(crate) latency_p50_ms: f64,
    pub(crate) latency_p99_ms: f64,
    pub(crate) allocations_per_object_per_viewer: Option<f64>,
    /// Datagrams from the viewers per packet to them.
    pub(crate) acks_per_packet: f64,
    /// Share of its core that the sender used.
    pub(crate) sender_busy: f64,
    /// Share of its core that the load side used.
    pub(crate) load_busy: f64,
}
