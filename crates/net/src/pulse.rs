//! What a peer's silence means, and what is done about it.
//!
//! QUIC's probe timeout doubles while a path is gone, so that after two seconds of nothing the next probe may be two
//! seconds away. Two rules end a hole soon after the path is back, without a packet more while it works:
//! - an end that was getting media and hears nothing sends a PING at a steady pace, not a doubling one;
//! - an end that hears its peer again, and has written meanwhile, sends a PING at once: its ACK tells what was lost.

use std::time::{Duration, Instant};

/// Between two PINGs to a silent peer: a third of the 300 ms that may pass between the return of a path and that of its
/// media, and above the interval of any video.
const PACE: Duration = Duration::from_millis(100);
/// A peer that is heard so long after a round trip is heard again. Above the ACK delay and a frame or two of any media.
const SILENCE: Duration = Duration::from_millis(200);
/// So long after the last stream data, silence is no reason to ask: what was watched has ended or rests, and the
/// keep-alive and the idle timeout do their part.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same after the handshake, for the first requests.
const OPENING: Duration = Duration::from_secs(2);

/// How a datagram of the peer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// In the course of things.
    Still,
    /// So long after what we wrote first since it was heard last.
    Again(Duration),
}

/// When one connection heard, got and asked.
#[derive(Debug)]
pub(crate) struct Pulse {
    heard: Instant,
    /// Until when silence is a reason to ask.
    until: Instant,
    asked: Instant,
    /// Since when something of ours waits for a sign of the peer.
    waits: Option<Instant>,
}

impl Pulse {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { heard: now, until: now, asked: now, waits: None }
    }

    /// The handshake is over.
    pub(crate) fn on_open(&mut self, now: Instant) {
        self.until = now + OPENING;
    }

    /// A datagram came, over a path of this round trip.
    pub(crate) fn on_heard(&mut self, now: Instant, rtt: Duration) -> Heard {
        self.heard = now;
        let silence = self.waits.take().map(|since| now.saturating_duration_since(since));
        silence.filter(|silence| *silence >= rtt + SILENCE).map_or(Heard::Still, Heard::Again)
    }

    /// Stream data came.
    pub(crate) fn on_fed(&mut self, now: Instant) {
        self.until = now + PATIENCE;
    }

    /// The app wrote.
    pub(crate) fn on_write(&mut self, now: Instant) {
        self.waits.get_or_insert(now);
    }

    /// When to ask next.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        let at = self.heard.max(self.asked) + PACE;
        (at <= self.until).then_some(at)
    }

    /// Whether to ask now; the next time is one pace away then.
    pub(crate) fn take_ask(&mut self, now: Instant) -> bool {
        let due = self.ask_at().is_some_and(|at| at <= now);
        if due {
            self.asked = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const RTT: Duration = Duration::from_millis(30);

    #[test]
    fn a_peer_is_heard_again_after_a_silence_in_which_we_wrote() {
        let start = SystemClock.now();
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.on_heard(start + 3 * SILENCE, RTT), Heard::Still, "nothing was written");
        let wrote = start + 4 * SILENCE;
        pulse.on_write(wrote);
        pulse.on_write(wrote + SILENCE);
        assert_eq!(pulse.on_heard(wrote + 2 * SILENCE, RTT), Heard::Again(2 * SILENCE));
        assert_eq!(pulse.on_heard(wrote + 4 * SILENCE, RTT), Heard::Still);
    }

    #[test]
    fn an_answer_within_its_round_trip_ends_no_silence() {
        let start = SystemClock.now();
        let mut pulse = Pulse::new(start);
        // Whoever writes seldom hears seldom.
        let wrote = start + 5 * SILENCE;
        pulse.on_write(wrote);
        assert_eq!(pulse.on_heard(wrote + RTT, RTT), Heard::Still);
        let far = 3 * SILENCE;
        pulse.on_write(wrote + far);
        assert_eq!(pulse.on_heard(wrote + far * 2, far), Heard::Still);
    }

    #[test]
    fn asking_keeps_its_pace_and_ends() {
        let start = SystemClock.now();
        let mut pulse = Pulse::new(start);
        pulse.on_fed(start);
        assert!(!pulse.take_ask(start));
        let times = (0..200_u32).filter(|tick| pulse.take_ask(start + PACE * *tick)).count();
        assert_eq!(times, 100, "every 100 ms for 10 s");
        assert_eq!(pulse.ask_at(), None);
        let again = start + PACE * 100;
        pulse.on_heard(again, RTT);
        pulse.on_fed(again);
        assert_eq!(pulse.ask_at(), Some(again + PACE));
    }
}
