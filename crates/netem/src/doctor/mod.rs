//! What this machine lacks for the engines, and what to do about it.
//!
//! Capabilities are found by trying them, never by version numbers or files alone: containers, security modules and
//! kernels without modules refuse what looks available.
//!
//! A process that is not root calls [`enter_user_namespace`](crate::lab::enter_user_namespace) before its first thread,
//! and asks afterwards: what is possible inside is what counts.

mod engines;
#[cfg(target_os = "linux")]
mod linux;

pub use engines::{Missing, require};

use serde::Serialize;
use std::fmt;
use std::net::{Ipv4Addr, UdpSocket};

/// Columns that the name of a capability takes in a line.
const NAME_WIDTH: usize = 24;

/// Something that an engine needs or is better with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Linux itself.
    Linux,
    /// Rights over namespaces and interfaces, as root has them.
    Privilege,
    /// User namespaces, which give these rights to everybody.
    UserNamespaces,
    /// Network namespaces, one for each node.
    NetworkNamespaces,
    /// TUN devices: the better of two ways to make a link.
    Tun,
    /// Virtual Ethernet and packet sockets: the other.
    PacketSockets,
    /// Priority for the engine before ordinary threads.
    RealTime,
    /// Timers that wake a thread when it asked to be woken.
    TimerSlack,
    /// The kernel's own emulator, which no engine needs.
    KernelNetem,
    /// UDP on the loopback interface.
    LoopbackUdp,
}

impl Capability {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Privilege => "root or CAP_NET_ADMIN",
            Self::UserNamespaces => "user namespaces",
            Self::NetworkNamespaces => "network namespaces",
            Self::Tun => "/dev/net/tun",
            Self::PacketSockets => "AF_PACKET on veth",
            Self::RealTime => "real-time priority",
            Self::TimerSlack => "timer slack",
            Self::KernelNetem => "kernel netem",
            Self::LoopbackUdp => "UDP on loopback",
        }
    }
}

/// Whether a capability is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It is.
    Have,
    /// It is not.
    Missing,
}

/// What is known of one capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub capability: Capability,
    /// Whether it is there.
    pub presence: Presence,
    /// What it is for, or what the lack of it means.
    pub meaning: String,
    /// What the system said when it refused.
    pub reason: Option<String>,
    /// What to do to have it.
    pub fix: Option<String>,
}

impl Finding {
    fn have(capability: Capability, meaning: &str) -> Self {
        Self { capability, presence: Presence::Have, meaning: meaning.to_owned(), reason: None, fix: None }
    }

    fn missing(capability: Capability, meaning: &str, reason: impl fmt::Display, fix: &str) -> Self {
        Self {
            capability,
            presence: Presence::Missing,
            meaning: meaning.to_owned(),
            reason: Some(reason.to_string()),
            fix: Some(fix.to_owned()),
        }
    }
}

impl fmt::Display for Finding {
    /// One line: `missing  /dev/net/tun  Permission denied: links are made of veth, which costs a tenth more; to have it: ..`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let presence = match self.presence {
            Presence::Have => "have",
            Presence::Missing => "missing",
        };
        write!(f, "{presence:<8} {:<NAME_WIDTH$} ", self.capability.name())?;
        if let Some(reason) = &self.reason {
            write!(f, "{reason}: ")?;
        }
        f.write_str(&self.meaning)?;
        match &self.fix {
            Some(fix) => write!(f, "; to have it: {fix}"),
            None => Ok(()),
        }
    }
}

/// Looks at everything that any engine needs or is better with.
#[must_use]
pub fn examine() -> Vec<Finding> {
    let mut findings = examine_lab();
    findings.push(loopback());
    findings
}

#[cfg(target_os = "linux")]
fn examine_lab() -> Vec<Finding> {
    linux::examine()
}

#[cfg(not(target_os = "linux"))]
fn examine_lab() -> Vec<Finding> {
    let fix = "run on Linux, or in a Linux virtual machine";
    vec![Finding::missing(Capability::Linux, "the lab is made of its namespaces", std::env::consts::OS, fix)]
}

fn loopback() -> Finding {
    match UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
        Ok(_) => Finding::have(Capability::LoopbackUdp, "the proxy forwards there"),
        Err(error) => {
            let fix = "bring the loopback interface up: ip link set lo up";
            Finding::missing(Capability::LoopbackUdp, "the proxy has nowhere to forward", error, fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_that_says_what_to_do() {
        let have = Finding::have(Capability::Tun, "links are made of TUN devices");
        assert_eq!(have.to_string(), "have     /dev/net/tun             links are made of TUN devices");
        let missing = Finding::missing(Capability::RealTime, "delays are late on a busy machine", "refused", "be root");
        let line = "missing  real-time priority       refused: delays are late on a busy machine; to have it: be root";
        assert_eq!(missing.to_string(), line);
    }
}
