//! One connection as the loop sees it: quinn-proto's state, and what decides when it is visited.

use crate::congestion;
use crate::idle::idle_timeout;
use crate::incoming::Source;
use crate::overdue::Overdue;
use crate::port::Leg;
use crate::profile::Reordering;
use crate::pulse::{Ask, Heard, Pulse};
use crate::send_window::Tracker;
use crate::timer::Armed;
use quinn_proto::{ConnectionEvent, ConnectionHandle};
use sluice_moqt::transport::SessionId;
use std::time::{Duration, Instant};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The app has not heard of it; we have dialled if it is an attempt.
    Handshaking { attempt: Option<Attempt>, deadline: Instant },
    /// The app talks on it.
    Open,
    /// The app was told that it is over; quinn-proto drains it.
    Ended,
}

/// One of the connections that a dial may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Key of the dial.
    pub(crate) dial: usize,
    /// When another is to begin beside it.
    pub(crate) another: Option<Instant>,
}

/// Small facts about a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    /// Stands in the ready queue or waits for its port.
    pub(crate) const QUEUED: Self = Self(1);
    /// Got packets whose events the app has not seen.
    pub(crate) const FED: Self = Self(2);
    /// The app asked for `select`.
    pub(crate) const WOKEN: Self = Self(4);
    /// The last `select` was refused bytes: an ACK may make room for them.
    pub(crate) const REFUSED: Self = Self(8);
    /// The last transmit left bytes behind: an ACK may open the congestion window.
    pub(crate) const BEHIND: Self = Self(16);
    /// The peer has not got our handshake flight.
    pub(crate) const UNHEARD: Self = Self(32);
    /// Something is due at the next visit beside what may be sent.
    pub(crate) const WAITING: Self = Self(4 | 32);
    /// Either of `REFUSED` and `BEHIND`.
    pub(crate) const PRESSED: Self = Self(8 | 16);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Clears `other` and says whether it was set.
    pub(crate) const fn take(&mut self, other: Self) -> bool {
        let had = self.has(other);
        self.0 &= !other.0;
        had
    }
}

/// When things happened on a connection, and when they are due.
#[derive(Debug)]
pub(crate) struct Times {
    /// The next path report.
    pub(crate) stats_due: Instant,
    pub(crate) pulse: Pulse,
    /// When our handshake flight left last.
    pub(crate) flight: Instant,
    /// A time at which the peer was there for sure, or the connection began: the idle timer has started no earlier.
    pub(crate) alive: Instant,
}

impl Times {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { stats_due: now, pulse: Pulse::new(now), flight: now, alive: now }
    }
}

pub(crate) struct Conn {
    /// Not boxed: an allocator lays large values out at strides of a power of two, and the caches keep only a few dozen
    /// connections of those (6 % of the cost at 500 viewers).
    pub(crate) quic: quinn_proto::Connection,
    pub(crate) handle: ConnectionHandle,
    pub(crate) port: usize,
    pub(crate) id: SessionId,
    pub(crate) leg: Leg,
    pub(crate) phase: Phase,
    /// Whose budget an accepted connection uses.
    pub(crate) source: Option<Source>,
    pub(crate) held: Held,
    pub(crate) window: Tracker,
    pub(crate) times: Times,
    pub(crate) armed: Armed,
    /// The deadline as it was at the end of the last visit; what was fed since is followed by another.
    pub(crate) due: Option<Instant>,
    pub(crate) marks: Marks,
    /// Where losses are told by what the path shows, once the handshake is over.
    pub(crate) overdue: Option<Overdue>,
}

impl Conn {
    /// The next time that this connection needs a visit by itself.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        let handshake = match self.phase {
            Phase::Handshaking { attempt, deadline } => {
                attempt.and_then(|attempt| attempt.another).into_iter().chain([deadline]).min()
            }
            Phase::Open | Phase::Ended => None,
        };
        let ask = self.times.pulse.ask_at().filter(|_| self.is_open());
        [self.timer(), self.held.deadline(), handshake, ask].into_iter().flatten().min()
    }

    /// When to ring quinn-proto's next timer.
    fn timer(&mut self) -> Option<Instant> {
        let timer = self.quic.poll_timeout()?;
        Some(self.rings_at(timer))
    }

    /// When to ring quinn-proto's next timer, which it wants rung at `timer`.
    fn rings_at(&self, timer: Instant) -> Instant {
        // What is left to send has a timer of its own, the pacer's.
        let overdue = self.overdue.as_ref().filter(|_| !self.marks.has(Marks::BEHIND));
        overdue.map_or(timer, |overdue| overdue.rings_at(timer, self.quic.rtt(), self.quic.min_rtt()))
    }

    /// Rings quinn-proto's timers that are due, or its next one if that is due before its time.
    pub(crate) fn ring(&mut self, now: Instant) {
        let Some(timer) = self.quic.poll_timeout() else { return };
        if timer <= now {
            self.quic.handle_timeout(now);
        } else if self.rings_at(timer) <= now {
            self.overdue.iter_mut().for_each(|overdue| overdue.on_rung(timer));
            self.quic.handle_timeout(timer);
        }
    }

    /// Feeds a datagram of a peer that is heard in the course of things.
    pub(crate) fn feed(&mut self, now: Instant, event: ConnectionEvent) {
        self.quic.handle_event(event);
        if let Some(overdue) = &mut self.overdue {
            overdue.on_acks(now, self.quic.stats().frame_rx.acks);
        }
        self.ask_heard(now);
    }

    /// The handshake is over.
    pub(crate) fn on_open(&mut self, now: Instant) {
        self.phase = Phase::Open;
        self.times.pulse.on_open(now, self.quic.side(), self.quic.rtt());
        self.times.flight = now;
        self.times.alive = now;
        // What was repeated may be acknowledged late, and tell a round trip that contains all repetitions.
        if self.quic.rtt() > LONGEST_RTT {
            self.forget_path(now);
        }
        self.watch_losses(now);
    }

    /// Whatever was known of the path is void.
    fn forget_path(&mut self, now: Instant) {
        self.quic.path_changed(now);
        self.watch_losses(now);
    }

    /// Has losses told by what the path shows to the controller that it has now.
    pub(crate) fn watch_losses(&mut self, now: Instant) {
        if !self.is_open() || self.leg.reordering == Reordering::Fixed {
            return;
        }
        let Some(wait) = congestion::wait(self.quic.congestion_state()) else { return };
        self.overdue.get_or_insert_with(|| Overdue::new(now, wait.clone())).follow(wait);
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Asks a peer that has been silent for too long for a sign of life.
    pub(crate) fn ask(&mut self, now: Instant) {
        if !self.is_open() {
            return;
        }
        if self.times.pulse.wants_news(now) {
            self.look_for_news();
        }
        match self.times.pulse.take_ask(now) {
            None => {}
            Some(Ask::Ping) => self.ping(),
            Some(Ask::Probe) => self.ring_early(),
        }
    }

    /// Asks a peer that has just been heard what it has got, if that is long in coming.
    fn ask_heard(&mut self, now: Instant) {
        let least_rtt = self.quic.min_rtt();
        if !self.times.pulse.wants_late_news(now, least_rtt) {
            return;
        }
        self.look_for_news();
        if self.times.pulse.take_slow_ask(now, least_rtt) {
            self.ping();
        }
    }

    /// Takes note of what the peer has got.
    fn look_for_news(&mut self) {
        match congestion::flight(self.quic.congestion_state()) {
            Some(flight) => flight.news().into_iter().for_each(|news| {
                self.times.alive = self.times.alive.max(news.at);
                self.times.pulse.on_news(news, self.quic.rtt());
            }),
            None => self.times.pulse.on_no_news(),
        }
    }

    /// Sends a PING, even where the window is full.
    fn ping(&mut self) {
        congestion::lend(self.quic.congestion_state());
        self.quic.ping();
    }

    /// Notes that a datagram came by which the peer shows that its handshake is not over: whoever dialled and speaks
    /// again so long after our flight has not got it, and whoever was dialled and repeats its own. RFC 9002 6.2.3 lets
    /// us repeat ours before its probe timeout.
    pub(crate) fn on_heard_early(&mut self, now: Instant, heard: Heard) {
        let accepted = matches!(self.phase, Phase::Handshaking { attempt: None, .. });
        let unheard = accepted || heard == Heard::Unfinished;
        if unheard && now.saturating_duration_since(self.times.flight) >= FLIGHT_PAUSE {
            self.times.flight = now;
            self.marks.set(Marks::UNHEARD);
        }
    }

    /// Lets quinn-proto's timers ring now, once each: for the sake of the probe timer, whose probes repeat what was not
    /// acknowledged and pass a window that is full. For the others an early ring does not matter, but for the idle timer,
    /// which would end the connection: how far is reached ahead counts from when the peer was there for sure.
    pub(crate) fn ring_early(&mut self) {
        let idle = idle_timeout(&self.quic, self.leg.idle_timeout);
        self.quic.handle_timeout(self.times.alive + idle * 3 / 4);
    }

    /// Where a peer that we dialled says its flight again, the round trip of the handshake may be the wait for a packet that
    /// was lost: with that, and the backoff that it leaves, the next probe would come after seconds, out of reach of an
    /// early ring. The PING arms the timer anew.
    pub(crate) fn doubt_handshake_rtt(&mut self, now: Instant) {
        if self.quic.side().is_client() && self.quic.rtt() >= DOUBTFUL_RTT {
            self.forget_path(now);
            self.quic.ping();
        }
    }

    /// Feeds the first datagram after a silence, and asks at once for an ACK that tells what was lost in it.
    ///
    /// A PING waits where the window is full of what was lost, so that a probe has to ask, whose timer the silence has
    /// doubled.
    pub(crate) fn feed_after_silence(&mut self, now: Instant, event: ConnectionEvent, silence: Duration) {
        let (rtt, remote) = (self.quic.rtt(), self.quic.remote_address());
        if !self.feed_doubtful(now, event) {
            return self.times.pulse.on_not_heard(now, silence);
        }
        self.quic.ping();
        // A path that is new has a window of its own, and is being validated.
        if self.quic.remote_address() != remote {
            return;
        }
        // Where little was allowed, the path is narrow: to start anew would flood it.
        let controller = self.quic.congestion_state();
        if silence >= persistent(rtt) && controller.window() >= controller.initial_window() {
            self.forget_path(now);
        }
        self.ring_early();
    }

    /// Feeds a datagram that may be anybody's, or one that cannot be read yet; returns whether it was the peer's for sure.
    pub(crate) fn feed_doubtful(&mut self, now: Instant, event: ConnectionEvent) -> bool {
        let before = frames(&self.quic);
        self.quic.handle_event(event);
        let read = frames(&self.quic) != before;
        if read {
            self.times.alive = now;
        }
        read
    }

    /// Whether a datagram of `len` bytes that has come may wait for the next visit.
    pub(crate) fn may_hold(&mut self, now: Instant, len: usize) -> bool {
        if self.leg.ack_hold.is_zero() || len > MAX_ACK_DATAGRAM {
            return false;
        }
        self.held.on_ack();
        self.is_open() && self.held.pays(now) && !self.marks.has(Marks::PRESSED)
    }

    /// Hands held datagrams to quinn-proto; returns how many there were.
    pub(crate) fn feed_held(&mut self) -> usize {
        let count = self.held.events.len();
        self.held.until = None;
        for event in self.held.events.drain(..) {
            if !self.quic.is_drained() {
                self.quic.handle_event(event);
            }
        }
        count
    }
}

/// Frames of those kinds of which any packet has one, so far.
fn frames(quic: &quinn_proto::Connection) -> u64 {
    let rx = quic.stats().frame_rx;
    rx.acks + rx.crypto + rx.ping + rx.stream + rx.datagram
}

/// Between two handshake flights, unless the probe timeout says otherwise: the two probes of a client are one question.
const FLIGHT_PAUSE: Duration = Duration::from_millis(100);

/// A round trip of a handshake that may be the wait for a lost packet: above those of most paths, and below the least such
/// wait (three times what a dialler assumes).
const DOUBTFUL_RTT: Duration = Duration::from_millis(250);
/// A first round trip that is longer says how long packets were lost; two hops by satellite take 1.2 s.
const LONGEST_RTT: Duration = Duration::from_secs(2);

/// From when on a silence is persistent congestion (RFC 9002 7.6: three probe timeouts): whatever was known of the path
/// is void. quinn-proto's own count is misled by an ACK from before the silence, which comes after it and tells a round
/// trip that contains it.
fn persistent(rtt: Duration) -> Duration {
    (rtt * 3 + MAX_ACK_DELAY) * 3
}

/// Datagrams with nothing but an ACK are shorter than this: header 13, ACK frame with ECN counts and a few ranges
/// 30, tag 16. Requests are longer, and so are ACKs after loss, which have many ranges: both are fed at once.
const MAX_ACK_DATAGRAM: usize = 64;
/// RFC 9000 18.2.
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// More than this many ACKs between two visits means that visits are late; the rest is fed at once.
const MAX_HELD: usize = 16;
/// So many ACKs between two writes are worth holding.
const CROWD: u8 = 3;
/// A connection carries media while it writes at least this often.
const MEDIA_INTERVAL: Duration = Duration::from_millis(100);

/// Probable ACKs that wait for the next visit of a connection that carries media.
///
/// Every ACK costs a visit, and one visit can do for all ACKs of a frame. They wait only on connections that write
/// steadily, only where a frame brings several (for one or two, holding costs what it saves: a look at a cold connection
/// to put them aside), and only while nothing presses to be sent: an ACK may open the congestion window. quinn-proto
/// stamps the arrival in `Endpoint::handle`, so RTT samples stay right.
#[derive(Debug, Default)]
pub(crate) struct Held {
    events: Vec<ConnectionEvent>,
    until: Option<Instant>,
    /// Probable ACKs since the last write.
    since_write: u8,
    /// Whether the write before it brought [`CROWD`].
    crowded: bool,
    last_write: Option<Instant>,
    media_until: Option<Instant>,
}

impl Held {
    /// Notes that bytes were written at `now`.
    pub(crate) fn on_write(&mut self, now: Instant) {
        if self.last_write.is_some_and(|last| now.saturating_duration_since(last) <= MEDIA_INTERVAL) {
            self.media_until = Some(now + MEDIA_INTERVAL);
        }
        self.last_write = Some(now);
        self.crowded = self.since_write >= CROWD;
        self.since_write = 0;
    }

    /// Notes a probable ACK.
    const fn on_ack(&mut self) {
        self.since_write = self.since_write.saturating_add(1);
    }

    pub(crate) fn push(&mut self, event: ConnectionEvent, until: Instant) {
        self.until.get_or_insert(until);
        self.events.push(event);
    }

    fn pays(&self, now: Instant) -> bool {
        self.crowded && self.media_until.is_some_and(|until| now < until) && self.events.len() < MAX_HELD
    }

    const fn deadline(&self) -> Option<Instant> {
        self.until
    }
}
