//! An in-memory wire with virtual time: [`Pair`] joins two sessions, [`Lone`] has one session and a scripted peer.

use bytes::{Bytes, BytesMut};
use sluice_moqt::error::SessionCode;
use sluice_moqt::message::{
    Fetch, FetchKind, FetchOk, Framer, Goaway, NamespaceRequest, Params, Publish, PublishDone, RequestError, RequestOk,
    RequestUpdate, Setup, Subscribe, SubscribeOk, TrackProperties,
};
use sluice_moqt::session::{AcceptedPaths, Config, Event, Limits, Session};
use sluice_moqt::transport::{DatagramError, Dir, Side, SinkError, StreamEvent, StreamId, StreamSink};
use sluice_moqt::{Draft, Location, Message, Namespace, RequestId, TrackAlias, TrackName};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a session did to one stream.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) finished: bool,
    pub(crate) reset: Option<u64>,
    pub(crate) stopped: Option<u64>,
    pub(crate) priority: i32,
    delivered: Delivered,
}

/// What of it has crossed the wire.
#[derive(Debug, Default)]
struct Delivered {
    bytes: usize,
    end: bool,
    stop: bool,
}

/// A sink that keeps everything.
#[derive(Debug)]
pub(crate) struct Sink {
    side: Side,
    next: [u64; 2],
    /// Streams that may still be opened: uni, bi.
    pub(crate) credit: [u64; 2],
    /// Bytes that may still be written.
    pub(crate) room: usize,
    pub(crate) streams: BTreeMap<StreamId, Written>,
}

impl Sink {
    fn new(side: Side) -> Self {
        Self { side, next: [0, 0], credit: [u64::MAX; 2], room: usize::MAX, streams: BTreeMap::new() }
    }
}

impl StreamSink for Sink {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        let at = usize::from(dir == Dir::Bi);
        self.credit[at] = self.credit[at].checked_sub(1)?;
        let id = stream_id(self.side, dir, self.next[at]);
        self.next[at] += 1;
        self.streams.entry(id).or_default();
        Some(id)
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        let written = self.streams.entry(stream).or_default();
        if written.finished || written.reset.is_some() {
            return Err(SinkError::Closed);
        }
        let mut taken = 0;
        for chunk in chunks {
            let part = chunk.split_to(chunk.len().min(self.room));
            self.room -= part.len();
            taken += part.len();
            written.bytes.extend_from_slice(&part);
        }
        Ok(taken)
    }

    fn finish(&mut self, stream: StreamId) {
        self.streams.entry(stream).or_default().finished = true;
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        self.streams.entry(stream).or_default().reset.get_or_insert(code);
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        self.streams.entry(stream).or_default().stopped.get_or_insert(code);
    }

    fn set_priority(&mut self, stream: StreamId, priority: i32) {
        self.streams.entry(stream).or_default().priority = priority;
    }

    fn send_datagram(&mut self, _data: Bytes) -> Result<(), DatagramError> {
        Err(DatagramError::Unsupported)
    }

    fn max_datagram_size(&self) -> Option<usize> {
        None
    }
}

pub(crate) fn stream_id(side: Side, dir: Dir, index: u64) -> StreamId {
    StreamId(index << 2 | u64::from(dir == Dir::Uni) << 1 | u64::from(side == Side::Server))
}

/// A base for virtual time.
#[expect(clippy::disallowed_methods, reason = "there is no other source of an Instant; only differences matter")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

pub(crate) fn config(side: Side) -> Config {
    Config {
        side,
        draft: Draft::V18,
        setup: Setup { max_auth_token_cache: 64, ..Setup::default() },
        limits: Limits::default(),
        paths: AcceptedPaths { scope: Some("/scope".to_owned()) },
    }
}

/// Two sessions that talk to each other.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Session,
    pub(crate) server: Session,
    pub(crate) client_sink: Sink,
    pub(crate) server_sink: Sink,
}

impl Pair {
    /// Both SETUPs exchanged.
    pub(crate) fn ready() -> Self {
        let now = epoch();
        let mut pair = Self {
            now,
            client: Session::new(now, config(Side::Client)),
            server: Session::new(now, config(Side::Server)),
            client_sink: Sink::new(Side::Client),
            server_sink: Sink::new(Side::Server),
        };
        let (client, server) = pair.run();
        assert!(matches!(client[..], [Event::Ready(_)]), "{client:?}");
        assert!(matches!(server[..], [Event::Ready(_)]), "{server:?}");
        pair
    }

    /// Carries everything across until nothing is left; returns the events of the client and of the server.
    pub(crate) fn run(&mut self) -> (Vec<Event>, Vec<Event>) {
        let (mut client, mut server) = (Vec::new(), Vec::new());
        loop {
            let mut moved = false;
            while self.client.wants_transmit() {
                self.client.transmit(&mut self.client_sink);
            }
            while self.server.wants_transmit() {
                self.server.transmit(&mut self.server_sink);
            }
            moved |= deliver(self.now, &mut self.client_sink, &mut self.server);
            moved |= deliver(self.now, &mut self.server_sink, &mut self.client);
            client.extend(std::iter::from_fn(|| self.client.poll_event()));
            server.extend(std::iter::from_fn(|| self.server.poll_event()));
            if !moved {
                return (client, server);
            }
        }
    }

    /// The client asks, the server's owner hears of it.
    pub(crate) fn server_hears(&mut self) -> Event {
        let (client, mut server) = self.run();
        assert!(client.is_empty(), "{client:?}");
        assert_eq!(server.len(), 1, "{server:?}");
        server.remove(0)
    }

    /// The server answers, the client's owner hears of it.
    pub(crate) fn client_hears(&mut self) -> Event {
        let (mut client, server) = self.run();
        assert!(server.is_empty(), "{server:?}");
        assert_eq!(client.len(), 1, "{client:?}");
        client.remove(0)
    }

    /// Lets time pass; timeouts fire in order.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
    }
}

/// Carries what `from` wrote to `to`; whether there was anything.
fn deliver(now: Instant, from: &mut Sink, to: &mut Session) -> bool {
    let mut moved = false;
    for (stream, written) in &mut from.streams {
        let fresh = Bytes::copy_from_slice(&written.bytes[written.delivered.bytes..]);
        let ended = (written.finished || written.reset.is_some()) && !written.delivered.end;
        written.delivered.bytes = written.bytes.len();
        written.delivered.end |= ended;
        if let (Some(code), true) = (written.reset, ended) {
            to.handle_stream(now, *stream, StreamEvent::Reset { code });
            moved = true;
        } else if ended || !fresh.is_empty() {
            to.handle_stream(now, *stream, StreamEvent::Data { data: fresh, fin: ended });
            moved = true;
        }
        if let (Some(code), false) = (written.stopped, written.delivered.stop) {
            written.delivered.stop = true;
            to.handle_stream(now, *stream, StreamEvent::Stopped { code });
            moved = true;
        }
    }
    moved
}

/// One session and a peer that sends whatever the test says.
pub(crate) struct Lone {
    pub(crate) now: Instant,
    pub(crate) session: Session,
    pub(crate) sink: Sink,
    peer: Side,
    next: [u64; 2],
}

impl Lone {
    /// Nothing was received.
    pub(crate) fn fresh(config: Config) -> Self {
        let now = epoch();
        let side = config.side;
        let peer = if side == Side::Client { Side::Server } else { Side::Client };
        Self { now, session: Session::new(now, config), sink: Sink::new(side), peer, next: [0, 0] }
    }

    /// The peer's SETUP was received.
    pub(crate) fn ready(side: Side) -> Self {
        Self::with(config(side))
    }

    pub(crate) fn with(config: Config) -> Self {
        let mut lone = Self::fresh(config);
        let control = lone.open(Dir::Uni);
        assert_eq!(control, lone.control());
        lone.send(control, &Message::Setup(Setup::default()));
        assert!(matches!(lone.events()[..], [Event::Ready(_)]));
        lone
    }

    /// The peer's control stream, by convention its first.
    pub(crate) fn control(&self) -> StreamId {
        stream_id(self.peer, Dir::Uni, 0)
    }

    /// The next stream of the peer's.
    pub(crate) fn open(&mut self, dir: Dir) -> StreamId {
        let at = usize::from(dir == Dir::Bi);
        let id = stream_id(self.peer, dir, self.next[at]);
        self.next[at] += 1;
        id
    }

    pub(crate) fn bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        let data = Bytes::copy_from_slice(bytes);
        self.session.handle_stream(self.now, stream, StreamEvent::Data { data, fin: false });
    }

    pub(crate) fn fin(&mut self, stream: StreamId) {
        self.session.handle_stream(self.now, stream, StreamEvent::Data { data: Bytes::new(), fin: true });
    }

    pub(crate) fn reset(&mut self, stream: StreamId, code: u64) {
        self.session.handle_stream(self.now, stream, StreamEvent::Reset { code });
    }

    pub(crate) fn stop(&mut self, stream: StreamId, code: u64) {
        self.session.handle_stream(self.now, stream, StreamEvent::Stopped { code });
    }

    pub(crate) fn send(&mut self, stream: StreamId, message: &Message) {
        self.bytes(stream, &encode(message));
    }

    /// Sends a request on a new stream.
    pub(crate) fn request(&mut self, message: &Message) -> StreamId {
        let stream = self.open(Dir::Bi);
        self.send(stream, message);
        stream
    }

    /// Sends bytes on a new data stream.
    pub(crate) fn uni(&mut self, bytes: &[u8]) -> StreamId {
        let stream = self.open(Dir::Uni);
        self.bytes(stream, bytes);
        stream
    }

    /// Sends what is due and returns what the session reports.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        while self.session.wants_transmit() {
            self.session.transmit(&mut self.sink);
        }
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// The code that the session was closed with.
    pub(crate) fn closed(&mut self) -> Option<SessionCode> {
        self.events().into_iter().find_map(
            |event| {
                if let Event::Closed { code, .. } = event { Some(code) } else { None }
            },
        )
    }

    /// Everything the session wrote on a control or request stream.
    pub(crate) fn replies(&mut self, stream: StreamId) -> Vec<Message> {
        assert_eq!(self.events(), vec![]);
        self.written(stream)
    }

    /// As [`Lone::replies`], whatever the session reported.
    pub(crate) fn written(&self, stream: StreamId) -> Vec<Message> {
        let Some(written) = self.sink.streams.get(&stream) else {
            return Vec::new();
        };
        let mut framer = Framer::default();
        framer.push(Bytes::copy_from_slice(&written.bytes));
        std::iter::from_fn(|| framer.poll())
            .map(|frame| Message::decode(Draft::V18, frame.kind, &frame.payload).expect("own messages decode"))
            .collect()
    }

    /// The stream of the session's `index`-th request.
    pub(crate) fn own_request(&mut self, index: u64) -> StreamId {
        self.session.transmit(&mut self.sink);
        stream_id(if self.peer == Side::Client { Side::Server } else { Side::Client }, Dir::Bi, index)
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(self.now);
    }
}

pub(crate) fn encode(message: &Message) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(Draft::V18, &mut out).expect("the test's messages fit");
    out.to_vec()
}

pub(crate) fn namespace(path: &str) -> Namespace {
    Namespace::from_path(path).expect("a short path")
}

pub(crate) fn track(name: &'static str) -> TrackName {
    TrackName::new(namespace("live/a"), Bytes::from_static(name.as_bytes())).expect("a short name")
}

pub(crate) fn subscribe(id: u64, name: &'static str) -> Message {
    Message::Subscribe(subscribe_body(id, name))
}

pub(crate) fn subscribe_body(id: u64, name: &'static str) -> Subscribe {
    Subscribe { request_id: RequestId(id), track: track(name), params: Params::default() }
}

pub(crate) fn publish(id: u64, name: &'static str, alias: u64) -> Message {
    Message::Publish(publish_body(id, name, alias))
}

pub(crate) fn publish_body(id: u64, name: &'static str, alias: u64) -> Publish {
    Publish {
        request_id: RequestId(id),
        track: track(name),
        alias: TrackAlias(alias),
        params: Params::default(),
        properties: TrackProperties::default(),
    }
}

pub(crate) fn namespace_request(id: u64, path: &str) -> NamespaceRequest {
    NamespaceRequest { request_id: RequestId(id), namespace: namespace(path), params: Params::default() }
}

pub(crate) fn standalone(name: &'static str) -> FetchKind {
    FetchKind::Standalone { track: track(name), start: Location::new(2, 0), end: Location::new(3, 0) }
}

pub(crate) fn joining(id: u64) -> FetchKind {
    FetchKind::RelativeJoining { joining: RequestId(id), start: 0 }
}

pub(crate) fn fetch(id: u64, kind: FetchKind) -> Message {
    Message::Fetch(Fetch { request_id: RequestId(id), kind, params: Params::default() })
}

pub(crate) fn update(id: u64) -> Message {
    Message::RequestUpdate(RequestUpdate { request_id: RequestId(id), params: Params::default() })
}

pub(crate) fn subscribe_ok(alias: u64) -> SubscribeOk {
    SubscribeOk { alias: TrackAlias(alias), params: Params::default(), properties: TrackProperties::default() }
}

pub(crate) fn fetch_ok(group: u64) -> FetchOk {
    FetchOk {
        end_of_track: false,
        end: Location::new(group, 0),
        params: Params::default(),
        properties: TrackProperties::default(),
    }
}

pub(crate) fn ok() -> RequestOk {
    RequestOk::default()
}

pub(crate) fn error(code: sluice_moqt::error::RequestCode) -> RequestError {
    RequestError { code, retry: None, reason: String::new(), redirect: None }
}

pub(crate) fn done(streams: Option<u64>) -> PublishDone {
    PublishDone { code: sluice_moqt::error::DoneCode::TrackEnded, streams, reason: String::new() }
}

pub(crate) fn goaway(request_id: Option<u64>) -> Goaway {
    Goaway { uri: String::new(), timeout: Duration::ZERO, request_id: request_id.map(RequestId) }
}
