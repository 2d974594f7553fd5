//! What the node wants done, and when it wants to be called.

use crate::incident::Incidents;
use crate::sessions::IdHasher;
use crate::tracks::TrackKey;
use sluice_moqt::transport::{Output, SessionId};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::{Duration, Instant};

/// Effects waiting for the host, each session woken at most once between two visits.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    queue: VecDeque<Output>,
    /// For the log.
    pub(crate) incidents: Incidents,
    /// Looked up only; keeps its memory between rounds, so that waking a viewer allocates nothing.
    woken: HashSet<SessionId, BuildHasherDefault<IdHasher>>,
}

impl Effects {
    /// Asks for a visit of `session`.
    pub(crate) fn wake(&mut self, session: SessionId) {
        if self.woken.insert(session) {
            self.queue.push_back(Output::Wake(session));
        }
    }

    /// The host visits `session`: the next wake-up counts again.
    pub(crate) fn visited(&mut self, session: SessionId) {
        self.woken.remove(&session);
    }

    /// Any other effect.
    pub(crate) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    /// The next effect in order.
    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }
}

/// What a deadline belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// A session: protocol deadlines and the delivery timeouts of its cursors.
    Session(SessionId),
    /// A track: linger, holes, pending upstream.
    Track(TrackKey),
    /// Trunks: dials, probes, silence.
    Trunks,
    /// The memory that media takes.
    Memory,
}

/// Deadlines, kept lazily: one is moved forward only when it fires, since most are pushed back again and again.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, TimerKey)>,
    armed: BTreeMap<TimerKey, Instant>,
    late: Duration,
}

impl Timers {
    /// Makes sure that `key` fires at `at` or earlier.
    pub(crate) fn arm(&mut self, key: TimerKey, at: Option<Instant>) {
        let Some(at) = at else { return };
        match self.armed.get(&key) {
            Some(armed) if *armed <= at => {}
            Some(armed) => {
                self.queue.remove(&(*armed, key.clone()));
                self.insert(key, at);
            }
            None => self.insert(key, at),
        }
    }

    fn insert(&mut self, key: TimerKey, at: Instant) {
        self.queue.insert((at, key.clone()));
        self.armed.insert(key, at);
    }

    /// Forgets `key`.
    pub(crate) fn disarm(&mut self, key: &TimerKey) {
        if let Some(at) = self.armed.remove(key) {
            self.queue.remove(&(at, key.clone()));
        }
    }

    /// The next key that is due; its owner arms it again where it is early.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<TimerKey> {
        let at = self.queue.first()?.0;
        if at > now {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.armed.remove(&key);
        self.late = now.saturating_duration_since(at);
        Some(key)
    }

    /// How late the deadline popped last was: our own loop's pause.
    pub(crate) const fn lateness(&self) -> Duration {
        self.late
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_woken_once_between_visits() {
        let mut e = Effects::default();
        e.wake(SessionId(1));
        e.wake(SessionId(1));
        e.wake(SessionId(2));
        assert_eq!(e.pop(), Some(Output::Wake(SessionId(1))));
        assert_eq!(e.pop(), Some(Output::Wake(SessionId(2))));
        assert_eq!(e.pop(), None);
        e.visited(SessionId(1));
        e.wake(SessionId(1));
        assert_eq!(e.pop(), Some(Output::Wake(SessionId(1))));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn timers_move_earlier_at_once_and_later_lazily() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut t = Timers::default();
        t.arm(TimerKey::Trunks, Some(at(50)));
        t.arm(TimerKey::Trunks, Some(at(80)));
        assert_eq!(t.next(), Some(at(50)));
        t.arm(TimerKey::Trunks, Some(at(20)));
        assert_eq!(t.next(), Some(at(20)));
        assert_eq!(t.pop_due(at(10)), None);
        assert_eq!(t.pop_due(at(20)), Some(TimerKey::Trunks));
        assert_eq!(t.next(), None);
    }
}
