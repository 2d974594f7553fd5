//! What the client tells its owner.

use crate::exit::Exit;
use crate::manifest::{Flags, Position, Record};
use bytes::Bytes;
use sluice_media::catalog::Broadcast as Catalog;
use sluice_moqt::error::{RequestCode, SessionCode};
use sluice_moqt::transport::{CloseReason, PathStats};
use std::fmt;
use std::time::{Duration, Instant};

/// One logical connection: it keeps its id however often it is dialled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Something happened on a link.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The session is ready for requests.
    Up,
    /// There is no session; the next dial follows after `retry`.
    Down {
        /// Why.
        why: Down,
        /// Until the next dial; `None`: as soon as [`Event::Resolve`] is answered.
        retry: Option<Duration>,
    },
    /// The peer asked us to go to another URI: answer with [`super::Client::retarget`].
    Resolve {
        /// Where to.
        uri: String,
    },
    /// Our namespace was accepted.
    Announced,
    /// A request that we cannot do without was refused.
    Refused {
        /// Which one, for people.
        what: &'static str,
        /// Why.
        code: RequestCode,
        /// The peer's words.
        reason: String,
    },
    /// Nobody publishes the namespace at this time; it is asked for again.
    NoSuchStream,
    /// The tracks that were chosen from the stream's catalog.
    Catalog(Catalog),
    /// An object of a subscribed track, the catalogs included; in order within its subgroup, each once.
    Object(Object),
    /// A stream ended in the middle of an object or was reset: something of this group is lost.
    Cut {
        /// Track name.
        track: Bytes,
        /// Group.
        group: u64,
    },
    /// Nothing of this group will come any more.
    GroupEnd {
        /// Track name.
        track: Bytes,
        /// Group.
        group: u64,
    },
    /// The group ids of a track begin anew below the ones that were: another publisher took over.
    Restart {
        /// Track name.
        track: Bytes,
    },
    /// The publisher ended every chosen track.
    Ended,
    /// The answer to a ping.
    Pong {
        /// Which one, from 0.
        sequence: u64,
        /// From sending to answer.
        round_trip: Duration,
    },
    /// Path figures of the connection.
    Stats(PathStats),
}

/// Why a link has no session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Down {
    /// The dial did not succeed.
    Dial(CloseReason),
    /// The connection ended.
    Connection(CloseReason),
    /// We closed it because the peer broke the protocol.
    Protocol {
        /// Code sent.
        code: SessionCode,
        /// What was wrong.
        reason: String,
    },
    /// The peer asked us to move.
    GoingAway,
}

impl Down {
    /// The exit code where nothing better comes.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Dial(reason) | Self::Connection(reason) => exit_of_close(reason),
            Self::Protocol { .. } => Exit::Protocol,
            Self::GoingAway => Exit::Unreachable,
        }
    }

    /// Whether trying again cannot help: the peer is there and does not want us, or we do not trust it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.exit(), Exit::Tls | Exit::Auth | Exit::Protocol)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other code says that one of us broke the protocol")]
fn exit_of_close(reason: &CloseReason) -> Exit {
    match reason {
        CloseReason::Peer { code, .. } => match SessionCode::from_code(*code) {
            SessionCode::Unauthorized
            | SessionCode::MalformedAuthToken
            | SessionCode::UnknownAuthTokenAlias
            | SessionCode::ExpiredAuthToken => Exit::Auth,
            SessionCode::NoError | SessionCode::GoawayTimeout | SessionCode::InternalError => Exit::Unreachable,
            _ => Exit::Protocol,
        },
        CloseReason::Local | CloseReason::TimedOut | CloseReason::Reset => Exit::Unreachable,
        CloseReason::Transport(text) => exit_of_transport(text),
    }
}

/// TLS alerts reach us in the words of `sluice_net`.
fn exit_of_transport(text: &str) -> Exit {
    if text.contains("application protocol") {
        Exit::Protocol
    } else if text.contains("cryptographic handshake") || text.contains("certificate") {
        Exit::Tls
    } else {
        Exit::Unreachable
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(reason) => write!(f, "cannot connect: {}", Words(reason)),
            Self::Connection(reason) => write!(f, "connection lost: {}", Words(reason)),
            Self::Protocol { code, reason } => write!(f, "the peer broke the protocol ({code:?}): {reason}"),
            Self::GoingAway => f.write_str("the relay asked us to move"),
        }
    }
}

/// A close reason for people.
struct Words<'a>(&'a CloseReason);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CloseReason::Peer { code, reason } => {
                write!(f, "closed by the peer ({:?})", SessionCode::from_code(*code))?;
                if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
            }
            CloseReason::Local => f.write_str("closed by us"),
            CloseReason::TimedOut => f.write_str("no answer"),
            CloseReason::Reset => f.write_str("the peer lost its state"),
            CloseReason::Transport(text) => f.write_str(text),
        }
    }
}

/// One received object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Track name without the namespace.
    pub track: Bytes,
    /// Place among the renditions of [`Event::Catalog`]; `None` for the catalogs themselves.
    pub rendition: Option<usize>,
    /// Where it stands.
    pub at: Position,
    /// How it came, and whether it is an object or a marker.
    pub flags: Flags,
    /// Properties.
    pub properties: Bytes,
    /// Payload; empty where only sizes are kept.
    pub payload: Bytes,
    /// Payload bytes.
    pub length: u64,
    /// When its last byte arrived.
    pub arrived: Instant,
}

impl Object {
    /// Its line in a manifest.
    #[must_use]
    pub fn record(&self) -> Record {
        Record::new(&self.track, self.at, (&self.payload, &self.properties), self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_reasons_have_exit_codes() {
        let peer = |code: SessionCode| CloseReason::Peer { code: code.code(), reason: String::new() };
        let cases = [
            (CloseReason::TimedOut, Exit::Unreachable),
            (CloseReason::Transport("peer's certificate is from an unknown issuer: UnknownIssuer".into()), Exit::Tls),
            (CloseReason::Transport("peer refuses us: our no common application protocol".into()), Exit::Protocol),
            (CloseReason::Transport("connection refused".into()), Exit::Unreachable),
            (peer(SessionCode::Unauthorized), Exit::Auth),
            (peer(SessionCode::InvalidPath), Exit::Protocol),
            (peer(SessionCode::NoError), Exit::Unreachable),
        ];
        for (reason, exit) in cases {
            assert_eq!(Down::Dial(reason.clone()).exit(), exit, "{reason:?}");
        }
    }
}
