//! What a run has shown: from what was seen, in whatever engine, to figures and verdicts.
//!
//! ```text
//! sim, lab, proxy ──> Evidence ──┐
//!                                ├─> Report (JSON) ──> verdicts, text, timeline
//!                    Scenario ───┘
//! ```
//!
//! All engines hand in the same [`Evidence`]: every delivered object with its times, what links and nodes counted, how
//! late the engine itself was. All figures are computed here, so that they mean the same everywhere:
//!
//! - A group is **expected** of a viewer when it began after the viewer's first object and ended 3 s before the viewer
//!   left. It is **lost** when an object of it has not arrived 3 s after its last one was published.
//! - A **gap** is a time of more than 5 frames without video.
//! - **Resume** is the longest pause of video from a fault on, less a frame: counted for viewers whose path the fault
//!   is on, until the next fault or for 10 s.
//! - **Heal** is the time from a repair to the first frame that was published after it.
//! - A run is **valid** while the engine's own lateness is at most 1 ms at the 99th percentile, or what the scenario
//!   says in its place.

mod analysis;
mod change;
mod evidence;
mod pauses;
mod report;
mod stats;
mod text;
mod verdict;

pub use evidence::{
    Arrival, Evidence, Happened, LinkEvidence, Media, NodeEvidence, NodeSample, Published, Punctuality, QueueSample,
    Viewing,
};
pub use report::{
    About, EventLine, Gap, LinkReport, NodeReport, Outcome, Report, Validity, Verdict, ViewerReport, ViewersReport,
    WayReport,
};
pub use stats::{Quantiles, quantile};
pub use text::{markdown_head, markdown_row};

/// A viewer has this long to get an object after the group's last one was published.
pub const LOST_AFTER: std::time::Duration = std::time::Duration::from_secs(3);
/// Frames without video that make a gap.
pub const GAP_FRAMES: u32 = 5;

#[cfg(test)]
mod tests;
