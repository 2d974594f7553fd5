//! The clock of a run: shards on a virtual network, turned in one thread whenever something is due.

use super::net::{HostId, Net, VirtualSocket};
use sluice_net::{Clock, Hosted, ManualClock, Shard};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Turns of one host without time passing, after which it is called stuck.
const MAX_TURNS_AT_ONCE: u32 = 10_000;

/// A run cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A shard wants to be turned for ever without time passing.
    #[error("host {host} spins at {at:?}: {MAX_TURNS_AT_ONCE} turns brought no progress")]
    Spins {
        /// Number of the host.
        host: usize,
        /// Virtual time.
        at: Duration,
    },
    /// A shard failed.
    #[error("host {host} failed at {at:?}: {source}")]
    Turn {
        /// Number of the host.
        host: usize,
        /// Virtual time.
        at: Duration,
        /// Why.
        source: io::Error,
    },
}

/// The clock of one machine: all share the monotonic time, each has its own wall clock.
#[derive(Debug, Clone)]
pub(super) struct HostClock {
    time: ManualClock,
    skew_millis: Arc<AtomicI64>,
}

impl HostClock {
    /// Moves the wall clock, forwards or back.
    pub(super) fn jump(&self, millis: i64) {
        self.skew_millis.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn now(&self) -> Instant {
        self.time.now()
    }

    fn unix_time(&self) -> Duration {
        let skew = self.skew_millis.load(Ordering::Relaxed);
        let by = Duration::from_millis(skew.unsigned_abs());
        let unix = self.time.unix_time();
        if skew < 0 { unix.saturating_sub(by) } else { unix + by }
    }
}

/// Whether a machine's program gets the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    Yes,
    /// Stopped by a signal: packets wait in its sockets.
    Stopped,
}

struct Slot<A: Hosted> {
    shard: Option<Shard<VirtualSocket, A>>,
    running: Running,
    due: Option<Duration>,
    clock: HostClock,
    /// Time of the latest turn, and turns since it came.
    latest: (Duration, u32),
}

/// Hosts, the network between them, and the time.
pub(super) struct Engine<A: Hosted> {
    net: Net,
    time: ManualClock,
    start: Instant,
    slots: Vec<Slot<A>>,
    due: BTreeSet<(Duration, HostId)>,
    touched: Vec<HostId>,
    turns: u64,
}

impl<A: Hosted> fmt::Debug for Engine<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("now", &self.now()).field("hosts", &self.slots.len()).finish_non_exhaustive()
    }
}

impl<A: Hosted> Engine<A> {
    /// An empty network at time zero, which is `wall` on every wall clock.
    pub(super) fn new(wall: Duration) -> Self {
        let time = ManualClock::new(wall);
        Self {
            net: Net::default(),
            start: time.now(),
            time,
            slots: Vec::new(),
            due: BTreeSet::new(),
            touched: Vec::new(),
            turns: 0,
        }
    }

    /// The network.
    pub(super) const fn net(&self) -> &Net {
        &self.net
    }

    /// Time since the start.
    pub(super) fn now(&self) -> Duration {
        self.time.elapsed()
    }

    /// `at` as the apps see it.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// An app's time as time since the start.
    pub(super) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// Turns of all shards so far.
    pub(super) const fn turns(&self) -> u64 {
        self.turns
    }

    /// Adds a machine without a program.
    pub(super) fn add_host(&mut self, ip: std::net::IpAddr) -> HostId {
        let host = self.net.add_host(ip);
        let clock = HostClock { time: self.time.clone(), skew_millis: Arc::default() };
        self.slots.push(Slot { shard: None, running: Running::Yes, due: None, clock, latest: (Duration::ZERO, 0) });
        host
    }

    /// The clock of a machine.
    pub(super) fn clock(&self, host: HostId) -> &HostClock {
        &self.slots[host.0].clock
    }

    /// Starts a program; it gets its first turn at the present instant.
    pub(super) fn start(&mut self, host: HostId, mut shard: Shard<VirtualSocket, A>) {
        // What the app has wanted since it was made.
        shard.with_app(|_, _| {});
        self.slots[host.0].shard = Some(shard);
        self.slots[host.0].running = Running::Yes;
        self.schedule(host, Some(self.now()));
    }

    /// Ends a program without a word; its sockets and its state are gone.
    pub(super) fn kill(&mut self, host: HostId) {
        self.schedule(host, None);
        // Dropped here, so that its addresses are free for what comes after it.
        self.slots[host.0].shard = None;
    }

    /// Closes the connections of a program that runs, for its last turn.
    pub(super) fn end(&mut self, host: HostId) {
        let slot = &mut self.slots[host.0];
        if let Some(shard) = slot.shard.as_mut().filter(|_| slot.running == Running::Yes) {
            // A queue that nobody else uses has room, and simulated sockets do not fail.
            let _ = shard.handle().stop(Duration::ZERO);
            let _ = shard.turn(Duration::ZERO);
        }
    }

    /// Takes the processor away from a program.
    pub(super) fn stop(&mut self, host: HostId) {
        self.slots[host.0].running = Running::Stopped;
        self.schedule(host, None);
    }

    /// Gives it back.
    pub(super) fn cont(&mut self, host: HostId) {
        self.slots[host.0].running = Running::Yes;
        if self.slots[host.0].shard.is_some() {
            self.schedule(host, Some(self.now()));
        }
    }

    /// The program of a machine, if one runs there.
    pub(super) fn shard(&self, host: HostId) -> Option<&Shard<VirtualSocket, A>> {
        self.slots.get(host.0)?.shard.as_ref()
    }

    /// Whether a program gets the processor.
    pub(super) fn is_running(&self, host: HostId) -> bool {
        self.slots.get(host.0).is_some_and(|slot| slot.shard.is_some() && slot.running == Running::Yes)
    }

    /// Calls the app of a machine between turns; its effects follow at the present instant.
    pub(super) fn with_app<R>(&mut self, host: HostId, body: impl FnOnce(&mut A, Instant) -> R) -> Option<R> {
        let slot = &mut self.slots[host.0];
        let result = slot.shard.as_mut()?.with_app(body);
        if slot.running == Running::Yes {
            self.schedule(host, Some(self.now()));
        }
        Some(result)
    }

    /// Takes something from the app of a machine that leads to no effects: the run goes on as if nobody had looked.
    pub(super) fn peek<R>(&mut self, host: HostId, body: impl FnOnce(&mut A) -> R) -> Option<R> {
        Some(self.slots[host.0].shard.as_mut()?.with_app(|app, _| body(app)))
    }

    /// Runs until `end`.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub(super) fn run_until(&mut self, end: Duration) -> Result<(), EngineError> {
        loop {
            let wakeup = self.due.first().map(|(at, _)| *at);
            let Some(next) = [wakeup, self.net.next()].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.advance(end);
                return Ok(());
            };
            self.advance(next);
            self.step()?;
        }
    }

    fn advance(&mut self, to: Duration) {
        if to > self.now() {
            self.time.advance_to(self.start + to);
        }
        self.net.deliver(self.now(), &mut self.touched);
    }

    /// Turns every host that has something to do at the present instant, in the order of their numbers.
    fn step(&mut self) -> Result<(), EngineError> {
        let now = self.now();
        while let Some((at, host)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, host));
            self.slots[host.0].due = None;
            self.touched.push(host);
        }
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for host in touched.drain(..) {
            self.turn(host)?;
        }
        self.touched = touched;
        Ok(())
    }

    fn turn(&mut self, host: HostId) -> Result<(), EngineError> {
        let now = self.now();
        let slot = &mut self.slots[host.0];
        let Some(shard) = slot.shard.as_mut().filter(|_| slot.running == Running::Yes) else { return Ok(()) };
        slot.latest = if slot.latest.0 == now { (now, slot.latest.1 + 1) } else { (now, 1) };
        if slot.latest.1 > MAX_TURNS_AT_ONCE {
            return Err(EngineError::Spins { host: host.0, at: now });
        }
        self.turns += 1;
        shard.turn(Duration::ZERO).map_err(|source| EngineError::Turn { host: host.0, at: now, source })?;
        let wakeup = shard.next_wakeup().map(|at| at.saturating_duration_since(self.start).max(now));
        let due = if self.net.has_mail(host) { Some(now) } else { wakeup };
        self.schedule(host, due);
        Ok(())
    }

    fn schedule(&mut self, host: HostId, due: Option<Duration>) {
        let slot = &mut self.slots[host.0];
        if slot.due != due {
            if let Some(old) = slot.due {
                self.due.remove(&(old, host));
            }
            self.due.extend(due.map(|at| (at, host)));
            slot.due = due;
        }
    }
}
