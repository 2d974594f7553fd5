//! Fetch streams (draft-18 10.4.4).

use crate::error::EncodeError;
use crate::types::{GroupOrder, Location, RequestId};
use bytes::{BufMut, Bytes};

/// FETCH_HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FetchHeader {
    /// The FETCH that this stream answers.
    pub request_id: RequestId,
}

impl FetchHeader {
    /// Appends the header, type included.
    pub fn encode(&self, out: &mut impl BufMut) {
        let _ = out;
        todo!()
    }
}

/// What stands before the payload of one object on a fetch stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchObject {
    /// Where it stands in the track.
    pub location: Location,
    /// Subgroup id; `None`: its forwarding preference is datagram.
    pub subgroup: Option<u64>,
    /// Publisher priority.
    pub priority: u8,
    /// Properties without their length.
    pub properties: Bytes,
    /// Bytes of payload that follow.
    pub payload_len: u64,
}

/// All objects after the last one on the stream, up to and including `last`, are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndOfRange {
    /// They do not exist.
    NonExistent {
        /// Last location of the range.
        last: Location,
    },
    /// Their state is unknown.
    Unknown {
        /// Last location of the range.
        last: Location,
    },
}

/// Writes the objects of one fetch stream.
#[derive(Debug, Clone, Copy)]
pub struct FetchEncoder {
    order: GroupOrder,
}

impl FetchEncoder {
    /// For a stream in this group order.
    #[must_use]
    pub const fn new(order: GroupOrder) -> Self {
        Self { order }
    }

    /// Appends what stands before the payload; the caller sends `payload_len` bytes after it.
    ///
    /// # Errors
    /// A location that does not follow the one before in the group order. Nothing is written then.
    pub fn object(&mut self, object: &FetchObject, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let _ = (object, out, &mut self.order);
        todo!()
    }

    /// Appends an end of range.
    ///
    /// # Errors
    /// As [`FetchEncoder::object`].
    pub fn end_of_range(&mut self, range: EndOfRange, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let _ = (range, out, &mut self.order);
        todo!()
    }
}
