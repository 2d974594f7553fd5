//! A peer that does exactly what a test tells it, on the session state machine alone.

use bytes::Bytes;
use sluice_moqt::message::Setup;
use sluice_moqt::session::{AcceptedPaths, Config, Event, Limits, Session};
use sluice_moqt::transport::{
    App, CloseReason, Dial, Dir, Output, PathStats, Peer, SessionId, Side, StreamEvent, StreamId, StreamSink,
};
use sluice_moqt::types::Draft;
use std::collections::VecDeque;
use std::time::Instant;

/// One end with any number of sessions; the newest is the one that tests talk through.
#[derive(Default)]
pub(super) struct Scripted {
    pub(super) sessions: Vec<(SessionId, Session)>,
    /// Every event of every session.
    pub(super) events: Vec<Event>,
    pub(super) closed: Vec<CloseReason>,
    out: VecDeque<Output>,
}

impl Scripted {
    /// One that dials at once.
    pub(super) fn dialling() -> Self {
        let dial = Dial {
            token: 0,
            remote: "192.0.2.9:4443".parse().unwrap(),
            alpn: crate::core::ALPN.to_vec(),
            server_name: "relay.test".to_owned(),
        };
        Self { out: VecDeque::from([Output::Dial(dial)]), ..Self::default() }
    }

    /// Speaks through the newest session.
    pub(super) fn tell<R>(&mut self, step: impl FnOnce(&mut Session) -> R) -> R {
        let (id, session) = self.sessions.last_mut().expect("there is a session");
        let result = step(session);
        self.out.push_back(Output::Wake(*id));
        result
    }

    /// The events since the last call.
    pub(super) fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn with(&mut self, id: SessionId, step: impl FnOnce(&mut Session)) {
        let Some((_, session)) = self.sessions.iter_mut().find(|(known, _)| *known == id) else { return };
        step(session);
        while let Some(event) = session.poll_event() {
            if let Event::Closed { code, reason } = &event {
                self.out.push_back(Output::Close { session: id, code: code.code(), reason: reason.clone() });
            }
            self.events.push(event);
        }
        self.out.push_back(Output::Wake(id));
    }
}

impl App for Scripted {
    fn handle_connected(&mut self, now: Instant, id: SessionId, peer: Peer) {
        let setup = match peer.side {
            Side::Client => Setup { path: Some("/".to_owned()), ..Setup::default() },
            Side::Server => Setup::default(),
        };
        let config = Config {
            side: peer.side,
            draft: Draft::V18,
            setup,
            limits: Limits::default(),
            paths: AcceptedPaths::default(),
        };
        self.sessions.push((id, Session::new(now, config)));
        self.with(id, |_| {});
    }

    fn handle_dial_failed(&mut self, _: Instant, _: u64, reason: CloseReason) {
        self.closed.push(reason);
    }

    fn handle_stream(&mut self, now: Instant, id: SessionId, stream: StreamId, event: StreamEvent) {
        self.with(id, |session| session.handle_stream(now, stream, event));
    }

    fn handle_streams_available(&mut self, _: Instant, id: SessionId, _: Dir) {
        self.with(id, Session::handle_streams_available);
    }

    fn handle_datagram(&mut self, now: Instant, id: SessionId, data: Bytes) {
        self.with(id, |session| session.handle_datagram(now, data));
    }

    fn handle_closed(&mut self, _: Instant, id: SessionId, reason: CloseReason) {
        self.sessions.retain(|(known, _)| *known != id);
        self.closed.push(reason);
    }

    fn handle_stats(&mut self, _: Instant, _: SessionId, _: PathStats) {}

    fn handle_timeout(&mut self, now: Instant) {
        let ids: Vec<SessionId> = self.sessions.iter().map(|(id, _)| *id).collect();
        for id in ids {
            self.with(id, |session| session.handle_timeout(now));
        }
    }

    fn select(&mut self, _: Instant, id: SessionId, sink: &mut dyn StreamSink) {
        if let Some((_, session)) = self.sessions.iter_mut().find(|(known, _)| *known == id) {
            session.transmit(sink);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.sessions.iter().filter_map(|(_, session)| session.poll_timeout()).min()
    }
}
