//! Publishers: PUBLISH and PUBLISH_NAMESPACE (draft-18 8.5).

use crate::config::PublisherPolicy;
use crate::downstream::{request_error, session_of};
use crate::namespaces::{Added, Offer};
use crate::node::Node;
use crate::session::{Call, Kind, Upstream};
use crate::tracks::{Source, SourceKind, State, TrackKey};
use crate::upstream::Answer;
use sluice_moqt::error::{RequestCode, ResetCode};
use sluice_moqt::message::{Params, RequestError, RequestOk, TrackProperties};
use sluice_moqt::properties::TrackInfo;
use sluice_moqt::transport::{Dir, Output, SessionId};
use sluice_moqt::{Namespace, RequestId, TrackName};
use sluice_track::CursorUpdate;
use std::time::Instant;

/// Concurrent data streams of a publisher, once it is one.
const PUBLISHER_UNI_STREAMS: u64 = 256;

impl Node {
    /// PUBLISH: the peer has a track and sends it.
    pub(crate) fn on_publish(&mut self, call: Call, name: &TrackName, params: &Params, properties: TrackProperties) {
        let Call { now, session: id, request } = call;
        let info = match TrackInfo::read(&properties.0) {
            Ok(info) => info,
            Err(error) => return self.close(id, error.session_code(), error.to_string()),
        };
        if let Err(error) = self.admit_publish(id, name, &info) {
            return self.refuse(id, request, *error);
        }
        let key = self.tracks.find_or_create(name, self.config.track);
        if self.config.homing.publishers == PublisherPolicy::Newest {
            self.cancel_sources(now, key, ResetCode::Cancelled);
        }
        let source = self.tracks.allocate_source();
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.upkeep.unused_since = None;
        track.upkeep.offered.push(source);
        track.sources.push(Source::new(source, SourceKind::Session(id, request)));
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        session.up.requests.insert(request, Upstream::Subscription { track: key, source });
        // draft-18 8.5: "If at least one downstream subscriber for the Track has Forward State=1, the Relay MUST use
        // Forward State=1 in the reply"; a relay that keeps a window takes the track in any case.
        let accepted =
            RequestOk { params: Params { forward: Some(true), ..Params::default() }, ..RequestOk::default() };
        session.protocol.accept(request, accepted);
        self.allow_publisher_streams(id);
        let answer = Answer { root_path: Vec::new(), largest: params.largest, properties, info };
        let missing = self.establish(now, key, source, answer);
        if let Some(range) = missing {
            self.catch_up(now, (id, None), key, range);
        }
        self.on_live(now, key);
        self.effects.wake(id);
        self.announce_track(now, name, Some(id));
    }

    fn admit_publish(&mut self, id: SessionId, name: &TrackName, info: &TrackInfo) -> Result<(), Box<RequestError>> {
        if let Some(property) = info.mandatory {
            let reason = format!("the track requires property {property:#x}, which this relay does not understand");
            return Err(Box::new(request_error(RequestCode::UnsupportedExtension, &reason)));
        }
        if self.tracks.len() >= self.config.limits.max_tracks && self.tracks.find(name).is_none() {
            self.metrics.limits_hit_total += 1;
            return Err(Box::new(request_error(RequestCode::ExcessiveLoad, "this relay carries its limit of tracks")));
        }
        if self.load.draining {
            return Err(Box::new(request_error(RequestCode::GoingAway, "this relay is draining")));
        }
        self.check_memory()?;
        let rival = self.tracks.find(name).and_then(|key| self.tracks.get(key)).is_some_and(|track| {
            track.sources.iter().any(|s| match s.kind {
                SourceKind::Session(other, _) => other != id && self.is_user(other),
                SourceKind::Local => true,
            })
        });
        if rival && self.config.homing.publishers == PublisherPolicy::Refuse {
            return Err(Box::new(request_error(RequestCode::Uninterested, "another publisher has this track")));
        }
        Ok(())
    }

    pub(crate) fn is_user(&self, id: SessionId) -> bool {
        matches!(self.sessions.get(id), Some(crate::node::Hosted::Moq(session)) if session.kind == Kind::User)
    }

    /// Publishers may open more streams than viewers.
    pub(crate) fn allow_publisher_streams(&mut self, id: SessionId) {
        let Some(session) = self.moq(id) else { return };
        if !std::mem::replace(&mut session.stream_limits_raised, true) {
            self.effects.push(Output::StreamLimit { session: id, dir: Dir::Uni, count: PUBLISHER_UNI_STREAMS });
        }
    }

    /// PUBLISH_OK of a PUBLISH of ours: what the subscriber wants of it.
    pub(crate) fn apply_publish_ok(&mut self, id: SessionId, request: RequestId, params: &Params) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(sub) = session.down.subs.get_mut(&request) else { return };
        let Some(track) = self.tracks.get(sub.track) else { return };
        let largest = track.largest();
        sub.cursor.update(
            &track.log,
            CursorUpdate {
                range: params.filter.map(|filter| sluice_track::Range::resolve(filter, largest)),
                priority: params.subscriber_priority,
                timeouts: None,
                forward: params
                    .forward
                    .map(|on| if on { sluice_track::Forward::On } else { sluice_track::Forward::Off }),
            },
        );
        sub.forward = params.forward.unwrap_or(sub.forward);
        session.mark_ready(request);
        self.effects.wake(id);
    }

    /// PUBLISH_NAMESPACE: tracks of this namespace can be asked for on that session.
    pub(crate) fn on_publish_namespace(&mut self, call: Call, namespace: &Namespace) {
        let Call { now, session: id, request } = call;
        let limit = self.config.limits.max_namespaces_per_session;
        let Some(session) = self.moq(id) else { return };
        if session.published.len() >= limit {
            self.metrics.limits_hit_total += 1;
            let reason = format!("a session may publish {limit} namespaces");
            return self.refuse(id, request, request_error(RequestCode::ExcessiveLoad, &reason));
        }
        let is_reserved = namespace.fields().first().is_some_and(|f| matches!(f.as_ref(), b"." | b".session"));
        if is_reserved {
            let error = request_error(RequestCode::DoesNotExist, "this namespace is reserved");
            return self.refuse(id, request, error);
        }
        let offer = Offer::Session(id, request);
        let added = self.namespaces.add(namespace, offer.clone(), self.config.homing.publishers);
        if added == Added::Refused {
            let error = request_error(RequestCode::Uninterested, "another publisher has this namespace");
            return self.refuse(id, request, error);
        }
        if let Some(session) = self.moq(id) {
            session.published.insert(request, namespace.clone());
            session.protocol.accept(request, RequestOk::default());
        }
        self.effects.wake(id);
        self.allow_publisher_streams(id);
        if let Added::Replaced(out) = &added {
            self.oust(now, namespace, out);
        }
        self.publisher_up(namespace, &offer, &added);
        self.on_namespace_offered(now, namespace);
    }

    /// Publishers of a namespace that a newer one replaces, with the tracks that they brought in it.
    fn oust(&mut self, now: Instant, namespace: &Namespace, offers: &[Offer]) {
        for offer in offers {
            let Offer::Session(id, request) = offer else { continue };
            let Some(session) = session_of(&mut self.sessions, *id) else { continue };
            session.published.remove(request);
            session.protocol.cancel(*request, ResetCode::Cancelled);
            let brought = |up: &Upstream| match up {
                Upstream::Subscription { track, .. } | Upstream::Fetch { track, .. } => {
                    self.tracks.get(*track).is_some_and(|track| namespace.is_prefix_of(track.name.namespace()))
                }
            };
            let requests: Vec<RequestId> =
                session.up.requests.iter().filter(|(_, up)| brought(up)).map(|(request, _)| *request).collect();
            self.effects.wake(*id);
            for request in requests {
                if let Some(session) = self.moq(*id) {
                    session.protocol.cancel(request, ResetCode::Cancelled);
                }
                self.lose_upstream(now, *id, request);
            }
        }
    }

    /// Somebody new has this namespace: whoever waits, and, among publishers of ours, whoever is served
    /// (draft-18 8.5: "it MUST send a SUBSCRIBE to the publisher ... for each matching subscription").
    pub(crate) fn on_namespace_offered(&mut self, now: Instant, namespace: &Namespace) {
        let concerned = self.tracks.keys_where(|track| {
            let wanted = !track.waiting.is_empty() || !track.readers.is_empty() || track.upkeep.pinned;
            wanted && namespace.is_prefix_of(track.name.namespace())
        });
        for key in concerned {
            self.add_sources(now, key);
        }
    }

    /// Subscribes at places that appeared since.
    fn add_sources(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        match track.state {
            State::Idle | State::Orphaned(_) => self.find_sources(now, key),
            State::Pending(_) | State::Live => {
                let is_local = |c: &crate::route::Candidate| c.route.is_none();
                let publishers: Vec<_> = self.candidates(track).into_iter().filter(is_local).collect();
                for candidate in publishers {
                    self.subscribe_to(key, candidate);
                }
            }
        }
    }

    /// The peer's PUBLISH_NAMESPACE is over. False where the request was none.
    pub(crate) fn withdraw_namespace(&mut self, id: SessionId, request: RequestId) -> bool {
        let Some(namespace) = self.moq(id).and_then(|session| session.published.remove(&request)) else { return false };
        self.publisher_down(&namespace, &Offer::Session(id, request));
        true
    }
}
