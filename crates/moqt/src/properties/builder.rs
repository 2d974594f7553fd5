//! Writes properties.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::EncodeError;
use crate::kvp::{MAX_VALUE_BYTES, PairWriter};
use bytes::Bytes;

#[derive(Debug, Clone)]
enum Value {
    Int(u64),
    Bytes(Bytes),
}

/// Collects properties and writes them in ascending order of type, as deltas need it.
///
/// ```
/// use sluice_moqt::properties::{PropertiesBuilder, TrackInfo, kind};
///
/// let run = PropertiesBuilder::default()
///     .int(kind::DYNAMIC_GROUPS, 1)
///     .int(kind::DEFAULT_PUBLISHER_PRIORITY, 64)
///     .build()?;
/// assert_eq!(TrackInfo::read(&run).map(|info| info.priority), Ok(Some(64)));
/// # Ok::<(), sluice_moqt::EncodeError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PropertiesBuilder {
    pairs: Vec<(u64, Value)>,
}

impl PropertiesBuilder {
    /// Adds an integer under an even type.
    #[must_use]
    pub fn int(mut self, kind: u64, value: u64) -> Self {
        self.pairs.push((kind, Value::Int(value)));
        self
    }

    /// Adds bytes under an odd type.
    #[must_use]
    pub fn bytes(mut self, kind: u64, value: Bytes) -> Self {
        self.pairs.push((kind, Value::Bytes(value)));
        self
    }

    /// The run. Properties of one type keep the order in which they were added.
    ///
    /// # Errors
    /// A type of the wrong parity, or a value above [`MAX_VALUE_BYTES`].
    pub fn build(mut self) -> Result<Bytes, EncodeError> {
        self.pairs.sort_by_key(|(kind, _)| *kind);
        let mut out = Vec::new();
        let mut writer = PairWriter::default();
        for (kind, value) in self.pairs {
            match value {
                Value::Int(value) if kind.is_multiple_of(2) => writer.int(kind, value, &mut out),
                Value::Bytes(value) if !kind.is_multiple_of(2) => {
                    if value.len() > MAX_VALUE_BYTES {
                        return Err(EncodeError::OverLimit {
                            field: "property value",
                            value: value.len() as u64,
                            limit: MAX_VALUE_BYTES as u64,
                        });
                    }
                    writer.bytes(kind, &value, &mut out);
                }
                Value::Int(_) | Value::Bytes(_) => {
                    return Err(EncodeError::Contradiction { field: "parity of a property type" });
                }
            }
        }
        Ok(out.into())
    }
}
