//! When a packet leaves a bottleneck, worked out when it arrives.
//!
//! The queue is first in, first out, so the departure of a packet is settled by what waits before it and by how fast the
//! bottleneck will be until then: there is no list of waiting packets and no event per departure. A rate that changes by
//! a program is known beforehand, and what waits then follows it, as does what is being transmitted. A change out of
//! the blue, and one to a trace, holds for what comes later: what has been admitted keeps its departure.

use super::trace::OPPORTUNITY_BYTES;
use super::{Bottleneck, Capacity, Change, Queue, Rate, Trace};
use std::time::Duration;

/// How fast a bottleneck is; `None`: there is none.
type Speed = Option<Rate>;

/// A bottleneck's place in time.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// When everything admitted will have left.
    free_at: Duration,
    /// Where it stands in its trace, if it has one.
    place: Place,
}

/// A place in a trace.
#[derive(Debug, Clone)]
struct Place {
    /// When the trace began.
    start: Duration,
    /// Opportunities before this went to packets that were admitted under earlier conditions.
    floor: Duration,
    /// First opportunity that is not used up.
    next: u64,
    /// Bytes that are left of it.
    left: u64,
}

impl Server {
    pub(super) const fn new() -> Self {
        Self { free_at: Duration::ZERO, place: Place::new(Duration::ZERO, Duration::ZERO) }
    }

    /// Another one at the same place of its trace, with nothing that waits.
    pub(super) const fn sibling(&self) -> Self {
        Self { free_at: Duration::ZERO, place: Place::new(self.place.start, Duration::ZERO) }
    }

    /// Forgets what waits: the link is cut.
    pub(super) const fn clear(&mut self, now: Duration) {
        self.free_at = now;
        self.place = Place::new(self.place.start, now);
    }

    /// Begins a trace at `now`, after what still waits.
    pub(super) const fn restart(&mut self, now: Duration) {
        self.place = Place::new(now, self.free_at);
    }

    /// How long a packet that comes at `now` waits until the bottleneck turns to it.
    pub(super) const fn backlog(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }

    /// When a packet of `bytes` that comes at `now` has left, or `None` where the queue is full. `ahead`: what will
    /// change, in order of time.
    pub(super) fn admit<'a>(
        &mut self,
        now: Duration,
        bytes: u64,
        bottleneck: &Bottleneck,
        ahead: impl Iterator<Item = (Duration, &'a Change)> + Clone,
    ) -> Option<Duration> {
        match &bottleneck.capacity {
            Capacity::Rate(rate) => self.at_rate((now, bytes), *rate, bottleneck.queue, ahead),
            Capacity::Trace(trace) => self.by_trace(now, bytes, trace, bottleneck.queue),
        }
    }

    fn at_rate<'a>(
        &mut self,
        (now, bytes): (Duration, u64),
        rate: Rate,
        queue: Queue,
        ahead: impl Iterator<Item = (Duration, &'a Change)> + Clone,
    ) -> Option<Duration> {
        let limit = match queue {
            Queue::Time(span) => rate.bytes_in(span.get()),
            Queue::Bytes(bytes) => bytes,
        };
        let (waiting, speed) = passed((now, self.free_at), Some(rate), ahead.clone());
        if overflows(waiting, bytes, limit) {
            return None;
        }
        self.free_at = left((self.free_at.max(now), bytes), speed, ahead);
        Some(self.free_at)
    }

    fn by_trace(&mut self, now: Duration, bytes: u64, trace: &Trace, queue: Queue) -> Option<Duration> {
        let limit = match queue {
            Queue::Time(span) => mean_bytes(trace, span.get()),
            Queue::Bytes(bytes) => bytes,
        };
        let place = &mut self.place;
        let first = trace.first_at(now.max(place.floor).saturating_sub(place.start));
        if first > place.next {
            (place.next, place.left) = (first, OPPORTUNITY_BYTES);
        }
        let waiting = (place.next - first) * OPPORTUNITY_BYTES + (OPPORTUNITY_BYTES - place.left);
        if overflows(waiting, bytes, limit) {
            return None;
        }
        self.free_at = place.start + place.take(bytes, trace);
        Some(self.free_at)
    }
}

impl Place {
    const fn new(start: Duration, floor: Duration) -> Self {
        Self { start, floor, next: 0, left: OPPORTUNITY_BYTES }
    }

    /// Uses up opportunities for `bytes` and says when the last of them comes, from the trace's start.
    fn take(&mut self, bytes: u64, trace: &Trace) -> Duration {
        let mut needed = bytes.max(1);
        loop {
            let comes = trace.time_of(self.next);
            let taken = needed.min(self.left);
            needed -= taken;
            self.left -= taken;
            if self.left == 0 {
                (self.next, self.left) = (self.next + 1, OPPORTUNITY_BYTES);
            }
            if needed == 0 {
                return comes;
            }
        }
    }
}

/// Bytes that pass from one time to another, and the speed at the end, where it is `speed` at first.
fn passed<'a>(
    (mut from, to): (Duration, Duration),
    mut speed: Speed,
    ahead: impl Iterator<Item = (Duration, &'a Change)>,
) -> (u64, Speed) {
    let bytes_in = |speed: Speed, span| speed.map_or(0, |rate| rate.bytes_in(span));
    let mut bytes = 0;
    for (at, change) in ahead.take_while(|(at, _)| *at <= to) {
        bytes += bytes_in(speed, at.saturating_sub(from));
        (from, speed) = (at.max(from), after(speed, change));
    }
    (bytes + bytes_in(speed, to.saturating_sub(from)), speed)
}

/// When `bytes` have left that the bottleneck turns to at `from`, being as fast as `speed` then.
fn left<'a>(
    (mut from, mut bytes): (Duration, u64),
    mut speed: Speed,
    ahead: impl Iterator<Item = (Duration, &'a Change)>,
) -> Duration {
    let begins = from;
    for (at, change) in ahead.skip_while(|(at, _)| *at <= begins) {
        let Some(rate) = speed else { return from };
        if from + rate.time_of(bytes) <= at {
            break;
        }
        // Whole bytes: what is left of one is passed again.
        bytes = bytes.saturating_sub(rate.bytes_in(at - from));
        (from, speed) = (at, after(speed, change));
    }
    speed.map_or(from, |rate| from + rate.time_of(bytes))
}

/// The speed after a change. Towards a trace it stays as it is: see the top.
const fn after(speed: Speed, change: &Change) -> Speed {
    match change {
        Change::State(_) => speed,
        Change::Set(config) => match &config.bottleneck {
            None => None,
            Some(Bottleneck { capacity: Capacity::Rate(rate), .. }) => Some(*rate),
            Some(Bottleneck { capacity: Capacity::Trace(_), .. }) => speed,
        },
    }
}

/// A queue that is shorter than a packet still takes one when nothing waits: the transmitter itself holds it.
const fn overflows(waiting: u64, bytes: u64, limit: u64) -> bool {
    waiting > 0 && waiting.saturating_add(bytes) > limit
}

/// Bytes that a trace delivers in `span` on average.
fn mean_bytes(trace: &Trace, span: Duration) -> u64 {
    super::units::whole(trace.mean_rate() / 8.0 * span.as_secs_f64())
}
