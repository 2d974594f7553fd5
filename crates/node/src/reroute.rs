//! Another way for tracks whose parent is silent or does not have them. Beside a silent one the next candidate is
//! subscribed before the old subscription ends, so that whichever of the two delivers first serves: the log puts both
//! together. After a refusal the next candidate is asked, until one has the track or all have refused.

use crate::config::Role;
use crate::downstream::session_of;
use crate::node::{Hosted, Node};
use crate::session::Upstream;
use crate::tracks::{SourceKind, TrackKey};
use sluice_moqt::RequestId;
use sluice_moqt::error::{ResetCode, SessionCode};
use sluice_moqt::transport::SessionId;
use sluice_topology::PopId;
use sluice_track::{FetchRange, SourceId};
use std::time::Instant;

/// Whether anything comes to this relay through other PoPs, which makes its further parents standbys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Nothing does.
    Nothing,
    /// Something does.
    Something,
}

impl Node {
    /// Whether some track has a parent.
    pub(crate) fn carried(&self) -> Carried {
        let remote = self.links.values().filter(|link| link.role() != Role::Sibling);
        let pulls = remote.filter_map(|link| link.media).any(|id| match self.sessions.get(id) {
            Some(Hosted::Moq(session)) => !session.up.requests.is_empty(),
            Some(Hosted::Control(_)) | None => false,
        });
        if pulls { Carried::Something } else { Carried::Nothing }
    }

    /// A peer went silent: what comes from it is asked for at the next candidate, too.
    pub(crate) fn bypass(&mut self, now: Instant, pop: &PopId) {
        let Some(media) = self.links.get(pop).and_then(|link| link.media) else { return };
        for key in self.tracks_from(media) {
            self.find_sources(now, key);
        }
    }

    /// A parent does not have the track, or has it from us: it is not asked again in this search.
    pub(crate) fn note_refusal(&mut self, key: TrackKey, id: SessionId) {
        let peer = self.moq(id).and_then(|session| session.kind.pop().cloned());
        let Some(peer) = peer.filter(|pop| !self.is_sibling(pop)) else { return };
        if let Some(track) = self.tracks.get_mut(key) {
            track.upkeep.refused_by.insert(peer);
        }
    }

    /// Asks whoever has not refused in this search. False where nobody is left, which ends it.
    pub(crate) fn ask_others(&mut self, key: TrackKey) -> bool {
        let Some(track) = self.tracks.get(key).filter(|track| !track.upkeep.refused_by.is_empty()) else {
            return false;
        };
        let others = if track.is_wanted() { self.candidates(track) } else { Vec::new() };
        for candidate in others {
            self.subscribe_to(key, candidate);
        }
        let Some(track) = self.tracks.get_mut(key) else { return false };
        if track.sources.is_empty() {
            track.upkeep.refused_by.clear();
        }
        !track.sources.is_empty()
    }

    /// Fresh media of a peer took the place of `old`, which goes on until everything has moved: the first to deliver
    /// serves.
    pub(crate) fn succeed_media(&mut self, now: Instant, pop: &PopId, old: SessionId) {
        if self.is_sibling(pop) || self.is_unused(old) {
            return self.close_replaced(old, pop);
        }
        let earlier = self.links.get_mut(pop).and_then(|link| link.renewal.retire(now, old));
        if let Some(earlier) = earlier {
            self.close_replaced(earlier, pop);
        }
        for key in self.tracks_from(old) {
            self.find_sources(now, key);
        }
    }

    /// Ends the connection that a fresh one replaced.
    pub(crate) fn retire_media(&mut self, pop: &PopId) {
        if let Some(old) = self.links.get_mut(pop).and_then(|link| link.renewal.retired()) {
            self.close_replaced(old, pop);
        }
    }

    pub(crate) fn close_replaced(&mut self, old: SessionId, pop: &PopId) {
        self.close(old, SessionCode::NoError, format!("replaced by a newer connection of {pop}"));
    }

    fn is_unused(&self, id: SessionId) -> bool {
        match self.sessions.get(id) {
            Some(Hosted::Moq(s)) => s.up.requests.is_empty() && s.down.subs.is_empty() && s.down.fetches.is_empty(),
            Some(Hosted::Control(_)) | None => true,
        }
    }

    /// Tracks that we are subscribed to on a session.
    pub(crate) fn tracks_from(&self, id: SessionId) -> Vec<TrackKey> {
        let Some(Hosted::Moq(session)) = self.sessions.get(id) else { return Vec::new() };
        let subscribed = session.up.requests.values().filter_map(|up| match up {
            Upstream::Subscription { track, .. } => Some(*track),
            Upstream::Fetch { .. } => None,
        });
        subscribed.collect()
    }

    /// The session of a parent of the track that takes no joins: whoever is asked besides is to take over from it.
    pub(crate) fn failing_parent(&self, key: TrackKey) -> Option<SessionId> {
        let sources = &self.tracks.get(key)?.sources;
        sources.iter().find_map(|source| match source.kind {
            SourceKind::Session(id, _) => self.is_failing(id).then_some(id),
            SourceKind::Local => None,
        })
    }

    fn is_failing(&self, id: SessionId) -> bool {
        let Some(Hosted::Moq(session)) = self.sessions.get(id) else { return false };
        let link = session.kind.pop().and_then(|pop| self.links.get(pop));
        link.is_some_and(|link| link.joinable() != Some(id))
    }

    /// A source delivers: the one that it was asked to take over from ends, with whatever else is one too many.
    pub(crate) fn relieve(&mut self, now: Instant, key: TrackKey, source: SourceId) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Some(ours) = track.sources.iter_mut().find(|s| s.id == source && s.established) else { return };
        let Some(old) = ours.relieves.take() else { return };
        let surplus = self.surplus(key, source, old);
        if surplus.is_empty() {
            return;
        }
        self.metrics.reroutes_total += 1;
        for (replaced, id, request) in surplus {
            self.cancel_on(id, request);
            if let Some(track) = self.tracks.get_mut(key) {
                track.take_source(now, replaced);
                track.upkeep.offered.retain(|offered| *offered != replaced);
            }
            self.move_fetches(now, key, id);
            self.let_go(id);
        }
        self.note_path(key);
        self.fan_out(key, 0);
    }

    /// Ends a replaced connection that has nothing left to do.
    fn let_go(&mut self, id: SessionId) {
        let Some(Hosted::Moq(session)) = self.sessions.get(id) else { return };
        let Some(pop) = session.kind.pop().cloned() else { return };
        let retiring = self.links.get(&pop).and_then(|link| link.renewal.retiring());
        if retiring.is_some_and(|(old, _)| old == id) && self.is_unused(id) {
            self.retire_media(&pop);
        }
    }

    /// Fetches for a track that a session will not answer are made elsewhere.
    fn move_fetches(&mut self, now: Instant, key: TrackKey, old: SessionId) {
        let Some(session) = session_of(&mut self.sessions, old) else { return };
        let fetches = session.up.requests.iter().filter_map(|(request, up)| match up {
            Upstream::Fetch { track, source, range, .. } if *track == key => Some((*request, *source, *range)),
            Upstream::Fetch { .. } | Upstream::Subscription { .. } => None,
        });
        let fetches: Vec<(RequestId, SourceId, FetchRange)> = fetches.collect();
        for (request, source, range) in fetches {
            self.cancel_on(old, request);
            self.fill(now, key, range);
            // Last, so that readers see somebody who fills all the time.
            if let Some(track) = self.tracks.get_mut(key) {
                track.log.remove_source(now, source);
            }
        }
    }

    /// Ends a request of ours, with its streams.
    fn cancel_on(&mut self, id: SessionId, request: RequestId) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        session.protocol.cancel(request, ResetCode::Cancelled);
        session.up.requests.remove(&request);
        let stale = session.up.inbound.extract_if(|_, inbound| inbound.request == request);
        session.up.stops.extend(stale.map(|(stream, _)| (stream, ResetCode::Cancelled.code())));
        self.effects.wake(id);
    }
}
