//! A loopback UDP socket with GSO, GRO and buffers that hold a burst of I-frames.

use anyhow::Context as _;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// Kernel buffer of a socket on the load side; past `net.core.rmem_max` only with CAP_NET_ADMIN.
const BUFFER_BYTES: usize = 32 << 20;

/// Largest datagram train that GRO hands over.
const TRAIN_BYTES: usize = 65_536;

/// A non-blocking socket on the loopback address.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

/// Binds a plain socket with large buffers on a port of the kernel's choice.
pub(crate) fn listener() -> anyhow::Result<UdpSocket> {
    use rustix::net::sockopt;
    let io = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a loopback UDP socket")?;
    if sockopt::set_socket_recv_buffer_size_force(&io, BUFFER_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(&io, BUFFER_BYTES)?;
    }
    sockopt::set_socket_send_buffer_size(&io, BUFFER_BYTES)?;
    Ok(io)
}

impl Socket {
    /// Binds a port of the kernel's choice.
    pub(crate) fn bind() -> anyhow::Result<Self> {
        let io = listener()?;
        let state = UdpSocketState::new((&io).into()).context("switching on GSO and GRO")?;
        let local = io.local_addr()?;
        Ok(Self { io, state, local })
    }

    /// Where the socket is bound.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Most segments of `mtu` bytes that one send may carry.
    pub(crate) fn segments(&self, mtu: usize) -> usize {
        // The kernel refuses a train longer than one UDP datagram can be.
        self.state.max_gso_segments().min(65_507 / mtu)
    }

    /// Sends one train, waiting out a full socket buffer.
    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        loop {
            match self.state.try_send((&self.io).into(), transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                done => return done,
            }
        }
    }

    /// Fixes the one peer of [`Socket::answer`].
    pub(crate) fn connect(&self, remote: SocketAddr) -> anyhow::Result<()> {
        /// RFC 3168: capable of ECN, as every QUIC sender marks its packets.
        const ECT_0: u8 = 0b10;
        rustix::net::sockopt::set_ip_tos(&self.io, ECT_0)?;
        self.io.connect(remote).context("connecting a UDP socket")
    }

    /// Sends one datagram to the connected peer. Spares the kernel a route look-up and control messages, which is a
    /// quarter of what an acknowledgement costs the load side.
    pub(crate) fn answer(&self, datagram: &[u8]) -> io::Result<()> {
        loop {
            match self.io.send(datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                done => return done.map(drop),
            }
        }
    }

    /// Receives up to one batch of trains into `inbox`; 0 where nothing waits.
    pub(crate) fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        let Inbox { storage, meta } = inbox;
        let mut chunks = storage.chunks_exact_mut(TRAIN_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        match self.state.recv((&self.io).into(), &mut slices, meta) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            done => done,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// Room for one batch of received trains.
#[derive(Debug)]
pub(crate) struct Inbox {
    storage: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl Inbox {
    /// An empty inbox.
    pub(crate) fn new() -> Self {
        Self { storage: vec![0; BATCH_SIZE * TRAIN_BYTES], meta: [RecvMeta::default(); BATCH_SIZE] }
    }

    /// Train `index` of the last batch: its facts and its bytes.
    pub(crate) fn train(&self, index: usize) -> (&RecvMeta, &[u8]) {
        let meta = &self.meta[index];
        let start = index * TRAIN_BYTES;
        (meta, &self.storage[start..start + meta.len])
    }
}
