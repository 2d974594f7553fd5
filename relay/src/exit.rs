//! How programs end: the exit codes, all of them.

use std::fmt;
use std::process::ExitCode;

/// Why a program ends, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A threshold was missed, or something failed that has no code of its own.
    Failed = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// A name did not resolve.
    Name = 3,
    /// Nobody answers there.
    Unreachable = 4,
    /// TLS failed: certificate, name or protocol.
    Tls = 5,
    /// Not authorized.
    Auth = 6,
    /// The peer broke the protocol.
    Protocol = 7,
    /// No such stream.
    NoSuchStream = 8,
    /// The machine or the build lacks something that is needed.
    MissingCapability = 78,
}

impl Exit {
    /// `error`, which ends the program with this code.
    pub fn because(self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        anyhow::Error::new(Failure { exit: self, error: error.into() })
    }

    /// The code of `error`: that of the outermost [`Exit::because`], else [`Exit::Failed`].
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        error.downcast_ref::<Failure>().map_or(Self::Failed, |failure| failure.exit)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The discriminants are the codes.
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code; reads like the error itself.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn the_code_survives_context_and_the_text_is_the_errors_own() {
        let error = Exit::Tls.because(anyhow!("certificate expired").context("handshake"));
        assert_eq!(format!("{error:#}"), "handshake: certificate expired");
        let outer = Err::<(), _>(error).context("dialling").unwrap_err();
        assert_eq!(Exit::of(&outer), Exit::Tls);
        assert_eq!(Exit::of(&anyhow!("plain")), Exit::Failed);
    }
}
