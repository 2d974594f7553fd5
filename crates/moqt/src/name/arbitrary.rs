//! Names for property tests.

use super::{MAX_NAMESPACE_FIELDS, Namespace, TrackName};
use bytes::Bytes;
use proptest::prelude::*;

/// Any namespace of short fields.
pub(crate) fn namespace() -> impl Strategy<Value = Namespace> {
    let field = prop::collection::vec(any::<u8>(), 1..20).prop_map(Bytes::from);
    prop::collection::vec(field, 0..=MAX_NAMESPACE_FIELDS).prop_map(|fields| Namespace { fields })
}

/// Any short full track name.
pub(crate) fn track_name() -> impl Strategy<Value = TrackName> {
    let name = prop::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from);
    (namespace(), name).prop_map(|(namespace, name)| TrackName { namespace, name })
}
