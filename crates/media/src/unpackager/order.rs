//! The order of objects within a track: group by group, object by object, without waiting forever.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Instant;

/// Newer groups that may pile up before an unfinished one is given up, or a missing id is taken for one that does not
/// exist.
const PATIENCE: usize = 3;
/// Objects that may pile up behind a missing one.
const MAX_HELD: usize = 64;
/// Groups kept while none has come from its beginning.
const MAX_WAITING: usize = 16;
/// No network brings groups out of order by more ids than this: a longer jump is another publisher's numbering, and
/// nothing lies between.
const MAX_REORDERED: u64 = 64;
/// Bytes that may wait in one track.
const MAX_BYTES: usize = 64 << 20;

/// An object whose turn has not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) arrived: Instant,
    pub(super) properties: Bytes,
    pub(super) payload: Bytes,
}

/// What comes out, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next object.
    Object { group: u64, object: u64, incoming: Incoming },
    /// The group before is over.
    GroupEnd,
}

/// Orders the objects of one track.
#[derive(Debug, Default)]
pub(super) struct Order {
    groups: BTreeMap<u64, Group>,
    /// The group being read.
    current: Option<u64>,
    /// Groups below this are over; `None` before the first group was chosen.
    floor: Option<u64>,
    bytes: usize,
    finished: bool,
    lost: u64,
}

#[derive(Debug, Default)]
struct Group {
    held: BTreeMap<u64, Incoming>,
    /// Objects below this were handed out.
    next: u64,
    ended: bool,
}

impl Group {
    fn bytes(&self) -> usize {
        self.held.values().map(|incoming| incoming.payload.len()).sum()
    }
}

impl Order {
    pub(super) fn push(&mut self, group: u64, object: u64, incoming: Incoming) {
        if self.is_over(group) {
            return;
        }
        let entry = self.groups.entry(group).or_default();
        if object < entry.next || entry.held.contains_key(&object) {
            return;
        }
        self.bytes = self.bytes.saturating_add(incoming.payload.len());
        entry.held.insert(object, incoming);
        // Without a beginning nothing can be chosen: keep the newest.
        while self.floor.is_none() && (self.groups.len() > MAX_WAITING || self.bytes > MAX_BYTES) {
            let oldest = self.groups.pop_first();
            let freed = oldest.map_or(0, |(_, group)| group.bytes());
            self.bytes = self.bytes.saturating_sub(freed);
        }
    }

    pub(super) fn end_group(&mut self, group: u64) {
        if !self.is_over(group) {
            self.groups.entry(group).or_default().ended = true;
        }
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// The numbering begins anew: what is not out by now never comes.
    pub(super) fn restart(&mut self) {
        *self = Self { lost: self.lost, ..Self::default() };
    }

    pub(super) const fn lost_groups(&self) -> u64 {
        self.lost
    }

    /// The next object or group end whose turn has come.
    pub(super) fn poll(&mut self) -> Option<Next> {
        let Some(current) = self.current else {
            self.current = Some(self.choose()?);
            return self.poll();
        };
        let impatient = self.impatient(current);
        let group = self.groups.get_mut(&current)?;
        let due = group
            .held
            .first_key_value()
            .map(|(object, _)| *object)
            .filter(|object| *object == group.next || group.ended || impatient || group.held.len() > MAX_HELD);
        if let Some(object) = due {
            let incoming = group.held.remove(&object)?;
            group.next = object.saturating_add(1);
            self.bytes = self.bytes.saturating_sub(incoming.payload.len());
            return Some(Next::Object { group: current, object, incoming });
        }
        if group.ended || impatient {
            self.lost = self.lost.saturating_add(u64::from(!group.ended && !self.finished));
            self.groups.remove(&current);
            self.floor = Some(current.saturating_add(1));
            self.current = None;
            return Some(Next::GroupEnd);
        }
        None
    }

    fn is_over(&self, group: u64) -> bool {
        self.floor.is_some_and(|floor| group < floor)
    }

    /// Whether nothing more is waited for in `group`.
    fn impatient(&self, group: u64) -> bool {
        self.finished || self.bytes > MAX_BYTES || self.groups.range(group.saturating_add(1)..).count() >= PATIENCE
    }

    /// The group to read next. The first of all must be here from its beginning; after that the following id, or,
    /// once enough newer ones are here, the lowest.
    fn choose(&mut self) -> Option<u64> {
        let Some(floor) = self.floor else {
            let whole = |group: &Group| group.held.contains_key(&0);
            let first = *self.groups.iter().find(|(_, group)| whole(group))?.0;
            self.groups = self.groups.split_off(&first);
            self.floor = Some(first);
            self.bytes = self.groups.values().map(Group::bytes).sum();
            return Some(first);
        };
        let mut following = floor;
        // Known only by its end, a group says nothing: its id is as good as missing.
        while let Some(entry) = self.groups.first_entry() {
            if !entry.get().ended || !entry.get().held.is_empty() {
                break;
            }
            let group = entry.remove_entry().0;
            if group == following {
                following = group.saturating_add(1);
            }
        }
        self.floor = Some(following);
        let lowest = *self.groups.first_key_value()?.0;
        let due = lowest == following || lowest.saturating_sub(following) > MAX_REORDERED;
        (due || self.impatient(lowest) || self.groups.len() >= PATIENCE).then_some(lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a pure crate's tests have no other instant; nothing depends on it")]
    fn object(order: &mut Order, group: u64, object: u64) {
        let arrived = Instant::now();
        order.push(group, object, Incoming { arrived, properties: Bytes::new(), payload: Bytes::from_static(b"x") });
    }

    fn drain(order: &mut Order) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| order.poll())
            .filter_map(|next| match next {
                Next::Object { group, object, .. } => Some((group, object)),
                Next::GroupEnd => None,
            })
            .collect()
    }

    #[test]
    fn it_starts_at_the_first_whole_group() {
        let mut order = Order::default();
        object(&mut order, 7, 3);
        assert_eq!(drain(&mut order), []);
        object(&mut order, 8, 0);
        object(&mut order, 7, 4);
        assert_eq!(drain(&mut order), [(8, 0)]);
    }

    #[test]
    fn groups_without_a_beginning_do_not_pile_up() {
        let mut order = Order::default();
        (0..1000).for_each(|group| object(&mut order, group, 1));
        assert_eq!((order.groups.len(), order.bytes), (MAX_WAITING, MAX_WAITING));
        object(&mut order, 999, 0);
        assert_eq!(drain(&mut order), [(999, 0), (999, 1)]);
        assert_eq!(order.bytes, 0);
    }

    #[test]
    fn groups_and_objects_come_out_in_order_whatever_the_arrival() {
        let mut order = Order::default();
        object(&mut order, 5, 0);
        assert_eq!(drain(&mut order), [(5, 0)]);
        for (group, number) in [(6, 0), (5, 2), (6, 1), (5, 1), (5, 1)] {
            object(&mut order, group, number);
        }
        assert_eq!(drain(&mut order), [(5, 1), (5, 2)]);
        order.end_group(5);
        assert_eq!(drain(&mut order), [(6, 0), (6, 1)]);
        assert_eq!(order.lost_groups(), 0);
    }

    #[test]
    fn an_unfinished_group_is_given_up_when_newer_ones_pile_up() {
        let mut order = Order::default();
        object(&mut order, 1, 0);
        object(&mut order, 1, 2);
        assert_eq!(drain(&mut order), [(1, 0)]);
        for group in 2..=4 {
            object(&mut order, group, 0);
        }
        assert_eq!(drain(&mut order), [(1, 2), (2, 0)]);
        assert_eq!(order.lost_groups(), 1);
        object(&mut order, 1, 1);
        assert_eq!(drain(&mut order), []);
    }

    #[test]
    fn ids_that_do_not_exist_are_passed_over() {
        let mut order = Order::default();
        object(&mut order, 10, 0);
        order.end_group(10);
        object(&mut order, 20, 0);
        order.end_group(20);
        assert_eq!(drain(&mut order), [(10, 0)]);
        object(&mut order, 30, 0);
        object(&mut order, 40, 0);
        assert_eq!(drain(&mut order), [(20, 0)]);
        order.finish();
        assert_eq!(drain(&mut order), [(30, 0), (40, 0)]);
    }

    #[test]
    fn another_numbering_is_not_waited_for() {
        let mut order = Order::default();
        object(&mut order, 10, 0);
        order.end_group(10);
        object(&mut order, 5000, 0);
        assert_eq!(drain(&mut order), [(10, 0), (5000, 0)]);
        // Below what was read, it has to be said.
        object(&mut order, 7, 0);
        assert_eq!(drain(&mut order), []);
        order.restart();
        object(&mut order, 7, 0);
        assert_eq!(drain(&mut order), [(7, 0)]);
    }
}
