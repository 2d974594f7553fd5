//! A cursor over received bytes whose getters name what they read, so that every refusal says where.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::DecodeError;
use crate::types::Location;
use crate::varint;

/// Reads fields one after the other; a failed getter leaves the position somewhere inside the field.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.len.saturating_sub(self.rest.len())
    }

    /// A variable-length integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn varint(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        varint::decode(&mut self.rest).map_err(|short| DecodeError::Truncated { field, missing: short.missing })
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let Some((&first, rest)) = self.rest.split_first() else {
            return Err(DecodeError::Truncated { field, missing: 1 });
        };
        self.rest = rest;
        Ok(first)
    }

    /// Two bytes in network byte order.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        let Some((&bytes, rest)) = self.rest.split_first_chunk::<2>() else {
            return Err(DecodeError::Truncated { field, missing: 2_usize.saturating_sub(self.rest.len()) });
        };
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    /// Group, then object.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn location(&mut self, field: &'static str) -> Result<Location, DecodeError> {
        Ok(Location::new(self.varint(field)?, self.varint(field)?))
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeError::Truncated { field, missing: len.saturating_sub(self.rest.len()) });
        };
        self.rest = rest;
        Ok(taken)
    }

    /// A length of at most `limit`, and that many bytes.
    ///
    /// # Errors
    /// [`DecodeError::OverLimit`] as soon as the length is known, else [`DecodeError::Truncated`].
    pub fn prefixed(&mut self, limit: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let value = self.varint(field)?;
        match usize::try_from(value) {
            Ok(len) if len <= limit => self.bytes(len, field),
            Ok(_) | Err(_) => Err(DecodeError::OverLimit { field, value, limit: limit as u64 }),
        }
    }

    /// Everything not read yet.
    pub const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Refuses bytes after the last field.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub const fn finish(self, message: &'static str) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { message, count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_it_has_read() {
        let mut reader = Reader::new(&[1, 0x80, 2, 3, 0, 4, 9]);
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.location("b"), Ok(Location::new(2, 3)));
        assert_eq!(reader.u16("c"), Ok(4));
        assert_eq!((reader.position(), reader.remaining()), (6, 1));
        assert_eq!(reader.clone().finish("m"), Err(DecodeError::Trailing { message: "m", count: 1 }));
        assert_eq!(reader.take_rest(), [9]);
        assert_eq!(reader.finish("m"), Ok(()));
    }

    #[test]
    fn says_what_is_missing_at_least() {
        let short = |missing| Err(DecodeError::Truncated { field: "f", missing });
        assert_eq!(Reader::new(&[]).u8("f").map(drop), short(1));
        assert_eq!(Reader::new(&[7]).u16("f").map(drop), short(1));
        assert_eq!(Reader::new(&[0xC0]).varint("f").map(drop), short(2));
        assert_eq!(Reader::new(&[5, 1, 2]).prefixed(9, "f").map(drop), short(3));
    }

    #[test]
    fn a_length_over_its_limit_is_refused_before_its_bytes_arrive() {
        let over = DecodeError::OverLimit { field: "f", value: u64::MAX, limit: 9 };
        assert_eq!(Reader::new(&[0xFF; 9]).prefixed(9, "f"), Err(over));
    }
}
