//! A process of a fleet, wherever it runs.

use rustix::process::{Pid, Signal, kill_process};
use sluice_netem::lab;
use std::io;
use std::process::{Child, ExitStatus};

/// A running or ended process. Dropping it kills it.
#[derive(Debug)]
pub(super) enum Running {
    /// On this machine.
    Here(Here),
    /// In a node of a lab.
    Lab(lab::Process),
}

/// A child of this process.
#[derive(Debug)]
pub(super) struct Here {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Here {
    pub(super) const fn new(child: Child) -> Self {
        Self { child, ended: None }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match (self.ended, Pid::from_raw(self.child.id().cast_signed())) {
            // Its number is reserved until its end was noticed here.
            (None, Some(pid)) => Ok(kill_process(pid, signal)?),
            (Some(_), _) | (None, None) => Ok(()),
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        if self.ended.is_none() {
            self.child.kill()?;
            self.ended = Some(self.child.wait()?);
        }
        Ok(())
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // It may have ended; there is nobody to tell otherwise.
        let _ = self.kill();
    }
}

impl Running {
    /// Its number, for as long as it has not ended.
    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Here(here) => here.child.id(),
            Self::Lab(process) => process.id(),
        }
    }

    /// How it ended, if it has.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Here(here) => here.try_wait(),
            Self::Lab(process) => process.try_wait(),
        }
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self {
            Self::Here(here) => here.signal(signal),
            Self::Lab(process) => process.signal(signal),
        }
    }

    /// Kills it without a word.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        match self {
            Self::Here(here) => here.kill(),
            Self::Lab(process) => process.kill().map(drop),
        }
    }
}
