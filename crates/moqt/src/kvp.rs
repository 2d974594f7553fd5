//! Key-value pairs (draft-18 1.4.3): setup options and properties.

use crate::error::DecodeError;

/// Longest value in bytes.
pub const MAX_VALUE_BYTES: u64 = 65_535;

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
    _rest: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Over a run that ends where `run` ends.
    #[must_use]
    pub const fn new(run: &'a [u8]) -> Self {
        Self { _rest: run }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<Pair<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
