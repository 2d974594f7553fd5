//! When a source that died is started again.

use sluice_net::Rng;
use std::time::Duration;

/// First delay.
const FIRST: Duration = Duration::from_millis(250);
/// Largest delay.
const MAX: Duration = Duration::from_secs(10);
/// A source that ran for this long was well: its next failure is its first.
const HEALTHY: Duration = Duration::from_secs(30);
/// Spread of each delay, so that sources that died together do not come back together.
const JITTER_PERCENT: u8 = 20;

/// Delays between starts: 250 ms doubling to 10 s, until a run lasted.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    failures: u32,
    rng: Rng,
}

impl Backoff {
    pub(crate) const fn new(rng: Rng) -> Self {
        Self { failures: 0, rng }
    }

    /// A run of this length has ended: how long to wait before the next.
    pub(crate) fn next(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY {
            self.failures = 0;
        }
        let base = FIRST.saturating_mul(1 << self.failures.min(8)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        self.rng.jitter(base, JITTER_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_ten_seconds_and_starts_over_after_a_long_run() {
        let mut backoff = Backoff::new(Rng::from_seed(1));
        for base in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            let got = backoff.next(Duration::from_secs(1)).as_millis();
            assert!((base * 8 / 10..=base * 12 / 10).contains(&got), "{base}: {got}");
        }
        assert!(backoff.next(HEALTHY) <= Duration::from_millis(300));
    }
}
