//! From what a session reports to what the node does.

use crate::node::Node;
use crate::session::{Call, Doomed, Kind};
use sluice_moqt::error::{DoneCode, ResetCode};
use sluice_moqt::session::Event;
use sluice_moqt::transport::{SessionId, StreamEvent, StreamId};
use sluice_moqt::{RequestId, message};
use std::time::Instant;

impl Node {
    /// A stream event of a MoQ session.
    pub(crate) fn on_moq_stream(&mut self, now: Instant, id: SessionId, stream: StreamId, event: StreamEvent) {
        let Some(session) = self.moq(id) else { return };
        match &event {
            StreamEvent::Writable => {
                session.mark_all_ready();
                self.effects.wake(id);
            }
            StreamEvent::Stopped { .. } => {
                session.down.subs.values_mut().for_each(|sub| sub.cursor.handle_stopped(stream));
                session.down.fetches.values_mut().for_each(|job| job.reader.handle_stopped(stream));
                session.mark_all_ready();
                self.effects.wake(id);
            }
            StreamEvent::Acked => {
                session.down.subs.values_mut().for_each(|sub| sub.cursor.handle_stream_closed(stream));
            }
            StreamEvent::Data { .. } | StreamEvent::Reset { .. } => {}
        }
        let Some(session) = self.moq(id) else { return };
        session.protocol.handle_stream(now, stream, event);
        self.pump(now, id);
    }

    /// Carries out everything that a session has to report.
    pub(crate) fn pump(&mut self, now: Instant, id: SessionId) {
        while let Some(event) = self.moq(id).and_then(|session| session.protocol.poll_event()) {
            self.on_event(now, id, event);
        }
        if self.moq(id).is_some_and(|session| session.protocol.wants_transmit()) {
            self.effects.wake(id);
        }
        self.arm_session(id);
    }

    pub(crate) fn on_event(&mut self, now: Instant, id: SessionId, event: Event) {
        match event {
            Event::Subgroup { .. }
            | Event::FetchStream { .. }
            | Event::Object { .. }
            | Event::FetchObject { .. }
            | Event::Payload { .. }
            | Event::RangeEnd { .. }
            | Event::StreamEnd { .. }
            | Event::Datagram { .. } => self.on_data(now, id, event),
            Event::Subscribe { .. }
            | Event::TrackStatus { .. }
            | Event::Fetch { .. }
            | Event::Publish { .. }
            | Event::PublishNamespace { .. }
            | Event::SubscribeNamespace { .. }
            | Event::SubscribeTracks { .. } => {
                self.metrics.requests_total += 1;
                self.on_request(now, id, event);
            }
            Event::Update { request, update, params, .. } => {
                self.on_update(Call { now, session: id, request }, update, &params);
            }
            Event::SubscribeOk { .. }
            | Event::FetchOk { .. }
            | Event::Ok { .. }
            | Event::Error { .. }
            | Event::UpdateOk { .. }
            | Event::UpdateError { .. }
            | Event::PublishDone { .. } => self.on_answer(now, id, event),
            Event::UpdateRefused { request } => {
                self.finish_reader(id, request, DoneCode::UpdateFailed, "the update was refused");
                self.forget_reader(now, id, request);
            }
            Event::Cancelled { request, .. } => self.on_cancelled(now, id, request),
            Event::Closed { code, reason } => {
                self.metrics.sessions_violated_total += 1;
                self.close(id, code, reason);
            }
            // A relay asks no peer for namespaces or tracks over MoQ; it learns of them over control connections.
            Event::Namespace { .. } | Event::NamespaceDone { .. } | Event::PublishBlocked { .. } => {}
            Event::Ready(_) => {}
            Event::Goaway(_) => self.on_peer_goaway(now, id),
            Event::RequestGoaway { request, .. } => self.on_request_goaway(now, id, request),
        }
    }

    /// A request of the peer's: held for a verdict where verdicts are asked for.
    fn on_request(&mut self, now: Instant, id: SessionId, event: Event) {
        let is_user = self.moq(id).is_some_and(|session| session.kind == Kind::User);
        if self.config.authorize && is_user {
            self.auth.hold(now, id, event);
            self.arm_session(id);
        } else {
            self.on_allowed(now, id, event);
        }
    }

    /// A request that may go on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller passes requests only")]
    pub(crate) fn on_allowed(&mut self, now: Instant, session: SessionId, event: Event) {
        let call = |request| Call { now, session, request };
        match event {
            Event::Subscribe { request, track, params, .. } => self.on_subscribe(call(request), &track, params),
            Event::TrackStatus { request, track, params, .. } => self.on_track_status(call(request), &track, &params),
            Event::Fetch { request, kind, params, .. } => self.on_fetch(call(request), kind, params),
            Event::Publish { request, track, params, properties, .. } => {
                self.on_publish(call(request), &track, &params, properties);
            }
            Event::PublishNamespace { request, namespace, .. } => self.on_publish_namespace(call(request), &namespace),
            Event::SubscribeNamespace { request, namespace, .. } => {
                self.on_subscribe_namespace(call(request), &namespace);
            }
            Event::SubscribeTracks { request, namespace, params, .. } => {
                self.on_subscribe_tracks(call(request), namespace, &params);
            }
            other => debug_assert!(false, "{other:?} is no request"),
        }
    }

    /// A request ended without a message.
    fn on_cancelled(&mut self, now: Instant, id: SessionId, request: RequestId) {
        self.auth.forget(id, request);
        if self.end_downstream(now, id, request) {
            return;
        }
        if self.lose_upstream(now, id, request) {
            return;
        }
        if self.withdraw_namespace(id, request) {
            return;
        }
        self.end_watch(id, request);
    }

    /// A reader that ended without its track knowing.
    fn forget_reader(&mut self, now: Instant, id: SessionId, request: RequestId) {
        let keys =
            self.tracks.keys_where(|track| track.readers.iter().any(|r| r.session == id && r.request == request));
        for key in keys {
            self.remove_reader(now, key, id, request);
        }
    }

    /// The peer no longer reads this request: whatever we served of it ends. False where it was none of those.
    pub(crate) fn end_downstream(&mut self, now: Instant, id: SessionId, request: RequestId) -> bool {
        self.refuse_held_joins(id, request);
        let Some(session) = self.moq(id) else { return false };
        session.down.joins.retain(|join| join.request != request);
        if let Some(sub) = session.down.subs.remove(&request) {
            session.down.doomed.push(Doomed::Sub(Box::new(sub.cursor), ResetCode::Cancelled));
            self.effects.wake(id);
            self.remove_reader(now, sub.track, id, request);
            return true;
        }
        if let Some(job) = session.down.fetches.remove(&request) {
            session.down.doomed.push(Doomed::Fetch(Box::new(job.reader), ResetCode::Cancelled));
            self.effects.wake(id);
            self.remove_reader(now, job.track, id, request);
            return true;
        }
        self.drop_waiting(now, id, request)
    }

    /// Answers a request of the peer's with an error.
    pub(crate) fn refuse(&mut self, id: SessionId, request: RequestId, error: message::RequestError) {
        self.metrics.requests_refused_total += 1;
        if let Some(session) = self.moq(id) {
            session.protocol.reject(request, error);
            self.effects.wake(id);
        }
    }
}
