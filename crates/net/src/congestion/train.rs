//! What the spacing of ACKs tells of a path that is far slower than the burst that was sent into it.
//!
//! The first window is a guess that a handshake's round trip flatters: on a path of 120 kbit/s one packet each way takes
//! 185 ms, and 4 Mbit/s for so long are 64 packets. Losses and queues tell of that when they have happened. The packets of
//! one burst come through as far apart as the path makes them (Keshav's packet pairs, SIGCOMM 1991): a few of them are
//! enough to know.

use std::time::{Duration, Instant};

/// ACKs of a train are so many times as far apart as its packets were when they left.
const STRETCH: u32 = 4;
/// Batches of ACKs behind the first, and packets in them, that make a train.
const BATCHES: u32 = 3;
const PACKETS: u64 = 3;
/// A train in which one gap is longer than this part of it tells of a receiver that paused, or of jitter.
const GAP: u32 = 2;

/// The train in hand: packets that left together and are acknowledged apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Train {
    head: Option<Head>,
    /// Newest packet and bytes of the batch in hand.
    sent: Option<Instant>,
    batch: u64,
    /// Behind the head.
    bytes: u64,
    batches: u32,
    longest: Duration,
    last: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    sent: Instant,
    acked: Instant,
}

impl Train {
    /// One packet was acknowledged.
    pub(super) fn on_ack(&mut self, sent: Instant, bytes: u64) {
        self.sent = self.sent.max(Some(sent));
        self.batch += bytes;
    }

    /// All packets of one ACK frame are counted; gives the bytes per second at which the train came through, once it is
    /// long enough to tell.
    pub(super) fn end_batch(&mut self, now: Instant, mtu: u64) -> Option<u64> {
        let (sent, batch) = (self.sent.take()?, std::mem::take(&mut self.batch));
        let Some(head) = self.head.filter(|head| {
            let (left, came) = (sent.saturating_duration_since(head.sent), now.saturating_duration_since(head.acked));
            left * STRETCH <= came
        }) else {
            *self = Self { head: Some(Head { sent, acked: now }), last: Some(now), ..Self::default() };
            return None;
        };
        let gap = self.last.replace(now).map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.longest = self.longest.max(gap);
        self.bytes += batch;
        self.batches += 1;
        let took = now.saturating_duration_since(head.acked);
        let tells = self.batches >= BATCHES && self.bytes >= PACKETS * mtu && self.longest * GAP <= took;
        tells.then(|| rate(self.bytes, took))
    }
}

fn rate(bytes: u64, took: Duration) -> u64 {
    let nanos = took.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const MTU: u64 = 1200;
    const MS: Duration = Duration::from_millis(1);

    /// Packets that left at `sent` and were acknowledged at `acked`, in ms.
    fn seen(packets: &[(u32, u32)]) -> Option<u64> {
        let start = SystemClock.now();
        let mut train = Train::default();
        packets.iter().fold(None, |_, (sent, acked)| {
            train.on_ack(start + *sent * MS, MTU);
            train.end_batch(start + *acked * MS, MTU)
        })
    }

    #[test]
    fn a_burst_that_came_through_packet_by_packet_tells_the_rate() {
        assert_eq!(seen(&[(0, 100), (0, 180), (1, 260), (1, 340)]), Some(15_000));
    }

    #[test]
    fn what_left_as_slowly_or_came_with_a_pause_tells_nothing() {
        assert_eq!(seen(&[(0, 100), (0, 180), (1, 260)]), None, "too few");
        assert_eq!(seen(&[(0, 100), (80, 180), (160, 260), (240, 340)]), None, "the source is as slow");
        assert_eq!(seen(&[(0, 100), (0, 101), (1, 102), (1, 340)]), None, "the receiver paused");
    }
}
