//! Datagrams (draft-18 10.3).

use crate::error::{DecodeError, EncodeError};
use crate::types::{Location, ObjectStatus, TrackAlias};
use bytes::{BufMut, Bytes};

/// Any datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datagram {
    /// One object.
    Object(ObjectDatagram),
    /// To be discarded.
    Padding,
}

/// OBJECT_DATAGRAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDatagram {
    /// Which track.
    pub alias: TrackAlias,
    /// Where in it.
    pub location: Location,
    /// Publisher priority; `None`: the track's default.
    pub priority: Option<u8>,
    /// No object of the group has a larger id.
    pub end_of_group: bool,
    /// Properties without their length; empty where there are none.
    pub properties: Bytes,
    /// Status; anything but normal has neither payload nor properties.
    pub status: ObjectStatus,
    /// Payload.
    pub payload: Bytes,
}

impl Datagram {
    /// Reads one datagram; properties and payload are slices of `data`.
    ///
    /// # Errors
    /// See [`DecodeError`]; close the session with its code.
    pub fn decode(data: Bytes) -> Result<Self, DecodeError> {
        let _ = data;
        todo!()
    }
}

impl ObjectDatagram {
    /// Bytes that [`ObjectDatagram::encode`] will write, to compare with the session's datagram size.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        todo!()
    }

    /// Appends the datagram.
    ///
    /// # Errors
    /// Payload, properties or end of group together with a status. Nothing is written then.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let _ = out;
        todo!()
    }
}
