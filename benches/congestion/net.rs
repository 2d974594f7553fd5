//! One bottleneck in virtual time: what senders send goes through one queue, what receivers send is only delayed.

use sluice_net::{Clock as _, ManualClock, RecvBatch, RecvMeta, Rng, Socket, Transmit};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Propagation delay, one way.
pub(crate) const DELAY: Duration = Duration::from_millis(25);
/// IPv4 and UDP.
const HEADERS: usize = 28;
/// Between two looks at the queue.
const SAMPLE: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Option<quinn_udp::EcnCodepoint>,
    data: Vec<u8>,
}

/// The queue in front of the bottleneck: first in, first out, drop at the tail.
#[derive(Debug)]
struct Bottleneck {
    /// Bits per second.
    rate: u64,
    /// Bytes that fit.
    limit: usize,
    /// Part of the packets that is lost behind the queue, in millionths.
    loss: u64,
    rng: Rng,
    queue: VecDeque<Packet>,
    bytes: usize,
    /// When the packet at the front has left.
    front_done: Option<Instant>,
}

impl Bottleneck {
    fn service(&self, packet: &Packet) -> Duration {
        let bits = (packet.data.len() + HEADERS) as u64 * 8;
        Duration::from_nanos(bits * 1_000_000_000 / self.rate)
    }

    fn offer(&mut self, now: Instant, packet: Packet) -> bool {
        let bytes = packet.data.len() + HEADERS;
        if self.bytes + bytes > self.limit {
            return false;
        }
        if self.front_done.is_none() {
            self.front_done = Some(now + self.service(&packet));
        }
        self.bytes += bytes;
        self.queue.push_back(packet);
        true
    }

    /// The next packet that has left by `now`, with the time, and whether it survives.
    fn pop(&mut self, now: Instant) -> Option<(Instant, Packet, bool)> {
        let done = self.front_done.filter(|done| *done <= now)?;
        let packet = self.queue.pop_front()?;
        self.bytes -= packet.data.len() + HEADERS;
        self.front_done = self.queue.front().map(|next| done + self.service(next));
        let survives = self.rng.below(1_000_000) >= self.loss;
        Some((done, packet, survives))
    }

    fn wait_ms(&self) -> f64 {
        self.bytes as f64 * 8_000.0 / self.rate as f64
    }
}

/// What happened at the bottleneck.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Wait of a packet that came at that time, in ms.
    pub(crate) queue: Vec<(Duration, f64)>,
    /// Packets that did not fit.
    pub(crate) overflow: u64,
}

#[derive(Debug)]
struct State {
    clock: ManualClock,
    bottleneck: Bottleneck,
    flying: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    inboxes: BTreeMap<SocketAddr, (Side, VecDeque<Packet>)>,
    watch: Watch,
    next_sample: Instant,
}

/// On which side of the bottleneck an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

/// The network; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Net(Rc<RefCell<State>>);

impl Net {
    pub(crate) fn new(clock: &ManualClock, seed: u64, limit: usize) -> Self {
        let rng = Rng::from_seed(seed);
        let (queue, bytes, front_done) = (VecDeque::new(), 0, None);
        let bottleneck = Bottleneck { rate: 50_000_000, limit, loss: 0, rng, queue, bytes, front_done };
        Self(Rc::new(RefCell::new(State {
            clock: clock.clone(),
            bottleneck,
            flying: BTreeMap::new(),
            sent: 0,
            inboxes: BTreeMap::new(),
            watch: Watch::default(),
            next_sample: clock.now(),
        })))
    }

    pub(crate) fn bind(&self, addr: SocketAddr, side: Side) -> VirtualSocket {
        self.0.borrow_mut().inboxes.insert(addr, (side, VecDeque::new()));
        VirtualSocket { net: self.clone(), addr, side }
    }

    /// From here on `rate` bit/s with `loss` of the packets lost.
    pub(crate) fn set(&self, rate: u64, loss: f64) {
        let bottleneck = &mut self.0.borrow_mut().bottleneck;
        bottleneck.rate = rate;
        bottleneck.loss = (loss * 1e6) as u64;
    }

    /// When the network has something to do next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let state = self.0.borrow();
        let flying = state.flying.keys().next().map(|(at, _)| *at);
        [flying, state.bottleneck.front_done, Some(state.next_sample)].into_iter().flatten().min()
    }

    /// Moves packets as far as they have come by `now`.
    pub(crate) fn advance(&self, now: Instant) {
        let state = &mut *self.0.borrow_mut();
        while let Some((done, packet, survives)) = state.bottleneck.pop(now) {
            if survives {
                state.flying.insert((done + DELAY, state.sent), packet);
                state.sent += 1;
            }
        }
        while let Some(entry) = state.flying.first_entry().filter(|entry| entry.key().0 <= now) {
            let packet = entry.remove();
            if let Some((_, inbox)) = state.inboxes.get_mut(&packet.to) {
                inbox.push_back(packet);
            }
        }
        if state.next_sample <= now {
            state.next_sample = now + SAMPLE;
            state.watch.queue.push((state.clock.elapsed(), state.bottleneck.wait_ms()));
        }
    }

    pub(crate) fn take_watch(&self) -> Watch {
        std::mem::take(&mut self.0.borrow_mut().watch)
    }
}

/// A bound address on a [`Net`].
#[derive(Debug)]
pub(crate) struct VirtualSocket {
    net: Net,
    addr: SocketAddr,
    side: Side,
}

impl Socket for VirtualSocket {
    fn send(&mut self, transmit: &Transmit<'_>) -> io::Result<()> {
        let state = &mut *self.net.0.borrow_mut();
        let now = state.clock.now();
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        for data in transmit.contents.chunks(segment) {
            let packet = Packet { from: self.addr, to: transmit.destination, ecn: transmit.ecn, data: data.to_vec() };
            match self.side {
                Side::Sender => state.watch.overflow += u64::from(!state.bottleneck.offer(now, packet)),
                Side::Receiver => {
                    state.flying.insert((now + DELAY, state.sent), packet);
                    state.sent += 1;
                }
            }
        }
        Ok(())
    }

    fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<()> {
        batch.clear();
        let mut state = self.net.0.borrow_mut();
        let (_, inbox) = state.inboxes.get_mut(&self.addr).ok_or(io::ErrorKind::NotConnected)?;
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
