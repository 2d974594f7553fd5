//! RTMP's chunk streams: messages cut into pieces and interleaved (Adobe RTMP 1.0, 5.3).

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::collections::BTreeMap;

/// Bytes of one message at most: a keyframe of a high bit rate has 2 MB.
const MESSAGE_MAX: usize = 8 << 20;
/// Chunk streams at once; encoders use five.
const STREAMS_MAX: usize = 32;
/// Timestamps from this on follow in four bytes of their own.
const EXTENDED: u32 = 0x00ff_ffff;
/// Chunk size until told otherwise (5.4.1), and the smallest that may be told.
const CHUNK_DEFAULT: usize = 128;
/// Chunk size that we send with.
pub(super) const CHUNK_OURS: u32 = 4096;

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    /// A message above the limit.
    #[error("a message of {0} bytes, the limit is {MESSAGE_MAX}")]
    TooLong(usize),
    /// Too many chunk streams.
    #[error("more than {STREAMS_MAX} chunk streams")]
    TooManyStreams,
    /// A chunk that continues nothing.
    #[error("chunk stream {0} begins without a header")]
    NoHeader(u32),
    /// A chunk size of zero, or above the largest message.
    #[error("chunk size {0} is not allowed")]
    ChunkSize(u32),
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) timestamp: u32,
    pub(super) payload: Bytes,
}

/// Puts messages together.
#[derive(Debug)]
pub(super) struct Chunks {
    streams: BTreeMap<u32, Stream>,
    size: usize,
}

/// The header in force on a chunk stream, and what has come of its message.
#[derive(Debug, Default)]
struct Stream {
    timestamp: u32,
    delta: u32,
    is_extended: bool,
    length: usize,
    kind: u8,
    partial: BytesMut,
}

/// The fixed part of a chunk header, read but not yet taken.
struct Head {
    id: u32,
    format: u8,
    /// The message header without an extended timestamp.
    fields: Bytes,
    bytes: usize,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { streams: BTreeMap::new(), size: CHUNK_DEFAULT }
    }

    /// The peer's chunks have this size from here on.
    pub(super) fn set_size(&mut self, size: u32) -> Result<(), ChunkError> {
        let usable = usize::try_from(size).ok().filter(|s| (1..=MESSAGE_MAX).contains(s));
        self.size = usable.ok_or(ChunkError::ChunkSize(size))?;
        Ok(())
    }

    /// The peer gave up the message of this chunk stream.
    pub(super) fn abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.partial.clear();
        }
    }

    /// Takes chunks from `input` until a message is whole. `None`: more bytes are needed.
    pub(super) fn poll_message(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        loop {
            let Some(head) = head(input) else { return Ok(None) };
            if !self.streams.contains_key(&head.id) {
                if head.format != 0 {
                    return Err(ChunkError::NoHeader(head.id));
                }
                if self.streams.len() == STREAMS_MAX {
                    return Err(ChunkError::TooManyStreams);
                }
            }
            let size = self.size;
            let stream = self.streams.entry(head.id).or_default();
            let Some(taken) = stream.chunk(&head, input, size)? else { return Ok(None) };
            if let Some(message) = taken {
                return Ok(Some(message));
            }
        }
    }
}

impl Stream {
    /// Takes one chunk, if it is whole: then the outer `Some`, with a message if that is whole, too.
    fn chunk(&mut self, head: &Head, input: &mut BytesMut, size: usize) -> Result<Option<Option<Message>>, ChunkError> {
        let mut fields = head.fields.clone();
        let time = if head.format < 3 { u32::try_from(fields.get_uint(3)).ok() } else { None };
        let is_extended = time.map_or(self.is_extended, |time| time == EXTENDED);
        let (length, kind) = if head.format < 2 {
            (usize::try_from(fields.get_uint(3)).unwrap_or(usize::MAX), fields.get_u8())
        } else {
            (self.length, self.kind)
        };
        if length > MESSAGE_MAX {
            return Err(ChunkError::TooLong(length));
        }
        let header = head.bytes + if is_extended { 4 } else { 0 };
        let is_new = head.format < 3 || self.partial.is_empty();
        let had = if is_new { 0 } else { self.partial.len() };
        let piece = length.saturating_sub(had).min(size);
        if input.len() < header + piece {
            return Ok(None);
        }
        input.advance(head.bytes);
        let time = if is_extended { Some(input.get_u32()) } else { time };
        if is_new {
            self.begin(head.format, time);
        }
        (self.length, self.kind, self.is_extended) = (length, kind, is_extended);
        self.partial.extend_from_slice(&input.split_to(piece));
        let is_whole = self.partial.len() >= self.length;
        let message =
            |s: &mut Self| Message { kind: s.kind, timestamp: s.timestamp, payload: s.partial.split().freeze() };
        Ok(Some(is_whole.then(|| message(self))))
    }

    /// A new message starts: absolute time (0), a new step (1, 2), or the step before (3).
    fn begin(&mut self, format: u8, time: Option<u32>) {
        self.partial.clear();
        match (format, time) {
            (0, Some(time)) => (self.timestamp, self.delta) = (time, time),
            (1 | 2, Some(delta)) => {
                self.delta = delta;
                self.timestamp = self.timestamp.wrapping_add(delta);
            }
            _ => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
    }
}

/// Reads basic and message header, without taking them.
fn head(input: &BytesMut) -> Option<Head> {
    let first = *input.first()?;
    let byte = |at: usize| input.get(at).map(|b| u32::from(*b));
    let (id, basic) = match first & 0x3f {
        0 => (64 + byte(1)?, 2),
        1 => (64 + byte(1)? + 256 * byte(2)?, 3),
        id => (u32::from(id), 1),
    };
    let format = first >> 6;
    let length = [11, 7, 3, 0].get(usize::from(format)).copied()?;
    let fields = Bytes::copy_from_slice(input.get(basic..basic + length)?);
    Some(Head { id, format, fields, bytes: basic + length })
}

/// Appends a message on chunk stream `id` (below 64), in chunks of [`CHUNK_OURS`] or smaller.
pub(super) fn put_message(out: &mut BytesMut, id: u8, (kind, stream): (u8, u32), payload: &[u8]) {
    debug_assert!((2..64).contains(&id) && payload.len() <= CHUNK_OURS as usize, "our answers are one chunk");
    out.put_u8(id);
    out.put_uint(0, 3);
    out.put_uint(payload.len() as u64, 3);
    out.put_u8(kind);
    out.put_u32_le(stream);
    out.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(chunks: &mut Chunks, bytes: &[u8]) -> Vec<(u8, u32, usize)> {
        let mut input = BytesMut::from(bytes);
        let mut messages = Vec::new();
        while let Some(message) = chunks.poll_message(&mut input).unwrap() {
            messages.push((message.kind, message.timestamp, message.payload.len()));
        }
        assert!(input.is_empty());
        messages
    }

    #[test]
    fn interleaved_chunks_make_their_messages_and_steps_add_up() {
        let mut bytes = Vec::new();
        // Video of 200 bytes at 1000 on stream 6, cut by sound of 3 bytes at 1005 on stream 4.
        bytes.extend([0x06, 0x00, 0x03, 0xe8, 0, 0, 200, 9, 1, 0, 0, 0]);
        bytes.extend([7; 128]);
        bytes.extend([0x04, 0x00, 0x03, 0xed, 0, 0, 3, 8, 1, 0, 0, 0, 1, 2, 3]);
        bytes.push(0xc6);
        bytes.extend([7; 72]);
        // The next sound 23 ms later, and one more of the same step.
        bytes.extend([0x84, 0, 0, 23, 1, 2, 3]);
        bytes.extend([0xc4, 1, 2, 3]);
        let expected = [(8, 1005, 3), (9, 1000, 200), (8, 1028, 3), (8, 1051, 3)];
        assert_eq!(drain(&mut Chunks::new(), &bytes), expected);
        let mut chunks = Chunks::new();
        let mut input = BytesMut::new();
        let mut count = 0;
        for byte in bytes {
            input.put_u8(byte);
            count += usize::from(chunks.poll_message(&mut input).unwrap().is_some());
        }
        assert_eq!(count, expected.len(), "byte by byte");
    }

    #[test]
    fn long_times_are_repeated_in_every_chunk() {
        let mut bytes = vec![0x06, 0xff, 0xff, 0xff, 0, 0, 130, 9, 1, 0, 0, 0, 0x01, 0x00, 0x00, 0x00];
        bytes.extend([7; 128]);
        bytes.extend([0xc6, 0x01, 0x00, 0x00, 0x00, 7, 7]);
        assert_eq!(drain(&mut Chunks::new(), &bytes), [(9, 0x0100_0000, 130)]);
    }

    #[test]
    fn limits_are_errors() {
        let poll = |bytes: &[u8]| Chunks::new().poll_message(&mut BytesMut::from(bytes));
        assert_eq!(poll(&[0xc3]), Err(ChunkError::NoHeader(3)));
        assert_eq!(poll(&[3, 0, 0, 0, 0xff, 0xff, 0xff, 9, 0, 0, 0, 0]), Err(ChunkError::TooLong(0xff_ffff)));
        assert_eq!(Chunks::new().set_size(0), Err(ChunkError::ChunkSize(0)));
        let many: Vec<u8> = (3..=35).flat_map(|id| [id, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 0, 7]).collect();
        let mut input = BytesMut::from(many.as_slice());
        let mut chunks = Chunks::new();
        for _ in 0..STREAMS_MAX {
            assert!(chunks.poll_message(&mut input).unwrap().is_some());
        }
        assert_eq!(chunks.poll_message(&mut input), Err(ChunkError::TooManyStreams));
    }
}
