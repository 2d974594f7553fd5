//! Data streams and datagrams (draft-18 section 10).

pub mod datagram;
mod decoder;
pub mod fetch;
pub mod subgroup;

pub use datagram::{Datagram, ObjectDatagram};
pub use decoder::{DataEvent, StreamDecoder};
pub use fetch::{EndOfRange, FetchEncoder, FetchHeader, FetchObject};
pub use subgroup::{ObjectHeader, SubgroupEncoder, SubgroupFlags, SubgroupHeader, SubgroupId};

use crate::error::DecodeError;
use crate::types::ObjectStatus;

/// Stream type of FETCH_HEADER.
pub const FETCH_STREAM: u64 = 0x05;
/// Stream type of padding (draft-18 10.5.1).
pub const PADDING_STREAM: u64 = 0x132B_3E28;
/// Datagram type of padding (draft-18 10.5.2).
pub const PADDING_DATAGRAM: u64 = 0x132B_3E29;
/// Most bytes of the properties of one object that we accept; the draft sets no limit.
pub const MAX_PROPERTIES_BYTES: usize = 65_536;

impl ObjectStatus {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Normal => 0x0,
            Self::EndOfGroup => 0x3,
            Self::EndOfTrack => 0x4,
        }
    }

    /// "Any other value SHOULD be treated as a protocol error" (draft-18 10.2.1.1).
    const fn from_code(value: u64) -> Result<Self, DecodeError> {
        match value {
            0x0 => Ok(Self::Normal),
            0x3 => Ok(Self::EndOfGroup),
            0x4 => Ok(Self::EndOfTrack),
            value => Err(DecodeError::Undefined { field: "Object Status", value }),
        }
    }
}

#[cfg(test)]
mod tests;
