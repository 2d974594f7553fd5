//! From evidence to a report.

use super::LOST_AFTER;
use super::evidence::{Evidence, LinkEvidence, Media, NodeEvidence, Published, Viewing};
use super::pauses::{Pauses, video};
use super::report::{
    About, EventLine, LinkReport, NodeReport, Outcome, Report, Validity, ViewerReport, ViewersReport, WayReport,
};
use super::stats::{Quantiles, quantile};
use super::verdict::Judge;
use crate::model::Counters;
use crate::scenario::{Figure, NodeId, Quantity, Role, Route, Scenario};
use std::collections::BTreeMap;
use std::time::Duration;

/// Viewers of one node that are told one by one; all of them count.
const EACH_MAX: usize = 1000;
/// Lateness of the engine, where the scenario says nothing.
const LATENESS_MAX: Duration = Duration::from_millis(1);

/// What one viewer got, as figures.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Groups expected and lost, of video.
    pub(super) video: (u64, u64),
    /// The same of audio.
    pub(super) audio: (u64, u64),
    pub(super) join: Option<Duration>,
    /// Arrival and latency of each frame that was published after the join.
    pub(super) latencies: Vec<(Duration, Duration)>,
    pub(super) gaps: Vec<super::report::Gap>,
    pub(super) resumes: Vec<Duration>,
    pub(super) heals: Vec<Duration>,
    pub(super) recovery: Option<Duration>,
    pub(super) reconnects: u32,
}

/// All viewers of one node.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) node: NodeId,
    pub(super) path: Duration,
    pub(super) round_trip: Duration,
    pub(super) seen: Vec<Seen>,
}

/// A group as it was published.
#[derive(Debug, Clone, Copy)]
struct Group {
    first: Duration,
    last: Duration,
    objects: u32,
}

type Groups = BTreeMap<(Media, u64), Group>;

impl Report {
    /// What `evidence` shows of `scenario`.
    #[must_use]
    pub fn new(scenario: &Scenario, evidence: &Evidence) -> Self {
        let crowds: Vec<Crowd> = scenario
            .node_ids()
            .filter(|(_, node)| matches!(node.role, Role::Viewers(_)))
            .map(|(id, _)| crowd(scenario, evidence, id))
            .collect();
        let validity = validity(scenario, evidence);
        let verdicts = Judge { scenario, evidence, crowds: &crowds }.verdicts();
        let passed = verdicts.iter().all(|verdict| verdict.passed);
        let outcome = match (validity.valid, passed) {
            (false, _) => Outcome::Invalid,
            (true, true) => Outcome::Passed,
            (true, false) => Outcome::Failed,
        };
        let viewers = crowds.iter().map(|crowd| viewers(scenario, evidence, crowd)).collect();
        Self {
            about: about(scenario, evidence),
            outcome,
            validity,
            verdicts,
            events: events(scenario, evidence),
            links: evidence.links.iter().map(|link| link_report(scenario, link, evidence.ended)).collect(),
            nodes: evidence.nodes.iter().map(|node| node_report(scenario, node)).collect(),
            viewers,
        }
    }
}

fn about(scenario: &Scenario, evidence: &Evidence) -> About {
    About {
        scenario: scenario.name.clone(),
        description: scenario.description.clone(),
        engine: evidence.engine,
        seed: evidence.seed,
        seconds: evidence.ended.as_secs_f64(),
        wall_seconds: evidence.wall.as_secs_f64(),
        trace_hash: evidence.trace_hash.map(|hash| format!("{hash:016x}")),
    }
}

fn validity(scenario: &Scenario, evidence: &Evidence) -> Validity {
    let told = scenario.expectations.iter().find(|e| e.figure == Figure::LatenessP99).map(|e| e.quantity);
    let limit = if let Some(Quantity::Time { plus, .. }) = told { plus } else { LATENESS_MAX }.as_secs_f64();
    let mut reasons = Vec::new();
    if let Some(engine) = evidence.lateness.filter(|engine| engine.late.p99 > limit) {
        let fix = match engine.is_real_time {
            true => "leave the machine idle",
            false => {
                "it was not permitted real-time priority: permit it (`sluice netem doctor`), or leave the machine idle"
            }
        };
        reasons.push(format!(
            "the engine moved 1 % of the packets more than {:.2} ms late (limit {:.2} ms): {fix}",
            engine.late.p99 * 1e3,
            limit * 1e3
        ));
    }
    for happened in &evidence.happened {
        let Some(event) = scenario.events.get(happened.event) else { continue };
        reasons.extend(happened.failed.iter().map(|why| format!("`{}` could not be done: {why}", event.label)));
    }
    if evidence.happened.len() < scenario.events.len() {
        let missing = scenario.events.len() - evidence.happened.len();
        reasons.push(format!("{missing} events did not happen"));
    }
    Validity {
        valid: reasons.is_empty(),
        reasons,
        lateness_seconds: evidence.lateness.map(|engine| engine.late),
        limit_seconds: limit,
        real_time: evidence.lateness.map(|engine| engine.is_real_time),
    }
}

fn crowd(scenario: &Scenario, evidence: &Evidence, node: NodeId) -> Crowd {
    let path = scenario.path(node);
    let (route, round_trip) = path.map_or((None, Duration::ZERO), |(route, round_trip)| (Some(route), round_trip));
    let groups = match &scenario.node(node).role {
        Role::Viewers(viewers) => groups(evidence.published.get(&viewers.watch).map_or(&[], Vec::as_slice)),
        Role::Origin | Role::Edge | Role::Publisher(_) => Groups::new(),
    };
    let pauses = Pauses::new(scenario, &evidence.happened, (node, route.as_ref()), evidence.ended);
    let viewings = evidence.viewers.iter().filter(|viewing| viewing.node == node);
    let seen = viewings.map(|viewing| see(viewing, &groups, &pauses)).collect();
    Crowd { node, path: route.map_or(Duration::ZERO, |route: Route| route.delay), round_trip, seen }
}

fn groups(published: &[Published]) -> Groups {
    let mut groups = Groups::new();
    for object in published {
        let new = Group { first: object.at, last: object.at, objects: 0 };
        let group = groups.entry((object.media, object.group)).or_insert(new);
        group.first = group.first.min(object.at);
        group.last = group.last.max(object.at);
        group.objects += 1;
    }
    groups
}

fn see(viewing: &Viewing, groups: &Groups, pauses: &Pauses<'_>) -> Seen {
    let mut seen = Seen { reconnects: viewing.reconnects, ..Seen::default() };
    let joined = viewing.arrivals.first().map(|arrival| arrival.at);
    seen.join = joined.map(|at| at.saturating_sub(viewing.dialled));
    let since = joined.unwrap_or(viewing.dialled);
    let got = got(viewing, groups);
    for ((media, group), published) in groups {
        if published.first < since || published.last + LOST_AFTER > viewing.left {
            continue;
        }
        let (expected, lost) = match media {
            Media::Video => (&mut seen.video.0, &mut seen.video.1),
            Media::Audio => (&mut seen.audio.0, &mut seen.audio.1),
        };
        *expected += 1;
        let whole = got.get(&(*media, *group)).is_some_and(|ids| ids.count() >= published.objects);
        *lost += u64::from(!whole);
    }
    let live = video(viewing).filter(|arrival| arrival.sent >= since);
    seen.latencies = live.map(|arrival| (arrival.at, arrival.at.saturating_sub(arrival.sent))).collect();
    seen.gaps = pauses.gaps(viewing);
    seen.resumes = pauses.resumes(viewing);
    seen.heals = pauses.heals(viewing);
    seen.recovery = usual(&seen.latencies, pauses).and_then(|usual| pauses.recovery(viewing, usual));
    seen
}

/// The 99th percentile of the latency before the first event.
fn usual(latencies: &[(Duration, Duration)], pauses: &Pauses<'_>) -> Option<Duration> {
    let first = pauses.first_event()?;
    let mut before: Vec<Duration> = latencies.iter().filter(|(at, _)| *at < first).map(|(_, late)| *late).collect();
    before.sort_unstable();
    quantile(&before, 0.99).map(|late| late.max(pauses.frame()))
}

/// Ids of a group that have arrived in time.
#[derive(Debug, Default)]
struct Ids(Vec<u64>);

impl Ids {
    fn add(&mut self, id: u32) {
        let (word, bit) = ((id / 64) as usize, id % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

fn got(viewing: &Viewing, groups: &Groups) -> BTreeMap<(Media, u64), Ids> {
    let mut got: BTreeMap<(Media, u64), Ids> = BTreeMap::new();
    for arrival in &viewing.arrivals {
        let key = (arrival.media, arrival.group);
        let in_time = groups.get(&key).is_some_and(|group| arrival.at <= group.last + LOST_AFTER);
        // No group of ours has more; a wild id must not cost memory.
        if in_time && arrival.object < 1 << 16 {
            got.entry(key).or_default().add(arrival.object);
        }
    }
    got
}

fn events(scenario: &Scenario, evidence: &Evidence) -> Vec<EventLine> {
    let line = |happened: &super::evidence::Happened| {
        let event = scenario.events.get(happened.event)?;
        Some(EventLine {
            at_seconds: happened.at.as_secs_f64(),
            due_seconds: event.at.as_secs_f64(),
            what: event.label.clone(),
            failed: happened.failed.clone(),
        })
    };
    evidence.happened.iter().filter_map(line).collect()
}

fn link_report(scenario: &Scenario, link: &LinkEvidence, ended: Duration) -> LinkReport {
    let mut waits: Vec<Duration> = link.queue.iter().map(|sample| sample.waits).collect();
    LinkReport {
        link: scenario.link(link.link).name.clone(),
        down: way_report(link.down, ended),
        up: way_report(link.up, ended),
        queue_seconds: Quantiles::of(&mut waits),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share and a rate, read to a few digits")]
fn way_report(counters: Counters, ended: Duration) -> WayReport {
    let loss = counters.dropped.total() as f64 / (counters.offered.packets as f64).max(1.0);
    let bits_per_second = counters.delivered.bytes as f64 * 8.0 / ended.as_secs_f64().max(1e-9);
    WayReport { counters, loss, bits_per_second }
}

fn node_report(scenario: &Scenario, node: &NodeEvidence) -> NodeReport {
    NodeReport {
        node: scenario.node(node.node).name.clone(),
        memory_max_bytes: node.samples.iter().map(|sample| sample.memory).max(),
        memory_end_bytes: node.samples.last().map(|sample| sample.memory),
        restarts: node.restarts,
        trunks_lost: node.trunks_lost,
        route_changes: node.route_changes,
    }
}

fn viewers(scenario: &Scenario, evidence: &Evidence, crowd: &Crowd) -> ViewersReport {
    let viewings: Vec<&Viewing> = evidence.viewers.iter().filter(|viewing| viewing.node == crowd.node).collect();
    let all = |of: fn(&Seen) -> Vec<Duration>| -> Vec<Duration> { crowd.seen.iter().flat_map(of).collect() };
    let each = viewings.iter().zip(&crowd.seen).take(EACH_MAX).map(|(viewing, seen)| viewer(viewing, seen));
    let count = |of: fn(&Seen) -> u64| crowd.seen.iter().map(of).sum();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ViewersReport {
        node: scenario.node(crowd.node).name.clone(),
        joined: number(crowd.seen.iter().filter(|seen| seen.join.is_some()).count()),
        viewers: number(crowd.seen.len()),
        join_seconds: Quantiles::of(&mut all(|seen| seen.join.into_iter().collect())),
        latency_seconds: Quantiles::of(&mut all(|seen| seen.latencies.iter().map(|(_, late)| *late).collect())),
        path_seconds: crowd.path.as_secs_f64(),
        resume_seconds: Quantiles::of(&mut all(|seen| seen.resumes.clone())),
        groups_expected: count(|seen| seen.video.0 + seen.audio.0),
        groups_lost: count(|seen| seen.video.1 + seen.audio.1),
        objects: viewings.iter().map(|viewing| viewing.arrivals.len() as u64).sum(),
        each: each.collect(),
    }
}

fn viewer(viewing: &Viewing, seen: &Seen) -> ViewerReport {
    let mut latencies: Vec<Duration> = seen.latencies.iter().map(|(_, late)| *late).collect();
    ViewerReport {
        viewer: viewing.index,
        join_seconds: seen.join.map(|join| join.as_secs_f64()),
        objects: viewing.arrivals.len() as u64,
        video_expected: seen.video.0,
        video_lost: seen.video.1,
        audio_expected: seen.audio.0,
        audio_lost: seen.audio.1,
        latency_seconds: Quantiles::of(&mut latencies),
        gaps: seen.gaps.clone(),
        reconnects: seen.reconnects,
    }
}
