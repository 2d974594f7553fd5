//! Sources inside this process: an origin's files and children write straight into the log.

use crate::config::PublisherPolicy;
use crate::ingest::header_len;
use crate::namespaces::{Added, Offer};
use crate::node::Node;
use crate::tracks::{Source, SourceKind, State, TrackKey};
use crate::upstream::{Answer, EndReason};
use bytes::Bytes;
use sluice_moqt::data::{ObjectHeader, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::message::TrackProperties;
use sluice_moqt::properties::TrackInfo;
use sluice_moqt::types::ObjectStatus;
use sluice_moqt::{Location, Namespace, TrackAlias, TrackName};
use sluice_track::{SourceId, WriteError, WriterId};
use std::time::Instant;

/// Why a local source cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The track limit is reached.
    #[error("this node carries its limit of {0} tracks")]
    TooManyTracks(usize),
    /// The track properties do not parse.
    #[error(transparent)]
    Properties(#[from] sluice_moqt::DecodeError),
    /// The log refused an object.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The track is gone: it was malformed or ended.
    #[error("the track is closed")]
    Closed,
}

/// One object of a local track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalObject {
    /// Where it stands; ids grow.
    pub location: Location,
    /// Publisher priority of its group; `None`: the track's default.
    pub priority: Option<u8>,
    /// Properties without their length.
    pub properties: Bytes,
    /// Payload.
    pub payload: Bytes,
}

/// The writing end of a track published inside this process; one subgroup per group.
#[derive(Debug)]
pub struct LocalTrack {
    key: TrackKey,
    source: SourceId,
    open: Option<(u64, WriterId)>,
}

impl Node {
    /// Offers a namespace whose tracks are published by [`Node::publish_local`].
    pub fn offer_local(&mut self, now: Instant, namespace: &Namespace) {
        let added = self.namespaces.add(namespace, Offer::Local, PublisherPolicy::Merge);
        if added != Added::Same {
            self.publisher_up(namespace, &Offer::Local, &added);
            self.on_namespace_offered(now, namespace);
        }
    }

    /// Withdraws [`Node::offer_local`].
    pub fn withdraw_local(&mut self, namespace: &Namespace) {
        self.publisher_down(namespace, &Offer::Local);
    }

    /// Opens a track for writing.
    ///
    /// # Errors
    /// The track limit, or properties that do not parse.
    pub fn publish_local(
        &mut self,
        now: Instant,
        name: &TrackName,
        properties: TrackProperties,
        largest: Option<Location>,
    ) -> Result<LocalTrack, PublishError> {
        let info = TrackInfo::read(&properties.0)?;
        if self.tracks.len() >= self.config.limits.max_tracks && self.tracks.find(name).is_none() {
            return Err(PublishError::TooManyTracks(self.config.limits.max_tracks));
        }
        let key = self.tracks.find_or_create(name, self.config.track);
        let source = self.tracks.allocate_source();
        if let Some(track) = self.tracks.get_mut(key) {
            track.upkeep.pinned = true;
            track.upkeep.unused_since = None;
            track.upkeep.offered.push(source);
            track.sources.push(Source::new(source, SourceKind::Local));
        }
        self.establish(now, key, source, Answer { root_path: Vec::new(), largest, properties, info });
        self.on_live(now, key);
        self.announce_track(now, name, None);
        Ok(LocalTrack { key, source, open: None })
    }

    /// Appends one object; a new group id ends the group before.
    ///
    /// # Errors
    /// The log refused the object, or the track is gone.
    pub fn write_local(
        &mut self,
        now: Instant,
        track: &mut LocalTrack,
        object: &LocalObject,
    ) -> Result<(), PublishError> {
        let LocalObject { location, priority, properties, payload } = object;
        if self.tracks.get(track.key).is_none_or(|t| t.sources.iter().all(|s| s.id != track.source)) {
            return Err(PublishError::Closed);
        }
        if track.open.is_some_and(|(group, _)| group != location.group) {
            self.end_local_group(now, track)?;
        }
        let log = &mut self.tracks.get_mut(track.key).ok_or(PublishError::Closed)?.log;
        let writer = match track.open {
            Some((_, writer)) => writer,
            None => {
                let header = SubgroupHeader {
                    alias: TrackAlias(0),
                    group: location.group,
                    subgroup: SubgroupId::Zero,
                    priority: *priority,
                    flags: SubgroupFlags::PROPERTIES | SubgroupFlags::FIRST_OBJECT | SubgroupFlags::END_OF_GROUP,
                };
                log.open_subgroup(now, track.source, &header)?
            }
        };
        track.open = Some((location.group, writer));
        let header = ObjectHeader {
            id: location.object,
            properties: properties.clone(),
            payload_len: payload.len() as u64,
            status: ObjectStatus::Normal,
        };
        log.begin_object(now, writer, &header)?;
        log.append(now, writer, payload)?;
        self.metrics.media.appended_objects_total += 1;
        let bytes = header_len(properties.len(), payload.len() as u64) + payload.len() as u64;
        self.metrics.media.appended_bytes_total += bytes;
        self.note_growth(now, bytes);
        self.fan_out(track.key, bytes);
        Ok(())
    }

    /// Ends the open group.
    ///
    /// # Errors
    /// The track is malformed.
    pub fn end_local_group(&mut self, now: Instant, track: &mut LocalTrack) -> Result<(), PublishError> {
        let Some((_, writer)) = track.open.take() else { return Ok(()) };
        if let Some(t) = self.tracks.get_mut(track.key) {
            t.log.finish(now, writer)?;
            self.fan_out(track.key, 0);
        }
        Ok(())
    }

    /// Gives up the open group: objects that it still lacks are unknown, not non-existent.
    pub fn abandon_local_group(&mut self, now: Instant, track: &mut LocalTrack) {
        let Some((_, writer)) = track.open.take() else { return };
        if let Some(t) = self.tracks.get_mut(track.key) {
            t.log.reset(now, writer);
            self.fan_out(track.key, 0);
        }
    }

    /// Ends the track as `why` says.
    pub fn end_local(&mut self, now: Instant, mut track: LocalTrack, why: EndReason) {
        match why {
            // A log that refuses the end has refused the track before.
            EndReason::Ended => drop(self.end_local_group(now, &mut track)),
            // What a lost source had not written of its group may exist: nobody may be told that it does not.
            EndReason::Lost => self.abandon_local_group(now, &mut track),
        }
        if let Some(t) = self.tracks.get_mut(track.key) {
            t.upkeep.pinned = false;
            if why == EndReason::Ended {
                t.log.end_track(now);
            }
        }
        self.local_source_gone(now, track.key, track.source);
        if self.tracks.get(track.key).is_some_and(|t| t.state == State::Live) {
            self.note_use(now, track.key);
        }
    }
}
