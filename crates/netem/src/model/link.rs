//! One direction of a link: what becomes of each packet, and when it arrives.

use super::line::Line;
use super::{Counters, Direction, Key, Program, State};
use serde::Serialize;
use std::time::Duration;

/// One direction of a link. Pure: time is the span since the start of the run and never goes back.
///
/// An engine offers each packet, keeps it until the time it is told, and asks at that time whether it has survived.
///
/// ```
/// use sluice_netem::model::{Direction, Key, Link, Span, Verdict, Way};
/// use std::time::Duration;
///
/// let mut link = Link::new(Key::new(7, 0, Way::Forward), Direction::delayed(Span::from_millis(25)));
/// let Verdict::Deliver { at, token, .. } = link.offer(Duration::ZERO, 1200) else { panic!("nothing is lost here") };
/// assert_eq!(at, Duration::from_millis(25));
/// assert!(link.arrives(at, token));
/// ```
#[derive(Debug, Clone)]
pub struct Link {
    line: Line,
    counters: Counters,
}

/// A packet under way, as its link knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub(super) cuts: u32,
    pub(super) bytes: u32,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is gone.
    Drop(Reason),
    /// It arrives, unless the link is cut meanwhile.
    Deliver {
        /// When.
        at: Duration,
        /// When a second copy of it arrives.
        copy: Option<Duration>,
        /// How long it waits before the bottleneck turns to it.
        queued: Duration,
        /// What to ask [`Link::arrives`] with, for the packet and for its copy.
        token: Token,
    },
}

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The link was down when it came.
    Down,
    /// It was larger than the MTU.
    Mtu,
    /// The loss model took it.
    Loss,
    /// The queue was full.
    Queue,
    /// The link was cut while it was under way.
    Cut,
}

impl Link {
    /// A link that is up.
    #[must_use]
    pub fn new(key: Key, config: Direction) -> Self {
        Self { line: Line::new(key, config), counters: Counters::default() }
    }

    /// What becomes of the next packet, which comes at `now` and has `bytes` with its IP header.
    pub fn offer(&mut self, now: Duration, bytes: usize) -> Verdict {
        self.line.offer(now, bytes, &mut self.counters)
    }

    /// Whether a packet with `token` that was to arrive at `due` does so. To be asked once at that time or later, for a
    /// packet and its copy each: it counts them.
    pub fn arrives(&mut self, due: Duration, token: Token) -> bool {
        self.line.arrives(due, token, &mut self.counters)
    }

    /// Changes the conditions from `now` on. What is under way keeps its arrival; a trace starts anew unless it is the
    /// one that runs. Ends a program.
    pub fn set(&mut self, now: Duration, config: Direction) {
        self.line.set(now, config);
    }

    /// Takes the link down or up at `now`. What is queued or under way when it goes down is lost. A program goes on.
    pub fn set_state(&mut self, now: Duration, state: State) {
        self.line.set_state(now, state);
    }

    /// Lets `program` change the conditions from `now` on.
    pub fn run_program(&mut self, now: Duration, program: Program) {
        self.line.run_program(now, program, now);
    }

    /// The conditions in force.
    #[must_use]
    pub const fn config(&self) -> &Direction {
        self.line.config()
    }

    /// Whether the link carries packets.
    #[must_use]
    pub const fn state(&self) -> State {
        self.line.state()
    }

    /// How long a packet that came at `now` would wait before the bottleneck.
    #[must_use]
    pub const fn backlog(&self, now: Duration) -> Duration {
        self.line.backlog(now)
    }

    /// What the link has done so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
