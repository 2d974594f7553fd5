//! What a session tells its owner.

use crate::data::{EndOfRange, FetchObject, ObjectDatagram, ObjectHeader, SubgroupHeader};
use crate::error::{ResetCode, SessionCode};
use crate::message::{
    FetchKind, FetchOk, Goaway, Params, PublishDone, RequestError, RequestOk, Setup, SubscribeOk, TrackProperties,
};
use crate::name::{Namespace, TrackName};
use crate::transport::StreamId;
use crate::types::{RequestId, TrackAlias};
use bytes::Bytes;

/// An authorization token after aliases were looked up (draft-18 9.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedToken {
    /// Token type.
    pub kind: u64,
    /// Payload.
    pub value: Bytes,
}

/// How a data stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// With FIN, between two objects.
    Fin,
    /// The peer reset it with this code; more objects may exist.
    Reset(u64),
}

/// Everything a session reports. Requests of the peer carry ids of the peer's parity; answers carry ours.
///
/// A request is over after `Error`, `Cancelled`, `PublishDone`, a local `reject`, `cancel`,
/// `publish_done` or `fetch_done`, after `Ok` for TRACK_STATUS, and after `FetchOk` plus `StreamEnd` for FETCH.
/// Answers to a request that is over are ignored, so a late verdict needs no check. Data streams of a request that is
/// over end without a [`Event::StreamEnd`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer's SETUP was accepted; always the first event except `Closed`.
    Ready(Setup),

    /// The peer asks for a track; answer with `accept_subscribe` or `reject`.
    Subscribe {
        /// The request.
        request: RequestId,
        /// Which track.
        track: TrackName,
        /// Parameters; `tokens` in there are unresolved.
        params: Params,
        /// Its authorization tokens.
        tokens: Vec<ResolvedToken>,
    },
    /// The peer asks for the state of a track; answer with `accept` or `reject`.
    TrackStatus {
        /// The request.
        request: RequestId,
        /// Which track.
        track: TrackName,
        /// Parameters.
        params: Params,
        /// Its authorization tokens.
        tokens: Vec<ResolvedToken>,
    },
    /// The peer asks for past objects; answer with `accept_fetch` or `reject`, end with `fetch_done`. A joining
    /// fetch names a pending or established subscription of the peer's.
    Fetch {
        /// The request.
        request: RequestId,
        /// Which objects.
        kind: FetchKind,
        /// Parameters.
        params: Params,
        /// Its authorization tokens.
        tokens: Vec<ResolvedToken>,
    },
    /// The peer offers a track; answer with `accept` or `reject`. Its objects may come before the answer.
    Publish {
        /// The request.
        request: RequestId,
        /// Which track.
        track: TrackName,
        /// The peer's number for it.
        alias: TrackAlias,
        /// Parameters.
        params: Params,
        /// Track properties.
        properties: TrackProperties,
        /// Its authorization tokens.
        tokens: Vec<ResolvedToken>,
    },
    /// The peer offers a namespace; answer with `accept` or `reject`. Withdrawn by `Cancelled`.
    PublishNamespace {
        /// The request.
        request: RequestId,
        /// Which namespace.
        namespace: Namespace,
        /// Parameters.
        params: Params,
        /// Its authorization tokens.
        tokens: Vec<ResolvedToken>,
    },
    /// The peer asks for namespaces below a prefix; answer with `accept` or `reject`, then `namespace` and
    /// `namespace_done`.
    SubscribeNamespace {
        /// The request.
        request: RequestId,
        /// The prefix.
        namespace: Namespace,
        /// Parameters.
        params: Params,
        /// Its authorization tokens.
        tokens: Vec<ResolvedToken>,
    },
    /// The peer asks for a PUBLISH of every track below a prefix; answer with `accept` or `reject`, then `publish`.
    SubscribeTracks {
        /// The request.
        request: RequestId,
        /// The prefix.
        namespace: Namespace,
        /// Parameters.
        params: Params,
        /// Its authorization tokens.
        tokens: Vec<ResolvedToken>,
    },
    /// The peer changes a request, which may be ours where it is a PUBLISH; answer with `accept_update` or
    /// `reject_update`. Comes after the request itself was accepted.
    Update {
        /// The request that changes.
        request: RequestId,
        /// Id of the update itself.
        update: RequestId,
        /// What changes.
        params: Params,
        /// Its authorization tokens.
        tokens: Vec<ResolvedToken>,
    },
    /// The session rejected an update of a subscription or fetch that we serve (unknown token alias); end the request
    /// as after [`super::Session::reject_update`].
    UpdateRefused {
        /// The request.
        request: RequestId,
    },

    /// Our SUBSCRIBE succeeded.
    SubscribeOk {
        /// Our request.
        request: RequestId,
        /// The answer.
        ok: SubscribeOk,
    },
    /// Our FETCH succeeded; its objects may have come before.
    FetchOk {
        /// Our request.
        request: RequestId,
        /// The answer.
        ok: FetchOk,
    },
    /// Another request of ours succeeded.
    Ok {
        /// Our request.
        request: RequestId,
        /// The answer.
        ok: RequestOk,
    },
    /// A request of ours failed and is over.
    Error {
        /// Our request.
        request: RequestId,
        /// Why.
        error: RequestError,
    },
    /// Our update succeeded.
    UpdateOk {
        /// The request that changed.
        request: RequestId,
        /// Our update.
        update: RequestId,
        /// The answer.
        ok: RequestOk,
    },
    /// Our update failed. A subscription ends with `PublishDone`, a namespace request with `Cancelled`, on its own.
    UpdateError {
        /// The request that did not change.
        request: RequestId,
        /// Our update.
        update: RequestId,
        /// Why.
        error: RequestError,
    },
    /// The publisher ended a subscription. Held back until the streams that PUBLISH_DONE counts have ended or
    /// [`super::Limits::done_linger`] has passed, so that nothing of this request follows.
    PublishDone {
        /// The subscription.
        request: RequestId,
        /// Why, and how many streams.
        done: PublishDone,
    },
    /// Answer to our SUBSCRIBE_NAMESPACE: a namespace exists.
    Namespace {
        /// Our request.
        request: RequestId,
        /// What follows the prefix.
        suffix: Namespace,
    },
    /// Answer to our SUBSCRIBE_NAMESPACE: a namespace is gone.
    NamespaceDone {
        /// Our request.
        request: RequestId,
        /// What follows the prefix.
        suffix: Namespace,
    },
    /// Answer to our SUBSCRIBE_TRACKS: this track exists but no PUBLISH could be sent for it.
    PublishBlocked {
        /// Our request.
        request: RequestId,
        /// Namespace suffix and track name.
        track: TrackName,
    },

    /// The peer ended a request without a message: the subscriber is gone, the publisher reset, an offer was
    /// withdrawn. Everything announced under a SUBSCRIBE_NAMESPACE is gone with it.
    Cancelled {
        /// The request, ours or the peer's.
        request: RequestId,
        /// The peer's reset code, or `Cancelled` where it finished the stream.
        code: ResetCode,
    },
    /// The peer wants this session to end; no new requests of ours are possible.
    Goaway(Goaway),
    /// The peer wants one request to move.
    RequestGoaway {
        /// The request, ours or the peer's.
        request: RequestId,
        /// Where to and when.
        goaway: Goaway,
    },

    /// A subgroup stream began.
    Subgroup {
        /// The stream; later events name it.
        stream: StreamId,
        /// The subscription that its alias names: our SUBSCRIBE or the peer's PUBLISH.
        request: RequestId,
        /// The header.
        header: SubgroupHeader,
    },
    /// The data stream of our FETCH began.
    FetchStream {
        /// The stream; later events name it.
        stream: StreamId,
        /// Our request.
        request: RequestId,
    },
    /// An object of a subgroup began.
    Object {
        /// Its stream.
        stream: StreamId,
        /// Its header.
        object: ObjectHeader,
    },
    /// An object of a fetch began.
    FetchObject {
        /// Its stream.
        stream: StreamId,
        /// Its header.
        object: FetchObject,
    },
    /// The next bytes of the payload of the stream's latest object; the header told how many there are.
    Payload {
        /// Its stream.
        stream: StreamId,
        /// A slice of what was received, never empty.
        data: Bytes,
    },
    /// On a fetch stream: what is known about a range without objects.
    RangeEnd {
        /// Its stream.
        stream: StreamId,
        /// The range, from the previous object on.
        range: EndOfRange,
    },
    /// A data stream ended; its id does not come back.
    StreamEnd {
        /// Which.
        stream: StreamId,
        /// How.
        end: StreamEnd,
    },
    /// An object in a datagram.
    Datagram {
        /// The subscription that its alias names.
        request: RequestId,
        /// The object.
        datagram: ObjectDatagram,
    },

    /// The connection must be closed with this code; nothing follows.
    Closed {
        /// Code for the peer.
        code: SessionCode,
        /// Reason for the peer and for our log.
        reason: String,
    },
}
