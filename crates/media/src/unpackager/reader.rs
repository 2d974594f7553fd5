//! One track: ordered objects to frames with decode times.

use super::UnpackError;
use super::order::{Incoming, Next, Order};
use super::timebase::{Follows, Place, Timebase};
use crate::annexb;
use crate::catalog::Rendition;
use crate::container::{ContainerError, Decoder, First};
use crate::frame::{Frame, NANOS, TrackInfo, rescale_nearest, to_nanos};
use std::collections::VecDeque;
use std::time::Instant;

/// Frames of one group held to work out decode times.
const MAX_GROUP_FRAMES: usize = 8192;
/// Bytes of one group held for that.
const MAX_GROUP_BYTES: usize = 64 << 20;

/// Reads one rendition.
#[derive(Debug)]
pub(super) struct Reader {
    index: usize,
    name: String,
    info: TrackInfo,
    decoder: Decoder,
    order: Order,
    /// Ticks added to every timestamp.
    lead: i64,
    /// Decode times have to be worked out per group.
    guess: Option<Guess>,
    length_prefix: bool,
    reading: Reading,
    first_time: Option<i64>,
    last_dts: Option<i64>,
    frames: VecDeque<Frame>,
}

/// The group being read.
#[derive(Debug, Default)]
struct Reading {
    /// Its id; the last one's between two groups.
    group: Option<u64>,
    /// A frame of it was kept.
    begun: bool,
    /// Which publisher's times these are.
    place: Place,
}

/// The frames of the group so far, and the largest reordering delay seen.
#[derive(Debug, Default)]
struct Guess {
    group: Vec<Frame>,
    bytes: usize,
    delay: i64,
}

/// Whether presentation times alone arrive while frames may be reordered.
pub(super) fn guesses_decode_times(rendition: &Rendition) -> bool {
    use crate::catalog::Container;
    let bare = matches!(rendition.container, Container::Legacy | Container::Loc);
    bare && rendition.info.may_reorder()
}

/// Whether the parameter sets travel within the stream.
pub(super) fn needs_config(info: &TrackInfo) -> bool {
    let h264 = info.codec.starts_with("avc1") || info.codec.starts_with("avc3");
    h264 && info.config.is_empty() && info.sample_entry.is_empty()
}

impl Reader {
    pub(super) fn new(index: usize, rendition: &Rendition, lead: i64) -> Result<Self, ContainerError> {
        let decoder = Decoder::new(index, rendition)?;
        let guess = (!decoder.has_decode_times() && rendition.info.may_reorder()).then(Guess::default);
        Ok(Self {
            index,
            name: rendition.name.clone(),
            length_prefix: needs_config(&rendition.info),
            info: TrackInfo { shift: 0, ..rendition.info.clone() },
            decoder,
            order: Order::default(),
            lead,
            guess,
            reading: Reading::default(),
            first_time: None,
            last_dts: None,
            frames: VecDeque::new(),
        })
    }

    pub(super) const fn index(&self) -> usize {
        self.index
    }

    pub(super) fn info(&self) -> TrackInfo {
        self.info.clone()
    }

    pub(super) fn lacks_config(&self) -> bool {
        self.length_prefix
    }

    pub(super) const fn lost_groups(&self) -> u64 {
        self.order.lost_groups()
    }

    /// Presentation time of the first frame in nanoseconds.
    pub(super) const fn first_time(&self) -> Option<i64> {
        self.first_time
    }

    pub(super) fn push(&mut self, group: u64, object: u64, incoming: Incoming) {
        self.order.push(group, object, incoming);
    }

    pub(super) fn end_group(&mut self, group: u64) {
        self.order.end_group(group);
    }

    pub(super) fn finish(&mut self, base: &mut Timebase) -> Result<(), UnpackError> {
        self.order.finish();
        self.read(base)
    }

    /// The track's numbering begins anew, after what is here.
    pub(super) fn restart(&mut self, base: &mut Timebase) -> Result<(), UnpackError> {
        let result = self.finish(base);
        self.order.restart();
        result
    }

    pub(super) fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Reads all objects whose turn has come; the first error is told, the objects behind it are read all the same.
    pub(super) fn read(&mut self, base: &mut Timebase) -> Result<(), UnpackError> {
        let mut result = Ok(());
        while let Some(next) = self.order.poll() {
            match next {
                Next::Object { group, object, incoming } => {
                    if let Err(cause) = self.read_object(base, (group, object), &incoming)
                        && result.is_ok()
                    {
                        result = Err(UnpackError::Object { track: self.name.clone(), group, object, cause });
                    }
                }
                Next::GroupEnd => {
                    self.reading.begun = false;
                    self.settle_group();
                }
            }
        }
        result
    }

    fn read_object(
        &mut self,
        base: &mut Timebase,
        (group, object): (u64, u64),
        incoming: &Incoming,
    ) -> Result<(), ContainerError> {
        let first = if object == 0 { First::Yes } else { First::No };
        for frame in self.decoder.decode(&incoming.properties, &incoming.payload, first)? {
            // A group whose beginning is lost is of no use up to its next keyframe.
            if self.reading.begun || frame.keyframe {
                let frame = self.place(base, group, (frame, incoming.arrived));
                self.keep(frame);
            }
        }
        Ok(())
    }

    /// Moves the frame from its publisher's time to the output's.
    fn place(&mut self, base: &mut Timebase, group: u64, (mut frame, arrived): (Frame, Instant)) -> Frame {
        let scale = self.info.timescale;
        let time = to_nanos(frame.pts, scale);
        if !std::mem::replace(&mut self.reading.begun, true) {
            let last = self.reading.group.replace(group);
            let directly = last.is_some_and(|last| last.checked_add(1) == Some(group));
            let follows = if directly { Follows::Directly } else { Follows::Beyond };
            base.begin(&mut self.reading.place, (time, follows), arrived);
        }
        let end = to_nanos(frame.pts.saturating_add(i64::from(frame.duration)), scale);
        base.advance(&mut self.reading.place, (time, end), arrived);
        let shift = self.lead.saturating_add(rescale_nearest(self.reading.place.offset(), NANOS, scale));
        frame.dts = frame.dts.saturating_add(shift);
        frame.pts = frame.pts.saturating_add(shift);
        frame
    }

    fn keep(&mut self, mut frame: Frame) {
        if self.length_prefix {
            frame.data = annexb::to_length_prefixed(&frame.data);
        }
        let Some(guess) = &mut self.guess else { return self.give(frame) };
        guess.bytes = guess.bytes.saturating_add(frame.data.len());
        guess.group.push(frame);
        if guess.group.len() >= MAX_GROUP_FRAMES || guess.bytes >= MAX_GROUP_BYTES {
            self.settle_group();
        }
    }

    /// Decode times of a whole group: presentation times in rising order, moved back until none is after its own.
    fn settle_group(&mut self) {
        let Some(guess) = &mut self.guess else { return };
        let mut group = std::mem::take(&mut guess.group);
        guess.bytes = 0;
        let mut times: Vec<i64> = group.iter().map(|f| f.pts).collect();
        times.sort_unstable();
        let delay = group.iter().zip(&times).map(|(frame, time)| time.saturating_sub(frame.pts)).max().unwrap_or(0);
        guess.delay = guess.delay.max(delay);
        for (frame, time) in group.iter_mut().zip(times) {
            frame.dts = time.saturating_sub(guess.delay);
        }
        group.into_iter().for_each(|frame| self.give(frame));
    }

    /// Hands a frame out if its time goes on; after a larger delay a few decode times would repeat.
    fn give(&mut self, mut frame: Frame) {
        let next = self.last_dts.map_or(0, |last| last.saturating_add(1));
        if frame.dts < next {
            if frame.pts < next {
                return;
            }
            frame.dts = next;
        }
        self.last_dts = Some(frame.dts);
        let timescale = self.info.timescale;
        self.first_time.get_or_insert_with(|| to_nanos(frame.pts, timescale));
        self.frames.push_back(frame);
    }
}
