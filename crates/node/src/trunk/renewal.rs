//! When to dial media anew: after a silence the transport waits for a retransmission whose pause has doubled again and
//! again, while control, which is never idle, is heard at once.

use sluice_moqt::transport::{PathStats, SessionId, Side};
use std::time::{Duration, Instant};

/// What the peer may wait before it acknowledges (RFC 9000 18.2, max_ack_delay).
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// How long a connection that a fresh one replaces may go on while the fresh one has yet to deliver.
const RETIREMENT: Duration = Duration::from_secs(2);

/// The media leg of a trunk, as far as replacing it goes.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// Who dialled the present connection dials the fresh one: it can, and there is one who does.
    side: Side,
    heard: Instant,
    received: u64,
    /// Control is heard again after a silence, and media has not been since.
    is_behind: bool,
    retiring: Option<(SessionId, Instant)>,
}

impl Renewal {
    /// No connection so far.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { side: Side::Server, heard: now, received: 0, is_behind: false, retiring: None }
    }

    /// A fresh connection is up.
    pub(crate) const fn on_connected(&mut self, now: Instant, side: Side) {
        self.side = side;
        self.heard = now;
        self.received = 0;
        self.is_behind = false;
    }

    /// Control is heard again.
    pub(crate) const fn on_control_back(&mut self) {
        self.is_behind = true;
    }

    /// Figures of the connection: whether anything came.
    pub(crate) const fn on_stats(&mut self, now: Instant, stats: PathStats) {
        if stats.udp_rx_bytes > self.received {
            self.received = stats.udp_rx_bytes;
            self.heard = now;
            self.is_behind = false;
        }
    }

    /// From when on a fresh connection is due, at this round trip: media is silent for two probe timeouts
    /// (RFC 9002 6.2.1).
    pub(crate) fn due(&self, rtt: Option<Duration>, jitter: Duration) -> Option<Instant> {
        let pto = rtt.unwrap_or(Duration::from_millis(333)) + jitter * 4 + MAX_ACK_DELAY;
        (self.is_behind && self.side == Side::Client).then(|| self.heard + pto * 2)
    }

    /// A connection was replaced and is to end later. Returns the one that was to end before it.
    pub(crate) fn retire(&mut self, now: Instant, session: SessionId) -> Option<SessionId> {
        self.retiring.replace((session, now + RETIREMENT)).map(|(earlier, _)| earlier)
    }

    /// The connection that waits for its end, and the time of that.
    pub(crate) const fn retiring(&self) -> Option<(SessionId, Instant)> {
        self.retiring
    }

    /// It is over.
    pub(crate) const fn retired(&mut self) -> Option<SessionId> {
        match self.retiring.take() {
            Some((session, _)) => Some(session),
            None => None,
        }
    }
}
