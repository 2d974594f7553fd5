//! The ends of links as the kernel knows them, and what the engine reads and writes them by.

use super::datagram::PREFIX;
use super::namespace::Namespace;
use super::netlink::{End, Interface, Mac, Netlink};
use super::spec::Medium;
use super::sys::{self, PacketAddress};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, eth, socket_with, sockopt};
use std::fs;
use std::io;
use std::net::Ipv4Addr;

/// What nodes may send as one packet; what a link lets pass is its model's business.
const MTU: u32 = 1500;
/// Packets that wait for the engine at an interface: a burst of a few megabytes.
const QUEUE: u32 = 5000;
/// The same in bytes, for a packet socket.
const BUFFER: usize = 16 << 20;
/// An Ethernet header.
const ETHERNET: usize = 14;
/// Every node's end has this address, so that what an interface without address resolution sends (to its own address)
/// is for the other end too.
const NODE_MAC: Mac = [0x02, 0, 0, 0, 0, 1];
/// The engine's ends have another, so that the kernel there ignores what passes.
const ENGINE_MAC: Mac = [0x02, 0, 0, 0, 0, 2];

/// What the engine reads packets from and writes them to.
#[derive(Debug)]
pub(super) struct Port {
    descriptor: OwnedFd,
    /// Bytes before the IP header.
    pub(super) header: usize,
    pub(super) framing: Framing,
}

/// What one read or write can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// One packet.
    Bare,
    /// A run of datagrams, too.
    Run,
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// An end of a link that is to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkEnd<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) own: Ipv4Addr,
    pub(super) other: Ipv4Addr,
}

/// The name of link number `link` at both nodes.
pub(super) fn name(link: usize) -> String {
    format!("link{link}")
}

/// Brings up a node's loopback interface with the node's own address.
pub(super) fn set_up_node(node: &Namespace, own: Ipv4Addr) -> io::Result<()> {
    node.run(move || {
        let mut netlink = Netlink::open()?;
        netlink.up(Interface::LOOPBACK)?;
        netlink.address(Interface::LOOPBACK, own, own)?;
        // Links carry IPv4. Without this the kernel announces itself by IPv6 on each; the engine ignores that too.
        let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        Ok(())
    })
}

/// Lets a node pass on what is for others.
pub(super) fn forward(node: &Namespace) -> io::Result<()> {
    node.run(|| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        // Ways there and back may differ where several are the shortest.
        fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")?;
        fs::write("/proc/sys/net/ipv4/conf/default/rp_filter", "0")
    })
}

/// Sends what is for the addresses `to` over link number `link`.
pub(super) fn route(node: &Namespace, own: Ipv4Addr, link: usize, to: Vec<Ipv4Addr>) -> io::Result<()> {
    node.run(move || {
        let mut netlink = Netlink::open()?;
        let interface = netlink.interface(&name(link))?;
        to.into_iter().try_for_each(|to| netlink.route(to, interface, own))
    })
}

/// Makes both ends of link number `link`. `hub` is where the engine's ends are, if it needs any.
pub(super) fn lay(medium: Medium, hub: &Namespace, link: usize, ends: [LinkEnd<'_>; 2]) -> io::Result<[Port; 2]> {
    let [a, b] = ends;
    match medium {
        Medium::Tun => Ok([tun(a, link)?, tun(b, link)?]),
        Medium::Packet => Ok([packet(a, hub, link, "a")?, packet(b, hub, link, "b")?]),
    }
}

fn tun(end: LinkEnd<'_>, link: usize) -> io::Result<Port> {
    let LinkEnd { namespace, own, other } = end;
    namespace.run(move || {
        let name = name(link);
        let runs = sys::tun_of_runs(&name).map(|descriptor| Port { descriptor, header: PREFIX, framing: Framing::Run });
        let port = match runs {
            Ok(port) => port,
            Err(_) => Port { descriptor: sys::tun(&name)?, header: 0, framing: Framing::Bare },
        };
        open_end(&mut Netlink::open()?, &name, own, other)?;
        Ok(port)
    })
}

fn packet(end: LinkEnd<'_>, hub: &Namespace, link: usize, side: &str) -> io::Result<Port> {
    let LinkEnd { namespace, own, other } = end;
    let inside = namespace.descriptor()?;
    let outside = format!("link{link}{side}");
    let descriptor = hub.run(move || {
        let mut netlink = Netlink::open()?;
        let here = End { name: &outside, mac: ENGINE_MAC };
        netlink.veth(here, End { name: &name(link), mac: NODE_MAC }, inside.as_fd())?;
        let interface = netlink.interface(&outside)?;
        let socket = packet_socket(interface)?;
        netlink.up_point_to_point(interface, MTU, QUEUE)?;
        Ok(socket)
    })?;
    namespace.run(move || {
        let mut netlink = Netlink::open()?;
        sys::finish_packets(&netlink, &name(link))?;
        open_end(&mut netlink, &name(link), own, other)
    })?;
    Ok(Port { descriptor, header: ETHERNET, framing: Framing::Bare })
}

fn open_end(netlink: &mut Netlink, name: &str, own: Ipv4Addr, other: Ipv4Addr) -> io::Result<()> {
    let interface = netlink.interface(name)?;
    netlink.up_point_to_point(interface, MTU, QUEUE)?;
    netlink.address(interface, own, other)
}

fn packet_socket(interface: Interface) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // IPv4 that comes in: a socket for all protocols would also see what it sends itself.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(eth::IP))?;
    // Above the system's limit only for root; what the limit allows is enough for all but the fastest links.
    if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
    }
    sys::skip_queue(&socket)?;
    bind(&socket, &PacketAddress::new(interface.index()))?;
    Ok(socket)
}
