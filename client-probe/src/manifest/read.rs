//! Reading manifests back, a million lines in about a second.

use super::HEADER;
use sluice_moqt::types::ObjectStatus;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
    /// The first line is another.
    #[error("not a manifest: the first line must be `{HEADER}`")]
    NoHeader,
    /// A line that does not parse.
    #[error("line {line}: {what}")]
    BadLine {
        /// Line number from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// One object line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Index into [`Manifest::tracks`].
    pub track: usize,
    /// Group.
    pub group: u64,
    /// Object.
    pub object: u64,
    /// Subgroup; `None` for a datagram.
    pub subgroup: Option<u64>,
    /// Payload bytes.
    pub length: u64,
    /// BLAKE3 of the payload.
    pub payload: blake3::Hash,
    /// Start of the hash of the properties.
    pub properties: Option<u64>,
    /// Line number from 1.
    pub line: usize,
}

/// A manifest in memory.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    /// Track names in order of appearance, escaped.
    pub tracks: Vec<String>,
    /// Object lines in order, markers left out.
    pub entries: Vec<Entry>,
    /// Subgroups still being delivered at the end: track, group, subgroup.
    pub open: BTreeSet<(String, u64, u64)>,
}

impl Manifest {
    /// Reads a whole manifest.
    ///
    /// # Errors
    /// The input fails, or is no manifest.
    pub fn read(mut input: impl BufRead) -> Result<Self, ReadError> {
        let mut text = String::new();
        input.read_line(&mut text)?;
        if text.trim_end() != HEADER {
            return Err(ReadError::NoHeader);
        }
        let mut manifest = Self::default();
        let mut tracks = BTreeMap::new();
        let mut line = 1;
        loop {
            text.clear();
            if input.read_line(&mut text)? == 0 {
                return Ok(manifest);
            }
            line += 1;
            manifest.take(text.trim_end(), line, &mut tracks).map_err(|what| ReadError::BadLine { line, what })?;
        }
    }

    fn take(&mut self, text: &str, line: usize, tracks: &mut BTreeMap<String, usize>) -> Result<(), &'static str> {
        if let Some(open) = text.strip_prefix("# open ") {
            let mut words = open.split(' ');
            let track = words.next().ok_or("`# open` without a track")?.to_owned();
            self.open.insert((track, number(words.next())?, number(words.next())?));
            return Ok(());
        }
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let mut words = text.split(' ');
        let name = words.next().ok_or("no track")?;
        let track = if let Some(known) = tracks.get(name) {
            *known
        } else {
            self.tracks.push(name.to_owned());
            tracks.insert(name.to_owned(), self.tracks.len() - 1);
            self.tracks.len() - 1
        };
        let group = number(words.next())?;
        let subgroup = match words.next() {
            Some("-") => None,
            word => Some(number(word)?),
        };
        let (object, length) = (number(words.next())?, number(words.next())?);
        let payload = words.next().and_then(|w| blake3::Hash::from_hex(w).ok()).ok_or("BLAKE3 is not 64 hex digits")?;
        let properties = match words.next().ok_or("no properties column")? {
            "-" => None,
            word => Some(u64::from_str_radix(word, 16).map_err(|_| "properties hash is not hex")?),
        };
        let status = status_of(words.next().ok_or("no flags column")?)?;
        if words.next().is_some() {
            return Err("more than 8 columns");
        }
        // Markers are no objects: a fetch leaves them out (draft-18 10.2.1.1), so they prove nothing.
        if status == ObjectStatus::Normal {
            self.entries.push(Entry { track, group, object, subgroup, length, payload, properties, line });
        }
        Ok(())
    }
}

fn number(word: Option<&str>) -> Result<u64, &'static str> {
    word.ok_or("fewer than 8 columns")?.parse().map_err(|_| "a column that must be a number is none")
}

fn status_of(flags: &str) -> Result<ObjectStatus, &'static str> {
    let mut status = ObjectStatus::Normal;
    for flag in flags.chars() {
        match flag {
            '-' | 'd' | 'f' => {}
            'g' => status = ObjectStatus::EndOfGroup,
            't' => status = ObjectStatus::EndOfTrack,
            _ => return Err("unknown flag"),
        }
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_line_is_broken() {
        let hash = blake3::hash(b"").to_hex();
        let cases = [
            ("x\n".to_owned(), "not a manifest"),
            (format!("{HEADER}\nv 1 0 0 0 {hash} - -\nv 1 0\n"), "line 3: fewer than 8 columns"),
            (format!("{HEADER}\nv 1 0 x 0 {hash} - -\n"), "line 2: a column that must be a number"),
            (format!("{HEADER}\nv 1 0 0 0 zz - -\n"), "line 2: BLAKE3"),
            (format!("{HEADER}\nv 1 0 0 0 {hash} - q\n"), "line 2: unknown flag"),
            (format!("{HEADER}\nv 1 0 0 0 {hash} - - -\n"), "line 2: more than 8"),
        ];
        for (text, expected) in cases {
            let error = Manifest::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn markers_are_left_out() {
        let hash = blake3::hash(b"").to_hex();
        let text = format!("{HEADER}\nv 1 0 0 0 {hash} - -\nv 1 0 1 0 {hash} - g\n# open v 1 0\n# other\n");
        let manifest = Manifest::read(text.as_bytes()).unwrap();
        assert_eq!(manifest.entries.len(), 1);
        assert!(manifest.open.contains(&("v".to_owned(), 1, 0)));
    }
}
