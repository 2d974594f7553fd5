//! What one viewer gets of one track.

use super::Violation;
use super::ledger::TrackLedger;
use crate::actor::{Seen, SubId, What};
use sluice_moqt::Location;
use std::collections::BTreeMap;
use std::time::Duration;

/// Groups whose objects are remembered.
const GROUPS_MAX: usize = 1_024;

/// What a viewer got of a track, and whether it should have.
#[derive(Debug, Default)]
pub struct Delivery {
    sub: Option<SubId>,
    /// Objects by group, of all subscriptions: how often each came under the present one is in the high bit.
    groups: BTreeMap<u64, Group>,
    /// When the newest object that came was published.
    newest: Option<Duration>,
    /// When something came last.
    last_at: Option<Duration>,
    started: Option<Duration>,
    figures: Figures,
}

/// What came of a group.
#[derive(Debug, Default)]
struct Group {
    /// Came ever.
    ever: Objects,
    /// Came under the present subscription.
    present: Objects,
}

/// A set of object ids, which are few and dense.
#[derive(Debug, Default)]
struct Objects(Vec<u64>);

impl Objects {
    /// Whether it was new.
    fn insert(&mut self, object: u64) -> bool {
        let (word, bit) = (usize::try_from(object / 64).unwrap_or(usize::MAX).min(1 << 16), object % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let old = self.0[word];
        self.0[word] |= 1 << bit;
        old & (1 << bit) == 0
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Counts of one delivery, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Subscriptions that were accepted.
    pub accepted: u64,
    /// Subscriptions that were refused or ended.
    pub over: u64,
    /// Objects that came on subscriptions.
    pub objects: u64,
    /// Objects that came by joining fetches.
    pub fetched: u64,
    /// Streams cut.
    pub cuts: u64,
    /// Longest time between two objects, while the process ran.
    pub longest_gap: Duration,
    /// Sum of the ages at which objects came, for the mean.
    pub age_sum: Duration,
    /// Greatest age at which an object came on a subscription.
    pub age_max: Duration,
}

impl Figures {
    /// Adds another's.
    pub fn absorb(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.over += other.over;
        self.objects += other.objects;
        self.fetched += other.fetched;
        self.cuts += other.cuts;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.age_sum += other.age_sum;
        self.age_max = self.age_max.max(other.age_max);
    }

    /// Mean age at which objects came on subscriptions.
    #[must_use]
    pub fn age_mean(&self) -> Duration {
        let objects = u32::try_from(self.objects).unwrap_or(u32::MAX);
        self.age_sum.checked_div(objects).unwrap_or_default()
    }
}

impl Delivery {
    /// Counts so far.
    #[must_use]
    pub const fn figures(&self) -> Figures {
        self.figures
    }

    /// When the newest object that came was published.
    #[must_use]
    pub const fn newest(&self) -> Option<Duration> {
        self.newest
    }

    /// How many objects of a group came.
    #[must_use]
    pub fn had(&self, group: u64) -> u64 {
        self.groups.get(&group).map_or(0, |group| group.ever.len())
    }

    pub(super) fn on_start(&mut self, at: Duration) {
        self.started = Some(at);
        self.last_at = None;
    }

    pub(super) fn on_end(&mut self, at: Duration) {
        self.note_gap(at);
        self.started = None;
        self.last_at = None;
    }

    /// The viewer noticed something; `ledger` is what was published of the track.
    ///
    /// # Errors
    /// It should not have.
    pub fn on_seen(&mut self, at: Duration, seen: &Seen, ledger: Option<&TrackLedger>) -> Result<(), Violation> {
        if seen.what == What::Disconnected {
            return Ok(());
        }
        if self.sub != Some(seen.sub) {
            self.sub = Some(seen.sub);
            for group in self.groups.values_mut() {
                group.present = Objects::default();
            }
        }
        let track = seen.track;
        match seen.what {
            What::Accepted(_) => self.figures.accepted += 1,
            What::Over => self.figures.over += 1,
            What::Joined | What::Disconnected => {}
            What::Cut(_) => self.figures.cuts += 1,
            What::Corrupt(location) => return Err(Violation::Corrupt(location, track)),
            What::Object(location, previous) => {
                let age = self.on_object(at, (track, location), ledger)?;
                self.figures.objects += 1;
                self.figures.age_sum += age;
                self.figures.age_max = self.figures.age_max.max(age);
                if let Some(after) = previous.filter(|previous| previous + 1 != location.object) {
                    return Err(Violation::Gap { track, after, at: location });
                }
            }
            What::Fetched(location) => {
                self.on_object(at, (track, location), ledger)?;
                self.figures.fetched += 1;
            }
            What::GroupEnd(group, after) => {
                let last = ledger.and_then(|ledger| ledger.last_of(group)).unwrap_or_default();
                // Without an object the stream only says that nothing follows what came before.
                if after.is_some_and(|after| after != last) {
                    return Err(Violation::Truncated { track, group, after, last });
                }
            }
        }
        Ok(())
    }

    /// An object came; how old it is.
    fn on_object(
        &mut self,
        at: Duration,
        (track, location): (usize, Location),
        ledger: Option<&TrackLedger>,
    ) -> Result<Duration, Violation> {
        let published = ledger.and_then(|ledger| ledger.published(location));
        let published = published.ok_or(Violation::Invented(location, track))?;
        let group = self.groups.entry(location.group).or_default();
        if !group.present.insert(location.object) {
            return Err(Violation::Duplicate(location, track));
        }
        group.ever.insert(location.object);
        while self.groups.len() > GROUPS_MAX {
            self.groups.pop_first();
        }
        self.note_gap(at);
        self.last_at = Some(at);
        self.newest = self.newest.max(Some(published));
        Ok(at.saturating_sub(published))
    }

    fn note_gap(&mut self, at: Duration) {
        if let Some(last) = self.last_at {
            self.figures.longest_gap = self.figures.longest_gap.max(at.saturating_sub(last));
        }
    }
}
