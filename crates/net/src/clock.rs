//! Where time comes from: everything else takes `now` as an argument.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Source of monotonic and wall time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// Wall time since the Unix epoch: certificates, tokens and stamps only, never timers.
    fn unix_time(&self) -> Duration;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn unix_time(&self) -> Duration {
        (**self).unix_time()
    }
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn unix_time(&self) -> Duration {
        // A wall clock before 1970 has lost its battery; certificates then fail as "not valid yet".
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that moves only when told to: the simulator's and the tests'. Clones share one time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    base: Instant,
    unix_base: Duration,
    elapsed_nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `unix_base`.
    #[must_use]
    pub fn new(unix_base: Duration) -> Self {
        // `Instant` has no constructor but the system's clock; only differences from it are ever used.
        Self { base: SystemClock.now(), unix_base, elapsed_nanos: Arc::default() }
    }

    /// Moves on to `to`; a time that has passed changes nothing.
    pub fn advance_to(&self, to: Instant) {
        let nanos = u64::try_from(to.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Time since the clock was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_nanos.load(Ordering::Relaxed))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.base + self.elapsed()
    }

    fn unix_time(&self) -> Duration {
        self.unix_base + self.elapsed()
    }
}
