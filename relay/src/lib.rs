//! The relay daemon of a PoP: configuration, shards, listeners, admin.
