//! Child processes: this same binary in another role, so that CPU time and memory are one role's alone.

use crate::support::pattern::Pattern;
use crate::support::protocol::{self, Role};
use crate::support::{floor, load, sender};
use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};

/// Plays the role that the parent has handed over.
pub(crate) fn perform(role: &str) -> anyhow::Result<()> {
    match serde_json::from_str(role)? {
        Role::Floor { viewers, megabits, rounds } => {
            protocol::say(&floor::measure(viewers, Pattern::new(megabits), rounds)?)
        }
        Role::Sender(run) => sender::run(run),
        Role::Load { run, sender } => load::run(run, &sender),
    }
}

/// A process in a role; killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this binary as `role`.
    pub(crate) fn spawn(role: &Role) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this bench's own binary")?;
        let mut process = Command::new(program)
            .arg("--child")
            .arg(serde_json::to_string(role)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a child of this bench")?;
        let stdin = process.stdin.take().context("a child without stdin")?;
        let stdout = BufReader::new(process.stdout.take().context("a child without stdout")?);
        Ok(Self { process, stdin, stdout })
    }

    /// Says `message` to the child.
    pub(crate) fn say(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        writeln!(self.stdin, "{}", serde_json::to_string(message)?).context("writing to a child")
    }

    /// The child's next message, within `seconds`.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self, seconds: u32) -> anyhow::Result<T> {
        if self.stdout.buffer().is_empty() {
            let patience = Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
            let mut waiting = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
            if poll(&mut waiting, Some(&patience))? == 0 {
                bail!("a child said nothing for {seconds} s");
            }
        }
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("a child ended early; its error stands above");
        }
        serde_json::from_str(&line).with_context(|| format!("a child said {line:?}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Errors say that it ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
