//! What is counted and timed about received streams.

use crate::core::Object;
use crate::manifest::Via;
use hdrhistogram::Histogram;
use serde::Serialize;
use sluice_media::stamp_micros;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Groups of live media last at least this long: more ids missing than the time that passed can hold are no groups.
const GROUP_MIN: Duration = Duration::from_millis(20);
/// Ids that may be missing whatever time passed: what was held up arrives at once.
const BURST_GROUPS: u64 = 64;
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
    /// Times that another publisher took over and numbered its groups anew.
    pub(crate) publisher_changes: u64,
    #[serde(skip)]
    open: BTreeMap<u64, Count>,
    #[serde(skip)]
    newest: Option<Newest>,
    #[serde(skip)]
    numbering: Numbering,
}

/// The group with the largest id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Newest {
    group: u64,
    /// Arrival of its first object.
    began: Instant,
    /// Arrival of the track's last object.
    last: Instant,
}

/// What is known of how the publisher numbers its groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Numbering {
    /// Nothing.
    #[default]
    Unknown,
    /// One by one, but for what is lost.
    Dense,
    /// The last id stood far above the one before. Once it is another publisher; every time it is a publisher whose
    /// ids are times, for instance, and nothing is known of what is missing.
    Jumped,
    /// The ids began anew below the last ones.
    Anew,
}

/// Objects of one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    first: u64,
    last: u64,
    objects: u64,
}

impl Count {
    /// Ids that are missing below the last one.
    const fn lost(&self) -> u64 {
        let ids = self.last.saturating_sub(self.first).saturating_add(1);
        ids.saturating_sub(self.objects)
    }
}

impl TrackTally {
    /// One more object. Returns the pause before it where it is the first of another publisher.
    pub(crate) fn object(&mut self, object: &Object) -> Option<Duration> {
        self.objects += 1;
        self.bytes += object.length;
        let (group, id) = (object.at.group, object.at.object);
        let last = self.newest.as_mut().map(|newest| std::mem::replace(&mut newest.last, object.arrived));
        if let Some(count) = self.open.get_mut(&group) {
            count.first = count.first.min(id);
            count.last = count.last.max(id);
            count.objects += 1;
            return None;
        }
        self.groups += 1;
        // The join may be in the middle of a group: what lies before it was not asked for.
        let begins = if self.newest.is_none() { id } else { 0 };
        let changed = self.follow(group, object.arrived);
        self.open.insert(group, Count { first: begins, last: id, objects: 1 });
        if self.open.len() > GROUPS_MAX
            && let Some(oldest) = self.open.keys().next().copied()
        {
            self.end_group(oldest);
        }
        last.filter(|_| changed).map(|last| object.arrived.saturating_duration_since(last))
    }

    /// The group ids begin anew below the last ones.
    pub(crate) fn restart(&mut self) {
        for group in std::mem::take(&mut self.open).into_values() {
            self.objects_lost += group.lost();
        }
        self.numbering = Numbering::Anew;
    }

    /// A group begins: counts what its id says to be missing. Returns whether it is another publisher's.
    fn follow(&mut self, group: u64, arrived: Instant) -> bool {
        let this = Newest { group, began: arrived, last: arrived };
        let Some(newest) = self.newest else {
            self.newest = Some(this);
            return false;
        };
        if self.numbering == Numbering::Anew {
            self.newest = Some(this);
            self.numbering = Numbering::Unknown;
            self.publisher_changes += 1;
            return true;
        }
        if group < newest.group {
            // It was counted as skipped when a newer one came.
            self.groups_skipped = self.groups_skipped.saturating_sub(1);
            return false;
        }
        self.newest = Some(this);
        let missing = group.saturating_sub(newest.group).saturating_sub(1);
        let passed = arrived.saturating_duration_since(newest.began).as_nanos() / GROUP_MIN.as_nanos();
        if u128::from(missing) <= u128::from(BURST_GROUPS) + passed {
            self.groups_skipped += missing;
            self.numbering = Numbering::Dense;
            return false;
        }
        let changed = self.numbering != Numbering::Jumped;
        self.numbering = Numbering::Jumped;
        self.publisher_changes += u64::from(changed);
        changed
    }

    /// Nothing more of this group will come.
    pub(crate) fn end_group(&mut self, group: u64) {
        if let Some(count) = self.open.remove(&group) {
            self.objects_lost += count.lost();
        }
    }

    /// The rest of this group was cut off.
    pub(crate) fn cut(&mut self, _group: u64) {
        self.groups_skipped += 1;
    }

    /// Both together.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.groups += other.groups;
        self.objects_lost += other.objects_lost;
        self.groups_skipped += other.groups_skipped;
        // Each track of a stream shows the same change.
        self.publisher_changes = self.publisher_changes.max(other.publisher_changes);
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

    fn start() -> Instant {
        ManualClock::new(Duration::ZERO).now()
    }

    fn object(group: u64, object: u64, arrived: Instant) -> Object {
        Object {
            track: Bytes::new(),
            rendition: Some(0),
            at: Position { group, subgroup: Some(0), object },
            flags: Flags { via: Via::Subgroup, status: ObjectStatus::Normal },
            properties: Bytes::new(),
            payload: Bytes::new(),
            length: 10,
            arrived,
        }
    }

    /// One object per group; the pause of each that is another publisher's first.
    fn changes(tally: &mut TrackTally, groups: &[(u64, u64)]) -> Vec<(u64, u128)> {
        let start = start();
        let pause = |(group, ms): &(u64, u64)| {
            let arrived = start + Duration::from_millis(*ms);
            tally.object(&object(*group, 0, arrived)).map(|pause| (*group, pause.as_millis()))
        };
        groups.iter().filter_map(pause).collect()
    }

    #[test]
    fn holes_and_gaps_are_counted() {
        let mut tally = TrackTally::default();
        // Joins at 5/3; 6/1 is missing; group 7 never comes; 8/0 is missing.
        for (group, id) in [(5, 3), (5, 4), (6, 0), (6, 2), (8, 1)] {
            assert_eq!(tally.object(&object(group, id, start())), None);
        }
        for group in [5, 6, 8] {
            tally.end_group(group);
        }
        tally.cut(8);
        assert_eq!((tally.objects, tally.groups, tally.bytes), (5, 3, 50));
        assert_eq!((tally.objects_lost, tally.groups_skipped), (2, 2));
    }

    #[test]
    fn another_publisher_is_no_thousand_skipped_groups() {
        let mut tally = TrackTally::default();
        // The first one lived for 4 s, the next one came 3 s after its last group; ids are milliseconds.
        let groups = [(1000, 0), (1001, 2000), (1002, 4000), (8000, 7000), (8001, 9000), (8003, 13_000)];
        assert_eq!(changes(&mut tally, &groups), [(8000, 3000)]);
        assert_eq!((tally.groups_skipped, tally.publisher_changes, tally.groups), (1, 1, 6));
    }

    #[test]
    fn ids_that_are_times_are_one_publisher() {
        let mut tally = TrackTally::default();
        let groups = [(0, 0), (2000, 2000), (4000, 4000), (6000, 6000), (8000, 8000)];
        // Of the first jump alone, nobody can tell.
        assert_eq!(changes(&mut tally, &groups).len(), 1);
        assert_eq!(tally.groups_skipped, 0);
    }

    #[test]
    fn an_outage_is_skipped_groups() {
        let mut tally = TrackTally::default();
        assert_eq!(changes(&mut tally, &[(10, 0), (11, 500), (611, 300_500)]), []);
        assert_eq!((tally.groups_skipped, tally.publisher_changes), (599, 0));
    }

    #[test]
    fn a_publisher_that_numbers_from_the_start_again_is_another_one() {
        let mut tally = TrackTally::default();
        changes(&mut tally, &[(7, 0), (8, 1000)]);
        tally.restart();
        assert_eq!(changes(&mut tally, &[(0, 4000), (1, 5000)]), [(0, 3000)]);
        assert_eq!((tally.groups_skipped, tally.publisher_changes, tally.objects_lost), (0, 1, 0));
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
