//! Standard output: the data a command was asked for. Everything else goes to standard error, through [`crate::logging`].

use std::io::{self, Write};

/// How a command prints its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For reading.
    #[default]
    Human,
    /// One JSON document.
    Json,
    /// One JSON document per line.
    Jsonl,
}

/// Prints `data` and a line end. A reader that went away is no failure.
///
/// # Errors
/// Standard output cannot be written for another reason, such as a full disk.
pub fn line(data: impl std::fmt::Display) -> io::Result<()> {
    tolerate_broken_pipe(writeln!(io::stdout().lock(), "{data}"))
}

/// Prints `text` as it is; otherwise as [`line()`].
///
/// # Errors
/// As [`line()`].
pub fn text(text: &str) -> io::Result<()> {
    tolerate_broken_pipe(io::stdout().lock().write_all(text.as_bytes()))
}

/// The one line (or few) that says why a command failed, on standard error.
pub fn failure(error: &anyhow::Error) {
    // Nobody is left to tell where standard error is closed.
    let _ = writeln!(io::stderr().lock(), "error: {}", sentence(error));
}

/// The error with its causes, without those that it names itself.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn tolerate_broken_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_named_already_is_not_repeated() {
        let error = anyhow::anyhow!("in use").context("cannot listen: in use; choose another").context("starting");
        assert_eq!(sentence(&error), "starting: cannot listen: in use; choose another");
    }

    #[test]
    fn a_broken_pipe_is_success_and_a_full_disk_is_not() {
        assert!(tolerate_broken_pipe(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(tolerate_broken_pipe(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
