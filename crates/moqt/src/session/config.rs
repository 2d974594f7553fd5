//! What a session is made with, and its limits.

use crate::error::EncodeError;
use crate::message::Setup;
use crate::transport::Side;
use crate::types::Draft;
use std::time::Duration;

/// What a session is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our role.
    pub side: Side,
    /// The negotiated dialect.
    pub draft: Draft,
    /// The SETUP that we send.
    pub setup: Setup,
    /// Bounds on what the peer can make us hold.
    pub limits: Limits,
    /// Which PATHs are served; read by servers only.
    pub paths: AcceptedPaths,
}

/// Which PATHs of a client's SETUP are served: none, empty, `/`, and the scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptedPaths {
    /// A further accepted path, for instance `/customer1`.
    pub scope: Option<String>,
}

impl AcceptedPaths {
    /// Whether `path` is served; a query does not matter.
    #[must_use]
    pub fn accepts(&self, path: &str) -> bool {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        path.is_empty() || path == "/" || self.scope.as_deref() == Some(path)
    }
}

/// Bounds on what a peer can make a session hold or wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that the peer may have open; further ones get EXCESSIVE_LOAD.
    pub open_requests: usize,
    /// Retry interval in that answer.
    pub retry: Duration,
    /// Control bytes waiting to be sent, all streams together; beyond, the session is closed.
    pub queued_control_bytes: usize,
    /// Streams held while the SETUP or the track alias they need is missing: so many request streams, and as many data
    /// streams. Further ones are refused.
    pub held_streams: usize,
    /// Bytes held on those data streams, and bytes held of incomplete messages on request streams.
    pub held_bytes: usize,
    /// How long a stream is held for its track alias before it is stopped.
    pub held_for: Duration,
    /// How long the peer's SETUP may take.
    pub setup_timeout: Duration,
    /// How long the header of a stream, or its first message, may stay incomplete.
    pub header_timeout: Duration,
    /// How long a subscription outlives PUBLISH_DONE while counted streams are missing; longer where a delivery timeout
    /// is, up to 30 s.
    pub done_linger: Duration,
    /// Namespaces announced to one SUBSCRIBE_NAMESPACE of ours; beyond, it is cancelled.
    pub namespaces: usize,
    /// Unanswered updates per request; beyond, the session is closed.
    pub open_updates: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_requests: 4096,
            retry: Duration::from_secs(1),
            queued_control_bytes: 1 << 20,
            held_streams: 64,
            held_bytes: 256 << 10,
            held_for: Duration::from_secs(2),
            setup_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            done_linger: Duration::from_secs(2),
            namespaces: 4096,
            open_updates: 16,
        }
    }
}

/// Why a request of ours was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestRefused {
    /// The session is closed.
    #[error("the session is closed")]
    Closed,
    /// The peer sent GOAWAY (draft-18 9.4).
    #[error("the peer is going away")]
    GoingAway,
    /// A subscription of that role for the track exists (draft-18 5.1).
    #[error("a subscription to this track exists on the session")]
    Duplicate,
    /// The prefix overlaps another one of ours (draft-18 9.18).
    #[error("the prefix overlaps another one on the session")]
    PrefixOverlap,
    /// The request named does not exist, is over, or cannot be changed by us.
    #[error("request {0} cannot be used for this")]
    NoSuchRequest(u64),
    /// The message cannot be written.
    #[error(transparent)]
    Unencodable(#[from] EncodeError),
}
