//! How requests end without a message of their own (draft-18 3.3.1).

use super::outbox::Lane;
use super::request::{FetchData, Kind, Request, State};
use super::timers::Timer;
use super::{Event, Session};
use crate::error::ResetCode;
use crate::transport::StreamId;
use crate::types::RequestId;

impl Session {
    /// Removes a request with everything that hangs on it, except for its lane.
    pub(super) fn end(&mut self, id: RequestId) -> Option<Request> {
        let mut open = self.requests.remove(id)?;
        self.forget_join(id);
        if let Some(stream) = open.stream {
            self.streams.unbind(stream);
        }
        self.streams.recount(open.partial, 0);
        if let Some(deadline) = open.goaway.deadline {
            self.timers.clear(deadline, Timer::RequestGoaway(id));
        }
        if let Kind::Fetch(fetch) = &open.kind
            && let FetchData::Open(stream) = fetch.data
        {
            self.discard_data(stream, ResetCode::Cancelled);
        }
        if let Some(subscription) = open.subscription() {
            for stream in std::mem::take(&mut subscription.streams) {
                self.discard_data(stream, ResetCode::Cancelled);
            }
            if let Some(deadline) = subscription.done.as_ref().and_then(|ending| ending.deadline) {
                self.timers.clear(deadline, Timer::Done(id));
            }
            if let Some(alias) = subscription.alias {
                self.retire_alias(alias, id);
            }
        }
        Some(open)
    }

    /// Ends a request in good order: FIN after what is queued.
    pub(super) fn finish(&mut self, id: RequestId) {
        self.end(id);
        self.out.finish(Lane::Request(id));
    }

    /// The peer reset its half, or stopped ours.
    pub(super) fn on_cancelled(&mut self, id: RequestId, code: u64) {
        if self.requests.get(id).is_none_or(|open| open.state == State::Done) {
            return;
        }
        let unheard = self.forget_join(id);
        let stream = self.end(id).and_then(|open| open.stream);
        // draft-18 5.2: "It MUST reset the bidi request stream".
        self.out.abort(Lane::Request(id), stream, ResetCode::Cancelled.code());
        if !unheard {
            self.events.push_back(Event::Cancelled { request: id, code: ResetCode::from_code(code) });
        }
    }

    /// The peer stopped our half of a request's stream. For what the peer sends on, that alone says only that it reads
    /// no updates; what it receives ends with it.
    pub(super) fn on_request_stopped(&mut self, stream: StreamId, id: RequestId, code: u64) {
        let receives = match self.requests.get(id).map(|open| &open.kind) {
            Some(Kind::Publish(_) | Kind::PublishNamespace) => true,
            Some(
                Kind::Subscribe(_)
                | Kind::Fetch(_)
                | Kind::TrackStatus
                | Kind::SubscribeNamespace(_)
                | Kind::SubscribeTracks(_),
            ) => !self.requests.is_ours(id),
            None => return,
        };
        if receives {
            self.on_cancelled(id, code);
        } else {
            self.out.remove(Lane::Request(id));
            self.out.reset(stream, code);
        }
    }

    /// The peer finished its half between two messages. A FIN withdraws namespace requests (draft-18 6.1), ends an
    /// offer that had no PUBLISH_DONE, and leaves a request of ours without its answer or without its source; a
    /// subscriber that finishes only says that it will send no updates.
    pub(super) fn on_request_fin(&mut self, id: RequestId) {
        let ours = self.requests.is_ours(id);
        let Some(open) = self.requests.get(id) else {
            return;
        };
        let over = match (&open.kind, ours, open.state) {
            (_, _, State::Done) => false,
            (_, true, State::Pending) => true,
            (Kind::Subscribe(_), ours, _) => ours,
            (Kind::SubscribeNamespace(_) | Kind::SubscribeTracks(_), _, _) => true,
            (Kind::Publish(_) | Kind::PublishNamespace, ours, _) => !ours,
            (Kind::Fetch(_) | Kind::TrackStatus, _, _) => false,
        };
        if over {
            self.finish(id);
            self.events.push_back(Event::Cancelled { request: id, code: ResetCode::Cancelled });
        }
    }
}
