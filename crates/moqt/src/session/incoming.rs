//! Requests that the peer makes: what the session decides itself before its owner hears of them.

use super::fault::Fault;
use super::outbox::Lane;
use super::request::{FetchState, Kind, NamespaceWatch, PrefixKind, Request, Role, State, Subscription, Whose};
use super::timers::Timer;
use super::tokens::Resolved;
use super::{Event, ResolvedToken, Session};
use crate::error::{RequestCode, SessionCode};
use crate::message::{
    Fetch, FetchKind, Message, NamespaceRequest, Publish, RequestError, Subscribe, Token, TrackProperties,
};
use crate::name::Namespace;
use crate::properties::TrackInfo;
use crate::transport::StreamId;
use crate::types::RequestId;
use std::time::{Duration, Instant};

/// What becomes of a request.
enum Verdict {
    /// It is the owner's to answer.
    Admit(Kind, Event),
    /// It waits for the SUBSCRIBE that it overtook.
    Defer(Kind, EarlyJoin),
    /// The session rejects it.
    Refuse(Refusal),
}

/// A rejection by the session itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    code: RequestCode,
    retry: Option<Duration>,
    reason: &'static str,
}

impl Refusal {
    const fn new(code: RequestCode, reason: &'static str) -> Self {
        Self { code, retry: None, reason }
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, retry: refusal.retry, reason: refusal.reason.to_owned(), redirect: None }
    }
}

/// draft-18 9.2.2: "MUST reject the message with `UNKNOWN_AUTH_TOKEN_ALIAS`", a code that exists for sessions only;
/// its number is used.
pub(super) const UNKNOWN_ALIAS: Refusal = Refusal::new(
    RequestCode::Unknown(SessionCode::UnknownAuthTokenAlias.code()),
    "authorization token alias is not registered",
);
pub(super) const PREFIX_OVERLAP: Refusal =
    Refusal::new(RequestCode::PrefixOverlap, "the prefix overlaps another one on this session");
const NO_SUBSCRIPTION: Refusal =
    Refusal::new(RequestCode::InvalidJoiningRequestId, "the joining request id names no subscription");
const RESERVED: Refusal = Refusal::new(RequestCode::DoesNotExist, "the namespace is reserved");
const DUPLICATE: Refusal = Refusal::new(RequestCode::DuplicateSubscription, "the track is subscribed on this session");

/// A joining fetch that overtook its SUBSCRIBE.
#[derive(Debug)]
pub(super) struct EarlyJoin {
    joining: RequestId,
    fetch: RequestId,
    event: Event,
    deadline: Option<Instant>,
}

impl Session {
    /// The first message of a stream of the peer's; returns its id where the request stays open.
    pub(super) fn on_first_message(
        &mut self,
        now: Instant,
        stream: StreamId,
        message: Message,
    ) -> Result<Option<RequestId>, Fault> {
        let (id, tokens) = identify(&message)?;
        self.take_id(id)?;
        let tokens = self.resolve(tokens)?;
        self.out.adopt(Lane::Request(id), stream);
        let (kind, event) = match self.judge(message, tokens)? {
            Verdict::Admit(kind, event) => (kind, Some(event)),
            Verdict::Defer(kind, early) => {
                self.defer(now, early);
                (kind, None)
            }
            Verdict::Refuse(refusal) => {
                self.refuse(id, refusal);
                self.release_joins(id);
                return Ok(None);
            }
        };
        self.streams.bind(stream, id);
        self.requests.insert(id, Request::new(kind, Some(stream)));
        self.events.extend(event);
        self.release_joins(id);
        self.bind_publish_alias(now, id)?;
        Ok(Some(id))
    }

    /// draft-18 9.1: "an incorrect least significant bit for the sender, or a duplicate Request ID".
    pub(super) fn take_id(&mut self, id: RequestId) -> Result<(), Fault> {
        if self.requests.take_theirs(id) {
            return Ok(());
        }
        Err(Fault::new(SessionCode::InvalidRequestId, format!("request id {} has the wrong parity or was used", id.0)))
    }

    pub(super) fn resolve(&mut self, tokens: &[Token]) -> Result<Resolved, Fault> {
        if tokens.is_empty() { Ok(Ok(Vec::new())) } else { self.tokens.resolve(tokens) }
    }

    fn judge(&self, message: Message, tokens: Resolved) -> Result<Verdict, Fault> {
        if let Some(refusal) = self.refuses_all() {
            return Ok(Verdict::Refuse(refusal));
        }
        let Ok(tokens) = tokens else {
            return Ok(Verdict::Refuse(UNKNOWN_ALIAS));
        };
        Ok(match message {
            Message::Subscribe(subscribe) => self.judge_subscribe(subscribe, tokens),
            Message::TrackStatus(status) => judge_track_status(status, tokens),
            Message::Publish(publish) => self.judge_publish(publish, tokens)?,
            Message::Fetch(fetch) => self.judge_fetch(fetch, tokens),
            Message::PublishNamespace(request) => judge_publish_namespace(request, tokens),
            Message::SubscribeNamespace(request) => self.judge_prefix(PrefixKind::Namespaces, request, tokens),
            Message::SubscribeTracks(request) => self.judge_prefix(PrefixKind::Tracks, request, tokens),
            Message::Setup(_)
            | Message::Goaway(_)
            | Message::SubscribeOk(_)
            | Message::RequestUpdate(_)
            | Message::PublishDone(_)
            | Message::FetchOk(_)
            | Message::Namespace(_)
            | Message::NamespaceDone(_)
            | Message::PublishBlocked(_)
            | Message::RequestOk(_)
            | Message::RequestError(_) => return Err(Fault::violation("not a request")),
        })
    }

    /// Refusals that do not depend on the request.
    fn refuses_all(&self) -> Option<Refusal> {
        // draft-18 9.4: "any requests that arrive after the GOAWAY, MUST be rejected with REQUEST_ERROR using error code
        // GOING_AWAY".
        if self.control.we_are_leaving() {
            return Some(Refusal::new(RequestCode::GoingAway, "going away"));
        }
        // draft-18 9.6: EXCESSIVE_LOAD "SHOULD use the Retry Interval".
        (self.requests.their_open() >= self.config.limits.open_requests).then_some(Refusal {
            code: RequestCode::ExcessiveLoad,
            retry: Some(self.config.limits.retry),
            reason: "too many open requests",
        })
    }

    fn judge_subscribe(&self, subscribe: Subscribe, tokens: Vec<ResolvedToken>) -> Verdict {
        let Subscribe { request_id: request, track, params } = subscribe;
        if is_reserved(track.namespace()) {
            return Verdict::Refuse(RESERVED);
        }
        // draft-18 5.1: "it MUST fail that request with a `DUPLICATE_SUBSCRIPTION` error".
        if !self.requests.subscriptions(Role::Publisher, &track).is_empty() {
            return Verdict::Refuse(DUPLICATE);
        }
        let kind = Kind::Subscribe(Subscription::new(track.clone()));
        Verdict::Admit(kind, Event::Subscribe { request, track, params, tokens })
    }

    fn judge_publish(&self, publish: Publish, tokens: Vec<ResolvedToken>) -> Result<Verdict, Fault> {
        let Publish { request_id: request, track, alias, params, properties } = publish;
        if is_reserved(track.namespace()) {
            return Ok(Verdict::Refuse(RESERVED));
        }
        // draft-18 2.5.1: "the subscriber MUST respond with REQUEST_ERROR with error code UNSUPPORTED_EXTENSION".
        let timeouts = match inspect(&properties)? {
            Ok(info) => info.timeouts,
            Err(refusal) => return Ok(Verdict::Refuse(refusal)),
        };
        // draft-18 5.1: our own SUBSCRIBE that is still pending may be ended instead, before PUBLISH_OK.
        let taken = self.requests.subscriptions(Role::Subscriber, &track).iter().any(|id| {
            let pending = self.requests.get(*id).is_some_and(|open| open.state == State::Pending);
            !(pending && self.requests.is_ours(*id))
        });
        if taken {
            return Ok(Verdict::Refuse(DUPLICATE));
        }
        let mut subscription = Subscription::new(track.clone());
        subscription.alias = Some(alias);
        subscription.note(timeouts);
        let event = Event::Publish { request, track, alias, params, properties, tokens };
        Ok(Verdict::Admit(Kind::Publish(subscription), event))
    }

    fn judge_fetch(&self, fetch: Fetch, tokens: Vec<ResolvedToken>) -> Verdict {
        let state = Kind::Fetch(FetchState::new(&fetch.kind, &fetch.params));
        let joining = match &fetch.kind {
            FetchKind::Standalone { track, .. } if is_reserved(track.namespace()) => {
                return Verdict::Refuse(RESERVED);
            }
            FetchKind::Standalone { .. } => None,
            FetchKind::RelativeJoining { joining, .. } | FetchKind::AbsoluteJoining { joining, .. } => Some(*joining),
        };
        let Fetch { request_id: request, kind, params } = fetch;
        let event = Event::Fetch { request, kind, params, tokens };
        match joining {
            Some(joining) if self.can_be_joined(joining) => Verdict::Admit(state, event),
            Some(joining) if !self.requests.is_ours(joining) && !self.requests.was_theirs(joining) => {
                Verdict::Defer(state, EarlyJoin { joining, fetch: request, event, deadline: None })
            }
            // draft-18 9.12.2: "it MUST return a REQUEST_ERROR with error code `INVALID_JOINING_REQUEST_ID`".
            Some(_) => Verdict::Refuse(NO_SUBSCRIPTION),
            None => Verdict::Admit(state, event),
        }
    }

    fn judge_prefix(&self, kind: PrefixKind, asked: NamespaceRequest, tokens: Vec<ResolvedToken>) -> Verdict {
        let NamespaceRequest { request_id: request, namespace, params } = asked;
        if is_reserved(&namespace) {
            return Verdict::Refuse(RESERVED);
        }
        // draft-18 9.18: "it MUST respond with REQUEST_ERROR with error code `PREFIX_OVERLAP`".
        if self.requests.overlaps(kind, Whose::Theirs, &namespace, None) {
            return Verdict::Refuse(PREFIX_OVERLAP);
        }
        match kind {
            PrefixKind::Namespaces => Verdict::Admit(
                Kind::SubscribeNamespace(NamespaceWatch::new(namespace.clone())),
                Event::SubscribeNamespace { request, namespace, params, tokens },
            ),
            PrefixKind::Tracks => Verdict::Admit(
                Kind::SubscribeTracks(namespace.clone()),
                Event::SubscribeTracks { request, namespace, params, tokens },
            ),
        }
    }

    /// Rejects a request that the owner has not heard of.
    fn refuse(&mut self, id: RequestId, refusal: Refusal) {
        let error = Message::RequestError(refusal.into());
        self.send(Lane::Request(id), &error);
        self.out.finish(Lane::Request(id));
    }

    /// Whether a joining fetch of the peer's may name this request: a subscription that we publish.
    fn can_be_joined(&self, id: RequestId) -> bool {
        self.requests.get(id).is_some_and(|open| match self.requests.role(id, &open.kind) {
            Some(Role::Publisher) => open.state == State::Established || !self.requests.is_ours(id),
            Some(Role::Subscriber) | None => false,
        })
    }

    fn defer(&mut self, now: Instant, mut early: EarlyJoin) {
        let deadline = now + self.config.limits.held_for;
        early.deadline = Some(deadline);
        self.timers.set(deadline, Timer::Joining(early.fetch));
        self.early_joins.push(early);
    }

    /// The request that early joins may wait for was read.
    fn release_joins(&mut self, joining: RequestId) {
        while let Some(at) = self.early_joins.iter().position(|early| early.joining == joining) {
            let early = self.early_joins.remove(at);
            if let Some(deadline) = early.deadline {
                self.timers.clear(deadline, Timer::Joining(early.fetch));
            }
            if self.can_be_joined(joining) {
                self.events.push_back(early.event);
            } else {
                self.end(early.fetch);
                self.refuse(early.fetch, NO_SUBSCRIPTION);
            }
        }
    }

    pub(super) fn on_joining_timeout(&mut self, fetch: RequestId) {
        if self.forget_join(fetch) {
            self.end(fetch);
            self.refuse(fetch, NO_SUBSCRIPTION);
        }
    }

    /// Forgets an early join; whether there was one, so that the owner never heard of the request.
    pub(super) fn forget_join(&mut self, fetch: RequestId) -> bool {
        let Some(at) = self.early_joins.iter().position(|early| early.fetch == fetch) else {
            return false;
        };
        let early = self.early_joins.swap_remove(at);
        if let Some(deadline) = early.deadline {
            self.timers.clear(deadline, Timer::Joining(fetch));
        }
        true
    }
}

/// Id and tokens of a message that may begin a request stream.
///
/// draft-18 3.3: "Bidirectional streams MUST NOT begin with any other message type unless negotiated. If they do, the
/// peer MUST close the Session with a `PROTOCOL_VIOLATION`."
fn identify(message: &Message) -> Result<(RequestId, &[Token]), Fault> {
    let (id, params) = match message {
        Message::Subscribe(request) | Message::TrackStatus(request) => (request.request_id, &request.params),
        Message::Publish(request) => (request.request_id, &request.params),
        Message::Fetch(request) => (request.request_id, &request.params),
        Message::PublishNamespace(request)
        | Message::SubscribeNamespace(request)
        | Message::SubscribeTracks(request) => (request.request_id, &request.params),
        Message::Setup(_)
        | Message::Goaway(_)
        | Message::SubscribeOk(_)
        | Message::RequestUpdate(_)
        | Message::PublishDone(_)
        | Message::FetchOk(_)
        | Message::Namespace(_)
        | Message::NamespaceDone(_)
        | Message::PublishBlocked(_)
        | Message::RequestOk(_)
        | Message::RequestError(_) => {
            return Err(Fault::violation(format!("a request stream begins with {}", message.name())));
        }
    };
    Ok((id, &params.tokens))
}

/// Reads track properties; the refusal says why the track must be neither processed nor forwarded (draft-18 2.5.1).
pub(super) fn inspect(properties: &TrackProperties) -> Result<Result<TrackInfo, Refusal>, Fault> {
    let info = TrackInfo::read(&properties.0)?;
    Ok(match info.mandatory {
        Some(_) => Err(Refusal::new(RequestCode::UnsupportedExtension, "a mandatory track property is unknown")),
        None => Ok(info),
    })
}

/// draft-18 3.2.1 and 3.2.2: `.` does not exist; of `.session`, which never reaches the application, we know no track.
fn is_reserved(namespace: &Namespace) -> bool {
    namespace.fields().first().is_some_and(|first| first.as_ref() == b"." || first.as_ref() == b".session")
}

fn judge_track_status(status: Subscribe, tokens: Vec<ResolvedToken>) -> Verdict {
    let Subscribe { request_id: request, track, params } = status;
    if is_reserved(track.namespace()) {
        return Verdict::Refuse(RESERVED);
    }
    Verdict::Admit(Kind::TrackStatus, Event::TrackStatus { request, track, params, tokens })
}

fn judge_publish_namespace(asked: NamespaceRequest, tokens: Vec<ResolvedToken>) -> Verdict {
    let NamespaceRequest { request_id: request, namespace, params } = asked;
    if is_reserved(&namespace) {
        return Verdict::Refuse(RESERVED);
    }
    Verdict::Admit(Kind::PublishNamespace, Event::PublishNamespace { request, namespace, params, tokens })
}
