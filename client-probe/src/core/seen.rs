//! Which objects of a group have arrived.

/// A set of object ids, kept as ranges: live groups are nearly contiguous.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Inclusive, ascending, neither touching nor overlapping.
    ranges: Vec<(u64, u64)>,
}

impl Seen {
    /// Adds `id`; `false` when it was there.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        let at = self.ranges.partition_point(|(_, end)| *end < id);
        if self.ranges.get(at).is_some_and(|(start, _)| *start <= id) {
            return false;
        }
        let joins_left = at > 0 && self.ranges.get(at - 1).is_some_and(|(_, end)| end.checked_add(1) == Some(id));
        let joins_right = self.ranges.get(at).is_some_and(|(start, _)| id.checked_add(1) == Some(*start));
        match (joins_left, joins_right) {
            (true, true) => {
                let (_, end) = self.ranges.remove(at);
                self.set_end(at - 1, end);
            }
            (true, false) => self.set_end(at - 1, id),
            (false, true) => {
                if let Some(range) = self.ranges.get_mut(at) {
                    range.0 = id;
                }
            }
            (false, false) => self.ranges.insert(at, (id, id)),
        }
        true
    }

    fn set_end(&mut self, at: usize, end: u64) {
        if let Some(range) = self.ranges.get_mut(at) {
            range.1 = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn behaves_like_a_set_and_stays_merged() {
        let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
        // 7 generates the residues of 101: every id once, then again.
        for step in 0..202_u64 {
            let id = step * 7 % 101;
            assert_eq!(seen.insert(id), model.insert(id), "{id}");
        }
        assert_eq!(seen.ranges, [(0, 100)]);
        assert!(seen.insert(u64::MAX) && !seen.insert(u64::MAX));
    }
}
