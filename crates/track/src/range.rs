//! Filters and fetch ranges, resolved against a log (draft-18 5.1.2, 9.12).

use sluice_moqt::types::{Filter, Location};

/// Why a range cannot be served: answer INVALID_RANGE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// "the entire End Group has already been published" (draft-18 5.1.2).
    #[error("group {end_group} has been published already")]
    Published {
        /// Last group asked for.
        end_group: u64,
    },
    /// Nothing was published, or the range starts after it (draft-18 9.12.3).
    #[error("the range starts after the largest object")]
    Future,
    /// The end lies before the start.
    #[error("the range ends before it starts")]
    Inverted,
}

/// The objects that a subscription passes: from `start` to the end of group `end_group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First location that passes.
    pub start: Location,
    /// Last group that passes; `None`: open ended.
    pub end_group: Option<u64>,
}

impl Range {
    /// Everything: what a subscription without a filter passes.
    pub const ALL: Self = Self { start: Location { group: 0, object: 0 }, end_group: None };

    /// What `filter` passes while `largest` is the largest location published (draft-18 5.1.2).
    #[must_use]
    pub fn resolve(filter: Filter, largest: Option<Location>) -> Self {
        let open = |start| Self { start, end_group: None };
        match (filter, largest) {
            // "If no content has been delivered yet, the filter Start Location is {0, 0}."
            (Filter::NextGroupStart | Filter::LargestObject, None) => Self::ALL,
            (Filter::NextGroupStart, Some(largest)) => open(after_group(largest.group)),
            (Filter::LargestObject, Some(largest)) => open(after(largest)),
            (Filter::AbsoluteStart { start }, _) => open(start),
            (Filter::AbsoluteRange { start, end_group }, _) => Self { start, end_group: Some(end_group) },
        }
    }

    /// Whether the object passes.
    #[must_use]
    pub fn contains(&self, location: Location) -> bool {
        location >= self.start && self.contains_group_end(location.group)
    }

    /// Whether some object of the group may pass.
    #[must_use]
    pub fn touches(&self, group: u64) -> bool {
        group >= self.start.group && self.contains_group_end(group)
    }

    /// First object id of `group` that passes, given that the group is touched.
    #[must_use]
    pub const fn first_object(&self, group: u64) -> u64 {
        if group == self.start.group { self.start.object } else { 0 }
    }

    fn contains_group_end(&self, group: u64) -> bool {
        self.end_group.is_none_or(|end| group <= end)
    }
}

/// Locations of a fetch, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchRange {
    /// First location.
    pub first: Location,
    /// Last location; object [`u64::MAX`]: to the end of the group.
    pub last: Location,
}

impl FetchRange {
    /// From the two locations of a FETCH: `end` is the last location plus one object, object 0 the whole group.
    ///
    /// # Errors
    /// [`RangeError::Inverted`].
    pub fn from_wire(start: Location, end: Location) -> Result<Self, RangeError> {
        let object = end.object.checked_sub(1).unwrap_or(u64::MAX);
        let last = Location::new(end.group, object);
        if last < start { Err(RangeError::Inverted) } else { Ok(Self { first: start, last }) }
    }

    /// The end as FETCH and FETCH_OK write it.
    #[must_use]
    pub const fn wire_end(&self) -> Location {
        Location::new(self.last.group, self.last.object.wrapping_add(1))
    }
}

/// How a fetch will be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPlan {
    /// What is served: the request, cut at the largest location.
    pub range: FetchRange,
    /// End Location of FETCH_OK.
    pub end: Location,
    /// End Of Track of FETCH_OK.
    pub end_of_track: bool,
}

/// The location that follows in the order of locations.
pub(crate) const fn after(location: Location) -> Location {
    match location.object.checked_add(1) {
        Some(object) => Location::new(location.group, object),
        None => after_group(location.group),
    }
}

const fn after_group(group: u64) -> Location {
    Location::new(group.saturating_add(1), 0)
}
