//! Changing, reading and stopping a proxy that runs.

use crate::clock::Clock;
use crate::lateness::{Distribution, Lateness};
use crate::model::{Counters, Direction, Lanes, Program, State, Way};
use crate::priority::Raised;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the proxy sleeps where a handle waits. Yielding would do nothing for it: a real-time thread yields to its like
/// only.
const TURN: Duration = Duration::from_micros(20);

/// Changes, reads and stops a proxy, from any thread. It may outlive the proxy.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// What a proxy has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// From the clients to the server.
    pub forward: Counters,
    /// From the server to the clients.
    pub reverse: Counters,
    /// How late packets left: what the figures are worth.
    pub lateness: Lateness,
    /// Whether the proxy goes before ordinary threads: else it is late where they are busy.
    pub is_real_time: bool,
    /// What the links do not know of.
    pub proxy: Tally,
}

/// What a proxy has done besides what its links' counters say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Clients known.
    pub clients: u64,
    /// Packets of clients for whom there was no place or no socket.
    pub turned_away: u64,
    /// Packets from somebody else than the server, thrown away.
    pub foreign: u64,
    /// Packets dropped because too much was under way: the result is not what was asked for.
    pub overflow: u64,
    /// Packets that the kernel refused to send.
    pub refused: u64,
    /// CPU time of the proxy's thread in microseconds.
    pub cpu_us: u64,
}

/// What the proxy's thread and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    clock: Clock,
    stopping: AtomicBool,
    /// Handles that wait for their turn.
    waiting: AtomicUsize,
    is_real_time: AtomicBool,
    state: Mutex<Conditions>,
}

/// The two directions of the link, and what is known of them.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) forward: Lanes,
    pub(super) reverse: Lanes,
    pub(super) late: Distribution,
    pub(super) tally: Tally,
}

impl Conditions {
    pub(super) const fn link(&mut self, way: Way) -> &mut Lanes {
        match way {
            Way::Forward => &mut self.forward,
            Way::Reverse => &mut self.reverse,
        }
    }
}

impl Shared {
    pub(super) fn new(forward: Lanes, reverse: Lanes) -> Arc<Self> {
        let state = Conditions { forward, reverse, late: Distribution::new(), tally: Tally::default() };
        let (stopping, waiting) = (AtomicBool::new(false), AtomicUsize::new(0));
        let is_real_time = AtomicBool::new(false);
        Arc::new(Self { clock: Clock::start(), stopping, waiting, is_real_time, state: Mutex::new(state) })
    }

    pub(super) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Says how the proxy's thread was raised.
    pub(super) fn set_priority(&self, raised: &Raised) {
        self.is_real_time.store(raised.is_real_time(), Ordering::Relaxed);
    }

    /// For the proxy's thread, which would otherwise take the lock again before a handle has woken up.
    pub(super) fn lock_politely(&self) -> MutexGuard<'_, Conditions> {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(TURN);
        }
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Conditions> {
        // Counters and conditions are whole at every point where a thread could have panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Time since the proxy was bound, which is the time of its links.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.clock.now()
    }

    /// Changes the conditions of one way from now on. Ends a program there.
    pub fn set(&self, way: Way, config: Direction) {
        self.change(|state, now| state.link(way).set(now, &config));
    }

    /// Lets `program` change the conditions of one way from now on.
    pub fn run_program(&self, way: Way, program: Program) {
        self.resume_program(way, program, Duration::ZERO);
    }

    /// The same, of a program that began `elapsed` ago.
    pub fn resume_program(&self, way: Way, program: Program, elapsed: Duration) {
        self.change(|state, now| state.link(way).run_program(now, &program, now.saturating_sub(elapsed)));
    }

    /// Takes the link down or up, both ways. What is under way when it goes down is lost.
    pub fn set_state(&self, to: State) {
        self.change(|state, now| {
            state.forward.set_state(now, to);
            state.reverse.set_state(now, to);
        });
    }

    /// What the proxy has done so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.change(|state, _| Report {
            forward: state.forward.counters(),
            reverse: state.reverse.counters(),
            lateness: state.late.summary(),
            is_real_time: self.shared.is_real_time.load(Ordering::Relaxed),
            proxy: state.tally,
        })
    }

    /// How long a packet that came now would wait before the bottleneck; the longer of both ways.
    #[must_use]
    pub fn backlog(&self) -> Duration {
        self.change(|state, now| state.forward.backlog(now).max(state.reverse.backlog(now)))
    }

    /// Forgets how late packets were until now: what a proxy did while everything started says nothing about it later.
    pub fn forget_lateness(&self) {
        self.change(|state, _| state.late = Distribution::new());
    }

    /// Ends [`Proxy::run`](super::Proxy::run) within its longest sleep (50 ms).
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Conditions, Duration) -> T) -> T {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let mut state = self.shared.lock();
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        // Read under the lock: the links' time must not go back.
        let now = self.shared.clock.now();
        change(&mut state, now)
    }
}
