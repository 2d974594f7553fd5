//! Message types (draft-18 section 9).

/// SETUP; also the type of control streams.
pub const SETUP: u64 = 0x2F00;
/// REQUEST_UPDATE.
pub const REQUEST_UPDATE: u64 = 0x02;
/// SUBSCRIBE.
pub const SUBSCRIBE: u64 = 0x03;
/// SUBSCRIBE_OK.
pub const SUBSCRIBE_OK: u64 = 0x04;
/// REQUEST_ERROR.
pub const REQUEST_ERROR: u64 = 0x05;
/// PUBLISH_NAMESPACE.
pub const PUBLISH_NAMESPACE: u64 = 0x06;
/// REQUEST_OK.
pub const REQUEST_OK: u64 = 0x07;
/// NAMESPACE.
pub const NAMESPACE: u64 = 0x08;
/// PUBLISH_DONE.
pub const PUBLISH_DONE: u64 = 0x0B;
/// TRACK_STATUS.
pub const TRACK_STATUS: u64 = 0x0D;
/// NAMESPACE_DONE.
pub const NAMESPACE_DONE: u64 = 0x0E;
/// PUBLISH_BLOCKED.
pub const PUBLISH_BLOCKED: u64 = 0x0F;
/// GOAWAY.
pub const GOAWAY: u64 = 0x10;
/// FETCH.
pub const FETCH: u64 = 0x16;
/// FETCH_OK.
pub const FETCH_OK: u64 = 0x18;
/// PUBLISH.
pub const PUBLISH: u64 = 0x1D;
/// PUBLISH_OK, understood as REQUEST_OK and never sent: the table of section 9 lists it, section 9.5 makes it a
/// REQUEST_OK.
pub const PUBLISH_OK: u64 = 0x1E;
/// SUBSCRIBE_NAMESPACE.
pub const SUBSCRIBE_NAMESPACE: u64 = 0x50;
/// SUBSCRIBE_TRACKS.
pub const SUBSCRIBE_TRACKS: u64 = 0x51;

/// Name of a message type as in the draft.
#[must_use]
pub const fn name(kind: u64) -> &'static str {
    match kind {
        SETUP => "SETUP",
        REQUEST_UPDATE => "REQUEST_UPDATE",
        SUBSCRIBE => "SUBSCRIBE",
        SUBSCRIBE_OK => "SUBSCRIBE_OK",
        REQUEST_ERROR => "REQUEST_ERROR",
        PUBLISH_NAMESPACE => "PUBLISH_NAMESPACE",
        REQUEST_OK => "REQUEST_OK",
        NAMESPACE => "NAMESPACE",
        PUBLISH_DONE => "PUBLISH_DONE",
        TRACK_STATUS => "TRACK_STATUS",
        NAMESPACE_DONE => "NAMESPACE_DONE",
        PUBLISH_BLOCKED => "PUBLISH_BLOCKED",
        GOAWAY => "GOAWAY",
        FETCH => "FETCH",
        FETCH_OK => "FETCH_OK",
        PUBLISH => "PUBLISH",
        PUBLISH_OK => "PUBLISH_OK",
        SUBSCRIBE_NAMESPACE => "SUBSCRIBE_NAMESPACE",
        SUBSCRIBE_TRACKS => "SUBSCRIBE_TRACKS",
        _ => "unknown message",
    }
}
