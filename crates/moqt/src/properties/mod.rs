//! Track and object properties (draft-18 2.5 and 11): single values read out of a run that is forwarded untouched.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod builder;

pub use builder::PropertiesBuilder;

use crate::error::DecodeError;
use crate::kvp::{Pair, Pairs, Value};
use crate::message::Timeouts;
use crate::params::order;
use crate::types::{GroupOrder, Location};
use std::time::Duration;

/// Registered property types (draft-18 14.7).
pub mod kind {
    /// OBJECT_DELIVERY_TIMEOUT, of a track.
    pub const OBJECT_DELIVERY_TIMEOUT: u64 = 0x02;
    /// MAX_CACHE_DURATION, of a track.
    pub const MAX_CACHE_DURATION: u64 = 0x04;
    /// SUBGROUP_DELIVERY_TIMEOUT, of a track.
    pub const SUBGROUP_DELIVERY_TIMEOUT: u64 = 0x06;
    /// IMMUTABLE_PROPERTIES, of a track or an object.
    pub const IMMUTABLE: u64 = 0x0B;
    /// DEFAULT_PUBLISHER_PRIORITY, of a track.
    pub const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0E;
    /// DEFAULT_PUBLISHER_GROUP_ORDER, of a track.
    pub const DEFAULT_PUBLISHER_GROUP_ORDER: u64 = 0x22;
    /// DYNAMIC_GROUPS, of a track.
    pub const DYNAMIC_GROUPS: u64 = 0x30;
    /// PRIOR_GROUP_ID_GAP, of an object.
    pub const PRIOR_GROUP_ID_GAP: u64 = 0x3C;
    /// PRIOR_OBJECT_ID_GAP, of an object.
    pub const PRIOR_OBJECT_ID_GAP: u64 = 0x3E;
    /// First of the mandatory track properties (draft-18 2.5.1).
    pub const MANDATORY_FIRST: u64 = 0x4000;
    /// Last of the mandatory track properties.
    pub const MANDATORY_LAST: u64 = 0x7FFF;
}

/// Why properties are refused.
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

/// What this implementation reads from track properties. Where a type stands more than once, the first counts.
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
    /// A pair that cannot be parsed or a value outside its range. They arrive in control messages, so there is no
    /// telling a malformed track from a malformed message.
    pub fn read(properties: &[u8]) -> Result<Self, DecodeError> {
        let mut found = Found::default();
        match each(properties, |pair| found.note(pair)) {
            Ok(()) => Ok(found.info),
            Err(PropertyError::Session(error)) => Err(error),
            Err(PropertyError::Malformed(field)) => Err(DecodeError::Formatting { field }),
        }
    }
}

/// A [`TrackInfo`] in the making.
#[derive(Default)]
struct Found {
    info: TrackInfo,
    dynamic_groups: Option<bool>,
}

impl Found {
    fn note(&mut self, pair: Pair<'_>) -> Result<(), PropertyError> {
        let info = &mut self.info;
        match (pair.kind, pair.value) {
            (kind @ kind::MANDATORY_FIRST..=kind::MANDATORY_LAST, _) => {
                info.mandatory.get_or_insert(kind);
            }
            (kind::OBJECT_DELIVERY_TIMEOUT, Value::Int(ms)) => {
                info.timeouts.object.get_or_insert_with(|| Duration::from_millis(ms));
            }
            (kind::SUBGROUP_DELIVERY_TIMEOUT, Value::Int(ms)) => {
                info.timeouts.subgroup.get_or_insert_with(|| Duration::from_millis(ms));
            }
            (kind::MAX_CACHE_DURATION, Value::Int(ms)) => {
                info.max_cache.get_or_insert_with(|| Duration::from_millis(ms));
            }
            (kind::DEFAULT_PUBLISHER_PRIORITY, Value::Int(value)) => {
                // "Priorities above 255 are invalid."
                let field = "DEFAULT_PUBLISHER_PRIORITY";
                let priority = u8::try_from(value).map_err(|_| DecodeError::OverLimit { field, value, limit: 255 })?;
                info.priority.get_or_insert(priority);
            }
            (kind::DEFAULT_PUBLISHER_GROUP_ORDER, Value::Int(value)) => {
                info.group_order.get_or_insert(order(value, "DEFAULT_PUBLISHER_GROUP_ORDER")?);
            }
            (kind::DYNAMIC_GROUPS, Value::Int(value)) => {
                if value > 1 {
                    return Err(DecodeError::OverLimit { field: "DYNAMIC_GROUPS", value, limit: 1 }.into());
                }
                info.dynamic_groups = *self.dynamic_groups.get_or_insert(value == 1);
            }
            (_, Value::Int(_) | Value::Bytes(_)) => {}
        }
        Ok(())
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

impl ObjectInfo {
    /// Reads and checks the properties of the object at `location`.
    ///
    /// # Errors
    /// See [`PropertyError`].
    pub fn read(properties: &[u8], location: Location) -> Result<Self, PropertyError> {
        let mut info = Self::default();
        each(properties, |pair| match (pair.kind, pair.value) {
            (kind::MANDATORY_FIRST..=kind::MANDATORY_LAST, _) => {
                Err(PropertyError::Malformed("an object has a mandatory track property"))
            }
            (kind::PRIOR_GROUP_ID_GAP, Value::Int(gap)) => note_gap(&mut info.group_gap, gap, location.group),
            (kind::PRIOR_OBJECT_ID_GAP, Value::Int(gap)) => note_gap(&mut info.object_gap, gap, location.object),
            (_, Value::Int(_) | Value::Bytes(_)) => Ok(()),
        })?;
        Ok(info)
    }
}

/// draft-18 11.8, 11.9: one instance, not larger than the id.
fn note_gap(slot: &mut Option<u64>, gap: u64, id: u64) -> Result<(), PropertyError> {
    if gap > id {
        return Err(PropertyError::Malformed("a prior gap is larger than the id"));
    }
    match slot.replace(gap) {
        None => Ok(()),
        Some(_) => Err(PropertyError::Malformed("a prior gap stands twice")),
    }
}

/// Visits every property, those inside immutable properties in their place ("processors MUST search both the
/// mutable properties and the contents of Immutable Properties").
fn each(properties: &[u8], mut visit: impl FnMut(Pair<'_>) -> Result<(), PropertyError>) -> Result<(), PropertyError> {
    let mut immutable_seen = false;
    for pair in Pairs::new(properties) {
        let pair = pair.map_err(parse_error)?;
        let (kind::IMMUTABLE, Value::Bytes(inner)) = (pair.kind, pair.value) else {
            visit(pair)?;
            continue;
        };
        if std::mem::replace(&mut immutable_seen, true) {
            return Err(PropertyError::Malformed("immutable properties stand twice"));
        }
        for pair in Pairs::new(inner) {
            let pair = pair.map_err(parse_error)?;
            if pair.kind == kind::IMMUTABLE {
                return Err(PropertyError::Malformed("immutable properties inside immutable properties"));
            }
            visit(pair)?;
        }
    }
    Ok(())
}

/// A type or length beyond its range closes the session (draft-18 1.4.3); a pair that is cut off is a malformed track
/// (draft-18 11.7: "A Key-Value-Pair cannot be parsed").
const fn parse_error(error: DecodeError) -> PropertyError {
    if let DecodeError::Truncated { .. } = error {
        PropertyError::Malformed("a property cannot be parsed")
    } else {
        PropertyError::Session(error)
    }
}

#[cfg(test)]
mod tests;
