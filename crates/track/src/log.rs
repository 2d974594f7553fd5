//! One track.

use crate::arena::Arena;
use crate::births::Births;
use crate::datagrams::Datagrams;
use crate::gaps::Gaps;
use crate::group::Group;
use crate::object::Object;
use crate::range::{FetchPlan, FetchRange, RangeError, after};
use crate::subgroup::{End, Halves, Priority, Subgroup};
use crate::walk::Walk;
use crate::writer::Writers;
use crate::{Forwarding, Limit, Limits, Malformed, Progress, SourceId, WriteError};
use sluice_moqt::types::{GroupOrder, Location};
use std::collections::BTreeMap;
use std::time::Instant;

/// Sources of one track at once.
const MAX_SOURCES: usize = 64;

/// Everything held of one track, written by its sources, read by cursors and fetch readers.
///
/// Groups once evicted stay so: what arrives for them later is ignored.
#[derive(Debug)]
pub struct Log {
    limits: Limits,
    default_priority: u8,
    pub(crate) groups: BTreeMap<u64, Group>,
    pub(crate) arena: Arena,
    pub(crate) writers: Writers,
    pub(crate) births: Births,
    pub(crate) datagrams: Datagrams,
    pub(crate) progress: Progress,
    sources: BTreeMap<SourceId, Location>,
    edge: Edge,
    waits: Waits,
}

/// What [`Log::trim`] leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The newest group that is complete, and everything after it: readers in it go on undisturbed.
    WholeGroup,
    /// The newest group that readers can start at, however much of it is there.
    JoinPoint,
}

/// What is known about the two ends of the track.
#[derive(Debug, Default)]
struct Edge {
    largest: Option<Location>,
    /// First location that does not exist, once the final object is known.
    end: Option<Location>,
    /// No source will add anything.
    ended: bool,
    /// Groups ruled out by PRIOR_GROUP_ID_GAP.
    group_gaps: Gaps,
    /// Groups known not to exist, from whatever source.
    absent: Gaps,
    /// Groups below are gone for good.
    evicted_below: u64,
    evicted: u64,
}

/// Subgroups whose streams were all reset, and until when another source may take them up.
#[derive(Debug, Default)]
struct Waits {
    until: BTreeMap<(u64, u64), Instant>,
    next: Option<Instant>,
}

impl Log {
    /// An empty track whose subgroups have `default_priority` where their header does not say
    /// (DEFAULT_PUBLISHER_PRIORITY, 128 where the track does not say).
    #[must_use]
    pub fn new(limits: Limits, default_priority: u8) -> Self {
        Self {
            limits,
            default_priority,
            groups: BTreeMap::new(),
            arena: Arena::new(),
            writers: Writers::default(),
            births: Births::default(),
            datagrams: Datagrams::default(),
            progress: Progress::default(),
            sources: BTreeMap::new(),
            edge: Edge::default(),
            waits: Waits::default(),
        }
    }

    /// A source joins. `start`: where its subscription starts, as far as known: no object from there on is missing at
    /// the front of its streams. Not needed for sources that start with the track.
    pub fn add_source(&mut self, source: SourceId, start: Option<Location>) {
        if let Some(start) = start
            && self.sources.len() < MAX_SOURCES
        {
            self.sources.insert(source, start);
        }
    }

    /// A source is gone: all its writers are reset.
    pub fn remove_source(&mut self, now: Instant, source: SourceId) {
        self.sources.remove(&source);
        for writer in self.writers.ids(Some(source)) {
            self.reset(now, writer);
        }
    }

    /// No source will add anything any more (PUBLISH_DONE of the last one). What is half there is given up.
    pub fn end_track(&mut self, now: Instant) {
        for writer in self.writers.ids(None) {
            self.reset(now, writer);
        }
        self.edge.ended = true;
        self.progress.ended = true;
        self.waits = Waits::default();
        let keys: Vec<(u64, u64)> =
            self.groups.iter().flat_map(|(id, group)| group.subgroups.keys().map(|key| (*id, *key))).collect();
        for (group, subgroup) in keys {
            self.give_up(group, subgroup);
        }
    }

    /// A source took the track up again after [`Log::end_track`].
    pub fn resume_track(&mut self) {
        self.edge.ended = false;
    }

    /// What happened since the last call.
    pub fn take_progress(&mut self) -> Progress {
        std::mem::take(&mut self.progress)
    }

    /// Largest location of which a byte has arrived through a subscription (draft-18 5.1.2).
    #[must_use]
    pub const fn largest(&self) -> Option<Location> {
        self.edge.largest
    }

    /// SUBSCRIBE_OK of the upstream said that the track has come this far (LARGEST_OBJECT, draft-18 9.2.10).
    pub fn learn_largest(&mut self, location: Location) {
        self.note_largest(location);
    }

    /// Whether [`Log::end_track`] was called or the final object of the track is known.
    #[must_use]
    pub const fn ended(&self) -> bool {
        self.edge.ended || self.edge.end.is_some()
    }

    /// Whether a reader may start at this group: held from object 0 on without a hole.
    #[must_use]
    pub fn is_join_point(&self, group: u64) -> bool {
        self.groups.get(&group).is_some_and(Group::is_join_point)
    }

    /// The newest group a reader may start at.
    #[must_use]
    pub fn newest_join_point(&self) -> Option<u64> {
        self.groups.iter().rev().find(|(_, group)| group.is_join_point()).map(|(id, _)| *id)
    }

    /// Whether no join point lies between these two.
    pub(crate) fn is_next_join_point(&self, before: u64, after: u64) -> bool {
        let between = self.groups.range(before.saturating_add(1)..after);
        between.into_iter().all(|(_, group)| !group.is_join_point())
    }

    /// Oldest group held.
    #[must_use]
    pub fn oldest_group(&self) -> Option<u64> {
        self.groups.first_key_value().map(|(id, _)| *id)
    }

    /// First location at or after `from` that is missing and that nobody is about to bring, as far as the held groups
    /// tell.
    #[must_use]
    pub fn first_missing(&self, from: Location) -> Option<Location> {
        self.first(from, Halves::UnderWay)
    }

    /// The same where an object of which only a part is here counts as missing, too, whoever is at work on it: where a
    /// source that takes over has to fetch from, as the others may go before they have finished.
    #[must_use]
    pub fn first_unfinished(&self, from: Location) -> Option<Location> {
        self.first(from, Halves::Missing)
    }

    fn first(&self, from: Location, halves: Halves) -> Option<Location> {
        self.groups.range(from.group..).find_map(|(id, group)| {
            let first = if *id == from.group { from.object } else { 0 };
            group.first_missing(first, halves).map(|object| Location::new(*id, object))
        })
    }

    /// Where in `range` the first stretch begins that nothing is known about and nothing under way will tell about: what
    /// to fetch before the range is served. Groups that were evicted do not come back.
    #[must_use]
    pub fn first_unknown(&self, range: FetchRange) -> Option<Location> {
        let first = range.first.max(Location::new(self.edge.evicted_below, 0));
        if first > range.last {
            return None;
        }
        let walk = Walk::new(FetchRange { first, ..range }, GroupOrder::Ascending, Forwarding::CutThrough);
        walk.first_unknown(self)
    }

    /// Cuts a fetch at the largest location (draft-18 9.12.3).
    pub fn plan_fetch(&self, range: FetchRange) -> Result<FetchPlan, RangeError> {
        let largest = self.edge.largest.filter(|largest| range.first <= *largest).ok_or(RangeError::Future)?;
        // A request for whole groups is answered with the end of what exists of them.
        let last = range.last.min(largest);
        let range = FetchRange { first: range.first, last };
        let end_of_track = self.edge.end.is_some_and(|end| after(last) >= end || last.group > end.group);
        Ok(FetchPlan { range, end: range.wire_end(), end_of_track })
    }

    /// Whether a subscription with this range would be answered with nothing ("if the entire End Group has already
    /// been published it SHOULD send a REQUEST_ERROR with code `INVALID_RANGE`", draft-18 5.1.2).
    pub fn check_range(&self, range: crate::Range) -> Result<(), RangeError> {
        let Some(end_group) = range.end_group else { return Ok(()) };
        let published = self.edge.largest.is_some_and(|largest| {
            largest.group > end_group
                || (largest.group == end_group && self.groups.get(&end_group).is_some_and(Group::is_complete))
        });
        if published { Err(RangeError::Published { end_group }) } else { Ok(()) }
    }

    /// Arena bytes held.
    #[must_use]
    pub const fn bytes_held(&self) -> usize {
        self.arena.held()
    }

    /// Arena bytes of evicted groups that transports still hold, as of the last eviction or [`Log::settle_memory`].
    #[must_use]
    pub const fn bytes_retained(&self) -> usize {
        self.arena.retained()
    }

    /// Gives back what transports have let go of.
    pub fn settle_memory(&mut self) {
        self.arena.settle();
    }

    /// Memory is short: evicts what is older than what `keep` says.
    pub fn trim(&mut self, keep: Keep) {
        let whole = || self.groups.iter().rev().find(|(_, group)| group.is_complete()).map(|(id, _)| *id);
        let first = match keep {
            Keep::WholeGroup => whole().or_else(|| self.newest_join_point()),
            Keep::JoinPoint => self.newest_join_point(),
        };
        let Some(first) = first.or_else(|| self.groups.last_key_value().map(|(id, _)| *id)) else { return };
        while let Some((oldest, _)) = self.groups.first_key_value().filter(|(oldest, _)| **oldest < first) {
            self.evict(*oldest);
        }
        self.datagrams.forget_below(first, &mut self.arena);
        self.arena.settle();
    }

    /// Groups evicted so far to stay within the limits.
    #[must_use]
    pub const fn groups_evicted(&self) -> u64 {
        self.edge.evicted
    }

    /// Age limits and the fill timeout; call when [`Log::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((oldest, _)) = self.next_expiry().filter(|(_, at)| *at <= now) {
            self.evict(oldest);
        }
        if let Some(age) = self.limits.held_for() {
            self.datagrams.expire(now, age, &mut self.arena);
        }
        let due: Vec<(u64, u64)> = self.waits.until.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
        for (group, subgroup) in due {
            self.waits.until.remove(&(group, subgroup));
            self.give_up(group, subgroup);
        }
        self.waits.next = self.waits.until.values().min().copied();
    }

    /// When to call [`Log::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let aged = self.next_expiry().map(|(_, at)| at);
        [aged, self.waits.next].into_iter().flatten().min()
    }

    /// The oldest group, and when it is too old.
    fn next_expiry(&self) -> Option<(u64, Instant)> {
        let (oldest, group) = self.groups.first_key_value().filter(|(_, group)| !group.is_written())?;
        let window = self.limits.window.filter(|_| self.groups.len() > 1);
        let age = [self.limits.age, window].into_iter().flatten().min()?;
        Some((*oldest, group.newest + age))
    }

    // ---- for the writing and reading halves

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) const fn default_priority(&self) -> u8 {
        self.default_priority
    }

    /// Publisher priority in the newest group.
    pub(crate) fn newest_priority(&self) -> u8 {
        let newest = self.groups.last_key_value().and_then(|(_, group)| group.subgroups.values().next());
        newest.map_or(self.default_priority, |subgroup| subgroup.priority.value())
    }

    pub(crate) const fn track_end(&self) -> Option<Location> {
        self.edge.end
    }

    pub(crate) const fn group_gaps(&self) -> &Gaps {
        &self.edge.group_gaps
    }

    pub(crate) fn add_group_gap(&mut self, from: u64, to: u64) {
        self.edge.group_gaps.insert(from, to);
        self.edge.absent.insert(from, to);
    }

    /// A fetch said that `from..to` do not exist; what is held or comes nevertheless takes precedence.
    pub(crate) fn add_absent_groups(&mut self, from: u64, to: u64) {
        self.edge.absent.insert(from, to);
    }

    /// Whether none of the groups `from..to`, which are not held, exist.
    pub(crate) fn groups_absent(&self, from: u64, to: u64) -> bool {
        self.edge.absent.covers(from, to)
    }

    pub(crate) const fn is_evicted(&self, group: u64) -> bool {
        group < self.edge.evicted_below
    }

    pub(crate) fn source_start(&self, source: SourceId) -> Option<Location> {
        self.sources.get(&source).copied()
    }

    pub(crate) fn subgroup_mut(&mut self, group: u64, subgroup: u64) -> Option<&mut Subgroup> {
        self.groups.get_mut(&group)?.subgroups.get_mut(&subgroup)
    }

    pub(crate) fn object(&self, group: u64, subgroup: u64, id: u64) -> Option<&Object> {
        self.groups.get(&group)?.subgroups.get(&subgroup)?.find(id)
    }

    pub(crate) fn note_largest(&mut self, location: Location) {
        self.edge.largest = self.edge.largest.max(Some(location));
    }

    /// The final object lies before `end`; told once, by an END_OF_TRACK object or a fetch.
    pub(crate) fn set_track_end(&mut self, end: Location) {
        self.edge.end = self.edge.end.or(Some(end));
        self.progress.ended = true;
    }

    /// As [`Log::set_track_end`], for an end that objects may contradict.
    pub(crate) fn end_track_at(&mut self, end: Location) -> Result<(), Malformed> {
        if let Some(location) = self.edge.largest.filter(|largest| *largest > end) {
            return Err(Malformed::BeyondTrack { location });
        }
        self.set_track_end(end);
        Ok(())
    }

    /// Whether a hole at `location` may still be filled: by a stream of the group, or by a fetch that has yet to tell.
    pub(crate) fn expects(&self, location: Location) -> bool {
        self.groups.get(&location.group).is_some_and(Group::is_awaited) || self.writers.fetching(location)
    }

    /// Creates group and subgroup where they are missing.
    pub(crate) fn ensure_subgroup(
        &mut self,
        now: Instant,
        group_id: u64,
        subgroup: u64,
        priority: Priority,
    ) -> Result<(), Limit> {
        if !self.ensure_group(now, group_id) {
            return Ok(());
        }
        let Some(group) = self.groups.get_mut(&group_id) else { return Ok(()) };
        if group.subgroups.contains_key(&subgroup) {
            return Ok(());
        }
        if group.subgroups.len() >= self.limits.subgroups_per_group {
            return Err(Limit::Subgroups(self.limits.subgroups_per_group));
        }
        group.subgroups.insert(subgroup, Subgroup::new(priority));
        self.births.push(group_id, subgroup);
        Ok(())
    }

    /// Whether the group is there now; the oldest one makes room, be it this one.
    pub(crate) fn ensure_group(&mut self, now: Instant, group: u64) -> bool {
        self.groups.entry(group).or_insert_with(|| Group::new(now));
        while self.groups.len() > self.limits.groups.max(1) {
            let Some((oldest, _)) = self.groups.first_key_value() else { break };
            self.evict(*oldest);
        }
        self.groups.contains_key(&group)
    }

    /// One more object in the group.
    pub(crate) fn count_object(&mut self, group: u64) -> Result<(), Limit> {
        let Some(group) = self.groups.get_mut(&group) else { return Ok(()) };
        if group.objects >= self.limits.objects_per_group {
            return Err(Limit::Objects(self.limits.objects_per_group));
        }
        group.objects += 1;
        Ok(())
    }

    /// Evicts the oldest groups until an object piece of `bytes` fits; the newest group stays.
    pub(crate) fn make_room(&mut self, bytes: usize) -> Result<(), WriteError> {
        while bytes > 0 && self.arena.held() + self.arena.growth(bytes) > self.limits.bytes {
            match self.groups.first_key_value() {
                Some((oldest, _)) if self.groups.len() > 1 => self.evict(*oldest),
                _ => return Err(Limit::Bytes(self.limits.bytes).into()),
            }
        }
        Ok(())
    }

    /// A subgroup lost its last writer before it was complete: others have the fill timeout to take it up.
    pub(crate) fn await_fill(&mut self, now: Instant, group: u64, subgroup: u64) {
        let until = now + self.limits.fill;
        self.waits.until.insert((group, subgroup), until);
        self.waits.next = Some(self.waits.next.map_or(until, |next| next.min(until)));
    }

    /// What nobody completed is unknown from now on, never complete.
    fn give_up(&mut self, group: u64, subgroup: u64) {
        let arena = &mut self.arena;
        let held = self.groups.get_mut(&group).and_then(|group| group.subgroups.get_mut(&subgroup));
        let Some(held) = held.filter(|held| held.writers == 0) else { return };
        for object in held.objects_mut().iter_mut().filter(|object| object.is_filling()) {
            object.give_up(arena);
        }
        if matches!(held.end, End::Open | End::Reset(_)) {
            held.end = End::Broken;
        }
        self.progress.whole = true;
    }

    fn evict(&mut self, id: u64) {
        let Some(group) = self.groups.remove(&id) else { return };
        for object in group.subgroups.values().flat_map(Subgroup::objects) {
            object.release(&mut self.arena);
        }
        self.edge.evicted += 1;
        self.edge.evicted_below = self.edge.evicted_below.max(id.saturating_add(1));
        self.edge.group_gaps.forget_below(id);
        self.edge.absent.forget_below(id);
        self.progress.whole = true;
        drop(group);
        self.arena.settle();
    }
}
