//! Subscriptions that this node serves (draft-18 5.1, 8.4).

use crate::node::Node;
use crate::session::{Call, Doomed, Kind, Sub};
use crate::sessions::Sessions;
use crate::tracks::{Reader, State, Track, TrackKey, Waiting, Want};
use sluice_moqt::error::{DoneCode, RequestCode, ResetCode};
use sluice_moqt::message::{ExtraParams, Params, PublishDone, RequestError, RequestOk, SubscribeOk, Timeouts};
use sluice_moqt::transport::SessionId;
use sluice_moqt::{RequestId, TrackAlias, TrackName};
use sluice_track::{Cursor, CursorConfig, CursorUpdate, Forward, Forwarding, Range};
use std::time::{Duration, Instant};

/// Subscriber priority where the request does not say (draft-18 9.2.7).
const DEFAULT_PRIORITY: u8 = 128;

/// An error answer that must not be retried as it is.
pub(crate) fn request_error(code: RequestCode, reason: &str) -> RequestError {
    RequestError { code, retry: None, reason: reason.to_owned(), redirect: None }
}

/// Whether and with what number a subscription of ours is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// SUBSCRIBE_OK to this request of the peer's.
    Answer,
    /// A PUBLISH of ours made it, with this alias.
    Publish(TrackAlias),
}

impl Node {
    /// SUBSCRIBE.
    pub(crate) fn on_subscribe(&mut self, call: Call, name: &TrackName, params: Params) {
        let rendezvous = params.rendezvous_timeout.filter(|t| !t.is_zero());
        let want = Want::Subscribe(Box::new(params));
        self.request_track(call, name, rendezvous, want);
    }

    /// TRACK_STATUS: as SUBSCRIBE, but nothing stays (draft-18 9.14).
    pub(crate) fn on_track_status(&mut self, call: Call, name: &TrackName, params: &Params) {
        let rendezvous = params.rendezvous_timeout.filter(|t| !t.is_zero());
        self.request_track(call, name, rendezvous, Want::Status);
    }

    /// Serves a request at once where the track is live, else holds it and looks for a source.
    pub(crate) fn request_track(&mut self, call: Call, name: &TrackName, rendezvous: Option<Duration>, want: Want) {
        if let Err(error) = self.admit(name, call.session, &want) {
            return self.refuse_wanting(call.session, call.request, &want, *error);
        }
        let key = self.tracks.find_or_create(name, self.config.track);
        let rendezvous = rendezvous.map(|t| call.now + t.min(self.config.limits.max_rendezvous));
        let waiting = Waiting { session: call.session, request: call.request, rendezvous, want };
        self.give_way(call.now, key, call.session);
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.upkeep.unused_since = None;
        match track.state {
            State::Live => {
                self.serve(call.now, key, waiting);
                // It may have been refused.
                self.note_use(call.now, key);
            }
            // draft-18 8.4: "MUST have an `Established` upstream subscription before sending SUBSCRIBE_OK".
            State::Pending(_) | State::Orphaned(_) => {
                track.waiting.push(waiting);
                track.upkeep.retry_at = track.retry_for_asker(call.now);
                self.arm_track(key);
            }
            State::Idle => {
                let edition = self.namespaces.edition();
                let absent = track.upkeep.absent.filter(|(until, of)| call.now < *until && *of == edition);
                if let Some((until, _)) = absent.filter(|_| waiting.rendezvous.is_none()) {
                    let error = request_error(RequestCode::DoesNotExist, "no publisher of this track is known");
                    let error = RequestError { retry: Some(until.saturating_duration_since(call.now)), ..error };
                    self.refuse_wanting(call.session, call.request, &waiting.want, error);
                    return self.note_use(call.now, key);
                }
                track.waiting.push(waiting);
                self.find_sources(call.now, key);
            }
        }
    }

    /// Limits and loops.
    fn admit(&mut self, name: &TrackName, asker: SessionId, want: &Want) -> Result<(), Box<RequestError>> {
        if self.tracks.len() >= self.config.limits.max_tracks && self.tracks.find(name).is_none() {
            self.metrics.limits_hit_total += 1;
            let mut error = request_error(RequestCode::ExcessiveLoad, "this relay carries its limit of tracks");
            error.retry = Some(Duration::from_secs(5));
            return Err(Box::new(error));
        }
        if self.load.draining {
            return Err(Box::new(request_error(RequestCode::GoingAway, "this relay is draining")));
        }
        let is_first_dot =
            name.namespace().fields().first().is_some_and(|f| f.as_ref() == b"." || f.as_ref() == b".session");
        if is_first_dot {
            // draft-18 3.2.2: "reject it with REQUEST_ERROR using error code DOES_NOT_EXIST rather than passing it".
            return Err(Box::new(request_error(RequestCode::DoesNotExist, "no such session-level track")));
        }
        if matches!(want, Want::Subscribe(_) | Want::Fetch(..)) {
            self.check_memory()?;
        }
        let Want::Subscribe(params) = want else { return Ok(()) };
        let Some(route) = params.extra.as_ref().and_then(|extra| extra.route.as_ref()) else { return Ok(()) };
        if route.visited.iter().any(|pop| pop == self.config.pop.as_str()) {
            return Err(Box::new(request_error(RequestCode::DoesNotExist, "the source route loops")));
        }
        // A subscriber that stands in our root path would feed us with what we send it (source routes alone do not
        // keep a relay from repairing through its own child).
        let asker = self.moq(asker).and_then(|s| s.kind.pop().cloned());
        let loops = self.tracks.find(name).and_then(|key| self.tracks.get(key)).is_some_and(|track| {
            asker.is_some_and(|pop| !track.sources.is_empty() && track.root_path().contains(&pop))
        });
        if loops {
            return Err(Box::new(request_error(RequestCode::DoesNotExist, "the subscriber is upstream of this relay")));
        }
        Ok(())
    }

    /// Serves one request from a live track.
    pub(crate) fn serve(&mut self, now: Instant, key: TrackKey, waiting: Waiting) {
        let call = Call { now, session: waiting.session, request: waiting.request };
        match waiting.want {
            Want::Subscribe(params) => self.serve_subscribe(call, key, &params),
            Want::Status => self.serve_status(call, key),
            Want::Fetch(range, params) => self.serve_fetch(call, key, (range, None), &params),
            Want::Publish => self.serve_publish(call, key),
        }
    }

    fn serve_subscribe(&mut self, call: Call, key: TrackKey, params: &Params) {
        let Some(track) = self.tracks.get(key) else { return };
        let largest = track.largest();
        let range = params.filter.map_or(Range::ALL, |filter| Range::resolve(filter, largest));
        if let Err(error) = track.log.check_range(range) {
            let error = request_error(RequestCode::InvalidRange, &error.to_string());
            self.refuse_held_joins(call.session, call.request);
            return self.refuse(call.session, call.request, error);
        }
        self.open_cursor(call, key, params, Opening::Answer);
    }

    /// A PUBLISH to a SUBSCRIBE_TRACKS holder (draft-18 8.5).
    fn serve_publish(&mut self, call: Call, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        let (name, properties, largest) = (track.name.clone(), track.meta.properties.clone(), track.largest());
        let Some(session) = self.moq(call.session) else { return };
        let Some(forward) = session.track_watches.get(&call.request).map(|w| w.forward) else { return };
        let alias = session.protocol.allocate_alias();
        let params = Params { largest, forward: Some(forward), ..Params::default() };
        let Ok(request) = session.protocol.publish(name, alias, params.clone(), properties) else { return };
        self.open_cursor(Call { request, ..call }, key, &params, Opening::Publish(alias));
    }

    fn open_cursor(&mut self, call: Call, key: TrackKey, params: &Params, opening: Opening) {
        let Call { now, session: id, request } = call;
        let pop = self.config.pop.clone();
        let is_sibling = self.is_sibling_session(id);
        let max_lag_groups = usize::try_from(self.config.limits.max_lag_groups).unwrap_or(usize::MAX);
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let alias = match opening {
            Opening::Answer => session.protocol.allocate_alias(),
            Opening::Publish(alias) => alias,
        };
        let largest = track.largest();
        let route = params.extra.as_ref().and_then(|extra| extra.route.as_ref());
        let forward = params.forward.unwrap_or(true);
        let config = CursorConfig {
            alias,
            mode: session.kind.forwarding(self.config.limits.viewer_forwarding),
            range: params.filter.map_or(Range::ALL, |filter| Range::resolve(filter, largest)),
            order: params.group_order.or(track.meta.info.group_order).unwrap_or_default(),
            priority: params.subscriber_priority.unwrap_or(DEFAULT_PRIORITY),
            class: route.map(|r| r.class).unwrap_or_default(),
            timeouts: effective_timeouts(track.meta.info.timeouts, params.timeouts),
            max_lag_groups,
            max_lag_age: (session.kind == Kind::User).then_some(self.config.limits.max_lag_age),
            forward: if forward { Forward::On } else { Forward::Off },
        };
        let sub = Sub {
            track: key,
            cursor: Cursor::new(config, &track.log),
            joining: forward.then_some(largest).flatten(),
            forward,
            priority: config.priority,
            class: config.class,
            queued: false,
        };
        let cut_through = config.mode == Forwarding::CutThrough;
        track.readers.push(Reader { session: id, request, cut_through, is_live: true });
        track.upkeep.unused_since = None;
        session.down.subs.insert(request, Box::new(sub));
        session.mark_ready(request);
        if opening == Opening::Answer {
            let ours = (!is_sibling).then_some(&pop);
            session.protocol.accept_subscribe(request, answer(track, alias, &session.kind, ours));
        }
        self.effects.wake(id);
        if cut_through {
            self.note_load(now);
        }
        self.serve_held_joins(now, id, request);
        if let Some(group) = params.new_group_request {
            self.request_new_group(now, key, group);
        }
    }

    fn serve_status(&mut self, call: Call, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        let params = Params { largest: track.largest(), ..Params::default() };
        let ok = RequestOk { params, properties: track.meta.properties.clone() };
        if let Some(session) = self.moq(call.session) {
            session.protocol.accept(call.request, ok);
        }
        self.effects.wake(call.session);
        self.note_use(call.now, key);
    }

    /// REQUEST_UPDATE of a subscription that we serve; other requests have nothing to change.
    pub(crate) fn on_update(&mut self, call: Call, update: RequestId, params: &Params) {
        let Call { now, session: id, request } = call;
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(sub) = session.down.subs.get_mut(&request) else {
            session.protocol.accept_update(request, update, RequestOk::default());
            self.effects.wake(id);
            let prefix = params.extra.as_ref().and_then(|extra| extra.namespace_prefix.as_ref());
            return prefix.into_iter().for_each(|prefix| self.move_watch(call, prefix));
        };
        let Some(track) = self.tracks.get_mut(sub.track) else { return };
        let largest = track.largest();
        sub.cursor.update(
            &track.log,
            CursorUpdate {
                range: params.filter.map(|filter| Range::resolve(filter, largest)),
                priority: params.subscriber_priority,
                timeouts: (params.timeouts != Timeouts::default())
                    .then(|| effective_timeouts(track.meta.info.timeouts, params.timeouts)),
                forward: params.forward.map(|on| if on { Forward::On } else { Forward::Off }),
            },
        );
        if params.forward == Some(true) && !sub.forward {
            sub.joining = largest;
        }
        sub.forward = params.forward.unwrap_or(sub.forward);
        sub.priority = params.subscriber_priority.unwrap_or(sub.priority);
        let key = sub.track;
        let ok = RequestOk { params: Params { largest, ..Params::default() }, ..RequestOk::default() };
        session.protocol.accept_update(request, update, ok);
        session.mark_ready(request);
        self.effects.wake(id);
        if let Some(group) = params.new_group_request {
            self.request_new_group(now, key, group);
        }
    }

    /// A reader is gone.
    pub(crate) fn remove_reader(&mut self, now: Instant, key: TrackKey, id: SessionId, request: RequestId) {
        if let Some(track) = self.tracks.get_mut(key) {
            track.readers.retain(|r| r.session != id || r.request != request);
        }
        self.note_use(now, key);
    }

    /// Starts the linger of a track that nobody needs any more.
    pub(crate) fn note_use(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.is_wanted() {
            track.upkeep.unused_since = None;
        } else if track.upkeep.unused_since.is_none() {
            track.upkeep.unused_since = Some(now);
        }
        self.arm_track(key);
    }

    /// Ends every subscription and fetch of a track.
    pub(crate) fn end_readers(&mut self, now: Instant, key: TrackKey, code: DoneCode, reason: &str) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        for reader in std::mem::take(&mut track.readers) {
            self.finish_reader(reader.session, reader.request, code, reason);
        }
        self.note_use(now, key);
    }

    /// PUBLISH_DONE for one subscription; its streams are closed first, at the next visit
    /// (draft-18 9.11: "MUST NOT send PUBLISH_DONE until it has closed all streams it will ever open").
    pub(crate) fn finish_reader(&mut self, id: SessionId, request: RequestId, code: DoneCode, reason: &str) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        self.effects.wake(id);
        if let Some(job) = session.down.fetches.remove(&request) {
            let code = ResetCode::from_code(code.code());
            session.down.doomed.push(Doomed::Fetch(Box::new(job.reader), code));
            return session.protocol.cancel(request, code);
        }
        let Some(sub) = session.down.subs.remove(&request) else { return };
        let streams = Some(sub.cursor.streams_opened());
        session.down.doomed.push(Doomed::Sub(Box::new(sub.cursor), ResetCode::from_code(code.code())));
        session.protocol.publish_done(request, PublishDone { code, streams, reason: reason.to_owned() });
    }

    /// Forgets a request that waits for a track. False where there is none.
    pub(crate) fn drop_waiting(&mut self, now: Instant, id: SessionId, request: RequestId) -> bool {
        let is_it = |w: &Waiting| w.session == id && w.request == request && w.want != Want::Publish;
        let keys = self.tracks.keys_where(|track| track.waiting.iter().any(is_it));
        for key in &keys {
            if let Some(track) = self.tracks.get_mut(*key) {
                track.waiting.retain(|w| !is_it(w));
            }
            self.note_use(now, *key);
        }
        !keys.is_empty()
    }

    /// Answers everything that waits for a track with an error.
    pub(crate) fn refuse_waiting(&mut self, key: TrackKey, error: &RequestError) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        for waiting in std::mem::take(&mut track.waiting) {
            self.refuse_wanting(waiting.session, waiting.request, &waiting.want, error.clone());
        }
    }

    fn refuse_wanting(&mut self, id: SessionId, request: RequestId, want: &Want, error: RequestError) {
        match want {
            // No request of the peer's stands behind it.
            Want::Publish => {}
            Want::Subscribe(_) => {
                self.refuse_held_joins(id, request);
                self.refuse(id, request, error);
            }
            Want::Status | Want::Fetch(..) => self.refuse(id, request, error),
        }
    }
}

/// The MoQ session of that id, while other parts of the node are borrowed.
pub(crate) fn session_of(sessions: &mut Sessions, id: SessionId) -> Option<&mut crate::session::Session> {
    match sessions.get_mut(id)? {
        crate::node::Hosted::Moq(session) => Some(session),
        crate::node::Hosted::Control(_) => None,
    }
}

fn answer(track: &Track, alias: TrackAlias, kind: &Kind, ours: Option<&sluice_topology::PopId>) -> SubscribeOk {
    let extra = matches!(kind, Kind::Trunk(_)).then(|| {
        let path = track.root_path().iter().chain(ours).map(|pop| pop.as_str().to_owned());
        Box::new(ExtraParams { root_path: Some(path.collect()), ..ExtraParams::default() })
    });
    SubscribeOk {
        alias,
        params: Params { largest: track.largest(), extra, ..Params::default() },
        properties: track.meta.properties.clone(),
    }
}

/// draft-18 section 6: "if both the publisher and the subscriber have a non-zero value, the smaller of the two is used".
fn effective_timeouts(publisher: Timeouts, subscriber: Timeouts) -> Timeouts {
    let pick = |a: Option<Duration>, b: Option<Duration>| [a, b].into_iter().flatten().filter(|t| !t.is_zero()).min();
    Timeouts {
        object: pick(publisher.object, subscriber.object),
        subgroup: pick(publisher.subgroup, subscriber.subgroup),
    }
}
