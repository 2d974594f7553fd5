//! What is published: a file, stdin or the test pattern, as frames on one timeline.

use anyhow::Context as _;
use sluice_media::{Frame, Timeline, TrackInfo};
use std::io::{Read, Seek, SeekFrom};

/// Read at a time.
const CHUNK_BYTES: usize = 128 * 1024;

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
    timeline: Timeline,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("turns", &self.turns).field("ended", &self.is_over()).finish_non_exhaustive()
    }
}

impl Source {
    /// A source that is read as frames are asked for: made to be paced.
    pub(crate) fn read(input: Box<dyn Input>, turns: Turns) -> Self {
        Self { input: Some(input), turns, timeline: Timeline::new() }
    }

    /// A source that is pushed: live, as it comes.
    pub(crate) fn pushed() -> Self {
        Self { input: None, turns: Turns::Once, timeline: Timeline::new() }
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
        Ok(self.timeline.push(bytes)?)
    }

    /// A pushed source has ended.
    ///
    /// # Errors
    /// It ended too early.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.timeline.finish()?)
    }

    /// The tracks, once they are known.
    pub(crate) fn tracks(&self) -> Option<&[TrackInfo]> {
        self.timeline.tracks()
    }

    /// The next frame; reads on where the source can be read. `None`: none for the time being, or never again.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(crate) fn poll_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.timeline.poll_frame() {
                return Ok(Some(frame));
            }
            if self.is_over() || self.input.is_none() {
                return Ok(None);
            }
            self.read_on()?;
        }
    }

    /// Whether no frame will ever come.
    pub(crate) const fn is_over(&self) -> bool {
        self.timeline.is_ended()
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
        self.timeline.restart()?;
        if let Some(input) = &mut self.input {
            input.seek(SeekFrom::Start(0)).context("starting the input over")?;
        }
        Ok(())
    }
}

/// The built-in test pattern.
pub(crate) fn test_pattern() -> Box<dyn Input> {
    Box::new(std::io::Cursor::new(sluice_media::testpattern()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
