//! One parent per track: a PoP takes a track over one trunk, whoever else could give it.

use crate::config::Role;
use crate::namespaces::Offer;
use crate::node::{Hosted, Node};
use crate::route::Candidate;
use crate::tracks::{Source, SourceKind, Track, TrackKey};
use crate::trunk::link::Link;
use sluice_moqt::RequestId;
use sluice_moqt::transport::SessionId;
use sluice_topology::PopId;
use sluice_track::SourceId;

impl Node {
    /// Whom to ask for the track now. While an edge has a parent that takes joins, or waits for its answer, it asks no
    /// other: one that comes back finds another in its place.
    pub(crate) fn to_ask(&self, track: &Track) -> Vec<Candidate> {
        let mut candidates = self.candidates(track);
        if self.config.role != Role::Origin && track.sources.iter().any(|source| self.is_healthy_parent(source)) {
            candidates.retain(|candidate| self.parent_link(candidate.session).is_none());
        }
        candidates
    }

    /// An origin was told of a better way, such as by the home: what came another way ends once the new one delivers.
    /// `known` sources were there before; `asked` are all that the track is to be had from now.
    pub(crate) fn supersede(&mut self, key: TrackKey, known: usize, asked: &[SessionId]) {
        let Some(track) = self.tracks.get(key) else { return };
        let is_old = |source: &&Source| self.parent_of(source).is_some_and(|id| !asked.contains(&id));
        let old = track.sources.iter().take(known).find(is_old).and_then(|source| self.parent_of(source));
        let fresh: Vec<_> =
            track.sources.iter().skip(known).filter(|s| self.parent_of(s).is_some()).map(|s| s.id).collect();
        let Some(track) = self.tracks.get_mut(key) else { return };
        for source in track.sources.iter_mut().filter(|source| fresh.contains(&source.id)) {
            source.relieves = source.relieves.or(old);
        }
    }

    /// Parents that the track can do without, now that `ours` delivers, which was to take over from `old`: several may
    /// have been asked while links came and went.
    pub(crate) fn surplus(
        &self,
        key: TrackKey,
        ours: SourceId,
        old: SessionId,
    ) -> Vec<(SourceId, SessionId, RequestId)> {
        let Some(track) = self.tracks.get(key) else { return Vec::new() };
        let due: Vec<SessionId> = self.candidates(track).iter().map(|candidate| candidate.session).collect();
        let is_ours = |source: &&Source| source.id == ours;
        let ours_leads_to_edge = track.sources.iter().find(is_ours).and_then(|source| self.parent_of(source));
        let ours_leads_to_edge = ours_leads_to_edge.is_some_and(|id| self.edge_of(id).is_some());
        let offers = self.namespaces.matching(track.name.namespace());
        // An origin keeps all that it would ask now, and every relay that has a publisher, silent ones too; an edge
        // keeps one parent.
        let stays = |id: SessionId| match self.config.role {
            Role::Origin if due.contains(&id) => true,
            Role::Origin => ours_leads_to_edge && self.edge_of(id).is_some_and(|pop| is_offered_by(&offers, pop)),
            Role::Edge | Role::Sibling => false,
        };
        let others = track.sources.iter().filter(|source| source.id != ours).filter_map(|source| match source.kind {
            SourceKind::Session(id, request) => Some((source.id, id, request)),
            SourceKind::Local => None,
        });
        others.filter(|(_, id, _)| *id == old || (self.parent_link(*id).is_some() && !stays(*id))).collect()
    }

    /// The edge that a session is the present media of.
    fn edge_of(&self, id: SessionId) -> Option<&PopId> {
        let link = self.parent_link(id).filter(|link| link.role() == Role::Edge && link.media == Some(id))?;
        Some(&link.config.pop)
    }

    /// The trunk that a source comes over; `None`: a publisher, or another shard.
    fn parent_of(&self, source: &Source) -> Option<SessionId> {
        match source.kind {
            SourceKind::Session(id, _) => self.parent_link(id).map(|_| id),
            SourceKind::Local => None,
        }
    }

    fn is_healthy_parent(&self, source: &Source) -> bool {
        let SourceKind::Session(id, _) = source.kind else { return false };
        self.parent_link(id).is_some_and(|link| link.joinable() == Some(id))
    }

    /// The link to another PoP that a session is of.
    fn parent_link(&self, id: SessionId) -> Option<&Link> {
        let Some(Hosted::Moq(session)) = self.sessions.get(id) else { return None };
        let pop = session.kind.pop().filter(|pop| !self.is_sibling(pop))?;
        self.links.get(pop)
    }
}

fn is_offered_by(offers: &[Offer], pop: &PopId) -> bool {
    offers.iter().any(|offer| matches!(offer, Offer::Peer(remote) if remote.via == *pop))
}
