//! The round-trip time of the empty path.

use std::time::{Duration, Instant};

/// How long one of the two buckets collects. BBR (draft-ietf-ccwg-bbr 5.5.7) looks back 10 s as well.
const BUCKET: Duration = Duration::from_secs(10);

/// Least of the last one to two buckets: exact for at least one bucket, in two durations.
#[derive(Debug, Clone)]
pub(super) struct Base {
    old: Duration,
    new: Duration,
    since: Instant,
}

impl Base {
    pub(super) const fn new(now: Instant) -> Self {
        Self { old: Duration::MAX, new: Duration::MAX, since: now }
    }

    /// Takes one sample.
    pub(super) fn on_sample(&mut self, rtt: Duration) {
        self.new = self.new.min(rtt);
    }

    /// Forgets what is older than two buckets.
    pub(super) fn age(&mut self, now: Instant) {
        if self.new != Duration::MAX && now.saturating_duration_since(self.since) >= BUCKET {
            self.old = std::mem::replace(&mut self.new, Duration::MAX);
            self.since = now;
        }
    }

    /// Nothing grows older until now.
    pub(super) const fn keep(&mut self, now: Instant) {
        self.since = now;
    }

    /// The path is another one.
    pub(super) const fn replace(&mut self, now: Instant, rtt: Duration) {
        *self = Self { old: rtt, new: rtt, since: now };
    }

    /// `None` before the first sample.
    pub(super) fn get(&self) -> Option<Duration> {
        let least = self.old.min(self.new);
        (least != Duration::MAX).then_some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_longer_path_is_believed_after_two_buckets() {
        let start = SystemClock.now();
        let mut base = Base::new(start);
        assert_eq!(base.get(), None);
        base.on_sample(50 * MS);
        base.on_sample(60 * MS);
        assert_eq!(base.get(), Some(50 * MS));
        base.age(start + BUCKET);
        base.on_sample(90 * MS);
        assert_eq!(base.get(), Some(50 * MS));
        base.age(start + 2 * BUCKET);
        assert_eq!(base.get(), Some(90 * MS));
    }

    #[test]
    fn silence_forgets_nothing() {
        let start = SystemClock.now();
        let mut base = Base::new(start);
        base.on_sample(50 * MS);
        base.age(start + BUCKET);
        base.age(start + 5 * BUCKET);
        assert_eq!(base.get(), Some(50 * MS));
    }
}
