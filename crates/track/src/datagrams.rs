//! Datagram objects: a bounded ring beside the groups, never turned into streams (draft-18 10.2.1, 10.3).

use crate::admit::{check_group_end, check_id, property_error};
use crate::arena::{Arena, BlockId};
use crate::{Log, Malformed, WriteError};
use bytes::{BufMut, Bytes, BytesMut};
use sluice_moqt::data::ObjectDatagram;
use sluice_moqt::properties::ObjectInfo;
use sluice_moqt::types::{Location, ObjectStatus, TrackAlias};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The datagram objects held, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    ring: VecDeque<Held>,
    total: u64,
}

/// One datagram object.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) arrived: Instant,
    /// Its fields; the alias is that of whoever sent it last.
    pub(crate) object: ObjectDatagram,
    block: BlockId,
    /// As sent last. Sessions that use one alias for the track share it.
    encoded: Option<(TrackAlias, Bytes)>,
}

impl Datagrams {
    /// Number of datagrams ever.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The oldest one held that has a number of at least `seen`, and its number.
    pub(crate) fn next_mut(&mut self, seen: u64) -> Option<(u64, &mut Held)> {
        let first = self.total - self.ring.len() as u64;
        let number = seen.max(first);
        let index = usize::try_from(number - first).ok()?;
        Some((number, self.ring.get_mut(index)?))
    }

    pub(crate) fn find(&self, location: Location) -> Option<&Held> {
        self.ring.iter().rev().find(|held| held.object.location == location)
    }

    /// Drops what is older than `age`.
    pub(crate) fn expire(&mut self, now: Instant, age: Duration, arena: &mut Arena) {
        while self.ring.front().is_some_and(|held| now.saturating_duration_since(held.arrived) >= age) {
            self.pop(arena);
        }
    }

    /// Drops what is of older groups, up to the first that is not.
    pub(crate) fn forget_below(&mut self, group: u64, arena: &mut Arena) {
        while self.ring.front().is_some_and(|held| held.object.location.group < group) {
            self.pop(arena);
        }
    }

    fn pop(&mut self, arena: &mut Arena) {
        if let Some(held) = self.ring.pop_front() {
            arena.release(held.block);
        }
    }

    fn push(&mut self, held: Held, limit: usize, arena: &mut Arena) {
        while self.ring.len() >= limit.max(1) {
            self.pop(arena);
        }
        self.ring.push_back(held);
        self.total += 1;
    }
}

impl Held {
    /// The datagram as it goes out in sessions that use `alias`; `None` where it cannot be encoded.
    pub(crate) fn encoded(&mut self, alias: TrackAlias) -> Option<Bytes> {
        if let Some((of, bytes)) = &self.encoded
            && *of == alias
        {
            return Some(bytes.clone());
        }
        self.object.alias = alias;
        let mut out = BytesMut::with_capacity(self.object.encoded_len());
        self.object.encode(&mut out).ok()?;
        let bytes = out.freeze();
        self.encoded = Some((alias, bytes.clone()));
        Some(bytes)
    }
}

impl Log {
    /// An object came by datagram.
    pub fn append_datagram(&mut self, now: Instant, datagram: &ObjectDatagram) -> Result<(), WriteError> {
        let location = datagram.location;
        if self.is_evicted(location.group) {
            return Ok(());
        }
        check_id(location)?;
        let info = match &datagram.properties[..] {
            [] => ObjectInfo::default(),
            run => ObjectInfo::read(run, location).map_err(|error| property_error(error, location))?,
        };
        self.check_track(location, datagram.status)?;
        self.check_gaps(location, info)?;
        if self.check_datagram(datagram)? == Known::Yes {
            return Ok(());
        }
        let len = datagram.properties.len() + datagram.payload.len();
        self.make_room(len)?;
        if !self.ensure_group(now, location.group) {
            return Ok(());
        }
        self.count_object(location.group)?;
        self.declare(location, info);
        self.note_datagram(now, datagram);
        let (block, mut buffer) = self.arena.carve(len);
        buffer.put_slice(&datagram.properties);
        buffer.put_slice(&datagram.payload);
        let mut payload = buffer.freeze();
        let properties = payload.split_to(datagram.properties.len());
        let object = ObjectDatagram { properties, payload, ..datagram.clone() };
        let held = Held { arrived: now, object, block, encoded: None };
        let limit = self.limits().datagrams;
        self.datagrams.push(held, limit, &mut self.arena);
        self.note_largest(location);
        self.progress.datagram = true;
        Ok(())
    }

    fn check_datagram(&self, datagram: &ObjectDatagram) -> Result<Known, Malformed> {
        let location = datagram.location;
        let Some(group) = self.groups.get(&location.group) else { return Ok(Known::No) };
        check_group_end(group, location, datagram.status)?;
        if datagram.end_of_group && group.last_id().is_some_and(|last| last > location.object) {
            return Err(Malformed::BeyondGroup { location });
        }
        if group.find(location.object).is_some() {
            return Err(Malformed::ForwardingPreference { location });
        }
        if group.datagrams.binary_search(&location.object).is_err() {
            return Ok(if group.gap_fetched.contains(location.object) { Known::Yes } else { Known::No });
        }
        let default = self.default_priority();
        let same = self.datagrams.find(location).is_none_or(|held| {
            held.object.payload == datagram.payload
                && held.object.status == datagram.status
                && held.object.priority.unwrap_or(default) == datagram.priority.unwrap_or(default)
        });
        if same { Ok(Known::Yes) } else { Err(Malformed::Content { location }) }
    }

    fn note_datagram(&mut self, now: Instant, datagram: &ObjectDatagram) {
        let id = datagram.location.object;
        if datagram.status == ObjectStatus::EndOfTrack {
            self.set_track_end(datagram.location);
        }
        let Some(group) = self.groups.get_mut(&datagram.location.group) else { return };
        group.newest = now;
        match datagram.status {
            ObjectStatus::Normal if datagram.end_of_group => group.end = Some(id.saturating_add(1)),
            ObjectStatus::Normal => {}
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => group.end = Some(id),
        }
        if let Err(at) = group.datagrams.binary_search(&id) {
            group.datagrams.insert(at, id);
        }
        self.progress.whole |= group.settle(now);
    }
}

/// Whether an object is in the log already, or known not to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Yes,
    No,
}
