//! The deadlines of one session.

use crate::transport::StreamId;
use crate::types::RequestId;
use std::collections::BTreeSet;
use std::time::Instant;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The peer's SETUP.
    Setup,
    /// The peer's leaving after our GOAWAY.
    Goaway,
    /// The first message of a request stream.
    FirstMessage(StreamId),
    /// The header of a data stream.
    Header(StreamId),
    /// What a held data stream waits for.
    Held(StreamId),
    /// The SUBSCRIBE that a joining fetch overtook.
    Joining(RequestId),
    /// The late streams of a subscription that is done.
    Done(RequestId),
    /// The end of a request after our GOAWAY for it.
    RequestGoaway(RequestId),
}

/// Deadlines in order. One that was set must be cleared with the same instant.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.due.insert((at, timer));
    }

    pub(super) fn clear(&mut self, at: Instant, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one that is due at `now`.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        self.due.pop_first().map(|(_, timer)| timer)
    }
}
