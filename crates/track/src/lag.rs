//! When a reader has fallen behind, what it leaves out, and where it goes on.
//!
//! Who lags more than is allowed goes on at the newest join point. Before it comes to that, a path that cannot carry the
//! track is used for groups that arrive whole: a reader that is late time and again gives up what it has hardly begun when
//! a newer group comes, and finishes what is half done.

use crate::Cursor;
use crate::active::{Active, State};
use crate::select::{Reason, Visit, positive};
use std::ops::Range;

/// Groups of fewer objects are not judged by what was sent of them; of sound, each frame may be a group.
const LEAST_OBJECTS: usize = 4;

/// How a blocked reader stood when the newest join point was first seen.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    newest: Option<u64>,
    /// Something older was left to send.
    late: bool,
}

impl Cursor {
    /// A reader that is late for the second join point in a row leaves out the older groups of which more than half is
    /// left: they would not be done before it lags too much. What the transport holds of finished groups still goes out.
    pub(crate) fn leave_hopeless(&mut self, visit: &mut Visit<'_>) {
        if !self.was_blocked {
            return;
        }
        let Some(newest) = visit.log.newest_join_point() else { return };
        let before = self.pace.newest.replace(newest);
        if before == Some(newest) {
            return;
        }
        let is_late = self.in_flight.list.iter().any(|active| active.group < newest && active.owes(visit.log));
        let was_late = std::mem::replace(&mut self.pace.late, is_late);
        if !(is_late && was_late && before.is_some_and(|before| visit.log.is_next_join_point(before, newest))) {
            return;
        }
        let older = self.in_flight.list.iter().map(|active| active.group).filter(|group| *group < newest);
        let Some(first) = older.filter(|group| self.is_hardly_begun(*group, visit)).min() else { return };
        self.skip_below = self.skip_below.max(newest);
        self.leave_out_groups(first..newest, Reason::Lag, visit);
    }

    /// Whether the reader has left out this group, or what was left of it, to go on at a newer one.
    #[must_use]
    pub const fn has_skipped(&self, group: u64) -> bool {
        group < self.skip_below
    }

    /// More than half of the group's objects are left to send.
    fn is_hardly_begun(&self, group: u64, visit: &Visit<'_>) -> bool {
        let Some(held) = visit.log.groups.get(&group) else { return false };
        let total: usize = held.subgroups.values().map(|subgroup| subgroup.objects().len()).sum();
        let unsent = |active: &Active| held.subgroups.get(&active.subgroup).map_or(0, |held| active.unsent(held));
        let left: usize = self.in_flight.list.iter().filter(|active| active.group == group).map(unsent).sum();
        total >= LEAST_OBJECTS && left * 2 > total
    }

    /// A blocked reader that is more than `max_lag_groups` behind, or longer than `max_lag_age`, goes on at the newest
    /// join point.
    pub(crate) fn skip_if_lagging(&mut self, visit: &mut Visit<'_>) {
        if !self.was_blocked {
            return;
        }
        let max_lag = self.config.max_lag_groups;
        let base = self.lag_base.unwrap_or(u64::MAX);
        let timeouts = self.config.timeouts;
        let is_timed = positive(timeouts.object).or_else(|| positive(timeouts.subgroup)).is_some();
        let max_age = self.config.max_lag_age.filter(|_| !is_timed);
        let (now, log) = (visit.now, &*visit.log);
        let lags = |active: &Active| {
            let Some(group) = log.groups.get(&active.group) else { return false };
            let newer = log.groups.range(active.group.saturating_add(1)..).take(max_lag + 1).count();
            let pending = group.subgroups.get(&active.subgroup).and_then(|subgroup| active.pending_since(subgroup));
            let Some(since) = pending.filter(|_| active.group >= base) else { return false };
            newer > max_lag || max_age.is_some_and(|age| now.saturating_duration_since(since) > age)
        };
        let behind = self.in_flight.list.iter().filter(|active| lags(active)).map(|active| active.group).max();
        if let Some(group) = behind {
            self.skip_from(group, Reason::Lag, visit);
        }
    }

    /// Leaves out everything below the newest join point, if that lies beyond `group`.
    pub(crate) fn skip_from(&mut self, group: u64, reason: Reason, visit: &mut Visit<'_>) {
        let Some(join) = visit.log.newest_join_point().filter(|join| *join > group) else { return };
        self.skip_below = self.skip_below.max(join);
        // What the transport still holds of old groups would go out before the new one.
        for (_, stream) in self.streams.finished.extract_if(.., |(group, _)| *group < join) {
            visit.sink.reset(stream, reason.code().code());
        }
        self.leave_out_groups(0..join, reason, visit);
    }

    fn leave_out_groups(&mut self, groups: Range<u64>, reason: Reason, visit: &mut Visit<'_>) {
        let mut at = 0;
        while let Some(active) = self.in_flight.list.get(at) {
            if groups.contains(&active.group) {
                self.leave_out(at, reason, visit);
                self.in_flight.list.remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Gives up what was not sent of `list[at]`, and counts it.
    pub(crate) fn leave_out(&mut self, at: usize, reason: Reason, visit: &mut Visit<'_>) {
        let Some(active) = self.in_flight.list.get_mut(at) else { return };
        let held = visit.log.groups.get(&active.group).and_then(|group| group.subgroups.get(&active.subgroup));
        let unsent = held.map_or(0, |subgroup| active.unsent(subgroup)) as u64;
        let open = active.stream.take();
        let (group, state) = (active.group, active.state);
        if let Some(open) = open {
            visit.sink.reset(open.id, reason.code().code());
        } else if unsent == 0 && (held.is_some() || state == State::Parked) {
            return;
        }
        *reason.counter(&mut self.tally.stats.dropped) += unsent;
        if self.tally.skipped != Some(group) && reason != Reason::Stopped {
            self.tally.skipped = Some(group);
            self.tally.stats.groups_skipped += 1;
        }
    }
}
