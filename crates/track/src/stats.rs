//! Counters of one reader; the node turns them into metrics.

/// What one reader sent and what it left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Objects handed to the transport entirely, datagrams included.
    pub objects: u64,
    /// Wire bytes that the transport accepted, headers included.
    pub bytes: u64,
    /// Groups left out, wholly or from some object on, because the reader was behind.
    pub groups_skipped: u64,
    /// Objects left out, by reason.
    pub dropped: Dropped,
}

/// Objects left out, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// A delivery timeout passed (draft-18 section 6).
    pub timeout: u64,
    /// The reader was too many groups behind.
    pub lag: u64,
    /// Evicted, or older than MAX_CACHE_DURATION, before its turn came.
    pub evicted: u64,
    /// No source completed it.
    pub incomplete: u64,
    /// The subscriber stopped the subgroup's stream.
    pub stopped: u64,
    /// A datagram above the session's datagram size.
    pub oversize: u64,
    /// A datagram that the transport did not take.
    pub datagram: u64,
}

impl Stats {
    /// Nothing sent, nothing left out.
    pub(crate) const NONE: Self = Self { objects: 0, bytes: 0, groups_skipped: 0, dropped: Dropped::NONE };
}

impl Dropped {
    const NONE: Self = Self { timeout: 0, lag: 0, evicted: 0, incomplete: 0, stopped: 0, oversize: 0, datagram: 0 };

    /// All reasons together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.timeout + self.lag + self.evicted + self.incomplete + self.stopped + self.oversize + self.datagram
    }
}
