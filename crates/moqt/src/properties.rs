//! Track and object properties (draft-18 2.5 and 11): single values read out of a run that is forwarded untouched.

use crate::error::{DecodeError, EncodeError};
use crate::message::Timeouts;
use crate::types::{GroupOrder, Location};
use bytes::Bytes;
use std::time::Duration;

/// What this implementation reads from track properties.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrackInfo {
    /// The publisher's delivery timeouts.
    pub timeouts: Timeouts,
    /// MAX_CACHE_DURATION.
    pub max_cache: Option<Duration>,
    /// DEFAULT_PUBLISHER_PRIORITY; absent means 128.
    pub priority: Option<u8>,
    /// DEFAULT_PUBLISHER_GROUP_ORDER; absent means ascending.
    pub group_order: Option<GroupOrder>,
    /// DYNAMIC_GROUPS is 1.
    pub dynamic_groups: bool,
    /// The first mandatory track property (0x4000 to 0x7FFF); none of them is understood here, so the track must be
    /// neither processed nor forwarded (draft-18 2.5.1).
    pub mandatory: Option<u64>,
}

impl TrackInfo {
    /// Publisher priority where the track does not say.
    pub const DEFAULT_PRIORITY: u8 = 128;

    /// Reads `properties`, inside immutable properties too.
    ///
    /// # Errors
    /// See [`PropertyError`].
    pub fn read(properties: &[u8]) -> Result<Self, PropertyError> {
        let _ = properties;
        todo!()
    }
}

/// What this implementation reads from object properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObjectInfo {
    /// PRIOR_GROUP_ID_GAP: groups before this object's that will never exist.
    pub group_gap: Option<u64>,
    /// PRIOR_OBJECT_ID_GAP: objects before this one in its group that will never exist.
    pub object_gap: Option<u64>,
}

/// Why object properties are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// The session must be closed.
    #[error(transparent)]
    Session(#[from] DecodeError),
    /// The track is malformed (draft-18 2.4.2); only its subscriptions and fetches end.
    #[error("malformed track: {0}")]
    Malformed(&'static str),
}

impl ObjectInfo {
    /// Reads and checks the properties of the object at `location`.
    ///
    /// # Errors
    /// See [`PropertyError`].
    pub fn read(properties: &[u8], location: Location) -> Result<Self, PropertyError> {
        let _ = (properties, location);
        todo!()
    }
}

/// Writes a run of properties.
#[derive(Debug, Clone, Default)]
pub struct PropertiesBuilder {
    pairs: Vec<(u64, Bytes)>,
}

impl PropertiesBuilder {
    /// Adds an integer under an even type.
    #[must_use]
    pub fn int(self, kind: u64, value: u64) -> Self {
        let _ = (kind, value);
        todo!()
    }

    /// Adds bytes under an odd type.
    #[must_use]
    pub fn bytes(self, kind: u64, value: Bytes) -> Self {
        let _ = (kind, value);
        todo!()
    }

    /// The run, in ascending order of type.
    ///
    /// # Errors
    /// A type of the wrong parity, or a value above [`crate::kvp::MAX_VALUE_BYTES`].
    pub fn build(self) -> Result<Bytes, EncodeError> {
        let _ = self.pairs;
        todo!()
    }
}
