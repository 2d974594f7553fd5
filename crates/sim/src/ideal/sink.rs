//! The sending half of an end during one visit.

use super::wire::{End, Frame, Piece, Sending, at};
use bytes::Bytes;
use sluice_moqt::transport::{DatagramError, Dir, Side, SinkError, StreamId, StreamSink};

/// Largest datagram.
const MAX_DATAGRAM: usize = 1_200;
/// Pieces of a stream are joined up to this size.
const JOIN_BYTES: usize = 64 << 10;

/// What the transport allows now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// Bytes that may be under way.
    pub(super) window: usize,
    /// Largest piece.
    pub(super) piece: usize,
}

/// An end being visited, and what it sends.
pub(super) struct Sink<'a> {
    pub(super) end: &'a mut End,
    pub(super) side: Side,
    pub(super) allowance: Allowance,
    pub(super) frames: &'a mut Vec<Frame>,
}

impl Sink<'_> {
    fn is_ours(&self, stream: StreamId) -> bool {
        stream.is_server_initiated() == (self.side == Side::Server)
    }

    /// Our half of a stream that can be written to.
    fn half(&mut self, stream: StreamId) -> Result<&mut Sending, SinkError> {
        let half = self.end.streams.sending.get_mut(&stream).ok_or(SinkError::Closed)?;
        match half.stopped {
            Some(code) => Err(SinkError::Stopped(code)),
            None if half.ended => Err(SinkError::Closed),
            None => Ok(half),
        }
    }

    fn take(&mut self, stream: StreamId, data: Bytes) {
        let allowed = self.allowance.piece.min(JOIN_BYTES);
        if let Some(Frame::Stream { id, piece: Piece::Data { chunks, fin: false }, .. }) = self.frames.last_mut()
            && *id == stream
            && chunks.iter().map(Bytes::len).sum::<usize>() + data.len() <= allowed
        {
            return chunks.push(data);
        }
        self.send(stream, Piece::Data { chunks: vec![data], fin: false });
    }

    fn send(&mut self, id: StreamId, piece: Piece) {
        let half = self.end.streams.sending.entry(id).or_default();
        let seq = half.seq;
        half.seq += 1;
        self.frames.push(Frame::Stream { id, seq, piece });
    }
}

impl StreamSink for Sink<'_> {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        let streams = &mut self.end.streams;
        let kind = at(dir);
        if streams.open[kind] >= streams.limit[kind] {
            streams.refused[kind] = true;
            return None;
        }
        let server = u64::from(self.side == Side::Server);
        let id = StreamId(streams.opened[kind] << 2 | u64::from(dir == Dir::Uni) << 1 | server);
        streams.opened[kind] += 1;
        streams.open[kind] += 1;
        streams.sending.insert(id, Sending::default());
        Some(id)
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        self.half(stream)?;
        let mut taken = 0;
        for chunk in chunks {
            while !chunk.is_empty() {
                let room = self.end.streams.room(self.allowance.window);
                let part = chunk.split_to(chunk.len().min(room).min(self.allowance.piece));
                if part.is_empty() {
                    self.end.streams.blocked.insert(stream);
                    self.end.streams.written += taken as u64;
                    return Ok(taken);
                }
                taken += part.len();
                self.end.streams.in_flight += part.len();
                self.take(stream, part);
            }
        }
        self.end.streams.written += taken as u64;
        Ok(taken)
    }

    fn finish(&mut self, stream: StreamId) {
        let Ok(half) = self.half(stream) else { return };
        half.ended = true;
        self.end.streams.blocked.remove(&stream);
        if let Some(Frame::Stream { id, piece: Piece::Data { fin, .. }, .. }) = self.frames.last_mut()
            && *id == stream
        {
            *fin = true;
            return;
        }
        self.send(stream, Piece::Data { chunks: Vec::new(), fin: true });
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        // A stream that the peer has stopped is still to be reset.
        let Some(half) = self.end.streams.sending.get_mut(&stream).filter(|half| !half.ended) else { return };
        half.ended = true;
        self.end.streams.blocked.remove(&stream);
        self.send(stream, Piece::Reset(code));
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        if stream.is_uni() && self.is_ours(stream) {
            return;
        }
        let half = self.end.streams.receiving.entry(stream).or_default();
        if !half.over {
            half.over = true;
            half.held.clear();
            self.frames.push(Frame::Stream { id: stream, seq: 0, piece: Piece::Stop(code) });
        }
    }

    fn set_priority(&mut self, _: StreamId, _: i32) {
        // Nothing waits inside the transport: pieces leave in the order of writing.
    }

    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError> {
        if data.len() > MAX_DATAGRAM {
            return Err(DatagramError::TooLarge { max: MAX_DATAGRAM });
        }
        self.frames.push(Frame::Datagram(data));
        Ok(())
    }

    fn max_datagram_size(&self) -> Option<usize> {
        Some(MAX_DATAGRAM)
    }
}
