//! A network of virtual time: sockets, delays and losses in memory, and the shards on it turned in one thread.

use super::app::TestApp;
use super::certs::NOW_UNIX;
use sluice_net::socket::EcnCodepoint;
use sluice_net::{Clock, ManualClock, NodeKey, PortConfig, RecvBatch, RecvMeta, Shard, ShardConfig, Socket, Transmit};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One way.
const DELAY: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Option<EcnCodepoint>,
    data: Vec<u8>,
}

/// One line of a packet trace.
pub(crate) type Trace = (Duration, SocketAddr, SocketAddr, usize);

#[derive(Debug)]
struct State {
    clock: ManualClock,
    flying: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    inboxes: BTreeMap<SocketAddr, VecDeque<Packet>>,
    /// Addresses that others see instead of the bound one: a NAT that has rebound.
    nat: BTreeMap<SocketAddr, SocketAddr>,
    trace: Vec<Trace>,
    /// Sends still to be refused with WouldBlock.
    refuse: usize,
    /// Lose everything.
    dark: bool,
    /// Lose everything that this one sends.
    muted: Option<SocketAddr>,
    /// Lose every datagram that begins with a packet of a handshake.
    lose_long: bool,
    /// Packets still to be lost.
    lose: usize,
    /// Delays vary by so much, and packets overtake each other.
    scatter: Duration,
    max_datagram: usize,
}

/// The network; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Net(Rc<RefCell<State>>);

/// A bound address on a [`Net`].
#[derive(Debug)]
pub(crate) struct VirtualSocket {
    net: Net,
    addr: SocketAddr,
}

impl Net {
    pub(crate) fn bind(&self, addr: &str) -> VirtualSocket {
        let addr = addr.parse().unwrap();
        self.0.borrow_mut().inboxes.insert(addr, VecDeque::new());
        VirtualSocket { net: self.clone(), addr }
    }

    /// Loses everything from now on.
    pub(crate) fn go_dark(&self) {
        self.0.borrow_mut().dark = true;
    }

    /// Ends the darkness.
    pub(crate) fn come_back(&self) {
        self.0.borrow_mut().dark = false;
    }

    /// Loses everything that `addr` sends from now on, until [`Self::unmute`].
    pub(crate) fn mute(&self, addr: &str) {
        self.0.borrow_mut().muted = Some(addr.parse().unwrap());
    }

    pub(crate) fn unmute(&self) {
        self.0.borrow_mut().muted = None;
    }

    /// Loses every datagram that begins with a packet of a handshake from now on.
    pub(crate) fn lose_long(&self) {
        self.0.borrow_mut().lose_long = true;
    }

    /// Loses the next packets.
    pub(crate) fn lose(&self, packets: usize) {
        self.0.borrow_mut().lose = packets;
    }

    /// Delays vary by up to `spread` from now on, and packets overtake each other.
    pub(crate) fn scatter(&self, spread: Duration) {
        self.0.borrow_mut().scatter = spread;
    }

    pub(crate) fn set_max_datagram(&self, max: usize) {
        self.0.borrow_mut().max_datagram = max;
    }

    pub(crate) fn refuse_sends(&self, count: usize) {
        self.0.borrow_mut().refuse = count;
    }

    /// From now on others see `outside` where `inside` sends.
    pub(crate) fn rebind(&self, inside: &str, outside: &str) {
        self.0.borrow_mut().nat.insert(inside.parse().unwrap(), outside.parse().unwrap());
    }

    pub(crate) fn trace(&self) -> Vec<Trace> {
        self.0.borrow().trace.clone()
    }

    fn next(&self) -> Option<Instant> {
        self.0.borrow().flying.keys().next().map(|(at, _)| *at)
    }

    fn deliver(&self, now: Instant) {
        let mut state = self.0.borrow_mut();
        while let Some(entry) = state.flying.first_entry().filter(|entry| entry.key().0 <= now) {
            let packet = entry.remove();
            let inside = state.nat.iter().find(|(_, outside)| **outside == packet.to).map(|(inside, _)| *inside);
            if let Some(inbox) = state.inboxes.get_mut(&inside.unwrap_or(packet.to)) {
                inbox.push_back(packet);
            }
        }
    }
}

impl Socket for VirtualSocket {
    fn send(&mut self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut state = self.net.0.borrow_mut();
        if state.refuse > 0 {
            state.refuse -= 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        if segment > state.max_datagram {
            return Err(io::Error::from_raw_os_error(90));
        }
        let now = state.clock.now();
        let from = state.nat.get(&self.addr).copied().unwrap_or(self.addr);
        for data in transmit.contents.chunks(segment) {
            let elapsed = state.clock.elapsed();
            state.trace.push((elapsed, from, transmit.destination, data.len()));
            // RFC 9000 17.2: the header form of packets of a handshake.
            let long = data.first().is_some_and(|first| first & 0x80 != 0);
            if state.dark || state.lose > 0 || state.muted == Some(self.addr) || (state.lose_long && long) {
                state.lose = state.lose.saturating_sub(1);
                continue;
            }
            // 37 and 64 share no factor: all parts of the spread come, far from their order.
            let part = (state.sent * 37 % 64) as f64 / 64.0;
            let key = (now + DELAY + state.scatter.mul_f64(part), state.sent);
            state.sent += 1;
            let packet = Packet { from, to: transmit.destination, ecn: transmit.ecn, data: data.to_vec() };
            state.flying.insert(key, packet);
        }
        Ok(())
    }

    fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<()> {
        batch.clear();
        let mut state = self.net.0.borrow_mut();
        let inbox = state.inboxes.get_mut(&self.addr).unwrap();
        if inbox.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        while let Some(packet) = inbox.front() {
            let mut meta = RecvMeta::default();
            meta.addr = packet.from;
            meta.stride = packet.data.len();
            meta.ecn = packet.ecn;
            meta.dst_ip = Some(self.addr.ip());
            if !batch.push(meta, &packet.data) {
                break;
            }
            inbox.pop_front();
        }
        Ok(())
    }

    fn max_gso_segments(&self) -> usize {
        64
    }

    fn may_fragment(&self) -> bool {
        false
    }

    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn raw_fd(&self) -> Option<RawFd> {
        None
    }
}

pub(crate) type VirtualShard = Shard<VirtualSocket, TestApp>;

/// The shards, the network between them, and their clock.
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) net: Net,
    pub(crate) shards: Vec<VirtualShard>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(NOW_UNIX);
        let state = State {
            clock: clock.clone(),
            flying: BTreeMap::new(),
            sent: 0,
            inboxes: BTreeMap::new(),
            nat: BTreeMap::new(),
            trace: Vec::new(),
            refuse: 0,
            dark: false,
            muted: None,
            lose_long: false,
            lose: 0,
            scatter: Duration::ZERO,
            max_datagram: 1500,
        };
        Self { clock, net: Net(Rc::new(RefCell::new(state))), shards: Vec::new() }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    /// Adds a shard with its own node key, made from its number and `seed`.
    pub(crate) fn add(&mut self, seed: u64, port: PortConfig<VirtualSocket>, app: TestApp) -> usize {
        let index = self.shards.len();
        let key = NodeKey::from_bytes([u8::try_from(index).unwrap(); 32]);
        let config = ShardConfig { seed: Some(seed + index as u64), ..ShardConfig::single(key) };
        self.add_with(config, port, app)
    }

    pub(crate) fn add_with(&mut self, config: ShardConfig, port: PortConfig<VirtualSocket>, app: TestApp) -> usize {
        self.shards.push(Shard::new(config, vec![port], self.clock(), app).unwrap());
        self.shards.len() - 1
    }

    pub(crate) fn with<R>(&mut self, shard: usize, body: impl FnOnce(&mut TestApp) -> R) -> R {
        self.shards[shard].with_app(|app, _| body(app))
    }

    pub(crate) fn app(&self, shard: usize) -> &TestApp {
        self.shards[shard].app()
    }

    /// Runs until `done`; whether that came true within `limit` of virtual time.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&[VirtualShard]) -> bool) -> bool {
        let end = self.clock.now() + limit;
        loop {
            self.net.deliver(self.clock.now());
            for shard in &mut self.shards {
                shard.turn(Duration::ZERO).unwrap();
            }
            if done(&self.shards) {
                return true;
            }
            let wakeups = self.shards.iter().filter_map(Shard::next_wakeup).chain(self.net.next());
            let Some(next) = wakeups.min().filter(|next| *next <= end) else {
                self.clock.advance_to(end);
                return false;
            };
            self.clock.advance_to(next);
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }
}
