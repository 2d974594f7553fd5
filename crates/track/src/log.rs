//! One track.

use crate::range::{FetchPlan, FetchRange, RangeError};
use crate::{Limits, Progress, SourceId, WriteError, WriterId};
use sluice_moqt::data::{EndOfRange, FetchObject, ObjectDatagram, ObjectHeader, SubgroupHeader};
use sluice_moqt::types::{GroupOrder, Location};
use std::time::Instant;

/// Everything held of one track, written by its sources, read by cursors and fetch readers.
#[derive(Debug)]
pub struct Log {
    limits: Limits,
}

#[expect(unused_variables, clippy::todo, clippy::needless_pass_by_ref_mut, clippy::missing_const_for_fn, reason = "signatures first")]
impl Log {
    /// An empty track whose subgroups have `default_priority` where their header does not say
    /// (DEFAULT_PUBLISHER_PRIORITY, 128 where the track does not say).
    #[must_use]
    pub fn new(limits: Limits, default_priority: u8) -> Self {
        todo!()
    }

    // ---- sources

    /// A source joins. `start`: where its subscription starts, as far as known: no object from there on is missing at
    /// the front of its streams. Not needed for sources that start with the track.
    pub fn add_source(&mut self, source: SourceId, start: Option<Location>) {
        todo!()
    }

    /// A source is gone: all its writers are reset.
    pub fn remove_source(&mut self, now: Instant, source: SourceId) {
        todo!()
    }

    // ---- subgroup streams

    /// A subgroup stream began.
    pub fn open_subgroup(&mut self, now: Instant, source: SourceId, header: &SubgroupHeader) -> Result<WriterId, WriteError> {
        todo!()
    }

    /// An object of a subgroup stream begins; `header.payload_len` bytes follow by [`Log::append`].
    pub fn begin_object(&mut self, now: Instant, writer: WriterId, header: &ObjectHeader) -> Result<(), WriteError> {
        todo!()
    }

    /// Payload of the object begun last; the object is whole when its length is reached.
    pub fn append(&mut self, now: Instant, writer: WriterId, payload: &[u8]) -> Result<(), WriteError> {
        todo!()
    }

    /// The stream ended with FIN. For fetches see [`Log::set_fetch_end`].
    pub fn finish(&mut self, now: Instant, writer: WriterId) -> Result<(), WriteError> {
        todo!()
    }

    /// The stream was reset or the connection lost. A half object waits for another source until the fill timeout.
    pub fn reset(&mut self, now: Instant, writer: WriterId) {
        todo!()
    }

    // ---- fetch streams

    /// A fetch stream began that asks for `range` in `order`.
    pub fn open_fetch(&mut self, now: Instant, source: SourceId, range: FetchRange, order: GroupOrder) -> Result<WriterId, WriteError> {
        todo!()
    }

    /// An object of a fetch stream begins; payload follows by [`Log::append`].
    pub fn begin_fetched(&mut self, now: Instant, writer: WriterId, object: &FetchObject) -> Result<(), WriteError> {
        todo!()
    }

    /// An end of range on a fetch stream.
    pub fn fetched_range(&mut self, now: Instant, writer: WriterId, range: EndOfRange) -> Result<(), WriteError> {
        todo!()
    }

    /// FETCH_OK said where the fetch really ends; call before [`Log::finish`], with the location as on the wire.
    pub fn set_fetch_end(&mut self, writer: WriterId, end: Location, end_of_track: EndOfTrack) {
        todo!()
    }

    // ---- datagrams and the end

    /// An object came by datagram.
    pub fn append_datagram(&mut self, now: Instant, datagram: &ObjectDatagram) -> Result<(), WriteError> {
        todo!()
    }

    /// No source will add anything any more (PUBLISH_DONE of the last one).
    pub fn end_track(&mut self, now: Instant) {
        todo!()
    }

    // ---- state

    /// What happened since the last call.
    pub fn take_progress(&mut self) -> Progress {
        todo!()
    }

    /// Largest location of which a byte has arrived through a subscription (draft-18 5.1.2).
    #[must_use]
    pub fn largest(&self) -> Option<Location> {
        todo!()
    }

    /// Whether [`Log::end_track`] was called or an END_OF_TRACK object arrived.
    #[must_use]
    pub fn ended(&self) -> bool {
        todo!()
    }

    /// Whether a reader may start at this group: held from object 0 on without a hole.
    #[must_use]
    pub fn is_join_point(&self, group: u64) -> bool {
        todo!()
    }

    /// The newest group a reader may start at.
    #[must_use]
    pub fn newest_join_point(&self) -> Option<u64> {
        todo!()
    }

    /// Oldest group held.
    #[must_use]
    pub fn oldest_group(&self) -> Option<u64> {
        todo!()
    }

    /// First location after `from` (inclusive) that is neither held nor known not to exist, up to the largest: where
    /// a source that takes over has to fetch from.
    #[must_use]
    pub fn first_missing(&self, from: Location) -> Option<Location> {
        todo!()
    }

    /// Cuts a fetch at the largest location.
    pub fn plan_fetch(&self, range: FetchRange) -> Result<FetchPlan, RangeError> {
        todo!()
    }

    /// Arena bytes held.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        todo!()
    }

    /// Groups evicted so far to stay within the limits.
    #[must_use]
    pub fn groups_evicted(&self) -> u64 {
        todo!()
    }

    /// Age limits and the fill timeout; call when [`Log::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }

    /// When to call [`Log::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
}

/// Whether FETCH_OK said that its end is the end of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfTrack {
    /// It did.
    Yes,
    /// More may be published.
    No,
}
