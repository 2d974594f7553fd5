//! Writing one `moof` with its `mdat`.

use super::error::MuxError;
use super::init::put;
use crate::frame::Frame;
use bytes::Bytes;
use mp4_atom::{Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

/// Sample flags of a frame that depends on no other. Readers look at either half of these flags, so both are set.
const SYNC: u32 = 0x0200_0000;
/// Sample flags of a frame that depends on others and is no place to start.
const NON_SYNC: u32 = 0x0101_0000;

/// Consecutive frames of one track: each starts where the one before ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    /// `track_ID` as in the init segment.
    pub(crate) id: u32,
    /// At least one.
    pub(crate) frames: &'a [Frame],
}

/// A `moof` and the `mdat` with the frames of all runs, in that order.
pub(crate) fn write(sequence: u32, runs: &[Run<'_>]) -> Result<Bytes, MuxError> {
    let payload: usize = runs.iter().flat_map(|r| r.frames).map(|f| f.data.len()).sum();
    let too_large = || MuxError::TooLarge(payload);
    // The data offsets count from the start of the `moof`, whose size does not depend on them.
    let mut head = Vec::new();
    put(&moof(sequence, runs, 0).ok_or_else(too_large)?, &mut head);
    let data = head.len().saturating_add(8);
    head.clear();
    put(&moof(sequence, runs, data).ok_or_else(too_large)?, &mut head);
    let size = u32::try_from(payload.saturating_add(8)).map_err(|_| too_large())?;
    head.reserve_exact(payload.saturating_add(8));
    head.extend_from_slice(&size.to_be_bytes());
    head.extend_from_slice(b"mdat");
    for frame in runs.iter().flat_map(|r| r.frames) {
        head.extend_from_slice(&frame.data);
    }
    Ok(head.into())
}

/// `None` where a value does not fit its field.
fn moof(sequence_number: u32, runs: &[Run<'_>], data: usize) -> Option<Moof> {
    let mut offset = data;
    let mut traf = Vec::new();
    for run in runs {
        let first = run.frames.first()?;
        let samples = run.frames.iter().map(entry).collect::<Option<Vec<_>>>()?;
        let tfhd = Tfhd { track_id: run.id, default_base_is_moof: true, ..Default::default() };
        let trun = Trun { data_offset: Some(i32::try_from(offset).ok()?), samples: samples.into() };
        let tfdt = Tfdt { base_media_decode_time: u64::try_from(first.dts).ok()? };
        traf.push(Traf { tfhd, tfdt: Some(tfdt), trun: vec![trun], ..Default::default() });
        offset = run.frames.iter().try_fold(offset, |at, f| at.checked_add(f.data.len()))?;
    }
    Some(Moof { mfhd: Mfhd { sequence_number }, traf })
}

fn entry(frame: &Frame) -> Option<TrunEntry> {
    let composition = frame.pts.checked_sub(frame.dts)?;
    i32::try_from(composition).ok()?;
    Some(TrunEntry {
        duration: Some(frame.duration),
        size: Some(u32::try_from(frame.data.len()).ok()?),
        flags: Some(if frame.keyframe { SYNC } else { NON_SYNC }),
        // Absent means 0, which saves four bytes per object of a track without reordering.
        cts: Some(composition).filter(|c| *c != 0),
    })
}
