//! Ids known not to exist, as disjoint ranges.

use std::collections::BTreeMap;

/// A set of ids kept as ranges; neighbours are merged, so that a gap before every object costs one entry each at most.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// First id to the id after the last.
    ranges: BTreeMap<u64, u64>,
}

impl Gaps {
    pub(crate) const fn new() -> Self {
        Self { ranges: BTreeMap::new() }
    }

    /// Adds `from..to`.
    pub(crate) fn insert(&mut self, mut from: u64, mut to: u64) {
        if from >= to {
            return;
        }
        while let Some((&start, &end)) = self.ranges.range(..=to).next_back().filter(|(_, end)| **end >= from) {
            self.ranges.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        self.ranges.insert(from, to);
    }

    /// Where the range that contains `id` ends.
    pub(crate) fn end_of(&self, id: u64) -> Option<u64> {
        self.ranges.range(..=id).next_back().map(|(_, end)| *end).filter(|end| *end > id)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.end_of(id).is_some()
    }

    /// Forgets everything below `id`.
    pub(crate) fn forget_below(&mut self, id: u64) {
        while let Some(entry) = self.ranges.first_entry().filter(|entry| *entry.get() <= id) {
            entry.remove();
        }
    }

    /// Whether all of `from..to` is in the set.
    pub(crate) fn covers(&self, from: u64, to: u64) -> bool {
        from >= to || self.end_of(from).is_some_and(|end| end >= to)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_with_all_that_they_touch() {
        let mut gaps = Gaps::new();
        gaps.insert(1, 3);
        gaps.insert(5, 7);
        gaps.insert(9, 9);
        assert_eq!(gaps.len(), 2);
        assert_eq!((gaps.end_of(0), gaps.end_of(1), gaps.end_of(2), gaps.end_of(3)), (None, Some(3), Some(3), None));
        gaps.insert(3, 5);
        assert_eq!((gaps.len(), gaps.end_of(1)), (1, Some(7)));
        gaps.insert(20, 30);
        gaps.insert(0, 25);
        assert_eq!((gaps.len(), gaps.end_of(0)), (1, Some(30)));
        gaps.insert(40, u64::MAX);
        gaps.forget_below(30);
        assert!(!gaps.contains(29) && gaps.contains(41));
    }
}
