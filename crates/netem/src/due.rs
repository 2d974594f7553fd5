//! What is due some time, in order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// Sequences that are in order by themselves: packets of one way of a link without reordering are one, and a few ways
/// make most of the traffic.
const RUNS: usize = 4;

/// Things by the time at which they are due; those of one time in the order in which they came.
///
/// What comes in order costs a queue's push and pop, whatever the number of things; only the remainder takes a heap.
/// Allocates while it grows to its largest size, and not afterwards.
#[derive(Debug)]
pub(crate) struct Due<T> {
    runs: [VecDeque<Entry<T>>; RUNS],
    strays: BinaryHeap<Reverse<Entry<T>>>,
    pushed: u64,
}

/// Where the next thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Run(usize),
    Stray,
}

impl<T> Due<T> {
    /// Nothing yet, with room for `capacity` things in order.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut runs = [const { VecDeque::new() }; RUNS];
        runs[0].reserve(capacity);
        Self { runs, strays: BinaryHeap::new(), pushed: 0 }
    }

    pub(crate) fn push(&mut self, at: Duration, item: T) {
        let entry = Entry { at, order: self.pushed, item };
        self.pushed += 1;
        match self.runs.iter_mut().find(|run| run.back().is_none_or(|last| last.at <= at)) {
            Some(run) => run.push_back(entry),
            None => self.strays.push(Reverse(entry)),
        }
    }

    /// The time at which the next thing is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.head().map(|(at, _)| at)
    }

    /// The next thing and its time, if it is due.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<(Duration, T)> {
        let (_, head) = self.head().filter(|(at, _)| *at <= now)?;
        let entry = match head {
            Head::Run(number) => self.runs[number].pop_front(),
            Head::Stray => self.strays.pop().map(|Reverse(entry)| entry),
        };
        entry.map(|entry| (entry.at, entry.item))
    }

    fn head(&self) -> Option<(Duration, Head)> {
        let runs = self.runs.iter().enumerate();
        let runs = runs.filter_map(|(number, run)| run.front().map(|entry| (entry.key(), Head::Run(number))));
        let stray = self.strays.peek().map(|Reverse(entry)| (entry.key(), Head::Stray));
        runs.chain(stray).min_by_key(|(key, _)| *key).map(|((at, _), head)| (at, head))
    }
}

#[derive(Debug)]
struct Entry<T> {
    at: Duration,
    order: u64,
    item: T,
}

impl<T> Entry<T> {
    const fn key(&self) -> (Duration, u64) {
        (self.at, self.order)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However things come, they leave by time, and those of one time as they came.
        #[test]
        fn things_leave_in_order(times in prop::collection::vec((0_u64..20, 0_u64..20), 0..200)) {
            let mut due = Due::with_capacity(8);
            let mut expected: Vec<(Duration, usize)> = Vec::new();
            for (number, (at, now)) in times.into_iter().enumerate() {
                let (at, now) = (Duration::from_millis(at), Duration::from_millis(now));
                due.push(at, number);
                expected.push((at, number));
                expected.sort_unstable();
                while let Some(first) = expected.first().copied().filter(|(at, _)| *at <= now) {
                    prop_assert_eq!(due.next(), Some(first.0));
                    prop_assert_eq!(due.pop(now), Some(first));
                    expected.remove(0);
                }
                prop_assert_eq!(due.pop(now), None);
            }
        }
    }

    #[test]
    fn ways_that_are_in_order_take_no_heap() {
        let mut due = Due::with_capacity(0);
        for millis in 0..100 {
            for delay in [50, 10, 0] {
                due.push(Duration::from_millis(millis + delay), ());
            }
        }
        assert!(due.strays.is_empty());
    }
}
