//! Frames to MoQ objects: group ids, object ids, priorities, containers.

use crate::catalog::{Broadcast, Container, Rendition};
use crate::container::{self, ContainerError};
use crate::fmp4::MuxError;
use crate::frame::{Frame, Kind, TrackInfo, leads, to_nanos};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// Groups of a broadcast without video last this long.
const AUDIO_GROUP: Duration = Duration::from_secs(1);
/// Group starts remembered for tracks whose frames come later than the leader's.
const MAX_BOUNDARIES: usize = 64;

/// Publisher priority of the catalog tracks (draft-18 7: lower goes first).
pub const PRIORITY_CATALOG: u8 = 16;
/// Publisher priority of sound: it is small, and its loss is heard.
pub const PRIORITY_AUDIO: u8 = 64;
/// Publisher priority of pictures.
pub const PRIORITY_VIDEO: u8 = 128;

/// Choice of the payload format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContainerKind {
    /// One `moof` and `mdat` per frame. Read by moq-cli, @moq/watch and CMSF players alike, and the only one that
    /// carries decode times and durations; costs about 100 bytes a frame.
    #[default]
    Cmaf,
    /// hang's own container: a timestamp and the frame.
    Legacy,
    /// LOC, laid out as moq-dev reads it.
    Loc,
}

/// How to package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Id of the first group: the unix milliseconds of now, so that a publisher that returns stands above its past.
    pub first_group: u64,
    /// Payload format.
    pub container: ContainerKind,
}

/// Why a frame was not packaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A track's codec cannot be described.
    #[error(transparent)]
    Mux(#[from] MuxError),
    /// The frame does not fit its container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A frame of a track that was not announced.
    #[error("frame of track {0}, which was not announced")]
    UnknownTrack(usize),
    /// A timestamp before the start of the timeline.
    #[error("track {track}: time {ticks} lies before the start of the stream")]
    BeforeStart {
        /// Index of the track.
        track: usize,
        /// The time in ticks.
        ticks: i64,
    },
}

/// One object to publish, in subgroup 0 of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Index of the rendition in [`Packager::broadcast`].
    pub track: usize,
    /// Group id.
    pub group: u64,
    /// Object id; from 0 in each group.
    pub object: u64,
    /// Publisher priority.
    pub priority: u8,
    /// Object properties as draft-18 encodes them, without a length.
    pub properties: Bytes,
    /// Payload.
    pub payload: Bytes,
    /// Decode time since the first frame: publish in real time by waiting for it.
    pub decode_time: Duration,
}

/// What the packager has to say, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Publish this object.
    Object(Object),
    /// A group is complete: finish its stream.
    EndOfGroup {
        /// Index of the rendition.
        track: usize,
        /// Group id.
        group: u64,
        /// Objects that it has.
        objects: u64,
    },
}

/// Turns frames into objects. Groups run from keyframe to keyframe of the first video track, and every other track
/// starts its groups where that one does; without video, a group lasts a second.
#[derive(Debug)]
pub struct Packager {
    broadcast: Broadcast,
    tracks: Vec<Track>,
    /// The track whose frames open groups.
    leader: usize,
    first_group: u64,
    next_group: u64,
    boundaries: VecDeque<Boundary>,
    /// Decode time of the first frame in nanoseconds.
    origin: Option<i64>,
    events: VecDeque<Event>,
    skipped: u64,
}

/// Start of a group as the leader set it.
#[derive(Debug, Clone, Copy)]
struct Boundary {
    group: u64,
    /// Presentation time in nanoseconds.
    time: i64,
}

#[derive(Debug)]
struct Track {
    lead: i64,
    priority: u8,
    group: Option<u64>,
    /// Objects in the current group.
    objects: u64,
    sequence: u32,
}

impl Packager {
    /// A packager for these tracks; renditions stand in the same order.
    ///
    /// # Errors
    /// No tracks, or a codec that the container cannot describe.
    pub fn new(tracks: &[TrackInfo], options: Options) -> Result<Self, PackageError> {
        let broadcast = Broadcast { renditions: renditions(tracks, options.container)? };
        let leader = tracks.iter().position(|t| t.kind() == Kind::Video).unwrap_or(0);
        let tracks = tracks
            .iter()
            .zip(leads(tracks.iter(), Duration::ZERO))
            .map(|(track, lead)| Track {
                lead,
                priority: match track.kind() {
                    Kind::Video => PRIORITY_VIDEO,
                    Kind::Audio => PRIORITY_AUDIO,
                },
                group: None,
                objects: 0,
                sequence: 0,
            })
            .collect();
        Ok(Self {
            broadcast,
            tracks,
            leader,
            first_group: options.first_group,
            next_group: options.first_group,
            boundaries: VecDeque::new(),
            origin: None,
            events: VecDeque::new(),
            skipped: 0,
        })
    }

    /// What to announce: write both catalogs from it.
    #[must_use]
    pub const fn broadcast(&self) -> &Broadcast {
        &self.broadcast
    }

    /// Takes the next frame, with the publisher's clock where latency is to be measured; then drain
    /// [`Self::poll_event`]. Pictures before the first keyframe are skipped.
    ///
    /// # Errors
    /// The frame is refused; the packager stays usable.
    pub fn push(&mut self, mut frame: Frame, stamp_micros: Option<u64>) -> Result<(), PackageError> {
        let index = frame.track;
        let lead = self.tracks.get(index).map(|t| t.lead).ok_or(PackageError::UnknownTrack(index))?;
        frame.dts = frame.dts.saturating_add(lead);
        frame.pts = frame.pts.saturating_add(lead);
        let earliest = frame.dts.min(frame.pts);
        if earliest < 0 {
            return Err(PackageError::BeforeStart { track: index, ticks: earliest });
        }
        let Some(group) = self.group_of(&frame) else {
            self.skipped = self.skipped.saturating_add(1);
            return Ok(());
        };
        self.enter_group(index, group);
        let object = self.object(&frame, group, stamp_micros)?;
        self.events.push_back(Event::Object(object));
        Ok(())
    }

    /// No more frames: ends the open groups.
    pub fn finish(&mut self) {
        for (track, state) in self.tracks.iter_mut().enumerate() {
            if let Some(group) = state.group.take() {
                self.events.push_back(Event::EndOfGroup { track, group, objects: state.objects });
            }
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Pictures that were skipped because no keyframe had come.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The group that `frame` belongs to; `None` where it cannot be decoded.
    fn group_of(&mut self, frame: &Frame) -> Option<u64> {
        let info = &self.broadcast.renditions.get(frame.track)?.info;
        let (kind, timescale) = (info.kind(), info.timescale);
        let time = to_nanos(frame.pts, timescale);
        let current = self.tracks.get(frame.track)?.group;
        if frame.track == self.leader {
            let due = match kind {
                Kind::Video => frame.keyframe,
                Kind::Audio => self.boundaries.back().is_none_or(|b| {
                    time.saturating_sub(b.time) >= i64::try_from(AUDIO_GROUP.as_nanos()).unwrap_or(i64::MAX)
                }),
            };
            return if due { Some(self.open_group(time)) } else { current };
        }
        match kind {
            // Other pictures join a group with a keyframe only.
            Kind::Video if !frame.keyframe => current,
            // Sound that still plays when the group starts belongs to it, so that nothing is missing at a join.
            Kind::Audio | Kind::Video => {
                let end = to_nanos(frame.pts.saturating_add(i64::from(frame.duration)), timescale);
                let open = self.boundaries.iter().rev().find(|b| b.time <= time || b.time < end);
                let group = open.map_or(self.first_group, |b| b.group);
                Some(current.map_or(group, |current| current.max(group)))
            }
        }
    }

    fn open_group(&mut self, time: i64) -> u64 {
        let group = self.next_group;
        self.next_group = group.saturating_add(1);
        if self.boundaries.len() == MAX_BOUNDARIES {
            self.boundaries.pop_front();
        }
        self.boundaries.push_back(Boundary { group, time });
        group
    }

    fn enter_group(&mut self, track: usize, group: u64) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        if state.group == Some(group) {
            return;
        }
        if let Some(ended) = state.group.replace(group) {
            self.events.push_back(Event::EndOfGroup { track, group: ended, objects: state.objects });
        }
        state.objects = 0;
    }

    fn object(&mut self, frame: &Frame, group: u64, stamp: Option<u64>) -> Result<Object, PackageError> {
        let unknown = PackageError::UnknownTrack(frame.track);
        let Some(rendition) = self.broadcast.renditions.get(frame.track) else { return Err(unknown) };
        let Some(state) = self.tracks.get_mut(frame.track) else { return Err(unknown) };
        let time = to_nanos(frame.dts, rendition.info.timescale);
        let origin = *self.origin.get_or_insert(time);
        state.sequence = state.sequence.wrapping_add(1);
        let (properties, payload) = container::encode(rendition, frame, state.sequence, stamp)?;
        let object = state.objects;
        state.objects = object.saturating_add(1);
        Ok(Object {
            track: frame.track,
            group,
            object,
            priority: state.priority,
            properties,
            payload,
            decode_time: Duration::from_nanos(u64::try_from(time.saturating_sub(origin)).unwrap_or(0)),
        })
    }
}

/// Named by kind and count: `video0`, `audio0`, `audio1`.
fn renditions(tracks: &[TrackInfo], container: ContainerKind) -> Result<Vec<Rendition>, PackageError> {
    if tracks.is_empty() {
        return Err(MuxError::NoTracks.into());
    }
    let (mut video, mut audio) = (0u32, 0u32);
    let name = |kind| {
        let (word, count) = match kind {
            Kind::Video => ("video", &mut video),
            Kind::Audio => ("audio", &mut audio),
        };
        *count += 1;
        format!("{word}{}", *count - 1)
    };
    let names: Vec<_> = tracks.iter().map(TrackInfo::kind).map(name).collect();
    let rendition = |(name, track): (String, &TrackInfo)| {
        // One track per init segment, and the edit list is already in the timestamps.
        let info = TrackInfo { id: 1, shift: 0, ..track.clone() };
        let plain = |container| Ok(Rendition { name: name.clone(), info: info.clone(), container, framerate: None });
        match container {
            ContainerKind::Cmaf => Ok(Rendition::cmaf(name, info)?),
            ContainerKind::Legacy => plain(Container::Legacy),
            ContainerKind::Loc => plain(Container::Loc),
        }
    };
    names.into_iter().zip(tracks).map(rendition).collect()
}
