//! Track namespaces and names (draft-18 1.5 and 2.4.1), checked once, where they enter.

use bytes::Bytes;
use std::fmt;

/// Most fields of a namespace (draft-18 2.4.1).
pub const MAX_NAMESPACE_FIELDS: usize = 32;
/// Most bytes of a full track name: all fields plus the track name (draft-18 2.4.1).
pub const MAX_FULL_NAME_BYTES: usize = 4096;

/// Why a name is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// More than [`MAX_NAMESPACE_FIELDS`].
    #[error("namespace has {0} fields, the limit is 32")]
    TooManyFields(usize),
    /// A field of no bytes.
    #[error("namespace field {0} is empty")]
    EmptyField(usize),
    /// More than [`MAX_FULL_NAME_BYTES`].
    #[error("full track name has {0} bytes, the limit is 4096")]
    TooLong(usize),
}

/// A track namespace, or a prefix of one: 0 to 32 non-empty byte strings.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Namespace {
    fields: Vec<Bytes>,
}

impl Namespace {
    /// Checks and takes `fields`.
    ///
    /// # Errors
    /// Too many fields, an empty one, or more than 4096 bytes together.
    pub fn new(fields: Vec<Bytes>) -> Result<Self, NameError> {
        if fields.len() > MAX_NAMESPACE_FIELDS {
            return Err(NameError::TooManyFields(fields.len()));
        }
        if let Some(at) = fields.iter().position(Bytes::is_empty) {
            return Err(NameError::EmptyField(at));
        }
        let total = fields.iter().map(Bytes::len).sum();
        if total > MAX_FULL_NAME_BYTES {
            return Err(NameError::TooLong(total));
        }
        Ok(Self { fields })
    }

    /// Splits a URL path at `/`, ignoring empty segments: `/live/match7` is (live, match7).
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn from_path(path: &str) -> Result<Self, NameError> {
        Self::new(
            path.split('/')
                .filter(|s| !s.is_empty())
                .map(|s| Bytes::copy_from_slice(s.as_bytes()))
                .collect(),
        )
    }

    /// The fields in order.
    #[must_use]
    pub fn fields(&self) -> &[Bytes] {
        &self.fields
    }

    /// Whether there is no field (as a prefix: matches everything).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Bytes of all fields together.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.fields.iter().map(Bytes::len).sum()
    }

    /// Field-wise prefix test; `(a, b)` is a prefix of `(a, b, c)`, never of `(a, bc)`.
    #[must_use]
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.fields.starts_with(&self.fields)
    }

    /// What follows `prefix`, or `None` where it is none.
    #[must_use]
    pub fn suffix_after(&self, prefix: &Self) -> Option<Self> {
        self.fields.strip_prefix(prefix.fields.as_slice()).map(|rest| Self { fields: rest.to_vec() })
    }
}

/// A full track name: namespace plus track name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackName {
    namespace: Namespace,
    name: Bytes,
}

impl TrackName {
    /// Checks the length of both together.
    ///
    /// # Errors
    /// More than 4096 bytes.
    pub fn new(namespace: Namespace, name: Bytes) -> Result<Self, NameError> {
        let total = namespace.byte_len() + name.len();
        if total > MAX_FULL_NAME_BYTES {
            return Err(NameError::TooLong(total));
        }
        Ok(Self { namespace, name })
    }

    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The track name within the namespace.
    #[must_use]
    pub const fn name(&self) -> &Bytes {
        &self.name
    }
}

/// draft-18 1.5: bytes other than a-z, A-Z, 0-9 and `_` become `.xx`.
fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for b in bytes {
        if b.is_ascii_alphanumeric() || *b == b'_' {
            write!(f, "{}", char::from(*b))?;
        } else {
            write!(f, ".{b:02x}")?;
        }
    }
    Ok(())
}

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
