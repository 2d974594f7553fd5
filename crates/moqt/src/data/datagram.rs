//! Datagrams (draft-18 10.3).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{MAX_PROPERTIES_BYTES, PADDING_DATAGRAM};
use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::types::{Location, ObjectStatus, TrackAlias};
use crate::varint;
use bytes::{BufMut, Bytes};

const PROPERTIES: u64 = 0x01;
const END_OF_GROUP: u64 = 0x02;
const ZERO_OBJECT_ID: u64 = 0x04;
const DEFAULT_PRIORITY: u64 = 0x08;
const STATUS: u64 = 0x20;
const ALL: u64 = PROPERTIES | END_OF_GROUP | ZERO_OBJECT_ID | DEFAULT_PRIORITY | STATUS;

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
    /// Status; anything but normal has neither payload, properties nor end of group.
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
        let mut reader = Reader::new(&data);
        match reader.varint("datagram type")? {
            PADDING_DATAGRAM => Ok(Self::Padding),
            kind if kind & !ALL == 0 && kind & (STATUS | END_OF_GROUP) != STATUS | END_OF_GROUP => {
                ObjectDatagram::read(kind, reader, &data).map(Self::Object)
            }
            value => Err(DecodeError::Undefined { field: "datagram type", value }),
        }
    }
}

impl ObjectDatagram {
    /// Bytes that [`ObjectDatagram::encode`] will write, to compare with the session's datagram size.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let bits = self.bits();
        let when = |present: bool, len: usize| if present { len } else { 0 };
        let prefix = varint::len(self.properties.len() as u64);
        [
            1,
            varint::len(self.alias.0),
            varint::len(self.location.group),
            when(bits & ZERO_OBJECT_ID == 0, varint::len(self.location.object)),
            when(bits & DEFAULT_PRIORITY == 0, 1),
            when(bits & PROPERTIES != 0, prefix.saturating_add(self.properties.len())),
            when(bits & STATUS != 0, 1),
            self.payload.len(),
        ]
        .iter()
        .sum()
    }

    /// Appends the datagram.
    ///
    /// # Errors
    /// Payload, properties or end of group together with a status. Nothing is written then.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let is_empty = self.payload.is_empty() && self.properties.is_empty() && !self.end_of_group;
        if self.status != ObjectStatus::Normal && !is_empty {
            return Err(EncodeError::Contradiction { field: "status" });
        }
        let bits = self.bits();
        varint::encode(bits, out);
        varint::encode(self.alias.0, out);
        varint::encode(self.location.group, out);
        if bits & ZERO_OBJECT_ID == 0 {
            varint::encode(self.location.object, out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
        if bits & PROPERTIES != 0 {
            varint::encode(self.properties.len() as u64, out);
            out.put_slice(&self.properties);
        }
        if bits & STATUS != 0 {
            varint::encode(self.status.code(), out);
        }
        out.put_slice(&self.payload);
        Ok(())
    }

    /// The type.
    fn bits(&self) -> u64 {
        // "Zero-length objects explicitly encode the Normal status", but no status can stand beside END_OF_GROUP.
        let has_status = self.payload.is_empty() && !self.end_of_group;
        [
            (!self.properties.is_empty(), PROPERTIES),
            (self.end_of_group, END_OF_GROUP),
            (self.location.object == 0, ZERO_OBJECT_ID),
            (self.priority.is_none(), DEFAULT_PRIORITY),
            (has_status, STATUS),
        ]
        .iter()
        .filter(|(present, _)| *present)
        .fold(0, |bits, (_, bit)| bits | bit)
    }

    fn read(kind: u64, mut reader: Reader<'_>, data: &Bytes) -> Result<Self, DecodeError> {
        let has = |bit| kind & bit != 0;
        let alias = TrackAlias(reader.varint("Track Alias")?);
        let group = reader.varint("Group ID")?;
        let object = if has(ZERO_OBJECT_ID) { 0 } else { reader.varint("Object ID")? };
        let priority = if has(DEFAULT_PRIORITY) { None } else { Some(reader.u8("Publisher Priority")?) };
        let properties = if has(PROPERTIES) { properties(&mut reader)? } else { &[] };
        let status = if has(STATUS) {
            let status = ObjectStatus::from_code(reader.varint("Object Status")?)?;
            // "there is no Object Payload"
            reader.clone().finish("OBJECT_DATAGRAM")?;
            status
        } else {
            ObjectStatus::Normal
        };
        if status != ObjectStatus::Normal && has(PROPERTIES) {
            return Err(DecodeError::Forbidden { field: "Object Properties beside a status" });
        }
        Ok(Self {
            alias,
            location: Location { group, object },
            priority,
            end_of_group: has(END_OF_GROUP),
            properties: data.slice_ref(properties),
            status,
            payload: data.slice_ref(reader.take_rest()),
        })
    }
}

/// "with the PROPERTIES bit set and an Properties Length of 0, it MUST close the session".
fn properties<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let properties = reader.prefixed(MAX_PROPERTIES_BYTES, "Object Properties")?;
    if properties.is_empty() {
        return Err(DecodeError::Undefined { field: "Properties Length of a datagram", value: 0 });
    }
    Ok(properties)
}
