//! The conditions of one direction of a link and its place in time: what a [`Link`](super::Link) is besides its counters,
//! which many lines may share.

use super::bottleneck::Server;
use super::draw::{Choice, Draws};
use super::loss::Chain;
use super::program::Running;
use super::{Capacity, Change, Counters, Direction, Key, Program, Reason, Reorder, State, Token, Verdict};
use std::time::Duration;

/// One direction of a link, without what it has done.
#[derive(Debug, Clone)]
pub(super) struct Line {
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
}

/// When the link was cut: what was under way then is lost.
#[derive(Debug, Clone, Copy, Default)]
struct Cuts {
    count: u32,
    last: Duration,
}

impl Line {
    /// A line that is up.
    pub(super) fn new(key: Key, config: Direction) -> Self {
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
        }
    }

    /// Another one under the same conditions, now and later, that nothing has passed yet.
    pub(super) fn sibling(&self, key: Key) -> Self {
        let (config, program) = (self.config.clone(), self.program.clone());
        let (server, cuts, state) = (self.server.sibling(), self.cuts, self.state);
        Self { program, server, cuts, state, ..Self::new(key, config) }
    }

    /// See [`Link::offer`](super::Link::offer).
    pub(super) fn offer(&mut self, now: Duration, bytes: usize, counters: &mut Counters) -> Verdict {
        self.advance(now);
        let packet = self.packet;
        self.packet += 1;
        // No packet has more than a few 10 KiB; a larger number only has to stay larger than any MTU.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        counters.offered.add(u64::from(bytes));
        match self.pass(now, bytes, packet) {
            Ok((queued, leaves)) => self.deliver((queued, leaves), packet, bytes, counters),
            Err(reason) => {
                counters.dropped.add(reason);
                Verdict::Drop(reason)
            }
        }
    }

    /// See [`Link::arrives`](super::Link::arrives).
    pub(super) fn arrives(&mut self, due: Duration, token: Token, counters: &mut Counters) -> bool {
        self.advance(due);
        // An engine that is late asks when the next cut has come already; that one is not the packet's.
        let survived = token.cuts == self.cuts.count || (token.cuts + 1 == self.cuts.count && due <= self.cuts.last);
        if survived {
            counters.delivered.add(u64::from(token.bytes));
        } else {
            counters.dropped.add(Reason::Cut);
        }
        survived
    }

    /// See [`Link::set`](super::Link::set).
    pub(super) fn set(&mut self, now: Duration, config: Direction) {
        self.advance(now);
        self.program = None;
        self.apply(now, Change::Set(config));
    }

    /// See [`Link::set_state`](super::Link::set_state).
    pub(super) fn set_state(&mut self, now: Duration, state: State) {
        self.advance(now);
        self.apply(now, Change::State(state));
    }

    /// See [`Link::run_program`](super::Link::run_program). What of it is due since it has `begun` happens at once.
    pub(super) fn run_program(&mut self, now: Duration, program: Program, begun: Duration) {
        self.advance(now);
        self.program = Some(Running::new(program, begun));
        self.advance(now);
    }

    /// The conditions in force.
    pub(super) const fn config(&self) -> &Direction {
        &self.config
    }

    /// Whether it carries packets.
    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// See [`Link::backlog`](super::Link::backlog).
    pub(super) const fn backlog(&self, now: Duration) -> Duration {
        self.server.backlog(now)
    }

    /// When packet number `packet` waits how long and leaves the bottleneck, or why it does not.
    fn pass(&mut self, now: Duration, bytes: u32, packet: u64) -> Result<(Duration, Duration), Reason> {
        if self.state == State::Down {
            return Err(Reason::Down);
        }
        if self.config.mtu.is_some_and(|mtu| bytes > mtu) {
            return Err(Reason::Mtu);
        }
        if self.config.drop.contains(packet + 1) {
            return Err(Reason::Loss);
        }
        if self.chain.loses(&self.config.loss, self.draws, packet) {
            return Err(Reason::Loss);
        }
        let Some(bottleneck) = &self.config.bottleneck else { return Ok((Duration::ZERO, now)) };
        let queued = self.server.backlog(now);
        let ahead = self.program.iter().flat_map(Running::ahead);
        let leaves = self.server.admit(now, u64::from(bytes), bottleneck, ahead).ok_or(Reason::Queue)?;
        Ok((queued, leaves))
    }

    fn deliver(
        &mut self,
        (queued, leaves): (Duration, Duration),
        packet: u64,
        bytes: u32,
        counters: &mut Counters,
    ) -> Verdict {
        let at = self.arrival(leaves, packet, Choice::Jitter);
        let twice = self.draws.happens(packet, Choice::Duplicate, self.config.duplicate);
        // The copy is made behind the original and never overtakes it.
        let copy = twice.then(|| self.arrival(leaves, packet, Choice::CopyJitter).max(at));
        counters.copies += u64::from(twice);
        let micros = u64::try_from(queued.as_micros()).unwrap_or(u64::MAX);
        counters.queued_max_us = counters.queued_max_us.max(micros);
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
