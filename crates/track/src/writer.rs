//! The writing side: one writer per incoming stream.

/// Where objects come from: one upstream subscription or fetch, as the node numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u64);

/// One incoming stream of one source; unknown once finished, reset or refused, and then without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId {
    pub(crate) slot: usize,
    pub(crate) serial: u64,
}
