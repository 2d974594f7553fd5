//! A subgroup that a cursor is sending: its place and its stream.

use crate::Log;
use crate::batch::Field;
use crate::subgroup::Subgroup;
use bytes::Bytes;
use sluice_moqt::transport::StreamId;
use sluice_moqt::types::GroupOrder;
use std::time::Instant;

/// One subgroup on its way to one reader.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) group: u64,
    pub(crate) subgroup: u64,
    /// Publisher priority.
    pub(crate) priority: u8,
    /// Place of the group among those in flight.
    pub(crate) rank: u8,
    pub(crate) place: Place,
    pub(crate) stream: Option<Outgoing>,
    pub(crate) state: State,
}

/// Whether a subgroup goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It does, as far as known.
    Live,
    /// All that is held was sent, and no source writes it any more.
    Parked,
    /// The subscriber sent STOP_SENDING.
    Stopped,
}

/// How far a subgroup was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// Smallest id that was neither sent nor ruled out.
    pub(crate) next: u64,
    /// Where that was in the subgroup when last looked at.
    pub(crate) hint: usize,
    /// Bytes of the object's view that the transport took; above 0 only while `next` is exactly that object.
    pub(crate) offset: usize,
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: StreamId,
    /// What the transport has not taken yet of SUBGROUP_HEADER.
    pub(crate) header: Bytes,
    pub(crate) field: Field,
    /// Last object on the stream.
    pub(crate) previous: Option<u64>,
}

impl Active {
    /// Since when some byte could be sent but for the transport.
    pub(crate) fn pending_since(&self, subgroup: &Subgroup) -> Option<Instant> {
        let index = subgroup.position(self.place.next, self.place.hint);
        let object = subgroup.objects().get(index).filter(|object| object.available() > self.place.offset)?;
        Some(object.arrived)
    }

    /// Whether some byte could be sent but for the transport.
    pub(crate) fn owes(&self, log: &Log) -> bool {
        let subgroup = log.groups.get(&self.group).and_then(|group| group.subgroups.get(&self.subgroup));
        subgroup.is_some_and(|subgroup| self.pending_since(subgroup).is_some())
    }

    /// Objects held that were not sent entirely.
    pub(crate) fn unsent(&self, subgroup: &Subgroup) -> usize {
        subgroup.objects().len() - subgroup.position(self.place.next, self.place.hint)
    }
}

/// The subgroups that a cursor is sending, in send order.
#[derive(Debug)]
pub(crate) struct InFlight {
    order: GroupOrder,
    pub(crate) list: Vec<Active>,
}

impl InFlight {
    pub(crate) const fn new(order: GroupOrder) -> Self {
        Self { order, list: Vec::new() }
    }

    /// Adds a subgroup at its place: publisher priority, group order, subgroup id (draft-18 7.2).
    pub(crate) fn insert(&mut self, active: Active) {
        let order = self.order;
        let key = |active: &Active| (active.priority, ordinal(order, active.group), active.subgroup);
        let wanted = key(&active);
        let at = self.list.partition_point(|held| key(held) < wanted);
        if self.list.get(at).is_none_or(|held| key(held) != wanted) {
            self.list.insert(at, active);
        }
    }

    /// The active subgroup that owns `stream`.
    pub(crate) fn by_stream(&mut self, stream: StreamId) -> Option<&mut Active> {
        self.list.iter_mut().find(|active| active.stream.as_ref().is_some_and(|open| open.id == stream))
    }

    /// The rank for the group of `list[at]`, which is about to get a stream; `None`: no rank is free, renumber.
    pub(crate) fn rank(&self, at: usize) -> Option<u8> {
        let group = ordinal(self.order, self.list.get(at)?.group);
        let (mut before, mut after) = (None, None);
        for held in self.list.iter().filter(|held| held.stream.is_some()) {
            match ordinal(self.order, held.group).cmp(&group) {
                std::cmp::Ordering::Equal => return Some(held.rank),
                std::cmp::Ordering::Less => before = before.max(Some(held.rank)),
                std::cmp::Ordering::Greater => after = Some(after.map_or(held.rank, |rank: u8| rank.min(held.rank))),
            }
        }
        match (before, after) {
            (None, None) => Some(128),
            (Some(before), None) => before.checked_add(1),
            (None, Some(after)) => after.checked_sub(1),
            (Some(before), Some(after)) => (after.saturating_sub(before) > 1).then(|| before + (after - before) / 2),
        }
    }

    /// Gives all groups new ranks in send order, with room at the end where new groups come.
    pub(crate) fn renumber(&mut self) {
        let order = self.order;
        let mut groups: Vec<u64> = self.list.iter().map(|active| ordinal(order, active.group)).collect();
        groups.sort_unstable();
        groups.dedup();
        let first = match order {
            GroupOrder::Ascending => 0,
            GroupOrder::Descending => 256_usize.saturating_sub(groups.len()),
        };
        for active in &mut self.list {
            let index = groups.binary_search(&ordinal(order, active.group)).unwrap_or_default();
            active.rank = u8::try_from(first + index).unwrap_or(u8::MAX);
        }
    }
}

/// A number that grows in the order in which groups are sent.
const fn ordinal(order: GroupOrder, group: u64) -> u64 {
    match order {
        GroupOrder::Ascending => group,
        GroupOrder::Descending => !group,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(group: u64, rank: u8) -> Active {
        let stream = Outgoing { id: StreamId(group), header: Bytes::new(), field: Field::Absent, previous: None };
        let place = Place::default();
        Active { group, subgroup: 0, priority: 128, rank, place, stream: Some(stream), state: State::Live }
    }

    fn ranks(in_flight: &InFlight) -> Vec<(u64, u8)> {
        in_flight.list.iter().map(|active| (active.group, active.rank)).collect()
    }

    fn open(in_flight: &mut InFlight, group: u64) {
        let mut new = active(group, 0);
        let stream = new.stream.take();
        in_flight.insert(new);
        let at = in_flight.list.iter().position(|active| active.group == group).expect("inserted");
        match in_flight.rank(at) {
            Some(rank) => in_flight.list[at].rank = rank,
            None => in_flight.renumber(),
        }
        in_flight.list[at].stream = stream;
    }

    #[test]
    fn groups_in_flight_are_ranked_in_their_order() {
        let mut ascending = InFlight::new(GroupOrder::Ascending);
        for group in [10, 12, 11, 9] {
            open(&mut ascending, group);
        }
        let ranked = ranks(&ascending);
        assert!(ranked.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{ranked:?}");
        let mut descending = InFlight::new(GroupOrder::Descending);
        for group in [10, 12, 11, 9] {
            open(&mut descending, group);
        }
        let ranked = ranks(&descending);
        assert!(ranked.windows(2).all(|pair| pair[0].0 > pair[1].0 && pair[0].1 < pair[1].1), "{ranked:?}");
    }

    #[test]
    fn ranks_never_run_out() {
        for order in [GroupOrder::Ascending, GroupOrder::Descending] {
            let mut in_flight = InFlight::new(order);
            for group in 0..1_000 {
                open(&mut in_flight, group);
                in_flight.list.retain(|active| active.group + 3 > group);
                let ranked = ranks(&in_flight);
                assert!(ranked.windows(2).all(|pair| pair[0].1 < pair[1].1), "{ranked:?}");
            }
        }
    }
}
