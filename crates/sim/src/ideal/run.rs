//! A scenario over ideal links, from file to evidence.

use super::{Options, World};
use crate::actor::PlanError;
use crate::invariant::Breach;
use crate::recorder::Course;
use crate::scenario::{Cast, CastError};
use crate::stage::Stage as _;
use sluice_net::{Clock as _, SystemClock};
use sluice_netem::result::Evidence;
use sluice_netem::scenario::Scenario;

/// Runs a scenario over ideal links, to its end whatever is broken.
///
/// # Errors
/// No plan can be made of it, or no world of the plan.
pub fn run(scenario: &Scenario, seed: u64) -> Result<(Evidence, Option<Breach>), RunError> {
    let cast = Cast::new(scenario, seed)?;
    let mut world = World::new(cast.plan.clone(), Options::default())?;
    world.watch.record();
    let clock = SystemClock;
    let start = clock.now();
    world.run_until(scenario.duration);
    let wall = clock.now().saturating_duration_since(start);
    let course = Course { ended: world.now, wall, trace: world.trace.value() };
    let breach = world.watch.breach().cloned();
    let recorder = world.watch.recorder_mut().map(std::mem::take).unwrap_or_default();
    Ok((recorder.evidence(&cast, course, |link| world.counters(link)), breach))
}

/// Why a scenario cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It makes no plan.
    #[error(transparent)]
    Cast(#[from] CastError),
    /// The plan makes no world.
    #[error(transparent)]
    Plan(#[from] PlanError),
}
