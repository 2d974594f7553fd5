//! The result of a run, as one JSON document.

use super::stats::Quantiles;
use crate::model::Counters;
use serde::Serialize;

/// The result of a run. Times are in seconds from its start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Which run it was.
    #[serde(flatten)]
    pub about: About,
    /// Whether it shows what was expected.
    pub outcome: Outcome,
    /// Whether the engine itself was good enough.
    pub validity: Validity,
    /// Each expectation with what was seen.
    pub verdicts: Vec<Verdict>,
    /// What happened.
    pub events: Vec<EventLine>,
    /// What the links did.
    pub links: Vec<LinkReport>,
    /// What the relays needed.
    pub nodes: Vec<NodeReport>,
    /// What the viewers got.
    pub viewers: Vec<ViewersReport>,
}

/// Which run it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct About {
    /// Name of the scenario.
    pub scenario: String,
    /// What it shows.
    pub description: String,
    /// Who has carried it out.
    pub engine: crate::scenario::Engine,
    /// With which seed.
    pub seed: u64,
    /// How long it was.
    pub seconds: f64,
    /// How long that took.
    pub wall_seconds: f64,
    /// One number for all that moved, in hexadecimal; null where a run does not repeat.
    pub trace_hash: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything is as expected.
    Passed,
    /// Something is not.
    Failed,
    /// The engine spoiled the run: it says nothing about what was tested.
    Invalid,
}

/// Whether the engine itself was good enough.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Validity {
    /// Whether the result counts.
    pub valid: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// How much later than told the engine moved packets; null in virtual time.
    pub lateness_seconds: Option<Quantiles>,
    /// Limit of the 99th percentile.
    pub limit_seconds: f64,
    /// Whether the engine went before ordinary threads, without which a busy machine makes it late; null in virtual time.
    pub real_time: Option<bool>,
}

/// An expectation with what was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whose: a node, a link, or `all`.
    pub of: String,
    /// Key of the figure.
    pub figure: &'static str,
    /// What was expected, such as `<= 500ms`.
    pub wanted: String,
    /// What was seen, in words.
    pub seen: String,
    /// The same as a number: seconds, bytes, a share or a count; null where it could not be measured.
    pub value: Option<f64>,
    /// The limit as a number of the same unit.
    pub limit: f64,
    /// Whether it is as expected; what could not be measured is not.
    pub passed: bool,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventLine {
    /// When it happened.
    pub at_seconds: f64,
    /// When it was due.
    pub due_seconds: f64,
    /// What, such as `down origin-edge`.
    pub what: String,
    /// What could not be done as told.
    pub failed: Option<String>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkReport {
    /// Its name.
    pub link: String,
    /// From the first end to the second.
    pub down: WayReport,
    /// Back.
    pub up: WayReport,
    /// Waiting time before its bottlenecks; null without one.
    pub queue_seconds: Option<Quantiles>,
}

/// One way of a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WayReport {
    /// What it has counted.
    #[serde(flatten)]
    pub counters: Counters,
    /// Share of the packets that were lost for whatever reason.
    pub loss: f64,
    /// Bits per second delivered, on average.
    pub bits_per_second: f64,
}

/// A relay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeReport {
    /// Its name.
    pub node: String,
    /// Most memory; null where it was not measured.
    pub memory_max_bytes: Option<u64>,
    /// Memory at the end.
    pub memory_end_bytes: Option<u64>,
    /// Times that it was started again.
    pub restarts: u32,
    /// Connections to other relays that were lost.
    pub trunks_lost: u32,
    /// Times that it took another relay for silent.
    pub route_changes: u32,
}

/// Viewers of one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewersReport {
    /// Its name.
    pub node: String,
    /// How many got something, and how many there were.
    pub joined: u32,
    /// See `joined`.
    pub viewers: u32,
    /// From dial to the first object.
    pub join_seconds: Option<Quantiles>,
    /// From publishing to arrival of video.
    pub latency_seconds: Option<Quantiles>,
    /// Delays of the undisturbed path.
    pub path_seconds: f64,
    /// Without video after a fault, less a frame; null without a fault on the path.
    pub resume_seconds: Option<Quantiles>,
    /// Groups expected, all viewers together.
    pub groups_expected: u64,
    /// Groups lost.
    pub groups_lost: u64,
    /// Objects that arrived.
    pub objects: u64,
    /// The first thousand viewers.
    pub each: Vec<ViewerReport>,
}

/// One life of one viewer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewerReport {
    /// Its number.
    pub viewer: u32,
    /// From dial to the first object; null where none came.
    pub join_seconds: Option<f64>,
    /// Objects that arrived.
    pub objects: u64,
    /// Groups of video expected and lost.
    pub video_expected: u64,
    /// See `video_expected`.
    pub video_lost: u64,
    /// Groups of audio expected and lost.
    pub audio_expected: u64,
    /// See `audio_expected`.
    pub audio_lost: u64,
    /// From publishing to arrival of video.
    pub latency_seconds: Option<Quantiles>,
    /// Times without video.
    pub gaps: Vec<Gap>,
    /// Sessions that ended early.
    pub reconnects: u32,
}

/// A time without video.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gap {
    /// When the last frame before it came.
    pub start_seconds: f64,
    /// How long until the next.
    pub seconds: f64,
}
