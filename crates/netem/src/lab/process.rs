//! Processes that run in a node.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};

/// A process in a node, with what it starts: a process group. The group is killed when the process ends or this is
/// dropped.
///
/// The process is also killed when the lab ends, however that comes: by `kill -9` of this process too. What it started
/// itself is on its own in that last case only.
#[derive(Debug)]
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// `child` leads its process group.
    pub(super) fn new(child: Child) -> Self {
        Self { child, status: None }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The other end of its standard input, once, if the command asked for a pipe.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The other end of its standard output, once, if the command asked for a pipe.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The other end of its standard error, once, if the command asked for a pipe.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() && self.has_ended(WaitIdOptions::NOHANG)? {
            self.reap()?;
        }
        Ok(self.status)
    }

    /// Waits until it ends.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        self.has_ended(WaitIdOptions::empty())?;
        self.reap()
    }

    /// Sends its group a signal, unless it is known to have ended.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.status {
            // Its number is nobody else's until it was reaped.
            None => Ok(kill_process_group(self.pid()?, signal)?),
            Some(_) => Ok(()),
        }
    }

    /// Kills its group, as the out-of-memory killer would, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        match self.status {
            Some(status) => Ok(status),
            None => self.reap(),
        }
    }

    /// Whether it has ended; leaves it a zombie, whose number is still its own.
    fn has_ended(&self, how: WaitIdOptions) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | how;
        Ok(waitid(WaitId::Pid(self.pid()?), options)?.is_some())
    }

    /// Kills what is left of the group, and takes the status of its leader.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        kill_process_group(self.pid()?, Signal::KILL)?;
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    fn pid(&self) -> io::Result<Pid> {
        let number = self.child.id().cast_signed();
        Pid::from_raw(number).ok_or_else(|| io::Error::other("a process has no number"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, and there is nobody to tell.
        let _ = self.kill();
    }
}
