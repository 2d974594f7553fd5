//! What an examiner needs of a world, whichever engine runs it.

use crate::invariant::Watch;
use crate::plan::{Act, LinkId, NodeId, Plan};
use crate::trace::TraceHash;
use sluice_node::Audit;
use std::time::Duration;

/// A world that carries out a plan.
pub trait Stage {
    /// What it carries out.
    fn plan(&self) -> &Plan;

    /// Time since the start.
    fn now(&self) -> Duration;

    /// Lets time pass until `until`, or until an invariant is broken.
    fn run_until(&mut self, until: Duration);

    /// Does something that the plan did not foresee.
    fn act(&mut self, act: Act);

    /// What was noticed so far.
    fn watch(&self) -> &Watch;

    /// What was noticed so far, for what is noticed from outside.
    fn watch_mut(&mut self) -> &mut Watch;

    /// Whether the process of a node exists and runs.
    fn is_running(&self, node: NodeId) -> bool;

    /// Whether a link passes packets in both ways.
    fn is_up(&self, link: LinkId) -> bool;

    /// The relay of a node, where its process exists.
    fn audit(&self, node: NodeId) -> Option<Audit>;

    /// Everything that crossed, as one number.
    fn trace(&self) -> TraceHash;
}
