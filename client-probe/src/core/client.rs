//! The client: many links, one broadcast, hosted by a shard loop or driven by a test.

use super::broadcast::{Broadcast, Outgoing};
use super::event::{Down, Event, LinkId};
use super::link::{ALPN, Link, Phase, Role, Target, Work};
use super::serve::Serving;
use super::timers::Timers;
use bytes::Bytes;
use sluice_moqt::message::Setup;
use sluice_moqt::session::{Config, Limits, Session};
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, Side, StreamEvent, StreamId, StreamSink,
};
use sluice_moqt::types::Draft;
use sluice_net::rng::Rng;
use sluice_track::WriteError;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Data streams that a publisher may open towards a watcher at once; the default of 8 is too few for many tracks.
const UNI_STREAMS: u64 = 256;

/// Many publishing, watching and measuring links in one pure core.
///
/// Drive it as an [`App`], and drain [`Client::poll_event`] after every call.
#[derive(Debug)]
pub struct Client {
    pub(super) rng: Rng,
    pub(super) broadcast: Option<Broadcast>,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) conns: BTreeMap<SessionId, Conn>,
    next_link: u64,
    pub(super) timers: Timers<LinkId>,
    pub(super) out: VecDeque<Output>,
    pub(super) events: VecDeque<(LinkId, Event)>,
}

/// One connection of a link: the current one, or one that is being left.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) link: LinkId,
    pub(super) side: Side,
    pub(super) session: Session,
    pub(super) serving: Option<Serving>,
    /// When a connection that is being left is closed.
    pub(super) retire_at: Option<Instant>,
}

impl Client {
    /// A client without links. `broadcast` is what its publishers offer.
    #[must_use]
    pub const fn new(rng: Rng, broadcast: Option<Broadcast>) -> Self {
        Self {
            rng,
            broadcast,
            links: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_link: 0,
            timers: Timers::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Adds a link and dials.
    pub fn connect(&mut self, now: Instant, target: Target, role: Role) -> LinkId {
        let id = self.add_link(Link::new(Some(target), role, Phase::Unresolved));
        self.dial(now, id);
        id
    }

    /// Answers [`Event::Resolve`], and dials at once: the new target, or the old one where the URI is of no use.
    pub fn retarget(&mut self, now: Instant, link: LinkId, target: Option<Target>) {
        let Some(known) = self.links.get_mut(&link) else { return };
        if let Some(target) = target {
            known.set_target(target);
        }
        match known.phase {
            Phase::Unresolved | Phase::Waiting(_) => self.dial(now, link),
            Phase::Dialing | Phase::Connected(_) | Phase::Closed => {}
        }
    }

    /// Ends a link for good; its session is closed without an error.
    pub fn close(&mut self, now: Instant, link: LinkId) {
        if let Some(known) = self.links.get_mut(&link) {
            known.phase = Phase::Closed;
        }
        let conns: Vec<SessionId> = self.conns.iter().filter(|(_, c)| c.link == link).map(|(id, _)| *id).collect();
        for session in conns {
            self.close_session(session);
        }
        self.rearm(link);
        let _ = now;
    }

    /// What happened, in order; drain until `None`.
    pub fn poll_event(&mut self) -> Option<(LinkId, Event)> {
        self.events.pop_front()
    }

    /// The broadcast, to add tracks to.
    pub const fn broadcast_mut(&mut self) -> Option<&mut Broadcast> {
        self.broadcast.as_mut()
    }

    /// Publishes one object.
    ///
    /// # Errors
    /// The object breaks the rules of its track, or a limit.
    pub fn publish(&mut self, now: Instant, track: &[u8], object: &Outgoing) -> Result<(), WriteError> {
        let result = self.broadcast.as_mut().map_or(Ok(()), |broadcast| broadcast.push(now, track, object));
        self.wake_servers();
        result
    }

    /// Ends a group of a track.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub fn end_group(&mut self, now: Instant, track: &[u8], group: u64) -> Result<(), WriteError> {
        let result = self.broadcast.as_mut().map_or(Ok(()), |broadcast| broadcast.end_group(now, track, group));
        self.wake_servers();
        result
    }

    /// Nothing more will be published: subscriptions end when everything was sent.
    pub fn end_broadcast(&mut self, now: Instant) {
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.end(now);
        }
        self.wake_servers();
    }

    /// Whether the broadcast has ended and every subscriber has all of it.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let ended = self.broadcast.as_ref().is_none_or(Broadcast::ended);
        ended && self.conns.values().filter_map(|c| c.serving.as_ref()).all(Serving::is_drained)
    }

    /// Track, group and subgroup of everything that a watching link is receiving at this time.
    #[must_use]
    pub fn open_subgroups(&self, link: LinkId) -> Vec<(Bytes, u64, u64)> {
        match self.links.get(&link).map(|l| &l.work) {
            Some(Work::Watch(watcher)) => watcher.open_subgroups().map(|(t, g, s)| (t.clone(), g, s)).collect(),
            Some(Work::Publish(_) | Work::Ping(_)) | None => Vec::new(),
        }
    }

    fn add_link(&mut self, link: Link) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(id, link);
        id
    }

    fn wake_servers(&mut self) {
        if self.broadcast.as_mut().is_some_and(Broadcast::take_progress) {
            let serving = self.conns.iter().filter(|(_, c)| c.serving.is_some());
            self.out.extend(serving.map(|(id, _)| Output::Wake(*id)));
        }
    }

    fn setup(&self, link: LinkId, side: Side) -> Setup {
        let implementation = Some(concat!("sluice/", env!("CARGO_PKG_VERSION")).to_owned());
        let target = self.links.get(&link).and_then(|l| l.target.as_ref());
        match (side, target) {
            // The URL's path is the namespace, not the session's PATH (decisions 6.1).
            (Side::Client, Some(target)) => Setup {
                path: Some("/".to_owned()),
                authority: Some(target.authority().to_owned()),
                implementation,
                ..Setup::default()
            },
            (Side::Client | Side::Server, _) => Setup { implementation, ..Setup::default() },
        }
    }

    /// Visits a session once more before it is closed by the host.
    fn with_conn(&mut self, now: Instant, id: SessionId, step: impl FnOnce(&mut Conn)) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        step(conn);
        self.drain(now, id);
    }
}

impl App for Client {
    fn handle_connected(&mut self, now: Instant, id: SessionId, peer: Peer) {
        let link = match peer.token {
            Some(token) => LinkId(token),
            // Whoever dials us wants our broadcast.
            None => self.add_link(Link::new(None, Role::Publisher, Phase::Connected(id))),
        };
        let expected = self.links.get(&link).is_some_and(|l| l.phase != Phase::Closed);
        if !expected || peer.alpn != ALPN {
            let reason = "unexpected connection".to_owned();
            self.out.push_back(Output::Close { session: id, code: 0, reason });
            return;
        }
        let config = Config {
            side: peer.side,
            draft: Draft::V18,
            setup: self.setup(link, peer.side),
            limits: Limits::default(),
            paths: sluice_moqt::session::AcceptedPaths::default(),
        };
        let session = Session::new(now, config);
        let mut serving = None;
        if let Some(link) = self.links.get_mut(&link) {
            link.phase = Phase::Connected(id);
            serving = matches!(link.work, Work::Publish(_)).then(Serving::default);
        }
        if serving.is_none() {
            self.out.push_back(Output::StreamLimit { session: id, dir: Dir::Uni, count: UNI_STREAMS });
        }
        self.conns.insert(id, Conn { link, side: peer.side, session, serving, retire_at: None });
        self.drain(now, id);
    }

    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason) {
        self.lose(now, LinkId(token), Down::Dial(reason));
    }

    fn handle_stream(&mut self, now: Instant, id: SessionId, stream: StreamId, event: StreamEvent) {
        if event == StreamEvent::Writable {
            self.out.push_back(Output::Wake(id));
        }
        self.with_conn(now, id, |conn| {
            if let Some(serving) = &mut conn.serving {
                serving.handle_stream(stream, &event);
            }
            conn.session.handle_stream(now, stream, event);
        });
    }

    fn handle_streams_available(&mut self, now: Instant, id: SessionId, _dir: Dir) {
        self.out.push_back(Output::Wake(id));
        self.with_conn(now, id, |conn| conn.session.handle_streams_available());
    }

    fn handle_datagram(&mut self, now: Instant, id: SessionId, data: Bytes) {
        self.with_conn(now, id, |conn| conn.session.handle_datagram(now, data));
    }

    fn handle_closed(&mut self, now: Instant, id: SessionId, reason: CloseReason) {
        let Some(conn) = self.conns.remove(&id) else { return };
        if self.links.get(&conn.link).is_some_and(|l| l.session() == Some(id)) {
            self.lose(now, conn.link, Down::Connection(reason));
        } else {
            self.rearm(conn.link);
        }
    }

    fn handle_stats(&mut self, _now: Instant, id: SessionId, stats: PathStats) {
        if let Some(conn) = self.conns.get(&id) {
            self.events.push_back((conn.link, Event::Stats(stats)));
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.handle_timeout(now);
        }
        self.wake_servers();
        while let Some(link) = self.timers.take_due(now) {
            self.tick(now, link);
        }
    }

    fn select(&mut self, now: Instant, id: SessionId, sink: &mut dyn StreamSink) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.session.transmit(sink);
        if let (Some(serving), Some(broadcast)) = (&mut conn.serving, &mut self.broadcast)
            && serving.select(now, broadcast, &mut conn.session, sink)
        {
            self.out.push_back(Output::Wake(id));
        }
        // Subscriptions that ended during this visit have their goodbyes queued.
        conn.session.transmit(sink);
        let link = conn.link;
        self.rearm(link);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let broadcast = self.broadcast.as_ref().and_then(Broadcast::poll_timeout);
        broadcast.into_iter().chain(self.timers.next()).min()
    }
}
