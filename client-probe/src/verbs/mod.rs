//! One module per verb: what it does with the client's events, and how it reports.

pub(crate) mod diff;
pub(crate) mod load;
pub(crate) mod ping;
pub(crate) mod publish;
pub(crate) mod watch;

use crate::exit::Failure;
use crate::manifest::HEADER;
use crate::sidefile::SideFile;
use std::path::Path;
use std::time::{Duration, Instant};

/// A manifest with its header.
pub(crate) fn open_manifest(path: Option<&Path>) -> Result<Option<SideFile>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let mut file = SideFile::create(path)?;
    file.line(HEADER);
    file.flush();
    Ok(Some(file))
}

/// Something due again and again.
#[derive(Debug)]
pub(crate) struct Every {
    interval: Duration,
    next: Instant,
}

impl Every {
    /// First due one interval after `now`.
    pub(crate) fn new(now: Instant, interval: Duration) -> Self {
        Self { interval, next: now + interval }
    }

    /// Whether it is due; then it is next due one interval later, late or not.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = (self.next + self.interval).max(now);
        true
    }

    pub(crate) const fn next(&self) -> Instant {
        self.next
    }
}
