//! The kernel's UDP socket: GSO, GRO, ECN and local addresses through `quinn-udp`.

use crate::socket::{RecvBatch, Socket, Transmit};
use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockAddr, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

/// Asked of the kernel for each direction: 16 ms of a 4 Gbit/s burst.
pub const BUFFER_BYTES: usize = 8 << 20;

/// The kernel gave smaller socket buffers than asked; bursts will be dropped under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{which} buffer is {got} bytes, wanted {wanted}: set sysctl {sysctl}={wanted}")]
pub struct BufferWarning {
    /// `send` or `receive`.
    pub which: &'static str,
    /// Bytes that the kernel gave.
    pub got: usize,
    /// Bytes that were asked for.
    pub wanted: usize,
    /// The limit to raise.
    pub sysctl: &'static str,
}

/// A non-blocking UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    io: std::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

impl UdpSocket {
    /// Binds `addr`; `[::]` takes IPv4 too. With `SO_REUSEPORT` every shard binds the same address; port 0 is one that
    /// nobody has.
    ///
    /// The second value names what the kernel refused; log it at WARN.
    ///
    /// # Errors
    /// The address is in use, not local, or sockets are not to be had.
    pub fn bind(addr: SocketAddr) -> io::Result<(Self, Vec<BufferWarning>)> {
        let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        let warnings = grow_buffers(&socket)?;
        // Among those that share, Linux's choice for port 0 may be a port that somebody has.
        let chosen = addr.port() == 0 && cfg!(target_os = "linux");
        socket.set_reuse_port(!chosen)?;
        socket.bind(&SockAddr::from(addr))?;
        socket.set_reuse_port(true)?;
        let io = std::net::UdpSocket::from(socket);
        // Sets the socket non-blocking and turns on GRO, ECN and packet info.
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let local = io.local_addr()?;
        Ok((Self { io, state, local }, warnings))
    }
}

fn grow_buffers(socket: &socket2::Socket) -> io::Result<Vec<BufferWarning>> {
    // Refusal shows as a smaller size (Linux) or an error (BSD); the size read back tells both.
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    // Linux reports twice what it granted, for its own bookkeeping.
    let factor = if cfg!(target_os = "linux") { 2 } else { 1 };
    let sizes = [
        ("send", socket.send_buffer_size()? / factor, "net.core.wmem_max"),
        ("receive", socket.recv_buffer_size()? / factor, "net.core.rmem_max"),
    ];
    Ok(sizes
        .into_iter()
        .filter(|(_, got, _)| *got < BUFFER_BYTES)
        .map(|(which, got, sysctl)| BufferWarning { which, got, wanted: BUFFER_BYTES, sysctl })
        .collect())
}

impl Socket for UdpSocket {
    fn send(&mut self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.state.try_send(UdpSockRef::from(&self.io), transmit)
    }

    fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<()> {
        batch.fill_with(|slices, metas| self.state.recv(UdpSockRef::from(&self.io), slices, metas))
    }

    fn max_gso_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn raw_fd(&self) -> Option<RawFd> {
        Some(self.io.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sockets_share_a_port_and_take_ipv4() {
        let (first, warnings) = UdpSocket::bind("[::]:0".parse().unwrap()).unwrap();
        let (second, _) = UdpSocket::bind(first.local_addr()).unwrap();
        assert_eq!(first.local_addr(), second.local_addr());
        for warning in warnings {
            assert!(warning.to_string().contains("net.core."), "{warning}");
        }
        let v4 = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().port();
        v4.send_to(b"x", ("127.0.0.1", port)).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_port_that_was_left_to_the_kernel_is_nobody_elses() {
        // With as many that share, some of 28,000 ports would come twice.
        let any = "127.0.0.77:0".parse().unwrap();
        let sockets: Vec<UdpSocket> = (0..400).map(|_| UdpSocket::bind(any).unwrap().0).collect();
        let ports: std::collections::BTreeSet<u16> = sockets.iter().map(|socket| socket.local_addr().port()).collect();
        assert_eq!(ports.len(), sockets.len());
    }

    #[test]
    fn warning_names_the_sysctl() {
        let warning = BufferWarning { which: "send", got: 212_992, wanted: BUFFER_BYTES, sysctl: "net.core.wmem_max" };
        assert_eq!(
            warning.to_string(),
            "send buffer is 212992 bytes, wanted 8388608: set sysctl net.core.wmem_max=8388608"
        );
    }
}
