//! The virtual network: hosts with addresses, links between them, and datagram sockets that the shard loop takes
//! for real ones.
//!
//! ```text
//! Shard --send--> VirtualSocket --NAT--> Wire (sluice_netem's Link) --> flying --> inbox --recv--> Shard
//! ```
//!
//! A GSO batch is offered to its link packet by packet, as the kernel's segmentation does it before a real device.

use crate::trace::{Outcome, TraceHash};
use bytes::Bytes;
use sluice_net::socket::EcnCodepoint;
use sluice_net::{RecvBatch, RecvMeta, Socket, Transmit};
use sluice_netem::model::{Counters, Direction, Key, Link, Program, State as LinkState, Token, Verdict, packet_bytes};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

/// What a socket's receive buffer holds, as the daemon asks of the kernel; more is dropped.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Segments that a send may carry, as on Linux.
const GSO_SEGMENTS: usize = 64;

/// A machine on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HostId(pub(crate) usize);

/// One direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WireId(pub(crate) usize);

#[derive(Debug, Clone)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Option<EcnCodepoint>,
    data: Bytes,
}

impl Packet {
    /// What links carry and buffers are counted in.
    fn bytes(&self) -> usize {
        packet_bytes(self.data.len(), &self.to)
    }
}

/// A packet on its way.
#[derive(Debug)]
struct Flight {
    wire: WireId,
    token: Token,
    packet: Packet,
}

#[derive(Debug)]
struct Inbox {
    host: HostId,
    packets: VecDeque<Packet>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    now: Duration,
    hosts: BTreeMap<IpAddr, HostId>,
    wires: Vec<Link>,
    routes: BTreeMap<(HostId, HostId), WireId>,
    /// In order of arrival; the number keeps packets of one instant in the order of sending.
    flying: BTreeMap<(Duration, u64), Flight>,
    sent: u64,
    inboxes: BTreeMap<SocketAddr, Inbox>,
    /// Packets that wait in the sockets of each host.
    mail: Vec<usize>,
    nat: Nat,
    trace: TraceHash,
}

/// Addresses that others see instead of the bound ones.
#[derive(Debug, Default)]
struct Nat {
    outside: BTreeMap<SocketAddr, SocketAddr>,
    inside: BTreeMap<SocketAddr, SocketAddr>,
}

impl Nat {
    /// Where a packet for `to` ends up; nowhere if a rebinding has hidden that address.
    fn to_inside(&self, to: SocketAddr) -> Option<SocketAddr> {
        match self.inside.get(&to) {
            Some(inside) => Some(*inside),
            None => (!self.outside.contains_key(&to)).then_some(to),
        }
    }
}

/// The network; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Net(Rc<RefCell<State>>);

/// A bound address on a [`Net`].
#[derive(Debug)]
pub(super) struct VirtualSocket {
    net: Net,
    addr: SocketAddr,
}

impl Net {
    /// Adds a machine with one address.
    pub(super) fn add_host(&self, ip: IpAddr) -> HostId {
        let mut state = self.0.borrow_mut();
        let id = HostId(state.mail.len());
        state.mail.push(0);
        state.hosts.insert(ip, id);
        id
    }

    /// Adds one direction of a link; nothing uses it yet.
    pub(super) fn add_wire(&self, key: Key, config: Direction) -> WireId {
        let mut state = self.0.borrow_mut();
        state.wires.push(Link::new(key, config));
        WireId(state.wires.len() - 1)
    }

    /// Sends what `from` has for `to` over `wire`. Hosts without a route cannot reach each other.
    pub(super) fn route(&self, from: HostId, to: HostId, wire: WireId) {
        self.0.borrow_mut().routes.insert((from, to), wire);
    }

    /// Binds an address that no living socket has.
    pub(super) fn bind(&self, host: HostId, addr: SocketAddr) -> VirtualSocket {
        let inbox = Inbox { host, packets: VecDeque::new(), bytes: 0 };
        self.0.borrow_mut().inboxes.insert(addr, inbox);
        VirtualSocket { net: self.clone(), addr }
    }

    /// How long a packet that came now would wait before the bottleneck of a wire, if it has one.
    pub(super) fn bottleneck(&self, wire: WireId) -> Option<Duration> {
        self.0.borrow().wires[wire.0].config().bottleneck.is_some().then(|| self.backlog(wire))
    }

    /// Whether a wire carries packets.
    pub(super) fn state(&self, wire: WireId) -> LinkState {
        self.0.borrow().wires[wire.0].state()
    }

    /// Lets a program change the conditions of a wire from now on.
    pub(super) fn run_program(&self, wire: WireId, program: Program) {
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.wires[wire.0].run_program(now, program);
    }

    /// Cuts or restores a wire; what is on its way is lost when it is cut.
    pub(super) fn set_state(&self, wire: WireId, link: LinkState) {
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.wires[wire.0].set_state(now, link);
    }

    /// From now on others see `outside` where `inside` sends, and reach it only there.
    pub(super) fn rebind(&self, inside: SocketAddr, outside: SocketAddr) {
        let nat = &mut self.0.borrow_mut().nat;
        if let Some(old) = nat.outside.insert(inside, outside) {
            nat.inside.remove(&old);
        }
        nat.inside.insert(outside, inside);
    }

    /// What a wire has counted.
    pub(super) fn counters(&self, wire: WireId) -> Counters {
        self.0.borrow().wires[wire.0].counters()
    }

    /// How long a packet that is sent at this time would wait behind others.
    pub(super) fn backlog(&self, wire: WireId) -> Duration {
        let state = self.0.borrow();
        state.wires[wire.0].backlog(state.now)
    }

    /// The trace so far.
    pub(super) fn trace(&self) -> TraceHash {
        self.0.borrow().trace
    }

    /// When the next packet arrives anywhere.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.borrow().flying.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves on to `now` and hands over what has arrived; appends the hosts that got something.
    pub(super) fn deliver(&self, now: Duration, touched: &mut Vec<HostId>) {
        let mut state = self.0.borrow_mut();
        state.now = state.now.max(now);
        while let Some(entry) = state.flying.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), flight) = entry.remove_entry();
            touched.extend(state.arrive(at, flight));
        }
    }

    /// Whether packets wait in a socket of `host`.
    pub(super) fn has_mail(&self, host: HostId) -> bool {
        self.0.borrow().mail[host.0] > 0
    }
}

impl State {
    fn send(&mut self, wire: Option<WireId>, packet: Packet) {
        let now = self.now;
        let bytes = packet.bytes();
        let Some(wire) = wire else {
            self.trace.add(now, u64::MAX >> 34, bytes, Outcome::Lost);
            return;
        };
        match self.wires[wire.0].offer(now, bytes) {
            Verdict::Drop(_) => self.trace.add(now, wire.0 as u64, bytes, Outcome::Lost),
            Verdict::Deliver { at, copy, queued: _, token } => {
                for at in [Some(at), copy].into_iter().flatten() {
                    let key = (at, self.sent);
                    self.sent += 1;
                    self.flying.insert(key, Flight { wire, token, packet: packet.clone() });
                }
            }
        }
    }

    fn arrive(&mut self, at: Duration, flight: Flight) -> Option<HostId> {
        let Flight { wire, token, packet } = flight;
        let bytes = packet.bytes();
        let mut touched = None;
        let outcome = if !self.wires[wire.0].arrives(at, token) {
            Outcome::Lost
        } else if let Some(inbox) = self.inboxes.get_mut(&packet.to) {
            if inbox.bytes + bytes > RECEIVE_BUFFER {
                Outcome::Overflow
            } else {
                inbox.bytes += bytes;
                inbox.packets.push_back(packet);
                self.mail[inbox.host.0] += 1;
                touched = Some(inbox.host);
                Outcome::Delivered
            }
        } else {
            Outcome::Unheard
        };
        self.trace.add(at, wire.0 as u64, bytes, outcome);
        touched
    }

    /// The wire from the machine at `from` to the one at `to`.
    fn wire(&self, from: IpAddr, to: IpAddr) -> Option<WireId> {
        let (from, to) = (self.hosts.get(&from)?, self.hosts.get(&to)?);
        self.routes.get(&(*from, *to)).copied()
    }
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        let mut state = self.net.0.borrow_mut();
        if let Some(inbox) = state.inboxes.remove(&self.addr) {
            state.mail[inbox.host.0] -= inbox.packets.len();
        }
    }
}

impl Socket for VirtualSocket {
    fn send(&mut self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut state = self.net.0.borrow_mut();
        let from = state.nat.outside.get(&self.addr).copied().unwrap_or(self.addr);
        let to = state.nat.to_inside(transmit.destination);
        let wire = to.and_then(|to| state.wire(self.addr.ip(), to.ip()));
        let to = to.unwrap_or(transmit.destination);
        let mut data = Bytes::copy_from_slice(transmit.contents);
        let segment = transmit.segment_size.unwrap_or(data.len()).max(1);
        while !data.is_empty() {
            let piece = data.split_to(segment.min(data.len()));
            state.send(wire, Packet { from, to, ecn: transmit.ecn, data: piece });
        }
        Ok(())
    }

    fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<()> {
        batch.clear();
        let State { inboxes, mail, .. } = &mut *self.net.0.borrow_mut();
        let inbox = inboxes.get_mut(&self.addr).filter(|inbox| !inbox.packets.is_empty());
        let Some(inbox) = inbox else { return Err(io::ErrorKind::WouldBlock.into()) };
        while let Some(packet) = inbox.packets.front() {
            let mut meta = RecvMeta::default();
            meta.addr = packet.from;
            meta.stride = packet.data.len();
            meta.ecn = packet.ecn;
            meta.dst_ip = Some(self.addr.ip());
            if !batch.push(meta, &packet.data) {
                break;
            }
            inbox.bytes -= packet.bytes();
            inbox.packets.pop_front();
            mail[inbox.host.0] -= 1;
        }
        Ok(())
    }

    fn max_gso_segments(&self) -> usize {
        GSO_SEGMENTS
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
