//! The control messages as version-neutral values (draft-18 section 9).
//!
//! [`Message::encode`] and [`Message::decode`] are the only places that know their bytes; [`Framer`] cuts a
//! stream into messages.

mod decode;
mod encode;
mod frame;
pub mod kind;
mod setup;

pub use frame::{Frame, Framer};

use crate::error::{DoneCode, RequestCode};
use crate::name::{Namespace, TrackName};
use crate::types::{Filter, GroupOrder, Location, RequestId, TrackAlias};
use bytes::Bytes;
use std::time::Duration;

/// Most bytes of a URI in GOAWAY (draft-18 9.4) and, where the draft sets no limit, in a redirect.
pub const MAX_URI_BYTES: usize = 8192;
/// Most bytes of a reason phrase (draft-18 1.4.4).
pub const MAX_REASON_BYTES: usize = 1024;
/// "it MUST set Stream Count to 2^62 - 1" where it is unknown (draft-18 9.11).
const STREAMS_UNKNOWN: u64 = (1 << 62) - 1;

/// Track properties exactly as received: a run of key-value pairs, forwarded untouched (draft-18 2.5).
/// [`crate::properties`] reads single values out of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrackProperties(pub Bytes);

/// Any control message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// First on each control stream.
    Setup(Setup),
    /// Move elsewhere.
    Goaway(Goaway),
    /// Ask for a track.
    Subscribe(Subscribe),
    /// SUBSCRIBE succeeded.
    SubscribeOk(SubscribeOk),
    /// Change a request.
    RequestUpdate(RequestUpdate),
    /// Offer a track.
    Publish(Publish),
    /// A subscription ended.
    PublishDone(PublishDone),
    /// Ask for past objects.
    Fetch(Fetch),
    /// FETCH succeeded.
    FetchOk(FetchOk),
    /// Ask for the state of a track; same body as SUBSCRIBE.
    TrackStatus(Subscribe),
    /// Offer a namespace.
    PublishNamespace(NamespaceRequest),
    /// Ask which namespaces exist below a prefix.
    SubscribeNamespace(NamespaceRequest),
    /// Ask for a PUBLISH of every track below a prefix.
    SubscribeTracks(NamespaceRequest),
    /// A namespace suffix appeared.
    Namespace(Namespace),
    /// A namespace suffix went away.
    NamespaceDone(Namespace),
    /// A PUBLISH could not be sent for this track (namespace suffix and name).
    PublishBlocked(TrackName),
    /// Generic success.
    RequestOk(RequestOk),
    /// Failure of any request.
    RequestError(RequestError),
}

/// SETUP (draft-18 9.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setup {
    /// PATH, raw QUIC clients only.
    pub path: Option<String>,
    /// AUTHORITY, raw QUIC clients only.
    pub authority: Option<String>,
    /// MAX_AUTH_TOKEN_CACHE_SIZE in bytes.
    pub max_auth_token_cache: u64,
    /// AUTHORIZATION_TOKEN, any number.
    pub tokens: Vec<Token>,
    /// MOQT_IMPLEMENTATION.
    pub implementation: Option<String>,
}

/// GOAWAY (draft-18 9.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goaway {
    /// Where to go; empty: the same URI. Always empty from clients.
    pub uri: String,
    /// How long the sender waits; zero: no specific time.
    pub timeout: Duration,
    /// On the control stream only: smallest request id that was not processed.
    pub request_id: Option<RequestId>,
}

/// Authorization token (draft-18 9.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Retire an alias.
    Delete {
        /// The alias.
        alias: u64,
    },
    /// Register and use.
    Register {
        /// The alias.
        alias: u64,
        /// Token type.
        kind: u64,
        /// Payload.
        value: Bytes,
    },
    /// Use a registered one.
    UseAlias {
        /// The alias.
        alias: u64,
    },
    /// Use once.
    UseValue {
        /// Token type.
        kind: u64,
        /// Payload.
        value: Bytes,
    },
}

/// The two delivery timeouts (draft-18 section 6); `None` or zero: no timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// OBJECT_DELIVERY_TIMEOUT.
    pub object: Option<Duration>,
    /// SUBGROUP_DELIVERY_TIMEOUT.
    pub subgroup: Option<Duration>,
}

/// Message parameters (draft-18 9.2). Absent means not on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params {
    /// Delivery timeouts.
    pub timeouts: Timeouts,
    /// AUTHORIZATION_TOKEN, any number.
    pub tokens: Vec<Token>,
    /// RENDEZVOUS_TIMEOUT.
    pub rendezvous_timeout: Option<Duration>,
    /// EXPIRES.
    pub expires: Option<Duration>,
    /// LARGEST_OBJECT.
    pub largest: Option<Location>,
    /// FILL_TIMEOUT.
    pub fill_timeout: Option<Duration>,
    /// FORWARD.
    pub forward: Option<bool>,
    /// SUBSCRIBER_PRIORITY.
    pub subscriber_priority: Option<u8>,
    /// SUBSCRIPTION_FILTER.
    pub filter: Option<Filter>,
    /// GROUP_ORDER.
    pub group_order: Option<GroupOrder>,
    /// NEW_GROUP_REQUEST.
    pub new_group_request: Option<u64>,
    /// The rarely present rest.
    pub extra: Option<Box<ExtraParams>>,
}

/// Parameters of namespace updates and of trunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtraParams {
    /// TRACK_NAMESPACE_PREFIX.
    pub namespace_prefix: Option<Namespace>,
    /// Trunks only, SUBSCRIBE and FETCH: where this request goes and what it may cost.
    pub route: Option<Route>,
    /// Trunks only, SUBSCRIBE_OK: PoP ids from the root to the sender, the root first.
    pub root_path: Option<Vec<String>>,
    /// Trunks only, SUBSCRIBE_OK: expected delay from the root to the sender.
    pub delivered_delay: Option<Duration>,
}

/// Traffic class of a stream on trunks; the order is the send order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// Interactive: tightest delay bound.
    Rtc,
    /// Live video.
    #[default]
    Live,
    /// Everything else.
    Default,
}

/// Source route of a trunk request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// PoP ids still to visit after the receiver, nearest first; empty: the receiver resolves it.
    pub hops: Vec<String>,
    /// PoP ids visited, the edge first.
    pub visited: Vec<String>,
    /// Traffic class.
    pub class: Class,
    /// Largest acceptable delay from the root to the edge; `None`: unbounded.
    pub delay_bound: Option<Duration>,
}

/// SUBSCRIBE and TRACK_STATUS (draft-18 9.7, 9.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Request id.
    pub request_id: RequestId,
    /// Which track.
    pub track: TrackName,
    /// Parameters.
    pub params: Params,
}

/// SUBSCRIBE_OK (draft-18 9.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeOk {
    /// The publisher's number for the track.
    pub alias: TrackAlias,
    /// Parameters.
    pub params: Params,
    /// Track properties.
    pub properties: TrackProperties,
}

/// REQUEST_UPDATE (draft-18 9.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUpdate {
    /// Its own request id.
    pub request_id: RequestId,
    /// What changes.
    pub params: Params,
}

/// PUBLISH (draft-18 9.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Request id.
    pub request_id: RequestId,
    /// Which track.
    pub track: TrackName,
    /// The publisher's number for it.
    pub alias: TrackAlias,
    /// Parameters.
    pub params: Params,
    /// Track properties.
    pub properties: TrackProperties,
}

/// PUBLISH_DONE (draft-18 9.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishDone {
    /// Why.
    pub code: DoneCode,
    /// Data streams opened for this subscription; `None`: unknown (2^62 - 1 on the wire).
    pub streams: Option<u64>,
    /// For humans; at most 1024 bytes.
    pub reason: String,
}

/// Which range a FETCH asks for (draft-18 9.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchKind {
    /// A range of a named track.
    Standalone {
        /// Which track.
        track: TrackName,
        /// First location.
        start: Location,
        /// Last location plus one object; object 0: the whole group.
        end: Location,
    },
    /// `start` groups before the joining location.
    RelativeJoining {
        /// The subscription joined.
        joining: RequestId,
        /// Groups before the joining location's.
        start: u64,
    },
    /// From group `start` to the joining location.
    AbsoluteJoining {
        /// The subscription joined.
        joining: RequestId,
        /// First group.
        start: u64,
    },
}

impl FetchKind {
    const STANDALONE: u64 = 0x1;
    const RELATIVE_JOINING: u64 = 0x2;
    const ABSOLUTE_JOINING: u64 = 0x3;

    const fn code(&self) -> u64 {
        match self {
            Self::Standalone { .. } => Self::STANDALONE,
            Self::RelativeJoining { .. } => Self::RELATIVE_JOINING,
            Self::AbsoluteJoining { .. } => Self::ABSOLUTE_JOINING,
        }
    }
}

/// FETCH (draft-18 9.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Request id.
    pub request_id: RequestId,
    /// Range.
    pub kind: FetchKind,
    /// Parameters.
    pub params: Params,
}

/// FETCH_OK (draft-18 9.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOk {
    /// The end is the end of the track.
    pub end_of_track: bool,
    /// Last location plus one object; object 0: the whole group.
    pub end: Location,
    /// Parameters.
    pub params: Params,
    /// Track properties.
    pub properties: TrackProperties,
}

/// PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS (draft-18 9.15, 9.18, 9.19).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRequest {
    /// Request id.
    pub request_id: RequestId,
    /// Namespace or prefix.
    pub namespace: Namespace,
    /// Parameters.
    pub params: Params,
}

/// REQUEST_OK (draft-18 9.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestOk {
    /// Parameters.
    pub params: Params,
    /// Track properties; only in TRACK_STATUS_OK.
    pub properties: TrackProperties,
}

/// REQUEST_ERROR (draft-18 9.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// Why.
    pub code: RequestCode,
    /// When a retry is welcome; `None`: not at all.
    pub retry: Option<Duration>,
    /// For humans; at most 1024 bytes.
    pub reason: String,
    /// Present exactly when `code` is [`RequestCode::Redirect`].
    pub redirect: Option<Redirect>,
}

/// Where a request could succeed (draft-18 9.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Empty: the current session's.
    pub uri: String,
    /// Empty together with `name`: as requested.
    pub namespace: Namespace,
    /// Track name.
    pub name: Bytes,
}

#[cfg(test)]
mod tests;
