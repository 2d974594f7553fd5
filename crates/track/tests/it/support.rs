//! A publisher, a sink, and a reader of what came out.

use bytes::{Bytes, BytesMut};
use sluice_moqt::data::{
    DataEvent, EndOfRange, FetchObject, ObjectHeader, StreamDecoder, SubgroupEncoder, SubgroupFlags, SubgroupHeader,
    SubgroupId,
};
use sluice_moqt::message::{Class, Timeouts};
use sluice_moqt::transport::{DatagramError, Dir, SinkError, StreamId, StreamSink};
use sluice_moqt::types::{GroupOrder, ObjectStatus, TrackAlias};
use sluice_track::{Cursor, CursorConfig, Forward, Forwarding, Limits, Log, Range, SourceId, WriteError, WriterId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) const PRIORITY: u8 = 128;
pub(crate) const ALIAS: TrackAlias = TrackAlias(7);
pub(crate) const SOURCE: SourceId = SourceId(1);

/// A clock that stands still unless told otherwise.
#[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a test's time")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn log() -> Log {
    Log::new(Limits::default(), PRIORITY)
}

pub(crate) fn config(mode: Forwarding) -> CursorConfig {
    CursorConfig {
        alias: ALIAS,
        mode,
        range: Range::ALL,
        order: GroupOrder::Ascending,
        priority: PRIORITY,
        class: Class::Live,
        timeouts: Timeouts::default(),
        max_lag_groups: 1,
        max_lag_age: None,
        forward: Forward::On,
    }
}

pub(crate) fn viewer(log: &Log) -> Cursor {
    Cursor::new(config(Forwarding::Whole), log)
}

pub(crate) fn header(group: u64, subgroup: u64, flags: SubgroupFlags) -> SubgroupHeader {
    SubgroupHeader { alias: TrackAlias(1), group, subgroup: SubgroupId::from(subgroup), priority: None, flags }
}

/// Flags of a subgroup that starts here and ends the group.
pub(crate) fn whole_group() -> SubgroupFlags {
    SubgroupFlags::FIRST_OBJECT | SubgroupFlags::END_OF_GROUP
}

pub(crate) fn object(id: u64, payload_len: usize) -> ObjectHeader {
    ObjectHeader { id, properties: Bytes::new(), payload_len: payload_len as u64, status: ObjectStatus::Normal }
}

pub(crate) fn status(id: u64, status: ObjectStatus) -> ObjectHeader {
    ObjectHeader { status, ..object(id, 0) }
}

pub(crate) fn fetched(group: u64, id: u64, subgroup: u64, payload_len: usize) -> FetchObject {
    FetchObject {
        location: sluice_moqt::Location::new(group, id),
        subgroup: Some(subgroup),
        priority: PRIORITY,
        properties: Bytes::new(),
        payload_len: payload_len as u64,
    }
}

/// Payload that tells objects apart.
pub(crate) fn payload(group: u64, id: u64, len: usize) -> Vec<u8> {
    let first = group.to_le_bytes()[0].wrapping_mul(31).wrapping_add(id.to_le_bytes()[0].wrapping_mul(7));
    (0..=u8::MAX).map(|at| at.wrapping_add(first)).cycle().take(len).collect()
}

/// Writes one object from begin to end.
pub(crate) fn put(log: &mut Log, now: Instant, writer: WriterId, (group, id): (u64, u64), len: usize) {
    log.begin_object(now, writer, &object(id, len)).expect("begins");
    log.append(now, writer, &payload(group, id, len)).expect("appends");
}

/// Publishes a whole group of `count` objects in one subgroup.
pub(crate) fn put_group(log: &mut Log, now: Instant, group: u64, count: u64) {
    let writer = log.open_subgroup(now, SOURCE, &header(group, 0, whole_group())).expect("opens");
    for id in 0..count {
        put(log, now, writer, (group, id), 100);
    }
    log.finish(now, writer).expect("finishes");
}

/// One subgroup stream as bytes.
pub(crate) fn wire(header: &SubgroupHeader, objects: &[(ObjectHeader, Vec<u8>)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    header.encode(&mut out);
    let mut encoder = SubgroupEncoder::new(header);
    for (object, payload) in objects {
        encoder.encode(object, &mut out).expect("encodes");
        out.extend_from_slice(payload);
    }
    out.to_vec()
}

/// An incoming stream, as the node takes it.
pub(crate) struct Ingest {
    source: SourceId,
    decoder: StreamDecoder,
    writer: Option<WriterId>,
}

impl Ingest {
    pub(crate) fn new(source: SourceId) -> Self {
        Self { source, decoder: StreamDecoder::default(), writer: None }
    }

    #[expect(clippy::unwrap_in_result, reason = "what is refused is the write, not the test's own bytes")]
    pub(crate) fn push(&mut self, log: &mut Log, now: Instant, data: &[u8]) -> Result<(), WriteError> {
        self.decoder.push(Bytes::copy_from_slice(data));
        while let Some(event) = self.decoder.poll().expect("well formed") {
            match (event, self.writer) {
                (DataEvent::Subgroup(header), _) => {
                    self.writer = Some(log.open_subgroup(now, self.source, &header)?);
                }
                (DataEvent::Object(object), Some(writer)) => log.begin_object(now, writer, &object)?,
                (DataEvent::Payload(data), Some(writer)) => log.append(now, writer, &data)?,
                (DataEvent::ObjectEnd, _) => {}
                (other, _) => panic!("{other:?} on a subgroup stream"),
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, log: &mut Log, now: Instant) -> Result<(), WriteError> {
        self.writer.take().map_or(Ok(()), |writer| log.finish(now, writer))
    }

    pub(crate) fn reset(&mut self, log: &mut Log, now: Instant) {
        if let Some(writer) = self.writer.take() {
            log.reset(now, writer);
        }
    }
}

/// A stream as the peer sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Out {
    pub(crate) data: Vec<u8>,
    pub(crate) fin: bool,
    pub(crate) reset: Option<u64>,
    pub(crate) priority: i32,
    pub(crate) stopped: Option<u64>,
}

/// A transport that accepts `accept(offered)` bytes per write.
pub(crate) struct Sink {
    pub(crate) streams: BTreeMap<StreamId, Out>,
    pub(crate) stream_limit: usize,
    pub(crate) accept: Box<dyn FnMut(usize) -> usize>,
    pub(crate) datagrams: Vec<Bytes>,
    pub(crate) max_datagram: Option<usize>,
    pub(crate) datagrams_blocked: bool,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            streams: BTreeMap::new(),
            stream_limit: usize::MAX,
            accept: Box::new(|offered| offered),
            datagrams: Vec::new(),
            max_datagram: Some(1_200),
            datagrams_blocked: false,
        }
    }
}

impl Sink {
    pub(crate) fn block(&mut self) {
        self.accept = Box::new(|_| 0);
    }

    pub(crate) fn unblock(&mut self) {
        self.accept = Box::new(|offered| offered);
    }

    /// Everything that came out, decoded, in order of streams.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.streams.values().map(Received::decode).collect()
    }

    /// (group, object) of everything that came out whole.
    pub(crate) fn locations(&self) -> Vec<(u64, u64)> {
        let of = |stream: Received| -> Vec<(u64, u64)> {
            let group = stream.header.map_or(u64::MAX, |header| header.group);
            stream.objects.iter().filter(|object| object.whole).map(|object| (group, object.header.id)).collect()
        };
        self.received().into_iter().flat_map(of).collect()
    }
}

impl StreamSink for Sink {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        assert_eq!(dir, Dir::Uni);
        (self.streams.len() < self.stream_limit).then(|| {
            let id = StreamId(self.streams.len() as u64 * 4 + 3);
            self.streams.insert(id, Out::default());
            id
        })
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        let out = self.streams.get_mut(&stream).ok_or(SinkError::Closed)?;
        assert!(!out.fin && out.reset.is_none(), "written after its end");
        if let Some(code) = out.stopped {
            return Err(SinkError::Stopped(code));
        }
        let offered = chunks.iter().map(Bytes::len).sum();
        assert!(offered > 0, "an empty write");
        let taken = (self.accept)(offered).min(offered);
        let mut left = taken;
        for chunk in chunks {
            let part = chunk.split_to(left.min(chunk.len()));
            left -= part.len();
            out.data.extend_from_slice(&part);
        }
        Ok(taken)
    }

    fn finish(&mut self, stream: StreamId) {
        self.streams.get_mut(&stream).expect("open").fin = true;
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        self.streams.get_mut(&stream).expect("open").reset = Some(code);
    }

    fn stop(&mut self, _: StreamId, _: u64) {}

    fn set_priority(&mut self, stream: StreamId, priority: i32) {
        self.streams.get_mut(&stream).expect("open").priority = priority;
    }

    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError> {
        if self.datagrams_blocked {
            return Err(DatagramError::Blocked);
        }
        self.datagrams.push(data);
        Ok(())
    }

    fn max_datagram_size(&self) -> Option<usize> {
        self.max_datagram
    }
}

/// A decoded stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) header: Option<SubgroupHeader>,
    pub(crate) objects: Vec<Object>,
    pub(crate) ranges: Vec<EndOfRange>,
    pub(crate) fin: bool,
    pub(crate) reset: Option<u64>,
}

/// A decoded object; on fetch streams `fetched` has the rest of its fields.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) header: ObjectHeader,
    pub(crate) payload: Vec<u8>,
    pub(crate) whole: bool,
    pub(crate) fetched: Option<FetchObject>,
}

impl Received {
    pub(crate) fn decode(out: &Out) -> Self {
        Self::decode_in(out, GroupOrder::Ascending)
    }

    pub(crate) fn decode_in(out: &Out, order: GroupOrder) -> Self {
        let mut received = Self { fin: out.fin, reset: out.reset, ..Self::default() };
        let mut decoder = StreamDecoder::default();
        decoder.push(Bytes::copy_from_slice(&out.data));
        while let Some(event) = decoder.poll().expect("well formed") {
            match event {
                DataEvent::Subgroup(header) => received.header = Some(header),
                DataEvent::Fetch(_) => decoder.set_group_order(order),
                DataEvent::Object(header) => received.begin(header, None),
                DataEvent::FetchObject(fetched) => {
                    let header =
                        ObjectHeader { payload_len: fetched.payload_len, ..object(fetched.location.object, 0) };
                    received.begin(header, Some(fetched));
                }
                DataEvent::EndOfRange(range) => received.ranges.push(range),
                DataEvent::Payload(data) => {
                    received.objects.last_mut().expect("begun").payload.extend_from_slice(&data);
                }
                DataEvent::ObjectEnd => received.objects.last_mut().expect("begun").whole = true,
                other @ (DataEvent::Control | DataEvent::Padding) => panic!("{other:?} on a data stream"),
            }
        }
        if out.fin {
            decoder.finish().expect("a FIN only between objects");
        }
        received
    }

    fn begin(&mut self, header: ObjectHeader, fetched: Option<FetchObject>) {
        self.objects.push(Object { header, payload: Vec::new(), whole: false, fetched });
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.objects.iter().filter(|object| object.whole).map(|object| object.header.id).collect()
    }
}
