//! Merging the frames of several tracks by decode time.

use crate::frame::{Frame, TrackInfo, to_nanos};
use std::collections::VecDeque;
use std::time::Duration;

/// Frames held for one track before order gives way to memory.
const MAX_HELD: usize = 4096;
/// Bytes held for all tracks before order gives way to memory.
const MAX_HELD_BYTES: usize = 64 << 20;

/// Takes frames that are in decode order within each track and returns them in decode order across tracks.
///
/// A track that has nothing is waited for until another is `lead` of media time ahead of where it stopped, so that a
/// track that ends or pauses never stops the others.
#[derive(Debug)]
pub struct Interleaver {
    tracks: Vec<Queue>,
    lead: i64,
    held_bytes: usize,
    finished: bool,
}

#[derive(Debug)]
struct Queue {
    timescale: u32,
    frames: VecDeque<Frame>,
    /// End of the last frame handed out, in nanoseconds.
    reached: Option<i64>,
}

impl Interleaver {
    /// A merger for these tracks that waits for a silent one as long as the others are at most `lead` ahead.
    #[must_use]
    pub fn new(tracks: &[TrackInfo], lead: Duration) -> Self {
        let tracks =
            tracks.iter().map(|t| Queue { timescale: t.timescale, frames: VecDeque::new(), reached: None }).collect();
        Self { tracks, lead: i64::try_from(lead.as_nanos()).unwrap_or(i64::MAX), held_bytes: 0, finished: false }
    }

    /// Takes the next frame of its track; frames of unknown tracks are dropped.
    pub fn push(&mut self, frame: Frame) {
        if let Some(queue) = self.tracks.get_mut(frame.track) {
            self.held_bytes = self.held_bytes.saturating_add(frame.data.len());
            queue.frames.push_back(frame);
        }
    }

    /// No more frames will come: nothing is waited for any more.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Bytes held.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The next frame in order, ties by track index.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        let (time, index) = self.tracks.iter().enumerate().filter_map(|(i, q)| Some((q.head()?, i))).min()?;
        if !self.finished && self.waits(time) {
            return None;
        }
        let queue = self.tracks.get_mut(index)?;
        let frame = queue.frames.pop_front()?;
        self.held_bytes = self.held_bytes.saturating_sub(frame.data.len());
        queue.reached = Some(to_nanos(frame.dts.saturating_add(i64::from(frame.duration)), queue.timescale));
        Some(frame)
    }

    /// Whether an empty track may still bring a frame before `time`.
    fn waits(&self, time: i64) -> bool {
        if self.held_bytes >= MAX_HELD_BYTES || self.tracks.iter().any(|q| q.frames.len() >= MAX_HELD) {
            return false;
        }
        let newest = self.tracks.iter().filter_map(Queue::tail).max().unwrap_or(time);
        self.tracks.iter().any(|q| {
            let from = q.reached.unwrap_or(time);
            q.frames.is_empty() && from <= time && newest.saturating_sub(from) < self.lead
        })
    }
}

impl Queue {
    fn head(&self) -> Option<i64> {
        self.frames.front().map(|f| to_nanos(f.dts, self.timescale))
    }

    fn tail(&self) -> Option<i64> {
        self.frames.back().map(|f| to_nanos(f.dts, self.timescale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Format;
    use bytes::Bytes;

    fn merger(lead: Duration) -> Interleaver {
        let track = |timescale| TrackInfo {
            id: 1,
            codec: "opus".to_owned(),
            timescale,
            format: Format::Audio { sample_rate: 48_000, channels: 2 },
            config: Bytes::new(),
            sample_entry: Bytes::new(),
            shift: 0,
            bitrate: None,
        };
        Interleaver::new(&[track(25), track(1000)], lead)
    }

    fn frame(track: usize, dts: i64, duration: u32) -> Frame {
        Frame { track, dts, pts: dts, duration, keyframe: true, data: Bytes::from_static(b"x") }
    }

    fn drain(merger: &mut Interleaver) -> Vec<(usize, i64)> {
        std::iter::from_fn(|| merger.poll_frame()).map(|f| (f.track, f.dts)).collect()
    }

    #[test]
    fn order_is_by_decode_time_across_timescales() {
        let mut merger = merger(Duration::from_secs(1));
        (0..3).for_each(|n| merger.push(frame(0, n, 1)));
        assert_eq!(drain(&mut merger), []);
        (0..5).for_each(|n| merger.push(frame(1, n * 30, 30)));
        assert_eq!(drain(&mut merger), [(0, 0), (1, 0), (1, 30), (0, 1), (1, 60), (0, 2), (1, 90)]);
        merger.finish();
        assert_eq!(drain(&mut merger), [(1, 120)]);
    }

    #[test]
    fn a_silent_track_is_waited_for_no_longer_than_the_lead() {
        let mut merger = merger(Duration::from_secs(1));
        (0..25).for_each(|n| merger.push(frame(0, n, 1)));
        assert_eq!(drain(&mut merger), []);
        merger.push(frame(0, 25, 1));
        assert!(!drain(&mut merger).is_empty());
        assert!(merger.held_bytes() < 26);
    }
}
