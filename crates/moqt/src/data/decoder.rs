//! Incremental decoder of unidirectional streams.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::fetch::{FetchDecoder, FetchEntry};
use super::subgroup::SubgroupDecoder;
use super::{EndOfRange, FETCH_STREAM, FetchHeader, FetchObject, ObjectHeader, PADDING_STREAM, SubgroupHeader};
use crate::error::DecodeError;
use crate::message::kind::SETUP;
use crate::reader::Reader;
use crate::types::GroupOrder;
use bytes::{Buf, Bytes, BytesMut};

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

/// Turns the pieces of one unidirectional stream into events. Copies nothing but headers that lie across two pieces;
/// what it holds is bounded by one header (properties: [`super::MAX_PROPERTIES_BYTES`]) and the piece pushed last.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    context: Context,
    /// The beginning of a header whose end has not come.
    partial: BytesMut,
    /// What was pushed and not looked at; follows `partial`.
    input: Bytes,
    /// Payload bytes of the current object still to come; `None` between objects.
    payload: Option<u64>,
}

/// What the next header is read as.
#[derive(Debug, Clone, Copy, Default)]
enum Context {
    /// Before the stream type.
    #[default]
    Start,
    Control,
    Padding,
    Subgroup(SubgroupDecoder),
    Fetch(FetchDecoder),
}

impl StreamDecoder {
    /// Adds the next piece; drain with [`StreamDecoder::poll`] before the next push.
    pub fn push(&mut self, data: Bytes) {
        if self.input.is_empty() {
            self.input = data;
        } else {
            let mut joined = BytesMut::from(self.input.as_ref());
            joined.extend_from_slice(&data);
            self.input = joined.freeze();
        }
    }

    /// Next event; `None`: push more.
    ///
    /// # Errors
    /// See [`DecodeError`]; close the session with its code. The decoder must not be used afterwards.
    pub fn poll(&mut self) -> Result<Option<DataEvent>, DecodeError> {
        if let Some(left) = self.payload {
            return Ok(self.poll_payload(left));
        }
        match self.context {
            Context::Control => return Ok(None),
            Context::Padding => {
                // "The receiver MUST discard all data received on a padding stream".
                self.input.clear();
                return Ok(None);
            }
            Context::Start | Context::Subgroup(_) | Context::Fetch(_) => {}
        }
        self.poll_header()
    }

    fn poll_payload(&mut self, left: u64) -> Option<DataEvent> {
        if left == 0 {
            self.payload = None;
            return Some(DataEvent::ObjectEnd);
        }
        if self.input.is_empty() {
            return None;
        }
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
        self.payload = Some(left.saturating_sub(len as u64));
        Some(DataEvent::Payload(self.input.split_to(len)))
    }

    fn poll_header(&mut self) -> Result<Option<DataEvent>, DecodeError> {
        loop {
            let in_place = self.partial.is_empty();
            let bytes = if in_place { self.input.as_ref() } else { self.partial.as_ref() };
            if bytes.is_empty() {
                return Ok(None);
            }
            let mut reader = Reader::new(bytes);
            let input = &self.input;
            let read = self.context.read(&mut reader, |properties| {
                if in_place { input.slice_ref(properties) } else { Bytes::copy_from_slice(properties) }
            });
            let used = reader.position();
            match read {
                Ok(DataEvent::Control) => return Ok(Some(DataEvent::Control)),
                Ok(event) => {
                    self.payload = event.payload_len();
                    // Grown by what was missing only, `partial` never goes beyond its header.
                    if in_place {
                        self.input.advance(used);
                    } else {
                        self.partial.clear();
                    }
                    return Ok(Some(event));
                }
                Err(DecodeError::Truncated { missing, .. }) => {
                    // All of `input` belongs to this header where it is the beginning of it.
                    let taken = if in_place { self.input.len() } else { missing.min(self.input.len()) };
                    if taken == 0 {
                        return Ok(None);
                    }
                    self.partial.extend_from_slice(&self.input.split_to(taken));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Order of the fetch whose header was just returned; ascending until told.
    pub const fn set_group_order(&mut self, order: GroupOrder) {
        if let Context::Fetch(decoder) = &mut self.context {
            decoder.set_order(order);
        }
    }

    /// Whether a FIN may come here.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] inside a header or an object (draft-18 10.4: "the session SHOULD be closed with a
    /// `PROTOCOL_VIOLATION`").
    pub fn finish(&self) -> Result<(), DecodeError> {
        let truncated = |field, missing| Err(DecodeError::Truncated { field, missing });
        match (self.payload, self.context) {
            (Some(left @ 1..), _) => truncated("object payload", usize::try_from(left).unwrap_or(usize::MAX)),
            (_, Context::Padding) => Ok(()),
            (_, Context::Control) => Err(DecodeError::Forbidden { field: "the end of a control stream" }),
            (_, Context::Start) => truncated("stream header", 1),
            (_, Context::Subgroup(_) | Context::Fetch(_)) => {
                if self.partial.is_empty() && self.input.is_empty() {
                    Ok(())
                } else {
                    truncated("object header", 1)
                }
            }
        }
    }

    /// What was pushed and not consumed.
    #[must_use]
    pub fn into_rest(mut self) -> Bytes {
        if self.partial.is_empty() {
            return self.input;
        }
        self.partial.extend_from_slice(&self.input);
        self.partial.freeze()
    }
}

impl Context {
    /// Reads the next header; `self` changes only where that succeeds. `cut` makes bytes of the input last.
    fn read(&mut self, reader: &mut Reader<'_>, cut: impl Fn(&[u8]) -> Bytes) -> Result<DataEvent, DecodeError> {
        match self {
            Self::Subgroup(decoder) => {
                let ObjectHeader { id, properties, payload_len, status } = decoder.decode(reader)?;
                let properties = cut(properties);
                Ok(DataEvent::Object(ObjectHeader { id, properties, payload_len, status }))
            }
            Self::Fetch(decoder) => match decoder.decode(reader)? {
                FetchEntry::EndOfRange(range) => Ok(DataEvent::EndOfRange(range)),
                FetchEntry::Object(FetchObject { location, subgroup, priority, properties, payload_len }) => {
                    let properties = cut(properties);
                    Ok(DataEvent::FetchObject(FetchObject { location, subgroup, priority, properties, payload_len }))
                }
            },
            Self::Start | Self::Control | Self::Padding => {
                let (next, event) = Self::start(reader)?;
                *self = next;
                Ok(event)
            }
        }
    }

    fn start(reader: &mut Reader<'_>) -> Result<(Self, DataEvent), DecodeError> {
        match reader.varint("stream type")? {
            SETUP => Ok((Self::Control, DataEvent::Control)),
            PADDING_STREAM => Ok((Self::Padding, DataEvent::Padding)),
            FETCH_STREAM => {
                let header = FetchHeader::decode(reader)?;
                Ok((Self::Fetch(FetchDecoder::default()), DataEvent::Fetch(header)))
            }
            kind => {
                let header = SubgroupHeader::decode(kind, reader)?;
                Ok((Self::Subgroup(SubgroupDecoder::new(&header)), DataEvent::Subgroup(header)))
            }
        }
    }
}

impl DataEvent {
    /// For the beginning of an object, the bytes of payload that follow.
    const fn payload_len(&self) -> Option<u64> {
        match self {
            Self::Object(ObjectHeader { payload_len, .. }) | Self::FetchObject(FetchObject { payload_len, .. }) => {
                Some(*payload_len)
            }
            Self::Control
            | Self::Subgroup(_)
            | Self::Fetch(_)
            | Self::Padding
            | Self::EndOfRange(_)
            | Self::Payload(_)
            | Self::ObjectEnd => None,
        }
    }
}
