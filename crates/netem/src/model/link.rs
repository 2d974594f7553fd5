//! One direction of a link: what becomes of each packet, and when it arrives.

use super::bottleneck::Server;
use super::draw::{Choice, Draws};
use super::loss::Chain;
use super::program::Running;
use super::{Capacity, Change, Direction, Key, Program, Reorder, State};
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
    config: Direction,
    draws: Draws,
    program: Option<Running>,
    state: State,
    chain: Chain,
    server: Server,
    cuts: Cuts,
    /// Latest arrival told so far: what [`Reorder::Keep`] holds later packets to.
    latest: Duration,
    packet: u64,
    counters: Counters,
}

/// When the link was cut: what was under way then is lost.
#[derive(Debug, Clone, Copy, Default)]
struct Cuts {
    count: u32,
    last: Duration,
}

/// A packet under way, as its link knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    cuts: u32,
    bytes: u32,
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

/// What a link has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// What came.
    pub offered: Tally,
    /// What arrived, copies included.
    pub delivered: Tally,
    /// Copies made.
    pub copies: u64,
    /// Packets that did not arrive.
    pub dropped: Dropped,
    /// Longest wait before the bottleneck, in microseconds.
    pub queued_max_us: u64,
}

/// Packets and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// How many.
    pub packets: u64,
    /// How large together.
    pub bytes: u64,
}

impl Tally {
    const fn add(&mut self, bytes: u64) {
        self.absorb(Self { packets: 1, bytes });
    }

    const fn absorb(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// Packets dropped, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Dropped {
    /// See [`Reason::Down`].
    pub down: u64,
    /// See [`Reason::Mtu`].
    pub mtu: u64,
    /// See [`Reason::Loss`].
    pub loss: u64,
    /// See [`Reason::Queue`].
    pub queue: u64,
    /// See [`Reason::Cut`]; counts copies too.
    pub cut: u64,
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.down + self.mtu + self.loss + self.queue + self.cut
    }

    const fn absorb(&mut self, other: &Self) {
        self.down += other.down;
        self.mtu += other.mtu;
        self.loss += other.loss;
        self.queue += other.queue;
        self.cut += other.cut;
    }

    const fn add(&mut self, reason: Reason) {
        let counter = match reason {
            Reason::Down => &mut self.down,
            Reason::Mtu => &mut self.mtu,
            Reason::Loss => &mut self.loss,
            Reason::Queue => &mut self.queue,
            Reason::Cut => &mut self.cut,
        };
        *counter += 1;
    }
}

impl Counters {
    /// Adds what another link has counted.
    pub const fn absorb(&mut self, other: &Self) {
        self.offered.absorb(other.offered);
        self.delivered.absorb(other.delivered);
        self.copies += other.copies;
        self.dropped.absorb(&other.dropped);
        if other.queued_max_us > self.queued_max_us {
            self.queued_max_us = other.queued_max_us;
        }
    }

    /// Packets and copies under way: neither arrived nor dropped.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        (self.offered.packets + self.copies).saturating_sub(self.delivered.packets + self.dropped.total())
    }
}

impl Link {
    /// A link that is up.
    #[must_use]
    pub fn new(key: Key, config: Direction) -> Self {
        Self {
            config,
            draws: Draws::new(key),
            program: None,
            state: State::Up,
            chain: Chain::default(),
            server: Server::new(),
            cuts: Cuts::default(),
            latest: Duration::ZERO,
            packet: 0,
            counters: Counters::default(),
        }
    }

    /// Another link under the same conditions, now and later, that nothing has passed yet.
    pub(super) fn sibling(&self, key: Key) -> Self {
        let (config, program) = (self.config.clone(), self.program.clone());
        let (server, cuts, state) = (self.server.sibling(), self.cuts, self.state);
        Self { program, server, cuts, state, ..Self::new(key, config) }
    }

    /// What becomes of the next packet, which comes at `now` and has `bytes` with its IP header.
    pub fn offer(&mut self, now: Duration, bytes: usize) -> Verdict {
        self.advance(now);
        let packet = self.packet;
        self.packet += 1;
        // No packet has more than a few 10 KiB; a larger number only has to stay larger than any MTU.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.counters.offered.add(u64::from(bytes));
        match self.pass(now, bytes, packet) {
            Ok((queued, leaves)) => self.deliver(queued, leaves, packet, bytes),
            Err(reason) => {
                self.counters.dropped.add(reason);
                Verdict::Drop(reason)
            }
        }
    }

    /// Whether a packet with `token` that was to arrive at `due` does so. To be asked once at that time or later, for a
    /// packet and its copy each: it counts them.
    pub fn arrives(&mut self, due: Duration, token: Token) -> bool {
        self.advance(due);
        // An engine that is late asks when the next cut has come already; that one is not the packet's.
        let survived = token.cuts == self.cuts.count || (token.cuts + 1 == self.cuts.count && due <= self.cuts.last);
        if survived {
            self.counters.delivered.add(u64::from(token.bytes));
        } else {
            self.counters.dropped.add(Reason::Cut);
        }
        survived
    }

    /// Changes the conditions from `now` on. What is under way keeps its arrival; a trace starts anew unless it is the
    /// one that runs. Ends a program.
    pub fn set(&mut self, now: Duration, config: Direction) {
        self.advance(now);
        self.program = None;
        self.apply(now, Change::Set(config));
    }

    /// Takes the link down or up at `now`. What is queued or under way when it goes down is lost. A program goes on.
    pub fn set_state(&mut self, now: Duration, state: State) {
        self.advance(now);
        self.apply(now, Change::State(state));
    }

    /// Lets `program` change the conditions from `now` on.
    pub fn run_program(&mut self, now: Duration, program: Program) {
        self.advance(now);
        self.program = Some(Running::new(program, now));
        self.advance(now);
    }

    /// The conditions in force.
    #[must_use]
    pub const fn config(&self) -> &Direction {
        &self.config
    }

    /// Whether the link carries packets.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// How long a packet that came at `now` would wait before the bottleneck.
    #[must_use]
    pub const fn backlog(&self, now: Duration) -> Duration {
        self.server.backlog(now)
    }

    /// What the link has done so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// When packet number `packet` waits how long and leaves the bottleneck, or why it does not.
    fn pass(&mut self, now: Duration, bytes: u32, packet: u64) -> Result<(Duration, Duration), Reason> {
        if self.state == State::Down {
            return Err(Reason::Down);
        }
        if self.config.mtu.is_some_and(|mtu| bytes > mtu) {
            return Err(Reason::Mtu);
        }
        if self.chain.loses(&self.config.loss, self.draws, packet) {
            return Err(Reason::Loss);
        }
        let Some(bottleneck) = &self.config.bottleneck else { return Ok((Duration::ZERO, now)) };
        let queued = self.server.backlog(now);
        let leaves = self.server.admit(now, u64::from(bytes), bottleneck).ok_or(Reason::Queue)?;
        Ok((queued, leaves))
    }

    fn deliver(&mut self, queued: Duration, leaves: Duration, packet: u64, bytes: u32) -> Verdict {
        let at = self.arrival(leaves, packet, Choice::Jitter);
        let twice = self.draws.happens(packet, Choice::Duplicate, self.config.duplicate);
        // The copy is made behind the original and never overtakes it.
        let copy = twice.then(|| self.arrival(leaves, packet, Choice::CopyJitter).max(at));
        self.counters.copies += u64::from(twice);
        let micros = u64::try_from(queued.as_micros()).unwrap_or(u64::MAX);
        self.counters.queued_max_us = self.counters.queued_max_us.max(micros);
        Verdict::Deliver { at, copy, queued, token: Token { cuts: self.cuts.count, bytes } }
    }

    fn arrival(&mut self, leaves: Duration, packet: u64, choice: Choice) -> Duration {
        let spread = self.config.jitter.spread.get();
        let shifted = leaves + self.config.delay.get() + self.draws.spread(packet, choice, spread);
        let at = shifted.saturating_sub(spread).max(leaves);
        match self.config.jitter.reorder {
            Reorder::Keep => {
                self.latest = self.latest.max(at);
                self.latest
            }
            Reorder::Allow => {
                self.latest = self.latest.max(at);
                at
            }
        }
    }

    /// Lets the changes of the program happen that are due at `now`.
    fn advance(&mut self, now: Duration) {
        while let Some((at, change)) = self.program.as_mut().and_then(|program| program.pop(now)) {
            self.apply(at, change);
        }
    }

    fn apply(&mut self, now: Duration, change: Change) {
        match change {
            Change::Set(config) => {
                let (old, new) = (capacity(&self.config), capacity(&config));
                if matches!(new, Some(Capacity::Trace(_))) && old != new {
                    self.server.restart(now);
                }
                self.config = config;
            }
            Change::State(State::Up) => self.state = State::Up,
            Change::State(State::Down) => {
                if self.state == State::Up {
                    self.cuts = Cuts { count: self.cuts.count + 1, last: now };
                    self.server.clear(now);
                    self.latest = now;
                }
                self.state = State::Down;
            }
        }
    }
}

fn capacity(config: &Direction) -> Option<&Capacity> {
    config.bottleneck.as_ref().map(|bottleneck| &bottleneck.capacity)
}

#[cfg(test)]
mod tests;
