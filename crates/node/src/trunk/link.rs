//! What is known of one trunk peer, and when to dial it.

use super::renewal::Renewal;
use super::wire::Hello;
use crate::config::{PeerConfig, Role};
use crate::metrics::{LinkBytes, TrunkMetrics};
use sluice_moqt::transport::{CloseReason, PathStats, SessionId};
use sluice_moqt::{Namespace, TrackName};
use sluice_topology::liveness::{Monitor, State};
use sluice_topology::{PopId, rtt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Probe interval of a link that carries nothing.
pub(crate) const IDLE_PROBE: Duration = Duration::from_secs(1);
/// Probe interval of a link that carries media.
pub(crate) const BUSY_PROBE: Duration = Duration::from_millis(100);
/// Probes remembered while their answer is out.
const MAX_PROBES_OUT: usize = 64;
const FIRST_REDIAL: Duration = Duration::from_millis(50);
const FAST_REDIAL: Duration = Duration::from_millis(500);
const SLOW_REDIAL: Duration = Duration::from_secs(10);
/// How long re-dials stay fast after a link was lost.
const FAST_PHASE: Duration = Duration::from_secs(60);
/// A connection that lives this long was accepted: in TLS 1.3 the dialler is connected before the peer has judged its
/// certificate.
const ACCEPTED_AFTER: Duration = Duration::from_secs(2);
/// How often a cause of failure is told again.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// How long the larger name waits for the smaller one's dial.
const DIAL_COURTESY: Duration = Duration::from_secs(1);

/// Which of a trunk's two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Leg {
    /// Directory and probes.
    Control,
    /// Tracks.
    Media,
}

/// Whether a link carries tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// It does not.
    Idle,
    /// It does.
    Busy,
}

/// Dialling state of one leg.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialler {
    next: Instant,
    pause: Duration,
    since: Instant,
    in_flight: bool,
    up: Option<Instant>,
}

impl Dialler {
    const fn new(first: Instant) -> Self {
        Self { next: first, pause: FIRST_REDIAL, since: first, in_flight: false, up: None }
    }

    /// Takes the dial that is due, if one is.
    fn take_due(&mut self, now: Instant) -> bool {
        if self.in_flight || now < self.next {
            return false;
        }
        self.in_flight = true;
        true
    }

    /// The dial failed or the connection was lost: the next one after a pause that grows, `jitter` in 0..1.
    fn retry(&mut self, now: Instant, jitter: f64) {
        self.in_flight = false;
        if self.up.take().is_some_and(|up| now.saturating_duration_since(up) >= ACCEPTED_AFTER) {
            self.pause = FIRST_REDIAL;
            self.since = now;
        }
        let limit = if now.saturating_duration_since(self.since) < FAST_PHASE { FAST_REDIAL } else { SLOW_REDIAL };
        self.next = now + self.pause.mul_f64((jitter - 0.5).mul_add(0.4, 1.0));
        self.pause = (self.pause * 2).min(limit);
    }

    const fn succeeded(&mut self, now: Instant) {
        self.in_flight = false;
        self.up = Some(now);
        self.next = now;
    }
}

/// Measured state of the link.
#[derive(Debug)]
struct Health {
    monitor: Option<Monitor>,
    rtt: rtt::Estimator,
    out: BTreeMap<u64, Instant>,
    next_seq: u64,
    next_probe: Instant,
    /// In force since the last probe.
    interval: Duration,
    /// What was told of it last, and when.
    told: Option<(CloseReason, Instant)>,
}

/// Bytes moved for this peer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    /// Media bytes accepted by the transport for the first time.
    pub(crate) sent: u64,
    /// Bytes appended here to tracks while this trunk carried them.
    pub(crate) carried: u64,
    /// Media payload received.
    pub(crate) received: u64,
    /// UDP figures of media connections that are gone.
    past: PathStats,
    /// UDP figures of the present one.
    present: PathStats,
}

/// How far the peer's part of the directory is known.
#[derive(Debug, Default)]
pub(crate) struct Sync {
    /// What it told since it connected, until it has told everything.
    pub(crate) told: Option<Told>,
    /// The connection is lost; what it told before is believed until then.
    pub(crate) believed_until: Option<Instant>,
}

/// What a peer mentioned.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Namespaces, with the relay that publishes them.
    pub(crate) namespaces: BTreeSet<(Namespace, PopId)>,
    /// Single tracks.
    pub(crate) tracks: BTreeSet<TrackName>,
}

/// One trunk peer.
#[derive(Debug)]
pub(crate) struct Link {
    /// As configured; peers that only dial us have no address.
    pub(crate) config: PeerConfig,
    /// Its number here, for dial tokens.
    pub(crate) number: u64,
    /// The control connection, when up.
    pub(crate) control: Option<SessionId>,
    /// The media connection, when up.
    pub(crate) media: Option<SessionId>,
    /// The peer's greeting.
    pub(crate) hello: Option<Hello>,
    /// The peer asked for no new joins.
    pub(crate) draining: bool,
    /// Prefixes that we asked it to watch, with the number of our watchers.
    pub(crate) watching: BTreeMap<Namespace, usize>,
    /// Prefixes that it asked us to watch.
    pub(crate) watched: BTreeSet<Namespace>,
    /// How far its directory is known.
    pub(crate) sync: Sync,
    /// Siblings: peers that can be asked through it.
    pub(crate) reach: BTreeSet<PopId>,
    /// Bytes.
    pub(crate) traffic: Traffic,
    /// Media that replaces media.
    pub(crate) renewal: Renewal,
    diallers: Option<[Dialler; 2]>,
    health: Health,
}

impl Link {
    /// A peer as configured; `ours` decides who dials.
    pub(crate) fn new(now: Instant, ours: &PopId, number: u64, config: PeerConfig) -> Self {
        let first = if *ours < config.pop { now } else { now + DIAL_COURTESY };
        let diallers = config.addr.map(|_| [Dialler::new(first), Dialler::new(first)]);
        Self {
            config,
            number,
            control: None,
            media: None,
            hello: None,
            draining: false,
            watching: BTreeMap::new(),
            watched: BTreeSet::new(),
            sync: Sync::default(),
            reach: BTreeSet::new(),
            traffic: Traffic::default(),
            renewal: Renewal::new(now),
            diallers,
            health: Health {
                monitor: None,
                rtt: rtt::Estimator::default(),
                out: BTreeMap::new(),
                next_seq: 0,
                next_probe: now,
                interval: IDLE_PROBE,
                told: None,
            },
        }
    }

    /// The tier of the peer: what it says, else what we were told.
    pub(crate) fn role(&self) -> Role {
        match &self.hello {
            _ if self.config.role == Role::Sibling => Role::Sibling,
            Some(hello) if hello.is_origin => Role::Origin,
            Some(_) => Role::Edge,
            None => self.config.role,
        }
    }

    /// Whether new tracks may be asked of this peer, and over which session.
    pub(crate) fn joinable(&self) -> Option<SessionId> {
        if self.draining || self.is_suspect() { None } else { self.media }
    }

    /// Where to ask if nobody else can be asked: a peer that is heard again may be on probation yet.
    pub(crate) fn returning(&self) -> Option<SessionId> {
        if self.draining || self.is_silent() { None } else { self.media }
    }

    /// Suspect, and not heard since.
    pub(crate) fn is_silent(&self) -> bool {
        self.health.monitor.as_ref().is_some_and(Monitor::is_silent)
    }

    /// Silent too long.
    pub(crate) fn is_suspect(&self) -> bool {
        self.health.monitor.as_ref().is_some_and(|m| m.state() == State::Suspect)
    }

    /// Takes the dials that are due now.
    pub(crate) fn due_dials(&mut self, now: Instant) -> Vec<Leg> {
        let missing = [(Leg::Control, self.control.is_none()), (Leg::Media, self.media.is_none())];
        let Some(diallers) = &mut self.diallers else { return Vec::new() };
        missing
            .into_iter()
            .zip(diallers)
            .filter_map(|((leg, missing), dialler)| (missing && dialler.take_due(now)).then_some(leg))
            .collect()
    }

    /// A dial of ours failed.
    pub(crate) fn on_dial_failed(&mut self, now: Instant, leg: Leg, jitter: f64) {
        if let Some(dialler) = self.dialler(leg) {
            dialler.retry(now, jitter);
        }
    }

    /// A connection is up. Returns the one that it replaces: the newest counts, since a peer that dials again has
    /// lost the other.
    pub(crate) fn on_connected(&mut self, now: Instant, leg: Leg, session: SessionId) -> Option<SessionId> {
        if let Some(dialler) = self.dialler(leg) {
            dialler.succeeded(now);
        }
        match leg {
            Leg::Control => {
                let is_remote = self.config.role != Role::Sibling;
                self.health.monitor = is_remote.then(|| Monitor::new(now, IDLE_PROBE));
                self.health.out.clear();
                self.health.next_probe = now;
                self.health.interval = IDLE_PROBE;
                self.draining = false;
                self.control.replace(session)
            }
            Leg::Media => {
                self.traffic.retire_present();
                self.media.replace(session)
            }
        }
    }

    /// A connection is gone. Returns its leg where it was one of the two in use.
    pub(crate) fn on_closed(&mut self, now: Instant, session: SessionId, jitter: f64) -> Option<Leg> {
        let leg = if self.control == Some(session) {
            self.control = None;
            self.reach.clear();
            self.health.monitor = None;
            self.hello = None;
            Leg::Control
        } else if self.media == Some(session) {
            self.media = None;
            self.traffic.retire_present();
            Leg::Media
        } else {
            return None;
        };
        if let Some(dialler) = self.dialler(leg) {
            dialler.retry(now, jitter);
        }
        Some(leg)
    }

    /// Whether a failure for this reason is worth telling: another one than the last, or the same after a while.
    pub(crate) fn is_news(&mut self, now: Instant, reason: &CloseReason) -> bool {
        let is_old =
            |(told, at): &(CloseReason, Instant)| told == reason && now.saturating_duration_since(*at) < TOLD_EVERY;
        if self.config.role == Role::Sibling || self.health.told.as_ref().is_some_and(is_old) {
            return false;
        }
        self.health.told = Some((reason.clone(), now));
        true
    }

    /// Anything came on the control connection.
    pub(crate) fn on_heard(&mut self, now: Instant) -> Option<State> {
        let monitor = self.health.monitor.as_mut()?;
        if monitor.is_silent() {
            self.renewal.on_control_back();
        }
        monitor.on_heard(now)
    }

    /// Takes the dial of fresh media beside the present one, if that is due.
    pub(crate) fn take_renewal(&mut self, now: Instant) -> bool {
        let is_due = self.media.is_some() && self.renewal_due().is_some_and(|at| at <= now);
        is_due && self.dialler(Leg::Media).is_some_and(|dialler| dialler.take_due(now))
    }

    fn renewal_due(&self) -> Option<Instant> {
        self.renewal.due(self.health.rtt.current(), self.health.rtt.jitter())
    }

    /// The answer to one of our probes.
    pub(crate) fn on_pong(&mut self, now: Instant, seq: u64) {
        if let Some(sent) = self.health.out.remove(&seq) {
            self.health.rtt.sample(now.saturating_duration_since(sent));
        }
    }

    /// The probe to send now, if one is due; busy links are probed faster.
    pub(crate) fn take_probe(&mut self, now: Instant, load: Load) -> Option<u64> {
        self.health.monitor.as_ref()?;
        let interval = match load {
            Load::Idle => IDLE_PROBE,
            Load::Busy => BUSY_PROBE,
        };
        // A link that has become busy is not left alone for the rest of an idle pause.
        if interval >= self.health.interval && now < self.health.next_probe {
            return None;
        }
        self.health.interval = interval;
        self.health.next_probe = now + interval;
        if let Some(monitor) = &mut self.health.monitor {
            monitor.set_interval(now, interval);
        }
        let seq = self.health.next_seq;
        self.health.next_seq += 1;
        self.health.out.insert(seq, now);
        while self.health.out.len() > MAX_PROBES_OUT {
            self.health.out.pop_first();
        }
        Some(seq)
    }

    /// Judges silence; `late` says that our own loop was, which excuses the peer.
    pub(crate) fn judge(&mut self, now: Instant, late: Duration) -> Option<State> {
        let monitor = self.health.monitor.as_mut()?;
        if late > sluice_topology::liveness::OWN_LATENESS {
            monitor.on_own_lateness(now);
            return None;
        }
        monitor.handle_timeout(now)
    }

    /// When this link wants to be looked at again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let dials = self.diallers.iter().flatten().zip([self.control.is_none(), self.media.is_none()]);
        dials
            .filter(|(dialler, missing)| *missing && !dialler.in_flight)
            .map(|(dialler, _)| dialler.next)
            .chain(self.health.monitor.as_ref().map(|_| self.health.next_probe))
            .chain(self.health.monitor.as_ref().and_then(Monitor::poll_timeout))
            .chain(self.sync.believed_until)
            .chain(self.renewal.retiring().map(|(_, at)| at))
            .min()
    }

    /// Figures for the admin side.
    pub(crate) fn metrics(&self) -> TrunkMetrics {
        TrunkMetrics {
            peer: self.config.pop.clone(),
            // Connected is not accepted: a peer that refuses our certificate does so afterwards.
            control_up: self.hello.is_some(),
            media_up: self.media.is_some(),
            suspect: self.is_suspect(),
            rtt: self.health.rtt.current(),
            bytes: LinkBytes {
                sent_total: self.traffic.sent,
                carried_total: self.traffic.carried,
                received_total: self.traffic.received,
                udp_sent_total: self.traffic.past.udp_tx_bytes + self.traffic.present.udp_tx_bytes,
                udp_received_total: self.traffic.past.udp_rx_bytes + self.traffic.present.udp_rx_bytes,
            },
            lost_packets_total: self.traffic.past.lost_packets + self.traffic.present.lost_packets,
        }
    }

    fn dialler(&mut self, leg: Leg) -> Option<&mut Dialler> {
        let [control, media] = self.diallers.as_mut()?;
        Some(match leg {
            Leg::Control => control,
            Leg::Media => media,
        })
    }
}

impl Traffic {
    /// Takes fresh figures of the media connection.
    pub(crate) const fn on_stats(&mut self, stats: PathStats) {
        self.present = stats;
    }

    fn retire_present(&mut self) {
        let present = std::mem::take(&mut self.present);
        self.past.udp_tx_bytes += present.udp_tx_bytes;
        self.past.udp_rx_bytes += present.udp_rx_bytes;
        self.past.lost_packets += present.lost_packets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pop(s: &str) -> PopId {
        s.parse().expect("legal")
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn link(now: Instant, ours: &str) -> Link {
        let addr = Some("127.0.0.1:4444".parse().expect("legal"));
        Link::new(now, &pop(ours), 0, PeerConfig { pop: pop("m"), addr, role: Role::Origin })
    }

    #[test]
    fn the_smaller_name_dials_and_the_larger_waits() {
        let t0 = start();
        assert_eq!(link(t0, "a").due_dials(t0), vec![Leg::Control, Leg::Media]);
        let mut larger = link(t0, "z");
        assert_eq!(larger.due_dials(t0), vec![]);
        assert_eq!(larger.poll_timeout(), Some(t0 + DIAL_COURTESY));
        assert_eq!(larger.due_dials(t0 + DIAL_COURTESY).len(), 2);
        larger.on_connected(t0, Leg::Control, SessionId(1));
        larger.on_connected(t0, Leg::Media, SessionId(2));
        assert_eq!(larger.due_dials(t0 + SLOW_REDIAL), vec![]);
    }

    #[test]
    fn redials_back_off_to_half_a_second_and_after_a_minute_to_ten() {
        let mut now = start();
        let t0 = now;
        let mut l = link(now, "a");
        let mut pauses = Vec::new();
        while now < t0 + Duration::from_secs(90) {
            assert!(l.due_dials(now).contains(&Leg::Media));
            l.on_dial_failed(now, Leg::Media, 0.5);
            l.on_dial_failed(now, Leg::Control, 0.5);
            let next = l.poll_timeout().expect("a dial is pending");
            pauses.push(next - now);
            now = next;
        }
        assert_eq!(pauses.first(), Some(&FIRST_REDIAL));
        assert_eq!(pauses.get(10), Some(&FAST_REDIAL));
        assert_eq!(pauses.last(), Some(&SLOW_REDIAL));
    }

    #[test]
    fn a_connection_that_is_refused_at_once_does_not_reset_the_pause() {
        let mut now = start();
        let mut l = link(now, "a");
        let mut pauses = Vec::new();
        for lived in [0, 0, 0, 0, 0, 3] {
            assert!(l.due_dials(now).contains(&Leg::Control));
            l.on_connected(now, Leg::Control, SessionId(1));
            now += Duration::from_secs(lived);
            l.on_closed(now, SessionId(1), 0.5);
            pauses.push(l.dialler(Leg::Control).expect("it dials").next - now);
            now += FAST_REDIAL;
        }
        assert_eq!(pauses, [50, 100, 200, 400, 500, 50].map(Duration::from_millis));
    }

    #[test]
    fn a_cause_is_told_once_in_a_while() {
        let t0 = start();
        let mut l = link(t0, "a");
        let refused = CloseReason::Transport("unknown issuer".to_owned());
        assert!(l.is_news(t0, &refused));
        assert!(!l.is_news(t0 + FAST_REDIAL, &refused));
        assert!(l.is_news(t0 + FAST_REDIAL, &CloseReason::TimedOut));
        assert!(l.is_news(t0 + FAST_REDIAL, &refused), "it is another one than the last");
        assert!(l.is_news(t0 + FAST_REDIAL + TOLD_EVERY, &refused));
    }

    #[test]
    fn silence_on_a_busy_link_makes_it_unjoinable_and_our_own_pause_does_not() {
        let t0 = start();
        let mut l = link(t0, "a");
        l.on_connected(t0, Leg::Control, SessionId(1));
        l.on_connected(t0, Leg::Media, SessionId(2));
        assert_eq!(l.take_probe(t0, Load::Busy), Some(0));
        assert_eq!(l.joinable(), Some(SessionId(2)));
        let late = t0 + Duration::from_millis(400);
        assert_eq!(l.judge(late, Duration::from_millis(200)), None);
        assert_eq!(l.judge(late + Duration::from_millis(301), Duration::ZERO), Some(State::Suspect));
        assert_eq!(l.joinable(), None);
    }
}
