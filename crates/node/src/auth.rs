//! Authorization by verdict: a request is held until the host says yes or no, for a bounded time.

use crate::downstream::request_error;
use crate::node::Node;
use sluice_moqt::error::RequestCode;
use sluice_moqt::message::FetchKind;
use sluice_moqt::session::{Event, ResolvedToken};
use sluice_moqt::transport::SessionId;
use sluice_moqt::{Namespace, RequestId, TrackName};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a verdict may take.
pub(crate) const VERDICT_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests waiting for verdicts, all sessions together.
const MAX_HELD: usize = 10_000;

/// What a request wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// SUBSCRIBE, TRACK_STATUS or FETCH of a track; `None`: a joining fetch, covered by its subscription.
    Subscribe(Option<TrackName>),
    /// PUBLISH of a track.
    Publish(TrackName),
    /// PUBLISH_NAMESPACE.
    PublishNamespace(Namespace),
    /// SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS of a prefix.
    SubscribeNamespace(Namespace),
}

/// A request that waits for a verdict; answer with [`Node::handle_verdict`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// Names the request in the verdict.
    pub id: u64,
    /// What it wants to do.
    pub action: Action,
    /// The tokens it brought.
    pub tokens: Vec<ResolvedToken>,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// REQUEST_ERROR UNAUTHORIZED.
    Deny,
}

/// Requests that wait.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    held: BTreeMap<u64, Held>,
    asked: VecDeque<AuthRequest>,
    next: u64,
}

#[derive(Debug)]
struct Held {
    session: SessionId,
    deadline: Instant,
    event: Event,
}

impl Pending {
    /// Holds a request.
    pub(crate) fn hold(&mut self, now: Instant, session: SessionId, event: Event) {
        let Some((action, tokens)) = question(&event) else { return };
        let deadline = if self.held.len() < MAX_HELD { now + VERDICT_TIMEOUT } else { now };
        self.next += 1;
        self.held.insert(self.next, Held { session, deadline, event });
        self.asked.push_back(AuthRequest { id: self.next, action, tokens });
    }

    /// The request is over.
    pub(crate) fn forget(&mut self, session: SessionId, request: RequestId) {
        self.held.retain(|_, held| held.session != session || request_of(&held.event) != Some(request));
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether the request waits here.
    pub(crate) fn is_held(&self, session: SessionId, request: RequestId) -> bool {
        self.held.values().any(|held| held.session == session && request_of(&held.event) == Some(request))
    }

    /// The session is gone.
    pub(crate) fn forget_session(&mut self, session: SessionId) {
        self.held.retain(|_, held| held.session != session);
    }

    /// The earliest deadline of a session's requests.
    pub(crate) fn deadline(&self, session: SessionId) -> Option<Instant> {
        self.held.values().filter(|held| held.session == session).map(|held| held.deadline).min()
    }

    fn take_overdue(&mut self, now: Instant, session: SessionId) -> Vec<Held> {
        let overdue = |_: &u64, held: &mut Held| held.session == session && held.deadline <= now;
        self.held.extract_if(.., overdue).map(|(_, held)| held).collect()
    }
}

impl Node {
    /// The next request that waits for a verdict; only with [`crate::Config::authorize`].
    pub fn poll_auth(&mut self) -> Option<AuthRequest> {
        self.auth.asked.pop_front()
    }

    /// A verdict on [`AuthRequest::id`]; without effect when the request is over.
    pub fn handle_verdict(&mut self, now: Instant, id: u64, verdict: Verdict) {
        let Some(held) = self.auth.held.remove(&id) else { return };
        match verdict {
            Verdict::Allow => self.on_allowed(now, held.session, held.event),
            Verdict::Deny => {
                self.refuse_held(
                    &held,
                    &request_error(RequestCode::Unauthorized, "not allowed by this relay's policy"),
                );
            }
        }
        self.pump(now, held.session);
    }

    /// Refuses what waited too long.
    pub(crate) fn expire_verdicts(&mut self, now: Instant, session: SessionId) {
        for held in self.auth.take_overdue(now, session) {
            self.metrics.limits_hit_total += 1;
            let mut error = request_error(RequestCode::Timeout, "no authorization verdict in time");
            error.retry = Some(Duration::from_secs(1));
            self.refuse_held(&held, &error);
        }
    }

    fn refuse_held(&mut self, held: &Held, error: &sluice_moqt::message::RequestError) {
        if let Some(request) = request_of(&held.event) {
            self.refuse_held_joins(held.session, request);
            self.refuse(held.session, request, error.clone());
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "everything but requests is meant")]
fn question(event: &Event) -> Option<(Action, Vec<ResolvedToken>)> {
    let (action, tokens) = match event {
        Event::Subscribe { track, tokens, .. } | Event::TrackStatus { track, tokens, .. } => {
            (Action::Subscribe(Some(track.clone())), tokens)
        }
        Event::Fetch { kind: FetchKind::Standalone { track, .. }, tokens, .. } => {
            (Action::Subscribe(Some(track.clone())), tokens)
        }
        Event::Fetch { tokens, .. } => (Action::Subscribe(None), tokens),
        Event::Publish { track, tokens, .. } => (Action::Publish(track.clone()), tokens),
        Event::PublishNamespace { namespace, tokens, .. } => (Action::PublishNamespace(namespace.clone()), tokens),
        Event::SubscribeNamespace { namespace, tokens, .. } | Event::SubscribeTracks { namespace, tokens, .. } => {
            (Action::SubscribeNamespace(namespace.clone()), tokens)
        }
        _ => return None,
    };
    Some((action, tokens.clone()))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "everything but requests is meant")]
const fn request_of(event: &Event) -> Option<RequestId> {
    match event {
        Event::Subscribe { request, .. }
        | Event::TrackStatus { request, .. }
        | Event::Fetch { request, .. }
        | Event::Publish { request, .. }
        | Event::PublishNamespace { request, .. }
        | Event::SubscribeNamespace { request, .. }
        | Event::SubscribeTracks { request, .. } => Some(*request),
        _ => None,
    }
}
