//! MP4 bytes to frames, fed in pieces of any size.

use super::boxes::{Code, Header, HeaderError};
use super::error::DemuxError;
use super::init::{self, Trak};
use super::sample::{self, Fragment, NextTimes, Sample};
use crate::frame::{Frame, TrackInfo};
use bytes::{Buf as _, Bytes, BytesMut};
use std::collections::VecDeque;

/// Boxes that a file may begin with; anything else is some other format, told at once.
const STARTS: [&[u8; 4]; 14] = [
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pdin", b"sidx", b"emsg", b"prft",
    b"uuid", b"meta",
];

/// What an input may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a `moov`, a `moof` and of one sample.
    pub box_bytes: u64,
    /// Bytes kept while the `moov` of a plain file has not come yet.
    pub held_bytes: u64,
    /// Usable tracks.
    pub tracks: usize,
    /// Samples of a plain file per track, and of one fragment.
    pub samples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { box_bytes: 64 << 20, held_bytes: 1 << 30, tracks: 32, samples: 1 << 20 }
    }
}

/// Reads fragmented MP4 as it grows, and plain MP4 with the `moov` in front (as it comes) or behind (at the end).
///
/// ```
/// use sluice_media::{fmp4::{Demuxer, Limits}, testpattern};
/// let mut demuxer = Demuxer::new(Limits::default());
/// for piece in testpattern().chunks(1000) {
///     demuxer.push(piece)?;
/// }
/// demuxer.finish()?;
/// assert_eq!(demuxer.tracks().map(<[_]>::len), Some(2));
/// assert!(demuxer.poll_frame().is_some_and(|frame| frame.keyframe));
/// # Ok::<(), sluice_media::fmp4::DemuxError>(())
/// ```
#[derive(Debug)]
pub struct Demuxer {
    limits: Limits,
    /// Bytes from `base` on.
    buffer: BytesMut,
    /// File offset of the first buffered byte.
    base: u64,
    /// File offset of the next box header at top level.
    scan: u64,
    /// Top-level box that `scan` lies behind, for error messages.
    inside: Code,
    traks: Option<Vec<Trak>>,
    infos: Vec<TrackInfo>,
    next_times: NextTimes,
    last_times: Vec<Option<i64>>,
    /// Samples whose bytes have not been handed out, by file offset.
    pending: VecDeque<Sample>,
    frames: VecDeque<Frame>,
}

impl Demuxer {
    /// An empty reader.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            base: 0,
            scan: 0,
            inside: Code(*b"file"),
            traks: None,
            infos: Vec::new(),
            next_times: Vec::new(),
            last_times: Vec::new(),
            pending: VecDeque::new(),
            frames: VecDeque::new(),
        }
    }

    /// Takes the next bytes; then drain [`Self::poll_frame`].
    ///
    /// # Errors
    /// The input is no MP4 or exceeds a limit. The reader is of no further use; frames found before stay available.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), DemuxError> {
        self.buffer.extend_from_slice(bytes);
        if self.traks.is_none() {
            let held = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
            self.within(self.inside, held, "bytes before `moov`", self.limits.held_bytes)?;
        }
        loop {
            self.cut_samples();
            self.discard();
            if !self.step()? {
                return Ok(());
            }
        }
    }

    /// The input has ended.
    ///
    /// # Errors
    /// It ended too early. Frames found before stay available.
    pub fn finish(&mut self) -> Result<(), DemuxError> {
        let end = self.end();
        if self.traks.is_none() {
            return Err(DemuxError::NoMoov { offset: end });
        }
        let needed = self.pending.iter().map(|s| s.offset.saturating_add(u64::from(s.size))).max();
        let needed = needed.unwrap_or(0).max(if self.scan == u64::MAX { 0 } else { self.scan });
        // A header that is not whole is a cut of its own, of at least one byte.
        let needed = if needed < end && self.scan < end { end.saturating_add(1) } else { needed };
        match needed.checked_sub(end) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(DemuxError::Truncated { code: self.inside, offset: end, missing }),
        }
    }

    /// The tracks, once the `moov` has come.
    #[must_use]
    pub fn tracks(&self) -> Option<&[TrackInfo]> {
        self.traks.as_ref().map(|_| self.infos.as_slice())
    }

    /// The next frame, in the order of the file.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Handles one box at top level; false when more bytes are needed.
    fn step(&mut self) -> Result<bool, DemuxError> {
        if self.scan >= self.end() {
            return Ok(false);
        }
        let header = match Header::parse(self.bytes_from(self.scan)) {
            Ok(header) => header,
            Err(HeaderError::Short) => return Ok(false),
            Err(HeaderError::Size { code, .. }) if !code.is_plausible() => {
                return Err(DemuxError::NotMp4 { offset: self.scan });
            }
            Err(HeaderError::Size { code, size }) => {
                return Err(self.broken(code, format!("its size is {size}")));
            }
        };
        if !header.code.is_plausible() || (self.scan == 0 && !STARTS.contains(&&header.code.0)) {
            return Err(DemuxError::NotMp4 { offset: self.scan });
        }
        self.inside = header.code;
        match &header.code.0 {
            b"moov" | b"moof" => self.step_whole(header),
            b"mdat" => self.step_data(header),
            _ => {
                self.skip(header);
                Ok(true)
            }
        }
    }

    fn skip(&mut self, header: Header) {
        self.scan = header.size.map_or(u64::MAX, |size| self.scan.saturating_add(size));
    }

    /// `mdat` is not read as a box: samples say where their bytes are.
    fn step_data(&mut self, header: Header) -> Result<bool, DemuxError> {
        if self.traks.is_none() {
            let size = header.size.unwrap_or(0);
            self.within(header.code, size, "bytes before `moov`", self.limits.held_bytes)?;
        }
        self.skip(header);
        Ok(true)
    }

    /// `moov` and `moof` are handled when they are complete.
    fn step_whole(&mut self, header: Header) -> Result<bool, DemuxError> {
        let Some(size) = header.size else {
            return Err(self.broken(header.code, "it has no size".to_owned()));
        };
        self.within(header.code, size, "bytes", self.limits.box_bytes)?;
        let end = self.scan.saturating_add(size);
        if end > self.end() {
            return Ok(false);
        }
        let body = self.copy(self.scan.saturating_add(header.len), end);
        if header.code.0 == *b"moov" {
            self.on_moov(&body)?;
        } else {
            self.on_moof(&body, end)?;
        }
        self.scan = end;
        Ok(true)
    }

    fn on_moov(&mut self, body: &[u8]) -> Result<(), DemuxError> {
        let code = Code(*b"moov");
        if self.traks.is_some() {
            // ffmpeg and others repeat the same `moov` now and then; a different one starts another file.
            return Ok(());
        }
        let moov = init::parse(body).map_err(|cause| self.broken(code, cause))?;
        if moov.traks.is_empty() {
            return Err(DemuxError::NoTracks { skipped: moov.skipped });
        }
        let tracks = u64::try_from(moov.traks.len()).unwrap_or(u64::MAX);
        self.within(code, tracks, "tracks", u64::try_from(self.limits.tracks).unwrap_or(u64::MAX))?;
        let mut samples = Vec::new();
        for (index, trak) in moov.traks.iter().enumerate() {
            let found = sample::from_tables(index, trak, self.limits.samples).map_err(|c| self.broken(code, c))?;
            samples.extend(found);
        }
        samples.sort_by_key(|s| s.offset);
        self.check_samples(code, &samples)?;
        self.pending = samples.into();
        self.infos = moov.traks.iter().map(|t| t.info.clone()).collect();
        self.next_times = self.infos.iter().map(|t| t.shift).collect();
        self.last_times = vec![None; self.infos.len()];
        self.traks = Some(moov.traks);
        Ok(())
    }

    fn on_moof(&mut self, body: &[u8], end: u64) -> Result<(), DemuxError> {
        let code = Code(*b"moof");
        let Some(traks) = self.traks.as_ref() else {
            return Err(DemuxError::NoInit { code, offset: self.scan });
        };
        if let Some(lost) = self.pending.front() {
            let cause = format!("the data of a sample lies at {}, outside the data before it", lost.offset);
            return Err(self.broken(code, cause));
        }
        let mut samples = Vec::new();
        let fragment = Fragment { body, start: self.scan, end };
        sample::from_fragment(fragment, traks, &mut self.next_times, self.limits.samples, &mut samples)
            .map_err(|cause| DemuxError::Broken { code, offset: self.scan, cause })?;
        self.check_times(&samples)?;
        samples.sort_by_key(|s| s.offset);
        self.check_samples(code, &samples)?;
        self.pending = samples.into();
        Ok(())
    }

    fn check_times(&mut self, samples: &[Sample]) -> Result<(), DemuxError> {
        for sample in samples {
            let last = self.last_times.get_mut(sample.track);
            let (Some(last), Some(info)) = (last, self.infos.get(sample.track)) else { continue };
            if let Some(previous) = last.replace(sample.dts).filter(|previous| *previous >= sample.dts) {
                let (track, dts, offset) = (info.id, sample.dts, self.scan);
                return Err(DemuxError::TimeWentBack { track, dts, previous, offset });
            }
        }
        Ok(())
    }

    fn check_samples(&self, code: Code, samples: &[Sample]) -> Result<(), DemuxError> {
        if let Some(first) = samples.first().filter(|s| s.offset < self.base) {
            return Err(
                self.broken(code, format!("the data of a sample lies at {}, before what is kept", first.offset))
            );
        }
        let largest = samples.iter().map(|s| u64::from(s.size)).max().unwrap_or(0);
        self.within(code, largest, "bytes for a sample", self.limits.box_bytes)
    }

    /// Turns pending samples into frames as far as their bytes are there.
    fn cut_samples(&mut self) {
        let end = self.end();
        while let Some(sample) = self.pending.front().copied() {
            let sample_end = sample.offset.saturating_add(u64::from(sample.size));
            if sample_end > end {
                return;
            }
            self.pending.pop_front();
            // Nothing to decode: some muxers write them to fill time.
            if sample.size > 0 {
                let data = self.copy(sample.offset, sample_end);
                let Sample { track, dts, pts, duration, keyframe, .. } = sample;
                self.frames.push_back(Frame { track, dts, pts, duration, keyframe, data });
            }
        }
    }

    /// Forgets bytes that nothing refers to any more.
    fn discard(&mut self) {
        let keep = match (self.pending.front(), &self.traks) {
            (Some(sample), _) => sample.offset.min(self.scan),
            (None, Some(_)) => self.scan,
            // Without a `moov` every byte may be a sample of it; `held_bytes` bounds that.
            (None, None) => self.base,
        };
        let drop = keep.min(self.end()).saturating_sub(self.base);
        self.buffer.advance(usize::try_from(drop).unwrap_or(0));
        self.base = self.base.saturating_add(drop);
    }

    fn end(&self) -> u64 {
        self.base.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX))
    }

    fn bytes_from(&self, offset: u64) -> &[u8] {
        let at = offset.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.buffer.get(at..)).unwrap_or_default()
    }

    fn copy(&self, start: u64, end: u64) -> Bytes {
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        Bytes::copy_from_slice(self.bytes_from(start).get(..len).unwrap_or_default())
    }

    fn broken(&self, code: Code, cause: String) -> DemuxError {
        DemuxError::Broken { code, offset: self.scan, cause }
    }

    fn within(&self, code: Code, size: u64, unit: &'static str, limit: u64) -> Result<(), DemuxError> {
        if size > limit {
            return Err(DemuxError::TooLarge { code, offset: self.scan, size, unit, limit });
        }
        Ok(())
    }
}
