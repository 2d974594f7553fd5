//! How late an engine is, which is what its results are worth.

use serde::Serialize;
use std::time::Duration;

/// How late packets left the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Lateness {
    /// Packets that left.
    pub packets: u64,
    /// Of half of them, at most this many nanoseconds.
    pub p50_ns: u64,
    /// Of 99 % of them, at most this many.
    pub p99_ns: u64,
    /// Of all of them.
    pub max_ns: u64,
}

/// Buckets per doubling: a value is told to 6 %.
const STEPS: u32 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// All doublings of 64 bits, of which the first few share one row.
const BUCKETS: usize = ((u64::BITS - STEP_BITS + 1) * STEPS) as usize;

/// How often which lateness occurred. Never allocates: it is written to for every packet.
#[derive(Debug, Clone)]
pub(crate) struct Distribution {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    max: u64,
}

impl Distribution {
    pub(crate) fn new() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, late: Duration) {
        let nanos = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub(crate) fn summary(&self) -> Lateness {
        Lateness { packets: self.count, p50_ns: self.quantile(50), p99_ns: self.quantile(99), max_ns: self.max }
    }

    /// The smallest upper end of a bucket below which `percent` of the values lie.
    fn quantile(&self, percent: u64) -> u64 {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (number, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return highest(number).min(self.max);
            }
        }
        0
    }
}

/// The bucket of a value: itself while small, then its highest bits.
fn bucket(value: u64) -> usize {
    let row = (u64::BITS - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    // Below twice the number of steps, by the choice of the row.
    let within = usize::try_from(value >> row).unwrap_or(usize::MAX);
    row as usize * STEPS as usize + within
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let steps = STEPS as usize;
    let row = (bucket / steps).saturating_sub(1);
    let within = (bucket - row * steps) as u64;
    ((within + 1) << row).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_six_percent_wide() {
        let mut last = None;
        for value in (0..4096).chain((12..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let number = bucket(value);
            assert!(value <= highest(number), "{value} in {number}");
            assert!((highest(number) - value) as f64 <= 0.0625 * value as f64, "{value} in {number}");
            assert!(last.is_none_or(|last| number >= last), "{value}");
            last = Some(number);
        }
        assert_eq!(highest(bucket(u64::MAX)), u64::MAX);
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn a_summary_tells_median_tail_and_worst() {
        let mut late = Distribution::new();
        assert_eq!(late.summary(), Lateness::default());
        for micros in 1..=1000 {
            late.record(Duration::from_micros(micros));
        }
        let Lateness { packets, p50_ns, p99_ns, max_ns } = late.summary();
        assert_eq!((packets, max_ns), (1000, 1_000_000));
        assert!((500_000..532_000).contains(&p50_ns), "{p50_ns}");
        assert!((990_000..=1_000_000).contains(&p99_ns), "{p99_ns}");
    }
}
