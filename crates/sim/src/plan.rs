//! What a world is made of: nodes, links, workload, and what happens to them. Both worlds take the same plan.
//!
//! A plan is data: it comes from a seed ([`crate::seed`]) or from a scenario file, and a world carries it out. Times
//! count from the start of the run.

use sluice_moqt::{Namespace, TrackName};
use sluice_netem::model::{Direction, Program};
use sluice_topology::PopId;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The port of a relay for users.
pub const USER_PORT: u16 = 4443;
/// The port of a relay for other relays.
pub const TRUNK_PORT: u16 = 4444;
/// The wall clock of every node at the start of a run, unless a [`Act::Clock`] moves it: a fixed time, so that a seed
/// replays in any year; within the validity of every certificate that a world issues.
pub const UNIX_START: Duration = Duration::from_secs(1_795_392_000);

/// A node of a plan: its place in [`Plan::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// A link of a plan: its place in [`Plan::links`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

impl NodeId {
    /// Its place in a list of all nodes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The address of the node: it keeps it over restarts.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        let [high, low] = self.0.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, high, low, 1))
    }

    /// The node that has the address.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => match ip.octets() {
                [10, high, low, 1] => Some(Self(u16::from_be_bytes([high, low]))),
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }

    /// Where a relay takes users.
    #[must_use]
    pub const fn user_addr(self) -> SocketAddr {
        SocketAddr::new(self.ip(), USER_PORT)
    }

    /// Where a relay takes trunks.
    #[must_use]
    pub const fn trunk_addr(self) -> SocketAddr {
        SocketAddr::new(self.ip(), TRUNK_PORT)
    }
}

impl LinkId {
    /// Its place in a list of all links.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// For people.
    pub name: String,
    /// Every random choice of the run is a function of it.
    pub seed: u64,
    /// How long the run takes, up to where everything is closed.
    pub duration: Duration,
    /// Who takes part.
    pub nodes: Vec<Node>,
    /// How they reach each other; nodes without a common link do not.
    pub links: Vec<Link>,
    /// What happens, in order of time.
    pub events: Vec<Event>,
    /// What is demanded of the run.
    pub demands: Demands,
}

/// One taking part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name; that of a relay is a legal [`PopId`].
    pub name: String,
    /// When its process is started; `None`: by an [`Act::Start`] only.
    pub starts: Option<Duration>,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A relay of one PoP.
    Relay(Relay),
    /// A client that publishes one namespace.
    Publisher(Publisher),
    /// A client that watches one namespace.
    Viewer(Viewer),
}

/// Tier of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Terminates users.
    Edge,
    /// Homes namespaces.
    Origin,
}

/// A relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its tier.
    pub role: Role,
    /// Origins that it reports to, the preferred one first; it dials them.
    pub origins: Vec<NodeId>,
    /// Further relays that it dials.
    pub peers: Vec<NodeId>,
    /// Lines of its configuration beyond what the plan tells, as an operator writes them: `[limits]`, `[ingest]`,
    /// `[[home]]`.
    pub config: String,
}

/// A publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The relay that it connects to.
    pub relay: NodeId,
    /// What it publishes below.
    pub namespace: Namespace,
    /// What it publishes.
    pub tracks: Vec<Track>,
}

/// A track of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Its name below the namespace.
    pub name: String,
    /// Time between two objects.
    pub interval: Duration,
    /// Objects of a group.
    pub objects_per_group: u32,
    /// Mean payload of an object.
    pub object_bytes: u32,
    /// Publisher priority; lower goes first.
    pub priority: u8,
}

/// Publisher priority of sound and of pictures, as a publisher of real media has them.
pub(crate) const SOUND: u8 = 64;
pub(crate) const PICTURES: u8 = 128;

impl Track {
    /// Video of `bits` per second at `fps` frames per second with a group per second.
    #[must_use]
    pub fn video(name: &str, bits: u64, fps: u32) -> Self {
        let fps = fps.max(1);
        Self {
            name: name.to_owned(),
            interval: Duration::from_secs(1) / fps,
            objects_per_group: fps,
            object_bytes: u32::try_from(bits / 8 / u64::from(fps)).unwrap_or(u32::MAX),
            priority: PICTURES,
        }
    }

    /// Payload bytes per second in the mean; the first object of a group is three times as long as the others.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        let objects = f64::from(self.objects_per_group);
        f64::from(self.object_bytes) * (objects + 2.0) / objects / self.interval.as_secs_f64()
    }

    /// How long a group takes.
    #[must_use]
    pub fn group_time(&self) -> Duration {
        self.interval * self.objects_per_group
    }
}

/// A viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The relay that it connects to.
    pub relay: NodeId,
    /// The publisher whose tracks it watches, all of them.
    pub of: NodeId,
    /// Bytes per second that it reads; `None`: as fast as they come.
    pub reads: Option<u64>,
}

/// A link between two nodes, one way each.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// For people and results.
    pub name: String,
    /// Who is joined.
    pub between: [NodeId; 2],
    /// Conditions from the first to the second, and back.
    pub ways: [Direction; 2],
    /// How they change.
    pub programs: [Option<Program>; 2],
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// What may happen. A partition is a [`Act::Down`] of each link that it cuts.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Nothing passes the link.
    Down(LinkId),
    /// The link passes packets again.
    Up(LinkId),
    /// The link's program gives it other conditions now.
    Set(LinkId),
    /// Whoever dialled over the link is seen from another address from now on; nothing changes where nodes have no
    /// addresses.
    Rebind(LinkId),
    /// The process dies without a word.
    Kill(NodeId),
    /// The process starts, anew after a [`Act::Kill`] or [`Act::Quit`]; a relay has the address it had.
    Start(NodeId),
    /// The process leaves as asked to: clients close their session.
    Quit(NodeId),
    /// The process does not run until [`Act::Cont`].
    Stop(NodeId),
    /// It runs again.
    Cont(NodeId),
    /// Its wall clock is set, forwards or back.
    Clock(NodeId, Jump),
}

/// By how much a wall clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// Into the future.
    Ahead(Duration),
    /// Into the past.
    Back(Duration),
}

/// What is demanded of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demands {
    /// How long after the last event every viewer may take to be at the live edge.
    pub converge: Duration,
    /// How far behind its publisher a viewer may be to be at the live edge.
    pub edge: Duration,
    /// Bytes that the logs of one relay may hold together.
    pub log_bytes: usize,
}

impl Default for Demands {
    fn default() -> Self {
        // Re-dial every 10 s at worst, after an idle timeout of as much, the linger of what a lost peer told, and the
        // probation of a peer that was suspect: what a viewer may have to wait for one after the other.
        Self { converge: Duration::from_secs(30), edge: Duration::from_secs(3), log_bytes: 256 << 20 }
    }
}

impl Plan {
    /// The node of that id.
    ///
    /// # Panics
    /// A plan names only nodes that it has.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.index()).expect("a plan names only nodes that it has")
    }

    /// Every node with its id.
    pub fn ids(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The link that joins two nodes, and which of its ways leads from the first to the second.
    #[must_use]
    pub fn link_between(&self, from: NodeId, to: NodeId) -> Option<(LinkId, usize)> {
        (0..).map(LinkId).zip(&self.links).find_map(|(id, link)| match link.between {
            [a, b] if a == from && b == to => Some((id, 0)),
            [a, b] if a == to && b == from => Some((id, 1)),
            [_, _] => None,
        })
    }

    /// The publisher of that id, where it is one.
    #[must_use]
    pub fn publisher(&self, id: NodeId) -> Option<&Publisher> {
        match &self.nodes.get(id.index())?.kind {
            Kind::Publisher(publisher) => Some(publisher),
            Kind::Relay(_) | Kind::Viewer(_) => None,
        }
    }

    /// What a node is, in words.
    #[must_use]
    pub fn about(&self, id: NodeId) -> String {
        let name = |id: &NodeId| self.node(*id).name.as_str();
        let names = |ids: &[NodeId]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
        match &self.node(id).kind {
            Kind::Relay(relay) => {
                let peers =
                    if relay.peers.is_empty() { String::new() } else { format!(", peers {}", names(&relay.peers)) };
                format!("{:?} below [{}]{peers} {:?}", relay.role, names(&relay.origins), relay.config)
            }
            Kind::Publisher(publisher) => {
                let tracks: Vec<&str> = publisher.tracks.iter().map(|track| track.name.as_str()).collect();
                format!("publishes {} [{}] at {}", publisher.namespace, tracks.join(", "), name(&publisher.relay))
            }
            Kind::Viewer(viewer) => format!("watches {} at {}", name(&viewer.of), name(&viewer.relay)),
        }
    }

    /// When the last event happens.
    #[must_use]
    pub fn last_event(&self) -> Duration {
        let starts = self.nodes.iter().filter_map(|node| node.starts);
        self.events.iter().map(|event| event.at).chain(starts).max().unwrap_or_default()
    }
}

impl Node {
    /// The name as that of a PoP; `None` where it is not legal.
    #[must_use]
    pub fn pop(&self) -> Option<PopId> {
        self.name.parse().ok()
    }
}

impl Publisher {
    /// The full name of a track of it; `None` where it is too long.
    #[must_use]
    pub fn track_name(&self, track: &Track) -> Option<TrackName> {
        TrackName::new(self.namespace.clone(), track.name.clone().into_bytes().into()).ok()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.3} s {:?}", self.at.as_secs_f64(), self.act)
    }
}
