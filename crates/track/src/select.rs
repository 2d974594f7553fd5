//! One visit of a cursor: what may be sent now goes to the transport, in send order.

use crate::active::{Active, Place, State};
use crate::batch::Batch;
use crate::priority::{Order, transport_priority};
use crate::serve::Fate;
use crate::stats::Dropped;
use crate::{Cursor, Forward, Log, Selected};
use sluice_moqt::error::ResetCode;
use sluice_moqt::transport::{DatagramError, StreamSink};
use std::time::{Duration, Instant};

/// One visit.
pub(crate) struct Visit<'a> {
    pub(crate) now: Instant,
    pub(crate) log: &'a mut Log,
    pub(crate) sink: &'a mut dyn StreamSink,
    pub(crate) batch: Batch,
    pub(crate) selected: Selected,
    deadline: Option<Instant>,
    /// The newest group in which the reader was found behind.
    pub(crate) behind: Option<u64>,
}

/// Why objects are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Timeout,
    Lag,
    Evicted,
    Stopped,
}

impl Reason {
    pub(crate) const fn code(self) -> ResetCode {
        match self {
            // "its streams are reset with DELIVERY_TIMEOUT": the reader lags because delivery takes too long.
            Self::Timeout | Self::Lag => ResetCode::DeliveryTimeout,
            Self::Evicted => ResetCode::TooFarBehind,
            Self::Stopped => ResetCode::Cancelled,
        }
    }

    pub(crate) const fn counter(self, dropped: &mut Dropped) -> &mut u64 {
        match self {
            Self::Timeout => &mut dropped.timeout,
            Self::Lag => &mut dropped.lag,
            Self::Evicted => &mut dropped.evicted,
            Self::Stopped => &mut dropped.stopped,
        }
    }
}

impl Visit<'_> {
    pub(crate) fn wait_until(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }
}

impl Cursor {
    /// Writes what may be sent now, in send order, until nothing is left or the sink blocks. Resets and timeouts come
    /// first.
    pub fn select(&mut self, now: Instant, log: &mut Log, sink: &mut dyn StreamSink) -> Selected {
        let batch = Batch::new();
        let mut visit = Visit { now, log, sink, batch, selected: Selected::default(), deadline: None, behind: None };
        self.flush_resets(&mut visit);
        if self.config.forward == Forward::Off {
            self.deadline = None;
            return visit.selected;
        }
        self.take_births(visit.log);
        self.skip_if_lagging(&mut visit);
        self.leave_hopeless(&mut visit);
        self.send_datagrams(&mut visit);
        let mut at = 0;
        while at < self.in_flight.list.len() && !visit.selected.pending {
            match self.serve(at, &mut visit) {
                Fate::Keep => at += 1,
                Fate::Remove => drop(self.in_flight.list.remove(at)),
            }
        }
        if let Some(group) = visit.behind {
            self.skip_from(group, Reason::Timeout, &mut visit);
        }
        if let Some(at) = self.settles(visit.log).filter(|at| *at > now) {
            visit.wait_until(at);
        }
        self.was_blocked = visit.selected.blocked;
        self.deadline = visit.deadline;
        self.tally.stats.bytes += visit.selected.wrote as u64;
        visit.selected
    }

    fn flush_resets(&mut self, visit: &mut Visit<'_>) {
        for (stream, code) in self.streams.resets.drain(..) {
            visit.sink.reset(stream, code.code());
        }
        let now = visit.now;
        self.streams.closing.retain(|(stream, at)| {
            if *at <= now {
                visit.sink.reset(*stream, ResetCode::DeliveryTimeout.code());
            }
            *at > now
        });
        if std::mem::take(&mut self.streams.reprioritize) {
            self.set_priorities(visit.sink);
        }
    }

    /// Learns of new subgroups.
    fn take_births(&mut self, log: &Log) {
        let total = log.births.total();
        match self.seen.births {
            Some(seen) if seen == total => return,
            Some(seen) => match log.births.since(seen) {
                Some(births) => births.for_each(|(group, subgroup)| self.take(log, group, subgroup)),
                None => {
                    // Too many births since the last visit to know what was sent of them: go on behind all of that.
                    let known = self.seen.group.map_or(0, |group| group.saturating_add(1));
                    self.skip_below = self.skip_below.max(known);
                    self.take_all(log);
                }
            },
            None => self.take_all(log),
        }
        self.seen.births = Some(total);
    }

    fn take_all(&mut self, log: &Log) {
        let first = self.config.range.start.group.max(self.skip_below);
        for (group, held) in log.groups.range(first..) {
            held.subgroups.keys().for_each(|subgroup| self.take(log, *group, *subgroup));
        }
    }

    fn take(&mut self, log: &Log, group: u64, subgroup: u64) {
        let range = self.config.range;
        let held = log.groups.get(&group).and_then(|group| group.subgroups.get(&subgroup));
        let Some(held) = held.filter(|_| range.touches(group) && group >= self.skip_below) else { return };
        self.lag_base = self.lag_base.or(Some(group));
        self.seen.group = self.seen.group.max(Some(group));
        let place = Place { next: range.first_object(group), hint: 0, offset: 0 };
        let priority = held.priority.value();
        self.seen.priority = priority;
        self.in_flight.insert(Active { group, subgroup, priority, rank: 0, place, stream: None, state: State::Live });
    }

    fn send_datagrams(&mut self, visit: &mut Visit<'_>) {
        let timeouts = self.config.timeouts;
        // "the SUBGROUP_DELIVERY_TIMEOUT acts the same way as OBJECT_DELIVERY_TIMEOUT; if both are non-zero, the
        // smaller of the two is used" (draft-18 section 6).
        let held_for = visit.log.limits().held_for();
        let late = [timeouts.object, timeouts.subgroup, held_for].into_iter().filter_map(positive).min();
        let stats = &mut self.tally.stats;
        while let Some((number, held)) = visit.log.datagrams.next_mut(self.seen.datagrams) {
            stats.dropped.evicted += number - self.seen.datagrams;
            self.seen.datagrams = number + 1;
            if !self.config.range.contains(held.object.location) {
                continue;
            }
            if late.is_some_and(|late| visit.now.saturating_duration_since(held.arrived) > late) {
                stats.dropped.timeout += 1;
                continue;
            }
            let max = visit.sink.max_datagram_size().unwrap_or(0);
            let Some(bytes) = held.encoded(self.config.alias).filter(|bytes| bytes.len() <= max) else {
                stats.dropped.oversize += 1;
                continue;
            };
            let len = bytes.len();
            match visit.sink.send_datagram(bytes) {
                Ok(()) => {
                    stats.objects += 1;
                    visit.selected.wrote += len;
                }
                Err(DatagramError::TooLarge { .. } | DatagramError::Unsupported) => stats.dropped.oversize += 1,
                Err(DatagramError::Blocked) => stats.dropped.datagram += 1,
            }
        }
    }

    /// Tells the transport all ranks anew.
    pub(crate) fn set_priorities(&self, sink: &mut dyn StreamSink) {
        for active in &self.in_flight.list {
            if let Some(open) = &active.stream {
                sink.set_priority(open.id, priority_of(&self.config, active));
            }
        }
    }
}

/// Priority of a subgroup's stream.
pub(crate) fn priority_of(config: &crate::CursorConfig, active: &Active) -> i32 {
    transport_priority(Order {
        class: config.class,
        subscriber: config.priority,
        publisher: active.priority,
        group_rank: active.rank,
        subgroup: active.subgroup,
    })
}

/// "a value of 0 means that there is no timeout set" (draft-18 section 6).
pub(crate) fn positive(timeout: Option<Duration>) -> Option<Duration> {
    timeout.filter(|timeout| !timeout.is_zero())
}
