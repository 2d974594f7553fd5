//! Why a connection ended, in words that an operator can act on.

use crate::tls::alert_meaning;
use quinn_proto::{ConnectionError, TransportErrorCode};
use sluice_moqt::transport::CloseReason;

/// Longest part of a peer's reason that is kept.
const MAX_REASON: usize = 256;

pub(crate) fn close_reason(error: ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseReason::Peer {
            code: close.error_code.into_inner(),
            reason: String::from_utf8_lossy(&close.reason[..close.reason.len().min(MAX_REASON)]).into_owned(),
        },
        // RFC 9000 10.2.3: what an application says during the handshake travels without its words.
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::APPLICATION_ERROR => {
            CloseReason::Peer { code: 0, reason: "it was called off".to_owned() }
        }
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            let text = alert_meaning(code)
                .map_or_else(|| format!("peer ended it: {close}"), |what| format!("peer refuses us: our {what}"));
            CloseReason::Transport(text)
        }
        ConnectionError::TransportError(error) => {
            let text = alert_meaning(u64::from(error.code))
                .map_or_else(|| error.to_string(), |what| format!("peer's {what}: {}", error.reason));
            CloseReason::Transport(text)
        }
        ConnectionError::Reset => CloseReason::Reset,
        ConnectionError::TimedOut => CloseReason::TimedOut,
        ConnectionError::LocallyClosed => CloseReason::Local,
        ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => CloseReason::Transport(error.to_string()),
    }
}
