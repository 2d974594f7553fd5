//! Small value types of the object model (draft-18 sections 1.4, 2 and 7).

use std::fmt;

/// Wire dialect of one session; a constant of that session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Draft {
    /// draft-ietf-moq-transport-18, ALPN `moqt-18`.
    V18,
    /// Draft 18 plus the trunk parameters (source route, root path), ALPN `sluice-trunk/1`.
    Trunk1,
}

/// Place of an object in a track: group, then object (draft-18 1.4.2). Ordered as the draft orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Location {
    /// Group ID.
    pub group: u64,
    /// Object ID within the group.
    pub object: u64,
}

impl Location {
    /// A location from its two ids.
    #[must_use]
    pub const fn new(group: u64, object: u64) -> Self {
        Self { group, object }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.object)
    }
}

/// Order in which the groups of one subscription or fetch are sent (draft-18 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupOrder {
    /// Lower group ids first.
    #[default]
    Ascending,
    /// Higher group ids first.
    Descending,
}

/// Which objects of a track a subscription passes (draft-18 5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// From the start of the group after the largest (0x1).
    NextGroupStart,
    /// From the object after the largest (0x2).
    LargestObject,
    /// From `start` on, open ended (0x3).
    AbsoluteStart {
        /// First location that passes.
        start: Location,
    },
    /// From `start` to the end of group `end_group`, inclusive (0x4).
    AbsoluteRange {
        /// First location that passes.
        start: Location,
        /// Last group that passes; never below `start.group`.
        end_group: u64,
    },
}

/// Identifies a request within a session; even for clients, odd for servers (draft-18 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The publisher's number for a track on data streams of one session (draft-18 10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackAlias(pub u64);

/// Object status (draft-18 10.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ObjectStatus {
    /// A normal object (0x0).
    #[default]
    Normal,
    /// No object at or above this id exists in the group (0x3).
    EndOfGroup,
    /// No object at or above this location exists in the track (0x4).
    EndOfTrack,
}
