//! The node and its seam to the host.

use crate::auth::Pending;
use crate::config::{Config, PeerConfig, Role};
use crate::effects::{Effects, TimerKey, Timers};
use crate::incident::Incident;
use crate::memory::Memory;
use crate::metrics::{Metrics, Snapshot, TrackStatus};
use crate::namespaces::Namespaces;
use crate::session::{Kind, Session};
use crate::sessions::Sessions;
use crate::tracks::{State, Tracks};
use crate::trunk::control::Control;
use crate::trunk::link::{Leg, Link};
use crate::{CONTROL_ALPN, MEDIA_ALPN, USER_ALPN};
use bytes::Bytes;
use sluice_moqt::Draft;
use sluice_moqt::error::SessionCode;
use sluice_moqt::message::Setup;
use sluice_moqt::session::{AcceptedPaths, Config as ProtocolConfig, Session as Protocol};
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, Side, StreamEvent, StreamId, StreamSink,
};
use sluice_topology::PopId;
use std::collections::BTreeMap;
use std::time::Instant;

/// Trunk peers, configured or not.
const MAX_PEERS: usize = 4_096;

/// A hosted connection.
#[derive(Debug)]
pub(crate) enum Hosted {
    /// Speaks MoQ.
    Moq(Box<Session>),
    /// A trunk's control connection.
    Control(Box<Control>),
}

/// One relay node; see the crate documentation.
#[derive(Debug)]
pub struct Node {
    pub(crate) config: Config,
    pub(crate) sessions: Sessions,
    pub(crate) tracks: Tracks,
    pub(crate) namespaces: Namespaces,
    pub(crate) links: BTreeMap<PopId, Link>,
    pub(crate) effects: Effects,
    pub(crate) timers: Timers,
    pub(crate) metrics: Metrics,
    pub(crate) auth: Pending,
    pub(crate) jitter: Jitter,
    pub(crate) load: Load,
}

/// What decides whether somebody new is served.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Users hosted now.
    pub(crate) users: usize,
    /// No new sessions or joins.
    pub(crate) draining: bool,
    pub(crate) memory: Memory,
}

/// Seeded noise for retries (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    /// A number in 0..1.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let top = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

impl Node {
    /// A node that dials its peers from `now` on.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let links: BTreeMap<PopId, Link> = (0..)
            .zip(&config.peers)
            .map(|(number, peer)| (peer.pop.clone(), Link::new(now, &config.pop, number, peer.clone())))
            .collect();
        let mut timers = Timers::default();
        timers.arm(TimerKey::Trunks, links.values().filter_map(Link::poll_timeout).min());
        Self {
            jitter: Jitter(config.seed),
            config,
            sessions: Sessions::default(),
            tracks: Tracks::default(),
            namespaces: Namespaces::default(),
            links,
            effects: Effects::default(),
            timers,
            metrics: Metrics::default(),
            auth: Pending::default(),
            load: Load::default(),
        }
    }

    /// Our name.
    #[must_use]
    pub const fn pop(&self) -> &PopId {
        &self.config.pop
    }

    /// Counters and gauges as of now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let live = |t: &&crate::tracks::Track| matches!(t.state, State::Live);
        Snapshot {
            metrics: self.metrics,
            sessions: self.load.users,
            tracks: self.tracks.iter().map(|(_, t)| t).filter(live).count(),
            known_tracks: self.tracks.len(),
            namespaces: self.namespaces.len(),
            held_requests: self.auth.len(),
            viewers: self.moq_sessions().filter(|s| s.kind == Kind::User).map(|s| s.down.subs.len()).sum(),
            upstreams: self.moq_sessions().map(|s| s.up.requests.len()).sum(),
            log_bytes: self.tracks.iter().map(|(_, t)| t.log.bytes_held()).sum(),
            retained_bytes: self.tracks.iter().map(|(_, t)| t.log.bytes_retained()).sum(),
            memory_cap_bytes: self.config.limits.memory_bytes,
            trunks: self.links.values().filter(|l| l.config.role != Role::Sibling).map(Link::metrics).collect(),
        }
    }

    /// The next incident for the log.
    pub fn poll_incident(&mut self) -> Option<Incident> {
        self.effects.incidents.pop()
    }

    /// The first `limit` live tracks by name, for the admin side.
    #[must_use]
    pub fn list_tracks(&self, limit: usize) -> Vec<TrackStatus> {
        let mut list: Vec<TrackStatus> = self
            .tracks
            .iter()
            .filter(|(_, track)| track.state == State::Live)
            .map(|(_, track)| TrackStatus {
                name: track.name.clone(),
                viewers: track.readers.iter().filter(|r| self.is_user(r.session)).count(),
                largest: track.largest(),
                log_bytes: track.log.bytes_held(),
            })
            .collect();
        list.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        list.truncate(limit);
        list
    }

    fn moq_sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter_map(|(_, hosted)| match hosted {
            Hosted::Moq(session) => Some(&**session),
            Hosted::Control(_) => None,
        })
    }

    /// The MoQ session of that id.
    pub(crate) fn moq(&mut self, id: SessionId) -> Option<&mut Session> {
        match self.sessions.get_mut(id)? {
            Hosted::Moq(session) => Some(session),
            Hosted::Control(_) => None,
        }
    }

    /// Closes a connection from our side; the host reports it back as closed.
    pub(crate) fn close(&mut self, session: SessionId, code: SessionCode, reason: String) {
        self.effects.push(Output::Close { session, code: code.code(), reason });
    }

    fn connect_moq(&mut self, now: Instant, id: SessionId, kind: Kind, side: Side) {
        let draft = match kind {
            Kind::User => Draft::V18,
            Kind::Trunk(_) => Draft::Trunk1,
        };
        let setup = Setup {
            path: (side == Side::Client).then(|| "/".to_owned()),
            implementation: Some(self.config.implementation.clone()),
            ..Setup::default()
        };
        let paths = AcceptedPaths { scope: self.config.scope.clone() };
        let limits = sluice_moqt::session::Limits {
            open_requests: self.config.limits.max_requests_per_session,
            ..sluice_moqt::session::Limits::default()
        };
        let protocol = Protocol::new(now, ProtocolConfig { side, draft, setup, limits, paths });
        self.sessions.insert(id, Hosted::Moq(Box::new(Session::new(kind, protocol))));
        self.effects.wake(id);
        self.arm_session(id);
    }

    /// A trunk leg came up: what it replaces is closed.
    fn connect_trunk(&mut self, now: Instant, id: SessionId, leg: Leg, peer: &Peer) {
        // Pipes have no port; no certificate could carry a shard's name.
        let name = peer.pop.as_deref();
        let sibling = name.filter(|_| peer.remote.port() == 0).and_then(|name| self.config.pop.shard_of(name));
        let role = if sibling.is_some() { Role::Sibling } else { Role::Edge };
        let Some(pop) = sibling.or_else(|| name.and_then(|name| name.parse::<PopId>().ok())) else {
            let reason = "a trunk peer must show a certificate that names its PoP".to_owned();
            return self.close(id, SessionCode::Unauthorized, reason);
        };
        if pop == self.config.pop {
            let reason = format!("{pop} is this relay's own name: two PoPs must not share one");
            return self.close(id, SessionCode::Unauthorized, reason);
        }
        if !self.links.contains_key(&pop) && self.links.len() >= MAX_PEERS {
            self.metrics.limits_hit_total += 1;
            return self.close(id, SessionCode::Unauthorized, format!("this relay has its limit of {MAX_PEERS} peers"));
        }
        // The certificate of our authority admits a peer; only those that we dial need to be configured.
        let number = self.links.len() as u64;
        let link = self.links.entry(pop.clone()).or_insert_with(|| {
            let unconfigured = PeerConfig { pop: pop.clone(), addr: None, role };
            Link::new(now, &self.config.pop, number, unconfigured)
        });
        let replaced = link.on_connected(now, leg, id);
        if leg == Leg::Media {
            link.renewal.on_connected(now, peer.side);
        }
        match leg {
            Leg::Control => {
                self.sessions.insert(id, Hosted::Control(Box::new(Control::new(pop.clone()))));
                self.greet(id, &pop);
            }
            Leg::Media => {
                self.connect_moq(now, id, Kind::Trunk(pop.clone()), peer.side);
                self.effects.push(Output::StreamLimit { session: id, dir: Dir::Uni, count: 4_096 });
                self.effects.push(Output::StreamLimit { session: id, dir: Dir::Bi, count: 4_096 });
                self.tell_siblings_of_peer(&pop);
                self.retry_tracks(now);
            }
        }
        match (replaced, leg) {
            (Some(old), Leg::Media) => self.succeed_media(now, &pop, old),
            (Some(old), Leg::Control) => self.close_replaced(old, &pop),
            (None, _) => {}
        }
        self.arm_trunks();
    }
}

impl App for Node {
    fn handle_connected(&mut self, now: Instant, session: SessionId, peer: Peer) {
        match peer.alpn.as_slice() {
            USER_ALPN if self.load.users >= self.config.limits.max_sessions => {
                self.metrics.limits_hit_total += 1;
                let reason = format!("this relay serves its limit of {} sessions", self.config.limits.max_sessions);
                self.close(session, SessionCode::InternalError, reason);
            }
            USER_ALPN => {
                self.load.users += 1;
                self.metrics.sessions_total += 1;
                self.connect_moq(now, session, Kind::User, peer.side);
            }
            MEDIA_ALPN => self.connect_trunk(now, session, Leg::Media, &peer),
            CONTROL_ALPN => self.connect_trunk(now, session, Leg::Control, &peer),
            _ => self.close(session, SessionCode::VersionNegotiationFailed, "no protocol in common".to_owned()),
        }
    }

    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason) {
        self.on_dial_failed(now, token, &reason);
    }

    fn handle_stream(&mut self, now: Instant, session: SessionId, stream: StreamId, event: StreamEvent) {
        match self.sessions.get_mut(session) {
            Some(Hosted::Moq(_)) => self.on_moq_stream(now, session, stream, event),
            Some(Hosted::Control(_)) => self.on_control_stream(now, session, stream, event),
            None => {}
        }
    }

    fn handle_streams_available(&mut self, _now: Instant, session: SessionId, _dir: Dir) {
        if let Some(moq) = self.moq(session) {
            moq.protocol.handle_streams_available();
            moq.mark_all_ready();
        }
        self.effects.wake(session);
    }

    fn handle_datagram(&mut self, now: Instant, session: SessionId, data: Bytes) {
        match self.sessions.get_mut(session) {
            Some(Hosted::Moq(moq)) => {
                moq.protocol.handle_datagram(now, data);
                self.pump(now, session);
            }
            Some(Hosted::Control(_)) => self.on_control_datagram(now, session, &data),
            None => {}
        }
    }

    fn handle_closed(&mut self, now: Instant, session: SessionId, reason: CloseReason) {
        self.timers.disarm(&TimerKey::Session(session));
        self.effects.visited(session);
        match self.sessions.remove(session) {
            Some(Hosted::Moq(moq)) => {
                let pop = moq.kind.pop().filter(|pop| self.links.get(pop).is_some_and(|l| l.media == Some(session)));
                if let Some(pop) = pop {
                    self.tell_of_failure(now, pop.clone(), &reason);
                }
                self.on_session_gone(now, session, *moq);
            }
            Some(Hosted::Control(control)) => {
                self.tell_of_failure(now, control.peer.clone(), &reason);
                self.on_control_gone(now, session, &control.peer);
            }
            None => {}
        }
    }

    fn handle_stats(&mut self, now: Instant, session: SessionId, stats: PathStats) {
        let Some(pop) = self.moq(session).and_then(|moq| moq.kind.pop().cloned()) else { return };
        if let Some(link) = self.links.get_mut(&pop).filter(|link| link.media == Some(session)) {
            link.traffic.on_stats(stats);
            link.renewal.on_stats(now, stats);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.on_timeout(now);
    }

    fn select(&mut self, now: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        self.visit(now, session, sink);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.effects.pop()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}
