//! Playing a file again and again on one timeline.

use crate::frame::{Frame, TrackInfo, rescale_up};

/// Moves the timestamps of each turn behind those of the turn before.
///
/// A turn lasts as long as its longest track, so that one goes on without a seam; what the others lack stays a gap.
#[derive(Debug)]
pub struct Looper {
    tracks: Vec<Span>,
    /// Length of all turns before this one, for each timescale that was the longest track's.
    before: Vec<(i64, u32)>,
}

#[derive(Debug)]
struct Span {
    timescale: u32,
    /// Decode time of the first frame and end of the last in the file's own time.
    range: Option<(i64, i64)>,
    offset: i64,
}

impl Looper {
    /// For the tracks of the file.
    #[must_use]
    pub fn new(tracks: &[TrackInfo]) -> Self {
        let tracks = tracks.iter().map(|t| Span { timescale: t.timescale, range: None, offset: 0 }).collect();
        Self { tracks, before: Vec::new() }
    }

    /// The frame on the endless timeline.
    #[must_use]
    pub fn push(&mut self, mut frame: Frame) -> Frame {
        if let Some(span) = self.tracks.get_mut(frame.track) {
            let end = frame.dts.saturating_add(i64::from(frame.duration));
            let (start, reached) = span.range.unwrap_or((frame.dts, end));
            span.range = Some((start.min(frame.dts), reached.max(end)));
            frame.dts = frame.dts.saturating_add(span.offset);
            frame.pts = frame.pts.saturating_add(span.offset);
        }
        frame
    }

    /// The file starts over.
    pub fn restart(&mut self) {
        let length = |span: &Span| span.range.map_or(0, |(start, end)| end.saturating_sub(start));
        let longest = self.tracks.iter().max_by_key(|s| i128::from(length(s)) * (1 << 32) / i128::from(s.timescale));
        let Some((turn, timescale)) = longest.map(|s| (length(s), s.timescale)) else { return };
        match self.before.iter_mut().find(|(_, scale)| *scale == timescale) {
            Some((total, _)) => *total = total.saturating_add(turn),
            None => self.before.push((turn, timescale)),
        }
        for span in &mut self.tracks {
            // Rounded up: a track as long as the turn must not reach into its own next turn.
            span.offset = self.before.iter().map(|(t, scale)| rescale_up(*t, *scale, span.timescale)).sum();
            span.range = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Format;
    use bytes::Bytes;

    #[test]
    fn the_longest_track_goes_on_without_a_seam_and_no_track_overlaps() {
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
        // 7 pictures of 1/30 s last 233.3 ms; 10 packets of 1024/48000 s last 213.3 ms.
        let (video, audio) = ((30, 1, 7), (48_000, 1024, 10));
        let mut looper = Looper::new(&[track(video.0), track(audio.0)]);
        let mut ends = [0i64, 0];
        for turn in 0..50 {
            for (index, (_, duration, count)) in [video, audio].into_iter().enumerate() {
                for n in 0..count {
                    let dts = n * i64::from(duration);
                    let data = Bytes::new();
                    let frame = looper.push(Frame { track: index, dts, pts: dts, duration, keyframe: true, data });
                    assert!(frame.dts >= ends[index]);
                    assert!(index == 1 || frame.dts == ends[index], "turn {turn}");
                    ends[index] = frame.dts + i64::from(duration);
                }
            }
            looper.restart();
        }
        assert_eq!(ends[0], 50 * 7);
        assert_eq!(ends[1], rescale_up(49 * 7, 30, 48_000) + 10 * 1024);
    }
}
