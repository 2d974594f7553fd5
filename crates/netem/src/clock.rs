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

    /// What tells the times of packets that have just been received.
    #[expect(clippy::disallowed_methods, reason = "the kernel stamps packets by the wall clock")]
    pub(crate) fn stamps(self) -> Stamps {
        // Before 1970 no stamp is in the past, and all are ignored.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamps { now: self.now(), wall }
    }
}

/// One moment by the clock and by the wall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamps {
    now: Duration,
    wall: Duration,
}

impl Stamps {
    /// The time of a kernel's receive stamp, which counts from the Unix epoch; the moment itself where there is none.
    pub(crate) fn time(self, stamp: Option<Duration>) -> Duration {
        let age = stamp.and_then(|stamp| self.wall.checked_sub(stamp)).filter(|age| *age <= STAMP_AGE_MAX);
        self.now.saturating_sub(age.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_a_wall_clock_that_was_set_are_ignored() {
        let [now, wall] = [100, 1_000_000].map(Duration::from_secs);
        let stamps = Stamps { now, wall };
        let at = |seconds: i64| Duration::from_secs(1_000_000_u64.saturating_add_signed(seconds));
        assert_eq!(stamps.time(Some(at(-3))), Duration::from_secs(97));
        assert_eq!([Some(at(1)), Some(at(-11)), None].map(|stamp| stamps.time(stamp)), [now; 3]);
    }
}
