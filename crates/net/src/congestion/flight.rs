//! What is known of a connection's packets in flight, which quinn-proto tells its controller alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Packets lent at once: the one that asks, and one for what was sent unseen (MTU probes are).
const LOAN: u64 = 2;

/// The last news from the peer of what it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct News {
    /// When the last ACK of anything new came.
    pub(crate) at: Instant,
    /// Whether anything was in flight still.
    pub(crate) more: bool,
}

/// Counts bytes in flight, and lets a question pass a window that is full.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flight {
    news: Option<News>,
    /// Bytes in flight, packets of ACKs alone since the last news counted with them.
    bytes: u64,
    /// Bytes beyond the window that may be in flight until the next news.
    loan: Arc<AtomicU64>,
}

impl Flight {
    pub(super) const fn on_sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// An ACK has been counted that leaves so much in flight, lost packets included.
    pub(super) fn on_acks(&mut self, now: Instant, in_flight: u64) {
        self.bytes = in_flight;
        self.news = Some(News { at: now, more: in_flight > 0 });
        if self.loan() > 0 {
            self.loan.store(0, Relaxed);
        }
    }

    /// So much of what was in flight is lost.
    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(news) = &mut self.news {
            news.more = self.bytes > 0;
        }
    }

    pub(crate) const fn news(&self) -> Option<News> {
        self.news
    }

    pub(super) fn loan(&self) -> u64 {
        self.loan.load(Relaxed)
    }

    /// Lends what a packet of `mtu` bytes needs in addition to `window`.
    pub(super) fn lend(&self, window: u64, mtu: u64) {
        self.loan.store((self.bytes + LOAN * mtu).saturating_sub(window), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn a_full_window_lends_a_packet_until_there_are_news() {
        let now = SystemClock.now();
        let mut flight = Flight::default();
        flight.on_sent(10_000);
        flight.lend(20_000, 1_200);
        assert_eq!(flight.loan(), 0, "there is room");
        flight.lend(10_000, 1_200);
        // The loan is with the connection's own copy, too.
        let copy = flight.clone();
        assert_eq!(copy.loan(), 2_400);
        flight.on_sent(1_200);
        flight.lend(10_000, 1_200);
        assert_eq!(flight.loan(), 3_600);
        flight.on_acks(now, 4_000);
        assert_eq!((flight.loan(), flight.news()), (0, Some(News { at: now, more: true })));
        flight.on_lost(4_000);
        assert_eq!(flight.news(), Some(News { at: now, more: false }));
    }
}
