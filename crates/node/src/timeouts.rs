//! Deadlines, and what goes with a session.

use crate::downstream::request_error;
use crate::effects::TimerKey;
use crate::node::Node;
use crate::session::{Kind, Session, Upstream};
use crate::tracks::{State, TrackKey};
use crate::trunk::link::Link;
use sluice_moqt::error::{DoneCode, RequestCode, ResetCode};
use sluice_moqt::message::Goaway;
use sluice_moqt::transport::SessionId;
use sluice_moqt::{Namespace, RequestId};
use std::time::{Duration, Instant};

impl Node {
    /// Everything that is due.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            match key {
                TimerKey::Session(id) => {
                    self.expire_verdicts(now, id);
                    if let Some(session) = self.moq(id) {
                        session.protocol.handle_timeout(now);
                        // Delivery timeouts are carried out where the streams are: at the visit.
                        session.mark_all_ready();
                        self.effects.wake(id);
                    }
                    self.pump(now, id);
                }
                TimerKey::Track(key) => self.on_track_timeout(now, key),
                TimerKey::Trunks => self.run_trunks(now),
                TimerKey::Memory => self.on_memory_check(now),
            }
        }
    }

    /// Arms the session's timer.
    pub(crate) fn arm_session(&mut self, id: SessionId) {
        let verdict = self.auth.deadline(id);
        let Some(session) = self.moq(id) else { return };
        let at = [session.protocol.poll_timeout(), verdict].into_iter().flatten().min();
        self.timers.arm(TimerKey::Session(id), at);
    }

    /// Arms the track's timer.
    pub(crate) fn arm_track(&mut self, key: TrackKey) {
        let linger = self.config.limits.linger;
        let Some(track) = self.tracks.get(key) else { return };
        let of_state = match track.state {
            State::Pending(at) | State::Orphaned(at) => Some(at),
            State::Idle | State::Live => None,
        };
        let rendezvous = track.waiting.iter().filter_map(|w| w.rendezvous).min();
        let unused = track.upkeep.unused_since.filter(|_| !track.is_wanted()).map(|since| since + linger);
        let at = [of_state, rendezvous, unused, track.upkeep.retry_at, track.log.poll_timeout()];
        self.timers.arm(TimerKey::Track(key), at.into_iter().flatten().min());
    }

    /// A trunk may have something to carry that it had not: it is looked at again at once.
    pub(crate) fn note_load(&mut self, now: Instant) {
        if !self.links.is_empty() {
            self.timers.arm(TimerKey::Trunks, Some(now));
        }
    }

    /// Arms the trunks' timer.
    pub(crate) fn arm_trunks(&mut self) {
        let at = self.links.values().filter_map(Link::poll_timeout).min();
        self.timers.arm(TimerKey::Trunks, at);
    }

    fn on_track_timeout(&mut self, now: Instant, key: TrackKey) {
        let linger = self.config.limits.linger;
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.log.handle_timeout(now);
        let is_due = |at: Instant| at <= now;
        if track.upkeep.retry_at.is_some_and(is_due) {
            track.upkeep.retry_at = None;
            self.find_sources(now, key);
        }
        self.expire_rendezvous(now, key);
        let Some(track) = self.tracks.get(key) else { return };
        match track.state {
            State::Pending(at) if is_due(at) => {
                self.cancel_sources(now, key, ResetCode::Cancelled);
                self.refuse_waiting(key, &request_error(RequestCode::Timeout, "the publisher did not answer in time"));
                if let Some(track) = self.tracks.get_mut(key) {
                    track.state = State::Idle;
                }
                self.note_use(now, key);
            }
            State::Orphaned(at) if is_due(at) => return self.end_orphan(now, key),
            State::Idle | State::Pending(_) | State::Live | State::Orphaned(_) => {}
        }
        let Some(track) = self.tracks.get(key) else { return };
        if !track.is_wanted() && track.upkeep.unused_since.is_some_and(|since| is_due(since + linger)) {
            self.cancel_sources(now, key, ResetCode::Cancelled);
            return self.forget_track(key);
        }
        self.fan_out(key, 0);
    }

    fn expire_rendezvous(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        // Who named no time waits for the answer of whoever was asked.
        let unasked = track.state == State::Idle;
        let (out, keep) = std::mem::take(&mut track.waiting)
            .into_iter()
            .partition(|w| w.rendezvous.map_or(unasked, |until| until <= now));
        track.waiting = out;
        // draft-18 9.2.6: "If the timeout expires without a publisher, the relay SHOULD respond with ... TIMEOUT".
        self.refuse_waiting(key, &request_error(RequestCode::Timeout, "no publisher appeared in time"));
        if let Some(track) = self.tracks.get_mut(key) {
            track.waiting = keep;
        }
        self.watch_for_publishers(key);
        self.note_use(now, key);
    }

    /// No publisher came back within the linger.
    fn end_orphan(&mut self, now: Instant, key: TrackKey) {
        self.cancel_sources(now, key, ResetCode::Cancelled);
        self.end_readers(now, key, DoneCode::TrackEnded, "the publisher is gone");
        self.refuse_waiting(key, &request_error(RequestCode::DoesNotExist, "the publisher is gone"));
        self.forget_track(key);
    }

    /// Removes a track; nobody reads it and nothing writes it any more.
    pub(crate) fn forget_track(&mut self, key: TrackKey) {
        if let Some(track) = self.tracks.get_mut(key) {
            track.waiting.clear();
        }
        self.cancel_fetches(key);
        self.watch_for_publishers(key);
        self.timers.disarm(&TimerKey::Track(key));
        self.tracks.remove(key);
    }

    /// A trunk became usable: tracks that look for a source try again now.
    pub(crate) fn retry_tracks(&mut self, now: Instant) {
        self.namespaces.note_peer();
        let looking = self.tracks.keys_where(|track| {
            let wanted = !track.waiting.is_empty() || track.upkeep.pinned;
            matches!(track.state, State::Orphaned(_)) || (track.state == State::Idle && wanted)
        });
        for key in looking {
            self.find_sources(now, key);
        }
        self.pull_told(now);
    }

    /// A MoQ session is gone with everything it had.
    pub(crate) fn on_session_gone(&mut self, now: Instant, id: SessionId, session: Session) {
        self.auth.forget_session(id);
        let subs = session.down.subs.iter().map(|(request, sub)| (sub.track, *request));
        let fetches = session.down.fetches.iter().map(|(request, job)| (job.track, *request));
        for (key, request) in subs.chain(fetches) {
            self.remove_reader(now, key, id, request);
        }
        let waiting = self.tracks.keys_where(|track| track.waiting.iter().any(|w| w.session == id));
        for key in waiting {
            if let Some(track) = self.tracks.get_mut(key) {
                track.waiting.retain(|w| w.session != id);
            }
            self.note_use(now, key);
        }
        for namespace in session.published {
            self.publisher_down(&namespace.1, &crate::namespaces::Offer::Session(id, namespace.0));
        }
        let watched: Vec<Namespace> = session.track_watches.into_values().map(|watch| watch.prefix).collect();
        let prefixes = self.namespaces.unwatch_session(id).into_iter().chain(watched);
        for prefix in prefixes {
            self.drop_interest(&prefix);
        }
        self.lose_all_upstreams(now, session.up.requests);
        match session.kind {
            Kind::User => self.load.users -= 1,
            Kind::Trunk(pop) => self.on_media_gone(now, id, &pop),
        }
    }

    fn lose_all_upstreams(&mut self, now: Instant, requests: std::collections::BTreeMap<RequestId, Upstream>) {
        let error = request_error(RequestCode::DoesNotExist, "the connection to the publisher was lost");
        for (_, upstream) in requests {
            match upstream {
                Upstream::Subscription { track, source } => self.source_gone(now, track, source, &error),
                Upstream::Fetch { track, source, range, writer } => {
                    self.mark_unknown(now, track, source, (range, writer));
                }
            }
        }
    }

    /// Asks every user to leave within `grace`, and every peer to send no more joins.
    pub fn drain(&mut self, now: Instant, grace: Duration) {
        self.load.draining = true;
        let ids: Vec<SessionId> = self.sessions.iter().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(session) = self.moq(id).filter(|session| session.kind == Kind::User) {
                session.protocol.goaway(now, Goaway { uri: String::new(), timeout: grace, request_id: None });
                self.effects.wake(id);
            }
            self.send_control(id, &crate::trunk::wire::Message::Drain);
            self.pump(now, id);
        }
    }

    /// Whether a drain has nothing left to wait for.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        self.load.draining && self.load.users == 0
    }

    /// The peer is going away: what we have from it is looked for elsewhere before it is gone
    /// (draft-18 8.4.1).
    pub(crate) fn on_peer_goaway(&mut self, now: Instant, id: SessionId) {
        let pop = self.moq(id).and_then(|session| session.kind.pop().cloned());
        if let Some(link) = pop.and_then(|pop| self.links.get_mut(&pop)) {
            link.draining = true;
        }
        let Some(session) = self.moq(id) else { return };
        let tracks: Vec<TrackKey> = session
            .up
            .requests
            .values()
            .filter_map(|up| match up {
                Upstream::Subscription { track, .. } => Some(*track),
                Upstream::Fetch { .. } => None,
            })
            .collect();
        for key in tracks {
            self.find_sources(now, key);
        }
    }

    /// One request is to move: for us that is another subscription to the same track.
    pub(crate) fn on_request_goaway(&mut self, now: Instant, id: SessionId, request: RequestId) {
        let up = self.moq(id).and_then(|session| session.up.requests.get(&request).cloned());
        if let Some(Upstream::Subscription { track, .. }) = up {
            self.find_sources(now, track);
        }
    }
}
