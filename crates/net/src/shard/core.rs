//! The state of a shard apart from the app: ports, connections, queues and budgets.

use super::dials::Dialling;
use super::pipes::Link;
use crate::batch;
use crate::cid::CidReader;
use crate::clock::Clock;
use crate::command::Foreign;
use crate::complaints::Complaints;
use crate::config::{PortConfig, ShardConfig};
use crate::conn::{Conn, Held, Marks, Phase, Times};
use crate::desk::Desk;
use crate::incoming::{Gate, Source};
use crate::port::{Leg, Port};
use crate::send_window::Tracker;
use crate::socket::Socket;
use crate::stats::Stats;
use crate::timer::{Armed, Wheel};
use quinn_proto::ConnectionHandle;
use slab::Slab;
use sluice_moqt::transport::{App, Output, SessionId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sessions ids are `counter << KEY_BITS | slab key`: the counter never comes back.
const KEY_BITS: u32 = 24;

/// Times and numbers that the loop keeps to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) index: u8,
    pub(super) shards: u8,
    pub(super) handshake_timeout: Duration,
}

/// Work queues of a turn.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// Connections to visit, in order.
    pub(super) ready: VecDeque<u32>,
    /// Connections with events for the app.
    pub(super) fed: Vec<u32>,
    /// Wheel entries that came up.
    pub(super) due: Vec<(u32, Armed)>,
    /// Datagrams for other shards.
    pub(super) foreign: Vec<(u8, Foreign)>,
    /// Pipes that the app wants to write to.
    pub(super) pipes: VecDeque<u32>,
    /// What the app asked for.
    pub(super) effects: VecDeque<Output>,
}

pub(super) struct Core<S> {
    pub(super) ports: Vec<Port<S>>,
    pub(super) conns: Slab<Conn>,
    pub(super) dials: Slab<Dialling>,
    pub(super) queues: Queues,
    pub(super) wheel: Wheel,
    pub(super) gate: Gate,
    pub(super) cids: CidReader,
    /// The one transmit buffer.
    pub(super) hot: Vec<u8>,
    pub(super) stats: Stats,
    pub(super) limits: Limits,
    pub(super) pipes: Slab<Link>,
    pub(super) census: Census,
    pub(super) complaints: Complaints,
}

/// Sums over all connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Census {
    /// Held datagrams.
    pub(super) held: usize,
    /// Connections that the app knows or has dialled, or that are being accepted.
    pub(super) live: usize,
    next_session: u64,
}

impl Census {
    /// A session id for what stands under `key`.
    pub(super) fn session(&mut self, key: u32) -> SessionId {
        let counter = self.next_session;
        self.next_session += 1;
        SessionId(counter << KEY_BITS | u64::from(key))
    }
}

/// The slab key in a session id.
pub(super) fn key_of(session: SessionId) -> Option<u32> {
    u32::try_from(session.0 & ((1 << KEY_BITS) - 1)).ok()
}

impl<S: Socket> Core<S> {
    pub(super) fn new(config: &ShardConfig, ports: Vec<PortConfig<S>>, clock: &Arc<dyn Clock>) -> Self {
        let cids = CidReader::new(config.node_key.cid_key());
        Self {
            ports: ports.into_iter().map(|port| Port::new(port, config, &cids, clock)).collect(),
            conns: Slab::new(),
            dials: Slab::new(),
            queues: Queues::default(),
            wheel: Wheel::new(clock.now()),
            gate: Gate::new(config.admission.clone()),
            cids,
            hot: Vec::with_capacity(1 << 16),
            stats: Stats::default(),
            limits: Limits { index: config.index, shards: config.shards, handshake_timeout: config.handshake_timeout },
            pipes: Slab::new(),
            census: Census { held: 0, live: 0, next_session: 1 },
            complaints: Complaints::default(),
        }
    }

    /// Takes a new connection in and has it visited.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        quic: (ConnectionHandle, quinn_proto::Connection),
        origin: Origin,
    ) -> u32 {
        let (handle, quic) = quic;
        let entry = self.conns.vacant_entry();
        let key = u32::try_from(entry.key()).expect("the gate and memory bound connections far below 2^32");
        let id = self.census.session(key);
        entry.insert(Conn {
            quic,
            handle,
            port: origin.port,
            id,
            leg: origin.leg,
            phase: origin.phase,
            source: origin.source,
            held: Held::default(),
            window: Tracker::new(origin.leg.send_window),
            times: Times::new(now),
            armed: Armed::default(),
            due: None,
            marks: Marks::default(),
            overdue: None,
        });
        self.ports[origin.port].set_key(handle, Some(key));
        self.census.live += 1;
        self.enqueue(key);
        key
    }

    pub(super) fn conn(&mut self, key: u32) -> Option<&mut Conn> {
        self.conns.get_mut(key as usize)
    }

    /// The key of a session that is still there.
    pub(super) fn find(&self, session: SessionId) -> Option<u32> {
        let key = key_of(session)?;
        self.conns.get(key as usize).filter(|conn| conn.id == session).map(|_| key)
    }

    /// Puts a connection into the ready queue, once.
    pub(super) fn enqueue(&mut self, key: u32) {
        if let Some(conn) = self.conns.get_mut(key as usize)
            && !conn.marks.has(Marks::QUEUED)
        {
            conn.marks.set(Marks::QUEUED);
            self.queues.ready.push_back(key);
        }
    }

    /// Forgets a drained connection. Its endpoint has been told already.
    pub(super) fn remove(&mut self, now: Instant, key: u32) {
        let conn = self.conns.remove(key as usize);
        self.ports[conn.port].set_key(conn.handle, None);
        if let Some(source) = conn.source {
            self.gate.connection_over(now, source);
        }
    }

    /// Whether a turn has something to do at once.
    pub(super) fn has_work(&self) -> bool {
        !(self.queues.ready.is_empty() && self.queues.pipes.is_empty() && self.queues.effects.is_empty())
            || self.pipes.iter().any(|(_, link)| link.pipe.has_work())
            || self.ports.iter().any(|port| port.readable && port.socket.raw_fd().is_some())
    }

    /// Sends what was put off and lets the waiting connections go on.
    pub(super) fn unblock(&mut self) {
        for port in &mut self.ports {
            if port.blocked.is_some() && port.unblock(&mut self.stats) {
                self.queues.ready.extend(port.stalled.drain(..));
            }
        }
    }

    /// Sends a stateless answer: dropped where the port is busy, like any datagram.
    pub(super) fn respond(&mut self, port: usize, transmit: &quinn_proto::Transmit) {
        let port = &mut self.ports[port];
        if port.blocked.is_some()
            || batch::send(&mut port.socket, transmit, &self.hot, &mut self.stats) == batch::Sent::Blocked
        {
            self.stats.drop.send_error += 1;
        }
    }

    pub(super) fn timers(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.queues.due);
        self.wheel.advance(now, &mut due);
        for (key, armed) in due.drain(..) {
            let Some(conn) = self.conns.get_mut(key as usize).filter(|conn| conn.armed == armed) else {
                continue;
            };
            conn.armed = Armed::default();
            match conn.due {
                Some(at) if at > now => self.wheel.arm(key, at, &mut conn.armed),
                Some(_) => self.enqueue(key),
                None => {}
            }
        }
        self.queues.due = due;
    }

    /// The app as it may be called from here, with its effects collected.
    pub(super) const fn desk<'a, A: App>(
        effects: &'a mut VecDeque<Output>,
        app: &'a mut A,
        now: Instant,
    ) -> Desk<'a, A> {
        Desk { app, now, effects }
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) port: usize,
    pub(super) leg: Leg,
    pub(super) phase: Phase,
    pub(super) source: Option<Source>,
}
