//! The send window follows the congestion window: it is the real viewer buffer.
//!
//! quinn-proto keeps every written byte until it is acknowledged, 10 MB by default, which at 4 Mbit/s hides 20 s
//! of lag from the drop policy.

use crate::profile::SendWindow;

/// Decides when a connection's send window is to be set anew.
#[derive(Debug)]
pub(crate) struct Tracker {
    range: SendWindow,
    /// Congestion window at the last change; 0 before the first.
    cwnd: u64,
}

impl Tracker {
    pub(crate) const fn new(range: SendWindow) -> Self {
        Self { range, cwnd: 0 }
    }

    /// Twice the congestion window within the range, once that has moved by a quarter.
    pub(crate) fn update(&mut self, cwnd: u64) -> Option<u64> {
        if cwnd.abs_diff(self.cwnd) <= self.cwnd / 4 {
            return None;
        }
        self.cwnd = cwnd;
        Some(cwnd.saturating_mul(2).clamp(self.range.min, self.range.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_twice_cwnd_within_its_range() {
        let mut tracker = Tracker::new(SendWindow { min: 64 << 10, max: 1 << 20 });
        assert_eq!(tracker.update(12_000), Some(64 << 10));
        assert_eq!(tracker.update(14_000), None);
        assert_eq!(tracker.update(100_000), Some(200_000));
        assert_eq!(tracker.update(76_000), None);
        assert_eq!(tracker.update(74_000), Some(148_000));
        assert_eq!(tracker.update(10_000_000), Some(1 << 20));
    }
}
