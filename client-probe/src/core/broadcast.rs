//! What we publish: one log per track under one namespace.

use bytes::Bytes;
use sluice_moqt::Namespace;
use sluice_moqt::data::{ObjectHeader, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::message::TrackProperties;
use sluice_moqt::name::{NameError, TrackName};
use sluice_moqt::properties::TrackInfo;
use sluice_moqt::types::{ObjectStatus, TrackAlias};
use sluice_track::{Limits, Log, SourceId, WriteError, WriterId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The only source of our logs: we.
const SELF: SourceId = SourceId(0);
/// Groups kept for FETCH: at one second each, more than a reconnecting relay needs.
const WINDOW_GROUPS: usize = 32;
/// Bytes kept per track.
const WINDOW_BYTES: usize = 64 << 20;

/// One object to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Group; never below an earlier one of the track.
    pub group: u64,
    /// Object within the group; grows by one.
    pub object: u64,
    /// Publisher priority; one per group.
    pub priority: u8,
    /// Properties.
    pub properties: Bytes,
    /// Payload.
    pub payload: Bytes,
}

/// A namespace and its tracks.
#[derive(Debug)]
pub struct Broadcast {
    namespace: Namespace,
    tracks: BTreeMap<Bytes, Track>,
    ended: bool,
}

#[derive(Debug)]
pub(super) struct Track {
    pub(super) log: Log,
    pub(super) properties: TrackProperties,
    writers: BTreeMap<u64, WriterId>,
}

impl Broadcast {
    /// No tracks yet.
    #[must_use]
    pub const fn new(namespace: Namespace) -> Self {
        Self { namespace, tracks: BTreeMap::new(), ended: false }
    }

    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Adds an empty track; an existing one of that name stays.
    ///
    /// # Errors
    /// Namespace and name together are too long.
    pub fn add_track(&mut self, name: Bytes, properties: TrackProperties) -> Result<(), NameError> {
        TrackName::new(self.namespace.clone(), name.clone())?;
        self.tracks.entry(name).or_insert_with(|| Track::new(properties));
        Ok(())
    }

    /// Appends one object in subgroup 0 of its group. Unknown tracks take nothing.
    ///
    /// # Errors
    /// The object breaks the rules of the track, or a limit of its log.
    pub fn push(&mut self, now: Instant, name: &[u8], object: &Outgoing) -> Result<(), WriteError> {
        let Some(track) = self.tracks.get_mut(name) else { return Ok(()) };
        let writer = track.writer(now, object)?;
        let header = ObjectHeader {
            id: object.object,
            properties: object.properties.clone(),
            payload_len: u64::try_from(object.payload.len()).unwrap_or(u64::MAX),
            status: ObjectStatus::Normal,
        };
        track.log.begin_object(now, writer, &header)?;
        track.log.append(now, writer, &object.payload)
    }

    /// No further object of this group.
    ///
    /// # Errors
    /// As [`Broadcast::push`].
    pub fn end_group(&mut self, now: Instant, name: &[u8], group: u64) -> Result<(), WriteError> {
        let Some(track) = self.tracks.get_mut(name) else { return Ok(()) };
        match track.writers.remove(&group) {
            Some(writer) => track.log.finish(now, writer),
            None => Ok(()),
        }
    }

    /// No further object of any track; open groups end here.
    pub(super) fn end(&mut self, now: Instant) {
        self.ended = true;
        for track in self.tracks.values_mut() {
            for writer in std::mem::take(&mut track.writers).into_values() {
                // A writer that the log has refused is closed already.
                let _ = track.log.finish(now, writer);
            }
            track.log.end_track(now);
        }
    }

    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn track(&self, name: &[u8]) -> Option<&Track> {
        self.tracks.get(name)
    }

    pub(super) fn track_mut(&mut self, name: &[u8]) -> Option<&mut Track> {
        self.tracks.get_mut(name)
    }

    pub(super) fn take_progress(&mut self) -> bool {
        let mut any = false;
        for track in self.tracks.values_mut() {
            any |= track.log.take_progress().any();
        }
        any
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for track in self.tracks.values_mut() {
            if track.log.poll_timeout().is_some_and(|at| at <= now) {
                track.log.handle_timeout(now);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.tracks.values().filter_map(|t| t.log.poll_timeout()).min()
    }
}

impl Track {
    fn new(properties: TrackProperties) -> Self {
        let priority = TrackInfo::read(&properties.0).ok().and_then(|info| info.priority);
        let limits = Limits {
            bytes: WINDOW_BYTES,
            groups: WINDOW_GROUPS,
            // We write whole objects in order: there is never a hole to wait for.
            fill: Duration::ZERO,
            ..Limits::default()
        };
        let mut log = Log::new(limits, priority.unwrap_or(TrackInfo::DEFAULT_PRIORITY));
        log.add_source(SELF, None);
        Self { log, properties, writers: BTreeMap::new() }
    }

    fn writer(&mut self, now: Instant, object: &Outgoing) -> Result<WriterId, WriteError> {
        if let Some(writer) = self.writers.get(&object.group) {
            return Ok(*writer);
        }
        let header = SubgroupHeader {
            alias: TrackAlias(0),
            group: object.group,
            subgroup: SubgroupId::Zero,
            priority: Some(object.priority),
            flags: SubgroupFlags::PROPERTIES | SubgroupFlags::END_OF_GROUP | SubgroupFlags::FIRST_OBJECT,
        };
        let writer = self.log.open_subgroup(now, SELF, &header)?;
        self.writers.insert(object.group, writer);
        Ok(writer)
    }
}
