//! One track: ordered objects to frames with decode times.

use super::UnpackError;
use super::order::{Incoming, Next, Order};
use crate::annexb;
use crate::catalog::Rendition;
use crate::container::{ContainerError, Decoder, First};
use crate::frame::{Frame, TrackInfo, to_nanos};
use std::collections::VecDeque;

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
    /// No object of the current group was read yet.
    at_start: bool,
    first_time: Option<i64>,
    last_dts: Option<i64>,
    frames: VecDeque<Frame>,
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
            at_start: true,
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

    pub(super) fn finish(&mut self) -> Result<(), UnpackError> {
        self.order.finish();
        self.read()
    }

    pub(super) fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Reads all objects whose turn has come; the first error is told, the objects behind it are read all the same.
    pub(super) fn read(&mut self) -> Result<(), UnpackError> {
        let mut result = Ok(());
        while let Some(next) = self.order.poll() {
            match next {
                Next::Object { group, object, incoming } => {
                    if let Err(cause) = self.read_object(&incoming, object)
                        && result.is_ok()
                    {
                        result = Err(UnpackError::Object { track: self.name.clone(), group, object, cause });
                    }
                }
                Next::GroupEnd => {
                    self.at_start = true;
                    self.settle_group();
                }
            }
        }
        result
    }

    fn read_object(&mut self, incoming: &Incoming, object: u64) -> Result<(), ContainerError> {
        let first = if object == 0 { First::Yes } else { First::No };
        for mut frame in self.decoder.decode(&incoming.properties, &incoming.payload, first)? {
            // A group whose beginning is lost is of no use up to its next keyframe.
            if self.at_start && !frame.keyframe {
                continue;
            }
            self.at_start = false;
            frame.dts = frame.dts.saturating_add(self.lead);
            frame.pts = frame.pts.saturating_add(self.lead);
            if self.length_prefix {
                frame.data = annexb::to_length_prefixed(&frame.data);
            }
            match &mut self.guess {
                Some(guess) => {
                    guess.bytes = guess.bytes.saturating_add(frame.data.len());
                    guess.group.push(frame);
                    if guess.group.len() >= MAX_GROUP_FRAMES || guess.bytes >= MAX_GROUP_BYTES {
                        self.settle_group();
                    }
                }
                None => self.give(frame),
            }
        }
        Ok(())
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
