//! The send window follows the congestion window: it is the real viewer buffer.
//!
//! quinn-proto keeps every written byte until it is acknowledged, 10 MB by default, which at 4 Mbit/s hides 20 s
//! of lag from the drop policy.

use crate::profile::SendWindow;

/// Bytes that what is urgent may take beyond the window: two seconds of sound. After a path has become slower, the window
/// may be full for a second of what was written before.
const RESERVE: usize = 16 << 10;

/// Decides when a connection's send window is to be set anew.
#[derive(Debug)]
pub(crate) struct Tracker {
    range: SendWindow,
    /// Congestion window at the last change; 0 before the first.
    cwnd: u64,
    /// The send window since then.
    window: u64,
    /// What is left of [`RESERVE`].
    reserve: usize,
}

impl Tracker {
    pub(crate) const fn new(range: SendWindow) -> Self {
        Self { range, cwnd: 0, window: range.min, reserve: RESERVE }
    }

    /// Twice the congestion window within the range, once that has moved by a quarter.
    pub(crate) fn update(&mut self, cwnd: u64) -> Option<u64> {
        if cwnd.abs_diff(self.cwnd) <= self.cwnd / 4 {
            return None;
        }
        self.cwnd = cwnd;
        self.window = cwnd.saturating_mul(2).clamp(self.range.min, self.range.max);
        Some(self.window)
    }

    /// The send window.
    pub(crate) const fn window(&self) -> u64 {
        self.window
    }

    /// Whether so many urgent bytes may go beyond a window that is full.
    pub(crate) const fn may_exceed(&self, bytes: usize) -> bool {
        bytes <= self.reserve
    }

    /// So many did.
    pub(crate) const fn on_exceeded(&mut self, bytes: usize) {
        self.reserve = self.reserve.saturating_sub(bytes);
    }

    /// There was room in the window: what went beyond it has been acknowledged, or as much else.
    pub(crate) const fn on_room(&mut self) {
        self.reserve = RESERVE;
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
        assert_eq!(tracker.window(), 1 << 20);
    }

    #[test]
    fn the_reserve_is_there_again_once_there_is_room() {
        let mut tracker = Tracker::new(SendWindow { min: 64 << 10, max: 1 << 20 });
        assert!(tracker.may_exceed(RESERVE) && !tracker.may_exceed(RESERVE + 1));
        tracker.on_exceeded(10_000);
        assert!(tracker.may_exceed(RESERVE - 10_000) && !tracker.may_exceed(RESERVE - 9_999));
        tracker.on_room();
        assert!(tracker.may_exceed(RESERVE));
    }
}
