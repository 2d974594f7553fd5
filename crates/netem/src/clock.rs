//! The clock of engines that move real packets.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a kernel stamp may be old at most; beyond that somebody has set the wall clock.
const STAMP_AGE_MAX: Duration = Duration::from_secs(10);

/// Time since the start of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "an engine that moves real packets has a clock; this is its start")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Duration {
        self.start.elapsed()
    }

    /// The time of a kernel's receive stamp, which counts from the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "the kernel stamps packets by the wall clock")]
    pub(crate) fn stamped(self, stamp: Option<Duration>) -> Duration {
        let age = stamp.and_then(|stamp| SystemTime::now().duration_since(UNIX_EPOCH + stamp).ok());
        self.now().saturating_sub(age.filter(|age| *age <= STAMP_AGE_MAX).unwrap_or_default())
    }
}
