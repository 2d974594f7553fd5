//! Our answers to the peer's requests.

use super::Session;
use super::outbox::Lane;
use super::request::{FetchData, Kind, Request, Role, State};
use crate::error::{RequestCode, ResetCode};
use crate::message::{FetchOk, Message, PublishDone, RequestError, RequestOk, SubscribeOk};
use crate::name::{Namespace, TrackName};
use crate::types::RequestId;

use super::Event;

impl Session {
    /// Accepts the peer's SUBSCRIBE.
    pub fn accept_subscribe(&mut self, request: RequestId, ok: SubscribeOk) {
        if self.pending(request, |kind| matches!(kind, Kind::Subscribe(_))) {
            self.establish(request, &Message::SubscribeOk(ok));
        }
    }

    /// Accepts the peer's FETCH.
    pub fn accept_fetch(&mut self, request: RequestId, ok: FetchOk) {
        if !self.pending(request, |kind| matches!(kind, Kind::Fetch(_))) {
            return;
        }
        self.establish(request, &Message::FetchOk(ok));
        if let Some(Kind::Fetch(fetch)) = self.requests.get(request).map(|open| &open.kind)
            && fetch.data == FetchData::Ended
        {
            self.finish(request);
        }
    }

    /// The data stream of the peer's FETCH was finished or reset; the request ends once it is answered.
    pub fn fetch_done(&mut self, request: RequestId) {
        if self.requests.is_ours(request) {
            return;
        }
        let Some(Request { kind: Kind::Fetch(fetch), state, .. }) = self.requests.get_mut(request) else {
            return;
        };
        fetch.data = FetchData::Ended;
        if *state != State::Pending {
            self.finish(request);
        }
    }

    /// Accepts the peer's PUBLISH, TRACK_STATUS or namespace request. Accepting a PUBLISH ends our own SUBSCRIBE for
    /// that track that it crossed, which is reported as [`Event::Cancelled`].
    pub fn accept(&mut self, request: RequestId, ok: RequestOk) {
        if !self.pending(request, |kind| !matches!(kind, Kind::Subscribe(_) | Kind::Fetch(_))) {
            return;
        }
        let kind = self.requests.get(request).map(|open| &open.kind);
        let once = matches!(kind, Some(Kind::TrackStatus));
        self.end_crossed_subscribe(request);
        self.note_timeouts(request, ok.params.timeouts);
        self.establish(request, &Message::RequestOk(ok));
        if once {
            self.finish(request);
        }
    }

    /// draft-18 5.1: the subscriber "MUST ensure the subscription it initiated transitions to the `Terminated` state
    /// before sending PUBLISH_OK".
    fn end_crossed_subscribe(&mut self, publish: RequestId) {
        let Some(Kind::Publish(subscription)) = self.requests.get(publish).map(|open| &open.kind) else {
            return;
        };
        let crossed: Vec<RequestId> = self
            .requests
            .subscriptions(Role::Subscriber, &subscription.track)
            .iter()
            .copied()
            .filter(|id| *id != publish)
            .collect();
        for id in crossed {
            self.cancel(id, ResetCode::Cancelled);
            self.events.push_back(Event::Cancelled { request: id, code: ResetCode::Cancelled });
        }
    }

    /// Rejects any request of the peer's.
    pub fn reject(&mut self, request: RequestId, error: RequestError) {
        if self.pending(request, |_| true) {
            self.send(Lane::Request(request), &Message::RequestError(error));
            self.finish(request);
        }
    }

    /// Accepts an update; answers leave in the order of the updates whatever the order of these calls.
    pub fn accept_update(&mut self, request: RequestId, update: RequestId, ok: RequestOk) {
        self.answer_update(request, update, Message::RequestOk(ok));
    }

    /// Rejects an update. Namespace requests end with it; a subscription that we serve must then be ended by
    /// [`Session::publish_done`] with `UpdateFailed`, a fetch by resetting its data stream (draft-18 9.9.1).
    pub fn reject_update(&mut self, request: RequestId, update: RequestId, error: RequestError) {
        self.answer_update(request, update, Message::RequestError(error));
    }

    fn answer_update(&mut self, request: RequestId, update: RequestId, answer: Message) {
        if let Some(open) = self.requests.get_mut(request)
            && let Some(waiting) = open.updates.theirs.iter_mut().find(|waiting| waiting.id == update)
            && waiting.answer.is_none()
        {
            waiting.answer = Some(answer);
            self.flush_updates(request);
        }
    }

    /// Sends the answers that wait for no earlier one.
    fn flush_updates(&mut self, request: RequestId) {
        while let Some(open) = self.requests.get_mut(request)
            && open.state == State::Established
            && let Some(first) = open.updates.theirs.pop_front_if(|first| first.answer.is_some())
            && let Some(answer) = first.answer
        {
            let failed = matches!(answer, Message::RequestError(_));
            if let (false, Some(prefix), Some(current)) = (failed, first.prefix, open.kind.prefix_mut()) {
                *current = prefix;
            }
            let namespaces = open.kind.prefix().is_some() || matches!(open.kind, Kind::PublishNamespace);
            self.send(Lane::Request(request), &answer);
            // draft-18 9.9.1: "When a REQUEST_UPDATE fails for a SUBSCRIBE_NAMESPACE or PUBLISH_NAMESPACE, the responder
            // MUST close the bidi stream."
            if failed && namespaces {
                self.finish(request);
                self.events.push_back(Event::Cancelled { request, code: ResetCode::Cancelled });
            }
        }
    }

    /// Ends a subscription that we serve, after all its data streams were finished or reset.
    pub fn publish_done(&mut self, request: RequestId, done: PublishDone) {
        let Some(open) = self.requests.get(request) else {
            return;
        };
        let ours = self.requests.is_ours(request);
        let publishing = self.requests.role(request, &open.kind) == Some(Role::Publisher);
        // A SUBSCRIBE must be answered first; a PUBLISH of ours may end before its answer.
        if publishing && (ours || open.state == State::Established) {
            self.send(Lane::Request(request), &Message::PublishDone(done));
            self.finish(request);
        }
    }

    /// Tells the peer's SUBSCRIBE_NAMESPACE that a namespace exists.
    pub fn namespace(&mut self, request: RequestId, suffix: Namespace) {
        let Some(Request { kind: Kind::SubscribeNamespace(watch), state: State::Established, .. }) =
            self.requests.get_mut(request)
        else {
            return;
        };
        if watch.full(&suffix).is_ok_and(|full| watch.active.insert(full)) {
            self.send(Lane::Request(request), &Message::Namespace(suffix));
        }
    }

    /// Tells the peer's SUBSCRIBE_NAMESPACE that a namespace is gone; ignored where it was not told that it exists
    /// (draft-18 9.18: "MUST NOT send NAMESPACE_DONE for a namespace suffix before the corresponding NAMESPACE").
    pub fn namespace_done(&mut self, request: RequestId, suffix: Namespace) {
        let Some(Request { kind: Kind::SubscribeNamespace(watch), state: State::Established, .. }) =
            self.requests.get_mut(request)
        else {
            return;
        };
        if watch.full(&suffix).is_ok_and(|full| watch.active.remove(&full)) {
            self.send(Lane::Request(request), &Message::NamespaceDone(suffix));
        }
    }

    /// Tells the peer's SUBSCRIBE_TRACKS that a track exists for which no PUBLISH can be sent; the name's namespace is
    /// what follows the prefix.
    pub fn publish_blocked(&mut self, request: RequestId, track: TrackName) {
        if let Some(Request { kind: Kind::SubscribeTracks(_), state: State::Established, .. }) =
            self.requests.get(request)
        {
            self.send(Lane::Request(request), &Message::PublishBlocked(track));
        }
    }

    /// Whether the peer made this request, it is of a kind, and has no answer.
    fn pending(&self, request: RequestId, kind: impl FnOnce(&Kind) -> bool) -> bool {
        !self.requests.is_ours(request)
            && self.requests.get(request).is_some_and(|open| open.state == State::Pending && kind(&open.kind))
    }

    /// Sends the positive answer; one that does not fit into a message becomes an error.
    fn establish(&mut self, request: RequestId, answer: &Message) {
        match self.encode(answer) {
            Ok(bytes) => self.push(Lane::Request(request), bytes),
            Err(error) => {
                let error = RequestError {
                    code: RequestCode::InternalError,
                    retry: None,
                    reason: error.to_string(),
                    redirect: None,
                };
                self.reject(request, error);
                self.events.push_back(Event::Cancelled { request, code: ResetCode::InternalError });
                return;
            }
        }
        if let Some(open) = self.requests.get_mut(request) {
            open.state = State::Established;
        }
        self.flush_updates(request);
        self.release_updates(request);
    }

    fn note_timeouts(&mut self, request: RequestId, timeouts: crate::message::Timeouts) {
        if let Some(subscription) = self.requests.get_mut(request).and_then(Request::subscription) {
            subscription.note(timeouts);
        }
    }
}
