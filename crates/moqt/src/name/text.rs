//! Names as text, safe for file names and URLs (draft-18 1.5): fields joined by `-`, then `--` and the track name;
//! bytes other than a-z, A-Z, 0-9 and `_` as `.xx`.
//!
//! The form is canonical: every name has exactly one text, and every text that parses is the text of its name.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{NameError, Namespace, TrackName};
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.fields.iter().enumerate() {
            if i > 0 {
                f.write_str("-")?;
            }
            write_escaped(f, field)?;
        }
        Ok(())
    }
}

impl fmt::Display for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--", self.namespace)?;
        write_escaped(f, &self.name)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({self})")
    }
}

impl fmt::Debug for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackName({self})")
    }
}

impl FromStr for Namespace {
    type Err = NameError;

    /// Reads what `Display` writes; empty text is the empty namespace.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut at = 0_usize;
        let mut fields = Vec::new();
        for part in text.split('-') {
            fields.push(unescape(part, at)?);
            at = at.saturating_add(part.len()).saturating_add(1);
        }
        Self::new(fields)
    }
}

impl FromStr for TrackName {
    type Err = NameError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, NameError> {
        // Fields are not empty and `-` is escaped inside them, so the first `--` is the only one.
        let (namespace, name) = text.split_once("--").ok_or(NameError::BadText(text.len()))?;
        let at = namespace.len().saturating_add(2);
        Self::new(namespace.parse()?, unescape(name, at)?)
    }
}

const fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        if is_literal(*byte) {
            write!(f, "{}", char::from(*byte))?;
        } else {
            write!(f, ".{byte:02x}")?;
        }
    }
    Ok(())
}

/// `start` is where `text` stands in the whole, for the error.
fn unescape(text: &str, start: usize) -> Result<Bytes, NameError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let literal = match byte {
            b'.' => {
                let digits = bytes.next().zip(bytes.next()).map(|((_, high), (_, low))| (high, low));
                digits.and_then(|(high, low)| escaped(high, low))
            }
            byte => is_literal(byte).then_some(byte),
        };
        out.push(literal.ok_or_else(|| NameError::BadText(start.saturating_add(at)))?);
    }
    Ok(out.into())
}

/// The byte that `.` with these two digits stands for: lower case only, and only bytes that need it
/// (draft-18 1.5.1: "A parser MUST reject such redundant encodings").
const fn escaped(high: u8, low: u8) -> Option<u8> {
    match (hex_digit(high), hex_digit(low)) {
        (Some(high), Some(low)) => {
            let byte = high << 4 | low;
            if is_literal(byte) { None } else { Some(byte) }
        }
        (Some(_) | None, _) => None,
    }
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::arbitrary::{namespace, track_name};
    use super::*;
    use proptest::prelude::*;

    fn bad(text: &str) -> Option<usize> {
        match text.parse::<TrackName>() {
            Err(NameError::BadText(at)) => Some(at),
            Ok(_) | Err(_) => None,
        }
    }

    #[test]
    fn the_example_of_the_draft() {
        let name: TrackName = "example.2enet-team2-project_x--report".parse().expect("canonical");
        let fields = [&b"example.net"[..], b"team2", b"project_x"];
        assert_eq!(name.namespace().fields(), fields);
        assert_eq!(name.name(), "report");
        assert_eq!(name.to_string(), "example.2enet-team2-project_x--report");
    }

    #[test]
    fn uppercase_hex_digits_must_cause_parsing_to_fail() {
        assert_eq!(bad("a.2E--b"), Some(1));
        assert!("a.2e--b".parse::<TrackName>().is_ok());
    }

    #[test]
    fn a_parser_must_reject_redundant_encodings() {
        for text in [".61--b", ".5a--b", ".30--b", ".5f--b"] {
            assert_eq!(bad(text), Some(0), "{text}");
        }
    }

    #[test]
    fn a_period_must_be_followed_by_exactly_two_hex_digits() {
        for text in ["a--b.", "a--b.2", "a--b.2g"] {
            assert_eq!(bad(text), Some(4), "{text}");
        }
    }

    #[test]
    fn text_of_no_name_is_refused() {
        assert_eq!(bad("a-b"), Some(3), "no track name");
        assert_eq!(bad("a---b"), Some(3), "a third hyphen");
        assert_eq!(bad("a b--c"), Some(1), "a byte that needs an escape");
        assert_eq!(bad("\u{e4}--c"), Some(0), "not ASCII");
        assert_eq!("-a--c".parse::<TrackName>(), Err(NameError::EmptyField(0)));
    }

    #[test]
    fn empty_parts_round_trip() {
        for text in ["--", "--name", "a--"] {
            assert_eq!(text.parse::<TrackName>().expect("canonical").to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn track_names_round_trip(name in track_name()) {
            prop_assert_eq!(name.to_string().parse::<TrackName>(), Ok(name));
        }

        #[test]
        fn namespaces_round_trip(namespace in namespace()) {
            prop_assert_eq!(namespace.to_string().parse::<Namespace>(), Ok(namespace));
        }

        #[test]
        fn what_parses_is_the_text_of_its_name(text in "[a-c.0-9A-F-]{0,12}") {
            if let Ok(name) = text.parse::<TrackName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn parsing_never_panics(text: String) {
            let _ = text.parse::<TrackName>();
        }
    }
}
