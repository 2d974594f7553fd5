//! What one track may hold; every limit has a unit, a typed refusal or eviction, and a test that hits it.

use std::time::Duration;

/// Bounds of one [`crate::Log`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arena bytes; the oldest groups are evicted to stay below.
    pub bytes: usize,
    /// Groups kept; the oldest are evicted.
    pub groups: usize,
    /// Wire bytes of one object; larger ones are refused.
    pub object_bytes: usize,
    /// Subgroups per group; more are refused.
    pub subgroups_per_group: usize,
    /// Objects per group, over all its subgroups; more are refused.
    pub objects_per_group: usize,
    /// Datagram objects kept; the oldest are dropped.
    pub datagrams: usize,
    /// How old an object may be when its forwarding starts: MAX_CACHE_DURATION (draft-18 12.3).
    pub age: Option<Duration>,
    /// How old groups become before they are evicted. The newest stays however old it is: a catalog is written once, and
    /// whoever joins hours later needs it.
    pub window: Option<Duration>,
    /// How long a hole or an abandoned half object is waited for before it counts as unknown.
    pub fill: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            groups: 64,
            object_bytes: 8 << 20,
            subgroups_per_group: 256,
            objects_per_group: 65_536,
            datagrams: 1_024,
            age: None,
            window: None,
            fill: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// The age from which nothing but the newest group is held.
    pub(crate) fn held_for(&self) -> Option<Duration> {
        [self.age, self.window].into_iter().flatten().min()
    }
}
