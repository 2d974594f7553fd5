//! Frames of several tracks to a CMAF-style fragmented MP4.

use super::error::MuxError;
use super::fragment::{self, Run};
use super::init;
use crate::frame::{Frame, Kind, TrackInfo, to_duration};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// Longest fragment: what a viewer at the other end of a pipe waits for at most.
const FRAGMENT: Duration = Duration::from_millis(500);
/// Frames without a known duration are given this many seconds at most; what is longer is a gap.
const UNKNOWN_DURATION_SECONDS: u32 = 1;

/// Writes an init segment, then fragments that hold the tracks' frames of the same time span.
///
/// Frames come in decode order of each track and roughly so across tracks (see [`crate::Interleaver`]). A frame that
/// does not start where the one before ends opens a new fragment, whose decode time says so: a gap stays a gap.
#[derive(Debug)]
pub struct Muxer {
    tracks: Vec<Track>,
    sequence: u32,
    output: VecDeque<Bytes>,
}

#[derive(Debug)]
struct Track {
    info: TrackInfo,
    /// Frames of the open fragment; consecutive.
    run: Vec<Frame>,
    /// Decode time of the last frame.
    last: Option<i64>,
    /// Distance of the last two consecutive frames: stands in where a duration is unknown.
    step: u32,
}

impl Muxer {
    /// A writer for these tracks; their ids are written as positions, from 1.
    ///
    /// # Errors
    /// No tracks, or a codec without a sample entry.
    pub fn new(tracks: &[TrackInfo]) -> Result<Self, MuxError> {
        let infos: Vec<_> = tracks.iter().zip(1..).map(|(track, id)| TrackInfo { id, ..track.clone() }).collect();
        let output = VecDeque::from([init::write(&infos)?]);
        let tracks = infos.into_iter().map(|info| Track { info, run: Vec::new(), last: None, step: 0 }).collect();
        Ok(Self { tracks, sequence: 0, output })
    }

    /// Adds one frame; then drain [`Self::poll_bytes`].
    ///
    /// # Errors
    /// The frame is refused: unknown track, or a decode time that is negative or not above the last. The writer stays
    /// usable.
    pub fn push(&mut self, frame: Frame) -> Result<(), MuxError> {
        let index = frame.track;
        let track = self.tracks.get_mut(index).ok_or(MuxError::UnknownTrack(index))?;
        let previous = track.last.unwrap_or(-1);
        if frame.dts <= previous {
            return Err(MuxError::Time { track: index, dts: frame.dts, previous });
        }
        let continues = track.close_last(frame.dts);
        let opens_picture_group = frame.keyframe && track.info.kind() == Kind::Video;
        let too_long = track
            .run
            .first()
            .is_some_and(|first| to_duration(frame.dts.saturating_sub(first.dts), track.info.timescale) >= FRAGMENT);
        if !track.run.is_empty() && (!continues || opens_picture_group || too_long) {
            self.flush()?;
        }
        if let Some(track) = self.tracks.get_mut(index) {
            track.last = Some(frame.dts);
            track.run.push(frame);
        }
        Ok(())
    }

    /// No more frames: writes what is left.
    ///
    /// # Errors
    /// A fragment exceeds the format.
    pub fn finish(&mut self) -> Result<(), MuxError> {
        self.flush()
    }

    /// The next bytes to append to the output.
    pub fn poll_bytes(&mut self) -> Option<Bytes> {
        self.output.pop_front()
    }

    fn flush(&mut self) -> Result<(), MuxError> {
        for track in &mut self.tracks {
            track.guess_last();
        }
        let runs: Vec<_> =
            self.tracks.iter().filter(|t| !t.run.is_empty()).map(|t| Run { id: t.info.id, frames: &t.run }).collect();
        if runs.is_empty() {
            return Ok(());
        }
        self.sequence = self.sequence.wrapping_add(1);
        let written = fragment::write(self.sequence, &runs);
        self.tracks.iter_mut().for_each(|t| t.run.clear());
        self.output.push_back(written?);
        Ok(())
    }
}

impl Track {
    /// Settles the duration of the last frame, the next starting at `next`; whether that one follows without a gap.
    fn close_last(&mut self, next: i64) -> bool {
        let Some(last) = self.run.last_mut() else { return true };
        let Ok(distance) = u32::try_from(next.saturating_sub(last.dts)) else { return false };
        let usual = match (last.duration, self.step) {
            (0, 0) => self.info.timescale.saturating_mul(UNKNOWN_DURATION_SECONDS),
            (0, step) => step,
            (duration, _) => duration,
        };
        // Timestamps that were rounded to another timescale on their way jitter; a lost frame doubles the distance.
        let continues = u64::from(distance) * 2 < u64::from(usual) * 3;
        if continues {
            self.step = distance;
            last.duration = distance;
        }
        continues
    }

    /// The fragment ends here: a last frame of unknown duration gets the usual one.
    fn guess_last(&mut self) {
        if let Some(last) = self.run.last_mut().filter(|f| f.duration == 0) {
            last.duration = self.step;
        }
    }
}
