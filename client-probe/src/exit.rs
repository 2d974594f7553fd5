//! What the process says when it ends, and which error says what.

use std::process::ExitCode;

/// Exit codes of every `sluice` program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// All went well; a closed output pipe counts as well.
    Ok,
    /// The work was done and a threshold failed: a difference, an object lost, a reply missing.
    Threshold,
    /// The command line or an input file cannot be used.
    Usage,
    /// The host name does not resolve.
    Name,
    /// Nothing answers there.
    Unreachable,
    /// The certificate or the TLS handshake failed.
    Tls,
    /// The peer refuses us.
    Auth,
    /// The peer and we do not speak the same protocol, or one of us broke it.
    Protocol,
    /// The peer knows no such namespace or track.
    NoSuchStream,
    /// The machine lacks something that the verb needs.
    MissingCapability,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Threshold => 1,
            Self::Usage => 2,
            Self::Name => 3,
            Self::Unreachable => 4,
            Self::Tls => 5,
            Self::Auth => 6,
            Self::Protocol => 7,
            Self::NoSuchStream => 8,
            Self::MissingCapability => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that knows its exit code: one line with cause and fix.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with its code and its one line.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Its code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }
}

/// The code that an error chain stands for: the innermost one that knows, else [`Exit::Threshold`].
/// A broken pipe anywhere in the chain is success: the reader had enough.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> Exit {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken_pipe) {
        return Exit::Ok;
    }
    error.chain().filter_map(|cause| cause.downcast_ref::<Failure>()).last().map_or(Exit::Threshold, Failure::exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn innermost_failure_decides() {
        let error = anyhow::Error::from(Failure::new(Exit::Name, "no such host")).context("connecting");
        assert_eq!(exit_of(&error), Exit::Name);
        assert_eq!(exit_of(&anyhow::anyhow!("anything")), Exit::Threshold);
    }

    #[test]
    fn broken_pipe_is_success() {
        let io: Result<(), _> = Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(exit_of(&io.context("writing the report").unwrap_err()), Exit::Ok);
    }
}
