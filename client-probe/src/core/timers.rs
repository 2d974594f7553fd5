//! One deadline per key, the earliest first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// One deadline per key: with thousands of links, asking each for its own at every turn would be the main cost.
#[derive(Debug)]
pub(super) struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(super) const fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Sets or clears the deadline of `key`.
    pub(super) fn set(&mut self, key: K, at: Option<Instant>) {
        if self.by_key.get(&key).copied() == at {
            return;
        }
        if let Some(before) = self.by_key.remove(&key) {
            self.by_time.remove(&(before, key));
        }
        if let Some(at) = at {
            self.by_key.insert(key, at);
            self.by_time.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Removes and returns a key whose deadline has passed.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_net::clock::{Clock as _, ManualClock};
    use std::time::Duration;

    #[test]
    fn due_keys_come_in_order_and_once() {
        let start = ManualClock::new(Duration::ZERO).now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.set(1, Some(at(30)));
        timers.set(2, Some(at(10)));
        timers.set(1, Some(at(20)));
        timers.set(3, Some(at(5)));
        timers.set(3, None);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.take_due(at(9)), None);
        assert_eq!(
            [timers.take_due(at(20)), timers.take_due(at(20)), timers.take_due(at(20))],
            [Some(2), Some(1), None]
        );
    }
}
