//! From the pieces of data streams to whole objects.

use super::event::Object;
use super::incoming::StreamEnd;
use crate::manifest::{Flags, Position, Via};
use bytes::{Bytes, BytesMut};
use sluice_moqt::data::{FetchObject, ObjectDatagram, ObjectHeader, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::session;
use sluice_moqt::types::{ObjectStatus, RequestId};
use std::time::Instant;

/// Largest object that is put together; the stream of a larger one is given up.
const OBJECT_BYTES_MAX: u64 = 64 << 20;
/// Reserved at once for an object, whatever length it announces.
const RESERVE_BYTES: u64 = 1 << 20;

/// What of a payload is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Payloads,
    /// Its length: for load, where nobody looks at the bytes.
    Sizes,
}

/// One incoming data stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) request: RequestId,
    kind: Kind,
    keep: Keep,
    partial: Option<Partial>,
}

#[derive(Debug)]
enum Kind {
    Subgroup { group: u64, id: SubgroupId, known: Option<u64>, ends_group: bool },
    Fetch,
}

#[derive(Debug)]
struct Partial {
    at: Position,
    status: ObjectStatus,
    properties: Bytes,
    length: u64,
    received: u64,
    payload: BytesMut,
}

/// An announced object is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Stream {
    pub(super) const fn subgroup(request: RequestId, header: &SubgroupHeader, keep: Keep) -> Self {
        let kind = Kind::Subgroup {
            group: header.group,
            id: header.subgroup,
            known: None,
            ends_group: header.flags.contains(SubgroupFlags::END_OF_GROUP),
        };
        Self { request, kind, keep, partial: None }
    }

    pub(super) const fn fetch(request: RequestId, keep: Keep) -> Self {
        Self { request, kind: Kind::Fetch, keep, partial: None }
    }

    /// Group and subgroup of a subgroup stream; the subgroup may be known only with the first object.
    pub(super) const fn place(&self) -> Option<(u64, Option<u64>)> {
        match self.kind {
            Kind::Subgroup { group, id, known, .. } => {
                let subgroup = match id {
                    SubgroupId::Zero => Some(0),
                    SubgroupId::Explicit(id) => Some(id),
                    SubgroupId::FirstObject => known,
                };
                Some((group, subgroup))
            }
            Kind::Fetch => None,
        }
    }

    /// An object of a subgroup stream begins; returned at once when it is empty.
    pub(super) fn begin(&mut self, now: Instant, header: ObjectHeader) -> Result<Option<Object>, TooLarge> {
        let Kind::Subgroup { group, id, known, .. } = &mut self.kind else { return Ok(None) };
        let subgroup = *known.get_or_insert(id.resolve(header.id));
        let at = Position { group: *group, subgroup: Some(subgroup), object: header.id };
        self.start(now, at, (header.status, header.properties, header.payload_len))
    }

    /// An object of a fetch stream begins; returned at once when it is empty.
    pub(super) fn begin_fetched(&mut self, now: Instant, object: FetchObject) -> Result<Option<Object>, TooLarge> {
        let at = Position { group: object.location.group, subgroup: object.subgroup, object: object.location.object };
        self.start(now, at, (ObjectStatus::Normal, object.properties, object.payload_len))
    }

    fn start(
        &mut self,
        now: Instant,
        at: Position,
        (status, properties, length): (ObjectStatus, Bytes, u64),
    ) -> Result<Option<Object>, TooLarge> {
        if length > OBJECT_BYTES_MAX {
            return Err(TooLarge);
        }
        self.partial = Some(Partial { at, status, properties, length, received: 0, payload: BytesMut::new() });
        Ok(if length == 0 { self.take(now) } else { None })
    }

    /// The next bytes of the object begun last; returns it when it is whole.
    pub(super) fn append(&mut self, now: Instant, data: Bytes) -> Option<Object> {
        let partial = self.partial.as_mut()?;
        partial.received = partial.received.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if self.keep == Keep::Payloads {
            if partial.payload.is_empty() {
                let reserve = partial.length.min(RESERVE_BYTES);
                partial.payload.reserve(usize::try_from(reserve).unwrap_or(0));
            }
            partial.payload.extend_from_slice(&data);
        }
        if partial.received >= partial.length { self.take(now) } else { None }
    }

    fn take(&mut self, now: Instant) -> Option<Object> {
        let partial = self.partial.take()?;
        let via = match self.kind {
            Kind::Subgroup { .. } => Via::Subgroup,
            Kind::Fetch => Via::Fetch,
        };
        Some(Object {
            track: Bytes::new(),
            rendition: None,
            at: partial.at,
            flags: Flags { via, status: partial.status },
            properties: partial.properties,
            payload: partial.payload.freeze(),
            length: partial.length,
            arrived: now,
        })
    }

    /// How a subgroup stream ended.
    pub(super) const fn end(&self, end: session::StreamEnd) -> StreamEnd {
        match (end, &self.kind) {
            (session::StreamEnd::Reset(_), _) => StreamEnd::Cut,
            (session::StreamEnd::Fin, _) if self.partial.is_some() => StreamEnd::Cut,
            (session::StreamEnd::Fin, Kind::Subgroup { ends_group: true, .. }) => StreamEnd::WholeGroup,
            (session::StreamEnd::Fin, _) => StreamEnd::Whole,
        }
    }
}

/// The object of a datagram.
pub(super) fn of_datagram(now: Instant, datagram: ObjectDatagram, keep: Keep) -> Object {
    let length = u64::try_from(datagram.payload.len()).unwrap_or(u64::MAX);
    Object {
        track: Bytes::new(),
        rendition: None,
        at: Position { group: datagram.location.group, subgroup: None, object: datagram.location.object },
        flags: Flags { via: Via::Datagram, status: datagram.status },
        properties: datagram.properties,
        payload: if keep == Keep::Payloads { datagram.payload } else { Bytes::new() },
        length,
        arrived: now,
    }
}
