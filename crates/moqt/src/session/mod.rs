//! The session state machine: one MoQ session on one connection, without IO (draft-18 3, 5, 8, 9, 10).
//!
//! Feed it stream events and datagrams, drain [`Session::poll_event`] after each, call [`Session::transmit`] while
//! [`Session::wants_transmit`], and [`Session::handle_timeout`] at [`Session::poll_timeout`]. The session owns the
//! control streams and request streams, and reads data streams; its owner opens and writes data streams itself.
//! Stream events on data streams that we opened do not concern the session and are ignored.

mod config;
mod event;

pub use config::{AcceptedPaths, Config, Limits, RequestRefused};
pub use event::{Event, RangeState, ResolvedToken, StreamEnd};

use crate::error::{ResetCode, SessionCode};
use crate::message::{
    FetchKind, FetchOk, Goaway, Params, PublishDone, RequestError, RequestOk, SubscribeOk,
    TrackProperties,
};
use crate::name::{Namespace, TrackName};
use crate::transport::{StreamEvent, StreamId, StreamSink};
use crate::types::{RequestId, TrackAlias};
use bytes::Bytes;
use std::time::Instant;

/// One MoQ session.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// A session whose connection is established at `now`.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        todo!("{now:?} {config:?}")
    }

    /// Something happened on a stream: one of the peer's, or a bidirectional one of ours.
    pub fn handle_stream(&mut self, now: Instant, stream: StreamId, event: StreamEvent) {
        todo!("{now:?} {stream:?} {event:?}")
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, now: Instant, data: Bytes) {
        todo!("{now:?} {data:?}")
    }

    /// The peer's stream limit grew.
    pub fn handle_streams_available(&mut self) {
        todo!()
    }

    /// [`Session::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!("{now:?}")
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// When to call [`Session::handle_timeout`], if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// Whether [`Session::transmit`] has something to do that is not blocked.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        todo!()
    }

    /// Opens control and request streams and writes what is queued on them, as far as the transport takes it.
    pub fn transmit(&mut self, sink: &mut dyn StreamSink) {
        let _ = sink;
        todo!()
    }

    /// Asks for a track.
    ///
    /// # Errors
    /// See [`RequestRefused`]; so for all requests.
    pub fn subscribe(
        &mut self,
        track: TrackName,
        params: Params,
    ) -> Result<RequestId, RequestRefused> {
        todo!("{track:?} {params:?}")
    }

    /// Asks for the state of a track.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn track_status(
        &mut self,
        track: TrackName,
        params: Params,
    ) -> Result<RequestId, RequestRefused> {
        todo!("{track:?} {params:?}")
    }

    /// Asks for past objects; a joining fetch names a subscription of ours.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn fetch(&mut self, kind: FetchKind, params: Params) -> Result<RequestId, RequestRefused> {
        todo!("{kind:?} {params:?}")
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
        todo!("{track:?} {alias:?} {params:?} {properties:?}")
    }

    /// Offers a namespace.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn publish_namespace(
        &mut self,
        namespace: Namespace,
        params: Params,
    ) -> Result<RequestId, RequestRefused> {
        todo!("{namespace:?} {params:?}")
    }

    /// Asks which namespaces exist below `prefix`.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn subscribe_namespace(
        &mut self,
        prefix: Namespace,
        params: Params,
    ) -> Result<RequestId, RequestRefused> {
        todo!("{prefix:?} {params:?}")
    }

    /// Asks for a PUBLISH of every track below `prefix`.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn subscribe_tracks(
        &mut self,
        prefix: Namespace,
        params: Params,
    ) -> Result<RequestId, RequestRefused> {
        todo!("{prefix:?} {params:?}")
    }

    /// Changes a request of ours, or a subscription that the peer's PUBLISH made.
    ///
    /// # Errors
    /// See [`RequestRefused`].
    pub fn update(
        &mut self,
        request: RequestId,
        params: Params,
    ) -> Result<RequestId, RequestRefused> {
        todo!("{request:?} {params:?}")
    }

    /// Ends a request, ours or the peer's, without a message (draft-18 3.3.1). Data streams that we opened for it
    /// are the caller's to reset.
    pub fn cancel(&mut self, request: RequestId, code: ResetCode) {
        todo!("{request:?} {code:?}")
    }

    /// Accepts the peer's SUBSCRIBE.
    pub fn accept_subscribe(&mut self, request: RequestId, ok: SubscribeOk) {
        todo!("{request:?} {ok:?}")
    }

    /// Accepts the peer's FETCH.
    pub fn accept_fetch(&mut self, request: RequestId, ok: FetchOk) {
        todo!("{request:?} {ok:?}")
    }

    /// The data stream of the peer's FETCH was finished or reset; forgets the request once it is answered.
    pub fn fetch_done(&mut self, request: RequestId) {
        todo!("{request:?}")
    }

    /// Accepts the peer's PUBLISH, TRACK_STATUS or namespace request. Accepting a PUBLISH ends our own pending
    /// SUBSCRIBE for that track, which is reported as `Cancelled` (draft-18 5.1).
    pub fn accept(&mut self, request: RequestId, ok: RequestOk) {
        todo!("{request:?} {ok:?}")
    }

    /// Rejects any request of the peer's.
    pub fn reject(&mut self, request: RequestId, error: RequestError) {
        todo!("{request:?} {error:?}")
    }

    /// Accepts an update; answers leave in the order of the updates whatever the order of these calls.
    pub fn accept_update(&mut self, request: RequestId, update: RequestId, ok: RequestOk) {
        todo!("{request:?} {update:?} {ok:?}")
    }

    /// Rejects an update. Namespace requests end with it; a subscription that we serve must then be ended by
    /// [`Session::publish_done`] with `UpdateFailed`, a fetch by resetting its data stream (draft-18 9.9.1).
    pub fn reject_update(&mut self, request: RequestId, update: RequestId, error: RequestError) {
        todo!("{request:?} {update:?} {error:?}")
    }

    /// Ends a subscription that we serve, after all its data streams were finished or reset.
    pub fn publish_done(&mut self, request: RequestId, done: PublishDone) {
        todo!("{request:?} {done:?}")
    }

    /// Tells the peer's SUBSCRIBE_NAMESPACE that a namespace exists.
    pub fn namespace(&mut self, request: RequestId, suffix: Namespace) {
        todo!("{request:?} {suffix:?}")
    }

    /// Tells the peer's SUBSCRIBE_NAMESPACE that a namespace is gone.
    pub fn namespace_done(&mut self, request: RequestId, suffix: Namespace) {
        todo!("{request:?} {suffix:?}")
    }

    /// Tells the peer's SUBSCRIBE_TRACKS that a track exists for which no PUBLISH can be sent.
    pub fn publish_blocked(&mut self, request: RequestId, track: TrackName) {
        todo!("{request:?} {track:?}")
    }

    /// Asks the peer to leave; later requests of the peer's are rejected with GOING_AWAY. `request_id` is filled in;
    /// a client's URI is dropped. Only the first call counts.
    pub fn goaway(&mut self, now: Instant, goaway: Goaway) {
        todo!("{now:?} {goaway:?}")
    }

    /// Asks the peer to move one request; its stream is reset with GOING_AWAY after the timeout, if there is one.
    pub fn goaway_request(&mut self, now: Instant, request: RequestId, goaway: Goaway) {
        todo!("{now:?} {request:?} {goaway:?}")
    }

    /// A track alias of ours that no subscription of this session has used.
    pub fn allocate_alias(&mut self) -> TrackAlias {
        todo!()
    }

    /// Ends the session; reported as [`Event::Closed`].
    pub fn close(&mut self, code: SessionCode, reason: impl Into<String>) {
        let _ = (code, reason.into());
        todo!()
    }
}
