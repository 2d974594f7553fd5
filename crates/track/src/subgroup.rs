//! One subgroup: its objects in order of id, and how it ended.

use crate::object::Object;
use std::time::Instant;

/// What objects are of which a source has brought a part and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halves {
    /// They will be whole.
    UnderWay,
    /// The source may go before they are.
    Missing,
}

/// Objects of one subgroup, and what its streams said about it.
#[derive(Debug)]
pub(crate) struct Subgroup {
    pub(crate) priority: Priority,
    /// Whether its streams have a properties field.
    pub(crate) properties: bool,
    /// Whether a header said that its last object is the group's last.
    pub(crate) end_of_group: bool,
    /// Streams that write it now.
    pub(crate) writers: usize,
    pub(crate) end: End,
    objects: Vec<Object>,
}

/// Publisher priority, and who told it. Publishers in the field answer fetches with another priority than they publish
/// with, so what only a fetch said gives way and is never held against a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A fetch only.
    Fetched(u8),
    /// A subgroup header, or the default that it refers to.
    Header(u8),
}

impl Priority {
    /// The number.
    pub(crate) const fn value(self) -> u8 {
        match self {
            Self::Fetched(value) | Self::Header(value) => value,
        }
    }

    /// What holds once `told` was heard too; `None`: two headers contradict each other.
    pub(crate) fn agree(self, told: Self) -> Option<Self> {
        match (self, told) {
            (Self::Header(held), Self::Header(told)) => (held == told).then_some(self),
            (Self::Fetched(_), told) => Some(told),
            (Self::Header(_), Self::Fetched(_)) => Some(self),
        }
    }
}

/// How a subgroup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It did not, as far as known.
    Open,
    /// Every stream that wrote it was reset at that time; another source may take it up.
    Reset(Instant),
    /// Nobody took it up in time.
    Broken,
    /// All its objects are published.
    Finished {
        /// When that became known.
        at: Instant,
        /// The id that follows its final object; `None`: the stream with the FIN had no object.
        next: Option<u64>,
    },
}

impl Subgroup {
    pub(crate) const fn new(priority: Priority) -> Self {
        Self { priority, properties: false, end_of_group: false, writers: 0, end: End::Open, objects: Vec::new() }
    }

    pub(crate) fn objects(&self) -> &[Object] {
        &self.objects
    }

    pub(crate) fn objects_mut(&mut self) -> &mut [Object] {
        &mut self.objects
    }

    /// Index of the first object whose id is at least `id`; `hint` is where it was when last looked at.
    pub(crate) fn position(&self, id: u64, hint: usize) -> usize {
        let below = hint == 0 || self.objects.get(hint - 1).is_some_and(|object| object.id < id);
        let above = self.objects.get(hint).map_or(hint == self.objects.len(), |object| object.id >= id);
        if below && above { hint } else { self.objects.partition_point(|object| object.id < id) }
    }

    pub(crate) fn find(&self, id: u64) -> Option<&Object> {
        self.objects.get(self.position(id, self.objects.len())).filter(|object| object.id == id)
    }

    pub(crate) fn find_mut(&mut self, id: u64) -> Option<&mut Object> {
        let at = self.position(id, self.objects.len().saturating_sub(1));
        self.objects.get_mut(at).filter(|object| object.id == id)
    }

    /// The id that follows its final object, once that is known.
    pub(crate) const fn final_next(&self) -> Option<u64> {
        match self.end {
            End::Finished { next, .. } => next,
            End::Open | End::Reset(_) | End::Broken => None,
        }
    }

    pub(crate) fn last_id(&self) -> Option<u64> {
        self.objects.last().map(|object| object.id)
    }

    /// Whether an object with this id, which is not held, contradicts what a stream has shown: objects that follow
    /// each other on one stream have none of the subgroup between them.
    pub(crate) fn rules_out(&self, id: u64) -> bool {
        self.objects.get(self.position(id, self.objects.len())).is_some_and(|next| next.floor <= id)
    }

    /// Puts a new object in its place.
    pub(crate) fn insert(&mut self, object: Object) {
        let at = self.position(object.id, self.objects.len());
        self.objects.insert(at, object);
    }

    /// Whether `index` follows what stands before it without a hole.
    pub(crate) fn follows(&self, index: usize) -> bool {
        let Some(object) = self.objects.get(index) else { return false };
        let next = index
            .checked_sub(1)
            .and_then(|before| self.objects.get(before))
            .map_or(0, |before| before.id.saturating_add(1));
        object.floor <= next
    }

    /// Whether every object from the first ever published on is held or arriving.
    pub(crate) fn is_whole_from_start(&self) -> bool {
        (0..self.objects.len()).all(|index| self.follows(index) && !self.objects[index].is_unknown())
    }

    /// First id from `from` on that is missing, half there, or not known to be the end. What a writer is at work on is
    /// missing only if `halves` says so.
    pub(crate) fn first_missing(&self, from: u64, halves: Halves) -> Option<u64> {
        let start = self.position(from, 0);
        let mut next = from;
        for object in &self.objects[start..] {
            if object.floor > next {
                return Some(next);
            }
            if object.is_unknown() || (object.is_filling() && (self.writers == 0 || halves == Halves::Missing)) {
                return Some(object.id);
            }
            next = object.id.saturating_add(1);
        }
        match self.end {
            End::Open if self.writers > 0 => None,
            End::Open | End::Reset(_) | End::Broken => Some(next),
            End::Finished { .. } => None,
        }
    }
}
