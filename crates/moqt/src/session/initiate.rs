//! Requests that we make (draft-18 9.7 to 9.19).

use super::outbox::Lane;
use super::request::{
    FetchData, FetchState, Kind, NamespaceWatch, PrefixKind, Request, Role, State, Subscription, Whose,
};
use super::{Phase, RequestRefused, Session};
use crate::error::ResetCode;
use crate::message::{
    Fetch, FetchKind, Message, NamespaceRequest, Params, Publish, RequestUpdate, Subscribe, TrackProperties,
};
use crate::name::{Namespace, TrackName};
use crate::types::{Location, RequestId, TrackAlias};

impl Session {
    /// Asks for a track.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn subscribe(&mut self, track: TrackName, params: Params) -> Result<RequestId, RequestRefused> {
        self.check_unique(Role::Subscriber, &track)?;
        let mut subscription = Subscription::new(track.clone());
        subscription.note(params.timeouts);
        self.start(Kind::Subscribe(subscription), |request_id| {
            Message::Subscribe(Subscribe { request_id, track, params })
        })
    }

    /// Asks for the state of a track.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn track_status(&mut self, track: TrackName, params: Params) -> Result<RequestId, RequestRefused> {
        self.start(Kind::TrackStatus, |request_id| Message::TrackStatus(Subscribe { request_id, track, params }))
    }

    /// Asks for past objects; a joining fetch names a subscription of ours, or the peer's PUBLISH.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn fetch(&mut self, kind: FetchKind, params: Params) -> Result<RequestId, RequestRefused> {
        if let FetchKind::RelativeJoining { joining, .. } | FetchKind::AbsoluteJoining { joining, .. } = &kind {
            let role = self.requests.get(*joining).and_then(|open| self.requests.role(*joining, &open.kind));
            if role != Some(Role::Subscriber) {
                return Err(RequestRefused::NoSuchRequest(joining.0));
            }
        }
        let state = FetchState::new(&kind, &params);
        self.start(Kind::Fetch(state), |request_id| Message::Fetch(Fetch { request_id, kind, params }))
    }

    /// Offers a track; `alias` comes from [`Session::allocate_alias`].
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn publish(
        &mut self,
        track: TrackName,
        alias: TrackAlias,
        params: Params,
        properties: TrackProperties,
    ) -> Result<RequestId, RequestRefused> {
        self.check_unique(Role::Publisher, &track)?;
        self.start(Kind::Publish(Subscription::new(track.clone())), |request_id| {
            Message::Publish(Publish { request_id, track, alias, params, properties })
        })
    }

    /// Offers a namespace.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn publish_namespace(&mut self, namespace: Namespace, params: Params) -> Result<RequestId, RequestRefused> {
        self.start(Kind::PublishNamespace, |request_id| {
            Message::PublishNamespace(NamespaceRequest { request_id, namespace, params })
        })
    }

    /// Asks which namespaces exist below `prefix`.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn subscribe_namespace(&mut self, prefix: Namespace, params: Params) -> Result<RequestId, RequestRefused> {
        self.check_prefix(PrefixKind::Namespaces, &prefix, None)?;
        let watch = NamespaceWatch::new(prefix.clone());
        self.start(Kind::SubscribeNamespace(watch), |request_id| {
            Message::SubscribeNamespace(NamespaceRequest { request_id, namespace: prefix, params })
        })
    }

    /// Asks for a PUBLISH of every track below `prefix`.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn subscribe_tracks(&mut self, prefix: Namespace, params: Params) -> Result<RequestId, RequestRefused> {
        self.check_prefix(PrefixKind::Tracks, &prefix, None)?;
        self.start(Kind::SubscribeTracks(prefix.clone()), |request_id| {
            Message::SubscribeTracks(NamespaceRequest { request_id, namespace: prefix, params })
        })
    }

    /// Changes a request of ours, or a subscription that the peer's PUBLISH made.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn update(&mut self, request: RequestId, params: Params) -> Result<RequestId, RequestRefused> {
        self.check_open()?;
        let refused = RequestRefused::NoSuchRequest(request.0);
        let ours = self.requests.is_ours(request);
        let open = self.requests.get(request).ok_or(refused)?;
        let allowed = match (&open.kind, open.state) {
            (_, State::Done) | (Kind::TrackStatus, _) => false,
            (Kind::Publish(_), State::Pending) => ours,
            (Kind::Publish(_), State::Established) => true,
            (
                Kind::Subscribe(_)
                | Kind::Fetch(_)
                | Kind::PublishNamespace
                | Kind::SubscribeNamespace(_)
                | Kind::SubscribeTracks(_),
                State::Pending | State::Established,
            ) => ours,
        };
        if !allowed {
            return Err(refused);
        }
        let prefix = params.extra.as_ref().and_then(|extra| extra.namespace_prefix.clone());
        if let (Some((kind, _)), Some(prefix)) = (open.kind.prefix(), &prefix) {
            self.check_prefix(kind, prefix, Some(request))?;
        }
        let id = self.requests.allocate();
        let timeouts = params.timeouts;
        let bytes = self.encode(&Message::RequestUpdate(RequestUpdate { request_id: id, params }))?;
        if let Some(open) = self.requests.get_mut(request) {
            open.updates.ours.push_back((id, prefix));
            if let Some(subscription) = open.subscription() {
                subscription.note(timeouts);
            }
        }
        self.push(Lane::Request(request), bytes);
        Ok(id)
    }

    /// Ends a request, ours or the peer's, without a message (draft-18 3.3.1: "by resetting or sending STOP_SENDING").
    /// Data streams that we opened for it are the caller's to reset.
    pub fn cancel(&mut self, request: RequestId, code: ResetCode) {
        if let Some(open) = self.end(request) {
            self.out.abort(Lane::Request(request), open.stream, code.code());
        }
    }

    /// Opens a request stream whose first message is made from the request's id.
    fn start(&mut self, kind: Kind, message: impl FnOnce(RequestId) -> Message) -> Result<RequestId, RequestRefused> {
        self.check_open()?;
        // draft-18 9.4: after GOAWAY, "an endpoint SHOULD NOT initiate new requests to the peer".
        if self.control.peer_is_leaving() {
            return Err(RequestRefused::GoingAway);
        }
        let id = self.requests.allocate();
        let bytes = self.encode(&message(id))?;
        self.requests.insert(id, Request::new(kind, None));
        self.out.open(Lane::Request(id));
        self.push(Lane::Request(id), bytes);
        Ok(id)
    }

    fn check_open(&self) -> Result<(), RequestRefused> {
        match self.phase {
            Phase::Opening | Phase::Ready => Ok(()),
            Phase::Closed => Err(RequestRefused::Closed),
        }
    }

    /// draft-18 5.1: "at most one subscription to a Track acting as the publisher and at most one acting as a
    /// subscriber".
    fn check_unique(&self, role: Role, track: &TrackName) -> Result<(), RequestRefused> {
        if self.requests.subscriptions(role, track).is_empty() { Ok(()) } else { Err(RequestRefused::Duplicate) }
    }

    fn check_prefix(
        &self,
        kind: PrefixKind,
        prefix: &Namespace,
        except: Option<RequestId>,
    ) -> Result<(), RequestRefused> {
        if self.requests.overlaps(kind, Whose::Ours, prefix, except) {
            return Err(RequestRefused::PrefixOverlap);
        }
        Ok(())
    }
}

impl FetchState {
    pub(super) fn new(kind: &FetchKind, params: &Params) -> Self {
        let start = match kind {
            FetchKind::Standalone { start, .. } => Some(*start),
            FetchKind::AbsoluteJoining { start, .. } => Some(Location::new(*start, 0)),
            FetchKind::RelativeJoining { .. } => None,
        };
        Self { order: params.group_order.unwrap_or_default(), start, data: FetchData::None }
    }
}
