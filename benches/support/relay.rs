//! The real relay: the node of an edge without trunks, in the shard loop that the daemon runs it in.

use crate::support::clock;
use crate::support::host;
use crate::support::sender::Stage;
use sluice_moqt::Namespace;
use sluice_moqt::name::{NameError, TrackName};
use sluice_node::{Config, Homing, Ingest, Limits, Node, PublisherPolicy, Role};

/// Hosts a node for ever.
pub(crate) fn serve(stage: &Stage) -> anyhow::Result<()> {
    let config = Config {
        pop: "bench".parse()?,
        role: Role::Edge,
        peers: Vec::new(),
        shard: sluice_node::Shard::ONLY,
        homing: Homing {
            origins: Vec::new(),
            homes: Vec::new(),
            ingest: Ingest::OnDemand,
            publishers: PublisherPolicy::Merge,
        },
        limits: Limits::default(),
        track: sluice_track::Limits::default(),
        epoch: 1,
        implementation: "sluice-bench".to_owned(),
        scope: None,
        authorize: false,
        seed: 1,
    };
    host::serve(stage, Node::new(clock::now(), config))
}

/// The namespace that the publisher announces.
pub(crate) fn namespace() -> Result<Namespace, NameError> {
    Namespace::from_path("bench")
}

/// The one track in it.
pub(crate) fn track() -> Result<TrackName, NameError> {
    TrackName::new(namespace()?, "video".into())
}
