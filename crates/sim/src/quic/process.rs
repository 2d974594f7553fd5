//! A plan's process as a shard hosts it.

use crate::actor::Actor;
use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use sluice_net::Hosted;
use std::convert::Infallible;
use std::time::Instant;

/// An [`Actor`] with the door that the shard loop asks for; nobody comes through it.
#[derive(Debug)]
pub(super) struct Process(pub(super) Actor);

impl Process {
    fn app_ref(&self) -> &dyn App {
        match &self.0 {
            Actor::Relay(relay) => &**relay,
            Actor::Publisher(publisher) => &**publisher,
            Actor::Viewer(viewer) => &**viewer,
        }
    }
}

impl Hosted for Process {
    type Command = Infallible;

    fn handle_command(&mut self, _now: Instant, command: Infallible) {
        match command {}
    }
}

impl App for Process {
    fn handle_connected(&mut self, now: Instant, session: SessionId, peer: Peer) {
        self.0.app().handle_connected(now, session, peer);
    }

    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason) {
        self.0.app().handle_dial_failed(now, token, reason);
    }

    fn handle_stream(&mut self, now: Instant, session: SessionId, stream: StreamId, event: StreamEvent) {
        self.0.app().handle_stream(now, session, stream, event);
    }

    fn handle_streams_available(&mut self, now: Instant, session: SessionId, dir: Dir) {
        self.0.app().handle_streams_available(now, session, dir);
    }

    fn handle_datagram(&mut self, now: Instant, session: SessionId, data: Bytes) {
        self.0.app().handle_datagram(now, session, data);
    }

    fn handle_closed(&mut self, now: Instant, session: SessionId, reason: CloseReason) {
        self.0.app().handle_closed(now, session, reason);
    }

    fn handle_stats(&mut self, now: Instant, session: SessionId, stats: PathStats) {
        self.0.app().handle_stats(now, session, stats);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.app().handle_timeout(now);
    }

    fn select(&mut self, now: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        self.0.app().select(now, session, sink);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.0.app().poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.app_ref().poll_timeout()
    }
}
