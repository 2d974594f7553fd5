//! The course of a run: what the plan does, how long its end takes to heal, whether what follows is whole, and whether
//! anything is left when everybody has gone.

use crate::invariant::delivery::Figures;
use crate::invariant::{Breach, Story, Violation};
use crate::plan::{Act, Kind, LinkId, NodeId, Role};
use crate::stage::Stage;
use crate::trace::TraceHash;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Time between two looks at whether everything has healed.
const STEP: Duration = Duration::from_millis(250);
/// How long a healed world is watched.
const QUIET: Duration = Duration::from_secs(6);
/// How old an object may be when it comes by a healed path: what is published later than this before the end is not
/// asked for.
const SLACK: Duration = Duration::from_secs(2);
/// How long it may take until nothing is left: the idle timeout of users, the linger of tracks, and what a lost peer
/// told, one after the other.
const TIDY: Duration = Duration::from_secs(60);

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of the plan.
    pub name: String,
    /// Of the plan.
    pub seed: u64,
    /// Virtual time that passed.
    pub took: Duration,
    /// From the last event until every viewer was at the live edge.
    pub healed_after: Option<Duration>,
    /// Of all viewers together.
    pub figures: Figures,
    /// Most bytes that the logs of one relay held.
    pub log_bytes_max: usize,
    /// Everything that crossed.
    pub trace: TraceHash,
    /// The first broken invariant.
    pub breach: Option<Breach>,
    /// What happened, for people.
    pub story: Story,
}

/// Carries out the plan of `stage` and looks at it as it goes.
pub fn examine(stage: &mut impl Stage) -> Report {
    let healed_after = course(stage);
    let plan = stage.plan();
    Report {
        name: plan.name.clone(),
        seed: plan.seed,
        took: stage.now(),
        healed_after,
        figures: stage.watch().figures(),
        log_bytes_max: stage.watch().relays().log_bytes_max(),
        trace: stage.trace(),
        breach: stage.watch().breach().cloned(),
        story: stage.watch().story().clone(),
    }
}

/// Returns how long it took to heal, unless something broke first.
fn course(stage: &mut impl Stage) -> Option<Duration> {
    let last = stage.plan().last_event();
    stage.run_until(last);
    let healed = heal(stage, last)?;
    let end = stage.plan().duration.max(stage.now() + QUIET);
    stage.run_until(end);
    let after = healed.saturating_sub(last);
    check_whole(stage, healed, last);
    if stage.watch().breach().is_none() {
        tidy(stage);
    }
    Some(after)
}

/// Waits until every viewer that can be served is at the live edge; when that was.
fn heal(stage: &mut impl Stage, last: Duration) -> Option<Duration> {
    let deadline = last + stage.plan().demands.converge;
    loop {
        stage.run_until(stage.now() + STEP);
        if stage.watch().breach().is_some() {
            return None;
        }
        let Some((viewer, track, behind)) = first_behind(stage, last) else { return Some(stage.now()) };
        if stage.now() >= deadline {
            let after = stage.now() - last;
            note(stage, viewer, Violation::Behind { track, after, behind });
            return None;
        }
    }
}

/// The first viewer that is not where it should be: at the live edge, with something that was published after the last
/// event. What came before says nothing: right after an event the newest object is recent even where the path is cut.
fn first_behind(stage: &impl Stage, last: Duration) -> Option<(NodeId, usize, Option<Duration>)> {
    let edge = stage.plan().demands.edge;
    let now = stage.now();
    for viewer in served(stage) {
        for (track, delivery) in stage.watch().deliveries(viewer).iter().enumerate() {
            let newest = delivery.newest();
            let behind = newest.map(|newest| now.saturating_sub(newest));
            if behind.is_none_or(|behind| behind > edge) || newest <= Some(last) {
                return Some((viewer, track, behind));
            }
        }
    }
    None
}

/// Viewers that run, whose publisher runs, and between which there is a way. Those that read slowly by plan are left
/// out: they get what they can.
fn served(stage: &impl Stage) -> Vec<NodeId> {
    let plan = stage.plan();
    let viewers = plan.ids().filter_map(|(id, node)| match &node.kind {
        Kind::Viewer(viewer) if viewer.reads.is_none() => Some((id, viewer)),
        Kind::Viewer(_) | Kind::Relay(_) | Kind::Publisher(_) => None,
    });
    let served = viewers.filter(|(id, viewer)| {
        let Some(publisher) = plan.publisher(viewer.of) else { return false };
        let attached = |client: NodeId, relay: NodeId| {
            let link = plan.link_between(client, relay);
            stage.is_running(client) && stage.is_running(relay) && link.is_some_and(|(link, _)| stage.is_up(link))
        };
        attached(*id, viewer.relay)
            && attached(viewer.of, publisher.relay)
            && reaches(stage, viewer.relay, publisher.relay)
    });
    served.map(|(id, _)| id).collect()
}

/// Whether relays that run, and links between them that are up, lead from one to the other. What lies between is
/// origins: an edge carries nothing from one peer to another.
fn reaches(stage: &impl Stage, from: NodeId, to: NodeId) -> bool {
    let plan = stage.plan();
    let passes = |id: NodeId| match &plan.node(id).kind {
        Kind::Relay(relay) => stage.is_running(id) && (id == to || relay.role == Role::Origin),
        Kind::Publisher(_) | Kind::Viewer(_) => false,
    };
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        for (link, id) in plan.links.iter().zip((0..).map(LinkId)) {
            let [a, b] = link.between;
            let next = if a == at { b } else { a };
            if (a == at || b == at) && stage.is_up(id) && passes(next) && seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

/// Every group that was published in the quiet time has come whole.
fn check_whole(stage: &mut impl Stage, healed: Duration, last: Duration) {
    let now = stage.now();
    let until = now.saturating_sub(SLACK);
    let mut lacking = None;
    for viewer in served(stage) {
        let Kind::Viewer(plan) = &stage.plan().node(viewer).kind else { continue };
        for (track, delivery) in stage.watch().deliveries(viewer).iter().enumerate() {
            let Some(ledger) = stage.watch().ledger().track(plan.of, track) else { continue };
            for (group, of) in ledger.groups_between(healed, until) {
                let had = delivery.had(group);
                if had < of && lacking.is_none() {
                    lacking = Some((viewer, Violation::Incomplete { track, group, after: now - last, had, of }));
                }
            }
        }
    }
    if let Some((viewer, violation)) = lacking {
        note(stage, viewer, violation);
    }
}

/// Everybody leaves; in the end nothing is left of them.
fn tidy(stage: &mut impl Stage) {
    let left_at = stage.now();
    let links: Vec<LinkId> = (0..).map(LinkId).take(stage.plan().links.len()).collect();
    for link in links {
        stage.act(Act::Up(link));
    }
    let nodes: Vec<(NodeId, bool)> =
        stage.plan().ids().map(|(id, node)| (id, matches!(node.kind, Kind::Relay(_)))).collect();
    for (node, is_relay) in nodes {
        stage.act(Act::Cont(node));
        if !is_relay {
            stage.act(Act::Quit(node));
        }
    }
    loop {
        stage.run_until(stage.now() + STEP * 4);
        if stage.watch().breach().is_some() {
            return;
        }
        let Some((node, what)) = first_left(stage) else { return };
        let after = stage.now() - left_at;
        if after >= TIDY {
            return note(stage, node, Violation::Left { after, what });
        }
    }
}

/// The first relay that still holds something.
fn first_left(stage: &impl Stage) -> Option<(NodeId, String)> {
    stage.plan().ids().find_map(|(id, _)| {
        let audit = stage.audit(id)?;
        let held = &audit.snapshot;
        let counts = [
            ("sessions of users", held.sessions),
            ("tracks", held.known_tracks),
            ("namespaces", held.namespaces),
            ("requests waiting for a verdict", held.held_requests),
            ("subscriptions of users", held.viewers),
            ("upstream subscriptions", held.upstreams),
            ("bytes in logs", held.log_bytes),
        ];
        let left: Vec<String> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
        (!left.is_empty()).then(|| (id, left.join(", ")))
    })
}

fn note(stage: &mut impl Stage, node: NodeId, violation: Violation) {
    let at = stage.now();
    let node = stage.plan().node(node).name.clone();
    stage.watch_mut().note(Breach { at, node, violation });
}

impl fmt::Display for Report {
    /// `{:#}` tells the story, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, took, figures, .. } = self;
        write!(f, "{name} seed {seed}: {:.1} s virtual, ", took.as_secs_f64())?;
        write!(f, "{} objects + {} fetched, ", figures.objects, figures.fetched)?;
        write!(f, "mean age {:.1} ms, ", figures.age_mean().as_secs_f64() * 1e3)?;
        if let Some(healed) = self.healed_after {
            write!(f, "healed after {:.2} s, ", healed.as_secs_f64())?;
        }
        write!(f, "{} packets, trace {:016x}", self.trace.packets(), self.trace.value())?;
        if let Some(breach) = &self.breach {
            write!(f, "\n  BROKEN {breach}")?;
        }
        if f.alternate() { write!(f, "\n{}", self.story) } else { Ok(()) }
    }
}
