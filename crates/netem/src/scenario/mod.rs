//! Scenario files: who takes part, how they are joined, what happens, and what is expected of it.
//!
//! ```toml
//! name = "trunk-flap"
//! description = "The trunk goes away for 200 ms every 5 s: nothing is lost, nobody re-routes"
//! seed = 7
//! duration = "30s"
//! engines = ["sim", "lab", "proxy"]
//!
//! [node.origin]
//! [node.edge]
//! [node.camera]
//! role = "publisher"
//! rate = "8M"
//! [node.viewers]
//! count = 10
//!
//! [[link]]
//! between = ["camera", "origin"]
//! [[link]]
//! between = ["origin", "edge"]
//! delay = "25ms"
//! down.loss = "1%"
//! [[link]]
//! between = ["edge", "viewers"]
//!
//! [[at]]
//! t = "5s"
//! do = "down"
//! link = "origin-edge"
//! for = "200ms"
//! every = "5s"
//!
//! [expect]
//! groups_lost = 0
//! ```
//!
//! A [`Scenario`] cannot be made in any other way than by reading one, and reading gives either a whole one or
//! [`Problems`]: everything that is wrong, each with its line.
//!
//! ```
//! let text = "name = 'one'\ndescription = 'A relay'\nduration = '5s'\n[node.origin]\n[node.edge]\n\
//!     [[link]]\nbetween = ['origin', 'edeg']\n";
//! let problems = sluice_netem::scenario::Scenario::parse("one.toml", text).unwrap_err();
//! assert!(problems.to_string().contains("one.toml:7: there is no node `edeg`, did you mean `edge`?"));
//! ```

mod document;
mod events;
mod expect;
mod links;
mod nodes;
mod path;
mod problem;
mod read;
mod value;

pub use events::{Action, Event};
pub use expect::{Bound, Expectation, FIGURES, Figure, Quantity, Scope, Spec};
pub use links::{Generated, Link, Ways};
pub use nodes::{Node, Role, Viewers, Workload};
pub use path::Route;
pub use problem::{Problem, Problems, Wrong};
pub use value::Jump;

use crate::model::{Change, Program, Span, Step, Way};
use std::collections::BTreeSet;
use std::time::Duration;

/// A node of a scenario: its place in [`Scenario::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// A link of a scenario: its place in [`Scenario::links`], and its number in the choices of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

/// What carries a scenario out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// One thread, virtual time.
    Sim,
    /// Processes in network namespaces.
    Lab,
    /// Processes on loopback, each link through a UDP forwarder.
    Proxy,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sim, Self::Lab, Self::Proxy];

    /// As in files and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Lab => "lab",
            Self::Proxy => "proxy",
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A whole scenario, without a contradiction.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence.
    pub description: String,
    /// Every random choice of a run is a function of it, where the run is given no other.
    pub seed: u64,
    /// How long a run takes.
    pub duration: Duration,
    /// Where it makes sense.
    pub engines: BTreeSet<Engine>,
    /// Who takes part.
    pub nodes: Vec<Node>,
    /// How they are joined.
    pub links: Vec<Link>,
    /// What happens, in order of time.
    pub events: Vec<Event>,
    /// What is expected.
    pub expectations: Vec<Expectation>,
}

impl Scenario {
    /// Reads a scenario; `file` is for messages.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        read::scenario(file, text)
    }

    /// The node of that id.
    ///
    /// # Panics
    /// The id is of another scenario.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0).expect("ids of a scenario are places in its lists")
    }

    /// The link of that id.
    ///
    /// # Panics
    /// As [`Scenario::node`].
    #[must_use]
    pub fn link(&self, id: LinkId) -> &Link {
        self.links.get(id.0).expect("ids of a scenario are places in its lists")
    }

    /// Every node with its id.
    pub fn node_ids(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// Every link with its id.
    pub fn link_ids(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        (0..).map(LinkId).zip(&self.links)
    }

    /// How one way of a link changes by itself from the start of the scenario's clock: as its generated network does
    /// in a run with `seed`, or by its `set` events. `None`: not at all. Known from the start, what waits in a
    /// bottleneck follows the changes.
    #[must_use]
    pub fn course(&self, id: LinkId, way: Way, seed: u64) -> Option<Program> {
        if let Some(network) = self.link(id).generated {
            return Some(network.program(way, (seed, id.0), self.duration));
        }
        let step = |event: &Event| {
            let Action::Set(link, ways) = &event.action else { return None };
            let (at, change) = (Span::saturating(event.at), Change::Set(ways.get(way).clone()));
            (*link == id).then_some(Step { at, change })
        };
        let steps: Vec<Step> = self.events.iter().filter_map(step).collect();
        (!steps.is_empty()).then(|| Program::once(steps))
    }

    /// The node of that name.
    #[must_use]
    pub fn find_node(&self, name: &str) -> Option<NodeId> {
        self.node_ids().find_map(|(id, node)| (node.name == name).then_some(id))
    }

    /// When the last event happens.
    #[must_use]
    pub fn last_event(&self) -> Option<Duration> {
        self.events.last().map(|event| event.at)
    }
}

#[cfg(test)]
mod tests;
