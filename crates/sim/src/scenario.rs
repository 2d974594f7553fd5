//! A scenario file as a plan.

use crate::plan::{
    Act, Demands, Event, Jump, Kind, Link, LinkId, Node, NodeId, PICTURES, Plan, Publisher, Relay, Role, SOUND, Track,
    Viewer,
};
use sluice_moqt::Namespace;
use sluice_netem::model::Way;
use sluice_netem::scenario::{self, Action, Scenario, Workload};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time between two objects of audio.
const AUDIO_FRAME: Duration = Duration::from_millis(20);

/// A scenario that no plan can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// More nodes than a plan has numbers for.
    #[error(
        "scenario {name} has {count} nodes and links with all its viewers, a simulation takes {max}: lower a `count`"
    )]
    TooMany {
        /// The scenario.
        name: String,
        /// How many.
        count: usize,
        /// At most.
        max: usize,
    },
    /// A client has no link.
    #[error("node {node} has no link to a relay: add a [[link]]")]
    Unattached {
        /// The client.
        node: String,
    },
}

/// A plan, and what its nodes and links are in the scenario that it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Cast {
    /// The plan.
    pub plan: Plan,
    /// By node of the plan: the node of the scenario, and the number among its viewers.
    pub nodes: Vec<(scenario::NodeId, u32)>,
    /// By link of the plan.
    pub links: Vec<scenario::LinkId>,
    /// By event of the plan: the event of the scenario; `None`: a viewer leaves as planned.
    pub events: Vec<Option<usize>>,
}

impl Cast {
    /// The plan of a scenario.
    ///
    /// # Errors
    /// See [`CastError`].
    pub fn new(scenario: &Scenario, seed: u64) -> Result<Self, CastError> {
        let viewers = scenario.nodes.iter().map(|node| match &node.role {
            scenario::Role::Viewers(viewers) => viewers.count as usize,
            scenario::Role::Origin | scenario::Role::Edge | scenario::Role::Publisher(_) => 1,
        });
        let (count, max) = (viewers.sum::<usize>() + scenario.links.len(), usize::from(u16::MAX));
        if count >= max {
            return Err(CastError::TooMany { name: scenario.name.clone(), count, max });
        }
        let mut caster = Caster {
            scenario,
            distances: scenario.distances(),
            first: BTreeMap::new(),
            cast: Self::empty(scenario, seed),
        };
        caster.number();
        for (id, node) in scenario.node_ids() {
            caster.node(id, node)?;
        }
        caster.links();
        caster.events();
        Ok(caster.cast)
    }

    fn empty(scenario: &Scenario, seed: u64) -> Self {
        let plan = Plan {
            name: scenario.name.clone(),
            seed,
            duration: scenario.duration,
            nodes: Vec::new(),
            links: Vec::new(),
            events: Vec::new(),
            demands: Demands::default(),
        };
        Self { plan, nodes: Vec::new(), links: Vec::new(), events: Vec::new() }
    }
}

struct Caster<'a> {
    scenario: &'a Scenario,
    distances: BTreeMap<scenario::NodeId, usize>,
    /// The first node of the plan that stands for a node of the scenario, and how many do.
    first: BTreeMap<scenario::NodeId, (u16, u16)>,
    cast: Cast,
}

impl Caster<'_> {
    fn number(&mut self) {
        let mut next = 0;
        for (id, node) in self.scenario.node_ids() {
            let count = match &node.role {
                scenario::Role::Viewers(viewers) => u16::try_from(viewers.count).unwrap_or(u16::MAX),
                scenario::Role::Origin | scenario::Role::Edge | scenario::Role::Publisher(_) => 1,
            };
            self.first.insert(id, (next, count));
            next += count;
        }
    }

    /// The nodes of the plan that stand for one of the scenario.
    fn of(&self, id: scenario::NodeId) -> Vec<NodeId> {
        let (first, count) = self.first.get(&id).copied().unwrap_or_default();
        (first..first + count).map(NodeId).collect()
    }

    fn one(&self, id: scenario::NodeId) -> NodeId {
        NodeId(self.first.get(&id).map_or(0, |(first, _)| *first))
    }

    fn relay_of(&self, client: scenario::NodeId) -> Result<NodeId, CastError> {
        let unattached = || CastError::Unattached { node: self.scenario.node(client).name.clone() };
        self.scenario.relay_of(client).map(|(relay, _)| self.one(relay)).ok_or_else(unattached)
    }

    fn node(&mut self, id: scenario::NodeId, node: &scenario::Node) -> Result<(), CastError> {
        match &node.role {
            scenario::Role::Origin | scenario::Role::Edge => {
                let kind = Kind::Relay(self.relay(id));
                self.add((id, 0), node.name.clone(), Duration::ZERO, kind);
            }
            scenario::Role::Publisher(workload) => {
                let relay = self.relay_of(id)?;
                let namespace = Namespace::from_path(&node.name).unwrap_or_default();
                let kind = Kind::Publisher(Publisher { relay, namespace, tracks: tracks(workload) });
                self.add((id, 0), node.name.clone(), Duration::ZERO, kind);
            }
            scenario::Role::Viewers(viewers) => {
                let relay = self.relay_of(id)?;
                let of = self.one(viewers.watch);
                for index in 0..viewers.count {
                    let joins = viewers.joins(index);
                    let name = if viewers.count == 1 { node.name.clone() } else { format!("{}-{index}", node.name) };
                    let viewer = self.add((id, index), name, joins, Kind::Viewer(Viewer { relay, of, reads: None }));
                    if let Some(stay) = viewers.stay {
                        self.cast.plan.events.push(Event { at: joins + stay, act: Act::Quit(viewer) });
                        self.cast.events.push(None);
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, of: (scenario::NodeId, u32), name: String, starts: Duration, kind: Kind) -> NodeId {
        self.cast.nodes.push(of);
        self.cast.plan.nodes.push(Node { name, starts: Some(starts), kind });
        NodeId(u16::try_from(self.cast.plan.nodes.len() - 1).unwrap_or(u16::MAX))
    }

    /// A relay reports to its neighbours that are nearer to an origin, and dials them.
    fn relay(&self, id: scenario::NodeId) -> Relay {
        let far = |id: &scenario::NodeId| self.distances.get(id).copied().unwrap_or(usize::MAX);
        let neighbours = self.scenario.links.iter().filter_map(|link| link.other(id));
        let relays: Vec<scenario::NodeId> =
            neighbours.filter(|other| self.scenario.node(*other).role.is_relay()).collect();
        let ours = far(&id);
        let nearer = |other: &&scenario::NodeId| far(other) < ours || (ours == 0 && far(other) == 0 && **other < id);
        let level = |other: &&scenario::NodeId| far(other) == ours && ours != 0 && **other < id;
        // What others reach their origin by homes for them.
        let role = if ours == 0 || relays.iter().any(|other| far(other) > ours) { Role::Origin } else { Role::Edge };
        Relay {
            role,
            origins: relays.iter().filter(nearer).map(|other| self.one(*other)).collect(),
            peers: relays.iter().filter(level).map(|other| self.one(*other)).collect(),
            config: String::new(),
        }
    }

    fn links(&mut self) {
        for (id, link) in self.scenario.link_ids() {
            let programs = Way::BOTH.map(|way| self.scenario.course(id, way, self.cast.plan.seed));
            for a in self.of(link.between[0]) {
                for b in self.of(link.between[1]) {
                    let (name, ways) = (link.name.clone(), [link.ways.down.clone(), link.ways.up.clone()]);
                    let programs = programs.clone();
                    self.cast.plan.links.push(Link { name, between: [a, b], ways, programs });
                    self.cast.links.push(id);
                }
            }
        }
    }

    /// The links of the plan that stand for one of the scenario.
    fn links_of(&self, id: scenario::LinkId) -> Vec<LinkId> {
        (0..).map(LinkId).zip(&self.cast.links).filter(|(_, of)| **of == id).map(|(link, _)| link).collect()
    }

    fn events(&mut self) {
        for (number, event) in self.scenario.events.iter().enumerate() {
            for act in self.acts(&event.action) {
                self.cast.plan.events.push(Event { at: event.at, act });
                self.cast.events.push(Some(number));
            }
        }
        // In order of time, each with its number.
        let mut both: Vec<_> = self.cast.plan.events.drain(..).zip(self.cast.events.drain(..)).collect();
        both.sort_by_key(|(event, _)| event.at);
        (self.cast.plan.events, self.cast.events) = both.into_iter().unzip();
    }

    fn acts(&self, action: &Action) -> Vec<Act> {
        let all = |links: &[scenario::LinkId], act: fn(LinkId) -> Act| {
            links.iter().flat_map(|link| self.links_of(*link)).map(act).collect()
        };
        let each = |node: &scenario::NodeId, act: fn(NodeId) -> Act| self.of(*node).into_iter().map(act).collect();
        match action {
            Action::Down(links) => all(links, Act::Down),
            Action::Up(links) => all(links, Act::Up),
            Action::Set(link, _) => all(&[*link], Act::Set),
            Action::Rebind(link) => all(&[*link], Act::Rebind),
            Action::Kill(node) => each(node, Act::Kill),
            Action::Restart(node) => each(node, Act::Start),
            Action::Stop(node) => each(node, Act::Stop),
            Action::Cont(node) => each(node, Act::Cont),
            Action::Clock(node, jump) => {
                let jump = match jump {
                    scenario::Jump::Ahead(by) => Jump::Ahead(*by),
                    scenario::Jump::Back(by) => Jump::Back(*by),
                };
                self.of(*node).into_iter().map(|node| Act::Clock(node, jump)).collect()
            }
        }
    }
}

/// Video first, then audio, whose groups follow those of the video.
fn tracks(workload: &Workload) -> Vec<Track> {
    let bits = u128::from(workload.rate) * workload.frame().as_nanos() / 1_000_000_000;
    let video = Track {
        name: "video".to_owned(),
        interval: workload.frame(),
        objects_per_group: workload.frames_per_group(),
        object_bytes: u32::try_from(bits / 8).unwrap_or(u32::MAX).max(1),
        priority: PICTURES,
    };
    let group = video.group_time();
    let audio = workload.audio.map(|rate| Track {
        name: "audio".to_owned(),
        interval: AUDIO_FRAME,
        objects_per_group: u32::try_from(group.as_millis() / AUDIO_FRAME.as_millis()).unwrap_or(u32::MAX).max(1),
        object_bytes: u32::try_from(rate / 8 / 50).unwrap_or(u32::MAX).max(1),
        priority: SOUND,
    });
    [Some(video), audio].into_iter().flatten().collect()
}
