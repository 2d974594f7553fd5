//! Who hears of namespaces and tracks: SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS (draft-18 5.3, 9.18, 9.19).

use crate::downstream::session_of;
use crate::namespaces::{Change, Notice, WatcherId};
use crate::node::{Hosted, Node};
use crate::session::{Call, Kind, TrackWatch};
use crate::tracks::{SourceKind, State, Waiting, Want};
use sluice_moqt::message::{Params, RequestOk};
use sluice_moqt::transport::SessionId;
use sluice_moqt::{Namespace, RequestId, TrackName};
use std::time::Instant;

impl Node {
    /// SUBSCRIBE_NAMESPACE: what is there, then every change.
    pub(crate) fn on_subscribe_namespace(&mut self, call: Call, prefix: &Namespace) {
        let Call { session: id, request, .. } = call;
        let present = self.namespaces.watch(WatcherId { session: id, request }, prefix.clone());
        let Some(session) = self.moq(id) else { return };
        session.protocol.accept(request, RequestOk::default());
        self.tell_present(id, request, prefix, present);
        self.add_interest(prefix);
    }

    fn tell_present(&mut self, id: SessionId, request: RequestId, prefix: &Namespace, present: Vec<Namespace>) {
        let Some(session) = self.moq(id) else { return };
        for suffix in present.iter().filter_map(|namespace| namespace.suffix_after(prefix)) {
            session.protocol.namespace(request, suffix);
        }
        self.effects.wake(id);
    }

    /// SUBSCRIBE_TRACKS: a PUBLISH for every track below the prefix, now and later, except the subscriber's own.
    pub(crate) fn on_subscribe_tracks(&mut self, call: Call, prefix: Namespace, params: &Params) {
        let Call { now, session: id, request } = call;
        let forward = params.forward.unwrap_or(true);
        let Some(session) = self.moq(id) else { return };
        session.protocol.accept(request, RequestOk::default());
        session.track_watches.insert(request, TrackWatch { prefix: prefix.clone(), forward });
        self.effects.wake(id);
        self.publish_present(now, id, request, &prefix);
        self.add_interest(&prefix);
    }

    fn publish_present(&mut self, now: Instant, id: SessionId, request: RequestId, prefix: &Namespace) {
        let present = self.tracks.keys_where(|track| {
            let own = track.sources.iter().any(|s| matches!(s.kind, SourceKind::Session(session, _) if session == id));
            track.state == State::Live && !own && prefix.is_prefix_of(track.name.namespace())
        });
        for key in present {
            let waiting = Waiting { session: id, request, rendezvous: None, want: Want::Publish };
            self.serve(now, key, waiting);
        }
        let is_live = |name: &TrackName| {
            self.tracks.find(name).and_then(|key| self.tracks.get(key)).is_some_and(|track| track.state == State::Live)
        };
        let told = self.namespaces.told_tracks().map(|(name, _)| name);
        let elsewhere: Vec<TrackName> =
            told.filter(|name| prefix.is_prefix_of(name.namespace()) && !is_live(name)).cloned().collect();
        for name in elsewhere {
            self.request_track(Call { now, session: id, request }, &name, None, Want::Publish);
        }
    }

    /// TRACK_NAMESPACE_PREFIX in an update (draft-18 9.9.2): the request goes on below another prefix.
    pub(crate) fn move_watch(&mut self, call: Call, prefix: &Namespace) {
        let Call { now, session: id, request } = call;
        let watcher = WatcherId { session: id, request };
        if let Some(before) = self.namespaces.unwatch(watcher) {
            let present = self.namespaces.watch(watcher, prefix.clone());
            self.tell_present(id, request, prefix, present);
            self.add_interest(prefix);
            self.drop_interest(&before);
        } else if let Some(watch) = self.moq(id).and_then(|session| session.track_watches.get_mut(&request)) {
            let before = std::mem::replace(&mut watch.prefix, prefix.clone());
            self.publish_present(now, id, request, prefix);
            self.add_interest(prefix);
            self.drop_interest(&before);
        }
    }

    /// A namespace or track watch of a session is over.
    pub(crate) fn end_watch(&mut self, id: SessionId, request: RequestId) {
        let watched = self.namespaces.unwatch(WatcherId { session: id, request });
        let tracks = self.moq(id).and_then(|session| session.track_watches.remove(&request)).map(|watch| watch.prefix);
        for prefix in watched.into_iter().chain(tracks) {
            self.drop_interest(&prefix);
        }
    }

    /// Tells watching sessions of a namespace that appeared or went away.
    pub(crate) fn notify_sessions(&mut self, namespace: &Namespace, change: Change) {
        for Notice { watcher, namespace, prefix, change } in self.namespaces.notices(namespace, change) {
            let Some(suffix) = namespace.suffix_after(&prefix) else { continue };
            let Some(session) = session_of(&mut self.sessions, watcher.session) else { continue };
            match change {
                Change::Up => session.protocol.namespace(watcher.request, suffix),
                Change::Down => session.protocol.namespace_done(watcher.request, suffix),
            }
            self.effects.wake(watcher.session);
        }
    }

    /// A track was offered by PUBLISH here.
    pub(crate) fn announce_track(&mut self, now: Instant, name: &TrackName, publisher: Option<SessionId>) {
        self.offer_track(now, name, publisher);
        self.tell_peers_of_track(name, None, Change::Up);
    }

    /// A track was offered by PUBLISH, here or behind a trunk: whoever asked for tracks gets it
    /// (draft-18 8.5: "it MUST send a PUBLISH request to each subscriber that has sent SUBSCRIBE_TRACKS").
    pub(crate) fn offer_track(&mut self, now: Instant, name: &TrackName, publisher: Option<SessionId>) {
        let mut holders = Vec::new();
        for (id, hosted) in self.sessions.iter() {
            let Hosted::Moq(session) = hosted else { continue };
            let matches = |watch: &&TrackWatch| watch.prefix.is_prefix_of(name.namespace());
            if Some(id) != publisher && session.kind == Kind::User {
                let watches = session.track_watches.iter().filter(|(_, watch)| matches(watch));
                holders.extend(watches.map(|(request, _)| (id, *request)));
            }
        }
        for (id, request) in holders {
            self.request_track(Call { now, session: id, request }, name, None, Want::Publish);
            self.pump_later(id);
        }
    }

    /// A session has control messages to send that no event of its own caused.
    fn pump_later(&mut self, id: SessionId) {
        self.effects.wake(id);
        self.arm_session(id);
    }
}
