//! Why the log refuses what a publisher sent.

use sluice_moqt::types::Location;

/// A publisher broke a rule of the object model (draft-18 2.4.2): the subscriptions and fetches of this track end,
/// upstream and downstream, with `MALFORMED_TRACK`. What triggered it is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Condition 1: one subgroup, two publisher priorities.
    #[error("publisher priority of subgroup {subgroup} in group {group} changed")]
    Priority {
        /// Group id.
        group: u64,
        /// Subgroup id.
        subgroup: u64,
    },
    /// Condition 2: an object after the final one of its subgroup.
    #[error("object {location} is beyond the end of subgroup {subgroup}")]
    BeyondSubgroup {
        /// The object.
        location: Location,
        /// Subgroup id.
        subgroup: u64,
    },
    /// Condition 3: two streams of one subgroup end with different final objects.
    #[error("subgroup {subgroup} in group {group} ended twice with different final objects")]
    SubgroupEnds {
        /// Group id.
        group: u64,
        /// Subgroup id.
        subgroup: u64,
    },
    /// Condition 4: an object after the final one of its group, or two different final objects.
    #[error("object {location} is beyond the end of its group")]
    BeyondGroup {
        /// The object.
        location: Location,
    },
    /// Condition 5: an object after the final one of the track, or two different final objects.
    #[error("object {location} is beyond the end of the track")]
    BeyondTrack {
        /// The object.
        location: Location,
    },
    /// Condition 6: one object with two payloads, lengths, states, subgroups or priorities.
    #[error("object {location} arrived twice with different content")]
    Content {
        /// The object.
        location: Location,
    },
    /// Condition 7: one object by datagram and by subgroup.
    #[error("object {location} changed its forwarding preference")]
    ForwardingPreference {
        /// The object.
        location: Location,
    },
    /// A gap property covers an object that exists, contradicts another, or an object lies inside such a gap
    /// (draft-18 11.7, 11.8).
    #[error("object {location} contradicts a gap property")]
    Gap {
        /// The object.
        location: Location,
    },
    /// Object properties that no object may have.
    #[error("object {location} has malformed properties: {reason}")]
    Properties {
        /// The object.
        location: Location,
        /// What is wrong with them.
        reason: &'static str,
    },
}

/// A limit of [`crate::Limits`] that refused something; stop that stream, the track stays sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// The newest group alone exceeds the log's bytes.
    #[error("the log is limited to {0} bytes")]
    Bytes(usize),
    /// The object is too large.
    #[error("objects are limited to {0} bytes")]
    ObjectBytes(usize),
    /// The group has too many subgroups.
    #[error("groups are limited to {0} subgroups")]
    Subgroups(usize),
    /// The group has too many objects.
    #[error("groups are limited to {0} objects")]
    Objects(usize),
    /// The largest id of all, which nothing could follow.
    #[error("object ids end at 2^64 - 2")]
    ObjectId,
    /// Too many streams write this track at once.
    #[error("a track is limited to {0} incoming streams")]
    Writers(usize),
}

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// End the track.
    #[error("malformed track: {0}")]
    Malformed(#[from] Malformed),
    /// Stop the stream; the writer is closed.
    #[error(transparent)]
    Limit(#[from] Limit),
    /// Close the session: the properties cannot be parsed.
    #[error(transparent)]
    Session(sluice_moqt::DecodeError),
}
