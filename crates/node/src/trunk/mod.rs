//! Trunks: two QUIC connections per peer on one four-tuple, `control` for the directory and probes, `media` for
//! tracks. Control is never window-limited by media, so its silence means the link's silence.

pub(crate) mod control;
pub(crate) mod link;
pub(crate) mod renewal;
pub(crate) mod wire;

/// Most PoPs of a root path or source route.
pub(crate) const MAX_PATH_POPS: usize = 8;
