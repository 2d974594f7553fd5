//! Round-trip time of a link: up at once, down slowly, so that a link that got worse is believed at the first sample
//! and one that got better has to prove it.

use std::time::Duration;

/// Share of the way that one better sample moves the estimate down.
const DECAY: f64 = 0.1;

/// Peak-EWMA of round-trip samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimator {
    current: Option<Duration>,
    min: Option<Duration>,
    jitter: Duration,
    last: Option<Duration>,
}

impl Estimator {
    /// Takes one sample.
    pub fn sample(&mut self, rtt: Duration) {
        self.current = Some(match self.current {
            Some(current) if rtt < current => current - (current - rtt).mul_f64(DECAY),
            Some(_) | None => rtt,
        });
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        if let Some(last) = self.last {
            // RFC 3550 6.4.1: J += (|D| - J) / 16.
            let step = last.abs_diff(rtt);
            self.jitter = self.jitter.mul_f64(15.0 / 16.0) + step.mul_f64(1.0 / 16.0);
        }
        self.last = Some(rtt);
    }

    /// The estimate to route on; `None` before the first sample.
    #[must_use]
    pub const fn current(&self) -> Option<Duration> {
        self.current
    }

    /// The smallest sample so far; for display, never for routing.
    #[must_use]
    pub const fn min(&self) -> Option<Duration> {
        self.min
    }

    /// Mean deviation between successive samples (RFC 3550 6.4.1).
    #[must_use]
    pub const fn jitter(&self) -> Duration {
        self.jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn worse_is_believed_at_once_and_better_slowly() {
        let mut rtt = Estimator::default();
        rtt.sample(ms(20));
        rtt.sample(ms(100));
        assert_eq!(rtt.current(), Some(ms(100)));
        rtt.sample(ms(20));
        assert_eq!(rtt.current(), Some(ms(92)));
        for _ in 0..100 {
            rtt.sample(ms(20));
        }
        assert!(rtt.current() < Some(ms(21)));
        assert_eq!(rtt.min(), Some(ms(20)));
    }

    #[test]
    fn jitter_is_zero_on_a_steady_link() {
        let mut rtt = Estimator::default();
        for _ in 0..10 {
            rtt.sample(ms(20));
        }
        assert_eq!(rtt.jitter(), Duration::ZERO);
    }
}
