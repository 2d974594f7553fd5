//! What a Linux machine has for a lab.

use super::{Capability, Finding};
use crate::lab::{Medium, Probe, probe};
use std::fs;

const USER_NAMESPACES: &str = "run as root, or allow user namespaces";
const CONTAINER: &str = "run as root, in a container with --cap-add SYS_ADMIN --cap-add NET_ADMIN";
const REAL_TIME: &str = "run as root, or give your user `rtprio 1` in /etc/security/limits.conf and log in again";
const TUN: &str = "modprobe tun; chmod 0666 /dev/net/tun; in a container --device /dev/net/tun";
const PACKET: &str = "modprobe veth af_packet; in a container --cap-add NET_RAW";
const NETEM: &str = "modprobe sch_netem (package linux-modules-extra on some systems)";

/// Switches of the kernel that forbid user namespaces, with the value that does.
const SWITCHES: [(&str, &str); 3] = [
    ("kernel.unprivileged_userns_clone", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ("user.max_user_namespaces", "0"),
];

/// Tries everything.
pub(super) fn examine() -> Vec<Finding> {
    let mut findings = rights();
    let tun = Probe::Link(Medium::Tun);
    let packet = Probe::Link(Medium::Packet);
    findings.extend([
        find(Capability::NetworkNamespaces, Probe::NetworkNamespace, "each node is one", CONTAINER),
        find(Capability::Tun, tun, "links are TUN devices, else virtual Ethernet, which costs a tenth more", TUN),
        find(Capability::PacketSockets, packet, "links are virtual Ethernet where there is no TUN", PACKET),
        find(Capability::RealTime, Probe::RealTime, "the engine goes first, else delays are late when busy", REAL_TIME),
        find(
            Capability::TimerSlack,
            Probe::TimerSlack,
            "else delays are 50 us late",
            "permit prctl(PR_SET_TIMERSLACK)",
        ),
        find(Capability::KernelNetem, Probe::KernelNetem, "for comparison only: links do without it", NETEM),
    ]);
    findings
}

/// Either kind of rights is enough.
fn rights() -> Vec<Finding> {
    if probe(Probe::Privilege).is_ok() {
        let user = "not needed, the process has the rights that they would give";
        return vec![
            Finding::have(Capability::Privilege, "namespaces and interfaces may be made"),
            Finding::have(Capability::UserNamespaces, user),
        ];
    }
    let meaning = "namespaces and interfaces may be made in a user namespace only";
    let privilege = Finding::missing(Capability::Privilege, meaning, "not root", "run as root");
    let user =
        find(Capability::UserNamespaces, Probe::UserNamespace, "they give the rights of root in a lab", &unlock());
    vec![privilege, user]
}

/// What forbids user namespaces here, as far as it can be read.
fn unlock() -> String {
    let is_locked = |(name, locked): &&(&str, &str)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::read_to_string(path).is_ok_and(|value| value.trim() == *locked)
    };
    let switch = |(name, locked): &(&str, &str)| {
        let open = match *locked {
            "1" => "0",
            _ if name.contains("max") => "10000",
            _ => "1",
        };
        format!("sysctl -w {name}={open}")
    };
    let switches: Vec<_> = SWITCHES.iter().filter(is_locked).map(switch).collect();
    if switches.is_empty() { USER_NAMESPACES.to_owned() } else { format!("{USER_NAMESPACES}: {}", switches.join("; ")) }
}

fn find(capability: Capability, what: Probe, meaning: &str, fix: &str) -> Finding {
    match probe(what) {
        Ok(()) => Finding::have(capability, meaning),
        Err(error) => Finding::missing(capability, meaning, error, fix),
    }
}
