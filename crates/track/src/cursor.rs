//! One reader: the place of one subscription of one session in a log.

use crate::active::{InFlight, State};
use crate::group::Group;
use crate::lag::Pace;
use crate::range::after;
use crate::{Log, Range, Stats};
use sluice_moqt::error::ResetCode;
use sluice_moqt::message::{Class, Timeouts};
use sluice_moqt::transport::{StreamId, StreamSink};
use sluice_moqt::types::{GroupOrder, TrackAlias};
use std::time::{Duration, Instant};

/// After a newer group began, how long a reader waits for late subgroups of the last group of its filter.
const SETTLE: Duration = Duration::from_secs(1);

/// When bytes of an object go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// As they arrive: trunks.
    CutThrough,
    /// When the object is whole: viewers; fewer visits to a connection.
    Whole,
}

/// Forward state (draft-18 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// 1: objects are sent.
    On,
    /// 0: none are.
    Off,
}

/// What a subscription asked for.
#[derive(Debug, Clone, Copy)]
pub struct CursorConfig {
    /// The alias that names the track in this session. Readers of one log with one alias share encoded datagrams.
    pub alias: TrackAlias,
    /// Cut-through or whole objects.
    pub mode: Forwarding,
    /// Which objects pass.
    pub range: Range,
    /// Group order of the subscription.
    pub order: GroupOrder,
    /// Subscriber priority.
    pub priority: u8,
    /// Traffic class.
    pub class: Class,
    /// The effective delivery timeouts: per kind the smaller one of publisher's and subscriber's (draft-18 section 6).
    pub timeouts: Timeouts,
    /// Groups that a blocked reader may lag before it skips to the newest join point.
    pub max_lag_groups: usize,
    /// Age at which what a blocked reader has not taken makes it skip likewise; counts where no delivery timeout does.
    pub max_lag_age: Option<Duration>,
    /// Forward state.
    pub forward: Forward,
}

/// What a REQUEST_UPDATE changes; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct CursorUpdate {
    /// New range; never wider than before.
    pub range: Option<Range>,
    /// New subscriber priority.
    pub priority: Option<u8>,
    /// New effective timeouts.
    pub timeouts: Option<Timeouts>,
    /// New forward state; from off to on the reader goes on after the largest location.
    pub forward: Option<Forward>,
}

/// What one visit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selected {
    /// Bytes that the sink took.
    pub wrote: usize,
    /// The sink took less than was offered or opened no stream: `Writable` or a grown stream limit comes later.
    pub blocked: bool,
    /// The budget of one visit ran out: visit again without waiting for an event.
    pub pending: bool,
}

/// The place of one subscription in a log.
#[derive(Debug)]
pub struct Cursor {
    pub(crate) config: CursorConfig,
    pub(crate) in_flight: InFlight,
    pub(crate) seen: Seen,
    pub(crate) streams: Streams,
    /// Groups below are left out.
    pub(crate) skip_below: u64,
    /// Groups from here on came while this cursor was there: only in those can it lag.
    pub(crate) lag_base: Option<u64>,
    /// The last visit ended because the sink took no more.
    pub(crate) was_blocked: bool,
    pub(crate) pace: Pace,
    /// When something that is waited for times out.
    pub(crate) deadline: Option<Instant>,
    pub(crate) tally: Tally,
}

/// How far a cursor has looked.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Births of subgroups; `None`: look through all groups.
    pub(crate) births: Option<u64>,
    /// Datagrams.
    pub(crate) datagrams: u64,
    /// Largest group that a subgroup was taken from.
    pub(crate) group: Option<u64>,
    /// Publisher priority of the subgroup that was taken last.
    pub(crate) priority: u8,
}

impl Seen {
    /// Nothing, and of datagrams those to come.
    fn nothing(log: &Log) -> Self {
        Self { births: None, datagrams: log.datagrams.total(), group: None, priority: log.newest_priority() }
    }
}

/// Streams that need something besides objects.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// To be reset at the next visit.
    pub(crate) resets: Vec<(StreamId, ResetCode)>,
    /// Finished, but to be reset when not acknowledged by then (SUBGROUP_DELIVERY_TIMEOUT).
    pub(crate) closing: Vec<(StreamId, Instant)>,
    /// Finished and not acknowledged, with their groups: to be reset when the reader skips these.
    pub(crate) finished: Vec<(u64, StreamId)>,
    /// The subscriber priority changed.
    pub(crate) reprioritize: bool,
    pub(crate) opened: u64,
}

/// Counters, and what they need to count each group once.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stats: Stats,
    pub(crate) skipped: Option<u64>,
}

impl Cursor {
    /// A reader of what `config.range` passes, starting with what `log` holds of it.
    #[must_use]
    pub fn new(config: CursorConfig, log: &Log) -> Self {
        Self {
            in_flight: InFlight::new(config.order),
            seen: Seen::nothing(log),
            streams: Streams::default(),
            skip_below: 0,
            lag_base: log.largest().map(|largest| largest.group),
            was_blocked: false,
            pace: Pace::default(),
            deadline: None,
            tally: Tally::default(),
            config,
        }
    }

    /// Applies a REQUEST_UPDATE; streams that it ends are reset at the next [`Cursor::select`].
    pub fn update(&mut self, log: &Log, update: CursorUpdate) {
        if let Some(priority) = update.priority {
            self.streams.reprioritize |= priority != self.config.priority;
            self.config.priority = priority;
        }
        if let Some(timeouts) = update.timeouts {
            self.config.timeouts = timeouts;
        }
        if let Some(range) = update.range {
            self.narrow(range);
        }
        match (self.config.forward, update.forward) {
            (Forward::On, Some(Forward::Off)) => {
                // "Omitting a Subgroup Object due to the subscriber's Forward State" resets (draft-18 10.4.3).
                self.reset_all();
                self.config.forward = Forward::Off;
            }
            (Forward::Off, Some(Forward::On)) => {
                let start = log.largest().map_or(self.config.range.start, after);
                self.config.range.start = self.config.range.start.max(start);
                self.config.forward = Forward::On;
                self.seen = Seen::nothing(log);
                self.lag_base = log.largest().map(|largest| largest.group);
            }
            (Forward::On | Forward::Off, None)
            | (Forward::On, Some(Forward::On))
            | (Forward::Off, Some(Forward::Off)) => {}
        }
    }

    /// The peer sent STOP_SENDING: the stream is reset at the next [`Cursor::select`] and its subgroup left out.
    pub fn handle_stopped(&mut self, stream: StreamId) {
        self.streams.finished.retain(|(_, finished)| *finished != stream);
        if let Some(active) = self.in_flight.by_stream(stream) {
            active.state = State::Stopped;
        } else if let Some(at) = self.streams.closing.iter().position(|(closing, _)| *closing == stream) {
            self.streams.closing.swap_remove(at);
            self.streams.resets.push((stream, ResetCode::Cancelled));
        }
    }

    /// Everything on the stream was acknowledged, or it is gone.
    pub fn handle_stream_closed(&mut self, stream: StreamId) {
        self.streams.closing.retain(|(closing, _)| *closing != stream);
        self.streams.finished.retain(|(_, finished)| *finished != stream);
    }

    /// Resets every open stream, those included that await the acknowledgement of their end; for a subscription that
    /// was cancelled (`Cancelled`) or ended early.
    pub fn close(&mut self, sink: &mut dyn StreamSink, code: ResetCode) {
        self.reset_all();
        for (stream, _) in self.streams.resets.drain(..) {
            sink.reset(stream, code.code());
        }
        for (stream, _) in self.streams.closing.drain(..) {
            sink.reset(stream, code.code());
        }
    }

    /// Whether everything that can pass was sent, or given up: time for PUBLISH_DONE.
    #[must_use]
    pub fn finished(&self, now: Instant, log: &Log) -> bool {
        let seen = self.seen.births == Some(log.births.total()) && self.seen.datagrams == log.datagrams.total();
        let idle = (seen || self.config.forward == Forward::Off)
            && self.in_flight.list.is_empty()
            && self.streams.resets.is_empty();
        let over = log.ended() || self.config.range.end_group.is_some_and(|end| self.is_past(now, log, end));
        idle && over
    }

    /// Streams opened so far: Stream Count of PUBLISH_DONE.
    #[must_use]
    pub const fn streams_opened(&self) -> u64 {
        self.streams.opened
    }

    /// Publisher priority of what it sends next, as far as known; lower goes first.
    #[must_use]
    pub fn publisher_priority(&self) -> u8 {
        self.in_flight.list.first().map_or(self.seen.priority, |active| active.priority)
    }

    /// What the subscription asks for, updates included.
    #[must_use]
    pub const fn config(&self) -> &CursorConfig {
        &self.config
    }

    /// Counters since they were taken last.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.tally.stats
    }

    /// The counters, which begin anew.
    pub const fn take_stats(&mut self) -> Stats {
        std::mem::replace(&mut self.tally.stats, Stats::NONE)
    }

    /// When to call [`Cursor::select`], and to ask [`Cursor::finished`], even if nothing arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let closing = self.streams.closing.iter().map(|(_, at)| *at).min();
        [self.deadline, closing].into_iter().flatten().min()
    }

    /// When a newer group has settled the last one of the filter.
    pub(crate) fn settles(&self, log: &Log) -> Option<Instant> {
        let after_end = self.config.range.end_group?.checked_add(1)?;
        log.groups.range(after_end..).next().map(|(_, group)| group.born + SETTLE)
    }

    fn is_past(&self, now: Instant, log: &Log, end_group: u64) -> bool {
        log.is_evicted(end_group)
            || log.groups.get(&end_group).is_some_and(Group::is_complete)
            || self.settles(log).is_some_and(|at| at <= now)
    }

    /// A new range that is never wider: ends what falls out of it, moves what starts later.
    fn narrow(&mut self, range: Range) {
        self.config.range = range;
        let resets = &mut self.streams.resets;
        self.in_flight.list.retain_mut(|active| {
            let touched = range.touches(active.group);
            let first = range.first_object(active.group);
            if touched && active.place.next >= first {
                return true;
            }
            // "A REQUEST_UPDATE moving the subscription's End Group to a smaller Group or the Start Location to a
            // larger Location" resets (draft-18 10.4.3).
            resets.extend(active.stream.take().map(|open| (open.id, ResetCode::Cancelled)));
            active.place.next = first;
            active.place.offset = 0;
            touched
        });
    }

    fn reset_all(&mut self) {
        let open = self.in_flight.list.drain(..).filter_map(|active| active.stream);
        self.streams.resets.extend(open.map(|open| (open.id, ResetCode::Cancelled)));
    }
}
