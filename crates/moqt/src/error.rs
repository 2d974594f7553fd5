//! Every code the draft defines, one table per registry (draft-18 section 14.9), and why bytes are refused.

use crate::name::NameError;
use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A code that this implementation does not know; to be treated as an internal error
            /// (draft-18 13: "MUST be treated as equivalent to `INTERNAL_ERROR` for that context").
            Unknown(u64),
        }

        impl $name {
            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u64 {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Unknown(code) => code,
                }
            }

            /// The code for a number from the wire.
            #[must_use]
            pub const fn from_code(code: u64) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }
    };
}

codes! {
    /// Why a session is closed (draft-18 3.4, 14.9.1).
    SessionCode {
        /// Closed without an error.
        NoError = 0x0,
        /// An implementation specific error.
        InternalError = 0x1,
        /// The client may not establish a session.
        Unauthorized = 0x2,
        /// The peer did what the specification forbids.
        ProtocolViolation = 0x3,
        /// Wrong parity, or a request id used twice.
        InvalidRequestId = 0x4,
        /// A track alias that names another track already.
        DuplicateTrackAlias = 0x5,
        /// A key-value pair whose value does not match its type.
        KeyValueFormattingError = 0x6,
        /// PATH from a server, over WebTransport, or not served here.
        InvalidPath = 0x8,
        /// PATH is not a URI path.
        MalformedPath = 0x9,
        /// The peer did not close in time after GOAWAY.
        GoawayTimeout = 0x10,
        /// The peer took too long to answer a control message.
        ControlMessageTimeout = 0x11,
        /// The peer took too long on an open data stream.
        DataStreamTimeout = 0x12,
        /// Registered tokens exceed our cache limit.
        AuthTokenCacheOverflow = 0x13,
        /// A token alias registered twice.
        DuplicateAuthTokenAlias = 0x14,
        /// No common version.
        VersionNegotiationFailed = 0x15,
        /// A token that cannot be parsed.
        MalformedAuthToken = 0x16,
        /// A token alias that is not registered.
        UnknownAuthTokenAlias = 0x17,
        /// The token has expired.
        ExpiredAuthToken = 0x18,
        /// AUTHORITY is not served here or not allowed.
        InvalidAuthority = 0x19,
        /// AUTHORITY is not a URI authority.
        MalformedAuthority = 0x1A,
    }
}

codes! {
    /// Why a request failed (draft-18 9.6, 14.9.2).
    RequestCode {
        /// An implementation specific or generic error.
        InternalError = 0x0,
        /// Not allowed.
        Unauthorized = 0x1,
        /// Not completed in time.
        Timeout = 0x2,
        /// This type of request is not supported.
        NotSupported = 0x3,
        /// A token that cannot be parsed.
        MalformedAuthToken = 0x4,
        /// The token has expired.
        ExpiredAuthToken = 0x5,
        /// A GOAWAY was sent or received.
        GoingAway = 0x6,
        /// Overloaded; see the retry interval.
        ExcessiveLoad = 0x9,
        /// No such track or namespace here.
        DoesNotExist = 0x10,
        /// The filter or range cannot be satisfied.
        InvalidRange = 0x11,
        /// The track is malformed.
        MalformedTrack = 0x12,
        /// A subscription of that role exists on this session.
        DuplicateSubscription = 0x19,
        /// The subscriber does not want it.
        Uninterested = 0x20,
        /// The prefix overlaps one already subscribed.
        PrefixOverlap = 0x30,
        /// Too many publishers match.
        NamespaceTooLarge = 0x31,
        /// A joining fetch names no established subscription.
        InvalidJoiningRequestId = 0x32,
        /// A mandatory track property that we do not understand.
        UnsupportedExtension = 0x33,
        /// Try elsewhere.
        Redirect = 0x34,
    }
}

codes! {
    /// Why a subscription ended (draft-18 9.11, 14.9.3).
    DoneCode {
        /// An implementation specific or generic error.
        InternalError = 0x0,
        /// No longer authorized.
        Unauthorized = 0x1,
        /// The track is no longer published.
        TrackEnded = 0x2,
        /// The end of the filter was reached.
        SubscriptionEnded = 0x3,
        /// A GOAWAY was issued.
        GoingAway = 0x4,
        /// The subscriber is too far behind.
        TooFarBehind = 0x5,
        /// The time given in SUBSCRIBE_OK has passed.
        Expired = 0x6,
        /// A REQUEST_UPDATE failed.
        UpdateFailed = 0x8,
        /// The publisher is overloaded.
        ExcessiveLoad = 0x9,
        /// The track is malformed.
        MalformedTrack = 0x12,
    }
}

codes! {
    /// Codes of RESET_STREAM and STOP_SENDING (draft-18 3.3.2, 14.9.4).
    ResetCode {
        /// An implementation specific error.
        InternalError = 0x0,
        /// Cancelled by either endpoint.
        Cancelled = 0x1,
        /// A delivery timeout passed.
        DeliveryTimeout = 0x2,
        /// The session is closing.
        SessionClosed = 0x3,
        /// A GOAWAY was sent or received.
        GoingAway = 0x4,
        /// The subscription exceeds the publisher's limits.
        TooFarBehind = 0x5,
        /// The status of the next object of a fetch is unknown.
        UnknownObjectStatus = 0x6,
        /// The request's token has expired.
        ExpiredAuthToken = 0x7,
        /// Overloaded.
        ExcessiveLoad = 0x9,
        /// The track is malformed.
        MalformedTrack = 0x12,
    }
}

/// Why bytes from the peer are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a field. On a stream that is still open: wait for more.
    #[error("{field} lacks at least {missing} bytes")]
    Truncated {
        /// The field being read.
        field: &'static str,
        /// Bytes needed at least before another try is worth it.
        missing: usize,
    },
    /// A value that the draft does not define.
    #[error("{field} has the undefined value {value:#x}")]
    Undefined {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A length or number above its limit.
    #[error("{field} is {value}, the limit is {limit}")]
    OverLimit {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// A delta leads above 2^64 - 1 or below 0.
    #[error("{field} leaves the range of 64-bit integers")]
    OutOfRange {
        /// The field.
        field: &'static str,
    },
    /// Bytes follow the last field.
    #[error("{count} bytes follow the last field of {message}")]
    Trailing {
        /// The message or structure.
        message: &'static str,
        /// How many.
        count: usize,
    },
    /// A parameter or option where it must not stand.
    #[error("{message} has the {fault} parameter {kind:#x}")]
    Parameter {
        /// The message.
        message: &'static str,
        /// Parameter type.
        kind: u64,
        /// What is wrong with it.
        fault: ParamFault,
    },
    /// A field that must not stand where it stands.
    #[error("{field} is not allowed here")]
    Forbidden {
        /// The field.
        field: &'static str,
    },
    /// A namespace or full track name that breaks the limits.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The value of a known key does not have the form that the key asks for.
    #[error("{field}: not the form that its type asks for")]
    Formatting {
        /// The field.
        field: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotText {
        /// The field.
        field: &'static str,
    },
    /// PATH is not a URI path.
    #[error("PATH is not a URI path")]
    MalformedPath,
    /// AUTHORITY is not a URI authority.
    #[error("AUTHORITY is not a URI authority")]
    MalformedAuthority,
}

impl DecodeError {
    /// The code to close the session with.
    #[must_use]
    pub const fn session_code(&self) -> SessionCode {
        match self {
            Self::Truncated { .. }
            | Self::Undefined { .. }
            | Self::OverLimit { .. }
            | Self::OutOfRange { .. }
            | Self::Trailing { .. }
            | Self::Parameter { .. }
            | Self::Forbidden { .. }
            | Self::NotText { .. }
            | Self::Name(_) => SessionCode::ProtocolViolation,
            Self::Formatting { .. } => SessionCode::KeyValueFormattingError,
            Self::MalformedPath => SessionCode::MalformedPath,
            Self::MalformedAuthority => SessionCode::MalformedAuthority,
        }
    }
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParamFault {
    /// Not defined in this dialect.
    Unknown,
    /// Defined, but not for this message.
    Misplaced,
    /// Present twice.
    Duplicate,
}

impl fmt::Display for ParamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Misplaced => "misplaced",
            Self::Duplicate => "duplicate",
        })
    }
}

/// Why one of our own values cannot be written: a local fault, never the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message does not fit its 16-bit length.
    #[error("{message} has {len} bytes, the limit is 65535")]
    MessageTooLong {
        /// The message.
        message: &'static str,
        /// Its payload length.
        len: usize,
    },
    /// A length or number above its limit.
    #[error("{field} is {value}, the limit is {limit}")]
    OverLimit {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// A parameter that this message must not carry.
    #[error("{message} cannot carry parameter {kind:#x}")]
    Parameter {
        /// The message.
        message: &'static str,
        /// Parameter type.
        kind: u64,
    },
    /// A full track name that breaks the limits.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Fields that contradict each other.
    #[error("{field} contradicts another field")]
    Contradiction {
        /// The field.
        field: &'static str,
    },
    /// An object that does not come after the one before it.
    #[error("{field} {value} does not follow {previous}")]
    OutOfOrder {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The value before.
        previous: u64,
    },
}
