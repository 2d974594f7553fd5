//! Manifests: one line per object, so that what was published and what arrived can be compared byte for byte.
//!
//! ```text
//! # sluice-manifest 1
//! video0 1774000000000 0 0 48211 5f0c..(64 hex digits) 91ab..(16 hex digits) f
//! # open video0 1774000000001 0
//! ```
//! Columns: track, group, subgroup (`-` for a datagram), object, payload length, BLAKE3 of the payload, the first
//! 8 bytes of BLAKE3 of the properties (`-` without properties), flags. `# open` lines end a manifest of a receiver
//! that stopped while these subgroups were still being delivered.

mod diff;
mod read;

pub use diff::{Diff, Difference, Kind, TrackDiff, compare};
pub use read::{Entry, Manifest, ReadError};

use bytes::Bytes;
use sluice_moqt::types::ObjectStatus;
use std::fmt;

/// First line of every manifest.
pub const HEADER: &str = "# sluice-manifest 1";

/// How an object reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// On a subgroup stream.
    Subgroup,
    /// In a datagram.
    Datagram,
    /// On a fetch stream.
    Fetch,
}

/// One object as a manifest line; hashes are taken when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    track: String,
    group: u64,
    subgroup: Option<u64>,
    object: u64,
    length: usize,
    payload: blake3::Hash,
    properties: Option<u64>,
    flags: Flags,
}

/// What is unusual about an object; `-` when nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flags {
    /// How it came.
    pub via: Via,
    /// Whether it is an object or a marker.
    pub status: ObjectStatus,
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let via = match self.via {
            Via::Subgroup => "",
            Via::Datagram => "d",
            Via::Fetch => "f",
        };
        let status = match self.status {
            ObjectStatus::Normal => "",
            ObjectStatus::EndOfGroup => "g",
            ObjectStatus::EndOfTrack => "t",
        };
        if via.is_empty() && status.is_empty() { f.write_str("-") } else { write!(f, "{via}{status}") }
    }
}

/// Where an object stands in its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Group.
    pub group: u64,
    /// Subgroup; `None` for a datagram.
    pub subgroup: Option<u64>,
    /// Object.
    pub object: u64,
}

impl Record {
    /// The line for an object of the track `name`.
    #[must_use]
    pub fn new(name: &[u8], at: Position, body: (&Bytes, &Bytes), flags: Flags) -> Self {
        let (payload, properties) = body;
        Self {
            track: escape(name),
            group: at.group,
            subgroup: at.subgroup,
            object: at.object,
            length: payload.len(),
            payload: blake3::hash(payload),
            properties: (!properties.is_empty()).then(|| short_hash(properties)),
            flags,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { track, group, object, length, payload, flags, .. } = self;
        write!(f, "{track} {group} ")?;
        match self.subgroup {
            Some(subgroup) => write!(f, "{subgroup}")?,
            None => f.write_str("-")?,
        }
        write!(f, " {object} {length} {} ", payload.to_hex())?;
        match self.properties {
            Some(hash) => write!(f, "{hash:016x}")?,
            None => f.write_str("-")?,
        }
        write!(f, " {flags}")
    }
}

/// The line that says a subgroup was still being delivered when the receiver stopped.
#[must_use]
pub fn open_line(name: &[u8], group: u64, subgroup: u64) -> String {
    format!("# open {} {group} {subgroup}", escape(name))
}

/// A track name as one word: letters, digits, `_` and `.`-escapes as in draft-18 1.5, `-` for the empty name.
#[must_use]
pub fn escape(name: &[u8]) -> String {
    use fmt::Write as _;
    if name.is_empty() {
        return "-".to_owned();
    }
    let mut out = String::with_capacity(name.len());
    for byte in name {
        if byte.is_ascii_alphanumeric() || *byte == b'_' {
            out.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, ".{byte:02x}");
        }
    }
    out
}

fn short_hash(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(blake3::hash(bytes).as_bytes()) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_every_column() {
        let at = Position { group: 7, subgroup: Some(0), object: 3 };
        let flags = Flags { via: Via::Fetch, status: ObjectStatus::Normal };
        let body = (Bytes::from_static(b"abc"), Bytes::from_static(&[0x3c, 1]));
        let line = Record::new(b"catalog.json", at, (&body.0, &body.1), flags).to_string();
        let hash = blake3::hash(b"abc").to_hex();
        let properties = &blake3::hash(&[0x3c, 1]).to_hex()[..16];
        assert_eq!(line, format!("catalog.2ejson 7 0 3 3 {hash} {properties} f"));
    }

    #[test]
    fn marks_and_datagrams_are_flagged() {
        let at = Position { group: 7, subgroup: None, object: 3 };
        let flags = Flags { via: Via::Datagram, status: ObjectStatus::EndOfGroup };
        let empty = Bytes::new();
        let line = Record::new(b"", at, (&empty, &empty), flags).to_string();
        assert!(line.starts_with("- 7 - 3 0 ") && line.ends_with(" - dg"), "{line}");
    }
}
