//! The simulator as an engine of scenarios: real QUIC over virtual sockets, in virtual time.

use super::fleet::Watcher;
use anyhow::Context as _;
use sluice_net::{Clock as _, SystemClock};
use sluice_netem::result::Evidence;
use sluice_netem::scenario::Scenario;
use sluice_sim::Stage as _;
use sluice_sim::plan::LinkId;
use sluice_sim::quic::World;
use sluice_sim::recorder::Course;
use sluice_sim::scenario::Cast;
use std::time::Duration;

/// Virtual time between two looks at whether the user wants an end.
const STEP: Duration = Duration::from_millis(50);

/// Why it cannot carry a scenario out.
pub(super) fn lacks(scenario: &Scenario) -> Option<String> {
    Cast::new(scenario, scenario.seed).err().map(|error| error.to_string())
}

/// Carries a scenario out.
///
/// # Errors
/// The scenario makes no plan, or an invariant was broken: the error says at which time, and a seed replays it.
pub(super) fn run(scenario: &Scenario, seed: u64, watcher: &mut Watcher<'_>) -> anyhow::Result<Evidence> {
    let begun = SystemClock.now();
    let cast = Cast::new(scenario, seed)?;
    let mut world = World::new(cast.plan.clone()).context("making the world")?;
    world.watch_mut().record();
    while world.now() < scenario.duration {
        world.run_until((world.now() + STEP).min(scenario.duration));
        if let Some(breach) = world.watch().breach() {
            anyhow::bail!("an invariant was broken: {breach}");
        }
        let now = world.now();
        watcher(now, scenario.duration)?;
    }
    let course = Course {
        ended: world.now(),
        wall: SystemClock.now().saturating_duration_since(begun),
        trace: world.trace().value(),
    };
    let recorder = world.watch_mut().recorder_mut().map(std::mem::take).context("it was asked to record")?;
    let counters = |link: usize| world.counters(LinkId(u16::try_from(link).unwrap_or(u16::MAX)));
    Ok(recorder.evidence(&cast, course, counters))
}
