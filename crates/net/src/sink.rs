//! [`StreamSink`] over one quinn-proto connection.

use crate::send_window::Tracker;
use bytes::Bytes;
use quinn_proto::{SendDatagramError, VarInt, WriteError};
use sluice_moqt::transport::{DatagramError, Dir, SinkError, StreamId, StreamSink, Urgency};

/// What one `select` did to its connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Bytes of streams and datagrams that the transport took.
    pub(crate) bytes: u64,
    /// Something was refused for want of room.
    pub(crate) blocked: bool,
}

/// The sending half of one connection during one visit.
pub(crate) struct QuicSink<'a> {
    quic: &'a mut quinn_proto::Connection,
    /// Read once: it moves with the path MTU only, which no `select` changes.
    max_datagram: Option<usize>,
    window: &'a mut Tracker,
    urgency: Urgency,
    tally: Tally,
}

impl<'a> QuicSink<'a> {
    pub(crate) fn new(quic: &'a mut quinn_proto::Connection, window: &'a mut Tracker) -> Self {
        let max_datagram = quic.datagrams().max_size();
        Self { quic, max_datagram, window, urgency: Urgency::Usual, tally: Tally::default() }
    }

    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }

    /// quinn-proto panics on the wrong half of a unidirectional stream; for us it is merely closed.
    fn sendable(&self, stream: StreamId) -> Option<quinn_proto::StreamId> {
        let id = to_quic(stream)?;
        (id.dir() == quinn_proto::Dir::Bi || id.initiator() == self.quic.side()).then_some(id)
    }

    fn receivable(&self, stream: StreamId) -> Option<quinn_proto::StreamId> {
        let id = to_quic(stream)?;
        (id.dir() == quinn_proto::Dir::Bi || id.initiator() != self.quic.side()).then_some(id)
    }

    /// Writes all of `chunks` beyond a window that is full, if they are urgent and little; quinn-proto sends them before
    /// what fills it, by their stream's priority. 0 where it is the peer who allows no more.
    fn exceed(&mut self, id: quinn_proto::StreamId, chunks: &mut [Bytes]) -> usize {
        let bytes = chunks.iter().map(Bytes::len).sum();
        if self.urgency == Urgency::Usual || !self.window.may_exceed(bytes) {
            return 0;
        }
        self.quic.set_send_window(u64::MAX);
        let written = self.quic.send_stream(id).write_chunks(chunks).map_or(0, |written| written.bytes);
        self.quic.set_send_window(self.window.window());
        self.window.on_exceeded(written);
        written
    }
}

impl StreamSink for QuicSink<'_> {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        self.quic.streams().open(dir_to_quic(dir)).map(from_quic)
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        let id = self.sendable(stream).ok_or(SinkError::Closed)?;
        let mut taken = 0;
        // quinn-proto promises `Writable` only after a write that it refused whole, not after a partial one.
        while chunks.iter().any(|chunk| !chunk.is_empty()) {
            match self.quic.send_stream(id).write_chunks(chunks) {
                Ok(written) => {
                    taken += written.bytes;
                    self.window.on_room();
                }
                Err(WriteError::Blocked) => match self.exceed(id, chunks) {
                    0 => {
                        self.tally.blocked = true;
                        break;
                    }
                    written => taken += written,
                },
                Err(WriteError::Stopped(code)) => return Err(SinkError::Stopped(code.into_inner())),
                Err(WriteError::ClosedStream) => return Err(SinkError::Closed),
            }
        }
        self.tally.bytes += taken as u64;
        Ok(taken)
    }

    fn finish(&mut self, stream: StreamId) {
        if let Some(id) = self.sendable(stream) {
            let _ = self.quic.send_stream(id).finish();
        }
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        if let Some(id) = self.sendable(stream) {
            let _ = self.quic.send_stream(id).reset(code_to_quic(code));
        }
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        if let Some(id) = self.receivable(stream) {
            let _ = self.quic.recv_stream(id).stop(code_to_quic(code));
        }
    }

    fn set_urgency(&mut self, urgency: Urgency) {
        self.urgency = urgency;
    }

    fn set_priority(&mut self, stream: StreamId, priority: i32) {
        if let Some(id) = self.sendable(stream) {
            let _ = self.quic.send_stream(id).set_priority(priority);
        }
    }

    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError> {
        let len = data.len() as u64;
        match self.quic.datagrams().send(data, false) {
            Ok(()) => {
                self.tally.bytes += len;
                Ok(())
            }
            Err(SendDatagramError::Blocked(_)) => {
                self.tally.blocked = true;
                Err(DatagramError::Blocked)
            }
            Err(SendDatagramError::TooLarge) => Err(DatagramError::TooLarge { max: self.max_datagram.unwrap_or(0) }),
            Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled) => Err(DatagramError::Unsupported),
        }
    }

    fn max_datagram_size(&self) -> Option<usize> {
        self.max_datagram
    }
}

pub(crate) fn to_quic(stream: StreamId) -> Option<quinn_proto::StreamId> {
    VarInt::from_u64(stream.0).ok().map(quinn_proto::StreamId::from)
}

pub(crate) fn from_quic(id: quinn_proto::StreamId) -> StreamId {
    StreamId(VarInt::from(id).into_inner())
}

pub(crate) const fn dir_to_quic(dir: Dir) -> quinn_proto::Dir {
    match dir {
        Dir::Uni => quinn_proto::Dir::Uni,
        Dir::Bi => quinn_proto::Dir::Bi,
    }
}

pub(crate) const fn dir_from_quic(dir: quinn_proto::Dir) -> Dir {
    match dir {
        quinn_proto::Dir::Uni => Dir::Uni,
        quinn_proto::Dir::Bi => Dir::Bi,
    }
}

/// Application codes are varints; a larger one is cut to the largest.
pub(crate) fn code_to_quic(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}
