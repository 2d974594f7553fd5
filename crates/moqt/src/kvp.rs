//! Key-value pairs (draft-18 1.4.3): setup options and properties.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::DecodeError;
use crate::reader::Reader;
use crate::varint;
use bytes::BufMut;

/// Longest value in bytes.
pub const MAX_VALUE_BYTES: usize = 65_535;

/// A value; an even type has an integer, an odd one bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of an even type.
    Int(u64),
    /// Of an odd type.
    Bytes(&'a [u8]),
}

/// One pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Absolute type.
    pub kind: u64,
    /// Value.
    pub value: Value<'a>,
}

/// Reads a run of pairs; ends after the first error.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    rest: Reader<'a>,
    previous: u64,
}

impl<'a> Pairs<'a> {
    /// Over a run that ends where `run` ends.
    #[must_use]
    pub const fn new(run: &'a [u8]) -> Self {
        Self { rest: Reader::new(run), previous: 0 }
    }

    fn read(&mut self) -> Result<Pair<'a>, DecodeError> {
        let delta = self.rest.varint("Delta Type")?;
        let kind = self.previous.checked_add(delta).ok_or(DecodeError::OutOfRange { field: "Delta Type" })?;
        self.previous = kind;
        let value = if kind.is_multiple_of(2) {
            Value::Int(self.rest.varint("Key-Value-Pair value")?)
        } else {
            Value::Bytes(self.rest.prefixed(MAX_VALUE_BYTES, "Key-Value-Pair length")?)
        };
        Ok(Pair { kind, value })
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<Pair<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.remaining() == 0 {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest.take_rest();
        }
        Some(read)
    }
}

/// Writes a run of pairs; the caller keeps types ascending and of the right parity, values within the limit.
#[derive(Debug, Default)]
pub(crate) struct PairWriter {
    previous: u64,
}

impl PairWriter {
    pub(crate) fn int(&mut self, kind: u64, value: u64, out: &mut impl BufMut) {
        debug_assert!(kind.is_multiple_of(2), "an even type has an integer");
        self.delta(kind, out);
        varint::encode(value, out);
    }

    pub(crate) fn bytes(&mut self, kind: u64, value: &[u8], out: &mut impl BufMut) {
        debug_assert!(!kind.is_multiple_of(2), "an odd type has bytes");
        self.delta(kind, out);
        varint::encode(value.len() as u64, out);
        out.put_slice(value);
    }

    fn delta(&mut self, kind: u64, out: &mut impl BufMut) {
        debug_assert!(kind >= self.previous, "types ascend");
        varint::encode(kind.saturating_sub(self.previous), out);
        self.previous = kind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(run: &[u8]) -> Result<Vec<Pair<'_>>, DecodeError> {
        Pairs::new(run).collect()
    }

    #[test]
    fn types_are_deltas_from_the_previous_type() {
        let pairs = all(&[4, 7, 1, 2, b'a', b'b', 0, 1, b'c', 5, 0]).expect("valid");
        let expected = [
            Pair { kind: 4, value: Value::Int(7) },
            Pair { kind: 5, value: Value::Bytes(b"ab") },
            Pair { kind: 5, value: Value::Bytes(b"c") },
            Pair { kind: 10, value: Value::Int(0) },
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn a_delta_beyond_64_bits_is_a_protocol_violation() {
        let mut run = vec![2, 0];
        run.extend([0xFF; 9]);
        run.push(0);
        let error = all(&run).expect_err("overflow");
        assert_eq!(error, DecodeError::OutOfRange { field: "Delta Type" });
        assert_eq!(error.session_code(), crate::error::SessionCode::ProtocolViolation);
    }

    #[test]
    fn a_value_longer_than_65535_bytes_is_a_protocol_violation() {
        let error = all(&[1, 0xC1, 0x00, 0x00]).expect_err("too long");
        assert_eq!(error, DecodeError::OverLimit { field: "Key-Value-Pair length", value: 65_536, limit: 65_535 });
        assert_eq!(error.session_code(), crate::error::SessionCode::ProtocolViolation);
    }

    #[test]
    fn ends_after_the_first_error() {
        let mut pairs = Pairs::new(&[1, 9, 0]);
        assert!(matches!(pairs.next(), Some(Err(DecodeError::Truncated { missing: 8, .. }))));
        assert_eq!(pairs.next(), None);
    }

    proptest! {
        #[test]
        fn never_panics(run: Vec<u8>) {
            let _ = all(&run);
        }
    }
}
