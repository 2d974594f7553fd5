//! The only place that writes to the terminal: data on stdout, everything else on stderr.

use crate::cli::Format;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

/// Time between two progress lines on a terminal.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Where data goes: stdout, or whatever a test reads.
pub(crate) struct Report {
    out: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Report")
    }
}

impl Report {
    /// To stdout.
    pub(crate) fn stdout() -> Self {
        Self::to(Box::new(io::stdout()))
    }

    /// To anything else.
    pub(crate) fn to(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }

    /// One line of data.
    ///
    /// # Errors
    /// It cannot be written; a closed pipe ends the program as a success.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// One JSON object as a line of data.
    ///
    /// # Errors
    /// As [`Report::line`].
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line(serde_json::to_string(value)?)
    }

    /// A result that people read as text and programs as JSON.
    ///
    /// # Errors
    /// As [`Report::line`].
    pub(crate) fn result<T: Serialize + std::fmt::Display>(&mut self, format: Format, value: &T) -> io::Result<()> {
        match format {
            Format::Human => self.line(value),
            Format::Json | Format::Jsonl => self.json(value),
        }
    }
}

/// One line for people, on stderr. Failing to write it is no failure.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The error that ends the program, with its causes, on one line.
pub(crate) fn error(error: &anyhow::Error) {
    note(format_args!("error: {error:#}"));
}

/// A line on a terminal's stderr that is written over and over; silent elsewhere and for machines.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    next: Option<Instant>,
}

impl Progress {
    /// A progress line, shown when stderr is a terminal and the format is for people.
    #[must_use]
    pub(crate) fn new(format: Format) -> Self {
        Self { shown: format == Format::Human && io::stderr().is_terminal(), next: None }
    }

    /// Shows what `text` returns, at most every half second.
    pub(crate) fn update(&mut self, now: Instant, text: impl FnOnce() -> String) {
        if !self.shown || self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + PROGRESS_INTERVAL);
        let _ = write!(io::stderr().lock(), "\r\x1b[K{}", text());
    }

    /// Clears the line.
    pub(crate) fn clear(&mut self) {
        if self.shown && self.next.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
