//! Where a fleet runs: what differs between a lab and proxies.

use super::child::Running;
use sluice_netem::model::{Counters, State};
use sluice_netem::proxy::Lateness;
use sluice_netem::result::{Punctuality, Quantiles};
use sluice_netem::scenario::{LinkId, NodeId, Scenario};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// Where a relay listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses {
    /// For users.
    pub(super) user: SocketAddr,
    /// For HTTP.
    pub(super) admin: SocketAddr,
    /// For other relays.
    pub(super) trunk: SocketAddr,
}

/// One node reaches another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dial {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// Over which link.
    pub(super) link: LinkId,
    /// Where the other one listens.
    pub(super) at: SocketAddr,
}

/// What a link did: from its first end to its second, and back.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkState {
    pub(super) link: LinkId,
    pub(super) down: Counters,
    pub(super) up: Counters,
}

/// A machine, or several, that nodes run on and links are laid over.
pub(super) trait Place {
    /// Where relays are to listen before they have ever run; port 0 is any.
    fn listen(&self) -> Addresses;

    /// The address by which one node reaches another; lays the link where it has to be laid.
    fn reach(&mut self, dial: Dial) -> anyhow::Result<SocketAddr>;

    /// Starts a process in a node.
    fn spawn(&self, node: NodeId, command: Command) -> anyhow::Result<Running>;

    /// The scenario's clock starts: conditions of links change when it says.
    fn begin(&mut self, scenario: &Scenario) -> anyhow::Result<()>;

    /// Takes a link down or up.
    fn set_state(&self, link: LinkId, state: State) -> anyhow::Result<()>;

    /// How long a packet that came now would wait before each link; the longer of both ways.
    fn waits(&self) -> anyhow::Result<Vec<(LinkId, Duration)>>;

    /// What the links have done so far.
    fn links(&self) -> anyhow::Result<Vec<LinkState>>;

    /// How late packets left since [`Place::forget`].
    fn lateness(&self) -> anyhow::Result<Punctuality>;

    /// Forgets how late packets were while everything started.
    fn forget(&self) -> anyhow::Result<()>;
}

/// What an engine counts in nanoseconds, in seconds.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of lateness, far below 2^53")]
pub(super) fn quantiles(lateness: Lateness) -> Quantiles {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    Quantiles { p50: seconds(lateness.p50_ns), p99: seconds(lateness.p99_ns), max: seconds(lateness.max_ns) }
}
