//! What holds over the relays together.

use super::Violation;
use crate::plan::{Kind, NodeId, Plan};
use sluice_moqt::TrackName;
use sluice_node::{Audit, Origin, TrackAudit};
use sluice_topology::PopId;
use std::collections::BTreeMap;
use std::time::Duration;

/// A loop may exist for less: relays drop a parent that is fed by them once they hear of it.
const LOOP_TIME: Duration = Duration::from_secs(1);
/// Two upstream subscriptions may exist for less, while one replaces the other. An upstream that never answers is given
/// up after the upstream timeout of 10 s.
const REDUNDANT_TIME: Duration = Duration::from_secs(12);

/// The relays of a run, looked at together now and then.
#[derive(Debug)]
pub struct Relays {
    pops: BTreeMap<PopId, NodeId>,
    log_limit: usize,
    /// How many publishers a namespace has: each may have its subscription.
    publishers: BTreeMap<Vec<u8>, usize>,
    /// Tracks with too many sources, since when.
    redundant: BTreeMap<(NodeId, TrackName), Duration>,
    /// Tracks that go round, since when.
    looping: BTreeMap<(NodeId, TrackName), Duration>,
    log_bytes_max: usize,
}

impl Relays {
    pub(super) fn new(plan: &Plan) -> Self {
        let relays = plan.ids().filter(|(_, node)| matches!(node.kind, Kind::Relay(_)));
        let mut publishers = BTreeMap::new();
        for (_, node) in plan.ids() {
            if let Kind::Publisher(publisher) = &node.kind {
                *publishers.entry(key_of(&publisher.namespace)).or_default() += 1;
            }
        }
        Self {
            pops: relays.filter_map(|(id, node)| Some((node.pop()?, id))).collect(),
            log_limit: plan.demands.log_bytes,
            publishers,
            redundant: BTreeMap::new(),
            looping: BTreeMap::new(),
            log_bytes_max: 0,
        }
    }

    /// Whether a node is one.
    #[must_use]
    pub fn is_relay(&self, node: NodeId) -> bool {
        self.pops.values().any(|relay| *relay == node)
    }

    /// Most bytes that the logs of one relay held at a look.
    #[must_use]
    pub const fn log_bytes_max(&self) -> usize {
        self.log_bytes_max
    }

    /// Looks at the running relays; the first thing that is wrong.
    pub fn on_look(&mut self, at: Duration, audits: &[(NodeId, Audit)]) -> Option<(NodeId, Violation)> {
        for (node, audit) in audits {
            let bytes = audit.snapshot.log_bytes;
            self.log_bytes_max = self.log_bytes_max.max(bytes);
            if bytes > self.log_limit {
                return Some((*node, Violation::LogBytes { bytes, limit: self.log_limit }));
            }
        }
        self.redundancy(at, audits).or_else(|| self.loops(at, audits))
    }

    /// One upstream subscription per track and PoP, or one per publisher.
    fn redundancy(&mut self, at: Duration, audits: &[(NodeId, Audit)]) -> Option<(NodeId, Violation)> {
        let mut present = BTreeMap::new();
        for (node, audit) in audits {
            for track in &audit.tracks {
                let count = track.sources.iter().filter(|source| matches!(source.from, Origin::Peer(_))).count();
                let allowed = self.publishers.get(&key_of(track.name.namespace())).copied().unwrap_or(1).max(1);
                if count <= allowed {
                    continue;
                }
                let key = (*node, track.name.clone());
                let since = self.redundant.get(&key).copied().unwrap_or(at);
                let for_long = at.saturating_sub(since);
                if for_long > REDUNDANT_TIME {
                    let name = track.name.clone();
                    return Some((*node, Violation::Redundant { name, count, for_long, sources: sources(track) }));
                }
                present.insert(key, since);
            }
        }
        self.redundant = present;
        None
    }

    /// No track goes round in a circle of relays that all call themselves served.
    fn loops(&mut self, at: Duration, audits: &[(NodeId, Audit)]) -> Option<(NodeId, Violation)> {
        let mut parents: BTreeMap<&TrackName, BTreeMap<NodeId, Vec<NodeId>>> = BTreeMap::new();
        for (node, audit) in audits {
            for track in &audit.tracks {
                let of = track.sources.iter().filter(|source| source.is_established);
                let of = of.filter_map(|source| match &source.from {
                    Origin::Peer(pop) => self.pops.get(pop).copied(),
                    Origin::Publisher | Origin::Local => None,
                });
                parents.entry(&track.name).or_default().insert(*node, of.collect());
            }
        }
        let mut present = BTreeMap::new();
        for (name, parents) in parents {
            let Some(path) = circle(&parents) else { continue };
            let key = (path[0], name.clone());
            let since = self.looping.get(&key).copied().unwrap_or(at);
            let for_long = at.saturating_sub(since);
            if for_long >= LOOP_TIME {
                let pop = |id: &NodeId| self.pops.iter().find(|(_, node)| *node == id).map(|(pop, _)| pop.to_string());
                let path: Vec<String> = path.iter().filter_map(pop).collect();
                let path = path.join(" <- ");
                return Some((key.0, Violation::Loop { name: key.1, for_long, path }));
            }
            present.insert(key, since);
        }
        self.looping = present;
        None
    }
}

/// A circle of relays each of which has the next one as a source, the smallest first.
fn circle(parents: &BTreeMap<NodeId, Vec<NodeId>>) -> Option<Vec<NodeId>> {
    for start in parents.keys() {
        let mut path = vec![*start];
        if search(parents, *start, &mut path) {
            return Some(path);
        }
    }
    None
}

fn search(parents: &BTreeMap<NodeId, Vec<NodeId>>, start: NodeId, path: &mut Vec<NodeId>) -> bool {
    let Some(next) = path.last().and_then(|last| parents.get(last)) else { return false };
    for parent in next {
        if *parent == start {
            return true;
        }
        if path.contains(parent) {
            continue;
        }
        path.push(*parent);
        if search(parents, start, path) {
            return true;
        }
        path.pop();
    }
    false
}

fn sources(track: &TrackAudit) -> String {
    let one = |source: &sluice_node::SourceAudit| {
        let from = match &source.from {
            Origin::Publisher => "a publisher".to_owned(),
            Origin::Peer(pop) => pop.to_string(),
            Origin::Local => "this process".to_owned(),
        };
        let waits = if source.is_established { "" } else { " (no answer yet)" };
        format!("{from}{waits}")
    };
    track.sources.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn key_of(namespace: &sluice_moqt::Namespace) -> Vec<u8> {
    namespace.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_wherever_they_start() {
        let of = |pairs: &[(u16, u16)]| {
            let mut parents: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
            for (child, parent) in pairs {
                parents.entry(NodeId(*child)).or_default().push(NodeId(*parent));
            }
            circle(&parents).map(|path| path.into_iter().map(|id| id.0).collect::<Vec<_>>())
        };
        assert_eq!(of(&[(1, 2), (2, 3)]), None);
        assert_eq!(of(&[(1, 2), (1, 3), (2, 4), (3, 4)]), None, "two ways to one parent");
        assert_eq!(of(&[(0, 1), (1, 2), (2, 1)]), Some(vec![1, 2]));
        assert_eq!(of(&[(1, 1)]), Some(vec![1]));
    }
}
