//! How long after a round trip packets still come that others overtook.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// In round trips, how long a packet that was overtaken is waited for at most. Radio links reorder by many packets: at
/// 40 ms +- 15 ms, RFC 9002's three packets and an eighth take two thirds of all packets for lost, and sending them
/// again fills the path; three eighths call none of them lost that matters.
pub(crate) const MOST: f32 = 0.375;
/// And at least (RFC 9002 6.1.2).
const LEAST: f32 = 0.125;
/// How many times what was seen: what comes later than the wait is lost to this measure as well.
const TIMES: f32 = 2.0;
/// What was seen counts for so long, and for as long again: in round trips, time and packets.
const ROUNDS: u32 = 16;
const SPAN: Duration = Duration::from_secs(1);
const PACKETS: u64 = 64;

/// Looks for packets that are acknowledged after such as were sent later: more of them in an ACK frame than its largest
/// number has advanced.
///
/// RFC 8985 6.2 looks for the same and widens its window of patience with it.
#[derive(Debug, Clone)]
pub(super) struct Reorder {
    /// Largest number acknowledged.
    largest: u64,
    /// Packets of the ACK frame in hand, and when the oldest of them left.
    count: u64,
    oldest: Instant,
    /// The round trip before it.
    rtt: Duration,
    /// The most that one was late, in round trips, in the span that ends at `until` and in the one before.
    seen: f32,
    before: f32,
    until: Instant,
    /// Packets acknowledged in the span.
    packets: u64,
    wait: Wait,
}

/// How long to wait for what was overtaken: the measure shows, and others read.
#[derive(Debug, Clone)]
pub(crate) struct Wait(Arc<AtomicU32>);

impl Wait {
    pub(crate) fn new(rounds: f32) -> Self {
        Self(Arc::new(AtomicU32::new(rounds.to_bits())))
    }

    pub(crate) fn set(&self, rounds: f32) {
        self.0.store(rounds.to_bits(), Relaxed);
    }

    /// In round trips, from [`LEAST`] to [`MOST`].
    pub(crate) fn rounds(&self) -> f32 {
        f32::from_bits(self.0.load(Relaxed))
    }
}

impl Reorder {
    /// Of a path that may reorder.
    pub(super) fn new(now: Instant) -> Self {
        let wait = Wait::new(MOST);
        Self {
            largest: 0,
            count: 0,
            oldest: now,
            rtt: Duration::ZERO,
            seen: 0.0,
            before: MOST,
            until: now + SPAN,
            packets: 0,
            wait,
        }
    }

    pub(super) fn wait(&self) -> Wait {
        self.wait.clone()
    }

    /// A packet is acknowledged; those of one ACK frame come in the order of their numbers.
    pub(super) fn on_ack(&mut self, sent: Instant, rtt: impl FnOnce() -> Duration) {
        if self.count == 0 {
            (self.oldest, self.rtt) = (sent, rtt());
        }
        self.count += 1;
    }

    /// All packets of one ACK frame are counted, whose largest number is this.
    pub(super) fn end_batch(&mut self, now: Instant, largest: u64) {
        let count = std::mem::take(&mut self.count);
        // Each space has numbers of its own, and those of the handshake are few.
        let advanced = largest.saturating_sub(std::mem::replace(&mut self.largest, largest));
        self.packets += count;
        if count > advanced && !self.rtt.is_zero() {
            self.on_overtaken(now);
        }
        if self.packets >= PACKETS && now >= self.until {
            self.end_span(now);
        }
    }

    /// The oldest packet of the ACK frame in hand was overtaken.
    #[cold]
    fn on_overtaken(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.oldest).saturating_sub(self.rtt).div_duration_f32(self.rtt);
        self.seen = self.seen.max(late);
        self.show();
    }

    #[cold]
    fn end_span(&mut self, now: Instant) {
        self.until = now + SPAN.max(self.rtt * ROUNDS);
        (self.before, self.seen, self.packets) = (self.seen, 0.0, 0);
        self.show();
    }

    fn show(&self) {
        self.wait.set((self.seen.max(self.before) * TIMES).clamp(LEAST, MOST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const MS: Duration = Duration::from_millis(1);
    const RTT: Duration = Duration::from_millis(80);

    /// ACK frames, one every 10 ms: for each the numbers of packets, which left every millisecond, and how long after a
    /// round trip the first of them comes.
    fn after(frames: impl Iterator<Item = (&'static [u64], u32)>) -> f32 {
        let start = SystemClock.now();
        let mut reorder = Reorder::new(start);
        let (mut base, mut largest) = (0, 0);
        for (frame, (numbers, late)) in (0..).zip(frames) {
            let now = start + 10 * MS * frame;
            for number in numbers {
                let later = u32::try_from(number - numbers[0]).expect("a few") * MS;
                reorder.on_ack(now + later - RTT - late * MS, || RTT);
                largest = largest.max(base + number);
            }
            reorder.end_batch(now, largest);
            base += 10;
        }
        reorder.wait().rounds()
    }

    fn is(found: f32, wanted: f32) -> bool {
        (found - wanted).abs() < 0.001
    }

    #[test]
    fn a_path_that_may_reorder_is_waited_for_until_it_has_shown_that_it_does_not() {
        let order: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        assert!(is(after(std::iter::repeat_n((order, 0), 100)), MOST));
        assert!(is(after(std::iter::repeat_n((order, 0), 400)), LEAST));
        let losses: &[u64] = &[2, 3, 5, 6, 7, 10];
        assert!(is(after(std::iter::repeat_n((losses, 40), 400)), LEAST), "what is lost has overtaken nobody");
    }

    #[test]
    fn what_comes_after_later_packets_widens_the_wait() {
        let (ahead, behind): (&[u64], &[u64]) = (&[1, 2, 5, 6, 7, 8, 9, 20], &[1, 2, 3, 4]);
        let wait = |late| after((0..400).map(|turn| if turn % 2 == 0 { (ahead, 0) } else { (behind, late) }));
        assert!(is(wait(8), 0.2) && is(wait(30), MOST) && is(wait(1), LEAST), "{:?}", [8, 30, 1].map(wait));
    }
}
