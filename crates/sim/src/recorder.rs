//! What a scenario's result is computed from: every object with its times, and the relays regularly sampled.

use crate::actor::{Published, Seen, What};
use crate::plan::NodeId;
use crate::scenario::Cast;
use sluice_moqt::Location;
use sluice_netem::model::Counters;
use sluice_netem::result::{
    Arrival, Evidence, Happened, LinkEvidence, Media, NodeEvidence, NodeSample, QueueSample, Viewing,
};
use sluice_netem::scenario::{self, Engine};
use sluice_node::{Audit, Incident};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that is told of a run, by node of the plan.
#[derive(Debug, Default)]
pub struct Recorder {
    published: BTreeMap<NodeId, Vec<(Duration, usize, Location)>>,
    lives: BTreeMap<NodeId, Vec<Life>>,
    relays: BTreeMap<NodeId, RelayRecord>,
    queues: BTreeMap<usize, Vec<QueueSample>>,
}

/// One life of a viewer.
#[derive(Debug, Default)]
struct Life {
    dialled: Duration,
    left: Option<Duration>,
    reconnects: u32,
    arrivals: Vec<Arrival>,
}

#[derive(Debug, Default)]
struct RelayRecord {
    samples: Vec<NodeSample>,
    starts: u32,
    trunks_lost: u32,
    route_changes: u32,
}

/// How a run went, beside what was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// When it ended.
    pub ended: Duration,
    /// How long that took on the clock of the wall.
    pub wall: Duration,
    /// Everything that crossed, as one number.
    pub trace: u64,
}

impl Recorder {
    /// The process of a viewer starts.
    pub fn on_viewer_start(&mut self, at: Duration, node: NodeId) {
        self.lives.entry(node).or_default().push(Life { dialled: at, ..Life::default() });
    }

    /// The process of a relay starts.
    pub fn on_relay_start(&mut self, node: NodeId) {
        self.relays.entry(node).or_default().starts += 1;
    }

    /// A process is gone.
    pub fn on_end(&mut self, at: Duration, node: NodeId) {
        if let Some(life) = self.lives.get_mut(&node).and_then(|lives| lives.last_mut()) {
            life.left.get_or_insert(at);
        }
    }

    /// An object was published.
    pub fn on_published(&mut self, node: NodeId, at: Duration, published: &Published) {
        self.published.entry(node).or_default().push((at, published.track, published.at));
    }

    /// A viewer noticed something; `sent` is when its object was published.
    pub fn on_seen(&mut self, node: NodeId, at: Duration, seen: &Seen, sent: Option<Duration>) {
        let Some(life) = self.lives.get_mut(&node).and_then(|lives| lives.last_mut()) else { return };
        match seen.what {
            What::Object(location, _) | What::Fetched(location) => {
                let Some(sent) = sent else { return };
                let (group, object) = (location.group, small(location.object));
                life.arrivals.push(Arrival { at, sent, media: media(seen.track), group, object, bytes: seen.bytes });
            }
            What::Disconnected => life.reconnects += 1,
            What::Accepted(_) | What::Corrupt(_) | What::GroupEnd(..) | What::Cut(_) | What::Joined | What::Over => {}
        }
    }

    /// A relay would have logged something.
    pub fn on_incident(&mut self, node: NodeId, incident: &Incident) {
        let relay = self.relays.entry(node).or_default();
        relay.trunks_lost += u32::from(matches!(incident, Incident::TrunkDown { .. }));
        relay.route_changes += u32::from(matches!(incident, Incident::PeerSuspect(_)));
    }

    /// A relay was looked at.
    pub fn on_look(&mut self, node: NodeId, at: Duration, audit: &Audit) {
        let snapshot = &audit.snapshot;
        let sample = NodeSample {
            at,
            memory: (snapshot.log_bytes + snapshot.retained_bytes) as u64,
            held: (snapshot.sessions + snapshot.known_tracks) as u64,
        };
        self.relays.entry(node).or_default().samples.push(sample);
    }

    /// A link was looked at: how long a packet would wait before its bottleneck.
    pub fn on_queue(&mut self, link: usize, at: Duration, waits: Duration) {
        self.queues.entry(link).or_default().push(QueueSample { at, waits });
    }

    /// What a result is made of.
    #[must_use]
    pub fn evidence(mut self, cast: &Cast, course: Course, counters: impl Fn(usize) -> [Counters; 2]) -> Evidence {
        let published = std::mem::take(&mut self.published).into_iter().map(|(node, all)| {
            let all = all.into_iter().map(|(at, track, location)| sluice_netem::result::Published {
                at,
                media: media(track),
                group: location.group,
                object: small(location.object),
            });
            (cast.nodes[node.index()].0, all.collect())
        });
        Evidence {
            engine: Engine::Sim,
            seed: cast.plan.seed,
            ended: course.ended,
            wall: course.wall,
            published: published.collect(),
            viewers: std::mem::take(&mut self.lives)
                .into_iter()
                .flat_map(|life| viewings(cast, course, life))
                .collect(),
            links: self.links(cast, counters),
            nodes: self.relays.into_iter().map(|(node, record)| relay(cast, node, record)).collect(),
            happened: happened(cast, course),
            lateness: None,
            trace_hash: Some(course.trace),
        }
    }

    fn links(&mut self, cast: &Cast, counters: impl Fn(usize) -> [Counters; 2]) -> Vec<LinkEvidence> {
        let mut links: BTreeMap<scenario::LinkId, LinkEvidence> = BTreeMap::new();
        for (number, link) in cast.links.iter().copied().enumerate() {
            let [down, up] = counters(number);
            let evidence = links.entry(link).or_insert_with(|| LinkEvidence {
                link,
                down: Counters::default(),
                up: Counters::default(),
                queue: Vec::new(),
            });
            evidence.down.absorb(&down);
            evidence.up.absorb(&up);
            evidence.queue.extend(self.queues.remove(&number).unwrap_or_default());
        }
        for link in links.values_mut() {
            link.queue.sort_by_key(|sample| sample.at);
        }
        links.into_values().collect()
    }
}

fn viewings(cast: &Cast, course: Course, (node, lives): (NodeId, Vec<Life>)) -> Vec<Viewing> {
    let (node, index) = cast.nodes[node.index()];
    let viewing = |life: Life| Viewing {
        node,
        index,
        dialled: life.dialled,
        left: life.left.unwrap_or(course.ended),
        reconnects: life.reconnects,
        arrivals: life.arrivals,
    };
    lives.into_iter().map(viewing).collect()
}

fn relay(cast: &Cast, node: NodeId, record: RelayRecord) -> NodeEvidence {
    NodeEvidence {
        node: cast.nodes[node.index()].0,
        samples: record.samples,
        restarts: record.starts.saturating_sub(1),
        trunks_lost: record.trunks_lost,
        route_changes: record.route_changes,
    }
}

/// Events happen when they are due: time is virtual.
fn happened(cast: &Cast, course: Course) -> Vec<Happened> {
    let mut happened: BTreeMap<usize, Duration> = BTreeMap::new();
    for (event, number) in cast.plan.events.iter().zip(&cast.events) {
        if let Some(number) = number.filter(|_| event.at <= course.ended) {
            happened.entry(number).or_insert(event.at);
        }
    }
    happened.into_iter().map(|(event, at)| Happened { event, at, failed: None }).collect()
}

/// The first track of a scenario's publisher is its video.
const fn media(track: usize) -> Media {
    if track == 0 { Media::Video } else { Media::Audio }
}

fn small(object: u64) -> u32 {
    u32::try_from(object).unwrap_or(u32::MAX)
}
