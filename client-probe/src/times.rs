//! `--times`: one line per object with its times, for tools that look for gaps.
//!
//! ```text
//! # sluice-times 1
//! published video0 1774000000000 0 48211 1774000000000123
//! dialled 3 1774000000100000
//! arrived 3 video0 1774000000000 0 48211 1774000000040456 1774000000000123
//! down 3 1774000002000000
//! left 3 1774000009000000
//! ```
//! Columns: what, viewer (not of a publisher), track as in a manifest, group, object, payload length, when it happened
//! and, of arrivals, when it was published (`-` where it carries no stamp). Times are unix microseconds.

use crate::core::Object;
use crate::exit::Failure;
use crate::manifest::escape;
use crate::sidefile::SideFile;
use sluice_media::stamp_micros;
use std::path::Path;
use std::time::{Duration, Instant};

/// First line of every file.
const HEADER: &str = "# sluice-times 1";
/// What a process that is killed may not have written yet.
const FLUSH: Duration = Duration::from_millis(20);

/// A file of times.
#[derive(Debug)]
pub(crate) struct Times {
    file: SideFile,
    flushed: Option<Instant>,
}

/// Something that happened to a viewer's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happened {
    Dialled,
    Down,
    Left,
}

impl Times {
    /// Creates the file, where one is asked for.
    ///
    /// # Errors
    /// It cannot be created.
    pub(crate) fn create(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let mut file = SideFile::create(path)?;
        file.line(HEADER);
        file.flush();
        Ok(Some(Self { file, flushed: None }))
    }

    /// An object was published; one without a stamp has no time.
    pub(crate) fn published(&mut self, now: Instant, track: &[u8], (group, object): (u64, u64), body: (usize, &[u8])) {
        if let Some(at) = stamp_micros(body.1) {
            self.file.line(format_args!("published {} {group} {object} {} {at}", escape(track), body.0));
            self.flush(now);
        }
    }

    /// An object arrived; `unix` is the wall clock at its arrival.
    pub(crate) fn arrived(&mut self, viewer: usize, object: &Object, unix: Duration) {
        let (track, at) = (escape(&object.track), object.at);
        let line = format_args!("arrived {viewer} {track} {} {} {}", at.group, at.object, object.length).to_string();
        match stamp_micros(&object.properties) {
            Some(stamp) => self.file.line(format_args!("{line} {} {stamp}", unix.as_micros())),
            None => self.file.line(format_args!("{line} {} -", unix.as_micros())),
        }
        self.flush(object.arrived);
    }

    /// Something happened to a viewer.
    pub(crate) fn happened(&mut self, now: Instant, viewer: usize, what: Happened, unix: Duration) {
        let what = match what {
            Happened::Dialled => "dialled",
            Happened::Down => "down",
            Happened::Left => "left",
        };
        self.file.line(format_args!("{what} {viewer} {}", unix.as_micros()));
        self.flush(now);
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Something could not be stored.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.file.finish()
    }

    fn flush(&mut self, now: Instant) {
        if self.flushed.is_none_or(|flushed| now.saturating_duration_since(flushed) >= FLUSH) {
            self.flushed = Some(now);
            self.file.flush();
        }
    }
}
