//! What a peer's silence means, and what is done about it.
//!
//! QUIC's probe timeout doubles while a path is gone, so that after two seconds of nothing the next probe may be two
//! seconds away. Four rules end a hole soon after the path is back, without a packet more while it works:
//! - an end that was getting media and hears nothing sends a PING at a steady pace, not a doubling one;
//! - so does an end whose words get no ACK, whatever else it hears, if it has dialled (the other side may have begun
//!   anew at the same address, and know nothing) or answers what was asked just now; later, it does so where the peer's
//!   own questions show that it is there;
//! - an end that hears its peer again, and has written meanwhile, sends a probe at once: its ACK tells what was lost;
//! - an end that has dialled and hears nothing after the handshake, or only the peer's part of it, says its own again, a
//!   few times: then quinn-proto's probe timeout has doubled beyond reach, and another dial is sooner through.

use crate::congestion::News;
use quinn_proto::Side;
use std::time::{Duration, Instant};

/// Between two PINGs to a silent peer: a third of the 300 ms that may pass between the return of a path and that of its
/// media, and above the interval of any video.
const PACE: Duration = Duration::from_millis(100);
/// The same once two have had no answer: now the silence is the path's, and each PING may be the one that ends it.
const URGENT_PACE: Duration = Duration::from_millis(50);
/// A peer that is heard so long after a round trip is heard again. Above the ACK delay and a frame or two of any media.
const SILENCE: Duration = Duration::from_millis(200);
/// So long after the last stream data, silence is no reason to ask: what was watched has ended or rests, and the
/// keep-alive and the idle timeout do their part.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same after the handshake, for the first requests.
const OPENING: Duration = Duration::from_secs(2);

/// Probes for what gets no ACK: each says it again, and doubles the timeout of those to come. Then PINGs, which do not.
const PROBES: u8 = 3;
/// From the end of the handshake to when it is said again, at most: the round trip may be the wait for a packet that was
/// lost.
const LATEST: Duration = Duration::from_millis(300);
/// For how long it is said again: six or seven times, of which each may be two packets.
const REPEATS: Duration = Duration::from_millis(1100);

/// Between two questions of an end whose words get no ACK though it hears the peer: each lets a packet pass a window that
/// is full, and the path may be that slow.
const SLOW_PACE: Duration = Duration::from_millis(250);

/// How a datagram begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// With a packet of the handshake.
    Long,
    /// With what follows it.
    Short,
}

impl Header {
    pub(crate) fn of(datagram: &[u8]) -> Self {
        // RFC 9000 17.2.
        if datagram.first().is_some_and(|first| first & 0x80 != 0) { Self::Long } else { Self::Short }
    }
}

/// How a datagram of the peer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// In the course of things.
    Still,
    /// For the peer, whom we have dialled, the handshake is not over: it has not got the end of it.
    Unfinished,
    /// So long after what we wrote first since it was heard last.
    Again(Duration),
}

/// How to ask a silent peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// For an ACK.
    Ping,
    /// By saying again what it may not have got.
    Probe,
}

/// What the peer may not have got.
#[derive(Debug, Clone, Copy)]
struct Owed {
    /// Since when no ACK has come of anything new.
    since: Instant,
    /// When to ask for one.
    late: Instant,
    /// When something was written last.
    wrote: Instant,
    /// Probes since.
    probed: u8,
}

impl Owed {
    /// Until when to ask without being asked.
    fn until(&self, side: Side, fed: Instant) -> Instant {
        if side.is_client() { self.late.max(self.since + PATIENCE) } else { fed + OPENING }
    }
}

/// The peer may not have got the end of the handshake.
#[derive(Debug, Clone, Copy)]
struct Opening {
    /// When to say it again.
    next: Instant,
    /// How often that was done.
    said: u32,
    /// When to give up.
    until: Instant,
}

/// When one connection heard, got and asked.
#[derive(Debug)]
pub(crate) struct Pulse {
    heard: Instant,
    /// The client's has dialled.
    side: Side,
    /// When stream data came last, or the handshake was over.
    fed: Instant,
    /// For how long after that silence is a reason to ask.
    patience: Duration,
    asked: Instant,
    /// What we wrote and have no ACK of.
    owed: Option<Owed>,
    /// `None`: the peer has been heard.
    opening: Option<Opening>,
    /// Since when something of ours waits for a sign of the peer.
    waits: Option<Instant>,
}

impl Pulse {
    pub(crate) const fn new(now: Instant) -> Self {
        let patience = Duration::ZERO;
        Self { heard: now, side: Side::Server, fed: now, patience, asked: now, owed: None, opening: None, waits: None }
    }

    /// The handshake is over here. Whoever dialled cannot know yet whether the other side got the end of it.
    pub(crate) fn on_open(&mut self, now: Instant, side: Side, rtt: Duration) {
        self.side = side;
        (self.fed, self.patience) = (now, OPENING);
        let next = now + late(rtt).min(LATEST);
        self.opening = side.is_client().then_some(Opening { next, said: 0, until: now + late(rtt) + REPEATS });
    }

    /// A datagram came, over a path of this round trip.
    pub(crate) fn on_heard(&mut self, now: Instant, header: Header, rtt: Duration) -> Heard {
        if self.opening.is_some() && header == Header::Long {
            return Heard::Unfinished;
        }
        self.heard = now;
        self.opening = None;
        let silence = self.waits.take().map(|since| now.saturating_duration_since(since));
        silence.filter(|silence| *silence >= rtt + SILENCE).map_or(Heard::Still, Heard::Again)
    }

    /// Stream data came.
    pub(crate) const fn on_fed(&mut self, now: Instant) {
        (self.fed, self.patience) = (now, PATIENCE);
    }

    /// What ended the silence was not the peer.
    pub(crate) fn on_not_heard(&mut self, now: Instant, silence: Duration) {
        self.waits = Some(now - silence);
    }

    /// The app wrote, to a path of this round trip.
    pub(crate) fn on_write(&mut self, now: Instant, rtt: Duration) {
        self.waits.get_or_insert(now);
        match &mut self.owed {
            Some(owed) => owed.wrote = now,
            None => self.owed = Some(Owed { since: now, late: now + late(rtt), wrote: now, probed: 0 }),
        }
    }

    /// Whether it is time to look what the peer has got.
    pub(crate) fn wants_news(&self, now: Instant) -> bool {
        self.owed.is_some_and(|owed| owed.late <= now && now <= owed.until(self.side, self.fed))
    }

    /// Whether a peer that was just heard may have missed what was written, over a path of this least round trip: the usual
    /// one tells how long the queues were that may be gone.
    pub(crate) fn wants_late_news(&self, now: Instant, least_rtt: Duration) -> bool {
        self.owed.is_some_and(|owed| owed.since + late(least_rtt).max(SLOW_PACE) <= now)
    }

    /// Whether to ask it now.
    pub(crate) fn take_slow_ask(&mut self, now: Instant, least_rtt: Duration) -> bool {
        let asks = self.wants_late_news(now, least_rtt) && self.asked + SLOW_PACE <= now;
        if asks {
            self.asked = now;
        }
        asks
    }

    /// Nobody tells what the peer has got.
    pub(crate) const fn on_no_news(&mut self) {
        self.owed = None;
    }

    /// What the peer has got, over a path of this round trip.
    pub(crate) fn on_news(&mut self, news: News, rtt: Duration) {
        let Some(owed) = self.owed.filter(|owed| owed.since < news.at) else { return };
        self.owed = (news.more || owed.wrote > news.at).then(|| {
            let since = if news.more { news.at } else { owed.wrote };
            Owed { since, late: since + late(rtt), probed: 0, ..owed }
        });
    }

    /// Whether the end of the handshake was said often enough.
    pub(crate) fn gives_up(&self, now: Instant) -> bool {
        self.opening.is_some_and(|opening| opening.until <= now)
    }

    /// When to ask next, or to give up.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        if let Some(Opening { next, until, .. }) = self.opening {
            return Some(next.min(until));
        }
        let paced = self.asked + self.pace();
        let silence = Some(paced.max(self.heard + PACE)).filter(|at| *at <= self.fed + self.patience);
        let owed =
            self.owed.and_then(|owed| Some(owed.late.max(paced)).filter(|at| *at <= owed.until(self.side, self.fed)));
        silence.into_iter().chain(owed).min()
    }

    fn pace(&self) -> Duration {
        if self.asked >= self.heard + PACE * 2 { URGENT_PACE } else { PACE }
    }

    /// Whether to ask now, and how.
    pub(crate) fn take_ask(&mut self, now: Instant) -> Option<Ask> {
        self.ask_at().filter(|at| *at <= now)?;
        self.asked = now;
        if let Some(Opening { next, said, .. }) = &mut self.opening {
            // What is repeated is larger than a PING: each pause twice, then twice as long.
            *next = now + PACE * (1 << (*said / 2).min(8));
            *said += 1;
            return Some(Ask::Probe);
        }
        let (side, fed) = (self.side, self.fed);
        let is_due = |owed: &Owed| owed.late <= now && now <= owed.until(side, fed);
        let owed = self.owed.as_mut().filter(|owed| is_due(owed) && owed.probed < PROBES);
        Some(owed.map_or(Ask::Ping, |owed| {
            owed.probed += 1;
            Ask::Probe
        }))
    }
}

/// How long an ACK may take: a round trip, what delays ACKs, and what a probe timeout would allow for jitter.
const fn late(rtt: Duration) -> Duration {
    rtt.saturating_mul(2).saturating_add(PACE)
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
        assert_eq!(pulse.on_heard(start + 3 * SILENCE, Header::Short, RTT), Heard::Still, "nothing was written");
        let wrote = start + 4 * SILENCE;
        pulse.on_write(wrote, RTT);
        pulse.on_write(wrote + SILENCE, RTT);
        assert_eq!(pulse.on_heard(wrote + 2 * SILENCE, Header::Short, RTT), Heard::Again(2 * SILENCE));
        assert_eq!(pulse.on_heard(wrote + 4 * SILENCE, Header::Short, RTT), Heard::Still);
    }

    #[test]
    fn an_answer_within_its_round_trip_ends_no_silence() {
        let start = SystemClock.now();
        let mut pulse = Pulse::new(start);
        // Whoever writes seldom hears seldom.
        let wrote = start + 5 * SILENCE;
        pulse.on_write(wrote, RTT);
        assert_eq!(pulse.on_heard(wrote + RTT, Header::Short, RTT), Heard::Still);
        let far = 3 * SILENCE;
        pulse.on_write(wrote + far, RTT);
        assert_eq!(pulse.on_heard(wrote + far * 2, Header::Short, far), Heard::Still);
    }

    #[test]
    fn asking_keeps_its_pace_and_ends() {
        let start = SystemClock.now();
        let mut pulse = Pulse::new(start);
        pulse.on_fed(start);
        assert_eq!(pulse.take_ask(start), None);
        let asks = (1..400_u32).filter(|tick| pulse.take_ask(start + URGENT_PACE * *tick) == Some(Ask::Ping));
        let asks: Vec<u32> = asks.collect();
        assert_eq!(asks[..4], [2, 4, 5, 6], "every 100 ms, and every 50 ms once two have had no answer");
        assert_eq!((asks.len(), asks.last()), (198, Some(&200)), "for 10 s");
        assert_eq!(pulse.ask_at(), None);
        let again = start + PACE * 100;
        pulse.on_heard(again, Header::Short, RTT);
        pulse.on_fed(again);
        assert_eq!(pulse.ask_at(), Some(again + PACE));
    }

    #[test]
    fn whoever_dialled_says_the_end_of_the_handshake_again_until_the_peer_is_heard() {
        let start = SystemClock.now();
        let mut pulse = Pulse::new(start);
        pulse.on_open(start, Side::Client, RTT);
        let asks = |pulse: &mut Pulse, from: u32, to: u32| -> Vec<(u32, Ask)> {
            (from..to).filter_map(|tick| Some((tick, pulse.take_ask(start + PACE * tick)?))).collect()
        };
        assert_eq!(
            asks(&mut pulse, 0, 10),
            [2, 3, 4, 6, 8].map(|tick| (tick, Ask::Probe)),
            "160 ms, then twice each pause"
        );
        assert_eq!(pulse.on_heard(start + PACE * 9, Header::Long, RTT), Heard::Unfinished);
        assert_eq!(pulse.on_heard(start + PACE * 10, Header::Short, RTT), Heard::Still);
        assert_eq!(asks(&mut pulse, 10, 13), [(11, Ask::Ping), (12, Ask::Ping)]);
        pulse.on_open(start, Side::Server, RTT);
        assert_eq!(asks(&mut pulse, 13, 14), [(13, Ask::Ping)]);
    }
}
