//! Every call into the app passes here, so that each is followed by a full drain of its outputs.

use bytes::Bytes;
use sluice_moqt::transport::{App, CloseReason, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId};
use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

/// The app, the time, and the effects it has asked for.
pub(crate) struct Desk<'a, A> {
    pub(crate) app: &'a mut A,
    pub(crate) now: Instant,
    pub(crate) effects: &'a mut VecDeque<Output>,
}

impl<A> fmt::Debug for Desk<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("effects", &self.effects.len()).finish_non_exhaustive()
    }
}

impl<A: App> Desk<'_, A> {
    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.app.poll_output() {
            self.effects.push_back(output);
        }
    }

    pub(crate) fn connected(&mut self, session: SessionId, peer: Peer) {
        self.app.handle_connected(self.now, session, peer);
        self.drain();
    }

    pub(crate) fn dial_failed(&mut self, token: u64, reason: CloseReason) {
        self.app.handle_dial_failed(self.now, token, reason);
        self.drain();
    }

    pub(crate) fn stream(&mut self, session: SessionId, stream: StreamId, event: StreamEvent) {
        self.app.handle_stream(self.now, session, stream, event);
        self.drain();
    }

    pub(crate) fn streams_available(&mut self, session: SessionId, dir: Dir) {
        self.app.handle_streams_available(self.now, session, dir);
        self.drain();
    }

    pub(crate) fn datagram(&mut self, session: SessionId, data: Bytes) {
        self.app.handle_datagram(self.now, session, data);
        self.drain();
    }

    pub(crate) fn closed(&mut self, session: SessionId, reason: CloseReason) {
        self.app.handle_closed(self.now, session, reason);
        self.drain();
    }

    pub(crate) fn stats(&mut self, session: SessionId, stats: PathStats) {
        self.app.handle_stats(self.now, session, stats);
        self.drain();
    }

    pub(crate) fn timeout(&mut self) {
        self.app.handle_timeout(self.now);
        self.drain();
    }
}
