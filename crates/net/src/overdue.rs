//! When a packet that others overtook is taken for lost.
//!
//! quinn-proto's time threshold is fixed for a connection, and must be what a path needs that reorders. On one that does
//! not, each repair would come that much later than it could, and one that is lost as well twice. So the threshold
//! follows what the path shows. The timer is quinn-proto's own; it is rung that much earlier.

use crate::congestion::{MOST, Wait};
use std::time::{Duration, Instant};

/// The timer for lost packets of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Overdue {
    wait: Wait,
    /// ACKs so far, and when the last one came.
    acks: u64,
    heard: Instant,
    /// The timer that was rung early last.
    rung: Option<Instant>,
}

impl Overdue {
    pub(crate) const fn new(now: Instant, wait: Wait) -> Self {
        Self { wait, acks: 0, heard: now, rung: None }
    }

    /// The path is another, or has another controller.
    pub(crate) fn follow(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// So many ACKs have come by now.
    pub(crate) const fn on_acks(&mut self, now: Instant, acks: u64) {
        if acks != self.acks {
            (self.acks, self.heard) = (acks, now);
        }
    }

    /// When to ring the timer that quinn-proto wants rung at `timer`, over a path of this smoothed and least round trip.
    ///
    /// A packet that was overtaken left before what the last ACK told of, and its timer is at most so far away. Any other
    /// so near may ring early as well, but for a probe timeout, which is further away unless it is due anyway.
    pub(crate) fn rings_at(&self, timer: Instant, rtt: Duration, least: Duration) -> Instant {
        let (most, wait) = (rtt.mul_f32(MOST), rtt.mul_f32(self.wait.rounds()));
        let latest = self.heard + (rtt + most + wait).saturating_sub(least);
        if timer > latest || self.rung == Some(timer) { timer } else { timer - most.saturating_sub(wait) }
    }

    /// The timer was rung before its time, which is no reason to do so again.
    pub(crate) const fn on_rung(&mut self, timer: Instant) {
        self.rung = Some(timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const MS: Duration = Duration::from_millis(1);
    const RTT: Duration = Duration::from_millis(80);

    #[test]
    fn a_timer_for_lost_packets_rings_as_soon_as_the_path_lets_it_and_once() {
        let start = SystemClock.now();
        let wait = Wait::new(0.125);
        let mut overdue = Overdue::new(start, wait.clone());
        let now = start + 100 * MS;
        // Shares of a round trip are floats: to a millisecond.
        let early =
            |overdue: &Overdue, timer: Instant| (timer - overdue.rings_at(timer, RTT, RTT) + MS / 2).as_millis();
        assert_eq!(early(&overdue, now), 0, "no ACK tells of a packet that overtook it");
        overdue.on_acks(now, 1);
        let timer = now + 25 * MS;
        assert_eq!(early(&overdue, timer), 20);
        wait.set(0.25);
        assert_eq!(early(&overdue, timer), 10);
        wait.set(MOST);
        assert_eq!(early(&overdue, timer), 0);
        overdue.follow(Wait::new(0.125));
        overdue.on_rung(timer);
        assert_eq!(early(&overdue, timer), 0);
        assert_eq!(early(&overdue, timer + MS), 20, "that of a later packet");
        assert_eq!(early(&overdue, now + RTT), 0, "a probe's");
    }
}
