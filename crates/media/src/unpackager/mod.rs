//! MoQ objects to frames: from groups as they arrive to one decodable sequence.

mod order;
mod reader;
mod timebase;

use crate::annexb;
use crate::catalog::Broadcast;
use crate::container::ContainerError;
use crate::frame::{Frame, Kind, TrackInfo, leads, to_nanos};
use crate::interleave::Interleaver;
use bytes::Bytes;
use order::Incoming;
use reader::Reader;
use std::time::{Duration, Instant};
use timebase::Timebase;

/// How far one track may be ahead of a silent one before the output goes on without it.
const LEAD: Duration = Duration::from_secs(6);
/// Room before time 0 for decode times that are worked out from presentation times.
const REORDER: Duration = Duration::from_secs(1);

/// Bytes held while a decoder configuration has not come; what comes then is dropped.
const MAX_UNCONFIGURED: usize = 64 << 20;

/// One received object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Index of the rendition in the broadcast.
    pub track: usize,
    /// Group id.
    pub group: u64,
    /// Object id.
    pub object: u64,
    /// Properties as received, without a length.
    pub properties: Bytes,
    /// Payload.
    pub payload: Bytes,
    /// When it arrived: the pause between two publishers is taken from it.
    pub arrived: Instant,
}

/// Why an object was not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The catalog lists nothing that can be read here.
    #[error("no track of the broadcast can be read{}", if .0.is_empty() { String::new() } else { format!(" ({})", .0.join("; ")) })]
    NoTracks(Vec<String>),
    /// An object of a track that is not in the broadcast.
    #[error("object of track {0}, which the catalog does not list")]
    UnknownTrack(usize),
    /// The object is broken; the others are not affected.
    #[error("track `{track}`, object {group}/{object}: {cause}")]
    Object {
        /// Track name.
        track: String,
        /// Group id.
        group: u64,
        /// Object id.
        object: u64,
        /// What is wrong.
        cause: ContainerError,
    },
}

/// Takes the objects of a broadcast's tracks in any order across groups and tracks and gives frames in decode order.
///
/// It starts at the first group of video that arrives from its beginning, with the sound that plays from there on. A
/// group that stays unfinished while newer ones pile up is given up; what is missing is a gap in the timestamps. Where
/// another publisher takes over and its timestamps begin anew, the frames go on after the pause between the two.
#[derive(Debug)]
pub struct Unpackager {
    readers: Vec<Reader>,
    infos: Vec<TrackInfo>,
    /// Some configuration has not come yet.
    unconfigured: usize,
    merger: Interleaver,
    timebase: Timebase,
    /// Where the output starts, in nanoseconds, once known.
    start: Option<i64>,
}

impl Unpackager {
    /// For a broadcast as its catalog describes it, usually [`Broadcast::best`] of it. Renditions that cannot be read
    /// keep their index and stay silent.
    ///
    /// # Errors
    /// Nothing can be read.
    pub fn new(broadcast: &Broadcast) -> Result<Self, UnpackError> {
        let renditions = &broadcast.renditions;
        let mut refused = Vec::new();
        let mut readers = Vec::new();
        let guess = renditions.iter().any(reader::guesses_decode_times);
        let least = if guess { REORDER } else { Duration::ZERO };
        let leads = leads(renditions.iter().map(|r| &r.info), least);
        for ((index, rendition), lead) in renditions.iter().enumerate().zip(leads) {
            match Reader::new(index, rendition, lead) {
                Ok(reader) => readers.push(reader),
                Err(cause) => refused.push(format!("`{}`: {cause}", rendition.name)),
            }
        }
        if readers.is_empty() {
            return Err(UnpackError::NoTracks(refused));
        }
        let infos: Vec<_> = readers.iter().map(Reader::info).collect();
        let unconfigured = readers.iter().filter(|r| r.lacks_config()).count();
        let merger = Interleaver::new(&infos, LEAD);
        Ok(Self { readers, infos, unconfigured, merger, timebase: Timebase::default(), start: None })
    }

    /// Takes one object; then drain [`Self::poll_frame`]. Late and repeated objects are ignored.
    ///
    /// # Errors
    /// The object is of no use; everything else goes on.
    pub fn push(&mut self, received: Received) -> Result<(), UnpackError> {
        let Received { track, group, object, properties, payload, arrived } = received;
        self.with_reader(track, |reader, timebase| {
            reader.push(group, object, Incoming { arrived, properties, payload });
            reader.read(timebase)
        })
    }

    /// No more objects of this group will come: its stream was finished or reset.
    ///
    /// # Errors
    /// An object that could be read only now is broken.
    pub fn end_group(&mut self, track: usize, group: u64) -> Result<(), UnpackError> {
        self.with_reader(track, |reader, timebase| {
            reader.end_group(group);
            reader.read(timebase)
        })
    }

    /// The track's group ids begin anew below the ones that were: another publisher took over. What waits for missing
    /// objects of the old one is given up. (Ids that go on above the old ones need no word.)
    ///
    /// # Errors
    /// An object that could be read only now is broken.
    pub fn restart(&mut self, track: usize) -> Result<(), UnpackError> {
        self.with_reader(track, Reader::restart)
    }

    /// No more objects at all.
    ///
    /// # Errors
    /// An object that could be read only now is broken.
    pub fn finish(&mut self) -> Result<(), UnpackError> {
        let results: Vec<_> = self.readers.iter_mut().map(|reader| reader.finish(&mut self.timebase)).collect();
        self.collect();
        self.merger.finish();
        results.into_iter().collect()
    }

    /// The tracks that frames refer to by index; `None` until every decoder configuration is known.
    #[must_use]
    pub fn tracks(&self) -> Option<&[TrackInfo]> {
        (self.unconfigured == 0).then_some(self.infos.as_slice())
    }

    /// The next frame in decode order, timestamps never negative: made for [`crate::fmp4::Muxer`].
    pub fn poll_frame(&mut self) -> Option<Frame> {
        if self.unconfigured > 0 {
            return None;
        }
        loop {
            let frame = self.merger.poll_frame()?;
            if self.start_at(&frame) {
                return Some(frame);
            }
        }
    }

    /// Groups that were given up because newer ones piled up behind them.
    #[must_use]
    pub fn lost_groups(&self) -> u64 {
        self.readers.iter().map(Reader::lost_groups).sum()
    }

    /// Times that another publisher took over, whose timestamps began anew.
    #[must_use]
    pub const fn takeovers(&self) -> u64 {
        self.timebase.takeovers()
    }

    /// Readers stand by themselves; unreadable renditions have none.
    fn with_reader(
        &mut self,
        track: usize,
        step: impl FnOnce(&mut Reader, &mut Timebase) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let reader = self.readers.iter_mut().find(|r| r.index() == track).ok_or(UnpackError::UnknownTrack(track))?;
        let result = step(reader, &mut self.timebase);
        self.collect();
        result
    }

    fn collect(&mut self) {
        for (index, (reader, info)) in self.readers.iter_mut().zip(&mut self.infos).enumerate() {
            while let Some(mut frame) = reader.poll_frame() {
                frame.track = index;
                // A track may carry its parameter sets within the stream.
                if frame.keyframe
                    && reader::needs_config(info)
                    && let Some(config) = annexb::avcc(&frame.data)
                {
                    info.config = config;
                    self.unconfigured = self.unconfigured.saturating_sub(1);
                }
                if self.unconfigured == 0 || self.merger.held_bytes() < MAX_UNCONFIGURED {
                    self.merger.push(frame);
                }
            }
        }
    }

    /// Whether the output has started when `frame` plays.
    fn start_at(&mut self, frame: &Frame) -> bool {
        let Some(info) = self.infos.get(frame.track) else { return false };
        let end = to_nanos(frame.pts.saturating_add(i64::from(frame.duration)), info.timescale);
        let start = *self.start.get_or_insert_with(|| {
            let video = self.readers.iter().zip(&self.infos).find(|(_, info)| info.kind() == Kind::Video);
            // Without video by now there will be none: the merger has waited for it.
            video.and_then(|(reader, _)| reader.first_time()).unwrap_or(i64::MIN)
        });
        info.kind() == Kind::Video || end > start || (frame.duration == 0 && end == start)
    }
}
