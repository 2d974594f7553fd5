//! The calls of the kernel that no safe crate wraps: new namespaces, TUN devices, packet sockets, real-time priority.
//!
//! Every block names what makes it sound; nothing here keeps a pointer past its call.
#![expect(
    unsafe_code,
    reason = "unshare, three ioctls, sockaddr_ll, two of libc's calls and pre_exec have no safe wrapper"
)]

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// The longest name of an interface, without its final zero.
const NAME_MAX: usize = 15;
/// Bytes of the union in `struct ifreq`.
const IFREQ_DATA: usize = 24;

const TUNSETIFF: Opcode = 0x4004_54ca;
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

const TUNSETOFFLOAD: Opcode = 0x4004_54d0;
/// What need not be done before a packet is read: checksums, and cutting runs of datagrams over IPv4 and IPv6. The last
/// two can be had together only.
const TUN_OFFLOADS: usize = 0x01 | 0x20 | 0x40;

const SIOCETHTOOL: Opcode = 0x8946;
/// Transmit checksums, TCP segmentation, generic segmentation: what must be done before a packet leaves the kernel,
/// since the reader of a packet socket gets it as it is.
const OFFLOADS: [u32; 3] = [0x17, 0x1f, 0x24];

/// `struct ifreq`.
#[repr(C, align(8))]
struct Request {
    name: [u8; NAME_MAX + 1],
    data: [u8; IFREQ_DATA],
}

impl Request {
    fn new(name: &str, data: &[u8]) -> io::Result<Self> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface's name has 1 to 15 bytes"));
        }
        let mut request = Self { name: [0; NAME_MAX + 1], data: [0; IFREQ_DATA] };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        request.data[..data.len()].copy_from_slice(data);
        Ok(request)
    }
}

/// Moves the calling thread into a fresh network namespace.
pub(super) fn unshare_network() -> io::Result<()> {
    // SAFETY: only CLONE_FILES can break the rules of Rust, and it is not asked for.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Moves the calling process, which has one thread only, into a fresh user namespace without identities.
pub(super) fn unshare_user() -> io::Result<()> {
    // SAFETY: as above.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?)
}

/// Makes a TUN device in the calling thread's network namespace. It goes when the descriptor does.
pub(super) fn tun(name: &str) -> io::Result<OwnedFd> {
    open_tun(name, IFF_TUN | IFF_NO_PI)
}

/// The same for packets behind a `struct virtio_net_hdr`, so that runs of datagrams pass as one. Linux 6.2 can.
pub(super) fn tun_of_runs(name: &str) -> io::Result<OwnedFd> {
    let device = open_tun(name, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)?;
    // SAFETY: TUNSETOFFLOAD takes a number in place of a pointer.
    unsafe { ioctl(&device, IntegerSetter::<TUNSETOFFLOAD>::new_usize(TUN_OFFLOADS)) }?;
    Ok(device)
}

fn open_tun(name: &str, flags: u16) -> io::Result<OwnedFd> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut request = Request::new(name, &flags.to_ne_bytes())?;
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which `Request` is laid out as.
    unsafe { ioctl(&file, Updater::<TUNSETIFF, Request>::new(&mut request)) }?;
    Ok(file.into())
}

/// Has the kernel finish every packet that leaves through `interface` of the calling thread's namespace: whole
/// checksums, one packet per datagram.
pub(super) fn finish_packets(socket: impl AsFd, interface: &str) -> io::Result<()> {
    for command in OFFLOADS {
        // `struct ethtool_value`: which, and off.
        let mut value = [command, 0_u32];
        let pointer = ptr::from_mut(&mut value).expose_provenance();
        let mut request = Request::new(interface, &pointer.to_ne_bytes())?;
        // SAFETY: SIOCETHTOOL reads one `struct ifreq` that points to one `struct ethtool_value`; both outlive the call.
        unsafe { ioctl(socket.as_fd(), Updater::<SIOCETHTOOL, Request>::new(&mut request)) }?;
    }
    Ok(())
}

/// `struct sockaddr_ll` for binding: IPv4 packets of one interface.
#[repr(C)]
pub(super) struct PacketAddress {
    family: u16,
    protocol: u16,
    interface: i32,
    /// Hardware type, packet type, length and bytes of a hardware address: unused in `bind`.
    rest: [u8; 12],
}

impl PacketAddress {
    pub(super) fn new(interface: u32) -> Self {
        const AF_PACKET: u16 = 17;
        const ETH_P_IP: u16 = 0x0800;
        Self { family: AF_PACKET, protocol: ETH_P_IP.to_be(), interface: interface.cast_signed(), rest: [0; 12] }
    }
}

// SAFETY: the pointer is to a whole `struct sockaddr_ll` that lives as long as `self`, and the length is its size.
unsafe impl SocketAddrArg for PacketAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        const LENGTH: SocketAddrLen = 20;
        f(ptr::from_ref(self).cast(), LENGTH)
    }
}

/// Has what is written to a packet socket skip the interface's queue. The queue of an interface whose other end comes
/// up later drops everything until a worker of the kernel has noticed that, up to a second later.
pub(super) fn skip_queue(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
    let descriptor = socket.as_fd().as_raw_fd();
    let value = ptr::from_ref(&on).cast();
    // SAFETY: the value is read within the call, and the length is its size.
    match unsafe { libc::setsockopt(descriptor, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the calling thread the lowest real-time priority, which is above all ordinary threads.
pub(crate) fn real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: thread 0 is the calling one, and the parameters outlive the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the calling thread back its ordinary priority.
pub(crate) fn ordinary_priority() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: as above.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the kernel kill what `command` starts as soon as the thread that starts it ends, however it ends.
pub(super) fn die_with_starter(command: &mut Command) {
    // SAFETY: between fork and exec this makes one system call: no allocation, no lock.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
}

/// Runs `before` in the new process, before the program.
///
/// `before` may make system calls, and neither allocate nor take a lock: another thread of the parent may hold it.
pub(super) fn before_exec(command: &mut Command, before: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the only caller passes a closure over prepared bytes that makes raw system calls.
    unsafe { command.pre_exec(before) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Request>(), 40);
        assert_eq!(size_of::<PacketAddress>(), 20);
    }

    #[test]
    fn names_that_the_kernel_would_cut_are_refused() {
        assert!(Request::new("sixteen-bytes-xx", &[]).is_err());
        assert!(Request::new("", &[]).is_err());
        assert!(Request::new("fifteen-bytes-x", &[]).is_ok());
    }
}
