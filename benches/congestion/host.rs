//! The apps at both ends of a flow.

use super::sink::Frames;
use super::source::{SOUND, Track, VIDEO};
use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, Dial, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use sluice_net::Hosted;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// The ALPN of the bench.
pub(crate) const ALPN: &[u8] = b"congestion";

/// What a host does.
#[derive(Debug)]
pub(crate) enum Role {
    /// Sends live media.
    Live(Vec<Track>),
    /// Sends as fast as it can.
    Greedy { stream: Option<StreamId>, chunk: Bytes },
    /// Receives; bytes with the time at which they came.
    Receiver { frames: Frames, bytes: Vec<(Duration, usize)> },
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) role: Role,
    epoch: Instant,
    session: Option<SessionId>,
    outputs: VecDeque<Output>,
}

impl Host {
    fn new(role: Role, epoch: Instant) -> Self {
        Self { role, epoch, session: None, outputs: VecDeque::new() }
    }

    /// Sends video and sound from `start` on.
    pub(crate) fn live(epoch: Instant, start: Duration) -> Self {
        Self::new(Role::Live(vec![Track::new(SOUND, start), Track::new(VIDEO, start)]), epoch)
    }

    /// Sends without end.
    pub(crate) fn greedy(epoch: Instant) -> Self {
        Self::new(Role::Greedy { stream: None, chunk: Bytes::from(vec![0; 64 << 10]) }, epoch)
    }

    /// Receives.
    pub(crate) fn receiver(epoch: Instant) -> Self {
        Self::new(Role::Receiver { frames: Frames::default(), bytes: Vec::new() }, epoch)
    }

    pub(crate) fn dial(&mut self, dial: Dial) {
        self.outputs.push_back(Output::Dial(dial));
    }

    fn wake(&mut self) {
        self.outputs.extend(self.session.map(Output::Wake));
    }
}

impl App for Host {
    fn handle_connected(&mut self, now: Instant, session: SessionId, _peer: Peer) {
        self.session = Some(session);
        self.handle_timeout(now);
        self.wake();
    }

    fn handle_dial_failed(&mut self, _now: Instant, _token: u64, _reason: CloseReason) {}

    fn handle_stream(&mut self, now: Instant, _session: SessionId, stream: StreamId, event: StreamEvent) {
        let at = now - self.epoch;
        match (event, &mut self.role) {
            (StreamEvent::Data { data, fin }, Role::Receiver { frames, bytes }) => {
                bytes.push((at, data.len()));
                // A greedy flow is one endless bidirectional stream.
                if stream.is_uni() {
                    frames.on_data(at, stream, data);
                    if fin {
                        frames.forget(stream);
                    }
                }
            }
            (StreamEvent::Reset { .. }, Role::Receiver { frames, .. }) => frames.forget(stream),
            (StreamEvent::Acked, Role::Live(tracks)) => tracks.iter_mut().for_each(|track| track.on_acked(stream)),
            (StreamEvent::Writable, Role::Live(_) | Role::Greedy { .. }) => self.wake(),
            (
                StreamEvent::Data { .. }
                | StreamEvent::Reset { .. }
                | StreamEvent::Stopped { .. }
                | StreamEvent::Writable
                | StreamEvent::Acked,
                Role::Live(_) | Role::Greedy { .. } | Role::Receiver { .. },
            ) => {}
        }
    }

    fn handle_streams_available(&mut self, _now: Instant, _session: SessionId, _dir: Dir) {
        self.wake();
    }

    fn handle_datagram(&mut self, _now: Instant, _session: SessionId, _data: Bytes) {}

    fn handle_closed(&mut self, _now: Instant, _session: SessionId, _reason: CloseReason) {
        self.session = None;
    }

    fn handle_stats(&mut self, _now: Instant, _session: SessionId, _stats: PathStats) {}

    fn handle_timeout(&mut self, now: Instant) {
        let Role::Live(tracks) = &mut self.role else { return };
        for track in tracks {
            while self.epoch + track.due() <= now {
                track.give_birth();
            }
        }
        self.wake();
    }

    fn select(&mut self, _now: Instant, _session: SessionId, sink: &mut dyn StreamSink) {
        match &mut self.role {
            Role::Live(tracks) => tracks.iter_mut().for_each(|track| track.write(sink)),
            Role::Greedy { stream, chunk } => {
                if stream.is_none() {
                    *stream = sink.open(Dir::Bi);
                }
                let Some(stream) = *stream else { return };
                while sink.write(stream, &mut [chunk.clone()]) == Ok(chunk.len()) {}
            }
            Role::Receiver { .. } => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let Role::Live(tracks) = &self.role else { return None };
        self.session?;
        tracks.iter().map(|track| self.epoch + track.due()).min()
    }
}

impl Hosted for Host {
    type Command = Infallible;

    fn handle_command(&mut self, _now: Instant, command: Infallible) {
        match command {}
    }
}
