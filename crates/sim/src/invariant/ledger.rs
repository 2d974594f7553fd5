//! What was published, and when: what viewers are measured by.

use crate::plan::NodeId;
use sluice_moqt::Location;
use std::collections::BTreeMap;
use std::time::Duration;

/// Groups remembered per track: more than any log keeps.
const GROUPS_MAX: usize = 4_096;

/// Everything that publishers published, of all their lives.
#[derive(Debug, Default)]
pub struct Ledger {
    tracks: BTreeMap<(NodeId, usize), TrackLedger>,
}

/// One track.
#[derive(Debug, Default, Clone)]
pub struct TrackLedger {
    groups: BTreeMap<u64, Vec<Duration>>,
}

impl Ledger {
    /// An object was published.
    pub fn add(&mut self, publisher: NodeId, track: usize, at: Location, when: Duration) {
        let ledger = self.tracks.entry((publisher, track)).or_default();
        let group = ledger.groups.entry(at.group).or_default();
        if at.object == 0 {
            // A clock that was set back has brought the number again.
            group.clear();
        }
        debug_assert_eq!(group.len() as u64, at.object, "publishers publish in order");
        group.push(when);
        while ledger.groups.len() > GROUPS_MAX {
            ledger.groups.pop_first();
        }
    }

    /// A track of a publisher.
    #[must_use]
    pub fn track(&self, publisher: NodeId, track: usize) -> Option<&TrackLedger> {
        self.tracks.get(&(publisher, track))
    }
}

impl TrackLedger {
    /// When an object was published.
    #[must_use]
    pub fn published(&self, at: Location) -> Option<Duration> {
        let object = usize::try_from(at.object).ok()?;
        self.groups.get(&at.group)?.get(object).copied()
    }

    /// The last object of a group so far.
    #[must_use]
    pub fn last_of(&self, group: u64) -> Option<u64> {
        self.groups.get(&group).and_then(|times| (times.len() as u64).checked_sub(1))
    }

    /// Groups whose objects were all published from `since` to `until`, with the number of objects: the newest group
    /// may go on and is left out.
    pub fn groups_between(&self, since: Duration, until: Duration) -> impl Iterator<Item = (u64, u64)> {
        let newest = self.groups.keys().next_back().copied();
        self.groups.iter().filter_map(move |(group, times)| {
            let within = *times.first()? >= since && *times.last()? <= until;
            (within && Some(*group) != newest).then_some((*group, times.len() as u64))
        })
    }

    /// When the newest object was published.
    #[must_use]
    pub fn newest(&self) -> Option<Duration> {
        self.groups.values().filter_map(|times| times.last()).max().copied()
    }
}
