//! Several nodes in one process: who owns a track, and how shards know of each other's peers.
//!
//! A track belongs to the shard that its name hashes to. Only the owner asks upstream; the others subscribe to it over
//! a pipe. Where what the owner needs lies at another shard (a publisher's session, a trunk), the owner subscribes
//! there in turn, by offer or by source route; that shard gives up its own subscription to the owner, if it has one.

use crate::config::Role;
use crate::downstream::request_error;
use crate::node::{Hosted, Node};
use crate::tracks::{SourceKind, Track, TrackKey};
use crate::trunk::wire::Message;
use sluice_moqt::TrackName;
use sluice_moqt::error::{RequestCode, ResetCode};
use sluice_moqt::transport::SessionId;
use sluice_topology::PopId;
use sluice_track::SourceId;
use std::time::Instant;

impl Node {
    /// The shard that owns `name`, by a hash that every shard computes alike (FNV-1a, 64 bits).
    fn owner(&self, name: &TrackName) -> u8 {
        let fields = name.namespace().fields().iter().chain([name.name()]);
        let hash = fields
            .flat_map(|field| field.iter().copied().chain([0xFF]))
            .fold(0xCBF2_9CE4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3_u64));
        let count = u64::from(self.config.shard.count.max(1));
        u8::try_from(hash % count).unwrap_or_default()
    }

    /// Whether this shard owns the track.
    pub(crate) fn owns(&self, name: &TrackName) -> bool {
        self.owner(name) == self.config.shard.index
    }

    /// The shard to ask, where another one owns the track and it is not the one that asks.
    pub(crate) fn owner_elsewhere(&self, track: &Track) -> Option<PopId> {
        let asks = |session: SessionId| self.is_sibling_session(session);
        let is_delegated =
            track.waiting.iter().any(|w| asks(w.session)) || track.readers.iter().any(|r| asks(r.session));
        (!self.owns(&track.name) && !is_delegated).then(|| self.config.pop.shard(self.owner(&track.name)))
    }

    /// Whether the session is a pipe to another shard.
    pub(crate) fn is_sibling_session(&self, id: SessionId) -> bool {
        match self.sessions.get(id) {
            Some(Hosted::Moq(session)) => session.kind.pop().is_some_and(|pop| self.is_sibling(pop)),
            Some(Hosted::Control(control)) => self.is_sibling(&control.peer),
            None => false,
        }
    }

    /// Whether a source of a track is another shard of this process.
    pub(crate) fn is_of_sibling(&self, key: TrackKey, source: SourceId) -> bool {
        let source = self.tracks.get(key).and_then(|track| track.sources.iter().find(|held| held.id == source));
        source.is_some_and(|source| match source.kind {
            SourceKind::Session(id, _) => self.is_sibling_session(id),
            SourceKind::Local => false,
        })
    }

    /// Whether `pop` is another shard of this process.
    pub(crate) fn is_sibling(&self, pop: &PopId) -> bool {
        self.links.get(pop).is_some_and(|link| link.config.role == Role::Sibling)
    }

    /// The shard through which `pop` can be asked, where its trunk ends there.
    pub(crate) fn sibling_towards(&self, pop: &PopId) -> Option<&PopId> {
        self.links.values().find(|link| link.reach.contains(pop) && link.media.is_some()).map(|link| &link.config.pop)
    }

    /// Another shard asks for a track that we have from it: what it needs lies here, so ours gives way.
    pub(crate) fn give_way(&mut self, now: Instant, key: TrackKey, asker: SessionId) {
        if !self.is_sibling_session(asker) {
            return;
        }
        let Some(track) = self.tracks.get(key) else { return };
        let ours = track.sources.iter().find_map(|source| match source.kind {
            SourceKind::Session(session, request) if session == asker => Some(request),
            SourceKind::Session(..) | SourceKind::Local => None,
        });
        let Some(request) = ours else { return };
        if let Some(session) = self.moq(asker) {
            session.protocol.cancel(request, ResetCode::Cancelled);
        }
        let waiting = self.tracks.get_mut(key).map(|track| std::mem::take(&mut track.waiting)).unwrap_or_default();
        let error = request_error(RequestCode::DoesNotExist, "the owner asks for it here");
        self.drop_source(now, asker, request, &error);
        if let Some(track) = self.tracks.get_mut(key) {
            track.waiting.extend(waiting);
        }
    }

    /// A trunk's media leg came up or went: the other shards may ask through us, or not.
    pub(crate) fn tell_siblings_of_peer(&mut self, pop: &PopId) {
        let Some(link) = self.links.get(pop) else { return };
        if link.config.role == Role::Sibling {
            return;
        }
        let message = match link.media {
            Some(_) => Message::PeerUp { pop: pop.clone() },
            None => Message::PeerDown { pop: pop.clone() },
        };
        let siblings: Vec<SessionId> =
            self.links.values().filter(|l| l.config.role == Role::Sibling).filter_map(|l| l.control).collect();
        for id in siblings {
            self.send_control(id, &message);
        }
    }

    /// Every peer whose media leg ends here, for a sibling that has just greeted.
    pub(crate) fn reachable_here(&self) -> Vec<PopId> {
        let here = self.links.values().filter(|link| link.config.role != Role::Sibling && link.media.is_some());
        here.map(|link| link.config.pop.clone()).collect()
    }
}
