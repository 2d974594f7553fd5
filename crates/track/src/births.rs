//! Subgroups in the order in which they came into being: how readers learn of them without looking through the log.

use std::collections::VecDeque;

/// Births kept for readers that visit late; one that missed some looks through the whole log once.
const KEPT: usize = 1_024;

/// A ring of (group, subgroup) with running numbers.
#[derive(Debug, Default)]
pub(crate) struct Births {
    ring: VecDeque<(u64, u64)>,
    total: u64,
}

impl Births {
    pub(crate) fn push(&mut self, group: u64, subgroup: u64) {
        if self.ring.len() == KEPT {
            self.ring.pop_front();
        }
        self.ring.push_back((group, subgroup));
        self.total += 1;
    }

    /// Number of births ever.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The births that a reader has not seen that had seen `seen` of them; `None`: some are forgotten.
    pub(crate) fn since(&self, seen: u64) -> Option<impl Iterator<Item = (u64, u64)> + '_> {
        let missed = usize::try_from(self.total - seen).ok().filter(|missed| *missed <= self.ring.len())?;
        Some(self.ring.range(self.ring.len() - missed..).copied())
    }
}
