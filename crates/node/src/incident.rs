//! What somebody who runs the node should read in its log.

use crate::memory::MemoryLevel;
use sluice_moqt::TrackName;
use sluice_moqt::transport::CloseReason;
use sluice_topology::PopId;
use std::collections::VecDeque;

/// Incidents kept while nobody takes them; later ones are dropped, the counters still tell.
const MAX_KEPT: usize = 256;

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incident {
    /// A publisher broke the object model; the track was ended.
    MalformedTrack {
        /// Which.
        track: TrackName,
        /// How.
        reason: String,
    },
    /// A trunk stands: the peer accepted us and has greeted.
    TrunkUp(PopId),
    /// A connection of a trunk could not be made or was lost. One per peer and cause in a minute.
    TrunkDown {
        /// The peer.
        pop: PopId,
        /// Why.
        reason: CloseReason,
    },
    /// A trunk peer went silent: no new joins there.
    PeerSuspect(PopId),
    /// It is trusted again.
    PeerTrusted(PopId),
    /// A track lost its last publisher and waits for one to return.
    TrackOrphaned(TrackName),
    /// Memory for media became short, or ample again.
    Memory {
        /// What is done about it.
        level: MemoryLevel,
        /// Bytes in logs and transports.
        used: usize,
        /// Bytes that may be used.
        cap: usize,
    },
}

/// Incidents that wait to be taken.
#[derive(Debug, Default)]
pub(crate) struct Incidents(VecDeque<Incident>);

impl Incidents {
    pub(crate) fn push(&mut self, incident: Incident) {
        if self.0.len() < MAX_KEPT {
            self.0.push_back(incident);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Incident> {
        self.0.pop_front()
    }
}
