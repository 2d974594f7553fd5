//! Fetch streams (draft-18 10.4.4).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{FETCH_STREAM, MAX_PROPERTIES_BYTES};
use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::types::{GroupOrder, Location, RequestId};
use crate::varint;
use bytes::{BufMut, Bytes};

/// Serialization flags (draft-18 10.4.4.1).
mod flags {
    pub(super) const SUBGROUP_MODE: u64 = 0x03;
    pub(super) const SUBGROUP_PRIOR: u64 = 0x01;
    pub(super) const SUBGROUP_NEXT: u64 = 0x02;
    pub(super) const SUBGROUP_EXPLICIT: u64 = 0x03;
    pub(super) const OBJECT_DELTA: u64 = 0x04;
    pub(super) const GROUP_DELTA: u64 = 0x08;
    pub(super) const PRIORITY: u64 = 0x10;
    pub(super) const PROPERTIES: u64 = 0x20;
    pub(super) const DATAGRAM: u64 = 0x40;
    /// Flags are below; from here on, values have meanings of their own.
    pub(super) const END: u64 = 0x80;
    pub(super) const END_OF_NON_EXISTENT: u64 = 0x8C;
    pub(super) const END_OF_UNKNOWN: u64 = 0x10C;
}

/// FETCH_HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FetchHeader {
    /// The FETCH that this stream answers.
    pub request_id: RequestId,
}

impl FetchHeader {
    /// Most bytes of a header.
    pub const MAX_LEN: usize = 1 + varint::MAX_LEN;

    /// Appends the header, type included.
    pub fn encode(&self, out: &mut impl BufMut) {
        varint::encode(FETCH_STREAM, out);
        varint::encode(self.request_id.0, out);
    }

    /// Reads what follows the type.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { request_id: RequestId(reader.varint("Request ID")?) })
    }
}

/// What stands before the payload of one object on a fetch stream. `P` holds the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchObject<P = Bytes> {
    /// Where it stands in the track.
    pub location: Location,
    /// Subgroup id; `None`: its forwarding preference is datagram.
    pub subgroup: Option<u64>,
    /// Publisher priority.
    pub priority: u8,
    /// Properties without their length.
    pub properties: P,
    /// Bytes of payload that follow.
    pub payload_len: u64,
}

impl FetchObject {
    /// Most bytes of a header beside its properties.
    pub const MAX_LEN: usize = 2 + 5 * varint::MAX_LEN;
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

/// What the next object may refer to. An end of range moves the location only; subgroup and priority stay those of
/// "the last actual Object" (draft-18 10.4.4.2).
#[derive(Debug, Clone, Copy, Default)]
struct Prior {
    order: GroupOrder,
    location: Option<Location>,
    /// `None` after a datagram object too: it has no subgroup to refer to.
    subgroup: Option<u64>,
    priority: Option<u8>,
}

impl Prior {
    const fn new(order: GroupOrder) -> Self {
        Self { order, location: None, subgroup: None, priority: None }
    }

    /// Whether `next` comes after `previous` in the order of this stream.
    fn follows(&self, next: Location, previous: Location) -> bool {
        if next.group == previous.group {
            return next.object > previous.object;
        }
        match self.order {
            GroupOrder::Ascending => next.group > previous.group,
            GroupOrder::Descending => next.group < previous.group,
        }
    }

    const fn advance<P>(&mut self, object: &FetchObject<P>) {
        self.location = Some(object.location);
        self.subgroup = object.subgroup;
        self.priority = Some(object.priority);
    }
}

/// Writes the objects of one fetch stream.
#[derive(Debug, Clone, Copy)]
pub struct FetchEncoder {
    prior: Prior,
}

impl FetchEncoder {
    /// For a stream in this group order.
    #[must_use]
    pub const fn new(order: GroupOrder) -> Self {
        Self { prior: Prior::new(order) }
    }

    /// Appends what stands before the payload; the caller sends `payload_len` bytes after it. At most
    /// [`FetchObject::MAX_LEN`] bytes and the properties.
    ///
    /// # Errors
    /// A location that does not follow the one before in the group order. Nothing is written then.
    pub fn object<P: AsRef<[u8]>>(
        &mut self,
        object: &FetchObject<P>,
        out: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        self.check_order(object.location)?;
        let (group_delta, object_delta) = self.deltas(object.location);
        let subgroup_mode = self.subgroup_mode(object.subgroup);
        let priority = Some(object.priority).filter(|_| self.prior.priority != Some(object.priority));
        let properties = object.properties.as_ref();

        let flag = |present: bool, bit: u64| if present { bit } else { 0 };
        let serialization = subgroup_mode
            | flag(group_delta.is_some(), flags::GROUP_DELTA)
            | flag(object_delta.is_some(), flags::OBJECT_DELTA)
            | flag(priority.is_some(), flags::PRIORITY)
            | flag(!properties.is_empty(), flags::PROPERTIES);
        varint::encode(serialization, out);
        if let Some(delta) = group_delta {
            varint::encode(delta, out);
        }
        if let Some(subgroup) = object.subgroup.filter(|_| subgroup_mode == flags::SUBGROUP_EXPLICIT) {
            varint::encode(subgroup, out);
        }
        if let Some(delta) = object_delta {
            varint::encode(delta, out);
        }
        if let Some(priority) = priority {
            out.put_u8(priority);
        }
        if !properties.is_empty() {
            varint::encode(properties.len() as u64, out);
            out.put_slice(properties);
        }
        varint::encode(object.payload_len, out);
        self.prior.advance(object);
        Ok(())
    }

    /// Appends an end of range. Its ids are absolute, unlike those of objects: as deltas they could not name a
    /// location in the prior object's own group.
    ///
    /// # Errors
    /// As [`FetchEncoder::object`].
    pub fn end_of_range(&mut self, range: EndOfRange, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let (kind, last) = match range {
            EndOfRange::NonExistent { last } => (flags::END_OF_NON_EXISTENT, last),
            EndOfRange::Unknown { last } => (flags::END_OF_UNKNOWN, last),
        };
        self.check_order(last)?;
        varint::encode(kind, out);
        varint::encode(last.group, out);
        varint::encode(last.object, out);
        self.prior.location = Some(last);
        Ok(())
    }

    fn check_order(&self, next: Location) -> Result<(), EncodeError> {
        let Some(prior) = self.prior.location.filter(|prior| !self.prior.follows(next, *prior)) else {
            return Ok(());
        };
        let (field, value, previous) = if next.group == prior.group {
            ("Object ID", next.object, prior.object)
        } else {
            ("Group ID", next.group, prior.group)
        };
        Err(EncodeError::OutOfOrder { field, value, previous })
    }

    /// The group and object deltas to write, `None` where the field may stay away; `next` follows the prior location.
    fn deltas(&self, next: Location) -> (Option<u64>, Option<u64>) {
        let Some(prior) = self.prior.location else {
            return (Some(next.group), Some(next.object));
        };
        let is_next_id = prior.object.checked_add(1) == Some(next.object);
        if next.group == prior.group {
            let step = next.object.saturating_sub(prior.object);
            return (None, (!is_next_id).then_some(step));
        }
        let step = next.group.abs_diff(prior.group).saturating_sub(1);
        (Some(step), (!is_next_id).then_some(next.object))
    }

    fn subgroup_mode(&self, subgroup: Option<u64>) -> u64 {
        let Some(subgroup) = subgroup else {
            return flags::DATAGRAM;
        };
        match self.prior.subgroup {
            _ if subgroup == 0 => 0,
            Some(prior) if prior == subgroup => flags::SUBGROUP_PRIOR,
            Some(prior) if prior.checked_add(1) == Some(subgroup) => flags::SUBGROUP_NEXT,
            Some(_) | None => flags::SUBGROUP_EXPLICIT,
        }
    }
}

/// One entry of a fetch stream.
#[derive(Debug)]
pub(super) enum FetchEntry<'a> {
    Object(FetchObject<&'a [u8]>),
    EndOfRange(EndOfRange),
}

/// Reads the entries of one fetch stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FetchDecoder {
    prior: Prior,
}

impl FetchDecoder {
    pub(super) const fn set_order(&mut self, order: GroupOrder) {
        self.prior.order = order;
    }

    /// Reads one entry; `self` changes only where that succeeds.
    pub(super) fn decode<'a>(&mut self, reader: &mut Reader<'a>) -> Result<FetchEntry<'a>, DecodeError> {
        match reader.varint("Serialization Flags")? {
            flags::END_OF_NON_EXISTENT => {
                let last = self.end_of_range(reader)?;
                Ok(FetchEntry::EndOfRange(EndOfRange::NonExistent { last }))
            }
            flags::END_OF_UNKNOWN => {
                let last = self.end_of_range(reader)?;
                Ok(FetchEntry::EndOfRange(EndOfRange::Unknown { last }))
            }
            value if value < flags::END => self.object(value, reader).map(FetchEntry::Object),
            value => Err(DecodeError::Undefined { field: "Serialization Flags", value }),
        }
    }

    fn end_of_range(&mut self, reader: &mut Reader<'_>) -> Result<Location, DecodeError> {
        let last = reader.location("End of Range")?;
        // An empty range does no harm; one that goes back cannot mean anything.
        if self.prior.location.is_some_and(|prior| prior != last && !self.prior.follows(last, prior)) {
            return Err(DecodeError::Forbidden { field: "an end of range before the prior object" });
        }
        self.prior.location = Some(last);
        Ok(last)
    }

    fn object<'a>(&mut self, bits: u64, reader: &mut Reader<'a>) -> Result<FetchObject<&'a [u8]>, DecodeError> {
        let has = |bit| bits & bit != 0;
        let group_delta = has(flags::GROUP_DELTA).then(|| reader.varint("Group ID Delta")).transpose()?;
        let subgroup = self.subgroup(bits, reader)?;
        let object_delta = has(flags::OBJECT_DELTA).then(|| reader.varint("Object ID Delta")).transpose()?;
        let priority = if has(flags::PRIORITY) {
            reader.u8("Publisher Priority")?
        } else {
            self.prior.priority.ok_or(NO_PRIOR)?
        };
        let properties =
            if has(flags::PROPERTIES) { reader.prefixed(MAX_PROPERTIES_BYTES, "Object Properties")? } else { &[] };
        let payload_len = reader.varint("Object Payload Length")?;
        let location = self.location(group_delta, object_delta)?;
        let object = FetchObject { location, subgroup, priority, properties, payload_len };
        self.prior.advance(&object);
        Ok(object)
    }

    fn subgroup(&self, bits: u64, reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
        // "the subscriber MUST ignore the bits" of a datagram's subgroup mode.
        if bits & flags::DATAGRAM != 0 {
            return Ok(None);
        }
        let subgroup = match bits & flags::SUBGROUP_MODE {
            flags::SUBGROUP_PRIOR => self.prior.subgroup.ok_or(NO_PRIOR)?,
            flags::SUBGROUP_NEXT => {
                let prior = self.prior.subgroup.ok_or(NO_PRIOR)?;
                prior.checked_add(1).ok_or(DecodeError::OutOfRange { field: "Subgroup ID" })?
            }
            flags::SUBGROUP_EXPLICIT => reader.varint("Subgroup ID")?,
            _ => 0,
        };
        Ok(Some(subgroup))
    }

    fn location(&self, group_delta: Option<u64>, object_delta: Option<u64>) -> Result<Location, DecodeError> {
        let Some(prior) = self.prior.location else {
            // "The first Object MUST include a Group ID Delta and Object ID Delta, and these values are absolute".
            return match (group_delta, object_delta) {
                (Some(group), Some(object)) => Ok(Location::new(group, object)),
                (None, _) | (_, None) => Err(NO_PRIOR),
            };
        };
        let group = match (group_delta, self.prior.order) {
            (None, _) => Some(prior.group),
            (Some(delta), GroupOrder::Ascending) => prior.group.checked_add(delta).and_then(|g| g.checked_add(1)),
            (Some(delta), GroupOrder::Descending) => prior.group.checked_sub(delta).and_then(|g| g.checked_sub(1)),
        };
        let object = match (group_delta, object_delta) {
            (None, Some(0)) => return Err(DecodeError::Undefined { field: "Object ID Delta", value: 0 }),
            (None, Some(delta)) => prior.object.checked_add(delta),
            (Some(_), Some(id)) => Some(id),
            // "the prior Object's ID plus one, regardless of which group it belongs to"
            (_, None) => prior.object.checked_add(1),
        };
        Ok(Location {
            group: group.ok_or(DecodeError::OutOfRange { field: "Group ID Delta" })?,
            object: object.ok_or(DecodeError::OutOfRange { field: "Object ID Delta" })?,
        })
    }
}

/// "If the first Object in the FETCH response uses a flag that references fields in the prior Object, the Subscriber
/// MUST close the session with a `PROTOCOL_VIOLATION`."
const NO_PRIOR: DecodeError = DecodeError::Forbidden { field: "a reference to a prior object that is not there" };
