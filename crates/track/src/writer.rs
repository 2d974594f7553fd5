//! The writing side: one writer per incoming stream.
//!
//! No writer owns an object. Each counts how much of the current object its stream has delivered; what another source
//! delivered before is compared byte by byte, what is new is appended. So a second source continues half an object at
//! the byte where the first one fell silent (the unit of splice is the byte).

use crate::admit::{Admission, Incoming};
use crate::fetched::FetchStream;
use crate::subgroup::{End, Priority};
use crate::{Limit, Log, Malformed, WriteError};
use slab::Slab;
use sluice_moqt::data::{ObjectHeader, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::types::{Location, ObjectStatus};
use std::time::Instant;

/// Streams that may write one track at once.
pub(crate) const MAX_WRITERS: usize = 4_096;

/// Where objects come from: one upstream subscription or fetch, as the node numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u64);

/// One incoming stream of one source; unknown once finished, reset or refused, and then without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId {
    slot: usize,
    serial: u64,
}

/// All writers of a log.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    slots: Slab<Writer>,
    serial: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer {
    serial: u64,
    source: SourceId,
    pub(crate) stream: Stream,
    pub(crate) current: Option<Current>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Subgroup(SubgroupStream),
    Fetch(FetchStream),
}

/// A subgroup stream as far as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubgroupStream {
    group: u64,
    id: SubgroupId,
    priority: u8,
    flags: SubgroupFlags,
    /// The subgroup that counts this stream among its writers.
    attached: Option<u64>,
    last: Option<Last>,
}

/// The last object of a stream.
#[derive(Debug, Clone, Copy)]
struct Last {
    id: u64,
    status: ObjectStatus,
}

/// The object that a stream is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Current {
    pub(crate) location: Location,
    pub(crate) subgroup: u64,
    pub(crate) payload_len: usize,
    /// Payload bytes that this stream delivered.
    pub(crate) delivered: usize,
    pub(crate) admission: Admission,
}

impl Writers {
    pub(crate) fn open(&mut self, source: SourceId, stream: Stream) -> Result<WriterId, Limit> {
        if self.slots.len() >= MAX_WRITERS {
            return Err(Limit::Writers(MAX_WRITERS));
        }
        self.serial += 1;
        let serial = self.serial;
        let slot = self.slots.insert(Writer { serial, source, stream, current: None });
        Ok(WriterId { slot, serial })
    }

    pub(crate) fn get_mut(&mut self, id: WriterId) -> Option<&mut Writer> {
        self.slots.get_mut(id.slot).filter(|writer| writer.serial == id.serial)
    }

    fn remove(&mut self, id: WriterId) -> Option<Writer> {
        self.get_mut(id)?;
        Some(self.slots.remove(id.slot))
    }

    /// Writers in order of slot; of one source only, if one is given.
    pub(crate) fn ids(&self, source: Option<SourceId>) -> Vec<WriterId> {
        let wanted = self.slots.iter().filter(|(_, writer)| source.is_none_or(|source| writer.source == source));
        wanted.map(|(slot, writer)| WriterId { slot, serial: writer.serial }).collect()
    }

    /// Whether a fetch that is under way will tell about this location.
    pub(crate) fn fetching(&self, location: Location) -> bool {
        self.slots.iter().any(|(_, writer)| match &writer.stream {
            Stream::Fetch(fetch) => fetch.will_tell(location),
            Stream::Subgroup(_) => false,
        })
    }
}

impl Log {
    /// A subgroup stream began.
    pub fn open_subgroup(
        &mut self,
        now: Instant,
        source: SourceId,
        header: &SubgroupHeader,
    ) -> Result<WriterId, WriteError> {
        let mut stream = SubgroupStream {
            group: header.group,
            id: header.subgroup,
            priority: header.priority.unwrap_or_else(|| self.default_priority()),
            flags: header.flags,
            attached: None,
            last: None,
        };
        let id = self.writers.open(source, Stream::Subgroup(stream))?;
        let attached = match header.subgroup {
            SubgroupId::Zero => self.attach(now, &mut stream, 0),
            SubgroupId::Explicit(subgroup) => self.attach(now, &mut stream, subgroup),
            SubgroupId::FirstObject => Ok(()),
        };
        if let Some(writer) = self.writers.get_mut(id) {
            writer.stream = Stream::Subgroup(stream);
        }
        self.close_on_error(now, id, attached).map(|()| id)
    }

    /// An object of a subgroup stream begins; `header.payload_len` bytes follow by [`Log::append`].
    pub fn begin_object(&mut self, now: Instant, writer: WriterId, header: &ObjectHeader) -> Result<(), WriteError> {
        let Some(&mut Writer { source, stream: Stream::Subgroup(mut stream), .. }) = self.writers.get_mut(writer)
        else {
            return Ok(());
        };
        let begun = self.begin_on(now, source, &mut stream, header);
        if let (Some(slot), Ok(current)) = (self.writers.get_mut(writer), &begun) {
            slot.stream = Stream::Subgroup(stream);
            slot.current = Some(*current).filter(|current| current.payload_len > 0);
        }
        self.close_on_error(now, writer, begun.map(|_| ()))
    }

    /// Payload of the object begun last; the object is whole when its length is reached.
    pub fn append(&mut self, now: Instant, writer: WriterId, payload: &[u8]) -> Result<(), WriteError> {
        let Some(mut current) = self.writers.get_mut(writer).and_then(|slot| slot.current) else { return Ok(()) };
        let payload = payload.get(..current.payload_len - current.delivered).unwrap_or(payload);
        let appended = self.append_to(&current, payload);
        current.delivered += payload.len();
        let complete = current.delivered == current.payload_len;
        if let Some(slot) = self.writers.get_mut(writer) {
            slot.current = (!complete).then_some(current);
            if complete && matches!(slot.stream, Stream::Fetch(_)) {
                self.detach_fetch(now, &current);
            }
        }
        self.close_on_error(now, writer, appended)
    }

    /// The stream ended with FIN. For fetches see [`Log::set_fetch_end`].
    pub fn finish(&mut self, now: Instant, writer: WriterId) -> Result<(), WriteError> {
        match self.writers.get_mut(writer) {
            None => return Ok(()),
            // A FIN inside an object is the session's to complain about; here it is worth as much as a reset.
            Some(slot) if slot.current.is_some() => {
                self.reset(now, writer);
                return Ok(());
            }
            Some(_) => {}
        }
        let Some(Writer { stream, .. }) = self.writers.remove(writer) else { return Ok(()) };
        match stream {
            Stream::Subgroup(stream) => self.finish_subgroup(now, &stream),
            Stream::Fetch(fetch) => self.finish_fetch(now, &fetch),
        }
    }

    /// The stream was reset or the connection lost. A half object waits for another source until the fill timeout.
    pub fn reset(&mut self, now: Instant, writer: WriterId) {
        let Some(Writer { stream, current, .. }) = self.writers.remove(writer) else { return };
        match stream {
            Stream::Subgroup(SubgroupStream { group, attached: Some(subgroup), .. }) => {
                if let Some(subgroup) = self.subgroup_mut(group, subgroup)
                    && subgroup.writers == 1
                    && matches!(subgroup.end, End::Open)
                {
                    subgroup.end = End::Reset(now);
                }
                self.detach(now, group, subgroup);
            }
            Stream::Subgroup(SubgroupStream { attached: None, .. }) => {}
            Stream::Fetch(_) => {
                if let Some(current) = current {
                    self.detach_fetch(now, &current);
                }
            }
        }
    }

    /// Counts a stream among the writers of its subgroup, which comes into being if need be.
    fn attach(&mut self, now: Instant, stream: &mut SubgroupStream, subgroup: u64) -> Result<(), WriteError> {
        if stream.attached.is_some() || self.is_evicted(stream.group) {
            return Ok(());
        }
        if self.group_gaps().contains(stream.group) {
            return Err(Malformed::Gap { location: Location::new(stream.group, 0) }.into());
        }
        self.ensure_subgroup(now, stream.group, subgroup, Priority::Header(stream.priority))?;
        let Some(held) = self.subgroup_mut(stream.group, subgroup) else { return Ok(()) };
        let agreed = held.priority.agree(Priority::Header(stream.priority));
        held.priority = agreed.ok_or(Malformed::Priority { group: stream.group, subgroup })?;
        held.writers += 1;
        held.properties |= stream.flags.contains(SubgroupFlags::PROPERTIES);
        held.end_of_group |= stream.flags.contains(SubgroupFlags::END_OF_GROUP);
        if matches!(held.end, End::Reset(_) | End::Broken) {
            held.end = End::Open;
        }
        stream.attached = Some(subgroup);
        self.progress.partial = true;
        Ok(())
    }

    /// A stream does not write the subgroup any more.
    pub(crate) fn detach(&mut self, now: Instant, group_id: u64, subgroup_id: u64) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let Some(subgroup) = group.subgroups.get_mut(&subgroup_id) else { return };
        subgroup.writers = subgroup.writers.saturating_sub(1);
        if subgroup.writers == 0 {
            let incomplete = matches!(subgroup.end, End::Reset(_)) || subgroup.objects().iter().any(|o| o.is_filling());
            self.progress.whole |= group.settle(now);
            if incomplete {
                self.await_fill(now, group_id, subgroup_id);
            }
        }
    }

    /// A fetch counts as a writer of a subgroup only while it is in one of its objects.
    fn detach_fetch(&mut self, now: Instant, current: &Current) {
        if current.admission == Admission::Stored {
            self.detach(now, current.location.group, current.subgroup);
        }
    }

    fn begin_on(
        &mut self,
        now: Instant,
        source: SourceId,
        stream: &mut SubgroupStream,
        header: &ObjectHeader,
    ) -> Result<Current, WriteError> {
        let location = Location::new(stream.group, header.id);
        let subgroup = stream.id.resolve(stream.last.map_or(header.id, |_| stream.attached.unwrap_or(header.id)));
        self.attach(now, stream, subgroup)?;
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let incoming = Incoming {
            location,
            subgroup,
            priority: Priority::Header(stream.priority),
            floor: self.floor(source, stream, location, subgroup),
            prior: stream.last.map(|last| last.id),
            properties: &header.properties,
            payload_len,
            status: header.status,
        };
        let admission = self.admit(now, &incoming)?;
        stream.last = Some(Last { id: header.id, status: header.status });
        self.note_largest(location);
        Ok(Current { location, subgroup, payload_len, delivered: 0, admission })
    }

    /// From which id on the stream has shown that its subgroup has nothing before the object at `location`.
    fn floor(&self, source: SourceId, stream: &SubgroupStream, location: Location, subgroup: u64) -> u64 {
        if let Some(last) = stream.last {
            return last.id.saturating_add(1);
        }
        // "the first object in this subgroup stream is the first object published in the subgroup" (draft-18 10.4.2);
        // an id taken from the first object says the same.
        if stream.flags.contains(SubgroupFlags::FIRST_OBJECT) || stream.id == SubgroupId::FirstObject {
            return 0;
        }
        // A subscription brings every object from its start on, so the first stream of a subgroup misses none of them.
        let start = self.source_start(source).filter(|start| start.group == location.group && *start <= location);
        let seen = |start: Location| {
            self.groups.get(&start.group).and_then(|group| group.subgroups.get(&subgroup)).is_some_and(|held| {
                let at = held.position(start.object, 0);
                held.objects().get(at).is_some_and(|object| object.id < location.object)
            })
        };
        start.filter(|start| !seen(*start)).map_or(location.object, |start| start.object)
    }

    /// Compares what is held already and appends the rest.
    fn append_to(&mut self, current: &Current, payload: &[u8]) -> Result<(), WriteError> {
        if current.admission == Admission::Ignored {
            return Ok(());
        }
        let Location { group, object: id } = current.location;
        let Some(object) = self.object(group, current.subgroup, id) else { return Ok(()) };
        let held = object.payload_held();
        // The object was given up and begun anew by another source: this one's bytes do not connect.
        if object.is_unknown() || held < current.delivered {
            return Ok(());
        }
        let overlap = (held - current.delivered).min(payload.len());
        let (known, new) = payload.split_at(overlap);
        if !object.payload_matches(current.delivered, known) {
            return Err(Malformed::Content { location: current.location }.into());
        }
        if new.is_empty() {
            return Ok(());
        }
        let piece = object.next_piece(new.len());
        self.make_room(piece)?;
        let arena = &mut self.arena;
        let subgroup = self.groups.get_mut(&group).and_then(|group| group.subgroups.get_mut(&current.subgroup));
        let Some(object) = subgroup.and_then(|subgroup| subgroup.find_mut(id)) else { return Ok(()) };
        object.append(new, arena);
        self.progress.partial = true;
        self.progress.whole |= object.is_whole();
        Ok(())
    }

    fn finish_subgroup(&mut self, now: Instant, stream: &SubgroupStream) -> Result<(), WriteError> {
        let Some(subgroup_id) = stream.attached else { return Ok(()) };
        let result = self.end_subgroup(now, stream, subgroup_id);
        self.detach(now, stream.group, subgroup_id);
        self.progress.whole = true;
        result.map_err(WriteError::from)
    }

    fn end_subgroup(&mut self, now: Instant, stream: &SubgroupStream, subgroup_id: u64) -> Result<(), Malformed> {
        let Some(group) = self.groups.get_mut(&stream.group) else { return Ok(()) };
        let Some(subgroup) = group.subgroups.get_mut(&subgroup_id) else { return Ok(()) };
        let next = stream.last.map(|last| last.id.saturating_add(1));
        let ends = Malformed::SubgroupEnds { group: stream.group, subgroup: subgroup_id };
        // Conditions 2 and 3 of draft-18 2.4.2. A FIN without any object ends the subgroup, but says nothing about
        // its final object: all of them lie before the start of that subscription.
        match (subgroup.final_next(), next) {
            (Some(held), Some(next)) if held != next => return Err(ends),
            (_, Some(next)) if subgroup.last_id().is_some_and(|last| last >= next) => return Err(ends),
            _ => {}
        }
        match &mut subgroup.end {
            End::Finished { next: held, .. } => *held = held.or(next),
            end @ (End::Open | End::Reset(_) | End::Broken) => *end = End::Finished { at: now, next },
        }
        let last = stream.last.filter(|_| stream.flags.contains(SubgroupFlags::END_OF_GROUP));
        let Some(last) = last else { return Ok(()) };
        let end = match last.status {
            ObjectStatus::Normal => last.id.saturating_add(1),
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => last.id,
        };
        let larger = group.last_id().filter(|larger| *larger > last.id && *larger > end);
        match larger {
            Some(object) => Err(Malformed::BeyondGroup { location: Location::new(stream.group, object) }),
            None => {
                group.end = Some(group.end.unwrap_or(end));
                Ok(())
            }
        }
    }

    /// A writer whose data was refused writes no more.
    pub(crate) fn close_on_error(
        &mut self,
        now: Instant,
        writer: WriterId,
        result: Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        if result.is_err() {
            self.reset(now, writer);
        }
        result
    }
}
