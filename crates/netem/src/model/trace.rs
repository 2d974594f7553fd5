//! Traces in Mahimahi's format: one line per chance to deliver 1500 bytes, in milliseconds from the start.
//!
//! ```text
//! 3      at 3 ms 1500 bytes may leave
//! 3      and 1500 more
//! 40     nothing for 37 ms, then 1500
//! ```
//! The last line is also the period: the trace starts over when it ends. A packet larger than what is left of a chance
//! takes the rest from the next ones; what nobody uses is gone.

use super::units::nanos;
use std::fmt;
use std::time::Duration;

/// Bytes that leave at each line.
pub const OPPORTUNITY_BYTES: u64 = 1500;
/// Most lines that are read: 24 hours at 10 Mbit/s.
pub const OPPORTUNITIES_MAX: usize = 72_000_000;
/// Latest time in a trace, in milliseconds: 10 days.
const LATEST_MS: u32 = 10 * 24 * 3_600_000;

/// When a bottleneck may send, over and over. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Trace {
    /// Milliseconds from the start of the period, ascending.
    times: Vec<u32>,
    period_ms: u32,
}

/// A trace that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// A line is no time.
    #[error("line {line}: {text:?} is no time in whole milliseconds (at most 10 days)")]
    NotATime {
        /// Number of the line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A line is earlier than the one before.
    #[error("line {line}: {time} ms comes after {before} ms; times must not go back")]
    Backwards {
        /// Number of the line, from 1.
        line: usize,
        /// Its time.
        time: u32,
        /// The time of the line before.
        before: u32,
    },
    /// There is no line.
    #[error("the trace has no lines; it needs one time in milliseconds per 1500 bytes")]
    Empty,
    /// All lines are zero.
    #[error("the last line is 0 ms: a trace must last at least 1 ms, since it starts over after its last line")]
    NoPeriod,
    /// More lines than [`OPPORTUNITIES_MAX`].
    #[error("more than {OPPORTUNITIES_MAX} lines")]
    TooLong,
}

impl Trace {
    /// Reads Mahimahi's format. Blank lines and lines that start with `#` are skipped.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut times: Vec<u32> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let time = line.parse::<u32>().ok().filter(|time| *time <= LATEST_MS);
            let wrong = || TraceError::NotATime { line: number + 1, text: line.chars().take(40).collect() };
            let time = time.ok_or_else(wrong)?;
            if let Some(before) = times.last().copied().filter(|before| *before > time) {
                return Err(TraceError::Backwards { line: number + 1, time, before });
            }
            if times.len() == OPPORTUNITIES_MAX {
                return Err(TraceError::TooLong);
            }
            times.push(time);
        }
        let period_ms = *times.last().ok_or(TraceError::Empty)?;
        Self::with_period(times, period_ms)
    }

    /// A trace of `times` in ascending order that starts over after `period_ms`.
    pub(crate) fn with_period(times: Vec<u32>, period_ms: u32) -> Result<Self, TraceError> {
        if times.is_empty() {
            return Err(TraceError::Empty);
        }
        if period_ms == 0 {
            return Err(TraceError::NoPeriod);
        }
        debug_assert!(times.is_sorted() && times.last().is_some_and(|last| *last <= period_ms));
        Ok(Self { times, period_ms })
    }

    /// The trace as a file in Mahimahi's format, which has its period from its last line: silence at the end is lost.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.times.len() * 7);
        for time in &self.times {
            text.push_str(&time.to_string());
            text.push('\n');
        }
        text
    }

    /// How long it lasts until it starts over.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_millis(u64::from(self.period_ms))
    }

    /// Bits per second over the whole period.
    #[must_use]
    pub fn mean_rate(&self) -> f64 {
        (self.times.len() as u64 * OPPORTUNITY_BYTES * 8) as f64 / self.period().as_secs_f64()
    }

    /// Bits in each whole second: what figures about traces are computed from.
    #[must_use]
    pub fn bits_per_second(&self) -> Vec<u64> {
        let mut seconds = vec![0; (self.period_ms / 1000) as usize];
        for time in &self.times {
            // A line at the very end belongs to the second that ends there; the first line may be at zero.
            let second = time.saturating_sub(1) / 1000;
            if let Some(bits) = seconds.get_mut(second as usize) {
                *bits += OPPORTUNITY_BYTES * 8;
            }
        }
        seconds
    }

    /// The number, counted from the trace's first start, of the first opportunity at or after `since_start`.
    pub(super) fn first_at(&self, since_start: Duration) -> u64 {
        let period = self.period().as_nanos();
        let rounds = since_start.as_nanos() / period;
        let within = (since_start.as_nanos() % period).div_ceil(1_000_000);
        let index = self.times.partition_point(|time| u128::from(*time) < within);
        u64::try_from(rounds).unwrap_or(u64::MAX).saturating_mul(self.len()).saturating_add(index as u64)
    }

    /// When opportunity `number` comes, from the trace's first start.
    pub(super) fn time_of(&self, number: u64) -> Duration {
        let round = number / self.len();
        let index = usize::try_from(number % self.len()).unwrap_or_default();
        let within = self.times.get(index).copied().unwrap_or_default();
        let millis = u128::from(round) * u128::from(self.period_ms) + u128::from(within);
        nanos(millis * 1_000_000)
    }

    const fn len(&self) -> u64 {
        self.times.len() as u64
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("opportunities", &self.times.len()).field("period_ms", &self.period_ms).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_have_their_line() {
        let error = |text: &str| Trace::parse(text).unwrap_err().to_string();
        assert!(error("1\n2\nx3\n").starts_with("line 3: \"x3\" is no time"));
        assert!(error("1\n\n# note\n-4").starts_with("line 4: \"-4\" is no time"));
        assert!(error("5\n9\n7").starts_with("line 3: 7 ms comes after 9 ms"));
        assert!(error("99999999999").contains("at most 10 days"));
        assert!(error("# nothing\n").contains("no lines"));
        assert!(error("0\n0\n").contains("at least 1 ms"));
    }

    #[test]
    fn it_starts_over() {
        let trace = Trace::parse("0\n3\n3\n10\n").unwrap();
        let times: Vec<_> = (0..9).map(|number| trace.time_of(number).as_millis()).collect();
        assert_eq!(times, [0, 3, 3, 10, 10, 13, 13, 20, 20]);
        let first = |millis| trace.first_at(Duration::from_millis(millis));
        assert_eq!([first(0), first(1), first(3), first(4), first(10), first(13), first(14)], [0, 1, 1, 3, 4, 5, 7]);
        assert_eq!(trace.first_at(Duration::from_micros(3_001)), 3, "a chance that has begun is gone");
    }

    #[test]
    fn rates_are_those_of_the_lines() {
        // One chance each millisecond is 12 Mbit/s.
        let text: String = (1..=4000).map(|ms| format!("{ms}\n")).collect();
        let trace = Trace::parse(&text).unwrap();
        assert!((trace.mean_rate() - 12e6).abs() < 1.0);
        assert_eq!(trace.bits_per_second(), [12_000_000; 4]);
        assert_eq!(trace.to_text(), text);
    }
}
