//! A scenario as processes of this program: what lab and proxy share.
//!
//! ```text
//! Scenario ──> Place (proxies, lab): where nodes run, what links are
//!          ──> relays, then publishers; once something is on air the clock of the scenario starts
//!          ──> viewers and events by that clock; memory and queues sampled
//!          ──> Evidence: what `client-probe --times`, logs, links and /proc say
//! ```
//!
//! Viewers of one node are one process behind one socket. Their links are told apart by connection: each has its own.

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
use sluice_netem::model::Sharing;
use sluice_netem::result::Evidence;
use sluice_netem::scenario::{Engine, Link, NodeId, Role, Scenario};
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
    let place: Box<dyn Place> = match engine {
        Engine::Lab => lab(scenario, seed)?,
        Engine::Proxy | Engine::Sim => Box::new(proxies::Proxies::new(scenario, seed)),
    };
    Fleet::new(scenario, (engine, seed), place, folder).run(watcher)
}

#[cfg(target_os = "linux")]
fn lab(scenario: &Scenario, seed: u64) -> anyhow::Result<Box<dyn Place>> {
    Ok(Box::new(labs::Labs::new(scenario, seed)?))
}

#[cfg(not(target_os = "linux"))]
fn lab(_: &Scenario, _: u64) -> anyhow::Result<Box<dyn Place>> {
    anyhow::bail!("the lab engine needs Linux: use --engine proxy or --engine sim")
}

/// Viewers of one node are one process with one socket, and have a link each.
fn sharing(scenario: &Scenario, link: &Link) -> Sharing {
    let is_crowd = |id: &NodeId| match &scenario.node(*id).role {
        Role::Viewers(viewers) => viewers.count > 1,
        Role::Origin | Role::Edge | Role::Publisher(_) => false,
    };
    if link.between.iter().any(is_crowd) { Sharing::Connection } else { Sharing::All }
}

/// Why an engine of processes cannot carry a scenario out.
pub(super) fn lacks(scenario: &Scenario) -> Option<String> {
    use sluice_netem::scenario::Action;
    let event = scenario.events.iter().find(|event| matches!(event.action, Action::Clock(..) | Action::Rebind(_)));
    event.map(|event| format!("`{}` happens in virtual time only", event.label))
}
