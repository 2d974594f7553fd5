//! The few requests to the kernel's rtnetlink that a lab makes, in the calling thread's network namespace.
//!
//! Written here since the crates for it bring an async runtime or a code generator for eight messages, and `ip` would
//! have to be installed and parsed.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netdevice, recv, send, socket_with,
};
use std::io;
use std::net::Ipv4Addr;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// An answer to one request fits: an error with the request that it is about.
const ANSWER_MAX: usize = 4096;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWQDISC: u16 = 36;

/// NLM_F_REQUEST | NLM_F_ACK.
const CHANGE: u16 = 0x005;
/// [`CHANGE`] | NLM_F_EXCL | NLM_F_CREATE.
const CREATE: u16 = 0x605;

const NESTED: u16 = 1 << 15;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

const AF_INET: u8 = 2;
const IFF_UP: u32 = 0x01;
const IFF_NOARP: u32 = 0x80;
/// A host, not a network.
const HOST: u8 = 32;
/// The loopback interface is the first of a namespace.
const LOOPBACK: u32 = 1;

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// One end of a pair of virtual Ethernet interfaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) name: &'a str,
    pub(super) mac: Mac,
}

/// An interface of the namespace that the socket is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interface(u32);

impl Interface {
    pub(super) const LOOPBACK: Self = Self(LOOPBACK);

    /// Its number in its namespace.
    pub(super) fn index(self) -> u32 {
        self.0
    }
}

/// A conversation with the kernel about the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens one in the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The interface of that name.
    pub(super) fn interface(&self, name: &str) -> io::Result<Interface> {
        Ok(Interface(netdevice::name_to_index(&self.socket, name)?))
    }

    /// Brings an interface up.
    pub(super) fn up(&mut self, interface: Interface) -> io::Result<()> {
        let body = link_header(interface, IFF_UP, IFF_UP);
        self.request(Message::new(RTM_NEWLINK, CHANGE, &body))
    }

    /// Brings the end of a link up: no address resolution, whose packets the link would delay and lose, and a queue
    /// that holds a burst.
    pub(super) fn up_point_to_point(&mut self, interface: Interface, mtu: u32, queue: u32) -> io::Result<()> {
        let body = link_header(interface, IFF_UP | IFF_NOARP, IFF_UP | IFF_NOARP);
        let mut message = Message::new(RTM_NEWLINK, CHANGE, &body);
        message.put(IFLA_MTU, &mtu.to_ne_bytes());
        message.put(IFLA_TXQLEN, &queue.to_ne_bytes());
        self.request(message)
    }

    /// Makes a pair of virtual Ethernet interfaces: `here`, and `there` in another namespace.
    pub(super) fn veth(&mut self, here: End<'_>, there: End<'_>, namespace: BorrowedFd<'_>) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, CREATE, &link_header(Interface(0), 0, 0));
        message.put_end(here);
        message.nest(IFLA_LINKINFO, |info| {
            info.put(IFLA_INFO_KIND, b"veth");
            info.nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.bytes.extend_from_slice(&link_header(Interface(0), 0, 0));
                    peer.put_end(there);
                    peer.put(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.request(message)
    }

    /// Gives an interface an address and the way to the one at the other end.
    pub(super) fn address(&mut self, interface: Interface, own: Ipv4Addr, other: Ipv4Addr) -> io::Result<()> {
        // struct ifaddrmsg: family, prefix, flags, scope, index.
        let mut body = vec![AF_INET, HOST, 0, 0];
        body.extend_from_slice(&interface.0.to_ne_bytes());
        let mut message = Message::new(RTM_NEWADDR, CREATE, &body);
        message.put(IFA_LOCAL, &own.octets());
        message.put(IFA_ADDRESS, &other.octets());
        self.request(message)
    }

    /// Sends what is for `to` out of `interface`, from `source` unless the sender says otherwise.
    pub(super) fn route(&mut self, to: Ipv4Addr, interface: Interface, source: Ipv4Addr) -> io::Result<()> {
        const TABLE_MAIN: u8 = 254;
        const PROTOCOL_STATIC: u8 = 4;
        const SCOPE_LINK: u8 = 253;
        const UNICAST: u8 = 1;
        // struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags.
        let body = [AF_INET, HOST, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, SCOPE_LINK, UNICAST, 0, 0, 0, 0];
        let mut message = Message::new(RTM_NEWROUTE, CREATE, &body);
        message.put(RTA_DST, &to.octets());
        message.put(RTA_OIF, &interface.0.to_ne_bytes());
        message.put(RTA_PREFSRC, &source.octets());
        self.request(message)
    }

    /// Puts the kernel's own netem on an interface: whether it can is what doctor wants to know.
    pub(super) fn kernel_netem(&mut self, interface: Interface) -> io::Result<()> {
        const ROOT: u32 = u32::MAX;
        const HANDLE: u32 = 1 << 16;
        const LIMIT: u32 = 1000;
        // struct tcmsg: family and padding, interface, handle, parent, info.
        let words = [0, interface.0, HANDLE, ROOT, 0];
        let body: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut message = Message::new(RTM_NEWQDISC, CREATE, &body);
        message.put(TCA_KIND, b"netem\0");
        // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter.
        let options: Vec<u8> = [0, LIMIT, 0, 0, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        message.put(TCA_OPTIONS, &options);
        self.request(message)
    }

    fn request(&mut self, message: Message) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        // An unconnected socket sends to the kernel.
        send(&self.socket, &message.finish(self.sequence), SendFlags::empty())?;
        let mut buffer = [0; ANSWER_MAX];
        loop {
            let (length, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            if let Some(result) = answer(&buffer[..length], self.sequence) {
                return result;
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What the kernel says of the request with that number.
fn answer(bytes: &[u8], sequence: u32) -> Option<io::Result<()>> {
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let number = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
    if kind != NLMSG_ERROR || number != sequence {
        return None;
    }
    let code = i32::from_ne_bytes(*bytes.get(HEADER..)?.first_chunk()?);
    Some(if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) })
}

/// `struct ifinfomsg`.
fn link_header(interface: Interface, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&interface.0.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

/// A request under construction: header, fixed part, attributes.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(body);
        Self { bytes }
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |message| message.bytes.extend_from_slice(value));
    }

    fn put_end(&mut self, end: End<'_>) {
        self.attribute(IFLA_IFNAME, |message| {
            message.bytes.extend_from_slice(end.name.as_bytes());
            message.bytes.push(0);
        });
        self.put(IFLA_ADDRESS, &end.mac);
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind | NESTED, fill);
    }

    fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        // Far below 64 KiB: names, addresses and numbers of a fixed size.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        // Attributes start at multiples of four bytes.
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_carry_their_length_and_start_at_multiples_of_four() {
        let mut message = Message::new(RTM_NEWLINK, CHANGE, &[]);
        message.nest(IFLA_LINKINFO, |info| info.put(IFLA_INFO_KIND, b"veth0"));
        let bytes = message.finish(7);
        assert_eq!(bytes.len(), HEADER + 4 + 12);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[8..12], 7_u32.to_ne_bytes());
        // The nest counts the padding within it, the attribute does not count its own.
        assert_eq!(bytes[16..18], 16_u16.to_ne_bytes());
        assert_eq!(bytes[20..22], 9_u16.to_ne_bytes());
        assert_eq!(bytes[24..], *b"veth0\0\0\0");
    }

    #[test]
    fn an_answer_to_another_request_is_not_taken() {
        let mut bytes = [0; HEADER + 4];
        bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes[8..12].copy_from_slice(&3_u32.to_ne_bytes());
        bytes[16..].copy_from_slice(&(-17_i32).to_ne_bytes());
        assert!(answer(&bytes, 4).is_none());
        let refused = answer(&bytes, 3).expect("it is the answer").expect_err("it is a refusal");
        assert_eq!(refused.raw_os_error(), Some(17));
        assert!(answer(&bytes[..10], 3).is_none(), "a cut answer is none");
    }
}
