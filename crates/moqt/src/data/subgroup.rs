//! Subgroup streams (draft-18 10.4.2).

use crate::error::EncodeError;
use crate::types::{ObjectStatus, TrackAlias};
use bytes::{BufMut, Bytes};

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
    pub const MAX_LEN: usize = 30;

    /// Appends the header, type included.
    pub fn encode(&self, out: &mut impl BufMut) {
        let _ = out;
        todo!()
    }
}

/// What stands before the payload of one object on a subgroup stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHeader {
    /// Object id.
    pub id: u64,
    /// Properties without their length; empty where there are none.
    pub properties: Bytes,
    /// Bytes of payload that follow.
    pub payload_len: u64,
    /// Status; anything but normal has neither payload nor properties.
    pub status: ObjectStatus,
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

    /// Appends what stands before the payload; the caller sends `payload_len` bytes after it. At most 28 bytes plus
    /// the properties.
    ///
    /// # Errors
    /// An id that does not grow, properties without [`SubgroupFlags::PROPERTIES`], payload or properties with a
    /// status. Nothing is written then.
    pub fn encode(&mut self, object: &ObjectHeader, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let _ = (object, out, self.flags, &mut self.previous);
        todo!()
    }
}
