//! One subgroup of a visit: gather what is there, offer it, act on why gathering stopped.

use crate::active::{Active, Outgoing, Place, State};
use crate::batch::{Field, View};
use crate::select::{Reason, Visit, positive, priority_of};
use crate::subgroup::{End, Subgroup};
use crate::{Cursor, Forwarding};
use bytes::BytesMut;
use sluice_moqt::data::{SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::error::ResetCode;
use sluice_moqt::transport::{Dir, SinkError};
use std::time::{Duration, Instant};

/// Bytes that one cursor writes in one visit at most, give or take a batch.
const BUDGET: usize = 1 << 20;

/// Whether a subgroup stays among those in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Remove,
}

/// Why gathering stopped; the bytes gathered so far go out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The batch is full: go on.
    Full,
    /// Nothing more has arrived.
    Wait,
    /// The next object's predecessor is unknown; after `until` it is given up.
    Hole { until: Instant, resume: u64 },
    /// Nobody completed this object.
    Lost { id: u64 },
    /// Too old.
    Late(Reason),
    /// The next object has properties and the stream was opened without.
    Reopen,
    /// Every object of the subgroup was gathered.
    Finished,
    /// Every object held was gathered, and nobody writes the subgroup any more.
    Broken,
}

impl Cursor {
    /// Sends what is there of one subgroup.
    pub(crate) fn serve(&mut self, at: usize, visit: &mut Visit<'_>) -> Fate {
        loop {
            let Some(active) = self.in_flight.list.get_mut(at) else { return Fate::Remove };
            if active.state == State::Stopped {
                self.leave_out(at, Reason::Stopped, visit);
                return Fate::Remove;
            }
            let Some(stop) = self.gather(at, visit) else {
                self.leave_out(at, Reason::Evicted, visit);
                return Fate::Remove;
            };
            if !visit.batch.is_empty() || self.owes_empty_stream(at, stop, visit) {
                match self.write(at, visit) {
                    Ok(true) => {}
                    Ok(false) => {
                        visit.batch.clear();
                        self.note_deadline(at, visit);
                        return Fate::Keep;
                    }
                    Err(fate) => {
                        visit.batch.clear();
                        return fate;
                    }
                }
                visit.batch.clear();
            }
            if let Some(fate) = self.after_write(at, stop, visit) {
                return fate;
            }
        }
    }

    /// Collects slices from the place of `list[at]` on; `None`: the group was evicted.
    fn gather(&mut self, at: usize, visit: &mut Visit<'_>) -> Option<Stop> {
        let (mode, timeouts) = (self.config.mode, self.config.timeouts);
        let active = self.in_flight.list.get_mut(at)?;
        let limits = *visit.log.limits();
        let ended = visit.log.ended();
        let subgroup = visit.log.subgroup_mut(active.group, active.subgroup)?;
        if let (End::Finished { at: finished, .. }, Some(timeout)) = (subgroup.end, positive(timeouts.subgroup))
            && finished + timeout <= visit.now
        {
            return Some(Stop::Late(Reason::Timeout));
        }
        let place = &mut active.place;
        place.hint = subgroup.position(place.next, place.hint);
        let (mut next, mut offset) = (place.next, place.offset);
        let field = active.stream.as_ref().map_or_else(|| field_of(subgroup), |open| open.field);
        let mut previous = active.stream.as_ref().and_then(|open| open.previous);
        let end = subgroup.end;
        for object in subgroup.objects_mut().get_mut(place.hint..)? {
            if visit.batch.is_full() {
                return Some(Stop::Full);
            }
            if object.floor > next {
                return Some(Stop::Hole { until: object.arrived + limits.fill, resume: object.floor });
            }
            if object.is_unknown() {
                return Some(Stop::Lost { id: object.id });
            }
            // "the implementation MUST check the time elapsed since the first byte of the object before attempting
            // to pass it to the underlying transport" (draft-18 section 6).
            let age = visit.now.saturating_duration_since(object.arrived);
            if positive(timeouts.object).is_some_and(|timeout| age > timeout) {
                return Some(Stop::Late(Reason::Timeout));
            }
            if offset == 0 && limits.age.is_some_and(|limit| age > limit) {
                return Some(Stop::Late(Reason::Evicted));
            }
            if mode == Forwarding::Whole && !object.is_whole() {
                return Some(Stop::Wait);
            }
            let Some(view) = View::on_subgroup(object, previous, field) else { return Some(Stop::Reopen) };
            if !visit.batch.push_object(object, &view, offset) {
                let full = visit.batch.is_full() || object.is_whole();
                return Some(if full { Stop::Full } else { Stop::Wait });
            }
            (next, offset, previous) = (object.id.saturating_add(1), 0, Some(object.id));
        }
        Some(match end {
            End::Finished { .. } => Stop::Finished,
            End::Broken => Stop::Broken,
            End::Open | End::Reset(_) if ended => Stop::Broken,
            End::Open | End::Reset(_) => Stop::Wait,
        })
    }

    /// A finished subgroup without any object is forwarded as a stream without objects.
    fn owes_empty_stream(&self, at: usize, stop: Stop, visit: &Visit<'_>) -> bool {
        let Some(active) = self.in_flight.list.get(at) else { return false };
        let held = visit.log.groups.get(&active.group).and_then(|group| group.subgroups.get(&active.subgroup));
        let header_left = active.stream.as_ref().is_some_and(|open| !open.header.is_empty());
        let empty = held.is_some_and(|subgroup| subgroup.objects().is_empty());
        let owes = active.stream.is_none() && empty && active.place.next == 0;
        stop == Stop::Finished && (header_left || owes)
    }

    /// Offers the batch. `Ok(true)`: all of it was taken.
    fn write(&mut self, at: usize, visit: &mut Visit<'_>) -> Result<bool, Fate> {
        if !self.open(at, visit) {
            visit.selected.blocked = true;
            return Ok(false);
        }
        let active = self.in_flight.list.get_mut(at).ok_or(Fate::Remove)?;
        let open = active.stream.as_mut().ok_or(Fate::Keep)?;
        if !open.header.is_empty() {
            let taken = write_header(open, visit);
            if !self.settle_write(at, taken, visit)? {
                return Ok(false);
            }
        }
        let active = self.in_flight.list.get_mut(at).ok_or(Fate::Remove)?;
        let open = active.stream.as_mut().ok_or(Fate::Keep)?;
        if visit.batch.is_empty() {
            return Ok(true);
        }
        let taken = visit.batch.write(visit.sink, open.id);
        if let Ok(taken) = taken {
            let (objects, last) = visit.batch.ended(taken);
            self.tally.stats.objects += objects as u64;
            let done = last.map_or(0, |mark| mark.bytes);
            if let Some(last) = last {
                active.place = Place { next: last.id.saturating_add(1), hint: active.place.hint + objects, offset: 0 };
                open.previous = Some(last.id);
            }
            active.place.offset += taken - done;
        }
        self.settle_write(at, taken.map(|taken| (taken, visit.batch.bytes())), visit)
    }

    /// Books a write. `Ok(true)`: all was taken.
    fn settle_write(
        &mut self,
        at: usize,
        result: Result<(usize, usize), SinkError>,
        visit: &mut Visit<'_>,
    ) -> Result<bool, Fate> {
        match result {
            Ok((taken, offered)) => {
                visit.selected.wrote += taken;
                visit.selected.blocked |= taken < offered;
                Ok(taken == offered)
            }
            Err(SinkError::Stopped(_)) => {
                self.leave_out(at, Reason::Stopped, visit);
                Err(Fate::Remove)
            }
            Err(SinkError::Closed) => {
                if let Some(active) = self.in_flight.list.get_mut(at) {
                    active.stream = None;
                }
                self.leave_out(at, Reason::Stopped, visit);
                Err(Fate::Remove)
            }
        }
    }

    /// Whether `list[at]` has a stream now.
    fn open(&mut self, at: usize, visit: &mut Visit<'_>) -> bool {
        let Some(active) = self.in_flight.list.get(at) else { return false };
        if active.stream.is_some() {
            return true;
        }
        let default_priority = visit.log.default_priority();
        let Some(subgroup) = visit.log.subgroup_mut(active.group, active.subgroup) else { return false };
        let field = field_of(subgroup);
        let first = subgroup.objects().get(active.place.hint);
        let flag = |set: bool, flag| if set { flag } else { SubgroupFlags::NONE };
        let header = SubgroupHeader {
            alias: self.config.alias,
            group: active.group,
            subgroup: SubgroupId::from(active.subgroup),
            priority: (active.priority != default_priority).then_some(active.priority),
            flags: flag(field == Field::Present, SubgroupFlags::PROPERTIES)
                | flag(subgroup.end_of_group, SubgroupFlags::END_OF_GROUP)
                | flag(first.is_some_and(|object| object.floor == 0), SubgroupFlags::FIRST_OBJECT),
        };
        let Some(id) = visit.sink.open(Dir::Uni) else { return false };
        let mut bytes = BytesMut::with_capacity(SubgroupHeader::MAX_LEN);
        header.encode(&mut bytes);
        self.streams.opened += 1;
        let rank = self.in_flight.rank(at);
        let Some(active) = self.in_flight.list.get_mut(at) else { return false };
        active.state = State::Live;
        active.stream = Some(Outgoing { id, header: bytes.freeze(), field, previous: None });
        match rank {
            Some(rank) => {
                active.rank = rank;
                visit.sink.set_priority(id, priority_of(&self.config, active));
            }
            None => {
                self.in_flight.renumber();
                self.set_priorities(visit.sink);
            }
        }
        true
    }

    /// What follows once everything gathered was taken; `None`: gather again.
    fn after_write(&mut self, at: usize, stop: Stop, visit: &mut Visit<'_>) -> Option<Fate> {
        if visit.selected.wrote > BUDGET && stop == Stop::Full {
            visit.selected.pending = true;
            return Some(Fate::Keep);
        }
        let active = self.in_flight.list.get_mut(at)?;
        match stop {
            Stop::Full => None,
            Stop::Wait => Some(Fate::Keep),
            Stop::Hole { until, .. } if visit.now < until => {
                visit.wait_until(until);
                Some(Fate::Keep)
            }
            // "If the relay does not know if an Object is the next Object, it MUST reset the Subgroup stream and open
            // a new one to forward it" (draft-18 10.4.3).
            Stop::Hole { resume, .. } => {
                active.place = Place { next: resume, offset: 0, ..active.place };
                reset(active, ResetCode::DeliveryTimeout, visit);
                self.tally.stats.dropped.incomplete += 1;
                None
            }
            Stop::Lost { id } => {
                active.place = Place { next: id.saturating_add(1), offset: 0, ..active.place };
                reset(active, ResetCode::DeliveryTimeout, visit);
                self.tally.stats.dropped.incomplete += 1;
                None
            }
            Stop::Late(reason) => {
                visit.behind = visit.behind.max(Some(active.group));
                self.leave_out(at, reason, visit);
                Some(Fate::Remove)
            }
            Stop::Reopen => {
                reset(active, ResetCode::InternalError, visit);
                None
            }
            Stop::Finished => {
                self.finish(at, visit);
                Some(Fate::Remove)
            }
            Stop::Broken => {
                // Another source may take the subgroup up again; it goes on from here on a new stream then.
                active.state = State::Parked;
                reset(active, ResetCode::DeliveryTimeout, visit);
                Some(if visit.log.ended() { Fate::Remove } else { Fate::Keep })
            }
        }
    }

    /// "If a sender has delivered all objects in a Subgroup to the QUIC stream [..] it MUST close the stream with a
    /// FIN" (draft-18 10.4.3).
    fn finish(&mut self, at: usize, visit: &mut Visit<'_>) {
        let Some(active) = self.in_flight.list.get_mut(at) else { return };
        let Some(open) = active.stream.take() else { return };
        visit.sink.finish(open.id);
        self.streams.finished.push((active.group, open.id));
        let ended = visit.log.subgroup_mut(active.group, active.subgroup).map(|subgroup| subgroup.end);
        if let (Some(End::Finished { at, .. }), Some(timeout)) = (ended, positive(self.config.timeouts.subgroup)) {
            self.streams.closing.push((open.id, at + timeout));
        }
    }

    /// When what the transport did not take will be too old.
    fn note_deadline(&self, at: usize, visit: &mut Visit<'_>) {
        let timeouts = self.config.timeouts;
        let Some(active) = self.in_flight.list.get(at) else { return };
        let Some(subgroup) = visit.log.subgroup_mut(active.group, active.subgroup) else { return };
        let oldest = subgroup.objects().get(subgroup.position(active.place.next, active.place.hint));
        let object = oldest.and_then(|object| Some(object.arrived + positive(timeouts.object)?));
        let finished = match (subgroup.end, positive(timeouts.subgroup)) {
            (End::Finished { at, .. }, Some(timeout)) => Some(at + timeout),
            _ => None,
        };
        // Elapsed time has to exceed the timeout.
        let exceeds = object.map(|at| at + Duration::from_nanos(1));
        [exceeds, finished].into_iter().flatten().for_each(|at| visit.wait_until(at));
    }
}

fn write_header(open: &mut Outgoing, visit: &mut Visit<'_>) -> Result<(usize, usize), SinkError> {
    let offered = open.header.len();
    let mut chunk = [std::mem::take(&mut open.header)];
    let taken = visit.sink.write(open.id, &mut chunk);
    let [rest] = chunk;
    open.header = rest;
    taken.map(|taken| (taken, offered))
}

fn reset(active: &mut Active, code: ResetCode, visit: &mut Visit<'_>) {
    if let Some(open) = active.stream.take() {
        visit.sink.reset(open.id, code.code());
    }
}

const fn field_of(subgroup: &Subgroup) -> Field {
    if subgroup.properties { Field::Present } else { Field::Absent }
}
