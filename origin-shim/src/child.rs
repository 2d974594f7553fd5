//! A child process that is read from, and that does not outlive its owner.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;

/// Bytes kept of a line of standard error.
const LINE_MAX: usize = 512;
/// How long a child may take to end after it closed its output, and its standard error after that.
const END_MAX: Duration = Duration::from_secs(2);

/// Standard input of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feeding {
    /// It has none.
    Nothing,
    /// It is written to by us.
    Piped,
}

/// A running child with its process group.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
    /// Reads standard error and returns its last line.
    complaints: JoinSet<String>,
}

impl Child {
    /// Starts `words`, the first of which names the program.
    pub(crate) fn spawn(words: &[String], feeding: Feeding) -> io::Result<(Self, ChildStdout, Option<ChildStdin>)> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
        };
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(match feeding {
                Feeding::Nothing => Stdio::null(),
                Feeding::Piped => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: ^C is ours to handle, and what the child starts ends with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start {program}: {error}")))?;
        let group = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let stdout = stdout.ok_or_else(|| io::Error::other("the child has no standard output"))?;
        let mut complaints = JoinSet::new();
        if let Some(stderr) = stderr {
            complaints.spawn(last_line(stderr));
        }
        Ok((Self { process, group, complaints }, stdout, stdin))
    }

    /// Waits for its end and says how it was, with its last complaint.
    pub(crate) async fn end(mut self) -> String {
        let status = match tokio::time::timeout(END_MAX, self.process.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "closed its output and goes on; killed".to_owned(),
        };
        self.kill();
        match tokio::time::timeout(END_MAX, self.complaints.join_next()).await {
            Ok(Some(Ok(line))) if !line.is_empty() => format!("{status}: {line}"),
            Ok(_) | Err(_) => status,
        }
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // There is no group any more where all of it has ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads to the end and returns the last line that says something.
async fn last_line(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut lines = LastLine::default();
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        lines.push(piece.get(..read).unwrap_or_default());
    }
    lines.finish()
}

/// Keeps the last line of a text that comes in pieces, and of long lines their start.
#[derive(Debug, Default)]
struct LastLine {
    complete: Vec<u8>,
    open: Vec<u8>,
}

impl LastLine {
    fn push(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                // Progress lines end with a carriage return.
                b'\n' | b'\r' => self.end_line(),
                _ if self.open.len() < LINE_MAX => self.open.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        if self.open.iter().any(|byte| !byte.is_ascii_whitespace()) {
            self.complete = std::mem::take(&mut self.open);
        }
        self.open.clear();
    }

    fn finish(mut self) -> String {
        self.end_line();
        String::from_utf8_lossy(&self.complete).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_kept() {
        let mut lines = LastLine::default();
        for piece in ["first\nsec", "ond: ", "no such host\r\n", "  \n\n"] {
            lines.push(piece.as_bytes());
        }
        assert_eq!(lines.finish(), "second: no such host");
        let mut long = LastLine::default();
        long.push(&[b'x'; 4096]);
        assert_eq!(long.finish().len(), LINE_MAX);
    }
}
