//! What a mutation of the log means to its readers.

/// Which readers have something to do; see [`crate::Log::take_progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four independent wake-up causes, read as one set")]
pub struct Progress {
    /// Bytes of an unfinished object arrived, or a subgroup was opened: wake cut-through readers.
    pub partial: bool,
    /// An object or subgroup became whole, was given up, or a hole closed: wake every stream reader.
    pub whole: bool,
    /// A datagram object arrived: wake every reader.
    pub datagram: bool,
    /// The track ended: wake every reader.
    pub ended: bool,
}

impl Progress {
    /// Whether anything happened.
    #[must_use]
    pub const fn any(self) -> bool {
        self.partial || self.whole || self.datagram || self.ended
    }
}
