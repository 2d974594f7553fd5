//! The processes of a plan's nodes: relays as the daemon assembles them, publishers that are our own client, and
//! viewers that note what they get. Each is an [`App`]; either world hosts them.

mod publisher;
mod relay;
mod viewer;

pub use publisher::{Published, Publisher};
pub use relay::{Relay, config, owner_of};
pub use viewer::{Seen, SubId, Viewer, What};

use crate::plan::{Kind, NodeId, Plan};
use sluice_moqt::transport::App;
use std::time::{Duration, Instant};

/// A plan that no world can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The daemon refuses the configuration of a relay.
    #[error("node {node}: {problems}")]
    Config {
        /// The relay.
        node: String,
        /// Everything that is wrong.
        problems: String,
    },
    /// A node refers to one of another kind.
    #[error("node {node} needs {what}, and {other} is none")]
    NotA {
        /// The node.
        node: String,
        /// What it needs.
        what: &'static str,
        /// What it names.
        other: String,
    },
    /// A namespace and a track name are too long together.
    #[error("node {node}: the name of its track {track} is too long")]
    TrackName {
        /// The publisher.
        node: String,
        /// The track.
        track: String,
    },
}

/// When a process starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Monotonic time.
    pub now: Instant,
    /// Wall time of its node.
    pub wall: Duration,
    /// How many processes the node had before.
    pub life: u32,
}

/// A running process.
#[derive(Debug)]
pub enum Actor {
    /// A relay.
    Relay(Box<Relay>),
    /// A publisher.
    Publisher(Box<Publisher>),
    /// A viewer.
    Viewer(Box<Viewer>),
}

impl Actor {
    /// Starts the process of a node.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn start(plan: &Plan, id: NodeId, birth: Birth) -> Result<Self, PlanError> {
        Ok(match &plan.node(id).kind {
            Kind::Relay(_) => Self::Relay(Box::new(Relay::start(plan, id, birth)?)),
            Kind::Publisher(publisher) => Self::Publisher(Box::new(Publisher::start(plan, (id, publisher), birth)?)),
            Kind::Viewer(viewer) => Self::Viewer(Box::new(Viewer::start(plan, (id, viewer), birth)?)),
        })
    }

    /// As a host sees it.
    pub fn app(&mut self) -> &mut dyn App {
        match self {
            Self::Relay(relay) => &mut **relay,
            Self::Publisher(publisher) => &mut **publisher,
            Self::Viewer(viewer) => &mut **viewer,
        }
    }

    /// Asks it to leave within `grace`.
    pub fn quit(&mut self, now: Instant, grace: Duration) {
        match self {
            Self::Relay(relay) => relay.node_mut().drain(now, grace),
            Self::Publisher(publisher) => publisher.quit(now),
            Self::Viewer(viewer) => viewer.quit(),
        }
    }

    /// Whether nothing holds it any more after [`Actor::quit`], its connections aside.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Relay(relay) => relay.node().is_drained(),
            Self::Publisher(_) | Self::Viewer(_) => true,
        }
    }
}

/// A seed of its own for a process of a node.
fn seed_of(plan: &Plan, id: NodeId, birth: Birth) -> u64 {
    plan.seed ^ (u64::from(id.0) << 40) ^ (u64::from(birth.life) << 56) ^ 0xA5A5
}
