//! One group: its subgroups, its end, and the ids known not to exist.

use crate::gaps::Gaps;
use crate::object::Object;
use crate::subgroup::{End, Halves, Subgroup};
use std::collections::BTreeMap;
use std::time::Instant;

/// Holes of one group that are looked at when something arrives; those beyond close by back-fill or time out only.
const MAX_HOLES: usize = 64;

/// Everything known of one group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) subgroups: BTreeMap<u64, Subgroup>,
    /// When its first byte came.
    pub(crate) born: Instant,
    /// When its newest object began.
    pub(crate) newest: Instant,
    /// First id that does not exist, once the final object is known.
    pub(crate) end: Option<u64>,
    /// The group gap that its objects claim (draft-18 11.7).
    pub(crate) group_gap: Option<u64>,
    /// Objects in all subgroups, and datagrams.
    pub(crate) objects: usize,
    /// Ids of datagram objects, ascending.
    pub(crate) datagrams: Vec<u64>,
    /// Ids ruled out by PRIOR_OBJECT_ID_GAP: contradicting them makes the track malformed (draft-18 11.8).
    pub(crate) gap_property: Gaps,
    /// Ids ruled out by gaps on fetch streams: an object that comes nevertheless is ignored (draft-18 2.1, 8.1).
    pub(crate) gap_fetched: Gaps,
    holes: Vec<Hole>,
}

/// An object whose predecessor in its subgroup is unknown.
#[derive(Debug, Clone, Copy)]
struct Hole {
    subgroup: u64,
    object: u64,
    /// Every id from the predecessor's up to here is accounted for.
    checked: u64,
}

impl Group {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            subgroups: BTreeMap::new(),
            born: now,
            newest: now,
            end: None,
            group_gap: None,
            objects: 0,
            datagrams: Vec::new(),
            gap_property: Gaps::new(),
            gap_fetched: Gaps::new(),
            holes: Vec::new(),
        }
    }

    /// The object with this id, and its subgroup.
    pub(crate) fn find(&self, id: u64) -> Option<(u64, &Object)> {
        self.subgroups.iter().find_map(|(key, subgroup)| Some((*key, subgroup.find(id)?)))
    }

    /// The smallest id of an object at or after `id`, and its subgroup; `None` as subgroup: a datagram.
    pub(crate) fn next_object(&self, id: u64) -> Option<(u64, Option<u64>)> {
        let in_subgroups = self.subgroups.iter().filter_map(|(key, subgroup)| {
            let object = subgroup.objects().get(subgroup.position(id, subgroup.objects().len()))?;
            Some((object.id, Some(*key)))
        });
        let datagram = self.datagrams.get(self.datagrams.partition_point(|held| *held < id));
        in_subgroups.chain(datagram.map(|id| (*id, None))).min()
    }

    /// Largest id of any object.
    pub(crate) fn last_id(&self) -> Option<u64> {
        let in_subgroups = self.subgroups.values().filter_map(Subgroup::last_id).max();
        in_subgroups.max(self.datagrams.last().copied())
    }

    /// Whether an object is held in `from..to`.
    pub(crate) fn holds_any(&self, from: u64, to: u64) -> bool {
        self.next_object(from).is_some_and(|(id, _)| id < to)
    }

    /// Where the run of ids known not to exist ends that contains `id`.
    pub(crate) fn absent_until(&self, id: u64) -> Option<u64> {
        let ended = self.end.filter(|end| *end <= id).map(|_| u64::MAX);
        ended.or_else(|| self.gap_property.end_of(id).max(self.gap_fetched.end_of(id)))
    }

    /// Whether every id of `from..to` is known not to exist.
    pub(crate) fn all_absent(&self, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            let Some(end) = self.absent_until(at) else { return false };
            at = end;
        }
        true
    }

    /// Whether nothing of the group is missing: its end is known and every id before it is there or absent.
    pub(crate) fn is_complete(&self) -> bool {
        let arrived = |subgroup: &Subgroup| subgroup.objects().iter().all(Object::is_whole);
        self.end.is_some_and(|end| self.accounted_until(0, end) >= end) && self.subgroups.values().all(arrived)
    }

    /// Whether a stream may still bring objects of it.
    pub(crate) fn is_written(&self) -> bool {
        self.subgroups.values().any(|subgroup| subgroup.writers > 0)
    }

    /// Whether a stream may still bring objects of it, or another source take up what one left half done.
    pub(crate) fn is_awaited(&self) -> bool {
        let awaited = |subgroup: &Subgroup| {
            matches!(subgroup.end, End::Reset(_)) || subgroup.objects().iter().any(Object::is_filling)
        };
        self.is_written() || self.subgroups.values().any(awaited)
    }

    /// Whether it is held from object 0 on without a hole.
    pub(crate) fn is_join_point(&self) -> bool {
        let starts = self.next_object(0).is_some_and(|(first, _)| self.all_absent(0, first));
        starts && self.subgroups.values().all(Subgroup::is_whole_from_start)
    }

    /// First id at or after `from` that is missing, as far as its subgroups tell.
    pub(crate) fn first_missing(&self, from: u64, halves: Halves) -> Option<u64> {
        let missing = self.subgroups.values().filter_map(|subgroup| subgroup.first_missing(from, halves));
        missing.filter(|id| self.absent_until(*id).is_none()).min()
    }

    /// An object with an unknown predecessor arrived.
    pub(crate) fn note_hole(&mut self, subgroup: u64, object: u64) {
        if self.holes.len() < MAX_HOLES {
            self.holes.push(Hole { subgroup, object, checked: 0 });
        }
    }

    /// An object arrived: closes holes that other subgroups and gaps account for ("all Object IDs between the current
    /// and previous Object IDs on the Subgroup stream belong to different Subgroups or do not exist", draft-18
    /// 10.4.3). Returns whether one closed.
    pub(crate) fn settle_holes(&mut self) -> bool {
        if self.holes.is_empty() {
            return false;
        }
        let mut holes = std::mem::take(&mut self.holes);
        let before = holes.len();
        holes.retain_mut(|hole| !self.close_hole(hole));
        let closed = holes.len() < before;
        self.holes = holes;
        closed
    }

    /// A stream ended or ids were ruled out: also ends subgroups that nobody writes and that cannot go on.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        let mut changed = self.settle_holes();
        let over = |subgroup: &Subgroup| subgroup.writers == 0 && !matches!(subgroup.end, End::Finished { .. });
        let keys: Vec<u64> = self.subgroups.iter().filter(|(_, s)| over(s)).map(|(key, _)| *key).collect();
        for key in keys {
            let next = self.subgroups.get(&key).and_then(Subgroup::last_id).map_or(0, |last| last.saturating_add(1));
            let accounted = self.accounted_until(next, u64::MAX) == u64::MAX;
            if let Some(subgroup) = self.subgroups.get_mut(&key).filter(|_| accounted) {
                subgroup.end = End::Finished { at: now, next: None };
                changed = true;
            }
        }
        changed
    }

    /// Whether the hole is closed, by what arrived or because all ids in it are accounted for.
    fn close_hole(&mut self, hole: &mut Hole) -> bool {
        let Some(subgroup) = self.subgroups.get(&hole.subgroup) else { return true };
        let index = subgroup.position(hole.object, subgroup.objects().len());
        let Some(object) = subgroup.objects().get(index).filter(|object| object.id == hole.object) else { return true };
        if subgroup.follows(index) {
            return true;
        }
        let before = index.checked_sub(1).and_then(|before| subgroup.objects().get(before));
        let next = before.map_or(0, |before| before.id.saturating_add(1));
        let floor = object.floor;
        hole.checked = self.accounted_until(next.max(hole.checked), floor);
        if hole.checked < floor {
            return false;
        }
        if let Some(object) = self.subgroups.get_mut(&hole.subgroup).and_then(|s| s.objects_mut().get_mut(index)) {
            object.floor = next;
        }
        true
    }

    /// First id of `from..to` that is neither held nor absent, or an id from `to` on.
    fn accounted_until(&self, from: u64, to: u64) -> u64 {
        let mut at = from;
        while at < to {
            let held = self.next_object(at).is_some_and(|(id, _)| id == at);
            match self.absent_until(at).or_else(|| held.then(|| at + 1)) {
                Some(next) => at = next,
                None => return at,
            }
        }
        at
    }
}
