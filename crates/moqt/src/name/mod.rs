//! Track namespaces and names (draft-18 1.5 and 2.4.1), checked once, where they enter.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod text;

use crate::error::DecodeError;
use crate::reader::Reader;
use crate::varint;
use bytes::{BufMut, Bytes};

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
    /// Serialised text that no name is written as (draft-18 1.5.1); the byte offset.
    #[error("not a canonical serialised name from byte {0} on")]
    BadText(usize),
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
        Self::new(path.split('/').filter(|s| !s.is_empty()).map(|s| Bytes::copy_from_slice(s.as_bytes())).collect())
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

    /// The namespace that `suffix` completes.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn join(&self, suffix: &Self) -> Result<Self, NameError> {
        Self::new(self.fields.iter().chain(&suffix.fields).cloned().collect())
    }

    /// Appends the wire form (draft-18 2.4.1).
    pub fn encode(&self, out: &mut impl BufMut) {
        varint::encode(self.fields.len() as u64, out);
        for field in &self.fields {
            varint::encode(field.len() as u64, out);
            out.put_slice(field);
        }
    }

    /// Reads the wire form. All fields share one allocation of their own.
    ///
    /// # Errors
    /// [`DecodeError::Name`] or [`DecodeError::Truncated`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = length(reader, "Number of Track Namespace Fields")?;
        if count > MAX_NAMESPACE_FIELDS {
            return Err(NameError::TooManyFields(count).into());
        }
        let mut slices = Vec::with_capacity(count);
        let mut total = 0_usize;
        for at in 0..count {
            let len = length(reader, "Track Namespace Field Length")?;
            if len == 0 {
                return Err(NameError::EmptyField(at).into());
            }
            total = total.saturating_add(len);
            if total > MAX_FULL_NAME_BYTES {
                return Err(NameError::TooLong(total).into());
            }
            slices.push(reader.bytes(len, "Track Namespace Field")?);
        }
        let mut shared = Bytes::from(slices.concat());
        let fields = slices.into_iter().map(|field| shared.split_to(field.len())).collect();
        Ok(Self { fields })
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
        let total = namespace.byte_len().saturating_add(name.len());
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

    /// Both parts.
    #[must_use]
    pub fn into_parts(self) -> (Namespace, Bytes) {
        (self.namespace, self.name)
    }

    /// Appends the wire form: namespace, then the length-prefixed name.
    pub fn encode(&self, out: &mut impl BufMut) {
        self.namespace.encode(out);
        varint::encode(self.name.len() as u64, out);
        out.put_slice(&self.name);
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`DecodeError::Name`] or [`DecodeError::Truncated`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let namespace = Namespace::decode(reader)?;
        let len = length(reader, "Track Name Length")?;
        let total = namespace.byte_len().saturating_add(len);
        if total > MAX_FULL_NAME_BYTES {
            return Err(NameError::TooLong(total).into());
        }
        let name = Bytes::copy_from_slice(reader.bytes(len, "Track Name")?);
        Ok(Self { namespace, name })
    }
}

/// A length; what exceeds the address space is over every limit anyway.
fn length(reader: &mut Reader<'_>, field: &'static str) -> Result<usize, DecodeError> {
    Ok(usize::try_from(reader.varint(field)?).unwrap_or(usize::MAX))
}

#[cfg(test)]
pub(crate) mod arbitrary;

#[cfg(test)]
mod tests {
    use super::arbitrary::track_name;
    use super::*;
    use crate::error::SessionCode;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Result<TrackName, DecodeError> {
        TrackName::decode(&mut Reader::new(bytes))
    }

    fn refused(bytes: &[u8]) -> NameError {
        let error = decode(bytes).expect_err("must be refused");
        assert_eq!(error.session_code(), SessionCode::ProtocolViolation);
        let DecodeError::Name(name) = error else {
            panic!("{error}");
        };
        name
    }

    fn fields(count: usize, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        varint::encode(count as u64, &mut out);
        for _ in 0..count {
            varint::encode(len as u64, &mut out);
            out.extend(std::iter::repeat_n(b'x', len));
        }
        out
    }

    #[test]
    fn wire_form_is_count_then_prefixed_fields_then_prefixed_name() {
        let namespace = Namespace::from_path("ab/c").unwrap();
        let name = TrackName::new(namespace, Bytes::from_static(b"v")).unwrap();
        let mut out = Vec::new();
        name.encode(&mut out);
        assert_eq!(out, [2, 2, b'a', b'b', 1, b'c', 1, b'v']);
        assert_eq!(decode(&out), Ok(name));
    }

    #[test]
    fn a_namespace_field_of_length_0_is_a_protocol_violation() {
        assert_eq!(refused(&[2, 1, b'a', 0, 0]), NameError::EmptyField(1));
    }

    #[test]
    fn more_than_32_fields_are_a_protocol_violation() {
        assert_eq!(refused(&fields(33, 1)), NameError::TooManyFields(33));
        let mut most = fields(32, 1);
        most.push(0);
        assert_eq!(decode(&most).unwrap().namespace().fields().len(), 32);
    }

    #[test]
    fn a_namespace_over_4096_bytes_is_a_protocol_violation_before_its_bytes_arrive() {
        assert_eq!(refused(&[1, 0x90, 0x01]), NameError::TooLong(4097));
        let mut most = vec![1];
        most.extend([0xFF; 9]);
        assert_eq!(refused(&most), NameError::TooLong(usize::MAX));
    }

    #[test]
    fn a_full_track_name_over_4096_bytes_is_a_protocol_violation() {
        let mut bytes = fields(1, 4096);
        bytes.push(0);
        assert!(decode(&bytes).is_ok());
        bytes.pop();
        bytes.push(1);
        assert_eq!(refused(&bytes), NameError::TooLong(4097));
    }

    #[test]
    fn prefixes_are_field_wise() {
        let ns = |path| Namespace::from_path(path).unwrap();
        assert!(ns("a/b").is_prefix_of(&ns("a/b/c")));
        assert!(!ns("a/b").is_prefix_of(&ns("a/bc")));
        assert!(Namespace::default().is_prefix_of(&ns("a")));
        assert_eq!(ns("a/b/c").suffix_after(&ns("a")), Some(ns("b/c")));
        assert_eq!(ns("a").join(&ns("b/c")), Ok(ns("a/b/c")));
    }

    proptest! {
        #[test]
        fn wire_form_round_trips(name in track_name()) {
            let mut out = Vec::new();
            name.encode(&mut out);
            prop_assert_eq!(decode(&out), Ok(name));
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
