//! The World: relays, origins, publishers and viewers in one thread and virtual time.
//!
//! ```text
//! seed ─────┐                ┌─> ideal: pure nodes over ideal links ─┐
//!           ├─> plan::Plan ──┤                                       ├─> invariants, trace hash, report
//! scenario ─┘                └─> quic: the shard loop, real QUIC ────┘
//! ```
//!
//! A plan is carried out by a world; an examiner lets it run, waits until it has healed from its last fault, demands
//! that everything then comes whole, lets everybody leave, and demands that nothing is left. The same seed gives the
//! same trace, to the packet.
//!
//! ```
//! let report = sluice_sim::run_seed(1);
//! assert_eq!(report.breach, None, "{report}");
//! ```

pub mod actor;
pub mod examine;
pub mod ideal;
pub mod invariant;
pub mod media;
pub mod plan;
pub mod quic;
pub mod recorder;
pub mod scenario;
pub mod seed;
pub mod stage;
pub mod trace;

pub use examine::{Report, examine};
pub use plan::Plan;
pub use stage::Stage;

/// Runs the ideal world of a seed.
///
/// # Panics
/// The plan of a seed is legal; it is a fault of this crate where it is not.
#[must_use]
pub fn run_seed(seed: u64) -> Report {
    let plan = seed::plan(seed);
    let options = seed::options(&plan);
    let mut world = ideal::World::new(plan, options).expect("the plan of a seed is legal");
    examine(&mut world)
}
