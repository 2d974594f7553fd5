//! The loop: one thread's sockets, connections and timers around one app.
//!
//! A turn has a fixed order and a budget for each step: put-off batches, receive, events to the app, commands,
//! timers, visits. Everything that a turn learns is in the app before the first visit of the turn, so that a
//! connection is visited once for all of it.

mod core;
mod dials;
mod effects;
mod events;
mod load;
mod pipes;
mod receive;
mod visit;
mod wait;

use self::core::Core;
use self::load::Load;
use crate::clock::Clock;
use crate::command::{Hosted, Message, ShardHandle, channel};
use crate::config::{PortConfig, ShardConfig};
use crate::socket::{RecvBatch, Socket};
use crate::stats::Stats;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};
use wait::Poller;

/// Commands per turn.
const COMMANDS_PER_TURN: usize = 256;
/// Longest sleep of [`Shard::run`]; nothing depends on it.
const MAX_SLEEP: Duration = Duration::from_secs(1);
/// How long the last closes are given to leave a blocked socket.
const FLUSH_TURNS: usize = 8;

/// A shard could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// No epoll instance or waker to be had.
    #[error("cannot wait for sockets: {0}")]
    Poll(#[from] io::Error),
    /// Real and simulated sockets cannot be waited for together.
    #[error("a shard's sockets must be all real or all simulated")]
    MixedSockets,
}

/// Whether the shard goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Stopping { until: Instant },
    Stopped,
}

/// One thread's share of the node: sockets, connections, timers and an app.
pub struct Shard<S, A: Hosted> {
    app: A,
    core: Core<S>,
    recv: RecvBatch,
    clock: Arc<dyn Clock>,
    poller: Option<Poller>,
    inbox: Receiver<Message<A::Command>>,
    handle: ShardHandle<A::Command>,
    siblings: Vec<ShardHandle<A::Command>>,
    tick: Duration,
    /// Time of the latest turn.
    turned: Instant,
    /// How busy the turns were.
    load: Load,
    life: Life,
}

impl<S: Socket, A: Hosted> fmt::Debug for Shard<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("ports", &self.core.ports).field("life", &self.life).finish_non_exhaustive()
    }
}

impl<S: Socket, A: Hosted> Shard<S, A> {
    /// A shard with these ports. It does nothing before its first [`turn`](Self::turn).
    ///
    /// # Errors
    /// See [`ShardError`].
    pub fn new(
        config: ShardConfig,
        ports: Vec<PortConfig<S>>,
        clock: Arc<dyn Clock>,
        app: A,
    ) -> Result<Self, ShardError> {
        let fds: Vec<_> = ports.iter().filter_map(|port| port.socket.raw_fd()).collect();
        let poller = match fds.len() {
            real if real == ports.len() => Some(Poller::new(&fds)?),
            0 => None,
            _ => return Err(ShardError::MixedSockets),
        };
        let (handle, inbox) = channel(config.queue_capacity, poller.as_ref().map(Poller::waker));
        Ok(Self {
            app,
            core: Core::new(&config, ports, &clock),
            recv: RecvBatch::default(),
            turned: clock.now(),
            load: Load::default(),
            clock,
            poller,
            inbox,
            handle,
            siblings: Vec::new(),
            tick: config.tick,
            life: Life::Running,
        })
    }

    /// Sends to this shard from anywhere.
    #[must_use]
    pub fn handle(&self) -> ShardHandle<A::Command> {
        self.handle.clone()
    }

    /// Names all shards of the process by index, this one included: datagrams that the kernel gives to the wrong
    /// one are passed on.
    pub fn set_siblings(&mut self, siblings: Vec<ShardHandle<A::Command>>) {
        self.siblings = siblings;
    }

    /// The bound address of each port.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.core.ports.iter().map(|port| port.socket.local_addr()).collect()
    }

    /// The app.
    #[must_use]
    pub const fn app(&self) -> &A {
        &self.app
    }

    /// Calls the app between turns, as a command would; its effects are carried out in the next turn.
    pub fn with_app<R>(&mut self, body: impl FnOnce(&mut A, Instant) -> R) -> R {
        let now = self.clock.now();
        let result = body(&mut self.app, now);
        Core::<S>::desk(&mut self.core.queues.effects, &mut self.app, now).drain();
        result
    }

    /// Counters so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        let mut stats = self.core.stats;
        stats.handshake = self.core.gate.stats;
        stats
    }

    /// Connections that are open or being opened.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.core.census.live
    }

    /// Whether a stop is complete: turning on does nothing.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        matches!(self.life, Life::Stopped)
    }

    /// Connections that have ended and whose last packets are waited for.
    #[must_use]
    pub fn draining(&self) -> usize {
        self.core.conns.len() - self.core.census.live
    }

    /// When the next turn is due: never (`None`), or at a time that may have passed.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        if self.core.has_work() {
            return Some(self.turned);
        }
        let end = match self.life {
            Life::Stopping { until } => Some(until),
            Life::Running | Life::Stopped => None,
        };
        [self.core.wheel.next(), self.app.poll_timeout(), end].into_iter().flatten().min()
    }

    /// Turns until somebody stops the shard.
    ///
    /// # Errors
    /// The operating system no longer lets us wait.
    pub fn run(&mut self) -> io::Result<()> {
        while self.life != Life::Stopped {
            self.turn(MAX_SLEEP)?;
        }
        Ok(())
    }

    /// Waits for work, `max_wait` at most, and does it. A shard of simulated sockets does not wait.
    ///
    /// # Errors
    /// The operating system no longer lets us wait.
    pub fn turn(&mut self, max_wait: Duration) -> io::Result<()> {
        self.wait(max_wait)?;
        let now = self.clock.now();
        self.load.on_turn(now.saturating_duration_since(self.turned));
        self.turned = now;
        self.core.stats.turn.turns += 1;
        self.core.unblock();
        self.core.receive(now, &mut self.recv);
        self.pass_on();
        self.commands(now);
        self.core.deliver(now, &mut self.app);
        self.core.read_pipes(now, &mut self.app);
        self.core.timers(now);
        if self.app.poll_timeout().is_some_and(|at| at <= now) {
            Core::<S>::desk(&mut self.core.queues.effects, &mut self.app, now).timeout();
        }
        self.core.serve(now, &mut self.app);
        self.core.flush_pipes();
        self.end_if_over(now);
        Ok(())
    }

    fn wait(&mut self, max_wait: Duration) -> io::Result<()> {
        let Some(due) = self.poller.is_some().then(|| self.next_wakeup()) else { return Ok(()) };
        let now = self.clock.now();
        self.load.on_worked(now.saturating_duration_since(self.turned));
        let mut patience = due.map_or(max_wait, |at| at.saturating_duration_since(now).min(max_wait));
        if !patience.is_zero() {
            // While ACKs are held, whatever comes is most likely another: it is not worth a wake-up of its own.
            let rest = if self.core.census.held > 0 { self.tick } else { self.load.rest(self.tick) };
            let nap = (self.turned + rest).saturating_duration_since(now).min(patience);
            if !nap.is_zero() {
                thread::sleep(nap);
            }
            patience -= nap;
        }
        let Some(poller) = &mut self.poller else { return Ok(()) };
        let ports = &mut self.core.ports;
        for (index, port) in ports.iter().enumerate() {
            poller.watch(index, port.blocked.as_ref())?;
        }
        let woken = poller.wait(Some(patience), |ready| ports[ready.port].readable |= ready.readable)?;
        self.core.stats.turn.wakeups += u64::from(woken);
        Ok(())
    }

    /// Datagrams that name another shard go there; a full queue drops them, like any full queue of the network.
    fn pass_on(&mut self) {
        for (shard, datagram) in self.core.queues.foreign.drain(..) {
            let sibling = self.siblings.get(usize::from(shard));
            if sibling.is_none_or(|sibling| sibling.send_message(Message::Foreign(datagram)).is_err()) {
                self.core.stats.drop.foreign_full += 1;
            }
        }
    }

    fn commands(&mut self, now: Instant) {
        for _ in 0..COMMANDS_PER_TURN {
            let Ok(message) = self.inbox.try_recv() else { return };
            self.core.stats.turn.commands += 1;
            match message {
                Message::Command(command) => {
                    self.app.handle_command(now, command);
                    Core::<S>::desk(&mut self.core.queues.effects, &mut self.app, now).drain();
                }
                Message::Foreign(datagram) => self.core.datagram(now, datagram),
                Message::Pipe(end) => self.core.attach(now, *end, &mut self.app),
                Message::Sibling { index, handle } => {
                    if let Some(sibling) = self.siblings.get_mut(usize::from(index)) {
                        *sibling = handle;
                    }
                }
                Message::Stop { grace } => {
                    self.core.gate.close();
                    self.life = Life::Stopping { until: now + grace };
                }
            }
        }
        // More may wait: do not sleep before the queue has been seen empty.
        if let Some(poller) = &self.poller {
            let _ = poller.waker().wake();
        }
    }

    fn end_if_over(&mut self, now: Instant) {
        let Life::Stopping { until } = self.life else { return };
        if self.core.census.live > 0 && now < until {
            return;
        }
        self.core.close_all(now, &mut self.app);
        for _ in 0..FLUSH_TURNS {
            self.core.unblock();
            self.core.serve(now, &mut self.app);
        }
        self.life = Life::Stopped;
    }
}
