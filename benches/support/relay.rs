//! The real relay: the node of an edge without trunks, in the shard loop that the daemon runs it in.

use crate::support::protocol::Coalesce;
use crate::support::sender::Stage;
use crate::support::{clock, edge, host};
use sluice_node::Node;
use sluice_track::Forwarding;

/// Hosts a node for ever.
pub(crate) fn serve(stage: &Stage) -> anyhow::Result<()> {
    let forwarding = match stage.run.shape.coalesce {
        Coalesce::On => Forwarding::Whole,
        Coalesce::Off => Forwarding::CutThrough,
    };
    host::serve(stage, Node::new(clock::now(), edge::config(forwarding)?))
}
