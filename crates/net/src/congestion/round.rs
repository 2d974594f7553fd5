//! What one round trip of acknowledgements tells.

use super::growth::is_full;
use std::time::{Duration, Instant};

/// Counts of the round in progress. A round ends with the first ACK of something that was sent within it.
#[derive(Debug, Clone)]
pub(super) struct Round {
    start: Instant,
    least_rtt: Duration,
    smoothed: Duration,
    peak_flight: u64,
    acked: u64,
    /// Of `acked`: while the window or the pacer held data back.
    pressed: u64,
    lost: u64,
    /// Acknowledged since the last end of a batch.
    batch: u64,
    /// When that packet of the ACK frame in hand was sent whose round trip was looked at last.
    sampled: Option<Instant>,
    crossed: bool,
    newest_lost: Option<Instant>,
    marked: bool,
    /// Rate of the last round that filled the window.
    carried: u64,
}

/// A finished round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    /// The least round-trip time: with a standing queue even the luckiest packet waits.
    pub(super) least_rtt: Duration,
    /// The round-trip time that the pacer reckons with.
    pub(super) smoothed: Duration,
    /// Bytes per second that arrived.
    pub(super) rate: u64,
    /// The same of the last round before in which the window was the limit all the time; 0 if none was.
    pub(super) carried: u64,
    /// Most bytes that were in flight.
    pub(super) peak_flight: u64,
    /// Share of the round, 0 to 1, in which more would have been sent.
    pub(super) pressure: f64,
    /// Lost part of what was sent, 0 to 1.
    pub(super) loss: f64,
    /// When the newest of the lost packets was sent.
    pub(super) newest_lost: Option<Instant>,
    /// Bytes acknowledged or lost.
    pub(super) seen: u64,
    /// The path has marked packets (ECN).
    pub(super) marked: bool,
}

impl Round {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            start: now,
            least_rtt: Duration::MAX,
            smoothed: Duration::MAX,
            peak_flight: 0,
            acked: 0,
            pressed: 0,
            lost: 0,
            batch: 0,
            sampled: None,
            crossed: false,
            newest_lost: None,
            marked: false,
            carried: 0,
        }
    }

    /// Whether a packet that was sent at the same time was acknowledged by the ACK frame in hand.
    pub(super) fn has_sample_of(&self, sent: Instant) -> bool {
        self.sampled == Some(sent)
    }

    /// One packet was acknowledged.
    pub(super) fn on_ack(&mut self, ack: &Ack) {
        // The first half of a round still tells of the round before: Copa's standing time looks back half a round
        // trip. The packet that ends a round always counts: a queue that is gone may have made the round a short one.
        let ends = ack.sent >= self.start;
        if ends || ack.now.saturating_duration_since(self.start) >= ack.smoothed / 2 {
            self.least_rtt = self.least_rtt.min(ack.now.saturating_duration_since(ack.sent));
        }
        self.smoothed = ack.smoothed;
        self.sampled = Some(ack.sent);
        self.crossed |= ends;
        self.on_more(ack);
    }

    /// Another packet was, which left together with the one before.
    pub(super) fn on_more(&mut self, ack: &Ack) {
        self.acked += ack.bytes;
        self.batch += ack.bytes;
        if ack.demand == Demand::More {
            self.pressed += ack.bytes;
        }
    }

    /// `sent`: the newest of the lost packets.
    pub(super) fn on_lost(&mut self, sent: Instant, bytes: u64) {
        self.lost += bytes;
        self.newest_lost = self.newest_lost.max(Some(sent));
    }

    pub(super) const fn on_mark(&mut self) {
        self.marked = true;
    }

    /// All packets of one ACK frame are counted; gives the round back if they end it, and starts the next.
    pub(super) fn end_batch(&mut self, now: Instant, in_flight: u64) -> Option<Summary> {
        self.peak_flight = self.peak_flight.max(in_flight + self.batch);
        self.batch = 0;
        self.sampled = None;
        if !self.crossed {
            return None;
        }
        let summary = self.summary(now);
        let carried = if is_full(&summary) { summary.rate } else { self.carried };
        *self = Self { carried, ..Self::new(now) };
        Some(summary)
    }

    fn summary(&self, now: Instant) -> Summary {
        let nanos = now.saturating_duration_since(self.start).as_nanos().max(1);
        let rate = u128::from(self.acked) * 1_000_000_000 / nanos;
        let seen = self.acked + self.lost;
        Summary {
            // A small frame's packets are all acknowledged late; the smoothed value leaves that delay out.
            least_rtt: self.least_rtt.min(self.smoothed),
            smoothed: self.smoothed,
            carried: self.carried,
            rate: u64::try_from(rate).unwrap_or(u64::MAX),
            peak_flight: self.peak_flight,
            pressure: self.pressed as f64 / self.acked.max(1) as f64,
            loss: self.lost as f64 / seen.max(1) as f64,
            newest_lost: self.newest_lost,
            seen,
            marked: self.marked,
        }
    }
}

/// Whether the sender had more to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Data waited for the window or the pacer.
    More,
    /// Everything was on its way.
    Met,
}

/// One acknowledged packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) now: Instant,
    pub(super) sent: Instant,
    pub(super) bytes: u64,
    pub(super) demand: Demand,
    /// Smoothed round-trip time without the receiver's delay.
    pub(super) smoothed: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_round_ends_with_the_first_ack_of_what_was_sent_in_it() {
        let start = SystemClock.now();
        let mut round = Round::new(start);
        let before =
            Ack { now: start + 20 * MS, sent: start - 30 * MS, bytes: 1000, demand: Demand::Met, smoothed: 60 * MS };
        round.on_ack(&before);
        assert_eq!(round.end_batch(before.now, 9000), None);
        round.on_lost(start, 500);
        let within = Ack { now: start + 50 * MS, sent: start, bytes: 1000, demand: Demand::More, smoothed: 60 * MS };
        round.on_ack(&within);
        let summary = round.end_batch(within.now, 3000).expect("a packet of the round was acknowledged");
        assert_eq!((summary.rate, summary.peak_flight, summary.seen), (40_000, 10_000, 2500));
        assert_eq!(summary.least_rtt, 50 * MS);
        assert!((summary.pressure - 0.5).abs() < 1e-9 && (summary.loss - 0.2).abs() < 1e-9);
        let next =
            Ack { now: start + 60 * MS, sent: start + 10 * MS, bytes: 1000, demand: Demand::Met, smoothed: 60 * MS };
        round.on_ack(&next);
        assert_eq!(round.end_batch(next.now, 0), None);
    }

    #[test]
    fn a_queue_that_is_gone_within_half_a_round_is_seen() {
        let start = SystemClock.now();
        let mut round = Round::new(start);
        // 150 ms so far; what was sent at once after the start is back after 60 ms.
        let last = Ack { now: start + 60 * MS, sent: start, bytes: 1000, demand: Demand::More, smoothed: 150 * MS };
        round.on_ack(&last);
        let summary = round.end_batch(last.now, 0).expect("it ends the round");
        assert_eq!(summary.least_rtt, 60 * MS);
    }
}
