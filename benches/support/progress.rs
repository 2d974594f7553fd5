//! What a bench that takes minutes says on stderr while it runs.

use crate::support::measure::Outcome;
use crate::support::report;

/// Says on stderr what begins.
pub(crate) fn progress(what: &str) {
    report::say(&format!("bench: {what}"));
}

/// Says on stderr how a run went.
pub(crate) fn outcome(outcome: &Outcome) {
    progress(&format!(
        "  {:.4} CPU-s/Gbit, delivered {:.5}, p50 {:.1} ms, p99 {:.1} ms, gso {:.1}, acks {:.3}, \
         busy {:.2} and {:.2}, joined in {:.1} s, {} lost",
        outcome.cpu_s_per_gbit(),
        outcome.delivered_ratio(),
        outcome.load.latency_p50_ms,
        outcome.load.latency_p99_ms,
        outcome.load.gso_avg,
        outcome.load.acks_per_packet,
        outcome.sender_busy(),
        outcome.load.busy,
        outcome.joined.seconds,
        outcome.load.lost_viewers,
    ));
}
