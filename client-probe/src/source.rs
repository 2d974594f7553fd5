//! What is published: a file, stdin or the test pattern, as frames on one timeline.

use anyhow::Context as _;
use sluice_media::fmp4::{Demuxer, Limits};
use sluice_media::{Frame, Interleaver, Looper, TrackInfo};
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

/// Read at a time.
const CHUNK_BYTES: usize = 128 * 1024;
/// A silent track is waited for this long, in media time: plain files interleave by half a second or so.
const LEAD: Duration = Duration::from_secs(2);

/// Something that can be read again from the start.
pub(crate) trait Input: Read + Seek + Send {}

impl<T: Read + Seek + Send> Input for T {}

/// Whether a source starts over at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turns {
    /// It ends.
    Once,
    /// It goes on for ever.
    Endless,
}

/// Frames of one source, in decode order across tracks.
pub(crate) struct Source {
    input: Option<Box<dyn Input>>,
    turns: Turns,
    demuxer: Demuxer,
    merger: Option<(Vec<TrackInfo>, Interleaver, Looper)>,
    ended: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("turns", &self.turns).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Source {
    /// A source that is read as frames are asked for: made to be paced.
    pub(crate) fn read(input: Box<dyn Input>, turns: Turns) -> Self {
        Self { input: Some(input), turns, demuxer: Demuxer::new(Limits::default()), merger: None, ended: false }
    }

    /// A source that is pushed: live, as it comes.
    pub(crate) fn pushed() -> Self {
        Self { input: None, turns: Turns::Once, demuxer: Demuxer::new(Limits::default()), merger: None, ended: false }
    }

    /// Whether frames are to wait for their time.
    pub(crate) const fn is_paced(&self) -> bool {
        self.input.is_some()
    }

    /// The next bytes of a pushed source.
    ///
    /// # Errors
    /// The input is no MP4 that can be read.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.demuxer.push(bytes)?;
        self.collect();
        Ok(())
    }

    /// A pushed source has ended.
    ///
    /// # Errors
    /// It ended too early.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let result = self.demuxer.finish();
        self.collect();
        self.ended = true;
        if let Some((_, merger, _)) = &mut self.merger {
            merger.finish();
        }
        Ok(result?)
    }

    /// The tracks, once they are known.
    pub(crate) fn tracks(&self) -> Option<&[TrackInfo]> {
        self.merger.as_ref().map(|(tracks, _, _)| tracks.as_slice())
    }

    /// The next frame; reads on where the source can be read. `None`: none for the time being, or never again.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(crate) fn poll_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        loop {
            if let Some((_, merger, _)) = &mut self.merger
                && let Some(frame) = merger.poll_frame()
            {
                return Ok(Some(frame));
            }
            if self.ended || self.input.is_none() {
                return Ok(None);
            }
            self.read_on()?;
        }
    }

    /// Whether no frame will ever come.
    pub(crate) const fn is_over(&self) -> bool {
        self.ended
    }

    fn read_on(&mut self) -> anyhow::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = input.read(&mut chunk).context("reading the input")?;
        chunk.truncate(read);
        if read > 0 {
            return self.push(&chunk);
        }
        match self.turns {
            Turns::Once => self.finish(),
            Turns::Endless => self.start_over(),
        }
    }

    fn start_over(&mut self) -> anyhow::Result<()> {
        self.demuxer.finish()?;
        self.collect();
        let Some((_, _, looper)) = &mut self.merger else {
            anyhow::bail!("the input has no track that can be published")
        };
        looper.restart();
        if let Some(input) = &mut self.input {
            input.seek(SeekFrom::Start(0)).context("starting the input over")?;
        }
        self.demuxer = Demuxer::new(Limits::default());
        Ok(())
    }

    fn collect(&mut self) {
        if self.merger.is_none()
            && let Some(tracks) = self.demuxer.tracks()
        {
            self.merger = Some((tracks.to_vec(), Interleaver::new(tracks, LEAD), Looper::new(tracks)));
        }
        if let Some((_, merger, looper)) = &mut self.merger {
            while let Some(frame) = self.demuxer.poll_frame() {
                merger.push(looper.push(frame));
            }
        }
    }
}

/// The built-in test pattern.
pub(crate) fn test_pattern() -> Box<dyn Input> {
    Box::new(std::io::Cursor::new(sluice_media::testpattern()))
}

/// When each frame of a paced source is due.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the timeline's first frame went out, and its decode time in nanoseconds.
    origin: Option<(Instant, i128)>,
}

impl Pace {
    /// When a frame of `track` is due; the first one is due now.
    pub(crate) fn due(&mut self, now: Instant, frame: &Frame, track: &TrackInfo) -> Instant {
        let time = i128::from(frame.dts) * 1_000_000_000 / i128::from(track.timescale.max(1));
        let (start, first) = *self.origin.get_or_insert((now, time));
        let nanos = u64::try_from(time.saturating_sub(first).max(0)).unwrap_or(u64::MAX);
        start.checked_add(Duration::from_nanos(nanos)).unwrap_or(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_net::clock::{Clock as _, ManualClock};

    fn drain(source: &mut Source, frames: usize) -> Vec<Frame> {
        std::iter::from_fn(|| source.poll_frame().unwrap()).take(frames).collect()
    }

    #[test]
    fn the_test_pattern_plays_once_and_for_ever() {
        let mut once = Source::read(test_pattern(), Turns::Once);
        let turn = drain(&mut once, usize::MAX).len();
        assert!(turn > 10 && once.is_over());
        let mut endless = Source::read(test_pattern(), Turns::Endless);
        let frames = drain(&mut endless, 3 * turn);
        assert_eq!(frames.len(), 3 * turn);
        for track in 0..endless.tracks().unwrap().len() {
            let times: Vec<i64> = frames.iter().filter(|f| f.track == track).map(|f| f.dts).collect();
            assert!(times.is_sorted_by(|a, b| a < b), "time stands still in track {track}");
        }
    }

    #[test]
    fn pushed_bytes_give_the_same_frames() {
        let mut bytes = Vec::new();
        test_pattern().read_to_end(&mut bytes).unwrap();
        let mut pushed = Source::pushed();
        let mut frames = Vec::new();
        for piece in bytes.chunks(777) {
            pushed.push(piece).unwrap();
            frames.extend(drain(&mut pushed, usize::MAX));
        }
        pushed.finish().unwrap();
        frames.extend(drain(&mut pushed, usize::MAX));
        assert_eq!(frames, drain(&mut Source::read(test_pattern(), Turns::Once), usize::MAX));
    }

    #[test]
    fn broken_input_is_an_error() {
        assert!(Source::pushed().push(b"this is no mp4 at all, not even a box").is_err());
        assert!(Source::read(Box::new(std::io::Cursor::new(b"")), Turns::Endless).poll_frame().is_err());
    }

    #[test]
    fn frames_are_due_by_their_decode_time() {
        let mut source = Source::read(test_pattern(), Turns::Once);
        let frames = drain(&mut source, 50);
        let tracks = source.tracks().unwrap();
        let (mut pace, start) = (Pace::default(), ManualClock::new(Duration::ZERO).now());
        let due: Vec<Instant> = frames.iter().map(|f| pace.due(start, f, &tracks[f.track])).collect();
        assert!(due[0] == start && due.is_sorted() && due[49] > start);
    }
}
