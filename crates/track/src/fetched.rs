//! Fetch streams as a source: back-fill by the same append as live streams (draft-18 10.4.4).

use crate::admit::{Admission, Incoming};
use crate::subgroup::Priority;
use crate::writer::{Current, Stream, Writer};
use crate::{FetchRange, Log, SourceId, WriteError, WriterId};
use sluice_moqt::data::{EndOfRange, FetchObject};
use sluice_moqt::types::{GroupOrder, Location, ObjectStatus};
use std::time::Instant;

/// Whether FETCH_OK said that its end is the end of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfTrack {
    /// It did.
    Yes,
    /// More may be published.
    No,
}

/// A fetch stream as far as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchStream {
    range: FetchRange,
    order: GroupOrder,
    /// The last location that the stream has told about; `None`: nothing yet.
    told: Option<Location>,
    /// Where the last range of unknown objects ended: nothing is known about what lies before.
    unknown: Option<Location>,
    /// FETCH_OK came: a FIN tells about everything up to the end of the range.
    end_of_track: Option<EndOfTrack>,
}

impl FetchStream {
    /// Whether the stream has yet to say something about `location`.
    pub(crate) fn will_tell(&self, location: Location) -> bool {
        let inside = location >= self.range.first && location <= self.range.last;
        inside && self.told.is_none_or(|told| self.precedes(told, location))
    }

    fn precedes(&self, a: Location, b: Location) -> bool {
        match self.order {
            GroupOrder::Ascending => a < b,
            GroupOrder::Descending => a.group > b.group || (a.group == b.group && a.object < b.object),
        }
    }

    /// The group in which the stream starts.
    const fn first_group(&self) -> u64 {
        match self.order {
            GroupOrder::Ascending => self.range.first.group,
            GroupOrder::Descending => self.range.last.group,
        }
    }

    /// First id of `group` that lies in the range.
    const fn first_in(&self, group: u64) -> u64 {
        if group == self.range.first.group { self.range.first.object } else { 0 }
    }

    /// From which id of `group` on the stream has told everything.
    fn known_from(&self, group: u64) -> u64 {
        let unknown = self.unknown.filter(|unknown| unknown.group == group);
        unknown.map_or(0, |unknown| unknown.object.saturating_add(1)).max(self.first_in(group))
    }

    /// The id that follows the last one of `group` in the range.
    const fn end_in(&self, group: u64) -> u64 {
        if group == self.range.last.group { self.range.last.object.saturating_add(1) } else { u64::MAX }
    }

    /// From which id of `group` on the stream has not told anything yet.
    fn untold_in(&self, group: u64) -> u64 {
        let told = self.told.filter(|told| told.group == group);
        told.map_or_else(|| self.first_in(group), |told| told.object.saturating_add(1))
    }
}

impl Log {
    /// A fetch stream began that asks for `range` in `order`.
    pub fn open_fetch(
        &mut self,
        source: SourceId,
        range: FetchRange,
        order: GroupOrder,
    ) -> Result<WriterId, WriteError> {
        let stream = FetchStream { range, order, told: None, unknown: None, end_of_track: None };
        Ok(self.writers.open(source, Stream::Fetch(stream))?)
    }

    /// An object of a fetch stream begins; payload follows by [`Log::append`].
    pub fn begin_fetched(&mut self, now: Instant, writer: WriterId, object: &FetchObject) -> Result<(), WriteError> {
        let Some(mut fetch) = self.fetch_stream(writer) else { return Ok(()) };
        let begun = self.begin_of_fetch(now, &fetch, object);
        self.gap(now, &fetch, object.location);
        fetch.told = Some(object.location);
        if let (Some(slot), Ok(current)) = (self.writers.get_mut(writer), &begun) {
            slot.stream = Stream::Fetch(fetch);
            slot.current = Some(*current).filter(|current| current.payload_len > 0);
        }
        self.close_on_error(now, writer, begun.map(|_| ()))
    }

    /// An end of range on a fetch stream.
    pub fn fetched_range(&mut self, now: Instant, writer: WriterId, range: EndOfRange) {
        let Some(mut fetch) = self.fetch_stream(writer) else { return };
        let last = match range {
            EndOfRange::NonExistent { last } => {
                self.gap(now, &fetch, last);
                self.rule_out(now, last.group, last.object, last.object.saturating_add(1));
                last
            }
            EndOfRange::Unknown { last } => {
                fetch.unknown = Some(last);
                last
            }
        };
        fetch.told = Some(last);
        if let Some(slot) = self.writers.get_mut(writer) {
            slot.stream = Stream::Fetch(fetch);
        }
    }

    /// FETCH_OK said where the fetch really ends; call before [`Log::finish`], with the location as on the wire.
    pub fn set_fetch_end(&mut self, writer: WriterId, end: Location, end_of_track: EndOfTrack) {
        let Some(mut fetch) = self.fetch_stream(writer) else { return };
        if let Ok(range) = FetchRange::from_wire(fetch.range.first, end) {
            fetch.range.last = range.last.min(fetch.range.last);
        }
        fetch.end_of_track = Some(end_of_track);
        if let Some(slot) = self.writers.get_mut(writer) {
            slot.stream = Stream::Fetch(fetch);
        }
    }

    /// The FIN of a fetch: what it did not bring up to its end does not exist, once FETCH_OK has said where that is.
    pub(crate) fn finish_fetch(&mut self, now: Instant, fetch: &FetchStream) -> Result<(), WriteError> {
        let Some(end_of_track) = fetch.end_of_track else { return Ok(()) };
        let last = match fetch.order {
            GroupOrder::Ascending => fetch.range.last,
            GroupOrder::Descending => Location::new(fetch.range.first.group, fetch.end_in(fetch.range.first.group)),
        };
        self.gap(now, fetch, last);
        let (untold, end) = (fetch.untold_in(last.group), fetch.end_in(last.group));
        self.rule_out(now, last.group, untold, end);
        if untold == 0 && end == u64::MAX {
            self.add_absent_groups(last.group, last.group.saturating_add(1));
        }
        match (end_of_track, fetch.told) {
            (EndOfTrack::Yes, Some(final_object)) if fetch.order == GroupOrder::Ascending => {
                let end = Location::new(final_object.group, final_object.object.saturating_add(1));
                self.end_track_at(end).map_err(WriteError::from)
            }
            (EndOfTrack::Yes | EndOfTrack::No, _) => Ok(()),
        }
    }

    fn fetch_stream(&mut self, writer: WriterId) -> Option<FetchStream> {
        match self.writers.get_mut(writer) {
            Some(Writer { stream: Stream::Fetch(fetch), .. }) => Some(*fetch),
            Some(Writer { stream: Stream::Subgroup(_), .. }) | None => None,
        }
    }

    /// "Any gaps in the Group and Object IDs in the response stream indicate objects that do not exist" (draft-18
    /// 9.12.3): everything between what the stream told last and `next`.
    fn gap(&mut self, now: Instant, fetch: &FetchStream, next: Location) {
        let from = fetch.told.map_or_else(|| fetch.first_group(), |told| told.group);
        if from != next.group {
            self.rule_out(now, from, fetch.untold_in(from), fetch.end_in(from));
            // A group of which nothing was told goes with those that were passed over.
            let untouched = fetch.told.is_none() && fetch.untold_in(from) == 0;
            let (from, next) = (from, next.group);
            match fetch.order {
                GroupOrder::Ascending if untouched => self.add_absent_groups(from, next),
                GroupOrder::Ascending => self.add_absent_groups(from.saturating_add(1), next),
                GroupOrder::Descending if untouched => {
                    self.add_absent_groups(next.saturating_add(1), from.saturating_add(1));
                }
                GroupOrder::Descending => self.add_absent_groups(next.saturating_add(1), from),
            }
        }
        self.rule_out(now, next.group, fetch.untold_in(next.group), next.object);
    }

    fn rule_out(&mut self, now: Instant, group: u64, from: u64, to: u64) {
        let Some(group) = self.groups.get_mut(&group) else { return };
        let mut at = from;
        while at < to {
            // What is held exists, whatever another source says.
            let held = group.next_object(at).map_or(to, |(id, _)| id.min(to));
            group.gap_fetched.insert(at, held);
            at = held.saturating_add(1);
        }
        self.progress.whole |= group.settle(now);
    }

    fn begin_of_fetch(
        &mut self,
        now: Instant,
        fetch: &FetchStream,
        object: &FetchObject,
    ) -> Result<Current, WriteError> {
        let location = object.location;
        let payload_len = usize::try_from(object.payload_len).unwrap_or(usize::MAX);
        let ignored = Current { location, subgroup: 0, payload_len, delivered: 0, admission: Admission::Ignored };
        // A datagram object is never turned into a stream, and only what comes through a subscription is forwarded.
        let Some(subgroup) = object.subgroup else { return Ok(ignored) };
        let (floor, prior) = self.before_fetched(fetch, location, subgroup);
        let held = self.groups.get(&location.group).and_then(|group| group.subgroups.get(&subgroup));
        let incoming = Incoming {
            location,
            subgroup,
            priority: held.map_or(Priority::Fetched(object.priority), |held| held.priority),
            floor,
            prior,
            properties: &object.properties,
            payload_len,
            status: ObjectStatus::Normal,
        };
        let admission = self.admit(now, &incoming)?;
        let held = self.subgroup_mut(location.group, subgroup);
        if let Some(held) = held.filter(|_| payload_len > 0 && admission == Admission::Stored) {
            held.writers += 1;
        }
        Ok(Current { location, subgroup, payload_len, delivered: 0, admission })
    }

    /// What the fetch knows about the objects of the subgroup before `location`: it has told about every id of the
    /// group from its start on, so the predecessor is the last one held from there on.
    fn before_fetched(&self, fetch: &FetchStream, location: Location, subgroup: u64) -> (u64, Option<u64>) {
        let known_from = fetch.known_from(location.group);
        let held = self.groups.get(&location.group).and_then(|group| group.subgroups.get(&subgroup));
        let before = held.and_then(|held| {
            let at = held.position(location.object, held.objects().len());
            held.objects().get(at.checked_sub(1)?).map(|object| object.id)
        });
        match before.filter(|before| *before >= known_from) {
            Some(before) => (before.saturating_add(1), Some(before)),
            None => (known_from, None),
        }
    }
}
