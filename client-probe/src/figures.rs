//! What is counted and timed about received streams.

use crate::core::Object;
use crate::manifest::Via;
use hdrhistogram::Histogram;
use serde::Serialize;
use sluice_media::stamp_micros;
use std::collections::BTreeMap;
use std::time::Duration;

/// Groups whose object ids are remembered.
const GROUPS_MAX: usize = 8;

/// One track as one viewer got it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TrackTally {
    /// Objects.
    pub(crate) objects: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// Groups of which something came.
    pub(crate) groups: u64,
    /// Object ids missing below the last one of their group. Publishers of ours leave no ids out.
    pub(crate) objects_lost: u64,
    /// Group ids missing between two that came, and groups cut off before their end.
    pub(crate) groups_skipped: u64,
    #[serde(skip)]
    open: BTreeMap<u64, Count>,
    #[serde(skip)]
    newest: Option<u64>,
}

/// Objects of one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    first: u64,
    last: u64,
    objects: u64,
}

impl TrackTally {
    /// One more object.
    pub(crate) fn object(&mut self, object: &Object) {
        self.objects += 1;
        self.bytes += object.length;
        let (group, id) = (object.at.group, object.at.object);
        if let Some(count) = self.open.get_mut(&group) {
            count.first = count.first.min(id);
            count.last = count.last.max(id);
            count.objects += 1;
            return;
        }
        self.groups += 1;
        let begins = match self.newest {
            // The join may be in the middle of a group: what lies before it was not asked for.
            None => id,
            // It was counted as skipped when a newer one came.
            Some(newest) if group < newest => {
                self.groups_skipped = self.groups_skipped.saturating_sub(1);
                0
            }
            Some(newest) => {
                self.groups_skipped += group.saturating_sub(newest).saturating_sub(1);
                0
            }
        };
        self.newest = Some(self.newest.unwrap_or(group).max(group));
        self.open.insert(group, Count { first: begins, last: id, objects: 1 });
        if self.open.len() > GROUPS_MAX
            && let Some(oldest) = self.open.keys().next().copied()
        {
            self.end_group(oldest);
        }
    }

    /// Nothing more of this group will come.
    pub(crate) fn end_group(&mut self, group: u64) {
        if let Some(count) = self.open.remove(&group) {
            let ids = count.last.saturating_sub(count.first).saturating_add(1);
            self.objects_lost += ids.saturating_sub(count.objects);
        }
    }

    /// The rest of this group was cut off.
    pub(crate) fn cut(&mut self, _group: u64) {
        self.groups_skipped += 1;
    }

    /// The sum of both.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.groups += other.groups;
        self.objects_lost += other.objects_lost;
        self.groups_skipped += other.groups_skipped;
        self
    }
}

/// Median and 99th percentile, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    /// Median.
    pub(crate) p50: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
}

/// A distribution of durations, three digits exact, in constant memory.
#[derive(Debug, Clone)]
pub(crate) struct Durations(Histogram<u64>);

impl Default for Durations {
    fn default() -> Self {
        // 1 us to an hour with three digits: a constant that hdrhistogram accepts.
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds and precision"))
    }
}

impl Durations {
    /// Adds one; outliers count as the largest value that fits.
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// `None` while empty.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        if self.0.is_empty() {
            return None;
        }
        let at = |q| Duration::from_micros(self.0.value_at_quantile(q)).as_secs_f64();
        Some(Quantiles { p50: at(0.5), p99: at(0.99) })
    }
}

/// From the publisher's stamp to arrival. Both clocks must be one machine's (decisions 6.4).
#[derive(Debug, Clone, Default)]
pub(crate) struct Latency {
    delays: Durations,
}

impl Latency {
    /// Adds the object's delay, if it is stamped and came live; `unix` is the wall clock at its arrival.
    pub(crate) fn stamped(&mut self, object: &Object, unix: Duration) -> bool {
        // What a fetch brings is as old as the publisher's past.
        if object.flags.via == Via::Fetch {
            return false;
        }
        let Some(stamp) = stamp_micros(&object.properties) else { return false };
        self.delays.add(unix.saturating_sub(Duration::from_micros(stamp)));
        true
    }

    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        self.delays.quantiles()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Flags, Position};
    use bytes::Bytes;
    use sluice_moqt::types::ObjectStatus;
    use sluice_net::clock::{Clock as _, ManualClock};

    fn object(group: u64, object: u64) -> Object {
        Object {
            track: Bytes::new(),
            rendition: Some(0),
            at: Position { group, subgroup: Some(0), object },
            flags: Flags { via: Via::Subgroup, status: ObjectStatus::Normal },
            properties: Bytes::new(),
            payload: Bytes::new(),
            length: 10,
            arrived: ManualClock::new(Duration::ZERO).now(),
        }
    }

    #[test]
    fn holes_and_gaps_are_counted() {
        let mut tally = TrackTally::default();
        // Joins at 5/3; 6/1 is missing; group 7 never comes; 8/0 is missing.
        for (group, id) in [(5, 3), (5, 4), (6, 0), (6, 2), (8, 1)] {
            tally.object(&object(group, id));
        }
        for group in [5, 6, 8] {
            tally.end_group(group);
        }
        tally.cut(8);
        assert_eq!((tally.objects, tally.groups, tally.bytes), (5, 3, 50));
        assert_eq!((tally.objects_lost, tally.groups_skipped), (2, 2));
    }

    #[test]
    fn quantiles_of_nothing_are_none() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantiles(), None);
        for ms in 1..=100 {
            durations.add(Duration::from_millis(ms));
        }
        let quantiles = durations.quantiles().unwrap();
        assert!((quantiles.p50 - 0.05).abs() < 0.001 && (quantiles.p99 - 0.099).abs() < 0.001, "{quantiles:?}");
    }
}
