//! Further messages on the stream of a request, in both directions, and how requests end.

use super::fault::Fault;
use super::incoming::{PREFIX_OVERLAP, Refusal, UNKNOWN_ALIAS, inspect};
use super::outbox::Lane;
use super::request::{Ending, FetchData, Kind, NamespaceWatch, Request, Role, State, TheirUpdate, Whose};
use super::timers::Timer;
use super::{Event, Session};
use crate::error::{ResetCode, SessionCode};
use crate::message::{
    FetchOk, Message, PublishDone, RequestError, RequestOk, RequestUpdate, SubscribeOk, TrackProperties,
};
use crate::name::{Namespace, TrackName};
use crate::params::Scope;
use crate::transport::Side;
use crate::types::{Location, RequestId};
use std::time::{Duration, Instant};

/// Longest wait for late streams that a delivery timeout, which the peer picks, can ask for.
const MAX_LINGER: Duration = Duration::from_secs(30);

impl Session {
    /// A message on the stream of an open request, other than the peer's first.
    pub(super) fn on_message(&mut self, now: Instant, id: RequestId, message: Message) -> Result<(), Fault> {
        let ours = self.requests.is_ours(id);
        match message {
            Message::Goaway(goaway) => self.on_request_goaway(id, goaway),
            Message::RequestUpdate(update) => self.on_update(id, update),
            Message::RequestOk(ok) => self.on_request_ok(id, ok),
            Message::RequestError(error) => self.on_request_error(id, error),
            Message::PublishDone(done) => self.on_publish_done(now, id, done),
            Message::SubscribeOk(ok) if ours => self.on_subscribe_ok(now, id, ok),
            Message::FetchOk(ok) if ours => self.on_fetch_ok(id, ok),
            Message::Namespace(suffix) if ours => self.on_namespace(id, suffix),
            Message::NamespaceDone(suffix) if ours => self.on_namespace_done(id, suffix),
            Message::PublishBlocked(track) if ours => self.on_publish_blocked(id, track),
            Message::Setup(_)
            | Message::Subscribe(_)
            | Message::SubscribeOk(_)
            | Message::Publish(_)
            | Message::Fetch(_)
            | Message::FetchOk(_)
            | Message::TrackStatus(_)
            | Message::PublishNamespace(_)
            | Message::SubscribeNamespace(_)
            | Message::SubscribeTracks(_)
            | Message::Namespace(_)
            | Message::NamespaceDone(_)
            | Message::PublishBlocked(_) => {
                Err(Fault::violation(format!("{} where it does not belong", message.name())))
            }
        }
    }

    fn on_subscribe_ok(&mut self, now: Instant, request: RequestId, ok: SubscribeOk) -> Result<(), Fault> {
        let Some(open) = self.requests.get_mut(request) else {
            return Ok(());
        };
        // draft-18 5.1: "A publisher MUST send exactly one SUBSCRIBE_OK or REQUEST_ERROR".
        let Kind::Subscribe(subscription) = &mut open.kind else {
            return Err(unexpected("SUBSCRIBE_OK"));
        };
        if open.state != State::Pending {
            return Err(unexpected("SUBSCRIBE_OK"));
        }
        open.state = State::Established;
        match inspect(&ok.properties)? {
            Ok(info) => subscription.note(info.timeouts),
            Err(refusal) => {
                self.give_up(request, refusal);
                return Ok(());
            }
        }
        subscription.alias = Some(ok.alias);
        let alias = ok.alias;
        self.bind_alias(alias, request)?;
        self.events.push_back(Event::SubscribeOk { request, ok });
        self.release_data(now, Some(alias))
    }

    /// draft-18 2.5.1: a track that must not be processed "MUST cancel" its subscription or fetch.
    fn give_up(&mut self, request: RequestId, refusal: Refusal) {
        self.cancel(request, ResetCode::Cancelled);
        self.events.push_back(Event::Error { request, error: refusal.into() });
    }

    fn on_fetch_ok(&mut self, request: RequestId, ok: FetchOk) -> Result<(), Fault> {
        let Some(open) = self.requests.get_mut(request) else {
            return Ok(());
        };
        let Kind::Fetch(fetch) = &open.kind else {
            return Err(unexpected("FETCH_OK"));
        };
        if open.state != State::Pending {
            return Err(unexpected("FETCH_OK"));
        }
        // draft-18 9.13: "If End Location is smaller than the Start Location in the corresponding FETCH the receiver MUST
        // close the session with a `PROTOCOL_VIOLATION`."
        if fetch.start.is_some_and(|start| last_of(ok.end) < start) {
            return Err(Fault::violation("FETCH_OK ends before the start of its FETCH"));
        }
        open.state = State::Established;
        let ended = fetch.data == FetchData::Ended;
        if let Err(refusal) = inspect(&ok.properties)? {
            self.give_up(request, refusal);
            return Ok(());
        }
        self.events.push_back(Event::FetchOk { request, ok });
        if ended {
            self.finish(request);
        }
        Ok(())
    }

    fn on_request_ok(&mut self, request: RequestId, ok: RequestOk) -> Result<(), Fault> {
        let ours = self.requests.is_ours(request);
        let Some(open) = self.requests.get_mut(request) else {
            return Ok(());
        };
        if !ours || open.state != State::Pending {
            return self.on_update_ok(request, ok);
        }
        let scope = match &open.kind {
            Kind::Publish(_) => Scope::PublishOk,
            Kind::TrackStatus => Scope::TrackStatusOk,
            Kind::PublishNamespace | Kind::SubscribeNamespace(_) | Kind::SubscribeTracks(_) => Scope::NamespaceOk,
            Kind::Subscribe(_) | Kind::Fetch(_) => return Err(unexpected("REQUEST_OK")),
        };
        if scope != Scope::TrackStatusOk {
            forbid_properties(&ok.properties)?;
        }
        ok.params.check(self.config.draft, scope)?;
        open.state = State::Established;
        let once = matches!(open.kind, Kind::TrackStatus);
        self.events.push_back(Event::Ok { request, ok });
        if once {
            self.finish(request);
        } else {
            self.release_updates(request);
        }
        Ok(())
    }

    fn on_update_ok(&mut self, request: RequestId, ok: RequestOk) -> Result<(), Fault> {
        forbid_properties(&ok.properties)?;
        ok.params.check(self.config.draft, Scope::UpdateOk)?;
        let Some((update, prefix)) = self.requests.get_mut(request).and_then(|open| open.updates.ours.pop_front())
        else {
            return Err(unexpected("REQUEST_OK"));
        };
        if let Some(prefix) = prefix
            && let Some(current) = self.requests.get_mut(request).and_then(|open| open.kind.prefix_mut())
        {
            *current = prefix;
        }
        self.events.push_back(Event::UpdateOk { request, update, ok });
        Ok(())
    }

    fn on_request_error(&mut self, request: RequestId, error: RequestError) -> Result<(), Fault> {
        let ours = self.requests.is_ours(request);
        let Some(open) = self.requests.get_mut(request) else {
            return Ok(());
        };
        if let Some(redirect) = &error.redirect {
            let names_only = open.kind.prefix().is_some() || matches!(open.kind, Kind::PublishNamespace);
            // draft-18 9.6.1: "If a server receives a Redirect with a non-zero Connect URI Length", and "a non-empty
            // Track Name in a Redirect for a namespace-scoped request".
            if self.config.side == Side::Server && !redirect.uri.is_empty() {
                return Err(Fault::violation("a client's redirect has a URI"));
            }
            if names_only && !redirect.name.is_empty() {
                return Err(Fault::violation("a redirect of a namespace request has a track name"));
            }
        }
        if ours && open.state == State::Pending {
            self.events.push_back(Event::Error { request, error });
            self.finish(request);
            return Ok(());
        }
        let Some((update, _)) = open.updates.ours.pop_front() else {
            return Err(unexpected("REQUEST_ERROR"));
        };
        self.events.push_back(Event::UpdateError { request, update, error });
        Ok(())
    }

    fn on_publish_done(&mut self, now: Instant, request: RequestId, done: PublishDone) -> Result<(), Fault> {
        let ours = self.requests.is_ours(request);
        let linger = self.config.limits.done_linger;
        let Some(open) = self.requests.get_mut(request) else {
            return Ok(());
        };
        let subscription = match (&mut open.kind, ours, open.state) {
            (Kind::Subscribe(subscription), true, State::Established)
            | (Kind::Publish(subscription), false, State::Pending | State::Established) => subscription,
            (
                Kind::Subscribe(_)
                | Kind::Publish(_)
                | Kind::Fetch(_)
                | Kind::TrackStatus
                | Kind::PublishNamespace
                | Kind::SubscribeNamespace(_)
                | Kind::SubscribeTracks(_),
                _,
                _,
            ) => return Err(unexpected("PUBLISH_DONE")),
        };
        open.state = State::Done;
        // draft-18 9.11: "SHOULD set a timer of at least the larger of SUBGROUP_DELIVERY_TIMEOUT or
        // OBJECT_DELIVERY_TIMEOUT in case some objects are still inbound".
        let deadline = now + linger.max(subscription.delivery_timeout.min(MAX_LINGER));
        subscription.done = Some(Ending { done, deadline: Some(deadline) });
        let stream = open.stream;
        self.timers.set(deadline, Timer::Done(request));
        self.out.finish(Lane::Request(request));
        if let Some(stream) = stream {
            self.streams.unbind(stream);
        }
        self.check_done(request);
        Ok(())
    }

    /// Reports PUBLISH_DONE once nothing can follow it.
    pub(super) fn check_done(&mut self, request: RequestId) {
        let over = self
            .requests
            .get_mut(request)
            .and_then(Request::subscription)
            .is_some_and(|subscription| subscription.is_over());
        if !over {
            return;
        }
        let ending = self.end(request).and_then(|mut open| open.subscription()?.done.take());
        if let Some(Ending { done, .. }) = ending {
            self.events.push_back(Event::PublishDone { request, done });
        }
    }

    pub(super) fn on_done_timeout(&mut self, request: RequestId) {
        if let Some(ending) = self
            .requests
            .get_mut(request)
            .and_then(Request::subscription)
            .and_then(|subscription| subscription.done.as_mut())
        {
            ending.deadline = None;
            self.check_done(request);
        }
    }

    fn on_namespace(&mut self, request: RequestId, suffix: Namespace) -> Result<(), Fault> {
        let limit = self.config.limits.namespaces;
        let watch = self.watch(request, "NAMESPACE")?;
        let full = watch.full(&suffix)?;
        watch.active.insert(full);
        if watch.active.len() > limit {
            self.cancel(request, ResetCode::ExcessiveLoad);
            self.events.push_back(Event::Cancelled { request, code: ResetCode::ExcessiveLoad });
            return Ok(());
        }
        self.events.push_back(Event::Namespace { request, suffix });
        Ok(())
    }

    /// draft-18 9.18: "If a subscriber receives a NAMESPACE_DONE before the corresponding NAMESPACE, it MUST close the
    /// session with a 'PROTOCOL_VIOLATION'."
    fn on_namespace_done(&mut self, request: RequestId, suffix: Namespace) -> Result<(), Fault> {
        let watch = self.watch(request, "NAMESPACE_DONE")?;
        let full = watch.full(&suffix)?;
        if !watch.active.remove(&full) {
            return Err(Fault::violation("NAMESPACE_DONE before its NAMESPACE"));
        }
        self.events.push_back(Event::NamespaceDone { request, suffix });
        Ok(())
    }

    /// The established SUBSCRIBE_NAMESPACE that an announcement belongs to.
    fn watch(&mut self, request: RequestId, message: &'static str) -> Result<&mut NamespaceWatch, Fault> {
        match self.requests.get_mut(request) {
            Some(Request { kind: Kind::SubscribeNamespace(watch), state: State::Established, .. }) => Ok(watch),
            Some(_) | None => Err(unexpected(message)),
        }
    }

    fn on_publish_blocked(&mut self, request: RequestId, track: TrackName) -> Result<(), Fault> {
        match self.requests.get(request) {
            Some(Request { kind: Kind::SubscribeTracks(_), state: State::Established, .. }) => {
                self.events.push_back(Event::PublishBlocked { request, track });
                Ok(())
            }
            Some(_) | None => Err(unexpected("PUBLISH_BLOCKED")),
        }
    }

    /// draft-18 9.9: the sender of a request updates it; so does the subscriber of a subscription made by PUBLISH.
    fn on_update(&mut self, request: RequestId, update: RequestUpdate) -> Result<(), Fault> {
        let ours = self.requests.is_ours(request);
        let Some(open) = self.requests.get(request) else {
            return Ok(());
        };
        if ours && !matches!(open.kind, Kind::Publish(_)) {
            return Err(unexpected("REQUEST_UPDATE"));
        }
        let scope = match &open.kind {
            Kind::TrackStatus => return Err(unexpected("REQUEST_UPDATE")),
            Kind::Subscribe(_) | Kind::Publish(_) => Scope::UpdateSubscription,
            Kind::Fetch(_) => Scope::UpdateFetch,
            Kind::PublishNamespace => Scope::UpdatePublishNamespace,
            Kind::SubscribeNamespace(_) | Kind::SubscribeTracks(_) => Scope::UpdatePrefix,
        };
        update.params.check(self.config.draft, scope)?;
        self.take_id(update.request_id)?;
        let tokens = self.resolve(&update.params.tokens)?;
        let prefix = update.params.extra.as_ref().and_then(|extra| extra.namespace_prefix.clone());
        let overlap = self
            .requests
            .get(request)
            .and_then(|open| open.kind.prefix())
            .zip(prefix.as_ref())
            .is_some_and(|((kind, _), prefix)| self.requests.overlaps(kind, Whose::Theirs, prefix, Some(request)));
        let limit = self.config.limits.open_updates;
        let id = update.request_id;
        let Some(open) = self.requests.get_mut(request) else {
            return Ok(());
        };
        if open.updates.theirs.len() >= limit {
            return Err(Fault::new(SessionCode::InternalError, "too many unanswered updates of one request"));
        }
        open.updates.theirs.push_back(TheirUpdate { id, prefix, answer: None });
        match tokens {
            Err(_) => {
                let serving = self.serves(request);
                self.reject_update(request, id, UNKNOWN_ALIAS.into());
                if serving {
                    self.events.push_back(Event::UpdateRefused { request });
                }
            }
            Ok(_) if overlap => self.reject_update(request, id, PREFIX_OVERLAP.into()),
            Ok(tokens) => {
                open.updates.early.push((update, tokens));
                self.release_updates(request);
            }
        }
        Ok(())
    }

    /// Whether objects flow from us to the peer for this request.
    fn serves(&self, request: RequestId) -> bool {
        self.requests.get(request).is_some_and(|open| match open.kind {
            Kind::Fetch(_) => !self.requests.is_ours(request),
            Kind::Subscribe(_)
            | Kind::Publish(_)
            | Kind::TrackStatus
            | Kind::PublishNamespace
            | Kind::SubscribeNamespace(_)
            | Kind::SubscribeTracks(_) => self.requests.role(request, &open.kind) == Some(Role::Publisher),
        })
    }

    /// Reports updates once their request is answered.
    pub(super) fn release_updates(&mut self, request: RequestId) {
        let Some(open) = self.requests.get_mut(request) else {
            return;
        };
        if open.state == State::Pending {
            return;
        }
        for (update, tokens) in open.updates.early.drain(..) {
            let RequestUpdate { request_id, params } = update;
            self.events.push_back(Event::Update { request, update: request_id, params, tokens });
        }
    }
}

/// The last location that an end location of FETCH or FETCH_OK includes, or one above: object 0 means the whole group.
fn last_of(end: Location) -> Location {
    if end.object == 0 { Location::new(end.group, u64::MAX) } else { Location::new(end.group, end.object - 1) }
}

/// draft-18 9.5: track properties "are empty in PUBLISH_OK, REQUEST_UPDATE_OK, SUBSCRIBE_NAMESPACE_OK and
/// PUBLISH_NAMESPACE_OK. If an endpoint receives Track Properties in one of these messages it MUST close the session
/// with a `PROTOCOL_VIOLATION`."
fn forbid_properties(properties: &TrackProperties) -> Result<(), Fault> {
    if properties.0.is_empty() { Ok(()) } else { Err(Fault::violation("REQUEST_OK has track properties")) }
}

fn unexpected(message: &'static str) -> Fault {
    Fault::violation(format!("{message} answers nothing on its stream"))
}
