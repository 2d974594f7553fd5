//! What goes to the transport in one write call: a fixed array of slices, no allocation.

use crate::object::{Object, Properties};
use arrayvec::ArrayVec;
use bytes::Bytes;
use sluice_moqt::transport::{SinkError, StreamId, StreamSink};
use sluice_moqt::varint;

/// Slices offered in one write call.
const CHUNKS: usize = 16;

/// Slices, and where objects end among them. Only what is used is written and dropped: most visits have one slice.
#[derive(Debug)]
pub(crate) struct Batch {
    chunks: ArrayVec<Bytes, CHUNKS>,
    bytes: usize,
    marks: ArrayVec<Mark, CHUNKS>,
}

/// The end of an object within a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Bytes offered up to here.
    pub(crate) bytes: usize,
    /// The object.
    pub(crate) id: u64,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Self { chunks: ArrayVec::new_const(), bytes: 0, marks: ArrayVec::new_const() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether another object can begin: it needs a slice for its prefix and one for its image.
    pub(crate) const fn is_full(&self) -> bool {
        self.chunks.remaining_capacity() < 2
    }

    /// Bytes offered.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a slice; `false` where none fits any more.
    pub(crate) fn push(&mut self, chunk: Bytes) -> bool {
        let len = chunk.len();
        let fits = self.chunks.try_push(chunk).is_ok();
        self.bytes += if fits { len } else { 0 };
        fits
    }

    /// The object ends here.
    pub(crate) fn mark(&mut self, id: u64) {
        // There are no more ends than slices.
        let _ = self.marks.try_push(Mark { bytes: self.bytes, id });
    }

    /// Adds what is there of `object` from `offset` of its view on. Returns whether that is all of it.
    pub(crate) fn push_object(&mut self, object: &mut Object, view: &View, offset: usize) -> bool {
        let prefix = view.prefix.len();
        if offset < prefix && !self.push(view.prefix.slice(offset..)) {
            return false;
        }
        let mut at = view.skip + offset.saturating_sub(prefix);
        while let Some(chunk) = object.chunk(at) {
            at += chunk.len();
            if !self.push(chunk) {
                return false;
            }
        }
        let whole = at == object.wire_len();
        if whole {
            self.mark(object.id);
        }
        whole
    }

    /// Offers everything. Returns the bytes taken; [`Batch::ended`] says which objects that completes.
    pub(crate) fn write(&mut self, sink: &mut dyn StreamSink, stream: StreamId) -> Result<usize, SinkError> {
        sink.write(stream, &mut self.chunks)
    }

    /// Number of objects that `taken` bytes complete, and the end of the last of them.
    pub(crate) fn ended(&self, taken: usize) -> (usize, Option<Mark>) {
        let ended = self.marks.iter().take_while(|mark| mark.bytes <= taken).count();
        (ended, ended.checked_sub(1).and_then(|last| self.marks.get(last)).copied())
    }

    /// Lets go of the slices.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.marks.clear();
        self.bytes = 0;
    }
}

/// How one stream shows an object: `prefix`, then the object's image from `skip` on. Where the stream's previous
/// object is the one that the image assumes, that is the image itself.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) prefix: Bytes,
    pub(crate) skip: usize,
}

/// Whether the objects of a stream have a properties field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Present,
    Absent,
}

impl View {
    /// Of `object` on a subgroup stream whose last object was `previous`; `None`: it has properties, and the stream
    /// was opened without them.
    pub(crate) fn on_subgroup(object: &Object, previous: Option<u64>, field: Field) -> Option<Self> {
        let delta = previous.map_or(object.id, |previous| object.id.saturating_sub(previous).saturating_sub(1));
        match (field, object.properties()) {
            (Field::Absent, Properties::Present) => None,
            (Field::Present, Properties::Empty | Properties::Present) | (Field::Absent, Properties::Absent)
                if object.prior() == previous =>
            {
                Some(Self { prefix: Bytes::new(), skip: 0 })
            }
            (Field::Present, Properties::Empty | Properties::Present) | (Field::Absent, Properties::Absent) => {
                Some(Self { prefix: delta_bytes(delta, Field::Absent), skip: object.after_delta() })
            }
            (Field::Present, Properties::Absent) => {
                Some(Self { prefix: delta_bytes(delta, Field::Present), skip: object.after_delta() })
            }
            (Field::Absent, Properties::Empty) => {
                Some(Self { prefix: delta_bytes(delta, Field::Absent), skip: object.after_properties() })
            }
        }
    }
}

/// One-byte deltas, each followed by an empty properties field.
static SMALL: [u8; 256] = {
    let mut table = [0; 256];
    let mut delta: u8 = 0;
    while delta < 128 {
        table[delta as usize * 2] = delta;
        delta += 1;
    }
    table
};

/// An id delta, followed by an empty properties field where one is wanted.
fn delta_bytes(delta: u64, field: Field) -> Bytes {
    let extra = match field {
        Field::Present => 1,
        Field::Absent => 0,
    };
    match usize::try_from(delta) {
        Ok(small @ 0..128) => Bytes::from_static(&SMALL[small * 2..small * 2 + 1 + extra]),
        Ok(_) | Err(_) => {
            let mut out = Vec::with_capacity(varint::MAX_LEN + 1);
            varint::encode(delta, &mut out);
            out.resize(out.len() + extra, 0);
            out.into()
        }
    }
}
