//! One object: its wire image for a subgroup stream, and how much of it is there.
//!
//! The image is `id delta, [properties], payload length, [status], payload` (draft-18 10.4.2), contiguous in pieces of
//! [`BLOCK`] bytes: nearly every object is one `Bytes`, and a declared length is not trusted with more memory than
//! what arrived of it, rounded up to a piece.

use crate::arena::{Arena, BLOCK, BlockId};
use bytes::{BufMut, Bytes, BytesMut};
use sluice_moqt::types::ObjectStatus;
use sluice_moqt::varint;
use std::time::Instant;

/// An object of a subgroup.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) id: u64,
    /// No object of the subgroup has an id in `floor..id`; `floor == id`: nothing is known about them.
    pub(crate) floor: u64,
    /// When its first byte came.
    pub(crate) arrived: Instant,
    pub(crate) status: ObjectStatus,
    head: Head,
    payload_len: usize,
    body: Body,
}

/// Layout of what stands before the payload.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// The predecessor that the id delta assumes; `None`: first on its stream.
    prior: Option<u64>,
    delta: usize,
    /// Length of the properties field with its own length; 0: the field is absent.
    properties: usize,
    /// Whole head.
    len: usize,
}

#[derive(Debug)]
enum Body {
    Filling(Box<Filling>),
    /// All of it, in one piece.
    Whole(BlockId, Bytes),
    /// All of it, in pieces of [`BLOCK`] bytes.
    Pieces(Vec<(BlockId, Bytes)>),
    /// No source completed it.
    Unknown,
}

#[derive(Debug, Default)]
struct Filling {
    pieces: Vec<(BlockId, Bytes)>,
    tail: Option<(BlockId, BytesMut)>,
    /// Bytes in pieces and tail.
    len: usize,
    /// The tail's bytes for cut-through readers, copied once for all of them; dropped with the tail.
    shared: Vec<Bytes>,
    shared_len: usize,
}

/// What begins: the fields of an object header that stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin<'a> {
    pub(crate) id: u64,
    pub(crate) floor: u64,
    pub(crate) prior: Option<u64>,
    /// `None`: the subgroup's streams have no properties field.
    pub(crate) properties: Option<&'a [u8]>,
    pub(crate) payload_len: usize,
    pub(crate) status: ObjectStatus,
}

impl Object {
    /// An object of which the head is there.
    pub(crate) fn begin(now: Instant, begin: &Begin<'_>, arena: &mut Arena) -> Self {
        let mut fields = BytesMut::with_capacity(32 + begin.properties.map_or(0, <[u8]>::len));
        debug_assert!(begin.prior.is_none_or(|prior| prior < begin.id), "ids of one stream ascend");
        let prior = begin.prior.filter(|prior| *prior < begin.id);
        let delta = prior.map_or(begin.id, |prior| begin.id - prior - 1);
        varint::encode(delta, &mut fields);
        let delta = fields.len();
        if let Some(properties) = begin.properties {
            varint::encode(properties.len() as u64, &mut fields);
            fields.put_slice(properties);
        }
        let properties = fields.len() - delta;
        varint::encode(begin.payload_len as u64, &mut fields);
        if begin.payload_len == 0 {
            varint::encode(status_code(begin.status), &mut fields);
        }
        let head = Head { prior, delta, properties, len: fields.len() };
        let mut object = Self {
            id: begin.id,
            floor: begin.floor.min(begin.id),
            arrived: now,
            status: begin.status,
            head,
            payload_len: begin.payload_len,
            body: Body::Filling(Box::default()),
        };
        object.append(&fields, arena);
        object
    }

    /// Payload bytes declared.
    pub(crate) const fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// Payload bytes held.
    pub(crate) fn payload_held(&self) -> usize {
        self.available().saturating_sub(self.head.len)
    }

    /// Length of the whole image.
    pub(crate) const fn wire_len(&self) -> usize {
        self.head.len + self.payload_len
    }

    /// Bytes of the image that are there.
    pub(crate) fn available(&self) -> usize {
        match &self.body {
            Body::Filling(filling) => filling.len,
            Body::Whole(..) | Body::Pieces(_) => self.wire_len(),
            Body::Unknown => 0,
        }
    }

    pub(crate) const fn is_whole(&self) -> bool {
        matches!(self.body, Body::Whole(..) | Body::Pieces(_))
    }

    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self.body, Body::Unknown)
    }

    pub(crate) const fn is_filling(&self) -> bool {
        matches!(self.body, Body::Filling(_))
    }

    /// The predecessor that the image's id delta assumes.
    pub(crate) const fn prior(&self) -> Option<u64> {
        self.head.prior
    }

    /// Where the image goes on after the id delta.
    pub(crate) const fn after_delta(&self) -> usize {
        self.head.delta
    }

    /// Where the image goes on after the properties: at the payload length.
    pub(crate) const fn after_properties(&self) -> usize {
        self.head.delta + self.head.properties
    }

    /// Where the payload starts.
    pub(crate) const fn payload_at(&self) -> usize {
        self.head.len
    }

    /// Whether the image has a properties field, and whether something is in it.
    pub(crate) const fn properties(&self) -> Properties {
        match self.head.properties {
            0 => Properties::Absent,
            1 => Properties::Empty,
            _ => Properties::Present,
        }
    }

    /// The properties, without their length; empty where they do not lie in the first piece.
    pub(crate) fn properties_run(&self) -> &[u8] {
        let mut field = self.peek(self.head.delta).get(..self.head.properties).unwrap_or_default();
        if varint::decode(&mut field).is_ok() { field } else { &[] }
    }

    /// Length of the next piece to carve before `more` bytes fit; 0 where they fit already.
    pub(crate) fn next_piece(&self, more: usize) -> usize {
        let Body::Filling(filling) = &self.body else { return 0 };
        let room = filling.tail.as_ref().map_or(0, |(_, tail)| tail.capacity() - tail.len());
        if more <= room { 0 } else { (self.wire_len() - filling.len - room).min(BLOCK) }
    }

    /// Adds bytes to the image, which becomes whole when its length is reached. Never more than are missing.
    pub(crate) fn append(&mut self, mut data: &[u8], arena: &mut Arena) {
        let total = self.wire_len();
        let Body::Filling(filling) = &mut self.body else {
            debug_assert!(data.is_empty(), "only filling objects grow");
            return;
        };
        while !data.is_empty() {
            let done = filling.pieces.len() * BLOCK;
            let (_, tail) = filling.tail.get_or_insert_with(|| arena.carve((total - done).min(BLOCK)));
            let take = data.len().min(tail.capacity() - tail.len());
            tail.put_slice(&data[..take]);
            data = &data[take..];
            filling.len += take;
            if done + tail.len() == total || tail.len() == BLOCK {
                filling.freeze();
            }
            debug_assert!(take > 0 || data.is_empty(), "callers cut what they append");
            if take == 0 {
                break;
            }
        }
        if filling.len == total {
            let mut pieces = std::mem::take(&mut filling.pieces);
            self.body = match pieces.pop() {
                Some((block, bytes)) if pieces.is_empty() => Body::Whole(block, bytes),
                Some(last) => {
                    pieces.push(last);
                    Body::Pieces(pieces)
                }
                None => Body::Unknown,
            };
        }
    }

    /// Gives up: its bytes are gone.
    pub(crate) fn give_up(&mut self, arena: &mut Arena) {
        self.release(arena);
        self.body = Body::Unknown;
    }

    /// Hands the blocks back.
    pub(crate) fn release(&self, arena: &mut Arena) {
        match &self.body {
            Body::Filling(filling) => {
                filling.pieces.iter().for_each(|(block, _)| arena.release(*block));
                filling.tail.iter().for_each(|(block, _)| arena.release(*block));
            }
            Body::Whole(block, _) => arena.release(*block),
            Body::Pieces(pieces) => pieces.iter().for_each(|(block, _)| arena.release(*block)),
            Body::Unknown => {}
        }
    }

    /// Bytes of the image from `at` to the end of what is contiguous; `None` where nothing is there.
    pub(crate) fn chunk(&mut self, at: usize) -> Option<Bytes> {
        match &mut self.body {
            Body::Filling(filling) => filling.chunk(at),
            Body::Whole(_, bytes) => (at < bytes.len()).then(|| bytes.slice(at..)),
            Body::Pieces(pieces) => piece(pieces, at),
            Body::Unknown => None,
        }
    }

    /// The held image from `at` on, as one plain slice up to the end of what is contiguous.
    pub(crate) fn peek(&self, at: usize) -> &[u8] {
        match &self.body {
            Body::Filling(filling) => filling.peek(at),
            Body::Whole(_, bytes) => bytes.get(at..).unwrap_or_default(),
            Body::Pieces(pieces) => pieces.get(at / BLOCK).and_then(|(_, b)| b.get(at % BLOCK..)).unwrap_or_default(),
            Body::Unknown => &[],
        }
    }

    /// Whether `data` equals what is held of the payload at `offset`; bytes beyond are not looked at.
    pub(crate) fn payload_matches(&self, offset: usize, data: &[u8]) -> bool {
        let mut at = self.payload_at() + offset;
        let mut data = data;
        while !data.is_empty() {
            let held = self.peek(at);
            let len = held.len().min(data.len());
            if len == 0 {
                return true;
            }
            if held[..len] != data[..len] {
                return false;
            }
            at += len;
            data = &data[len..];
        }
        true
    }
}

/// State of the properties field of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Properties {
    /// No field.
    Absent,
    /// A field of length 0.
    Empty,
    /// Properties.
    Present,
}

impl Filling {
    fn freeze(&mut self) {
        if let Some((block, tail)) = self.tail.take() {
            self.pieces.push((block, tail.freeze()));
            self.shared.clear();
            self.shared_len = 0;
        }
    }

    fn peek(&self, at: usize) -> &[u8] {
        let within = at % BLOCK;
        match self.pieces.get(at / BLOCK) {
            Some((_, bytes)) => bytes.get(within..).unwrap_or_default(),
            None => self.tail.as_ref().and_then(|(_, tail)| tail.get(within..)).unwrap_or_default(),
        }
    }

    fn chunk(&mut self, at: usize) -> Option<Bytes> {
        if at / BLOCK < self.pieces.len() {
            return piece(&self.pieces, at);
        }
        let tail = self.tail.as_ref().map_or(&[][..], |(_, tail)| &tail[..]);
        let mut within = at - self.pieces.len() * BLOCK;
        if within >= tail.len() {
            return None;
        }
        if self.shared_len < tail.len() {
            self.shared.push(Bytes::copy_from_slice(&tail[self.shared_len..]));
            self.shared_len = tail.len();
        }
        for shared in &self.shared {
            if within < shared.len() {
                return Some(shared.slice(within..));
            }
            within -= shared.len();
        }
        None
    }
}

fn piece(pieces: &[(BlockId, Bytes)], at: usize) -> Option<Bytes> {
    let (_, bytes) = pieces.get(at / BLOCK)?;
    let within = at % BLOCK;
    (within < bytes.len()).then(|| bytes.slice(within..))
}

/// Draft-18 10.2.1.1.
const fn status_code(status: ObjectStatus) -> u64 {
    match status {
        ObjectStatus::Normal => 0x0,
        ObjectStatus::EndOfGroup => 0x3,
        ObjectStatus::EndOfTrack => 0x4,
    }
}
