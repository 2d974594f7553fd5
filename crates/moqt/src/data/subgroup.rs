//! Subgroup streams (draft-18 10.4.2).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::MAX_PROPERTIES_BYTES;
use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::types::{ObjectStatus, TrackAlias};
use crate::varint;
use bytes::{BufMut, Bytes};

/// Set in every subgroup stream type.
const FORM: u8 = 0x10;
/// Bits 1 and 2 of the type.
const ID_MODE: u8 = 0x06;
const ID_MODE_FIRST_OBJECT: u8 = 0x02;
const ID_MODE_EXPLICIT: u8 = 0x04;
const DEFAULT_PRIORITY: u8 = 0x20;

/// How the header tells the subgroup id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubgroupId {
    /// 0, not on the wire.
    Zero,
    /// The id of the first object on the stream.
    FirstObject,
    /// In the header.
    Explicit(u64),
}

impl SubgroupId {
    /// The id, once the first object of the stream is known.
    #[must_use]
    pub const fn resolve(self, first_object: u64) -> u64 {
        match self {
            Self::Zero => 0,
            Self::FirstObject => first_object,
            Self::Explicit(id) => id,
        }
    }
}

impl From<u64> for SubgroupId {
    /// The shortest form for a known id.
    fn from(id: u64) -> Self {
        if id == 0 { Self::Zero } else { Self::Explicit(id) }
    }
}

/// Facts about a subgroup stream; combine with `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SubgroupFlags(u8);

impl SubgroupFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every object has a properties field.
    pub const PROPERTIES: Self = Self(0x01);
    /// After a FIN, the last object on the stream is the last of the group.
    pub const END_OF_GROUP: Self = Self(0x08);
    /// The first object on the stream is the first ever published in the subgroup.
    pub const FIRST_OBJECT: Self = Self(0x40);

    const ALL: u8 = Self::PROPERTIES.0 | Self::END_OF_GROUP.0 | Self::FIRST_OBJECT.0;

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for SubgroupFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// SUBGROUP_HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubgroupHeader {
    /// Which track.
    pub alias: TrackAlias,
    /// Group id.
    pub group: u64,
    /// Subgroup id.
    pub subgroup: SubgroupId,
    /// Publisher priority; `None`: the track's default.
    pub priority: Option<u8>,
    /// The rest of the type.
    pub flags: SubgroupFlags,
}

impl SubgroupHeader {
    /// Most bytes of a header.
    pub const MAX_LEN: usize = 1 + 3 * varint::MAX_LEN + 1;

    /// Whether `kind`, the first integer of a unidirectional stream, is of the form `0b0XX1XXXX` without the reserved
    /// subgroup id mode.
    #[must_use]
    pub fn is_kind(kind: u64) -> bool {
        u8::try_from(kind).is_ok_and(|k| k < 0x80 && k & FORM != 0 && k & ID_MODE != ID_MODE)
    }

    /// Appends the header, type included.
    pub fn encode(&self, out: &mut impl BufMut) {
        let id_mode = match self.subgroup {
            SubgroupId::Zero => 0,
            SubgroupId::FirstObject => ID_MODE_FIRST_OBJECT,
            SubgroupId::Explicit(_) => ID_MODE_EXPLICIT,
        };
        let priority = if self.priority.is_none() { DEFAULT_PRIORITY } else { 0 };
        out.put_u8(FORM | self.flags.0 | id_mode | priority);
        varint::encode(self.alias.0, out);
        varint::encode(self.group, out);
        if let SubgroupId::Explicit(id) = self.subgroup {
            varint::encode(id, out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
    }

    /// Reads what follows the type `kind`.
    pub(super) fn decode(kind: u64, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let undefined = DecodeError::Undefined { field: "stream type", value: kind };
        if !Self::is_kind(kind) {
            return Err(undefined);
        }
        let bits = u8::try_from(kind).map_err(|_| undefined)?;
        Ok(Self {
            alias: TrackAlias(reader.varint("Track Alias")?),
            group: reader.varint("Group ID")?,
            subgroup: match bits & ID_MODE {
                ID_MODE_FIRST_OBJECT => SubgroupId::FirstObject,
                ID_MODE_EXPLICIT => SubgroupId::Explicit(reader.varint("Subgroup ID")?),
                _ => SubgroupId::Zero,
            },
            priority: match bits & DEFAULT_PRIORITY {
                0 => Some(reader.u8("Publisher Priority")?),
                _ => None,
            },
            flags: SubgroupFlags(bits & SubgroupFlags::ALL),
        })
    }
}

/// What stands before the payload of one object on a subgroup stream. `P` holds the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHeader<P = Bytes> {
    /// Object id.
    pub id: u64,
    /// Properties without their length; empty where there are none.
    pub properties: P,
    /// Bytes of payload that follow.
    pub payload_len: u64,
    /// Status; anything but normal has neither payload nor properties.
    pub status: ObjectStatus,
}

impl ObjectHeader {
    /// Most bytes of a header beside its properties.
    pub const MAX_LEN: usize = 3 * varint::MAX_LEN + 1;
}

/// Writes object headers of one subgroup stream.
#[derive(Debug, Clone, Copy)]
pub struct SubgroupEncoder {
    flags: SubgroupFlags,
    previous: Option<u64>,
}

impl SubgroupEncoder {
    /// For the stream that began with `header`.
    #[must_use]
    pub const fn new(header: &SubgroupHeader) -> Self {
        Self { flags: header.flags, previous: None }
    }

    /// Appends what stands before the payload; the caller sends `payload_len` bytes after it. At most
    /// [`ObjectHeader::MAX_LEN`] bytes and the properties.
    ///
    /// # Errors
    /// An id that does not grow, properties without [`SubgroupFlags::PROPERTIES`], payload or properties with a
    /// status. Nothing is written then.
    pub fn encode<P: AsRef<[u8]>>(
        &mut self,
        object: &ObjectHeader<P>,
        out: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        let properties = object.properties.as_ref();
        let has_properties = self.flags.contains(SubgroupFlags::PROPERTIES);
        if !properties.is_empty() && !has_properties {
            return Err(EncodeError::Contradiction { field: "properties" });
        }
        if object.status != ObjectStatus::Normal && (object.payload_len > 0 || !properties.is_empty()) {
            return Err(EncodeError::Contradiction { field: "status" });
        }
        varint::encode(self.delta(object.id)?, out);
        self.previous = Some(object.id);
        if has_properties {
            varint::encode(properties.len() as u64, out);
            out.put_slice(properties);
        }
        varint::encode(object.payload_len, out);
        // "The Object Status field is only sent if the Object Payload Length is zero."
        if object.payload_len == 0 {
            varint::encode(object.status.code(), out);
        }
        Ok(())
    }

    fn delta(&self, id: u64) -> Result<u64, EncodeError> {
        let Some(previous) = self.previous else {
            return Ok(id);
        };
        let step = id.checked_sub(previous).and_then(|step| step.checked_sub(1));
        step.ok_or(EncodeError::OutOfOrder { field: "Object ID", value: id, previous })
    }
}

/// Reads object headers of one subgroup stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubgroupDecoder {
    flags: SubgroupFlags,
    previous: Option<u64>,
    ended: bool,
}

impl SubgroupDecoder {
    pub(super) const fn new(header: &SubgroupHeader) -> Self {
        Self { flags: header.flags, previous: None, ended: false }
    }

    /// Reads one object header; `self` changes only where that succeeds.
    pub(super) fn decode<'a>(&mut self, reader: &mut Reader<'a>) -> Result<ObjectHeader<&'a [u8]>, DecodeError> {
        let delta = reader.varint("Object ID Delta")?;
        let properties = if self.flags.contains(SubgroupFlags::PROPERTIES) {
            reader.prefixed(MAX_PROPERTIES_BYTES, "Object Properties")?
        } else {
            &[]
        };
        let payload_len = reader.varint("Object Payload Length")?;
        let status = match payload_len {
            0 => ObjectStatus::from_code(reader.varint("Object Status")?)?,
            _ => ObjectStatus::Normal,
        };
        if status != ObjectStatus::Normal && !properties.is_empty() {
            return Err(DecodeError::Forbidden { field: "Object Properties beside a status" });
        }
        // draft-18 10.4.3: after EndOfGroup or EndOfTrack "further objects on the stream would be a protocol violation".
        if self.ended {
            return Err(DecodeError::Forbidden { field: "an object after the end of its group" });
        }
        let id = match self.previous {
            None => Some(delta),
            Some(previous) => previous.checked_add(delta).and_then(|id| id.checked_add(1)),
        };
        let id = id.ok_or(DecodeError::OutOfRange { field: "Object ID Delta" })?;
        self.previous = Some(id);
        self.ended = status != ObjectStatus::Normal;
        Ok(ObjectHeader { id, properties, payload_len, status })
    }
}
