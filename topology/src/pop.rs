//! Names of PoPs.

use std::fmt;
use std::str::FromStr;

/// Longest PoP name in bytes.
pub const MAX_POP_ID_BYTES: usize = 63;

/// Why a text is not a PoP name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PopIdError {
    /// Nothing there.
    #[error("a PoP name must not be empty")]
    Empty,
    /// More than [`MAX_POP_ID_BYTES`].
    #[error("a PoP name has at most 63 bytes, this one has {0}")]
    TooLong(usize),
    /// A character that does not belong.
    #[error("a PoP name consists of a-z, 0-9, `-` and `.`, starting with a letter or digit; found {0:?}")]
    BadCharacter(char),
}

/// The name of a PoP: `a-z`, `0-9`, `-` and `.`, 1 to 63 bytes, starting with a letter or digit.
///
/// The order is the byte order of the names; it decides who dials whom and ties between equal paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PopId(String);

impl PopId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PopId {
    /// The name of one shard of this PoP, `POP#INDEX`: no certificate and no configuration can carry it.
    #[must_use]
    pub fn shard(&self, index: u8) -> Self {
        Self(format!("{}#{index}", self.0))
    }

    /// The shard that `name` names, where it is a shard of this PoP.
    #[must_use]
    pub fn shard_of(&self, name: &str) -> Option<Self> {
        let index = name.strip_prefix(self.0.as_str())?.strip_prefix('#')?;
        index.parse().ok().map(|index| self.shard(index))
    }
}

impl FromStr for PopId {
    type Err = PopIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.is_empty() {
            return Err(PopIdError::Empty);
        }
        if s.len() > MAX_POP_ID_BYTES {
            return Err(PopIdError::TooLong(s.len()));
        }
        let legal =
            |(at, c): (usize, char)| c.is_ascii_lowercase() || c.is_ascii_digit() || (at > 0 && matches!(c, '-' | '.'));
        if let Some((_, bad)) = s.char_indices().find(|pair| !legal(*pair)) {
            return Err(PopIdError::BadCharacter(bad));
        }
        Ok(Self(s.to_owned()))
    }
}

impl fmt::Display for PopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_after_their_pop_only() {
        let pop: PopId = "fra1".parse().expect("legal");
        assert_eq!(pop.shard_of("fra1#7"), Some(pop.shard(7)));
        assert_eq!(pop.shard_of("fra1#256"), None);
        assert_eq!(pop.shard_of("fra#1"), None);
        assert_eq!(pop.shard_of("fra1"), None);
    }

    #[test]
    fn names_are_checked() {
        assert!("fra1".parse::<PopId>().is_ok());
        assert!("ams-origin.eu".parse::<PopId>().is_ok());
        assert_eq!("".parse::<PopId>(), Err(PopIdError::Empty));
        assert_eq!("Fra".parse::<PopId>(), Err(PopIdError::BadCharacter('F')));
        assert_eq!("-fra".parse::<PopId>(), Err(PopIdError::BadCharacter('-')));
        assert_eq!("a".repeat(64).parse::<PopId>(), Err(PopIdError::TooLong(64)));
    }
}
