//! Two apps joined by an in-memory network in virtual time.

use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, DatagramError, Dial, Dir, Output, Peer, SessionId, Side, SinkError, StreamEvent, StreamId,
    StreamSink,
};
use sluice_net::clock::{Clock as _, ManualClock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// One way.
pub(super) const LATENCY: Duration = Duration::from_millis(10);
/// Taken by the transport per visit: objects are cut into pieces.
const VISIT_BYTES: usize = 1000;
/// Until a blocked writer may go on.
const UNBLOCK: Duration = Duration::from_millis(1);

/// When every virtual world begins; only differences from it are ever used.
pub(super) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(|| ManualClock::new(Duration::ZERO).now())
}

/// Whether dials succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Shut,
}

/// `A` dials, `B` accepts.
pub(super) struct Wire<A, B> {
    pub(super) a: A,
    pub(super) b: B,
    pub(super) now: Instant,
    start: Instant,
    pub(super) door: Door,
    /// Every dial: when, and what for.
    pub(super) dials: Vec<(Duration, Dial)>,
    /// Application code of every close by either app.
    pub(super) closes: Vec<u64>,
    net: Net,
}

/// The app at an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    A,
    B,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn side(self) -> Side {
        match self {
            Self::A => Side::Client,
            Self::B => Side::Server,
        }
    }
}

#[derive(Default)]
struct Net {
    queue: BTreeMap<(Instant, u64), (End, SessionId, Happening)>,
    sequence: u64,
    sessions: BTreeMap<SessionId, Connection>,
    wakes: BTreeSet<(End, SessionId)>,
}

#[derive(Default)]
struct Connection {
    /// Streams opened so far, by opener and direction.
    opened: BTreeMap<(End, bool), u64>,
    finished: BTreeSet<(End, StreamId)>,
}

enum Happening {
    Connected(Peer),
    DialFailed(u64),
    Stream(StreamId, StreamEvent),
    Datagram(Bytes),
    Closed(CloseReason),
}

impl Net {
    fn post(&mut self, at: Instant, to: End, session: SessionId, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (to, session, happening));
    }
}

impl<A: App, B: App> Wire<A, B> {
    pub(super) fn new(a: A, b: B) -> Self {
        let start = epoch();
        let net = Net::default();
        Self { a, b, now: start, start, door: Door::Open, dials: Vec::new(), closes: Vec::new(), net }
    }

    pub(super) const fn start(&self) -> Instant {
        self.start
    }

    /// Virtual time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Both apps' effects, deliveries and timers until `span` has passed; then `now` is exactly that.
    pub(super) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            self.settle();
            let next = [self.net.queue.keys().next().map(|(at, _)| *at), self.a.poll_timeout(), self.b.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            match next {
                Some(at) if at <= until => self.step(at.max(self.now)),
                Some(_) | None => break,
            }
        }
        self.now = until;
    }

    /// The network is gone for all connections: both sides notice at once, what is under way is lost.
    pub(super) fn cut(&mut self) {
        self.net.queue.retain(|_, (_, _, happening)| matches!(happening, Happening::DialFailed(_)));
        for session in std::mem::take(&mut self.net.sessions).into_keys() {
            for end in [End::A, End::B] {
                self.net.post(self.now, end, session, Happening::Closed(CloseReason::TimedOut));
            }
        }
        self.run(Duration::ZERO);
    }

    fn app(&mut self, end: End) -> &mut dyn App {
        match end {
            End::A => &mut self.a,
            End::B => &mut self.b,
        }
    }

    fn step(&mut self, at: Instant) {
        self.now = at;
        while let Some(entry) = self.net.queue.first_entry() {
            if entry.key().0 > at {
                break;
            }
            let (end, session, happening) = entry.remove();
            let app = self.app(end);
            match happening {
                Happening::Connected(peer) => app.handle_connected(at, session, peer),
                Happening::DialFailed(token) => app.handle_dial_failed(at, token, CloseReason::TimedOut),
                Happening::Stream(stream, event) => app.handle_stream(at, session, stream, event),
                Happening::Datagram(data) => app.handle_datagram(at, session, data),
                Happening::Closed(reason) => app.handle_closed(at, session, reason),
            }
            self.settle();
        }
        for end in [End::A, End::B] {
            if self.app(end).poll_timeout().is_some_and(|due| due <= at) {
                self.app(end).handle_timeout(at);
                self.settle();
            }
        }
    }

    /// Carries out effects and visits woken sessions until nothing is left.
    fn settle(&mut self) {
        loop {
            self.effects(End::A);
            self.effects(End::B);
            let Some((end, session)) = self.net.wakes.pop_first() else { return };
            if !self.net.sessions.contains_key(&session) {
                continue;
            }
            let now = self.now;
            let (app, net): (&mut dyn App, _) = match end {
                End::A => (&mut self.a, &mut self.net),
                End::B => (&mut self.b, &mut self.net),
            };
            app.select(now, session, &mut Sink { net, end, session, now, left: VISIT_BYTES });
        }
    }

    fn effects(&mut self, end: End) {
        while let Some(output) = self.app(end).poll_output() {
            match output {
                Output::Wake(session) => {
                    self.net.wakes.insert((end, session));
                }
                Output::Close { session, code, reason } => self.close(end, session, code, reason),
                Output::Dial(dial) => self.dial(dial),
                Output::StreamLimit { .. } => {}
            }
        }
    }

    fn close(&mut self, end: End, session: SessionId, code: u64, reason: String) {
        self.closes.push(code);
        if self.net.sessions.remove(&session).is_some() {
            let peer = Happening::Closed(CloseReason::Peer { code, reason });
            self.net.post(self.now + LATENCY, end.other(), session, peer);
            self.net.post(self.now, end, session, Happening::Closed(CloseReason::Local));
        }
    }

    fn dial(&mut self, dial: Dial) {
        self.dials.push((self.elapsed(), dial.clone()));
        let session = SessionId(self.dials.len() as u64);
        let done = self.now + 2 * LATENCY;
        if self.door == Door::Shut {
            self.net.post(done, End::A, session, Happening::DialFailed(dial.token));
            return;
        }
        self.net.sessions.insert(session, Connection::default());
        for end in [End::A, End::B] {
            let token = (end == End::A).then_some(dial.token);
            let peer = Peer { side: end.side(), alpn: dial.alpn.clone(), pop: None, remote: dial.remote, token };
            self.net.post(done, end, session, Happening::Connected(peer));
        }
    }
}

struct Sink<'a> {
    net: &'a mut Net,
    end: End,
    session: SessionId,
    now: Instant,
    left: usize,
}

impl Sink<'_> {
    fn send(&mut self, stream: StreamId, event: StreamEvent) {
        let happening = Happening::Stream(stream, event);
        self.net.post(self.now + LATENCY, self.end.other(), self.session, happening);
    }

    fn connection(&mut self) -> &mut Connection {
        self.net.sessions.get_mut(&self.session).expect("only open sessions are visited")
    }
}

impl StreamSink for Sink<'_> {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        let end = self.end;
        let count = self.connection().opened.entry((end, dir == Dir::Uni)).or_default();
        let id = *count * 4 + u64::from(end == End::B) + if dir == Dir::Uni { 2 } else { 0 };
        *count += 1;
        Some(StreamId(id))
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        let end = self.end;
        if self.connection().finished.contains(&(end, stream)) {
            return Err(SinkError::Closed);
        }
        let mut taken = 0;
        for chunk in chunks.iter_mut() {
            let piece = chunk.split_to(chunk.len().min(self.left));
            self.left -= piece.len();
            taken += piece.len();
            if !piece.is_empty() {
                self.send(stream, StreamEvent::Data { data: piece, fin: false });
            }
        }
        if chunks.iter().any(|chunk| !chunk.is_empty()) {
            let writable = Happening::Stream(stream, StreamEvent::Writable);
            self.net.post(self.now + UNBLOCK, end, self.session, writable);
        }
        Ok(taken)
    }

    fn finish(&mut self, stream: StreamId) {
        let end = self.end;
        if self.connection().finished.insert((end, stream)) {
            self.send(stream, StreamEvent::Data { data: Bytes::new(), fin: true });
            let acked = Happening::Stream(stream, StreamEvent::Acked);
            self.net.post(self.now + 2 * LATENCY, end, self.session, acked);
        }
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        let end = self.end;
        if self.connection().finished.insert((end, stream)) {
            self.send(stream, StreamEvent::Reset { code });
        }
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        self.send(stream, StreamEvent::Stopped { code });
    }

    fn set_priority(&mut self, _stream: StreamId, _priority: i32) {}

    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError> {
        self.net.post(self.now + LATENCY, self.end.other(), self.session, Happening::Datagram(data));
        Ok(())
    }

    fn max_datagram_size(&self) -> Option<usize> {
        Some(1200)
    }
}
