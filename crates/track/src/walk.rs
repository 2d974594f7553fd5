//! The way of a fetch through a log: which object comes next, and whether anything before it is unknown.

use crate::group::Group;
use crate::range::after;
use crate::{FetchRange, Forwarding, Log};
use sluice_moqt::Location;
use sluice_moqt::types::{GroupOrder, ObjectStatus};

/// A place between two objects of a fetch.
#[derive(Debug)]
pub(crate) struct Walk {
    range: FetchRange,
    order: GroupOrder,
    mode: Forwarding,
    /// Next location to look at; `None`: the range is done.
    at: Option<Location>,
    /// Something between the last object and `at` is unknown.
    unknown: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// An object. `unknown`: the objects before it, up to there, are unknown.
    Object { location: Location, subgroup: Option<u64>, unknown: Option<Location> },
    /// The end of the range.
    End { unknown: Option<Location> },
    /// Something at this location may still arrive.
    Wait(Location),
}

/// What to make of an object that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Some source may still bring it: wait.
    MayCome,
    /// Its state is unknown.
    IsUnknown,
}

/// What a group says about the next location.
enum Look {
    /// This object can go out.
    Object(u64, Option<u64>),
    /// Nothing here up to this id; go on there.
    Skip(u64),
    /// As [`Look::Skip`], but the ids before it are unknown.
    Unknown(u64),
    /// Nothing more in this group.
    Done,
    /// As [`Look::Done`], but the rest is unknown.
    DoneUnknown,
    Wait,
}

impl Walk {
    pub(crate) fn new(range: FetchRange, order: GroupOrder, mode: Forwarding) -> Self {
        let mut walk = Self { range, order, mode, at: None, unknown: false };
        walk.at = match order {
            GroupOrder::Ascending => Some(range.first),
            GroupOrder::Descending => Some(Location::new(range.last.group, walk.first_in(range.last.group))),
        };
        walk
    }

    /// Where the first stretch begins that nothing is known about and nothing will tell about.
    pub(crate) fn first_unknown(mut self, log: &Log) -> Option<Location> {
        let mut from = self.range.first;
        loop {
            match self.next(log, Missing::MayCome) {
                Step::Object { unknown: Some(_), .. } | Step::End { unknown: Some(_) } => return Some(from),
                Step::Object { location, unknown: None, .. } => from = after(location),
                Step::Wait(_) => return self.unknown.then_some(from),
                Step::End { unknown: None } => return None,
            }
        }
    }

    /// The next step. `missing`: whether there is still time to wait for what may come.
    pub(crate) fn next(&mut self, log: &Log, missing: Missing) -> Step {
        while let Some(at) = self.at {
            let missing = if log.expects(at) { missing } else { Missing::IsUnknown };
            let Some(group) = log.groups.get(&at.group) else {
                if missing == Missing::MayCome {
                    return Step::Wait(at);
                }
                self.skip_missing_groups(log, at.group);
                continue;
            };
            match self.look(log, group, at, missing) {
                Look::Wait => return Step::Wait(at),
                Look::Object(id, subgroup) => {
                    let location = Location::new(at.group, id);
                    self.at = Some(location);
                    let unknown = std::mem::take(&mut self.unknown).then(|| self.before(location));
                    self.advance(location);
                    return Step::Object { location, subgroup, unknown };
                }
                Look::Skip(id) => self.at = Some(Location::new(at.group, id)),
                Look::Unknown(id) => {
                    self.unknown = true;
                    self.at = Some(Location::new(at.group, id));
                }
                Look::Done => self.at = self.next_group(log, at.group),
                Look::DoneUnknown => {
                    self.unknown = true;
                    self.at = self.next_group(log, at.group);
                }
            }
        }
        Step::End { unknown: std::mem::take(&mut self.unknown).then(|| self.last()) }
    }

    fn look(&self, log: &Log, group: &Group, at: Location, missing: Missing) -> Look {
        let last = self.last_in(at.group);
        if at.object > last {
            return Look::Done;
        }
        let next = group.next_object(at.object).filter(|(id, _)| *id <= last);
        let until = next.map_or_else(|| last.saturating_add(1), |(id, _)| id);
        if !group.all_absent(at.object, until) {
            return match next {
                _ if missing == Missing::MayCome => Look::Wait,
                Some((id, _)) => Look::Unknown(id),
                None => Look::DoneUnknown,
            };
        }
        let Some((id, subgroup)) = next else { return Look::Done };
        let beyond = |look: fn(u64) -> Look| id.checked_add(1).map_or(Look::Done, look);
        let Some(key) = subgroup else {
            return match log.datagrams.find(Location::new(at.group, id)) {
                Some(held) if held.object.status == ObjectStatus::Normal => Look::Object(id, None),
                // It told about the end of the group; a fetch says that by a gap.
                Some(_) => beyond(Look::Skip),
                None => beyond(Look::Unknown),
            };
        };
        let Some(object) = group.subgroups.get(&key).and_then(|subgroup| subgroup.find(id)) else {
            return beyond(Look::Unknown);
        };
        match object.status {
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => beyond(Look::Skip),
            ObjectStatus::Normal if object.is_unknown() => beyond(Look::Unknown),
            ObjectStatus::Normal if self.mode == Forwarding::Whole && !object.is_whole() => {
                if missing == Missing::MayCome { Look::Wait } else { beyond(Look::Unknown) }
            }
            ObjectStatus::Normal => Look::Object(id, subgroup),
        }
    }

    /// On to the first object after `location` in its group.
    fn advance(&mut self, location: Location) {
        // An id of 2^64 - 1 has nothing after it; looking at it again would send it twice.
        self.at = match location.object.checked_add(1) {
            Some(object) => Some(Location::new(location.group, object)),
            None => self.neighbour(location.group),
        };
    }

    /// The held group that follows; groups in between are unknown unless something rules them out.
    fn next_group(&mut self, log: &Log, group: u64) -> Option<Location> {
        let next = self.neighbour(group)?;
        if !log.groups.contains_key(&next.group) && !log.expects(next) {
            self.skip_missing_groups(log, next.group);
            return self.at;
        }
        Some(next)
    }

    /// From a group that is not held to the next one that is.
    fn skip_missing_groups(&mut self, log: &Log, from: u64) {
        let (first, last) = (self.range.first.group, self.range.last.group);
        let (next, missing) = match self.order {
            GroupOrder::Ascending => {
                let next = log.groups.range(from..=last.max(from)).next().map(|(id, _)| *id);
                (next, (from, next.unwrap_or_else(|| last.saturating_add(1))))
            }
            GroupOrder::Descending => {
                let next = log.groups.range(first.min(from)..=from).next_back().map(|(id, _)| *id);
                (next, (next.map_or(first, |next| next.saturating_add(1)), from.saturating_add(1)))
            }
        };
        self.unknown |= !log.groups_absent(missing.0, missing.1);
        self.at = next.map(|group| Location::new(group, self.first_in(group)));
    }

    /// Where the group after `group` in the order begins, within the range.
    fn neighbour(&self, group: u64) -> Option<Location> {
        let next = match self.order {
            GroupOrder::Ascending => group.checked_add(1).filter(|next| *next <= self.range.last.group),
            GroupOrder::Descending => group.checked_sub(1).filter(|next| *next >= self.range.first.group),
        };
        next.map(|group| Location::new(group, self.first_in(group)))
    }

    const fn first_in(&self, group: u64) -> u64 {
        if group == self.range.first.group { self.range.first.object } else { 0 }
    }

    const fn last_in(&self, group: u64) -> u64 {
        if group == self.range.last.group { self.range.last.object } else { u64::MAX }
    }

    /// The location before `location` in the order of the fetch.
    const fn before(&self, location: Location) -> Location {
        match (location.object.checked_sub(1), self.order) {
            (Some(object), _) => Location::new(location.group, object),
            (None, GroupOrder::Ascending) => Location::new(location.group.saturating_sub(1), u64::MAX),
            (None, GroupOrder::Descending) => Location::new(location.group.saturating_add(1), u64::MAX),
        }
    }

    /// The last location in the order of the fetch.
    const fn last(&self) -> Location {
        match self.order {
            GroupOrder::Ascending => self.range.last,
            GroupOrder::Descending => Location::new(self.range.first.group, self.last_in(self.range.first.group)),
        }
    }
}
