//! Media of a given rate: what encoders would send, without an encoder.
//!
//! The tracks are those of the built-in test pattern, so that every catalog is whole; the pictures are filler. A keyframe
//! is four times as large as other frames, as live encoders make them under a rate limit.

use anyhow::Context as _;
use bytes::Bytes;
use sluice_media::fmp4::{Demuxer, Limits, Muxer};
use sluice_media::{Frame, Kind, TrackInfo, testpattern};
use sluice_netem::scenario::Workload;
use std::time::Duration;

/// A file plays at least this long before it starts over.
const LENGTH: Duration = Duration::from_secs(8);
/// Size of a keyframe in other frames.
const KEYFRAME: u64 = 4;
/// Samples of an AAC frame.
const AAC_SAMPLES: u32 = 1024;
/// Ticks per second of video: frames of every common rate have a whole number of them.
const VIDEO_TICKS: u32 = 90_000;
const NAL_HEADER: usize = 5;
/// First bytes of NAL units: a slice of a keyframe, and another.
const NAL_KEY: u8 = 0x65;
const NAL_OTHER: u8 = 0x41;

/// A fragmented MP4 of `workload`, to be played in a loop.
pub(super) fn footage(workload: &Workload) -> anyhow::Result<Vec<u8>> {
    let mut demuxer = Demuxer::new(Limits::default());
    demuxer.push(&testpattern()).context("reading the test pattern")?;
    let tracks = demuxer.tracks().context("the test pattern has no tracks")?;
    let video = tracks.iter().find(|track| track.kind() == Kind::Video).context("the test pattern has no video")?;
    let audio = tracks.iter().find(|track| track.kind() == Kind::Audio).filter(|_| workload.audio.is_some());
    let video = TrackInfo { timescale: VIDEO_TICKS, shift: 0, bitrate: Some(workload.rate), ..video.clone() };
    let audio = audio.map(|track| TrackInfo { shift: 0, bitrate: workload.audio, ..track.clone() });
    let mut frames = pictures(workload);
    let length = Duration::from_secs(frames.len() as u64) / workload.fps;
    if let (Some(track), Some(rate)) = (&audio, workload.audio) {
        frames.extend(sounds(rate, track.timescale, length));
        let timescales = [VIDEO_TICKS, track.timescale];
        // In order of time, as a file is read; pictures first at equal times.
        frames.sort_by_key(|frame| {
            let scale = timescales.get(frame.track).copied().unwrap_or(1);
            (i128::from(frame.dts) * 1_000_000_000 / i128::from(scale), frame.track)
        });
    }
    let infos: Vec<TrackInfo> = std::iter::once(video).chain(audio).collect();
    mux(&infos, frames)
}

fn mux(tracks: &[TrackInfo], frames: Vec<Frame>) -> anyhow::Result<Vec<u8>> {
    let mut muxer = Muxer::new(tracks)?;
    let mut file = Vec::new();
    for frame in frames {
        muxer.push(frame)?;
        while let Some(bytes) = muxer.poll_bytes() {
            file.extend_from_slice(&bytes);
        }
    }
    muxer.finish()?;
    while let Some(bytes) = muxer.poll_bytes() {
        file.extend_from_slice(&bytes);
    }
    Ok(file)
}

fn pictures(workload: &Workload) -> Vec<Frame> {
    let per_group = workload.frames_per_group();
    let step = VIDEO_TICKS / workload.fps.max(1);
    let groups = u64::try_from(LENGTH.as_nanos().div_ceil(workload.group.as_nanos().max(1))).unwrap_or(1);
    let mean = workload.rate / 8 / u64::from(workload.fps.max(1));
    let other = mean * u64::from(per_group) / (u64::from(per_group) + KEYFRAME - 1);
    let frame = |number: u64| {
        let keyframe = number.is_multiple_of(u64::from(per_group));
        let bytes = if keyframe { other * KEYFRAME } else { other };
        let dts = i64::try_from(number * u64::from(step)).unwrap_or(i64::MAX);
        let data = filler(bytes, if keyframe { NAL_KEY } else { NAL_OTHER }, number);
        Frame { track: 0, dts, pts: dts, duration: step, keyframe, data }
    };
    (0..groups * u64::from(per_group)).map(frame).collect()
}

fn sounds(rate: u64, timescale: u32, length: Duration) -> Vec<Frame> {
    let bytes = rate / 8 * u64::from(AAC_SAMPLES) / u64::from(timescale.max(1));
    let ticks = length.as_nanos() * u128::from(timescale) / 1_000_000_000;
    let count = u64::try_from(ticks / u128::from(AAC_SAMPLES)).unwrap_or(0);
    let frame = |number: u64| {
        let dts = i64::try_from(number * u64::from(AAC_SAMPLES)).unwrap_or(i64::MAX);
        let data = noise(usize::try_from(bytes.max(8)).unwrap_or(8), number);
        Frame { track: 1, dts, pts: dts, duration: AAC_SAMPLES, keyframe: true, data: data.into() }
    };
    (0..count).map(frame).collect()
}

/// One NAL unit of that many bytes, its length before it.
fn filler(bytes: u64, header: u8, number: u64) -> Bytes {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(NAL_HEADER + 8);
    let length = u32::try_from(bytes - 4).unwrap_or(u32::MAX);
    let mut data = Vec::with_capacity(bytes);
    data.extend_from_slice(&length.to_be_bytes());
    data.push(header);
    data.extend(noise(bytes - NAL_HEADER, number));
    data.into()
}

/// Bytes without a pattern that a start code or a compressor could find; never zero.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0] | 1
    };
    std::iter::repeat_with(&mut next).take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_rate_the_frames_and_the_groups() {
        let workload = Workload { rate: 2_000_000, fps: 25, group: Duration::from_secs(2), audio: Some(128_000) };
        let file = footage(&workload).unwrap();
        let mut demuxer = Demuxer::new(Limits::default());
        demuxer.push(&file).unwrap();
        demuxer.finish().unwrap();
        let (mut frames, mut keys, mut bytes, mut audio) = (0, Vec::new(), [0; 2], 0);
        while let Some(frame) = demuxer.poll_frame() {
            bytes[frame.track] += frame.data.len();
            if frame.track == 0 {
                keys.extend(frame.keyframe.then_some(frames));
                frames += 1;
            } else {
                audio += 1;
            }
        }
        assert_eq!((frames, keys), (200, vec![0, 50, 100, 150]));
        assert!((1_980_000..=2_000_000).contains(&bytes[0]), "8 s of 2 Mbit/s: {bytes:?}");
        assert!((370..=376).contains(&audio) && (126_000..=128_000).contains(&bytes[1]), "{audio} {bytes:?}");
    }
}
