//! The loop: receive, ask the model, send what is due, sleep.

use super::clients::{ClientId, Clients};
use super::flight::{Flight, Leg, Packet};
use super::handle::{Conditions, Shared};
use super::outbox::{Doors, Outbox};
use super::port::{Batch, Port, datagrams};
use super::wait::{Precise, cpu_us, until_ready};
use crate::model::{Delivery, Way, packet_bytes};
use crate::priority::{Priority, Raised};
use quinn_udp::RecvMeta;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Before a packet is due the loop stops sleeping this early, since waking up takes about as long.
const SPIN: Duration = Duration::from_micros(80);
/// It does so only where packets leave this far apart. Closer ones would keep it from ever sleeping, and there it wakes
/// up for one packet in time for the next.
const SPARSE: Duration = Duration::from_micros(400);
/// How long it sleeps at most: how soon it sees that it is to stop.
const IDLE: Duration = Duration::from_millis(50);
/// Where packets follow each other more closely than [`DENSE`], the loop rests for [`REST`] after each [`CROWD`] of them,
/// so that they gather: waking up costs several times as much as a packet. It makes them late by as much at most.
const REST: Duration = Duration::from_micros(100);
const DENSE: Duration = Duration::from_micros(25);
const CROWD: u32 = 8;
/// How often it accounts for its CPU time, which takes a system call.
const ACCOUNT: Duration = Duration::from_millis(10);
/// How often it looks for clients that have gone.
const SWEEP: Duration = Duration::from_secs(1);

/// Everything that the proxy's thread owns.
#[derive(Debug)]
pub(super) struct Worker {
    listen: Port,
    to: SocketAddr,
    clients: Clients,
    client_idle: Duration,
    flight: Flight,
    outbox: Outbox,
    shared: Arc<Shared>,
    pace: Pace,
}

/// Where the loop is in time.
#[derive(Debug, Default)]
struct Pace {
    /// When packets last left.
    left: Duration,
    /// Packets that came and left since the time beside it.
    moved: u32,
    since: Duration,
    /// Whether the latest turn left messages unread.
    is_behind: bool,
    /// When clients were last swept.
    swept: Duration,
    /// When CPU time was last accounted for.
    accounted: Duration,
    /// Latest arrival offered to each link: the kernel's stamps of two sockets may cross.
    offered: [Duration; 2],
}

/// A message as it came: its place in the link's time, and for whom it is.
#[derive(Debug, Clone, Copy)]
struct Arrival<'a> {
    at: Duration,
    leg: Leg,
    meta: &'a RecvMeta,
}

impl Worker {
    pub(super) fn new(listen: Port, to: SocketAddr, limits: (usize, Duration), shared: Arc<Shared>) -> Self {
        Self {
            listen,
            to,
            clients: Clients::new(to, limits.0),
            client_idle: limits.1,
            flight: Flight::new(),
            outbox: Outbox::new(),
            shared,
            pace: Pace::default(),
        }
    }

    pub(super) fn run(mut self, priority: Priority) -> io::Result<()> {
        // Before its priority: the slack of a real-time thread cannot be set.
        let _precise = Precise::new();
        let raised = Raised::to(priority);
        self.shared.set_priority(&raised);
        let mut batch = Batch::new();
        let (mut ready, mut ids) = (Vec::new(), Vec::new());
        while !self.shared.is_stopping() {
            ids.clear();
            ids.extend(self.clients.iter().map(|(id, _)| id));
            self.rest();
            let ports = std::iter::once(&self.listen).chain(self.clients.iter().map(|(_, client)| &client.port));
            until_ready(ports, self.sleep(), &mut ready)?;
            self.turn(&ready, &ids, &mut batch)?;
        }
        Ok(())
    }

    /// Sends what is due and receives what has come, in turns: what waits to be read must not make the rest late.
    fn turn(&mut self, ready: &[bool], ids: &[ClientId], batch: &mut Batch) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock_politely();
        self.send_due(&mut state);
        self.pace.is_behind = false;
        if ready.first() == Some(&true) {
            self.listen.receive(batch)?;
            self.take_from_clients(batch, &mut state);
        }
        for (id, _) in ids.iter().zip(ready.iter().skip(1)).filter(|(_, ready)| **ready) {
            self.take_from_server(*id, batch, &mut state)?;
        }
        self.account(&mut state);
        Ok(())
    }

    fn account(&mut self, state: &mut Conditions) {
        let now = self.shared.clock().now();
        if now.saturating_sub(self.pace.swept) > SWEEP {
            self.clients.forget_idle(now, self.client_idle);
            self.pace.swept = now;
        }
        if now.saturating_sub(self.pace.accounted) > ACCOUNT {
            state.tally.cpu_us = cpu_us();
            self.pace.accounted = now;
        }
        state.tally.clients = self.clients.len() as u64;
    }

    fn take_from_clients(&mut self, batch: &Batch, state: &mut Conditions) {
        let stamps = self.shared.clock().stamps();
        self.pace.is_behind |= batch.is_full();
        for (meta, message) in batch.messages() {
            let at = self.arrival(Way::Forward, stamps.time(meta.timestamp));
            match self.clients.find(meta.addr, meta.dst_ip, at) {
                Some(client) => {
                    let leg = Leg { way: Way::Forward, client, ecn: meta.ecn };
                    self.take(Arrival { at, leg, meta }, message, state);
                }
                None => state.tally.turned_away += datagrams(meta, message).count() as u64,
            }
            self.send_late(state);
        }
    }

    fn take_from_server(&mut self, id: ClientId, batch: &mut Batch, state: &mut Conditions) -> io::Result<()> {
        let Some(client) = self.clients.get(id) else { return Ok(()) };
        client.port.receive(batch)?;
        let stamps = self.shared.clock().stamps();
        self.pace.is_behind |= batch.is_full();
        for (meta, message) in batch.messages() {
            if (meta.addr.ip(), meta.addr.port()) != (self.to.ip(), self.to.port()) {
                state.tally.foreign += datagrams(meta, message).count() as u64;
                continue;
            }
            let at = self.arrival(Way::Reverse, stamps.time(meta.timestamp));
            self.clients.touch(id, at);
            let leg = Leg { way: Way::Reverse, client: id, ecn: meta.ecn };
            self.take(Arrival { at, leg, meta }, message, state);
            self.send_late(state);
        }
        Ok(())
    }

    /// When a message reached this machine: its delay counts from there, not from when the loop got to it.
    fn arrival(&mut self, way: Way, stamped: Duration) -> Duration {
        let latest = match way {
            Way::Forward => &mut self.pace.offered[0],
            Way::Reverse => &mut self.pace.offered[1],
        };
        *latest = stamped.max(*latest);
        *latest
    }

    /// Asks the model about each datagram of a message.
    fn take(&mut self, arrival: Arrival<'_>, message: &[u8], state: &mut Conditions) {
        let Arrival { at: now, leg, meta } = arrival;
        for datagram in datagrams(meta, message) {
            self.pace.moved += 1;
            let bytes = packet_bytes(datagram.len(), &self.to);
            let delivery = state.link(leg.way).offer(now, datagram, bytes);
            let Some(Delivery { at, copy, ticket }) = delivery else { continue };
            for at in [Some(at), copy].into_iter().flatten() {
                let launched = self.flight.launch(Packet { at, ticket, leg }, datagram);
                state.tally.overflow += u64::from(launched.is_err());
            }
        }
    }

    /// Between messages that are received: sends what is due if that cannot wait for the next turn.
    fn send_late(&mut self, state: &mut Conditions) {
        let now = self.shared.clock().now();
        if self.flight.next().is_some_and(|at| at + REST < now) {
            self.send_due(state);
        }
    }

    fn send_due(&mut self, state: &mut Conditions) {
        let clock = self.shared.clock();
        let now = clock.now();
        if self.flight.next().is_none_or(|at| at > now) {
            return;
        }
        let doors = Doors { listen: &self.listen, clients: &self.clients, to: self.to };
        let Conditions { forward, reverse, late, tally } = state;
        let (outbox, moved) = (&mut self.outbox, &mut self.pace.moved);
        let mut land = |packet: Packet, bytes: &[u8]| {
            *moved += 1;
            let Packet { at, ticket, leg } = packet;
            let link = match leg.way {
                Way::Forward => &mut *forward,
                Way::Reverse => &mut *reverse,
            };
            if !link.arrives(at, ticket) {
                return;
            }
            if !outbox.takes(leg, bytes.len(), doors.segments_max(leg)) {
                tally.refused += outbox.send(clock.now(), &doors, late);
            }
            outbox.push(leg, at, bytes);
        };
        // What becomes due while these leave is for the next turn, together with what follows it.
        while self.flight.land(now, &mut land) {}
        tally.refused += outbox.send(clock.now(), &doors, late);
        self.pace.left = now;
    }

    /// Lets packets gather where they are dense, unless they have gathered already.
    fn rest(&mut self) {
        if self.pace.moved < CROWD || self.pace.is_behind {
            return;
        }
        let clock = self.shared.clock();
        if clock.now().saturating_sub(self.pace.since) < DENSE * self.pace.moved {
            std::thread::sleep(REST);
        }
        (self.pace.moved, self.pace.since) = (0, clock.now());
    }

    /// How long to sleep.
    fn sleep(&self) -> Duration {
        let now = self.shared.clock().now();
        let sleep = match self.flight.next() {
            None => IDLE,
            Some(next) if next.saturating_sub(self.pace.left) < SPARSE => next.saturating_sub(now),
            Some(next) => next.saturating_sub(now + SPIN),
        };
        sleep.min(IDLE)
    }
}
