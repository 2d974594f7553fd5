//! A node as seen by whoever checks it: what it subscribes to where, and what it holds. Not for the media path.

use crate::metrics::Snapshot;
use crate::node::Node;
use crate::session::Kind;
use crate::tracks::{SourceKind, State, Track};
use sluice_moqt::{Location, TrackName};
use sluice_topology::PopId;

/// Everything that invariants over several nodes are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Counters and gauges.
    pub snapshot: Snapshot,
    /// Tracks known, by name.
    pub tracks: Vec<TrackAudit>,
}

/// One track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackAudit {
    /// Which.
    pub name: TrackName,
    /// Whether a source is established.
    pub is_live: bool,
    /// Where it comes from.
    pub sources: Vec<SourceAudit>,
    /// Subscriptions and fetches served.
    pub readers: usize,
    /// Requests that wait for a source.
    pub waiting: usize,
    /// Largest location known.
    pub largest: Option<Location>,
    /// Bytes held.
    pub log_bytes: usize,
}

/// One source of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceAudit {
    /// Who.
    pub from: Origin,
    /// Whether it answered.
    pub is_established: bool,
}

/// Who a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A publisher attached here.
    Publisher,
    /// A relay.
    Peer(PopId),
    /// This process.
    Local,
}

impl Node {
    /// What the node holds now. Costs a walk over all tracks.
    #[must_use]
    pub fn audit(&self) -> Audit {
        let mut tracks: Vec<TrackAudit> = self.tracks.iter().map(|(_, track)| self.audit_track(track)).collect();
        tracks.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Audit { snapshot: self.snapshot(), tracks }
    }

    fn audit_track(&self, track: &Track) -> TrackAudit {
        let sources = track.sources.iter().map(|source| SourceAudit {
            from: match source.kind {
                SourceKind::Local => Origin::Local,
                SourceKind::Session(id, _) => match self.sessions.get(id) {
                    Some(crate::node::Hosted::Moq(moq)) => match &moq.kind {
                        Kind::Trunk(pop) => Origin::Peer(pop.clone()),
                        Kind::User => Origin::Publisher,
                    },
                    Some(crate::node::Hosted::Control(_)) | None => Origin::Publisher,
                },
            },
            is_established: source.established,
        });
        TrackAudit {
            name: track.name.clone(),
            is_live: track.state == State::Live,
            sources: sources.collect(),
            readers: track.readers.len(),
            waiting: track.waiting.len(),
            largest: track.largest(),
            log_bytes: track.log.bytes_held(),
        }
    }
}
