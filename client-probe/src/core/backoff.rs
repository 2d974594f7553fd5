//! When to dial again.

use sluice_net::rng::Rng;
use std::time::{Duration, Instant};

/// First delay.
const FIRST: Duration = Duration::from_millis(50);
/// Largest delay during [`EAGER`].
const EAGER_MAX: Duration = Duration::from_millis(500);
/// How long a fresh failure is answered eagerly.
const EAGER: Duration = Duration::from_secs(60);
/// Delay after that.
const PATIENT: Duration = Duration::from_secs(10);
/// Spread of each delay, so that viewers of a restarted relay do not come back together.
const JITTER_PERCENT: u8 = 20;

/// Delays between attempts: 50 ms doubling to 500 ms in the first minute, then 10 s.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    since: Option<Instant>,
    failures: u32,
}

impl Backoff {
    /// An attempt failed, or a session ended: when to try again.
    pub(super) fn next(&mut self, now: Instant, rng: &mut Rng) -> Duration {
        let since = *self.since.get_or_insert(now);
        let base = if now.saturating_duration_since(since) >= EAGER {
            PATIENT
        } else {
            FIRST.saturating_mul(1 << self.failures.min(8)).min(EAGER_MAX)
        };
        self.failures = self.failures.saturating_add(1);
        rng.jitter(base, JITTER_PERCENT)
    }

    /// There is a session.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_net::clock::{Clock as _, ManualClock};

    #[test]
    fn doubles_then_waits_long_and_starts_over() {
        let start = ManualClock::new(Duration::ZERO).now();
        let (mut backoff, mut rng) = (Backoff::default(), Rng::from_seed(1));
        let mut delay = |at: Duration, backoff: &mut Backoff| backoff.next(start + at, &mut rng);
        for base in [50, 100, 200, 400, 500, 500] {
            let got = delay(Duration::from_secs(1), &mut backoff).as_millis();
            assert!((base * 8 / 10..=base * 12 / 10).contains(&got), "{base}: {got}");
        }
        let late = delay(Duration::from_secs(61), &mut backoff);
        assert!((Duration::from_secs(8)..=Duration::from_secs(12)).contains(&late), "{late:?}");
        backoff.reset();
        assert!(delay(Duration::from_secs(62), &mut backoff) <= Duration::from_millis(60));
    }
}
