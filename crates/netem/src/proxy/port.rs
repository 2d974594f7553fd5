//! A socket that receives and sends in batches.

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Largest message: a datagram, or a batch of them that the kernel has put together.
const MESSAGE_MAX: usize = 65_535;
/// From one message's place to the next one's: a little more than the largest, so that the beginnings of all lie in
/// different lines of the processor's caches.
const STRIDE: usize = MESSAGE_MAX + 1 + 1344;
/// Asked of the kernel for each direction: 16 ms of a 4 Gbit/s burst.
const BUFFER_BYTES: usize = 8 << 20;

/// A non-blocking UDP socket.
#[derive(Debug)]
pub(crate) struct Port {
    io: UdpSocket,
    state: UdpSocketState,
}

impl Port {
    /// Binds `addr`; `[::]` takes IPv4 too.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&SockAddr::from(addr))?;
        Self::adopt(socket)
    }

    /// Takes a socket that is bound.
    pub(crate) fn adopt(socket: Socket) -> io::Result<Self> {
        // A kernel that grants less drops in bursts, which its own counters tell; it is no reason not to start.
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let io = UdpSocket::from(socket);
        // Sets the socket non-blocking and turns on GRO, ECN, receive stamps and packet info.
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        Ok(Self { io, state })
    }

    /// Binds where `to` can be reached from.
    pub(crate) fn towards(to: SocketAddr) -> io::Result<Self> {
        let ip = match to.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_loopback() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self::bind(SocketAddr::new(ip, 0))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    pub(crate) const fn socket(&self) -> &UdpSocket {
        &self.io
    }

    /// Datagrams of one size that go out in one call.
    pub(crate) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.state.try_send(UdpSockRef::from(&self.io), transmit)
    }

    /// Receives what waits into `batch`; nothing is no error.
    pub(crate) fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.count = 0;
        let mut slots = batch.storage.chunks_exact_mut(STRIDE);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| {
            IoSliceMut::new(slots.next().and_then(|slot| slot.get_mut(..MESSAGE_MAX)).unwrap_or_default())
        });
        match self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut batch.metas) {
            Ok(count) => batch.count = count,
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether an error says something about one packet, or nothing at all, and not about the socket.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable, WouldBlock,
    };
    // Some systems report here that nobody listens where an earlier packet went.
    let passing = [ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable, WouldBlock];
    passing.contains(&error.kind())
}

/// Room for one batched receive, shared by all ports.
pub(crate) struct Batch {
    storage: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    count: usize,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Batch {
    pub(crate) fn new() -> Self {
        // 2 MiB, written to: memory that is touched for the first time would make the packets in it late.
        Self { storage: vec![1; BATCH_SIZE * STRIDE], metas: [RecvMeta::default(); BATCH_SIZE], count: 0 }
    }

    /// Whether more may wait than there was room for.
    pub(crate) const fn is_full(&self) -> bool {
        self.count == BATCH_SIZE
    }

    /// Messages received, each with one or more datagrams of `stride` bytes.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&RecvMeta, &[u8])> {
        let slots = self.storage.chunks_exact(STRIDE);
        self.metas[..self.count].iter().zip(slots).map(|(meta, slot)| (meta, &slot[..meta.len.min(MESSAGE_MAX)]))
    }
}

/// The datagrams of a message; an empty one is a datagram too.
pub(crate) fn datagrams<'a>(meta: &RecvMeta, message: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let empty = message.is_empty().then_some(message);
    message.chunks(meta.stride.max(1)).chain(empty)
}
