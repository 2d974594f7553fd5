//! Where samples lie in the file and when they play: from the tables of a plain file, or from a fragment.

use super::boxes;
use super::init::{Defaults, Trak};
use crate::frame::Kind;
use mp4_atom::{Co64, Ctts, Decode, Stco, Stsc, Stss, Stsz, StszSamples, Stts, Tfdt, Tfhd, Trun};

/// `sample_is_non_sync_sample` of the sample flags (ISO 14496-12 8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

/// One sample, its bytes still in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) track: usize,
    pub(crate) offset: u64,
    pub(crate) size: u32,
    pub(crate) dts: i64,
    pub(crate) pts: i64,
    pub(crate) duration: u32,
    pub(crate) keyframe: bool,
}

fn table<T: Decode>(stbl: &[u8], code: &[u8; 4]) -> Result<Option<T>, String> {
    let Some(found) = boxes::children(stbl).find(|c| c.code.0 == *code) else { return Ok(None) };
    T::decode(&mut &*found.whole).map(Some).map_err(|e| format!("{}: {e}", code.escape_ascii()))
}

/// The samples of one track of a plain file, at most `limit`.
pub(crate) fn from_tables(track: usize, trak: &Trak, limit: usize) -> Result<Vec<Sample>, String> {
    let stbl = &trak.samples;
    let sizes = table::<Stsz>(stbl, b"stsz")?.map_or_else(StszSamples::default, |t| t.samples);
    let count = match &sizes {
        StszSamples::Identical { count, .. } => usize::try_from(*count).unwrap_or(usize::MAX),
        StszSamples::Different { sizes } => sizes.len(),
    };
    if count > limit {
        return Err(format!("stsz: {count} samples, the limit is {limit}"));
    }
    let size = |index: usize| match &sizes {
        StszSamples::Identical { size, .. } => *size,
        StszSamples::Different { sizes } => sizes.get(index).copied().unwrap_or(0),
    };
    let mut samples = place(track, stbl, count, size)?;
    time(&mut samples, stbl, trak.info.shift)?;
    if trak.info.kind() == Kind::Video
        && let Some(stss) = table::<Stss>(stbl, b"stss")?
    {
        samples.iter_mut().for_each(|s| s.keyframe = false);
        for number in stss.entries {
            let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
            if let Some(sample) = index.and_then(|i| samples.get_mut(i)) {
                sample.keyframe = true;
            }
        }
    }
    Ok(samples)
}

/// Offsets: chunks from `stco` or `co64`, the number of samples in each from `stsc`.
fn place(track: usize, stbl: &[u8], count: usize, size: impl Fn(usize) -> u32) -> Result<Vec<Sample>, String> {
    let chunks: Vec<u64> = match table::<Stco>(stbl, b"stco")? {
        Some(stco) => stco.entries.into_iter().map(u64::from).collect(),
        None => table::<Co64>(stbl, b"co64")?.map(|t| t.entries).unwrap_or_default(),
    };
    let runs = table::<Stsc>(stbl, b"stsc")?.map(|t| t.entries).unwrap_or_default();
    let mut runs = runs.iter().peekable();
    let mut per_chunk = 0;
    let mut samples = Vec::new();
    for (number, chunk) in (1u32..).zip(chunks) {
        while let Some(run) = runs.next_if(|run| run.first_chunk <= number) {
            per_chunk = run.samples_per_chunk;
        }
        let mut offset = chunk;
        for _ in 0..per_chunk {
            if samples.len() == count {
                return Ok(samples);
            }
            let size = size(samples.len());
            samples.push(Sample { track, offset, size, dts: 0, pts: 0, duration: 0, keyframe: true });
            offset = offset.checked_add(u64::from(size)).ok_or("stco: offset overflows")?;
        }
    }
    if samples.len() < count {
        return Err(format!("stsc: places {} of {count} samples", samples.len()));
    }
    Ok(samples)
}

/// Decode times from `stts`, composition offsets from `ctts`.
fn time(samples: &mut [Sample], stbl: &[u8], shift: i64) -> Result<(), String> {
    let stts = table::<Stts>(stbl, b"stts")?.map(|t| t.entries).unwrap_or_default();
    let ctts = table::<Ctts>(stbl, b"ctts")?.map(|t| t.entries).unwrap_or_default();
    // Not `repeat_n` chains collected: the counts are the file's word, only as many as there are samples are taken.
    let mut durations = stts.iter().flat_map(|e| std::iter::repeat_n(e.sample_delta, to_usize(e.sample_count)));
    let mut offsets = ctts.iter().flat_map(|e| std::iter::repeat_n(e.sample_offset, to_usize(e.sample_count)));
    let mut dts = shift;
    for sample in samples {
        sample.duration = durations.next().unwrap_or(sample.duration);
        sample.dts = dts;
        sample.pts = dts.checked_add(offsets.next().unwrap_or(0)).ok_or("ctts: time overflows")?;
        dts = dts.checked_add(i64::from(sample.duration)).ok_or("stts: time overflows")?;
    }
    Ok(())
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A `moof` to read samples from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment<'a> {
    /// Body of the `moof`.
    pub(crate) body: &'a [u8],
    /// Where it starts in the file.
    pub(crate) start: u64,
    /// Where it ends: data without an explicit offset starts behind it and the header of `mdat`.
    pub(crate) end: u64,
}

/// Decode time at which each track goes on where a fragment does not say.
pub(crate) type NextTimes = Vec<i64>;

/// Appends the samples of a fragment to `out`; tracks that are left out are skipped.
pub(crate) fn from_fragment(
    fragment: Fragment<'_>,
    traks: &[Trak],
    next: &mut NextTimes,
    limit: usize,
    out: &mut Vec<Sample>,
) -> Result<(), String> {
    if !boxes::are_whole(fragment.body) {
        return Err("one of its boxes is longer than it".to_owned());
    }
    let mut offset = fragment.end.saturating_add(8);
    for traf in boxes::children(fragment.body).filter(|c| c.code.0 == *b"traf") {
        if !boxes::are_whole(traf.body) {
            return Err("traf: one of its boxes is longer than it".to_owned());
        }
        let tfhd = table::<Tfhd>(traf.body, b"tfhd")?.ok_or("`tfhd` is missing or cut")?;
        let Some(track) = traks.iter().position(|t| t.info.id == tfhd.track_id) else { continue };
        let (Some(trak), Some(next)) = (traks.get(track), next.get_mut(track)) else { continue };
        if let Some(tfdt) = table::<Tfdt>(traf.body, b"tfdt")? {
            let time = i64::try_from(tfdt.base_media_decode_time).map_err(|_| "tfdt: time overflows")?;
            *next = time.checked_add(trak.info.shift).ok_or("tfdt: time overflows")?;
        }
        let base = tfhd.base_data_offset.unwrap_or(fragment.start);
        let mut run = Run { track, trak, defaults: defaults(trak.defaults, &tfhd), dts: *next, limit };
        for trun in boxes::children(traf.body).filter(|c| c.code.0 == *b"trun") {
            let trun = Trun::decode(&mut &*trun.whole).map_err(|e| format!("trun: {e}"))?;
            if let Some(relative) = trun.data_offset {
                offset = base.checked_add_signed(i64::from(relative)).ok_or("trun: data offset overflows")?;
            }
            offset = run.read(&trun, offset, out)?;
        }
        *next = run.dts;
    }
    Ok(())
}

fn defaults(trex: Defaults, tfhd: &Tfhd) -> Defaults {
    Defaults {
        duration: tfhd.default_sample_duration.unwrap_or(trex.duration),
        size: tfhd.default_sample_size.unwrap_or(trex.size),
        flags: tfhd.default_sample_flags.unwrap_or(trex.flags),
    }
}

/// The state that goes from one `trun` to the next.
#[derive(Debug)]
struct Run<'a> {
    track: usize,
    trak: &'a Trak,
    defaults: Defaults,
    dts: i64,
    limit: usize,
}

impl Run<'_> {
    /// Returns where the data of the next run starts.
    fn read(&mut self, trun: &Trun, start: u64, out: &mut Vec<Sample>) -> Result<u64, String> {
        let mut offset = start;
        if trun.samples.len() > self.limit.saturating_sub(out.len()) {
            return Err(format!("trun: more than {} samples in a fragment", self.limit));
        }
        for entry in &trun.samples {
            let size = entry.size.unwrap_or(self.defaults.size);
            let duration = entry.duration.unwrap_or(self.defaults.duration);
            let composition = entry.cts.unwrap_or(0);
            let non_sync = entry.flags.unwrap_or(self.defaults.flags) & NON_SYNC != 0;
            out.push(Sample {
                track: self.track,
                offset,
                size,
                dts: self.dts,
                pts: self.dts.checked_add(composition).ok_or("trun: time overflows")?,
                duration,
                keyframe: self.trak.info.kind() == Kind::Audio || !non_sync,
            });
            offset = offset.checked_add(u64::from(size)).ok_or("trun: offset overflows")?;
            self.dts = self.dts.checked_add(i64::from(duration)).ok_or("trun: time overflows")?;
        }
        Ok(offset)
    }
}
