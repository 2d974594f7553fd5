//! What the log lets in: the rules of the object model in one place (draft-18 2.4.2, 11.7, 11.8).

use crate::group::Group;
use crate::object::{Begin, Object};
use crate::subgroup::Priority;
use crate::{Limit, Log, Malformed, WriteError};
use sluice_moqt::kvp::{Pairs, Value};
use sluice_moqt::properties::{ObjectInfo, PropertyError};
use sluice_moqt::types::{Location, ObjectStatus};
use std::time::Instant;

/// Property type of immutable properties (draft-18 11.6).
const IMMUTABLE: u64 = 0xB;

/// An object as one of its sources announces it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) location: Location,
    pub(crate) subgroup: u64,
    /// The header's, or the track's default.
    pub(crate) priority: Priority,
    /// No object of the subgroup has an id in `floor..location.object`.
    pub(crate) floor: u64,
    /// Predecessor on its stream.
    pub(crate) prior: Option<u64>,
    pub(crate) properties: &'a [u8],
    pub(crate) payload_len: usize,
    pub(crate) status: ObjectStatus,
}

/// What becomes of an incoming object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is in the log, or continues what is.
    Stored,
    /// Its bytes are to be ignored: evicted, or known not to exist.
    Ignored,
}

impl Log {
    /// Checks an object and begins it, or joins what another source began of it. Nothing changes on an error.
    pub(crate) fn admit(&mut self, now: Instant, incoming: &Incoming<'_>) -> Result<Admission, WriteError> {
        let info = self.check(incoming)?;
        let Location { group: group_id, object: id } = incoming.location;
        if self.is_evicted(group_id) || self.is_ruled_out(incoming) {
            return Ok(Admission::Ignored);
        }
        if incoming.payload_len > self.limits().object_bytes {
            return Err(Limit::ObjectBytes(self.limits().object_bytes).into());
        }
        let held = self.object(group_id, incoming.subgroup, id).map(Object::is_unknown);
        if held != Some(false) {
            let head = incoming.properties.len() + 64;
            self.make_room(head.saturating_add(incoming.payload_len).min(crate::arena::BLOCK))?;
            if self.is_evicted(group_id) {
                return Ok(Admission::Ignored);
            }
            self.ensure_subgroup(now, group_id, incoming.subgroup, incoming.priority)?;
        }
        if held.is_none() {
            self.count_object(group_id)?;
        }
        self.declare(incoming.location, info);
        if incoming.status == ObjectStatus::EndOfTrack {
            self.set_track_end(incoming.location);
        }
        let arena = &mut self.arena;
        let Some(group) = self.groups.get_mut(&group_id) else { return Ok(Admission::Ignored) };
        group.newest = now;
        match incoming.status {
            ObjectStatus::Normal => {}
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => group.end = Some(id),
        }
        let Some(subgroup) = group.subgroups.get_mut(&incoming.subgroup) else { return Ok(Admission::Ignored) };
        subgroup.properties |= !incoming.properties.is_empty();
        let properties = subgroup.properties.then_some(incoming.properties);
        let begin = Begin {
            id,
            floor: incoming.floor,
            prior: incoming.prior,
            properties,
            payload_len: incoming.payload_len,
            status: incoming.status,
        };
        match subgroup.find_mut(id) {
            Some(held) if held.is_unknown() => {
                let floor = begin.floor.min(held.floor);
                *held = Object::begin(now, &Begin { floor, ..begin }, arena);
            }
            Some(held) => held.floor = held.floor.min(incoming.floor),
            None => subgroup.insert(Object::begin(now, &begin, arena)),
        }
        let index = subgroup.position(id, subgroup.objects().len().saturating_sub(1));
        if !subgroup.follows(index) {
            group.note_hole(incoming.subgroup, id);
        }
        let changed = group.settle_holes();
        let whole = group.subgroups.get(&incoming.subgroup).and_then(|s| s.find(id)).is_some_and(Object::is_whole);
        self.progress.partial = true;
        self.progress.whole |= changed || whole;
        Ok(Admission::Stored)
    }

    /// All rules that make a track malformed.
    fn check(&self, incoming: &Incoming<'_>) -> Result<ObjectInfo, WriteError> {
        let location = incoming.location;
        check_id(location)?;
        let info = match incoming.properties {
            [] => ObjectInfo::default(),
            properties => ObjectInfo::read(properties, location).map_err(|error| property_error(error, location))?,
        };
        self.check_track(location, incoming.status)?;
        self.check_gaps(location, info)?;
        if let Some(group) = self.groups.get(&location.group) {
            check_group(group, incoming)?;
            check_same(group, incoming)?;
        }
        Ok(info)
    }

    /// Condition 5: nothing lies at or beyond the end of the track but the END_OF_TRACK object itself.
    pub(crate) fn check_track(&self, location: Location, status: ObjectStatus) -> Result<(), Malformed> {
        let beyond = self.track_end().is_some_and(|end| match status {
            ObjectStatus::Normal => location >= end,
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => location > end,
        });
        let ends_early = status == ObjectStatus::EndOfTrack && self.largest().is_some_and(|largest| largest > location);
        if beyond || ends_early { Err(Malformed::BeyondTrack { location }) } else { Ok(()) }
    }

    /// Draft-18 11.7 and 11.8.
    pub(crate) fn check_gaps(&self, location: Location, info: ObjectInfo) -> Result<(), Malformed> {
        let gap = Err(Malformed::Gap { location });
        if self.group_gaps().contains(location.group) {
            return gap;
        }
        let group = self.groups.get(&location.group);
        if group.is_some_and(|group| group.gap_property.contains(location.object)) {
            return gap;
        }
        if let Some(groups) = info.group_gap {
            let from = location.group.saturating_sub(groups);
            let covered = self.groups.range(from..location.group).any(|(_, group)| group.objects > 0);
            let other = group.and_then(|group| group.group_gap).is_some_and(|other| other != groups);
            if groups > location.group || other || covered {
                return gap;
            }
        }
        if let Some(objects) = info.object_gap {
            let from = location.object.checked_sub(objects);
            let covered = |from| group.is_some_and(|group| group.holds_any(from, location.object));
            if from.is_none_or(covered) {
                return gap;
            }
        }
        Ok(())
    }

    /// Records what the properties rule out.
    pub(crate) fn declare(&mut self, location: Location, info: ObjectInfo) {
        if let Some(groups) = info.group_gap {
            self.add_group_gap(location.group.saturating_sub(groups), location.group);
        }
        let Some(group) = self.groups.get_mut(&location.group) else { return };
        group.group_gap = group.group_gap.or(info.group_gap);
        if let Some(objects) = info.object_gap {
            group.gap_property.insert(location.object.saturating_sub(objects), location.object);
        }
    }

    /// Known not to exist by a fetch, by what a stream has shown, or beyond a group end that a fetch implied: not
    /// malformed, "SHOULD NOT cache or forward the Object in this case" (draft-18 8.1).
    fn is_ruled_out(&self, incoming: &Incoming<'_>) -> bool {
        let Some(group) = self.groups.get(&incoming.location.group) else { return false };
        let id = incoming.location.object;
        let Some(subgroup) = group.subgroups.get(&incoming.subgroup) else { return group.gap_fetched.contains(id) };
        subgroup.find(id).is_none() && (group.gap_fetched.contains(id) || subgroup.rules_out(id))
    }
}

/// Every id has one that follows it, which keeps "the next object" a plain number.
pub(crate) const fn check_id(location: Location) -> Result<(), Limit> {
    if location.object == u64::MAX { Err(Limit::ObjectId) } else { Ok(()) }
}

/// Conditions 1, 2 and 4.
fn check_group(group: &Group, incoming: &Incoming<'_>) -> Result<(), Malformed> {
    let location = incoming.location;
    check_group_end(group, location, incoming.status)?;
    let Some(subgroup) = group.subgroups.get(&incoming.subgroup) else { return Ok(()) };
    if subgroup.priority.agree(incoming.priority).is_none() {
        return Err(Malformed::Priority { group: location.group, subgroup: incoming.subgroup });
    }
    if subgroup.final_next().is_some_and(|next| location.object >= next) {
        return Err(Malformed::BeyondSubgroup { location, subgroup: incoming.subgroup });
    }
    Ok(())
}

/// Condition 4: nothing lies at or beyond the end of its group but the object that says so.
pub(crate) fn check_group_end(group: &Group, location: Location, status: ObjectStatus) -> Result<(), Malformed> {
    let id = location.object;
    let broken = match status {
        ObjectStatus::Normal => group.end.is_some_and(|end| id >= end),
        ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => {
            let larger = group.last_id().is_some_and(|last| last > id);
            larger || group.end.is_some_and(|end| id != end)
        }
    };
    if broken { Err(Malformed::BeyondGroup { location }) } else { Ok(()) }
}

/// Conditions 6 and 7: what is held of the object is the same object. Payload is compared as it comes.
fn check_same(group: &Group, incoming: &Incoming<'_>) -> Result<(), Malformed> {
    let location = incoming.location;
    if group.datagrams.binary_search(&location.object).is_ok() {
        return Err(Malformed::ForwardingPreference { location });
    }
    let Some((subgroup, held)) = group.find(location.object) else { return Ok(()) };
    let same = subgroup == incoming.subgroup
        && held.status == incoming.status
        && held.payload_len() == incoming.payload_len
        && (held.is_unknown() || same_immutable(held.properties_run(), incoming.properties));
    if same { Ok(()) } else { Err(Malformed::Content { location }) }
}

/// Relays may change mutable properties, so only the immutable ones have to agree.
fn same_immutable(held: &[u8], incoming: &[u8]) -> bool {
    held == incoming || immutable(held) == immutable(incoming)
}

fn immutable(properties: &[u8]) -> Option<&[u8]> {
    Pairs::new(properties).filter_map(Result::ok).find_map(|pair| match pair.value {
        Value::Bytes(bytes) if pair.kind == IMMUTABLE => Some(bytes),
        Value::Bytes(_) | Value::Int(_) => None,
    })
}

pub(crate) const fn property_error(error: PropertyError, location: Location) -> WriteError {
    match error {
        PropertyError::Session(error) => WriteError::Session(error),
        PropertyError::Malformed(reason) => WriteError::Malformed(Malformed::Properties { location, reason }),
        _ => WriteError::Malformed(Malformed::Properties { location, reason: "unknown property error" }),
    }
}
