//! Why a session must be closed.

use crate::error::{DecodeError, SessionCode};
use crate::name::NameError;
use std::borrow::Cow;

/// A fault of the peer's, or a limit of ours, that ends the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: SessionCode,
    pub(super) reason: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(code: SessionCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The commonest code.
    pub(super) fn violation(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SessionCode::ProtocolViolation, reason)
    }
}

impl From<NameError> for Fault {
    fn from(error: NameError) -> Self {
        Self::violation(error.to_string())
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::new(error.session_code(), error.to_string())
    }
}
