//! What must hold in every world, whatever a plan does to it.
//!
//! - [`delivery`]: what a viewer gets is what was published, to the byte, in order, once, and whole where the relay
//!   promised that it is.
//! - [`relays`]: one upstream subscription per track, no loop, bounded logs.
//! - [`Watch`] collects what the processes notice, and keeps the first breach.

mod breach;
pub mod delivery;
pub mod ledger;
pub mod relays;
mod story;

pub use breach::{Breach, Violation};
pub use story::Story;

use crate::actor::{Published, Seen, What};
use crate::plan::{Act, Kind, NodeId, Plan};
use crate::recorder::Recorder;
use delivery::{Delivery, Figures};
use ledger::Ledger;
use relays::Relays;
use sluice_node::{Audit, Incident};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Everything that was noticed in a run.
#[derive(Debug)]
pub struct Watch {
    base: Instant,
    names: Vec<String>,
    /// What nodes are, for people.
    about: Vec<String>,
    links: Vec<[NodeId; 2]>,
    ledger: Ledger,
    viewers: BTreeMap<NodeId, Watched>,
    relays: Relays,
    recorder: Option<Recorder>,
    story: Story,
    breach: Option<Breach>,
}

/// A viewer and what it gets.
#[derive(Debug)]
struct Watched {
    of: NodeId,
    tracks: Vec<Delivery>,
}

impl Watch {
    /// Of a run that starts at `base`.
    #[must_use]
    pub fn new(plan: &Plan, base: Instant) -> Self {
        let viewers = plan.ids().filter_map(|(id, node)| match &node.kind {
            Kind::Viewer(viewer) => {
                let tracks = plan.publisher(viewer.of).map_or(0, |publisher| publisher.tracks.len());
                Some((id, Watched { of: viewer.of, tracks: (0..tracks).map(|_| Delivery::default()).collect() }))
            }
            Kind::Relay(_) | Kind::Publisher(_) => None,
        });
        Self {
            base,
            names: plan.nodes.iter().map(|node| node.name.clone()).collect(),
            about: plan.ids().map(|(id, _)| plan.about(id)).collect(),
            links: plan.links.iter().map(|link| link.between).collect(),
            ledger: Ledger::default(),
            viewers: viewers.collect(),
            relays: Relays::new(plan),
            recorder: None,
            story: Story::default(),
            breach: None,
        }
    }

    /// Records everything from here on, for a result.
    pub fn record(&mut self) {
        self.recorder = Some(Recorder::default());
    }

    /// What was recorded.
    pub const fn recorder_mut(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut()
    }

    /// The first invariant that was broken.
    #[must_use]
    pub const fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// What happened, for people.
    #[must_use]
    pub const fn story(&self) -> &Story {
        &self.story
    }

    fn tell(&mut self, at: Duration, node: NodeId, what: &str) {
        let line = format!("{}: {what}", self.names[node.index()]);
        self.story.tell(at, line);
    }

    /// What was published.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What a viewer got of each track of its publisher.
    #[must_use]
    pub fn deliveries(&self, viewer: NodeId) -> &[Delivery] {
        self.viewers.get(&viewer).map(|watched| watched.tracks.as_slice()).unwrap_or_default()
    }

    /// Figures of all viewers together.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let mut sum = Figures::default();
        for delivery in self.viewers.values().flat_map(|watched| &watched.tracks) {
            sum.absorb(delivery.figures());
        }
        sum
    }

    /// The relays, as seen so far.
    #[must_use]
    pub const fn relays(&self) -> &Relays {
        &self.relays
    }

    /// Keeps a breach, unless there was one before.
    pub fn note(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }

    /// A publisher published an object.
    pub fn on_published(&mut self, node: NodeId, published: Published) {
        let when = published.when.saturating_duration_since(self.base);
        self.ledger.add(node, published.track, published.at, when);
        if let Some(recorder) = &mut self.recorder {
            recorder.on_published(node, when, &published);
        }
    }

    /// A viewer noticed something.
    pub fn on_seen(&mut self, node: NodeId, seen: Seen) {
        let at = seen.when.saturating_duration_since(self.base);
        let Some(watched) = self.viewers.get_mut(&node) else { return };
        let (of, track) = (watched.of, seen.track);
        let Some(delivery) = watched.tracks.get_mut(track) else { return };
        if let Some(recorder) = &mut self.recorder {
            let published = match seen.what {
                What::Object(location, _) | What::Fetched(location) => {
                    self.ledger.track(of, track).and_then(|ledger| ledger.published(location))
                }
                What::Accepted(_)
                | What::Corrupt(_)
                | What::GroupEnd(..)
                | What::Cut(_)
                | What::Joined
                | What::Over
                | What::Disconnected => None,
            };
            recorder.on_seen(node, at, &seen, published);
        }
        if let Some(line) = line_of(&seen) {
            self.story.tell(at, format!("{}: track {track}: {line}", self.names[node.index()]));
        }
        if let Err(violation) = delivery.on_seen(at, &seen, self.ledger.track(of, track)) {
            self.note(Breach { at, node: self.names[node.index()].clone(), violation });
        }
    }

    /// The process of a node started.
    pub fn on_start(&mut self, at: Duration, node: NodeId) {
        self.story.tell(at, format!("{} starts: {}", self.names[node.index()], self.about[node.index()]));
        if let Some(recorder) = &mut self.recorder {
            if self.viewers.contains_key(&node) {
                recorder.on_viewer_start(at, node);
            } else if self.relays.is_relay(node) {
                recorder.on_relay_start(node);
            }
        }
        if let Some(watched) = self.viewers.get_mut(&node) {
            for delivery in &mut watched.tracks {
                delivery.on_start(at);
            }
        }
    }

    /// The process of a node is gone.
    pub fn on_end(&mut self, at: Duration, node: NodeId) {
        self.tell(at, node, "is gone");
        if let Some(recorder) = &mut self.recorder {
            recorder.on_end(at, node);
        }
        if let Some(watched) = self.viewers.get_mut(&node) {
            for delivery in &mut watched.tracks {
                delivery.on_end(at);
            }
        }
    }

    /// Something is done to the world.
    pub fn on_act(&mut self, at: Duration, act: &Act) {
        let line = match act {
            Act::Down(link) | Act::Up(link) | Act::Set(link) | Act::Rebind(link) => {
                let ends = self.links.get(link.index()).map(|ends| ends.map(|end| self.names[end.index()].as_str()));
                format!("{act:?} between {}", ends.unwrap_or_default().join(" and "))
            }
            Act::Kill(node)
            | Act::Start(node)
            | Act::Quit(node)
            | Act::Stop(node)
            | Act::Cont(node)
            | Act::Clock(node, _) => format!("{act:?} of {}", self.names[node.index()]),
        };
        self.story.tell(at, line);
    }

    /// A relay would have logged something.
    pub fn on_incident(&mut self, at: Duration, node: NodeId, incident: &Incident) {
        self.tell(at, node, &format!("{incident:?}"));
        if let Some(recorder) = &mut self.recorder {
            recorder.on_incident(node, incident);
        }
    }

    /// The running relays, looked at together.
    pub fn on_look(&mut self, at: Duration, audits: &[(NodeId, Audit)]) {
        if let Some(recorder) = &mut self.recorder {
            for (node, audit) in audits {
                recorder.on_look(*node, at, audit);
            }
        }
        if let Some((node, violation)) = self.relays.on_look(at, audits) {
            self.note(Breach { at, node: self.names[node.index()].clone(), violation });
        }
    }
}

/// What is worth a line of what viewers notice: not each object.
fn line_of(seen: &Seen) -> Option<String> {
    match seen.what {
        What::Object(..) | What::Fetched(_) | What::GroupEnd(..) | What::Joined => None,
        What::Accepted(_) | What::Corrupt(_) | What::Cut(_) | What::Over | What::Disconnected => {
            Some(format!("{:?} on {:?}", seen.what, seen.sub))
        }
    }
}
