//! One logical connection: where it goes, what it is for, and whether there is a session.

use super::assemble::Keep;
use super::backoff::Backoff;
use super::ping::Pinger;
use super::watch::Watcher;
use crate::url::StreamUrl;
use sluice_moqt::name::Namespace;
use sluice_moqt::transport::{Dial, SessionId};
use sluice_moqt::types::RequestId;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// ALPN of draft 18 over raw QUIC.
pub const ALPN: &[u8] = b"moqt-18";

/// Where a link goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    addrs: Vec<SocketAddr>,
    server_name: String,
    authority: String,
}

impl Target {
    /// A URL and the addresses behind it, tried in turn; `None` when there are none.
    #[must_use]
    pub fn new(url: &StreamUrl, addrs: Vec<SocketAddr>) -> Option<Self> {
        let target = Self { addrs, server_name: url.host().to_owned(), authority: url.authority() };
        (!target.addrs.is_empty()).then_some(target)
    }

    /// Whether some address needs an IPv6 socket.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.addrs.iter().any(SocketAddr::is_ipv6)
    }

    /// SETUP AUTHORITY.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Offers the client's broadcast.
    Publisher,
    /// Watches a namespace.
    Watcher {
        /// Which.
        namespace: Namespace,
        /// What of its payloads is kept.
        keep: Keep,
    },
    /// Measures round trips.
    Pinger {
        /// A namespace to ask about.
        namespace: Namespace,
        /// Time between two probes.
        interval: Duration,
    },
}

/// The state that a role keeps over all sessions of its link.
#[derive(Debug)]
pub(super) enum Work {
    Publish(Announcement),
    Watch(Watcher),
    Ping(Pinger),
}

/// Our PUBLISH_NAMESPACE.
#[derive(Debug, Default)]
pub(super) struct Announcement {
    pub(super) request: Option<RequestId>,
    pub(super) retry_at: Option<Instant>,
}

impl From<Role> for Work {
    fn from(role: Role) -> Self {
        match role {
            Role::Publisher => Self::Publish(Announcement::default()),
            Role::Watcher { namespace, keep } => Self::Watch(Watcher::new(namespace, keep)),
            Role::Pinger { namespace, interval } => Self::Ping(Pinger::new(namespace, interval)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A dial is under way.
    Dialing,
    /// There is a connection; the session may still wait for the peer's SETUP.
    Connected(SessionId),
    /// The next dial follows at this time.
    Waiting(Instant),
    /// The owner has to resolve a URI first.
    Unresolved,
    /// The owner closed the link.
    Closed,
}

#[derive(Debug)]
pub(super) struct Link {
    /// `None`: the peer dialled.
    pub(super) target: Option<Target>,
    next_addr: usize,
    pub(super) phase: Phase,
    pub(super) backoff: Backoff,
    pub(super) work: Work,
}

impl Link {
    pub(super) fn new(target: Option<Target>, role: Role, phase: Phase) -> Self {
        Self { target, next_addr: 0, phase, backoff: Backoff::default(), work: role.into() }
    }

    pub(super) fn set_target(&mut self, target: Target) {
        self.target = Some(target);
        self.next_addr = 0;
    }

    /// The next dial; each attempt takes the next address.
    pub(super) fn dial(&mut self, token: u64) -> Option<Dial> {
        let target = self.target.as_ref()?;
        let remote = *target.addrs.get(self.next_addr % target.addrs.len().max(1))?;
        self.next_addr = self.next_addr.wrapping_add(1);
        self.phase = Phase::Dialing;
        Some(Dial { token, remote, alpn: ALPN.to_vec(), server_name: target.server_name.clone() })
    }

    pub(super) const fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Connected(session) => Some(session),
            Phase::Dialing | Phase::Waiting(_) | Phase::Unresolved | Phase::Closed => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let work = match &self.work {
            Work::Publish(announcement) => announcement.retry_at,
            Work::Watch(watcher) => watcher.poll_timeout(),
            Work::Ping(pinger) => pinger.poll_timeout(),
        };
        match self.phase {
            Phase::Waiting(until) => Some(until),
            Phase::Connected(_) => work,
            Phase::Dialing | Phase::Unresolved | Phase::Closed => None,
        }
    }
}
