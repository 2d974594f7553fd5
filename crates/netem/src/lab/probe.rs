//! Whether the kernel permits what a lab takes, by trying it.

use super::device::{self, LinkEnd};
use super::namespace::Namespace;
use super::netlink::{Interface, Netlink};
use super::spec::{Medium, link_address};
use super::{sys, user};
use rustix::thread::{current_timer_slack, set_current_timer_slack};
use std::io;
use std::num::NonZeroU64;

/// Something that a lab needs or is better with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Rights over namespaces, as the process is.
    Privilege,
    /// A user namespace, which gives them.
    UserNamespace,
    /// A network namespace.
    NetworkNamespace,
    /// A link of either kind.
    Link(Medium),
    /// A thread that goes before all ordinary ones.
    RealTime,
    /// A thread that is woken when it asked to be.
    TimerSlack,
    /// The kernel's own emulator.
    KernelNetem,
}

/// Tries it, and leaves nothing behind.
pub(crate) fn probe(what: Probe) -> io::Result<()> {
    match what {
        Probe::Privilege if user::is_privileged() => Ok(()),
        Probe::Privilege => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        Probe::UserNamespace => user::probe(),
        Probe::NetworkNamespace => Namespace::new("probe").map(drop),
        Probe::Link(medium) => link(medium),
        Probe::RealTime => sys::real_time().and_then(|()| sys::ordinary_priority()),
        Probe::TimerSlack => timer_slack(),
        Probe::KernelNetem => Namespace::new("probe")?.run(|| Netlink::open()?.kernel_netem(Interface::LOOPBACK)),
    }
}

/// What links are best made of here: TUN devices where they can be made.
pub(super) fn best_medium() -> Medium {
    if link(Medium::Tun).is_ok() { Medium::Tun } else { Medium::Packet }
}

/// Makes a link between two namespaces.
fn link(medium: Medium) -> io::Result<()> {
    let [a, b, hub] = ["probe a", "probe b", "probe hub"].map(Namespace::new);
    let (a, b) = (a?, b?);
    let end =
        |namespace, side: usize| LinkEnd { namespace, own: link_address(0, side), other: link_address(0, 1 - side) };
    device::lay(medium, &hub?, 0, [end(&a, 0), end(&b, 1)]).map(drop)
}

fn timer_slack() -> io::Result<()> {
    let before = current_timer_slack()?;
    set_current_timer_slack(NonZeroU64::new(1))?;
    // Zero, which real-time threads have, restores the default.
    Ok(set_current_timer_slack(NonZeroU64::new(before))?)
}
