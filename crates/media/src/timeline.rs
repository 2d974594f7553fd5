//! One input as frames of one timeline: demuxed, merged across tracks, and without a seam where it is played again.

use crate::fmp4::{DemuxError, Demuxer, Limits};
use crate::frame::{Frame, TrackInfo};
use crate::interleave::Interleaver;
use crate::looping::Looper;
use std::time::Duration;

/// A silent track is waited for this long, in media time: plain files interleave by half a second or so.
const LEAD: Duration = Duration::from_secs(2);

/// Bytes of an MP4 in, frames in decode order across tracks out.
#[derive(Debug)]
pub struct Timeline {
    demuxer: Demuxer,
    merger: Option<Merger>,
    ended: bool,
}

#[derive(Debug)]
struct Merger {
    tracks: Vec<TrackInfo>,
    interleaver: Interleaver,
    looper: Looper,
}

impl Timeline {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { demuxer: Demuxer::new(Limits::default()), merger: None, ended: false }
    }

    /// Takes the next bytes; then drain [`Self::poll_frame`].
    ///
    /// # Errors
    /// The input is no MP4 that can be read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), DemuxError> {
        self.demuxer.push(bytes)?;
        self.collect();
        Ok(())
    }

    /// The input starts over: its bytes come again, their frames go on where the last ones ended.
    ///
    /// # Errors
    /// It ended too early.
    pub fn restart(&mut self) -> Result<(), DemuxError> {
        self.end_input()?;
        if let Some(merger) = &mut self.merger {
            merger.looper.restart();
        }
        self.demuxer = Demuxer::new(Limits::default());
        Ok(())
    }

    /// The input has ended for good.
    ///
    /// # Errors
    /// It ended too early; the frames that it had come all the same.
    pub fn finish(&mut self) -> Result<(), DemuxError> {
        let result = self.end_input();
        self.ended = true;
        if let Some(merger) = &mut self.merger {
            merger.interleaver.finish();
        }
        result
    }

    /// The tracks, once they are known.
    #[must_use]
    pub fn tracks(&self) -> Option<&[TrackInfo]> {
        self.merger.as_ref().map(|merger| merger.tracks.as_slice())
    }

    /// The next frame. `None`: none until more bytes come, or never again.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.merger.as_mut()?.interleaver.poll_frame()
    }

    /// Whether [`Self::finish`] was called: what is left is all there will be.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    fn end_input(&mut self) -> Result<(), DemuxError> {
        let result = self.demuxer.finish();
        self.collect();
        result
    }

    fn collect(&mut self) {
        if self.merger.is_none()
            && let Some(tracks) = self.demuxer.tracks()
        {
            let (interleaver, looper) = (Interleaver::new(tracks, LEAD), Looper::new(tracks));
            self.merger = Some(Merger { tracks: tracks.to_vec(), interleaver, looper });
        }
        if let Some(Merger { interleaver, looper, .. }) = &mut self.merger {
            while let Some(frame) = self.demuxer.poll_frame() {
                interleaver.push(looper.push(frame));
            }
        }
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpattern;

    fn drain(timeline: &mut Timeline) -> Vec<Frame> {
        std::iter::from_fn(|| timeline.poll_frame()).collect()
    }

    #[test]
    fn turns_follow_each_other_without_a_step_back() {
        let mut timeline = Timeline::new();
        let mut frames = Vec::new();
        for _ in 0..3 {
            for piece in testpattern().chunks(777) {
                timeline.push(piece).unwrap();
                frames.extend(drain(&mut timeline));
            }
            timeline.restart().unwrap();
        }
        timeline.finish().unwrap_err();
        frames.extend(drain(&mut timeline));
        for track in 0..timeline.tracks().unwrap().len() {
            let times: Vec<i64> = frames.iter().filter(|f| f.track == track).map(|f| f.dts).collect();
            assert!(times.len() > 100 && times.is_sorted_by(|a, b| a < b), "time stands still in track {track}");
        }
    }

    #[test]
    fn an_input_without_media_is_an_error() {
        assert_eq!(Timeline::new().restart(), Err(DemuxError::NoMoov { offset: 0 }));
        assert!(Timeline::new().push(b"this is no mp4 at all, not even a box").is_err());
    }

    #[test]
    fn what_a_cut_input_had_comes_all_the_same() {
        let mut timeline = Timeline::new();
        let bytes = testpattern();
        timeline.push(bytes.get(..bytes.len() / 2).unwrap()).unwrap();
        let before = drain(&mut timeline).len();
        timeline.finish().unwrap_err();
        assert!(timeline.is_ended() && before + drain(&mut timeline).len() > 50);
    }
}
