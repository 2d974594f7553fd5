//! Which numbers of a growing sequence were used already, and a cheap hash for such numbers.

use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Most numbers remembered above the first unused one. Streams and requests overtake each other by at most the
/// number of streams that may be open at once, which is far smaller.
const MAX_AHEAD: usize = 4096;

/// The used ones of 0, 1, 2, ...; numbers far behind the newest count as used.
#[derive(Debug, Clone, Default)]
pub(super) struct UsedIds {
    /// All below are used.
    floor: u64,
    /// Used ones above `floor`.
    ahead: BTreeSet<u64>,
}

impl UsedIds {
    /// Marks `id` as used; `false` if it was.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        if id < self.floor || !self.ahead.insert(id) {
            return false;
        }
        if self.ahead.len() > MAX_AHEAD {
            self.floor = self.ahead.first().copied().unwrap_or(self.floor);
        }
        while self.ahead.first() == Some(&self.floor) {
            self.ahead.pop_first();
            self.floor = self.floor.saturating_add(1);
        }
        true
    }

    /// Whether `id` is used.
    pub(super) fn contains(&self, id: u64) -> bool {
        id < self.floor || self.ahead.contains(&id)
    }

    /// The number above all used ones.
    pub(super) fn next(&self) -> u64 {
        self.ahead.last().map_or(self.floor, |last| last.saturating_add(1))
    }
}

/// Hash builder for stream ids and aliases: looked up once per received chunk.
pub(super) type IdHash = BuildHasherDefault<IdHasher>;

/// One multiplication. The peer picks the keys only within its stream limit, so flooding a bucket gains it nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // 2^64 / golden ratio; the map takes its buckets from the low bits and its tags from the high ones.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_order_ids_are_new_once() {
        let mut used = UsedIds::default();
        assert!(used.insert(2));
        assert!(used.insert(0));
        assert!(!used.contains(1));
        assert!(used.insert(1));
        assert!(!used.insert(0) && !used.insert(1) && !used.insert(2));
        assert_eq!((used.next(), used.ahead.len()), (3, 0));
    }

    #[test]
    fn memory_stays_bounded_with_a_hole_at_the_start() {
        let mut used = UsedIds::default();
        for id in 1..20_000 {
            assert!(used.insert(id));
        }
        assert!(used.ahead.len() <= MAX_AHEAD + 1);
        assert!(!used.insert(0), "far behind counts as used");
        assert_eq!(used.next(), 20_000);
        assert!(used.insert(u64::MAX) && !used.insert(u64::MAX));
    }
}
