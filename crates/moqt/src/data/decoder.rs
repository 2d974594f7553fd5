//! Incremental decoder of unidirectional streams.

use super::{EndOfRange, FetchHeader, FetchObject, ObjectHeader, SubgroupHeader};
use crate::error::DecodeError;
use crate::types::GroupOrder;
use bytes::Bytes;

/// What a unidirectional stream says, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataEvent {
    /// This is the peer's control stream: take its bytes, type included, with [`StreamDecoder::into_rest`] and go on
    /// with a [`crate::message::Framer`].
    Control,
    /// A subgroup stream; [`DataEvent::Object`]s follow.
    Subgroup(SubgroupHeader),
    /// A fetch stream; call [`StreamDecoder::set_group_order`] before the next poll, [`DataEvent::FetchObject`]s and
    /// [`DataEvent::EndOfRange`]s follow.
    Fetch(FetchHeader),
    /// A padding stream; nothing follows, whatever is pushed.
    Padding,
    /// An object of a subgroup stream begins.
    Object(ObjectHeader),
    /// An object of a fetch stream begins.
    FetchObject(FetchObject),
    /// A range of a fetch stream has no objects.
    EndOfRange(EndOfRange),
    /// The next bytes of the current object's payload: a slice of what was pushed, never empty.
    Payload(Bytes),
    /// The current object is whole; comes after every object, empty ones too.
    ObjectEnd,
}

/// Turns the pieces of one unidirectional stream into events. Copies nothing but headers that lie across two pieces.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    input: Bytes,
}

impl StreamDecoder {
    /// Adds the next piece; drain with [`StreamDecoder::poll`] before the next push.
    pub fn push(&mut self, data: Bytes) {
        let _ = data;
        todo!()
    }

    /// Next event; `None`: push more.
    ///
    /// # Errors
    /// See [`DecodeError`]; close the session with its code. The decoder must not be used afterwards.
    pub fn poll(&mut self) -> Result<Option<DataEvent>, DecodeError> {
        todo!()
    }

    /// Order of the fetch whose header was just returned; ascending until told.
    pub fn set_group_order(&mut self, order: GroupOrder) {
        let _ = order;
        todo!()
    }

    /// Whether a FIN may come here.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] inside a header or an object (draft-18 10.4: "the session SHOULD be closed with a
    /// `PROTOCOL_VIOLATION`").
    pub fn finish(&self) -> Result<(), DecodeError> {
        todo!()
    }

    /// What was pushed and not consumed.
    #[must_use]
    pub fn into_rest(self) -> Bytes {
        self.input
    }
}
