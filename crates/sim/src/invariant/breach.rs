//! A broken invariant, in words.

use sluice_moqt::{Location, TrackName};
use std::fmt;
use std::time::Duration;

/// An invariant was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// When, from the start of the run.
    pub at: Duration,
    /// At which node it was noticed.
    pub node: String,
    /// What.
    pub violation: Violation,
}

/// What may be broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The payload differs from what was published there.
    #[error("object {0} of track {1} is not what was published")]
    Corrupt(Location, usize),
    /// An object that nobody published.
    #[error("object {0} of track {1} was never published")]
    Invented(Location, usize),
    /// One subscription brought an object twice.
    #[error("object {0} of track {1} came twice on one subscription")]
    Duplicate(Location, usize),
    /// A stream left something out.
    #[error("the stream of track {track} went from object {after} to {at}: what lies between is missing")]
    Gap {
        /// Which track of the publisher.
        track: usize,
        /// The object before.
        after: u64,
        /// The object that came.
        at: Location,
    },
    /// A stream ended as whole and was not.
    #[error("group {group} of track {track} ended as whole after object {after:?}, and {last} was published")]
    Truncated {
        /// Which track of the publisher.
        track: usize,
        /// The group.
        group: u64,
        /// The last object that came.
        after: Option<u64>,
        /// The last one that there is.
        last: u64,
    },
    /// A group of a quiet time did not come whole.
    #[error("group {group} of track {track} is not whole {after:?} after the last fault: {had} of {of} objects")]
    Incomplete {
        /// Which track of the publisher.
        track: usize,
        /// The group.
        group: u64,
        /// Since the last fault.
        after: Duration,
        /// Objects that came.
        had: u64,
        /// Objects that were published.
        of: u64,
    },
    /// A viewer is not at the live edge in time.
    #[error("not at the live edge of track {track} {after:?} after the last fault: newest object is {behind:?} old")]
    Behind {
        /// Which track of the publisher.
        track: usize,
        /// Since the last fault.
        after: Duration,
        /// Age of the newest object that came; `None`: nothing came.
        behind: Option<Duration>,
    },
    /// A PoP subscribes to a track more than once.
    #[error("{count} upstream subscriptions to {name} for {for_long:?}: {sources}")]
    Redundant {
        /// The track.
        name: TrackName,
        /// How many.
        count: usize,
        /// For how long.
        for_long: Duration,
        /// Whom it is subscribed at.
        sources: String,
    },
    /// A track goes round in circles.
    #[error("{name} has gone in a circle for {for_long:?}: {path}")]
    Loop {
        /// The track.
        name: TrackName,
        /// For how long.
        for_long: Duration,
        /// Who gets it from whom.
        path: String,
    },
    /// Logs hold more than they may.
    #[error("the logs hold {bytes} bytes, {limit} are allowed")]
    LogBytes {
        /// What they hold.
        bytes: usize,
        /// What they may.
        limit: usize,
    },
    /// A process keeps itself busy.
    #[error("{what}")]
    Restless {
        /// How.
        what: &'static str,
    },
    /// Something is left after everything was closed.
    #[error("left {after:?} after everything was closed: {what}")]
    Left {
        /// Since then.
        after: Duration,
        /// What.
        what: String,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.3} s, {}: {}", self.at.as_secs_f64(), self.node, self.violation)
    }
}
