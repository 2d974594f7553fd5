//! Data streams and datagrams (draft-18 section 10).

pub mod datagram;
mod decoder;
pub mod fetch;
pub mod subgroup;

pub use datagram::{Datagram, ObjectDatagram};
pub use decoder::{DataEvent, StreamDecoder};
pub use fetch::{EndOfRange, FetchEncoder, FetchHeader, FetchObject};
pub use subgroup::{ObjectHeader, SubgroupEncoder, SubgroupFlags, SubgroupHeader, SubgroupId};

/// Stream type of FETCH_HEADER.
pub const FETCH_STREAM: u64 = 0x05;
/// Stream type of padding (draft-18 10.5.1).
pub const PADDING_STREAM: u64 = 0x132B_3E28;
/// Datagram type of padding (draft-18 10.5.2).
pub const PADDING_DATAGRAM: u64 = 0x132B_3E29;
/// Most bytes of the properties of one object that we accept; the draft sets no limit.
pub const MAX_PROPERTIES_BYTES: u64 = 65_536;
