//! A scenario as processes of this program: what lab and proxy share.
//!
//! ```text
//! Scenario ──> Place (proxies, lab): where nodes run, what links are
//!          ──> relays, then publishers; once something is on air the clock of the scenario starts
//!          ──> viewers and events by that clock; memory and queues sampled
//!          ──> Evidence: what `client-probe --times`, logs, links and /proc say
//! ```
//!
//! Viewers of one node are one process behind one link. Where the scenario gives each of them a link with a bottleneck
//! of its own, that link is as wide as all of theirs together, and its queue as long.

mod child;
mod clients;
mod folder;
mod footage;
#[cfg(target_os = "linux")]
mod labs;
mod place;
mod proxies;
mod relays;
mod run;
mod times;

use folder::Folder;
use place::Place;
use run::Fleet;
use sluice_netem::model::{Bottleneck, Capacity, Direction, Queue, Rate};
use sluice_netem::result::Evidence;
use sluice_netem::scenario::{Engine, Role, Scenario, Ways};
use std::path::Path;

pub(super) use run::Watcher;

/// Carries a scenario out by processes; `keep` is where its files are to stay.
///
/// # Errors
/// The machine lacks what it takes, or a process failed that should not.
pub(super) fn run(
    scenario: &Scenario,
    (engine, seed): (Engine, u64),
    keep: Option<&Path>,
    watcher: &mut Watcher<'_>,
) -> anyhow::Result<Evidence> {
    let folder = Folder::new(&scenario.name, keep)?;
    let links: Vec<Ways> = scenario.links.iter().map(|link| shared(scenario, link.between, &link.ways)).collect();
    let place: Box<dyn Place> = match engine {
        Engine::Lab => lab(scenario, seed, &links)?,
        Engine::Proxy | Engine::Sim => Box::new(proxies::Proxies::new(scenario, seed, links)),
    };
    Fleet::new(scenario, (engine, seed), place, folder).run(watcher)
}

#[cfg(target_os = "linux")]
fn lab(scenario: &Scenario, seed: u64, links: &[Ways]) -> anyhow::Result<Box<dyn Place>> {
    Ok(Box::new(labs::Labs::new(scenario, seed, links)?))
}

#[cfg(not(target_os = "linux"))]
fn lab(_: &Scenario, _: u64, _: &[Ways]) -> anyhow::Result<Box<dyn Place>> {
    anyhow::bail!("the lab engine needs Linux: use --engine proxy or --engine sim")
}

/// The conditions of the one link that all viewers of a node share.
fn shared(scenario: &Scenario, between: [sluice_netem::scenario::NodeId; 2], ways: &Ways) -> Ways {
    let count = between.iter().filter_map(|id| match &scenario.node(*id).role {
        Role::Viewers(viewers) => Some(viewers.count),
        Role::Origin | Role::Edge | Role::Publisher(_) => None,
    });
    let count = count.max().unwrap_or(1);
    Ways { down: widened(&ways.down, count), up: widened(&ways.up, count) }
}

fn widened(way: &Direction, count: u32) -> Direction {
    let bottleneck = way.bottleneck.as_ref().map(|bottleneck| {
        let capacity = match &bottleneck.capacity {
            Capacity::Rate(rate) => Capacity::Rate(Rate::clamped(rate.bits().saturating_mul(count.into()))),
            Capacity::Trace(trace) => Capacity::Trace(std::sync::Arc::clone(trace)),
        };
        let queue = match bottleneck.queue {
            Queue::Time(span) => Queue::Time(span),
            Queue::Bytes(bytes) => Queue::Bytes(bytes.saturating_mul(count.into())),
        };
        Bottleneck { capacity, queue }
    });
    Direction { bottleneck, ..way.clone() }
}

/// Why an engine of processes cannot carry a scenario out.
pub(super) fn lacks(scenario: &Scenario) -> Option<String> {
    use sluice_netem::scenario::Action;
    let event = scenario.events.iter().find(|event| matches!(event.action, Action::Clock(..) | Action::Rebind(_)));
    if let Some(event) = event {
        return Some(format!("`{}` happens in virtual time only", event.label));
    }
    let traced = |way: &Direction| {
        way.bottleneck.as_ref().is_some_and(|bottleneck| matches!(bottleneck.capacity, Capacity::Trace(_)))
    };
    let crowd = |id| match &scenario.node(id).role {
        Role::Viewers(viewers) => viewers.count > 1,
        Role::Origin | Role::Edge | Role::Publisher(_) => false,
    };
    let link = scenario
        .links
        .iter()
        .find(|link| link.between.into_iter().any(crowd) && (traced(&link.ways.down) || traced(&link.ways.up)));
    link.map(|link| format!("the viewers behind `{}` would share one trace", link.name))
}
