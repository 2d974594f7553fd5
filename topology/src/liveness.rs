//! Liveness of a trunk peer, a routing state and not the connection's: silence makes a peer suspect long before its
//! connection times out, and the connection stays.

use std::time::{Duration, Instant};

/// Silence below this never makes a peer suspect.
pub const MIN_SUSPECT: Duration = Duration::from_millis(150);
/// First time that a peer must be heard without a break before it is trusted again; doubles per relapse.
const FIRST_PROBATION: Duration = Duration::from_secs(2);
/// Longest probation.
const MAX_PROBATION: Duration = Duration::from_secs(64);
/// A loop that was later than this must not judge its peers by its own pause.
pub const OWN_LATENESS: Duration = Duration::from_millis(50);

/// What may be asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Takes joins.
    Up,
    /// Silent too long, or heard again but on probation: no new joins, its tracks look for another parent.
    Suspect,
}

/// Judges one peer by when it was last heard.
#[derive(Debug, Clone)]
pub struct Monitor {
    last_heard: Instant,
    interval: Duration,
    state: State,
    clean_since: Option<Instant>,
    probation: Duration,
}

impl Monitor {
    /// A peer heard at `now`, probed every `interval`.
    #[must_use]
    pub const fn new(now: Instant, interval: Duration) -> Self {
        Self { last_heard: now, interval, state: State::Up, clean_since: None, probation: FIRST_PROBATION }
    }

    /// The judgement as of the last call.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Suspect, and not heard since.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self.state, State::Suspect) && self.clean_since.is_none()
    }

    /// Changes the probe interval in force. A shorter one counts from now: nothing faster was due before.
    pub fn set_interval(&mut self, now: Instant, interval: Duration) {
        if interval < self.interval {
            self.last_heard = self.last_heard.max(now);
        }
        self.interval = interval;
    }

    /// Anything arrived from the peer. Returns the new state where it changed.
    pub fn on_heard(&mut self, now: Instant) -> Option<State> {
        self.last_heard = now;
        match self.state {
            State::Up => None,
            State::Suspect => {
                let since = *self.clean_since.get_or_insert(now);
                if now.saturating_duration_since(since) < self.probation {
                    return None;
                }
                self.state = State::Up;
                self.clean_since = None;
                self.probation = (self.probation * 2).min(MAX_PROBATION);
                Some(State::Up)
            }
        }
    }

    /// Our own loop was late: restart the silence clock instead of judging the peer by our pause.
    pub fn on_own_lateness(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Judges silence. Returns the new state where it changed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<State> {
        if now.saturating_duration_since(self.last_heard) <= self.patience() {
            return None;
        }
        self.clean_since = None;
        match self.state {
            State::Suspect => None,
            State::Up => {
                self.state = State::Suspect;
                Some(State::Suspect)
            }
        }
    }

    /// When [`Monitor::handle_timeout`] could change something; `None` while suspect.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Up => Some(self.last_heard + self.patience() + Duration::from_millis(1)),
            State::Suspect => None,
        }
    }

    fn patience(&self) -> Duration {
        (self.interval * 3).max(MIN_SUSPECT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn silence_makes_suspect_and_probation_makes_up() {
        let t0 = start();
        let mut m = Monitor::new(t0, ms(100));
        assert_eq!(m.handle_timeout(t0 + ms(300)), None);
        assert_eq!(m.handle_timeout(t0 + ms(301)), Some(State::Suspect));
        assert!(m.is_silent());
        assert_eq!(m.on_heard(t0 + ms(400)), None);
        assert!(!m.is_silent());
        assert_eq!(m.on_heard(t0 + ms(2_399)), None);
        assert_eq!(m.on_heard(t0 + ms(2_400)), Some(State::Up));
    }

    #[test]
    fn probation_doubles_per_relapse_and_starts_over_after_silence() {
        let t0 = start();
        let mut m = Monitor::new(t0, ms(100));
        m.handle_timeout(t0 + ms(400));
        m.on_heard(t0 + ms(500));
        m.on_heard(t0 + ms(2_500));
        assert_eq!(m.state(), State::Up);
        assert_eq!(m.handle_timeout(t0 + ms(3_000)), Some(State::Suspect));
        m.on_heard(t0 + ms(3_000));
        m.on_heard(t0 + ms(6_900));
        assert_eq!(m.state(), State::Suspect);
        m.handle_timeout(t0 + ms(7_300));
        m.on_heard(t0 + ms(8_000));
        m.on_heard(t0 + ms(11_999));
        assert_eq!(m.state(), State::Suspect);
        assert_eq!(m.on_heard(t0 + ms(12_000)), Some(State::Up));
    }

    #[test]
    fn a_shorter_interval_is_not_held_against_the_time_before() {
        let t0 = start();
        let mut m = Monitor::new(t0, ms(1_000));
        m.set_interval(t0 + ms(900), ms(100));
        assert_eq!(m.handle_timeout(t0 + ms(1_200)), None);
        assert_eq!(m.handle_timeout(t0 + ms(1_201)), Some(State::Suspect));
    }

    #[test]
    fn own_lateness_is_not_held_against_the_peer() {
        let t0 = start();
        let mut m = Monitor::new(t0, ms(50));
        m.on_own_lateness(t0 + ms(2_000));
        assert_eq!(m.handle_timeout(t0 + ms(2_100)), None);
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }
}
