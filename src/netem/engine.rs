//! Which engine carries a scenario out.

use super::{fleet, sim};
use sluice_netem::result::Evidence;
use sluice_netem::scenario::{Engine, Scenario};
use sluice_relay::exit::Exit;
use std::path::Path;

/// `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Choice {
    /// One thread, virtual time: the same result on any machine
    Sim,
    /// Processes in network namespaces (Linux)
    Lab,
    /// Processes on loopback, each link through a UDP forwarder
    Proxy,
}

impl Choice {
    pub(super) const fn engine(self) -> Engine {
        match self {
            Self::Sim => Engine::Sim,
            Self::Lab => Engine::Lab,
            Self::Proxy => Engine::Proxy,
        }
    }
}

/// Makes a lab possible for who is not root. To be called before the first thread.
pub(super) fn gain_rights() {
    // Where it is refused the lab says so, with the fix.
    #[cfg(target_os = "linux")]
    let _ = sluice_netem::lab::enter_user_namespace();
}

/// Whether `engine` runs here.
///
/// # Errors
/// What it lacks, with the fix and another engine.
pub(super) fn require(engine: Engine) -> anyhow::Result<()> {
    sluice_netem::doctor::require(engine).map_err(|missing| Exit::MissingCapability.because(missing))
}

/// Whether `engine` can carry `scenario` out.
///
/// # Errors
/// Why not, with the engines that can.
pub(super) fn suits(scenario: &Scenario, engine: Engine) -> anyhow::Result<()> {
    let others: Vec<&str> = scenario.engines.iter().map(|engine| engine.name()).collect();
    if !scenario.engines.contains(&engine) {
        let text =
            format!("`{}` is not meant for the {engine} engine: use --engine {}", scenario.name, others.join(" or "));
        return Err(Exit::MissingCapability.because(anyhow::anyhow!(text)));
    }
    let lacks = match engine {
        Engine::Sim => sim::lacks(scenario),
        Engine::Lab | Engine::Proxy => fleet::lacks(scenario),
    };
    match lacks {
        Some(why) => {
            let text = format!("the {engine} engine cannot carry out `{}`: {why}; use --engine sim", scenario.name);
            Err(Exit::MissingCapability.because(anyhow::anyhow!(text)))
        }
        None => Ok(()),
    }
}

/// Carries a scenario out.
///
/// # Errors
/// The engine failed; a run that merely shows nothing good is no error.
pub(super) fn run(
    scenario: &Scenario,
    (engine, seed): (Engine, u64),
    keep: Option<&Path>,
    watcher: &mut fleet::Watcher<'_>,
) -> anyhow::Result<Evidence> {
    match engine {
        Engine::Sim => sim::run(scenario, seed, watcher),
        Engine::Lab | Engine::Proxy => fleet::run(scenario, (engine, seed), keep, watcher),
    }
}
