//! What moves round-trip times and is no queue of ours.

use std::time::{Duration, Instant};

/// Gain of the moving average, one in so many (RFC 3550 6.4.1 has 16; our samples are one per ACK frame).
const GAIN: u32 = 8;
/// How many times the jitter a round's least sample may lie above the path's least: with few samples per round, that of
/// a path with jitter seldom comes near.
const TIMES: u32 = 2;
/// No more than this is excused as jitter.
const JITTER_MOST: Duration = Duration::from_millis(80);
/// How long a queue that did not follow the window is excused.
const MEMORY: Duration = Duration::from_secs(20);
/// And how much above it.
const MARGIN: f64 = 1.25;

/// How far round-trip times vary, and which wait turned out to be someone else's.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    /// Mean difference of one sample to the next: a queue that fills or drains moves each of them only a little.
    jitter: Duration,
    /// Least sample of the ACK frame before, and of the one in hand.
    last: Option<Duration>,
    batch: Option<Duration>,
    foreign: Duration,
    until: Instant,
}

/// What is to be excused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// By how much the least sample of a round may exceed the least of all.
    pub(super) jitter: Duration,
    /// A wait that did not shrink when our window did.
    pub(super) foreign: Duration,
}

impl Noise {
    pub(super) const fn new(now: Instant) -> Self {
        Self { jitter: Duration::ZERO, last: None, batch: None, foreign: Duration::ZERO, until: now }
    }

    /// One packet's round-trip time.
    pub(super) fn on_sample(&mut self, rtt: Duration) {
        self.batch = Some(self.batch.map_or(rtt, |least| least.min(rtt)));
    }

    /// All packets of one ACK frame are counted.
    pub(super) fn end_batch(&mut self) {
        let Some(sample) = self.batch.take() else { return };
        if let Some(last) = self.last.replace(sample) {
            self.jitter = (self.jitter * (GAIN - 1) + sample.abs_diff(last)) / GAIN;
        }
    }

    /// This long a wait is not ours.
    pub(super) fn tolerate(&mut self, now: Instant, wait: Duration) {
        self.foreign = wait.mul_f64(MARGIN);
        self.until = now + MEMORY;
    }

    pub(super) fn level(&self, now: Instant) -> Level {
        let foreign = if now < self.until { self.foreign } else { Duration::ZERO };
        Level { jitter: (self.jitter * TIMES).min(JITTER_MOST), foreign }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_queue_is_no_jitter() {
        let start = SystemClock.now();
        let mut noise = Noise::new(start);
        let see = |noise: &mut Noise, rtt: u32| {
            // The least of an ACK's packets counts: the others waited for it.
            noise.on_sample((rtt + 15) * MS);
            noise.on_sample(rtt * MS);
            noise.end_batch();
        };
        (0..50).for_each(|_| see(&mut noise, 50));
        assert_eq!(noise.level(start), Level { jitter: Duration::ZERO, foreign: Duration::ZERO });
        // A queue that grows by a millisecond per ACK.
        (50..150).for_each(|rtt| see(&mut noise, rtt));
        assert!(noise.level(start).jitter <= 2 * MS);
        (0..50).for_each(|turn| see(&mut noise, if turn % 2 == 0 { 30 } else { 60 }));
        let jitter = noise.level(start).jitter;
        assert!(jitter > 55 * MS && jitter <= 60 * MS, "{jitter:?}");
    }

    #[test]
    fn a_foreign_wait_is_excused_for_a_while() {
        let start = SystemClock.now();
        let mut noise = Noise::new(start);
        noise.tolerate(start, 80 * MS);
        assert_eq!(noise.level(start + MEMORY / 2).foreign, 100 * MS);
        assert_eq!(noise.level(start + MEMORY).foreign, Duration::ZERO);
    }
}
