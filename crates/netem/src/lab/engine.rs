//! The engine: one thread that reads every link's packets, asks the model about them, and writes them when they are due.
//!
//! One thread for all links. A packet costs two system calls, so that one core carries a few Gbit/s, which is more than
//! the kernel makes and takes on the others; and threads that each wait for a link of their own would preempt each
//! other where cores are few, which shows as lateness.

use super::datagram::{HEADERS, PREFIX, RUN_BYTES_MAX, is_run, split};
use super::device::{Framing, Port};
use super::flight::{Flight, PACKET_MAX, Packet, Slot};
use super::run::Run;
use super::ways::Ways;
use crate::clock::Clock;
use crate::lateness::{Distribution, Lateness};
use crate::model::{Delivery, Ticket};
use crate::priority::{Priority, Raised};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, read, readv, write};
use rustix::thread::set_current_timer_slack;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Before a packet is due the engine stops sleeping this early, since waking up takes about as long.
const SPIN: Duration = Duration::from_micros(80);
/// It does so only where packets leave this far apart. Closer ones would keep it from ever sleeping, and there it wakes
/// up for one packet in time for the next.
const SPARSE: Duration = Duration::from_micros(400);
/// Packets in [`WINDOW`] from which on the engine looks only once per [`NAP`]: waking up for each of them costs more
/// than moving it. 40,000 packets a second, 400 Mbit/s of long ones.
const DENSE: u32 = 40;
/// The time over which it counts.
const WINDOW: Duration = Duration::from_millis(1);
/// How long dense packets wait at most: well below what their delay is told to.
const NAP: Duration = Duration::from_micros(100);
/// Packets read from a link before others get their turn.
const READ_MAX: u32 = 64;
/// The longest packet that the kernel gives at once: a run, with what precedes it. The first part of it goes where an
/// ordinary one does.
const WHOLE_MAX: usize = PACKET_MAX + RUN_BYTES_MAX;
/// How long it sleeps at most, and how old its account of its own CPU time can be.
const IDLE: Duration = Duration::from_millis(50);
/// The version in the first byte of an IPv4 packet.
const IPV4: u8 = 4;

/// What the engine has done besides what the links' counters say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Packets lost since too many were under way in the whole lab.
    pub overflow: u64,
    /// Packets that the kernel did not take.
    pub refused: u64,
    /// Packets that are not IPv4, which links do not carry.
    pub foreign: u64,
    /// CPU time that it took.
    pub cpu_us: u64,
}

/// What the engine shares with those who change and read it.
#[derive(Debug)]
pub(super) struct Shared {
    clock: Clock,
    stopping: AtomicBool,
    wake: OwnedFd,
    state: Mutex<State>,
}

/// The links and what is known of them.
#[derive(Debug)]
pub(super) struct State {
    pub(super) links: Vec<Ways>,
    late: Distribution,
    tally: Tally,
    is_real_time: bool,
    failure: Option<String>,
}

impl State {
    pub(super) fn lateness(&self) -> Lateness {
        self.late.summary()
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn is_real_time(&self) -> bool {
        self.is_real_time
    }

    pub(super) fn forget(&mut self) {
        self.late = Distribution::new();
    }
}

impl Shared {
    /// Time since the lab began.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The engine's state, or why there is none any more.
    pub(super) fn state(&self) -> Result<MutexGuard<'_, State>, String> {
        let state = self.state.lock().map_err(|_| "it panicked".to_owned())?;
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(state),
        }
    }
}

/// A running engine. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Engine {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts it over `ports`, two for each of `links`.
    pub(super) fn start(ports: Vec<[Port; 2]>, links: Vec<Ways>, priority: Priority) -> io::Result<Self> {
        let state =
            State { links, late: Distribution::new(), tally: Tally::default(), is_real_time: false, failure: None };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Shared { clock: Clock::start(), stopping: AtomicBool::new(false), wake, state: Mutex::new(state) };
        let shared = Arc::new(shared);
        let ports: Vec<Port> = ports.into_iter().flatten().collect();
        let thread = {
            let shared = Arc::clone(&shared);
            let body = move || {
                if let Err(error) = run(&ports, &shared, priority)
                    && let Ok(mut state) = shared.state.lock()
                {
                    state.failure = Some(error.to_string());
                }
            };
            thread::Builder::new().name("netem engine".to_owned()).spawn(body)?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // A full counter has woken it already.
        let _ = write(&self.shared.wake, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // What it died of is in the state, which is gone with it.
            let _ = thread.join();
        }
    }
}

fn run(ports: &[Port], shared: &Shared, priority: Priority) -> io::Result<()> {
    set_current_timer_slack(NonZeroU64::new(1))?;
    let raised = Raised::to(priority);
    if let Ok(mut state) = shared.state.lock() {
        state.is_real_time = raised.is_real_time();
    }
    let mut polled: Vec<_> = ports.iter().map(|port| PollFd::new(port, PollFlags::IN)).collect();
    polled.push(PollFd::from_borrowed_fd(shared.wake.as_fd(), PollFlags::IN));
    let mut worker = Worker {
        ports,
        shared,
        flight: Flight::new(),
        run: Run::new(),
        whole: vec![1; WHOLE_MAX],
        ready: vec![true; ports.len()],
        left: Duration::ZERO,
        density: Density::default(),
    };
    while !shared.stopping.load(Ordering::Acquire) {
        worker.turn()?;
        if worker.density.is_high {
            wait(&mut polled[ports.len()..], NAP)?;
            wait(&mut polled, Duration::ZERO)?;
        } else {
            wait(&mut polled, worker.sleep())?;
        }
        for (ready, polled) in worker.ready.iter_mut().zip(&polled) {
            *ready = !polled.revents().is_empty();
        }
    }
    Ok(())
}

fn wait(polled: &mut [PollFd<'_>], sleep: Duration) -> io::Result<()> {
    // A conversion that fails is far above the limit.
    let timeout = Timespec::try_from(sleep.min(IDLE)).unwrap_or_default();
    match poll(polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How many packets have come lately.
#[derive(Debug, Default)]
struct Density {
    since: Duration,
    packets: u32,
    is_high: bool,
}

impl Density {
    fn count(&mut self, now: Duration, packets: u32) {
        self.packets += packets;
        let window = now.saturating_sub(self.since);
        if window >= WINDOW {
            self.is_high = self.packets >= DENSE && window < 2 * WINDOW;
            (self.since, self.packets) = (now, 0);
        }
    }
}

struct Worker<'a> {
    ports: &'a [Port],
    shared: &'a Shared,
    flight: Flight<Ticket>,
    /// What leaves next.
    run: Run,
    /// Room for a run that is read.
    whole: Vec<u8>,
    /// Which ports have packets.
    ready: Vec<bool>,
    /// When the last packet left.
    left: Duration,
    density: Density,
}

impl Worker<'_> {
    /// Reads what has come and writes what is due, in turns: what waits to be read must not make the rest late.
    fn turn(&mut self) -> io::Result<()> {
        let shared = self.shared;
        let Ok(mut state) = shared.state.lock() else { return Err(io::Error::other("a user of the engine panicked")) };
        let mut packets = self.write_due(&mut state);
        for port in 0..self.ports.len() {
            if self.ready[port] {
                packets += self.read_some(port, &mut state)?;
                packets += self.write_due(&mut state);
            }
        }
        self.density.count(shared.now(), packets);
        state.tally.cpu_us = cpu_us();
        Ok(())
    }

    /// Returns how many packets it has read.
    fn read_some(&mut self, port: usize, state: &mut State) -> io::Result<u32> {
        let mut count = 0;
        while count < READ_MAX {
            let Some(slot) = self.flight.room() else {
                return self.overflow(port, state);
            };
            let length = match self.read(port, slot) {
                Ok(length) => length,
                Err(error) => {
                    self.flight.release(slot);
                    return nothing_read(error).map(|()| count);
                }
            };
            let packet = Packet { at: self.shared.now(), port: port ^ 1, slot, length, token: () };
            count += match self.ports[port].framing {
                Framing::Bare => self.take(port, packet, state),
                Framing::Run => self.take_run(port, packet, state),
            };
        }
        Ok(count)
    }

    fn read(&mut self, port: usize, slot: Slot) -> rustix::io::Result<usize> {
        let (port, bytes) = (&self.ports[port], self.flight.bytes_mut(slot));
        match port.framing {
            Framing::Bare => read(port, &mut bytes[..]),
            Framing::Run => readv(port, &mut [IoSliceMut::new(bytes), IoSliceMut::new(&mut self.whole[PACKET_MAX..])]),
        }
    }

    /// Takes a packet as it is, or cuts the run that it is.
    fn take_run(&mut self, port: usize, packet: Packet<()>, state: &mut State) -> u32 {
        let Packet { at, port: out, slot, length, token: () } = packet;
        let bytes = self.flight.bytes(slot);
        let prefix: [u8; PREFIX] = *bytes.first_chunk().expect("a slot is longer");
        match is_run(&prefix) {
            Ok(false) if length <= PACKET_MAX => return self.take(port, packet, state),
            Ok(true) => {}
            Ok(false) | Err(_) => {
                state.tally.foreign += 1;
                self.flight.release(slot);
                return 1;
            }
        }
        self.whole[..PACKET_MAX].copy_from_slice(bytes);
        self.flight.release(slot);
        let whole = std::mem::take(&mut self.whole);
        let mut count = 0;
        for (before, payload) in split(prefix, whole.get(PREFIX..length).unwrap_or_default()) {
            count += 1;
            let length = PREFIX + HEADERS + payload.len();
            let Some(slot) = self.flight.room().filter(|_| length <= PACKET_MAX) else {
                state.tally.overflow += 1;
                continue;
            };
            let bytes = self.flight.bytes_mut(slot);
            bytes[..PREFIX + HEADERS].copy_from_slice(&before);
            bytes[PREFIX + HEADERS..length].copy_from_slice(payload);
            self.take(port, Packet { at, port: out, slot, length, token: () }, state);
        }
        self.whole = whole;
        state.tally.foreign += u64::from(count == 0);
        count.max(1)
    }

    /// Asks the model about a packet that came by `port`, and says that it was one.
    fn take(&mut self, port: usize, packet: Packet<()>, state: &mut State) -> u32 {
        let Packet { at: now, port: out, slot, length, token: () } = packet;
        let header = self.ports[port].header;
        if length <= header || self.flight.bytes(slot)[header] >> 4 != IPV4 {
            state.tally.foreign += 1;
            self.flight.release(slot);
            return 1;
        }
        let bytes = &self.flight.bytes(slot)[header..length];
        let lanes = state.links[port / 2].at_end(port % 2);
        let Some(Delivery { at, copy, ticket: token }) = lanes.offer(now, datagram(bytes), bytes.len()) else {
            self.flight.release(slot);
            return 1;
        };
        if let Some(at) = copy {
            match self.flight.copy(slot) {
                Some(slot) => self.flight.launch(Packet { at, port: out, slot, length, token }),
                None => state.tally.overflow += 1,
            }
        }
        self.flight.launch(Packet { at, port: out, slot, length, token });
        1
    }

    /// Empties a port for whose packets there is no room: left waiting they would come late, and nobody would know.
    fn overflow(&self, port: usize, state: &mut State) -> io::Result<u32> {
        let mut bytes = [0; PACKET_MAX];
        for count in 0..READ_MAX {
            match read(&self.ports[port], &mut bytes[..]) {
                Ok(_) => state.tally.overflow += 1,
                Err(error) => return nothing_read(error).map(|()| count),
            }
        }
        Ok(READ_MAX)
    }

    /// Returns how many packets were due.
    fn write_due(&mut self, state: &mut State) -> u32 {
        let mut count = 0;
        let mut now = self.shared.now();
        while let Some(packet) = self.flight.land(now) {
            let Packet { at, port, slot, length, token } = packet;
            // It came by the other port of the link.
            let from = port ^ 1;
            if state.links[from / 2].at_end(from % 2).arrives(at, token) {
                now = self.push(port, (slot, length), state).unwrap_or(now);
                state.late.record(now.saturating_sub(at));
            } else {
                self.flight.release(slot);
            }
            count += 1;
        }
        if count > 0 {
            self.send(state);
            self.left = now;
        }
        count
    }

    /// Has a packet leave, together with those before it if it can; tells the time if those had to leave first.
    fn push(&mut self, port: usize, packet: (Slot, usize), state: &mut State) -> Option<Duration> {
        let to = (port, &self.ports[port]);
        let bytes = &self.flight.bytes(packet.0)[to.1.header..packet.1];
        if self.run.push(to, packet, bytes) {
            return None;
        }
        self.send(state);
        let bytes = &self.flight.bytes(packet.0)[to.1.header..packet.1];
        // The first is always taken.
        self.run.push(to, packet, bytes);
        Some(self.shared.now())
    }

    /// Writes what has been gathered.
    fn send(&mut self, state: &mut State) {
        let flight = &self.flight;
        state.tally.refused += self.run.send(self.ports, &|slot| flight.bytes(slot));
        for slot in self.run.drain() {
            self.flight.release(slot);
        }
    }

    /// How long to sleep when nothing comes.
    fn sleep(&self) -> Duration {
        let now = self.shared.now();
        match self.flight.next() {
            None => IDLE,
            Some(next) if next.saturating_sub(self.left) < SPARSE => next.saturating_sub(now),
            Some(next) => next.saturating_sub(now + SPIN),
        }
    }
}

/// What an IPv4 packet carries over UDP; nothing where it carries something else.
fn datagram(packet: &[u8]) -> &[u8] {
    const PROTOCOL_AT: usize = 9;
    const UDP: u8 = 17;
    const UDP_HEADER: usize = 8;
    let words = packet.first().map_or(0, |first| usize::from(first & 0x0f));
    let is_udp = packet.get(PROTOCOL_AT) == Some(&UDP);
    packet.get(words * 4 + UDP_HEADER..).filter(|_| is_udp).unwrap_or_default()
}

/// Whether an error means only that there is nothing to read.
fn nothing_read(error: Errno) -> io::Result<()> {
    match error {
        // An interface that somebody in the node has taken down has nothing to say until it is up again.
        Errno::AGAIN | Errno::INTR | Errno::NETDOWN | Errno::IO => Ok(()),
        error => Err(error.into()),
    }
}

fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let micros = time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000);
    u64::try_from(micros).unwrap_or(0)
}
