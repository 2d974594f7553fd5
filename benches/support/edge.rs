//! The node of an edge without trunks, and the one track that goes through it.

use sluice_moqt::Namespace;
use sluice_moqt::name::{NameError, TrackName};
use sluice_node::{Config, Homing, Ingest, Limits, PublisherPolicy, Role, Shard};
use sluice_track::Forwarding;

/// An edge whose viewers are served so.
pub(crate) fn config(viewer_forwarding: Forwarding) -> anyhow::Result<Config> {
    Ok(Config {
        pop: "bench".parse()?,
        role: Role::Edge,
        peers: Vec::new(),
        shard: Shard::ONLY,
        homing: Homing {
            origins: Vec::new(),
            homes: Vec::new(),
            ingest: Ingest::OnDemand,
            publishers: PublisherPolicy::Merge,
        },
        limits: Limits { viewer_forwarding, ..Limits::default() },
        track: sluice_track::Limits::default(),
        epoch: 1,
        implementation: "sluice-bench".to_owned(),
        scope: None,
        authorize: false,
        seed: 1,
    })
}

/// The namespace that the publisher announces.
pub(crate) fn namespace() -> Result<Namespace, NameError> {
    Namespace::from_path("bench")
}

/// The one track in it.
pub(crate) fn track() -> Result<TrackName, NameError> {
    TrackName::new(namespace()?, "video".into())
}
