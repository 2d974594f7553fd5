//! A publisher or viewer: the protocol's session, data streams out, data streams in.

use bytes::{Bytes, BytesMut};
use sluice_moqt::data::{FetchObject, ObjectDatagram, ObjectHeader, SubgroupEncoder, SubgroupHeader};
use sluice_moqt::message::Setup;
use sluice_moqt::session::{AcceptedPaths, Config, Event, Limits, Session, StreamEnd};
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, Side, StreamEvent, StreamId, StreamSink,
};
use sluice_moqt::{Draft, Location, RequestId, TrackAlias};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A data stream of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Out(usize);

struct Outgoing {
    stream: Option<StreamId>,
    queue: Bytes,
    end: Option<Result<(), u64>>,
    over: bool,
    encoder: Option<SubgroupEncoder>,
    alias: Option<TrackAlias>,
    stopped: Option<u64>,
}

/// A data stream that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) request: RequestId,
    /// `None`: a fetch.
    pub(crate) header: Option<SubgroupHeader>,
    pub(crate) objects: Vec<Object>,
    pub(crate) end: Option<StreamEnd>,
}

/// An object that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) location: Location,
    pub(crate) properties: Bytes,
    pub(crate) payload: Vec<u8>,
    pub(crate) len: u64,
    pub(crate) header: Option<ObjectHeader>,
    pub(crate) fetched: Option<FetchObject>,
}

impl Object {
    pub(crate) fn is_whole(&self) -> bool {
        self.payload.len() as u64 == self.len
    }
}

pub(crate) struct Client {
    pub(crate) protocol: Session,
    pub(crate) session: Option<SessionId>,
    /// Everything but data.
    pub(crate) events: Vec<Event>,
    /// In order of arrival.
    pub(crate) streams: Vec<Received>,
    pub(crate) datagrams: Vec<(RequestId, ObjectDatagram)>,
    pub(crate) closed: Option<CloseReason>,
    by_id: BTreeMap<StreamId, usize>,
    out: Vec<Outgoing>,
    datagrams_out: Vec<Bytes>,
    outputs: VecDeque<Output>,
    awake: bool,
}

impl Client {
    pub(crate) fn new(now: Instant) -> Self {
        let setup = Setup { path: Some("/".to_owned()), ..Setup::default() };
        let config = Config {
            side: Side::Client,
            draft: Draft::V18,
            setup,
            limits: Limits::default(),
            paths: AcceptedPaths::default(),
        };
        Self {
            protocol: Session::new(now, config),
            session: None,
            events: Vec::new(),
            streams: Vec::new(),
            datagrams: Vec::new(),
            closed: None,
            by_id: BTreeMap::new(),
            out: Vec::new(),
            datagrams_out: Vec::new(),
            outputs: VecDeque::new(),
            awake: false,
        }
    }

    /// Opens a subgroup stream.
    pub(crate) fn open(&mut self, header: &SubgroupHeader) -> Out {
        let mut bytes = BytesMut::new();
        header.encode(&mut bytes);
        let out = self.open_raw(bytes.freeze());
        self.out[out.0].encoder = Some(SubgroupEncoder::new(header));
        self.out[out.0].alias = Some(header.alias);
        out
    }

    /// How many subgroup streams were opened for an alias.
    pub(crate) fn streams_of(&self, alias: TrackAlias) -> u64 {
        self.out.iter().filter(|out| out.alias == Some(alias)).count() as u64
    }

    /// Opens a stream that starts with `bytes`.
    pub(crate) fn open_raw(&mut self, bytes: Bytes) -> Out {
        self.out.push(Outgoing {
            stream: None,
            queue: bytes,
            end: None,
            over: false,
            encoder: None,
            alias: None,
            stopped: None,
        });
        Out(self.out.len() - 1)
    }

    /// Begins an object of `len` bytes and sends `payload` of it.
    pub(crate) fn object(&mut self, out: Out, header: &ObjectHeader, payload: &[u8]) {
        let mut bytes = BytesMut::new();
        let encoder = self.out[out.0].encoder.as_mut().expect("a subgroup stream");
        encoder.encode(header, &mut bytes).expect("legal");
        bytes.extend_from_slice(payload);
        self.bytes(out, &bytes);
    }

    pub(crate) fn bytes(&mut self, out: Out, bytes: &[u8]) {
        let queue = &mut self.out[out.0].queue;
        *queue = [&queue[..], bytes].concat().into();
    }

    pub(crate) fn fin(&mut self, out: Out) {
        self.out[out.0].end = Some(Ok(()));
    }

    pub(crate) fn reset(&mut self, out: Out, code: u64) {
        self.out[out.0].end = Some(Err(code));
    }

    pub(crate) fn datagram(&mut self, datagram: Bytes) {
        self.datagrams_out.push(datagram);
    }

    /// The code with which the peer stopped a stream of ours.
    pub(crate) fn stopped(&self, out: Out) -> Option<u64> {
        self.out[out.0].stopped
    }

    /// Takes the events so far.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Locations of whole objects that came for `request`, in order of arrival by stream.
    pub(crate) fn locations(&self, request: RequestId) -> Vec<(u64, u64)> {
        let of = self.streams.iter().filter(|stream| stream.request == request);
        let whole = of.flat_map(|stream| &stream.objects).filter(|object| object.is_whole());
        whole.map(|object| (object.location.group, object.location.object)).collect()
    }

    /// The test may have asked for something.
    pub(crate) fn rouse(&mut self) {
        self.awake = false;
    }

    fn drain(&mut self) {
        while let Some(event) = self.protocol.poll_event() {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Subgroup { stream, request, header } => self.begin(stream, request, Some(header)),
            Event::FetchStream { stream, request } => self.begin(stream, request, None),
            Event::Object { stream, object } => {
                let group = self.stream(stream).header.map_or(0, |header| header.group);
                self.stream(stream).objects.push(Object {
                    location: Location::new(group, object.id),
                    properties: object.properties.clone(),
                    payload: Vec::new(),
                    len: object.payload_len,
                    header: Some(object),
                    fetched: None,
                });
            }
            Event::FetchObject { stream, object } => self.stream(stream).objects.push(Object {
                location: object.location,
                properties: object.properties.clone(),
                payload: Vec::new(),
                len: object.payload_len,
                header: None,
                fetched: Some(object),
            }),
            Event::Payload { stream, data } => {
                self.stream(stream).objects.last_mut().expect("begun").payload.extend_from_slice(&data);
            }
            Event::StreamEnd { stream, end } => self.stream(stream).end = Some(end),
            Event::Datagram { request, datagram } => self.datagrams.push((request, datagram)),
            Event::Closed { code, ref reason } => {
                let session = self.session.expect("connected");
                self.outputs.push_back(Output::Close { session, code: code.code(), reason: reason.clone() });
                self.events.push(event);
            }
            other => self.events.push(other),
        }
    }

    fn begin(&mut self, stream: StreamId, request: RequestId, header: Option<SubgroupHeader>) {
        self.by_id.insert(stream, self.streams.len());
        self.streams.push(Received { request, header, objects: Vec::new(), end: None });
    }

    fn stream(&mut self, stream: StreamId) -> &mut Received {
        &mut self.streams[self.by_id[&stream]]
    }

    fn wants_visit(&self) -> bool {
        let out = |out: &Outgoing| !out.over && (out.end.is_some() || !out.queue.is_empty());
        self.protocol.wants_transmit() || !self.datagrams_out.is_empty() || self.out.iter().any(out)
    }
}

impl App for Client {
    fn handle_connected(&mut self, _: Instant, session: SessionId, _: Peer) {
        self.session = Some(session);
    }

    fn handle_dial_failed(&mut self, _: Instant, _: u64, _: CloseReason) {}

    fn handle_stream(&mut self, now: Instant, _: SessionId, stream: StreamId, event: StreamEvent) {
        if let StreamEvent::Stopped { code } = event
            && let Some(out) = self.out.iter_mut().find(|out| out.stream == Some(stream))
        {
            out.stopped = Some(code);
            out.over = true;
        }
        self.protocol.handle_stream(now, stream, event);
        self.awake = false;
        self.drain();
    }

    fn handle_streams_available(&mut self, _: Instant, _: SessionId, _: Dir) {
        self.protocol.handle_streams_available();
        self.awake = false;
    }

    fn handle_datagram(&mut self, now: Instant, _: SessionId, data: Bytes) {
        self.protocol.handle_datagram(now, data);
        self.drain();
    }

    fn handle_closed(&mut self, _: Instant, _: SessionId, reason: CloseReason) {
        self.session = None;
        self.closed = Some(reason);
    }

    fn handle_stats(&mut self, _: Instant, _: SessionId, _: PathStats) {}

    fn handle_timeout(&mut self, now: Instant) {
        self.protocol.handle_timeout(now);
        self.drain();
    }

    fn select(&mut self, _: Instant, _: SessionId, sink: &mut dyn StreamSink) {
        if self.protocol.wants_transmit() {
            self.protocol.transmit(sink);
        }
        for datagram in self.datagrams_out.drain(..) {
            let _ = sink.send_datagram(datagram);
        }
        for out in self.out.iter_mut().filter(|out| !out.over) {
            if out.stream.is_none() {
                out.stream = sink.open(Dir::Uni);
            }
            let Some(stream) = out.stream else { continue };
            if !out.queue.is_empty() {
                let mut chunk = [std::mem::take(&mut out.queue)];
                let _ = sink.write(stream, &mut chunk);
                [out.queue] = chunk;
            }
            match out.end {
                Some(Ok(())) if out.queue.is_empty() => sink.finish(stream),
                Some(Err(code)) => sink.reset(stream, code),
                Some(Ok(())) | None => continue,
            }
            out.over = true;
        }
        self.drain();
        // What the sink refuses has to wait for the next event.
        self.awake = self.wants_visit();
    }

    fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_some() {
            return output;
        }
        let session = self.session.filter(|_| !self.awake && self.wants_visit())?;
        self.awake = true;
        Some(Output::Wake(session))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session.and_then(|_| self.protocol.poll_timeout())
    }
}
