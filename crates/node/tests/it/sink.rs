//! The sending half of one in-memory connection, with limits.

use bytes::Bytes;
use sluice_moqt::transport::{DatagramError, Dir, Side, SinkError, StreamId, StreamSink, Urgency};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Largest datagram of the wire.
const MAX_DATAGRAM: usize = 1_200;

/// What was done to one stream and has not crossed the wire.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub(crate) pending: Vec<u8>,
    pub(crate) end: Option<End>,
    pub(crate) stop: Option<u64>,
    /// The peer asked us to stop.
    pub(crate) stopped: Option<u64>,
    closed: bool,
    blocked: bool,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset(u64),
}

/// One side's sink. Streams stay until their end has crossed the wire.
#[derive(Debug)]
pub(crate) struct Sink {
    side: Side,
    next: [u64; 2],
    /// Streams of ours that are open: uni, bi.
    open: [u64; 2],
    /// Streams that may be open at once: uni, bi.
    pub(crate) limit: [u64; 2],
    refused: [bool; 2],
    /// Bytes that may still be written.
    pub(crate) room: usize,
    /// Urgent bytes that may be written beyond that.
    pub(crate) reserve: usize,
    urgency: Urgency,
    pub(crate) streams: BTreeMap<StreamId, Half>,
    pub(crate) dirty: BTreeSet<StreamId>,
    pub(crate) datagrams: VecDeque<Bytes>,
    /// Payload bytes ever taken.
    pub(crate) written: u64,
    /// What was written, by stream, kept as given until the stream is reset: the peer acknowledges nothing. `None`: it
    /// acknowledges at once.
    hoard: Option<BTreeMap<StreamId, Vec<Bytes>>>,
}

impl Sink {
    pub(crate) fn new(side: Side) -> Self {
        Self {
            side,
            next: [0; 2],
            open: [0; 2],
            limit: [u64::MAX; 2],
            refused: [false; 2],
            room: usize::MAX,
            reserve: 0,
            urgency: Urgency::Usual,
            streams: BTreeMap::new(),
            dirty: BTreeSet::new(),
            datagrams: VecDeque::new(),
            written: 0,
            hoard: None,
        }
    }

    /// From now on nothing is acknowledged, and no more than `window` bytes are taken.
    pub(crate) fn hoard(&mut self, window: usize) {
        self.room = window;
        self.hoard = Some(BTreeMap::new());
    }

    /// Everything is acknowledged, from now on at once.
    pub(crate) fn let_go(&mut self) {
        self.room = usize::MAX;
        self.hoard = None;
    }

    fn is_ours(&self, stream: StreamId) -> bool {
        stream.is_server_initiated() == (self.side == Side::Server)
    }

    /// The end of a stream has crossed the wire.
    pub(crate) fn forget(&mut self, stream: StreamId) {
        if self.streams.remove(&stream).is_some() && self.is_ours(stream) {
            self.open[usize::from(!stream.is_uni())] -= 1;
        }
    }

    /// Directions in which a stream was refused and may be opened now.
    pub(crate) fn take_available(&mut self) -> Vec<Dir> {
        [Dir::Uni, Dir::Bi]
            .into_iter()
            .filter(|dir| {
                let at = usize::from(*dir == Dir::Bi);
                self.open[at] < self.limit[at] && std::mem::take(&mut self.refused[at])
            })
            .collect()
    }

    /// Streams whose blocked write may go on.
    pub(crate) fn take_writable(&mut self) -> Vec<StreamId> {
        if self.room == 0 {
            return Vec::new();
        }
        let blocked = self.streams.iter_mut().filter_map(|(id, half)| std::mem::take(&mut half.blocked).then_some(*id));
        blocked.collect()
    }
}

impl StreamSink for Sink {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        let at = usize::from(dir == Dir::Bi);
        if self.open[at] >= self.limit[at] {
            self.refused[at] = true;
            return None;
        }
        let initiator = u64::from(self.side == Side::Server);
        let id = StreamId(self.next[at] << 2 | u64::from(dir == Dir::Uni) << 1 | initiator);
        self.next[at] += 1;
        self.open[at] += 1;
        self.streams.insert(id, Half::default());
        Some(id)
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        // The answering half of a request stream comes into being with the first write.
        if !self.streams.contains_key(&stream) && (self.is_ours(stream) || stream.is_uni()) {
            return Err(SinkError::Closed);
        }
        let half = self.streams.entry(stream).or_default();
        if let Some(code) = half.stopped {
            return Err(SinkError::Stopped(code));
        }
        if half.closed {
            return Err(SinkError::Closed);
        }
        let mut taken = 0;
        for chunk in chunks {
            let reserve = if self.urgency == Urgency::Urgent { self.reserve } else { 0 };
            let part = chunk.split_to(chunk.len().min(self.room.saturating_add(reserve)));
            self.reserve -= part.len().saturating_sub(self.room);
            self.room = self.room.saturating_sub(part.len());
            taken += part.len();
            half.pending.extend_from_slice(&part);
            half.blocked |= !chunk.is_empty();
            if let Some(hoard) = &mut self.hoard {
                hoard.entry(stream).or_default().push(part);
            }
        }
        self.written += taken as u64;
        self.dirty.insert(stream);
        Ok(taken)
    }

    fn set_urgency(&mut self, urgency: Urgency) {
        self.urgency = urgency;
    }

    fn finish(&mut self, stream: StreamId) {
        if let Some(half) = self.streams.get_mut(&stream).filter(|half| !half.closed) {
            half.closed = true;
            half.end = Some(End::Fin);
            self.dirty.insert(stream);
        }
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        let kept = self.hoard.as_mut().and_then(|hoard| hoard.remove(&stream)).unwrap_or_default();
        self.room = self.room.saturating_add(kept.iter().map(Bytes::len).sum());
        if stream.is_uni() && !self.is_ours(stream) {
            return;
        }
        if !self.streams.contains_key(&stream) && self.is_ours(stream) {
            return;
        }
        let half = self.streams.entry(stream).or_default();
        if half.end.is_none() {
            half.closed = true;
            half.pending.clear();
            half.end = Some(End::Reset(code));
            self.dirty.insert(stream);
        }
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        let half = self.streams.entry(stream).or_default();
        half.stop.get_or_insert(code);
        self.dirty.insert(stream);
    }

    fn set_priority(&mut self, _: StreamId, _: i32) {}

    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError> {
        if data.len() > MAX_DATAGRAM {
            return Err(DatagramError::TooLarge { max: MAX_DATAGRAM });
        }
        self.datagrams.push_back(data);
        Ok(())
    }

    fn max_datagram_size(&self) -> Option<usize> {
        Some(MAX_DATAGRAM)
    }
}
