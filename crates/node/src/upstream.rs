//! Subscriptions in which this node is the subscriber: one per track and place, whatever the number of readers.

use crate::config::Role;
use crate::downstream::{request_error, session_of};
use crate::incident::Incident;
use crate::namespaces::Change;
use crate::node::Node;
use crate::route::Candidate;
use crate::session::Upstream;
use crate::tracks::{RETRY_PAUSE, Source, SourceKind, State, TrackKey};
use crate::trunk::MAX_PATH_POPS;
use sluice_moqt::error::{DoneCode, RequestCode, ResetCode};
use sluice_moqt::message::{ExtraParams, Params, PublishDone, RequestError, SubscribeOk, TrackProperties};
use sluice_moqt::properties::TrackInfo;
use sluice_moqt::session::Event;
use sluice_moqt::transport::SessionId;
use sluice_moqt::{Filter, Location, RequestId};
use sluice_topology::PopId;
use sluice_track::{EndOfTrack, FetchRange, Log};
use std::time::{Duration, Instant};

/// What a source says of its track when it is established.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) root_path: Vec<PopId>,
    pub(crate) largest: Option<Location>,
    pub(crate) properties: TrackProperties,
    pub(crate) info: TrackInfo,
}

/// How a local source ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The track is complete.
    Ended,
    /// The source failed and may come back within the linger.
    Lost,
}

/// Least time between two NEW_GROUP_REQUESTs for a track.
const NEW_GROUP_PAUSE: Duration = Duration::from_millis(500);
/// How long a peer's word is believed that nobody has a track: a thousand viewers who ask again and again for a stream
/// that has not begun are one request a second upstream.
const ABSENT_FOR: Duration = Duration::from_secs(1);
/// Groups fetched at most when a source takes over from a lost one.
const MAX_CATCH_UP_GROUPS: u64 = 10;

impl Node {
    /// Subscribes wherever the track can be had; answers those who wait where it cannot.
    pub(crate) fn find_sources(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        let known = track.sources.len();
        let candidates = self.to_ask(track);
        let asked: Vec<SessionId> = candidates.iter().map(|candidate| candidate.session).collect();
        for candidate in candidates {
            self.subscribe_to(key, candidate);
        }
        self.supersede(key, known, &asked);
        let timeout = self.config.limits.upstream_timeout;
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.upkeep.tried_at = Some(now);
        let has_source = !track.sources.is_empty();
        if track.sources.len() > known {
            self.note_load(now);
        }
        let Some(track) = self.tracks.get_mut(key) else { return };
        if has_source && matches!(track.state, State::Idle) {
            track.state = State::Pending(now + timeout);
        }
        if !has_source {
            self.on_no_source(
                now,
                key,
                &request_error(RequestCode::DoesNotExist, "no publisher of this track is known"),
            );
        }
        self.arm_track(key);
    }

    /// Nobody has the track now.
    fn on_no_source(&mut self, now: Instant, key: TrackKey, error: &RequestError) {
        let linger = self.config.limits.linger;
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.state != State::Live && self.ask_others(key) {
            return self.arm_track(key);
        }
        let Some(track) = self.tracks.get_mut(key) else { return };
        match track.state {
            State::Live => {
                self.effects.incidents.push(Incident::TrackOrphaned(track.name.clone()));
                track.state = State::Orphaned(now + linger);
                // At once, but not again and again where a source answers only to end; a track that its publisher ended
                // waits to be offered anew.
                let earliest = track.upkeep.tried_at.map_or(now, |tried| now.max(tried + RETRY_PAUSE));
                track.upkeep.retry_at = (!track.log.ended()).then_some(earliest);
            }
            State::Orphaned(_) if track.log.ended() => self.refuse_waiting(key, error),
            State::Orphaned(_) => track.upkeep.retry_at = Some(now + RETRY_PAUSE),
            State::Idle | State::Pending(_) => {
                track.state = State::Idle;
                let (keep, out) = std::mem::take(&mut track.waiting)
                    .into_iter()
                    .partition(|w| w.rendezvous.is_some_and(|until| until > now));
                track.waiting = out;
                self.refuse_waiting(key, error);
                if let Some(track) = self.tracks.get_mut(key) {
                    track.waiting = keep;
                }
                self.watch_for_publishers(key);
                self.note_use(now, key);
            }
        }
        self.arm_track(key);
    }

    pub(crate) fn subscribe_to(&mut self, key: TrackKey, candidate: Candidate) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let is_known = |s: &Source| matches!(s.kind, SourceKind::Session(session, _) if session == candidate.session);
        if track.sources.iter().any(is_known) {
            return;
        }
        let Some(session) = session_of(&mut self.sessions, candidate.session) else { return };
        let extra = candidate.route.map(|route| Box::new(ExtraParams { route: Some(route), ..ExtraParams::default() }));
        let wants_group = track.waiting.iter().filter_map(|w| w.want.new_group_request()).max();
        let params = Params {
            // The newest group is completed by a joining fetch, so that narrower filters can be served from the log.
            filter: Some(Filter::LargestObject),
            forward: Some(true),
            new_group_request: wants_group,
            extra,
            ..Params::default()
        };
        let Ok(request) = session.protocol.subscribe(track.name.clone(), params) else { return };
        let source = self.tracks.allocate_source();
        session.up.requests.insert(request, Upstream::Subscription { track: key, source });
        let kind = SourceKind::Session(candidate.session, request);
        let relieves = self.failing_parent(key);
        if let Some(track) = self.tracks.get_mut(key) {
            track.sources.push(Source { relieves, ..Source::new(source, kind) });
        }
        if self.is_sibling_session(candidate.session) {
            self.metrics.shard_subscribes_total += 1;
        } else {
            self.metrics.upstream_subscribes_total += 1;
        }
        self.effects.wake(candidate.session);
        self.arm_session(candidate.session);
    }

    /// Answers to requests of ours.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller passes answers only")]
    pub(crate) fn on_answer(&mut self, now: Instant, id: SessionId, event: Event) {
        match event {
            Event::SubscribeOk { request, ok } => self.on_subscribe_ok(now, id, request, ok),
            Event::Error { request, error } => self.on_request_error(now, id, request, &error),
            Event::PublishDone { request, done } => self.on_publish_done(now, id, request, &done),
            Event::FetchOk { request, ok } => {
                let Some(session) = session_of(&mut self.sessions, id) else { return };
                let Some(Upstream::Fetch { track, writer, .. }) = session.up.requests.get(&request) else {
                    return;
                };
                let end = if ok.end_of_track { EndOfTrack::Yes } else { EndOfTrack::No };
                if let Some(track) = self.tracks.get_mut(*track) {
                    track.log.set_fetch_end(*writer, ok.end, end);
                }
            }
            // PUBLISH_OK of a PUBLISH of ours: the subscriber may have changed what it wants.
            Event::Ok { request, ok } => self.apply_publish_ok(id, request, &ok.params),
            Event::UpdateOk { .. } | Event::UpdateError { .. } => {}
            other => debug_assert!(false, "{other:?} is no answer"),
        }
    }

    fn on_subscribe_ok(&mut self, now: Instant, id: SessionId, request: RequestId, ok: SubscribeOk) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(Upstream::Subscription { track: key, source }) = session.up.requests.get(&request).cloned() else {
            return;
        };
        let root_path = ok.params.extra.as_ref().and_then(|extra| extra.root_path.as_deref()).unwrap_or_default();
        let root_path: Vec<PopId> = root_path.iter().take(MAX_PATH_POPS).filter_map(|pop| pop.parse().ok()).collect();
        if root_path.contains(&self.config.pop) {
            // A parent that is fed by us: source routes alone do not keep relays out of such a loop.
            session.protocol.cancel(request, ResetCode::Cancelled);
            self.note_refusal(key, id);
            return self.drop_source(
                now,
                id,
                request,
                &request_error(RequestCode::DoesNotExist, "the parent is downstream"),
            );
        }
        let info = match TrackInfo::read(&ok.properties.0) {
            Ok(info) => info,
            Err(error) => return self.close(id, error.session_code(), error.to_string()),
        };
        if let Some(property) = info.mandatory {
            session.protocol.cancel(request, ResetCode::Cancelled);
            let reason = format!("the track requires property {property:#x}, which this relay does not understand");
            return self.drop_source(now, id, request, &request_error(RequestCode::UnsupportedExtension, &reason));
        }
        let answer = Answer { root_path, largest: ok.params.largest, properties: ok.properties, info };
        let fresh = self.establish(now, key, source, answer);
        match fresh {
            Some(range) => self.catch_up(now, (id, Some(request)), key, range),
            // Nothing is missing, so that nothing has to arrive before the change is safe.
            None => self.relieve(now, key, source),
        }
        self.on_live(now, key);
    }

    /// A source answered. Returns what has to be fetched so that its newest group is whole.
    pub(crate) fn establish(
        &mut self,
        now: Instant,
        key: TrackKey,
        source: sluice_track::SourceId,
        answer: Answer,
    ) -> Option<FetchRange> {
        let Answer { root_path, largest, properties, info } = answer;
        let is_alone = self.tracks.get(key)?.sources.iter().all(|s| !s.established);
        if is_alone && self.starts_over(key, source, largest) {
            self.restart_track(now, key);
        }
        let fresh_log = self.fresh_log(&info);
        let track = self.tracks.get_mut(key)?;
        let held = track.log.largest();
        if held.is_none() && is_alone && track.readers.is_empty() {
            track.log = fresh_log;
        }
        track.log.resume_track();
        track.meta.properties = properties;
        track.meta.info = info;
        track
            .log
            .add_source(source, Some(largest.map_or_else(Location::default, |l| Location::new(l.group, l.object + 1))));
        let established = track.sources.iter_mut().find(|s| s.id == source)?;
        established.established = true;
        track.upkeep.fetched = None;
        established.root_path = root_path;
        established.is_unproven = is_alone && largest.is_none() && held.is_some();
        let last = largest?;
        let from_group = Location::new(last.group, 0);
        // draft-18 9.2.10: "A relay MUST set LARGEST_OBJECT to the largest of ... Any LARGEST_OBJECT value received".
        track.log.learn_largest(last);
        let first = match held {
            None => from_group,
            Some(held) => {
                let oldest = Location::new(last.group.saturating_sub(MAX_CATCH_UP_GROUPS), 0);
                // Subgroups of the group before may have been under way, too.
                let from = Location::new(held.group.saturating_sub(1), 0);
                let next = Location::new(held.group, held.object + 1);
                let missing = track.log.first_unfinished(from).unwrap_or(next);
                missing.max(oldest)
            }
        };
        (first <= last).then_some(FetchRange { first, last })
    }

    /// An edge that has a publisher of its own needs no parent, and the home may need it as one (only the home merges).
    fn leave_parents(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        let is_parent = |id: SessionId| !self.is_user(id) && !self.is_sibling_session(id);
        let parents = track.sources.iter().filter_map(|source| match source.kind {
            SourceKind::Session(id, request) if is_parent(id) => Some((id, request)),
            SourceKind::Session(..) | SourceKind::Local => None,
        });
        let parents: Vec<_> = parents.collect();
        let has_publisher = track.sources.iter().any(|source| match source.kind {
            SourceKind::Session(id, _) => source.established && self.is_user(id),
            SourceKind::Local => true,
        });
        if self.config.role == Role::Origin || !has_publisher {
            return;
        }
        for (id, request) in parents {
            if let Some(session) = self.moq(id) {
                session.protocol.cancel(request, ResetCode::Cancelled);
            }
            self.drop_source(now, id, request, &request_error(RequestCode::DoesNotExist, "a publisher is attached"));
        }
    }

    /// A track has a source: everybody who waits is served.
    pub(crate) fn on_live(&mut self, now: Instant, key: TrackKey) {
        self.leave_parents(now, key);
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.state = State::Live;
        track.upkeep.retry_at = None;
        track.upkeep.refused_by.clear();
        for waiting in std::mem::take(&mut track.waiting) {
            self.serve(now, key, waiting);
        }
        self.note_path(key);
        self.note_use(now, key);
        self.fan_out(key, 0);
    }

    fn on_request_error(&mut self, now: Instant, id: SessionId, request: RequestId, error: &RequestError) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        match session.up.requests.get(&request) {
            Some(Upstream::Subscription { track, .. }) => {
                let key = *track;
                let mut error = error.clone();
                if error.redirect.take().is_some() {
                    // draft-18 9.6: "Relays are not required to follow redirects from upstream".
                    error.code = RequestCode::DoesNotExist;
                }
                self.note_refusal(key, id);
                self.drop_source(now, id, request, &error);
                if error.code == RequestCode::DoesNotExist {
                    self.note_absence(now, key, id);
                }
            }
            Some(Upstream::Fetch { .. }) => self.give_up_fetch(now, id, request),
            // A PUBLISH of ours that nobody wants.
            None => {
                self.end_downstream(now, id, request);
            }
        }
    }

    /// Another PoP does not have the track. Publishers and shards are asked each time: they are near, and shards have
    /// asked the PoP.
    fn note_absence(&mut self, now: Instant, key: TrackKey, told_by: SessionId) {
        let is_peer = !self.is_user(told_by) && !self.is_sibling_session(told_by);
        let edition = self.namespaces.edition();
        let Some(track) = self.tracks.get_mut(key).filter(|_| is_peer) else { return };
        if track.state == State::Idle && track.sources.is_empty() {
            track.upkeep.absent = Some((now + ABSENT_FOR, edition));
        }
    }

    fn on_publish_done(&mut self, now: Instant, id: SessionId, request: RequestId, done: &PublishDone) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(Upstream::Subscription { track: key, .. }) = session.up.requests.get(&request).cloned() else {
            return;
        };
        let is_last = self.tracks.get(key).is_some_and(|track| track.sources.len() == 1);
        if done.code == DoneCode::MalformedTrack {
            return self.end_malformed(now, key, &done.reason);
        }
        let ends = is_last && matches!(done.code, DoneCode::TrackEnded | DoneCode::SubscriptionEnded);
        if ends && let Some(track) = self.tracks.get_mut(key) {
            track.log.end_track(now);
            self.fan_out(key, 0);
        }
        self.drop_source(now, id, request, &request_error(RequestCode::DoesNotExist, "the track has ended"));
    }

    /// A source ended or was refused.
    pub(crate) fn drop_source(&mut self, now: Instant, id: SessionId, request: RequestId, error: &RequestError) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(Upstream::Subscription { track: key, source }) = session.up.requests.remove(&request) else { return };
        session.up.inbound.retain(|_, inbound| inbound.request != request);
        self.effects.wake(id);
        self.source_gone(now, key, source, error);
    }

    /// The log loses a source; where it was the last, others are looked for.
    pub(crate) fn source_gone(
        &mut self,
        now: Instant,
        key: TrackKey,
        source: sluice_track::SourceId,
        error: &RequestError,
    ) {
        let is_sibling = self.is_of_sibling(key, source);
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.take_source(now, source);
        let was_offered = !track.upkeep.offered.is_empty();
        track.upkeep.offered.retain(|offered| *offered != source);
        let is_withdrawn = was_offered && track.upkeep.offered.is_empty();
        let name = track.name.clone();
        let is_last = match track.state {
            // A source that was asked and does not answer keeps nobody waiting beyond the linger.
            State::Live => track.sources.iter().all(|source| !source.established),
            State::Idle | State::Pending(_) | State::Orphaned(_) => track.sources.is_empty(),
        };
        self.fan_out(key, 0);
        if is_withdrawn {
            self.tell_peers_of_track(&name, None, Change::Down);
        }
        self.note_path(key);
        if is_last {
            self.metrics.upstream_retries_total += u64::from(!is_sibling);
            self.on_no_source(now, key, error);
        }
    }

    /// A source of this process is gone.
    pub(crate) fn local_source_gone(&mut self, now: Instant, key: TrackKey, source: sluice_track::SourceId) {
        self.source_gone(now, key, source, &request_error(RequestCode::DoesNotExist, "the source has ended"));
    }

    /// An upstream request ended without a message. False where it was none.
    pub(crate) fn lose_upstream(&mut self, now: Instant, id: SessionId, request: RequestId) -> bool {
        let Some(session) = session_of(&mut self.sessions, id) else { return false };
        match session.up.requests.get(&request) {
            Some(Upstream::Subscription { .. }) => {
                self.drop_source(now, id, request, &request_error(RequestCode::DoesNotExist, "the publisher is gone"));
                true
            }
            Some(Upstream::Fetch { .. }) => {
                self.give_up_fetch(now, id, request);
                true
            }
            None => false,
        }
    }

    /// Ends our subscriptions of a track.
    pub(crate) fn cancel_sources(&mut self, now: Instant, key: TrackKey, code: ResetCode) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let name = (!std::mem::take(&mut track.upkeep.offered).is_empty()).then(|| track.name.clone());
        for source in std::mem::take(&mut track.sources) {
            track.log.remove_source(now, source.id);
            let SourceKind::Session(id, request) = source.kind else { continue };
            let Some(session) = session_of(&mut self.sessions, id) else { continue };
            session.protocol.cancel(request, code);
            session.up.requests.remove(&request);
            let stale = session.up.inbound.extract_if(|_, inbound| inbound.request == request);
            session.up.stops.extend(stale.map(|(stream, _)| (stream, code.code())));
            self.effects.wake(id);
        }
        if let Some(name) = name {
            self.tell_peers_of_track(&name, None, Change::Down);
        }
    }

    /// NEW_GROUP_REQUEST towards the publisher (draft-18 9.2.12), at most one outstanding.
    pub(crate) fn request_new_group(&mut self, now: Instant, key: TrackKey, group: u64) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let largest = track.largest().map(|l| l.group);
        if !track.meta.info.dynamic_groups || (group != 0 && largest.is_some_and(|largest| group <= largest)) {
            return;
        }
        if let Some((asked, at)) = track.upkeep.new_group {
            let fulfilled = largest.is_some_and(|largest| largest >= asked);
            if (!fulfilled && asked >= group) || now.saturating_duration_since(at) < NEW_GROUP_PAUSE {
                return;
            }
        }
        track.upkeep.new_group = Some((group.max(largest.map_or(0, |l| l + 1)), now));
        for source in &track.sources {
            let SourceKind::Session(id, request) = source.kind else { continue };
            let Some(session) = session_of(&mut self.sessions, id) else { continue };
            let params = Params { new_group_request: Some(group), ..Params::default() };
            if session.protocol.update(request, params).is_ok() {
                self.effects.wake(id);
            }
        }
    }

    /// Whether what a source tells belongs to another life of the track than what is held. A parent relay tells of that
    /// by PUBLISH_DONE; it may be behind.
    fn starts_over(&self, key: TrackKey, source: sluice_track::SourceId, largest: Option<Location>) -> bool {
        let Some(track) = self.tracks.get(key) else { return false };
        let (Some(held), Some(theirs)) = (track.log.largest(), largest) else { return false };
        let is_parent = track.sources.iter().find(|s| s.id == source).is_some_and(|s| match s.kind {
            SourceKind::Session(id, _) => !self.is_user(id),
            SourceKind::Local => false,
        });
        if is_parent { theirs.group.saturating_add(MAX_CATCH_UP_GROUPS) < held.group } else { theirs < held }
    }

    /// A group arrives from a source that took over without a largest location: one that is held, or older, says that
    /// the publisher starts over.
    pub(crate) fn prove(&mut self, now: Instant, key: TrackKey, source: sluice_track::SourceId, group: u64) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let largest = track.log.largest();
        let Some(unproven) = track.sources.iter_mut().find(|s| s.id == source && s.is_unproven) else { return };
        unproven.is_unproven = false;
        if largest.is_some_and(|largest| group <= largest.group) {
            self.restart_track(now, key);
            if let Some(track) = self.tracks.get_mut(key) {
                track.log.add_source(source, Some(Location::default()));
            }
        }
    }

    fn fresh_log(&self, info: &TrackInfo) -> Log {
        let limits = self.config.track;
        let age = [info.max_cache, limits.age].into_iter().flatten().min();
        Log::new(sluice_track::Limits { age, ..limits }, info.priority.unwrap_or(TrackInfo::DEFAULT_PRIORITY))
    }

    /// The publisher came back with smaller locations: what was held belongs to another life of the track.
    fn restart_track(&mut self, now: Instant, key: TrackKey) {
        self.cancel_fetches(key);
        self.end_readers(now, key, DoneCode::TrackEnded, "the publisher started the track anew");
        let Some(info) = self.tracks.get(key).map(|track| track.meta.info.clone()) else { return };
        let log = self.fresh_log(&info);
        if let Some(track) = self.tracks.get_mut(key) {
            track.log = log;
        }
    }
}
