//! The two ends of a flow as apps of the shard loop.

use super::Load;
use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, Dial, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use sluice_net::Hosted;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Instant;

/// What both ends speak.
pub(super) const ALPN: &[u8] = b"pair";
/// Bytes offered to the transport at once by a greedy sender.
const GREEDY_CHUNK: usize = 256 << 10;

/// Either end.
#[derive(Debug)]
pub(super) enum End {
    Sender(Sender),
    Receiver(Receiver),
}

/// Sends frames at their times, or all that it can.
#[derive(Debug)]
pub(super) struct Sender {
    load: Load,
    to: (SocketAddr, &'static str),
    dial_at: Option<Instant>,
    session: Option<SessionId>,
    /// When each frame was due, and when the next will be.
    due: Vec<Instant>,
    next: Instant,
    /// Frames that have been written whole, and bytes of the next one.
    written: (u64, usize),
    stream: Option<StreamId>,
    block: Bytes,
    path: Option<PathStats>,
    failure: Option<CloseReason>,
    out: VecDeque<Output>,
}

impl Sender {
    pub(super) fn new(starts: Instant, load: Load, to: (SocketAddr, &'static str)) -> Self {
        let block = match load {
            Load::Frames { bytes, .. } => bytes,
            Load::Greedy => GREEDY_CHUNK,
        };
        Self {
            load,
            to,
            dial_at: Some(starts),
            session: None,
            due: Vec::new(),
            next: starts,
            written: (0, 0),
            stream: None,
            block: Bytes::from(vec![0x5a; block]),
            path: None,
            failure: None,
            out: VecDeque::new(),
        }
    }

    pub(super) fn due(&self) -> &[Instant] {
        &self.due
    }

    pub(super) const fn path(&self) -> Option<PathStats> {
        self.path
    }

    /// Why there is no connection any more.
    pub(super) const fn failure(&self) -> Option<&CloseReason> {
        self.failure.as_ref()
    }

    fn wake(&mut self) {
        self.out.extend(self.session.map(Output::Wake));
    }

    fn lose(&mut self, reason: CloseReason) {
        self.session = None;
        self.stream = None;
        self.failure = Some(reason);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.dial_at.is_some_and(|at| at <= now) {
            self.dial_at = None;
            let (remote, name) = self.to;
            let dial = Dial { token: 0, remote, alpn: ALPN.to_vec(), server_name: name.to_owned() };
            self.out.push_back(Output::Dial(dial));
        }
        if let Load::Frames { every, .. } = self.load {
            // Frames are due at their times whether or not the ones before have left; without a connection there
            // are none.
            while self.next <= now {
                if self.session.is_some() {
                    self.due.push(self.next);
                }
                self.next += every;
            }
            self.wake();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let frame = match self.load {
            Load::Frames { .. } => Some(self.next),
            Load::Greedy => None,
        };
        self.dial_at.into_iter().chain(frame).min()
    }

    fn select(&mut self, sink: &mut dyn StreamSink) {
        match self.load {
            Load::Frames { per_stream, .. } => self.write_frames(per_stream.max(1), sink),
            Load::Greedy => self.write_greedily(sink),
        }
    }

    fn write_frames(&mut self, per_stream: u64, sink: &mut dyn StreamSink) {
        while self.written.0 < self.due.len() as u64 {
            let (frame, offset) = self.written;
            let Some(stream) = self.stream.or_else(|| sink.open(Dir::Uni)) else { return };
            self.stream = Some(stream);
            let mut rest = [self.block.slice(offset..)];
            match sink.write(stream, &mut rest) {
                Ok(taken) if rest[0].is_empty() => {
                    self.written = (frame + 1, 0);
                    if self.written.0.is_multiple_of(per_stream) {
                        sink.finish(stream);
                        self.stream = None;
                    }
                    debug_assert_eq!(taken, self.block.len() - offset);
                }
                Ok(taken) => {
                    self.written.1 += taken;
                    return;
                }
                Err(_) => return,
            }
        }
    }

    fn write_greedily(&mut self, sink: &mut dyn StreamSink) {
        let Some(stream) = self.stream.or_else(|| sink.open(Dir::Uni)) else { return };
        self.stream = Some(stream);
        loop {
            let mut block = [self.block.clone()];
            let written = sink.write(stream, &mut block);
            if written.is_err() || !block[0].is_empty() {
                return;
            }
        }
    }
}

/// Notes when frames are whole.
#[derive(Debug)]
pub(super) struct Receiver {
    load: Load,
    bytes: u64,
    /// Bytes in order of each stream that is open, and which of the connection's it is.
    streams: BTreeMap<StreamId, u64>,
    /// When each frame was whole, by its number.
    delivered: BTreeMap<u64, Instant>,
}

impl Receiver {
    pub(super) const fn new(load: Load) -> Self {
        Self { load, bytes: 0, streams: BTreeMap::new(), delivered: BTreeMap::new() }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When each frame from the first on was whole.
    pub(super) fn delivered(&self) -> impl Iterator<Item = Option<Instant>> {
        let last = self.delivered.last_key_value().map_or(0, |(frame, _)| frame + 1);
        (0..last).map(|frame| self.delivered.get(&frame).copied())
    }

    fn on_data(&mut self, now: Instant, stream: StreamId, len: usize) {
        let len = len as u64;
        self.bytes += len;
        let Load::Frames { bytes, per_stream, .. } = self.load else { return };
        let frame = (bytes as u64).max(1);
        let have = self.streams.entry(stream).or_insert(0);
        let before = *have / frame;
        *have += len;
        // Streams carry frames in the order of their ids.
        let first = (stream.0 >> 2) * per_stream.max(1);
        for whole in before..*have / frame {
            self.delivered.entry(first + whole).or_insert(now);
        }
    }
}

impl App for End {
    fn handle_connected(&mut self, now: Instant, session: SessionId, _peer: Peer) {
        if let Self::Sender(sender) = self {
            sender.session = Some(session);
            // A live source starts with its viewer.
            sender.next = now;
            sender.wake();
        }
    }

    fn handle_dial_failed(&mut self, _now: Instant, _token: u64, reason: CloseReason) {
        if let Self::Sender(sender) = self {
            sender.lose(reason);
        }
    }

    fn handle_stream(&mut self, now: Instant, _session: SessionId, stream: StreamId, event: StreamEvent) {
        match self {
            Self::Receiver(receiver) => {
                if let StreamEvent::Data { data, .. } = event {
                    receiver.on_data(now, stream, data.len());
                }
            }
            Self::Sender(sender) => {
                if event == StreamEvent::Writable {
                    sender.wake();
                }
            }
        }
    }

    fn handle_streams_available(&mut self, _now: Instant, _session: SessionId, _dir: Dir) {
        if let Self::Sender(sender) = self {
            sender.wake();
        }
    }

    fn handle_datagram(&mut self, _now: Instant, _session: SessionId, _data: Bytes) {}

    fn handle_closed(&mut self, _now: Instant, _session: SessionId, reason: CloseReason) {
        if let Self::Sender(sender) = self {
            sender.lose(reason);
        }
    }

    fn handle_stats(&mut self, _now: Instant, _session: SessionId, stats: PathStats) {
        if let Self::Sender(sender) = self {
            sender.path = Some(stats);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Self::Sender(sender) = self {
            sender.handle_timeout(now);
        }
    }

    fn select(&mut self, _now: Instant, _session: SessionId, sink: &mut dyn StreamSink) {
        if let Self::Sender(sender) = self {
            sender.select(sink);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Sender(sender) => sender.out.pop_front(),
            Self::Receiver(_) => None,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Sender(sender) => sender.poll_timeout(),
            Self::Receiver(_) => None,
        }
    }
}

impl Hosted for End {
    type Command = Infallible;

    fn handle_command(&mut self, _now: Instant, command: Infallible) {
        match command {}
    }
}
