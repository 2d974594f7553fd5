//! What every container here is turned into: tracks and coded frames.

use bytes::Bytes;
use std::time::Duration;

/// Nanoseconds per second.
pub(crate) const NANOS: u32 = 1_000_000_000;

/// Kind of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// What a decoder has to know besides the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Coded size in pixels; 0 where unknown.
    Video {
        /// Coded width.
        width: u32,
        /// Coded height.
        height: u32,
    },
    /// Sound as coded.
    Audio {
        /// Samples per second.
        sample_rate: u32,
        /// Number of channels.
        channels: u32,
    },
}

/// One elementary stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackInfo {
    /// Number of the track in its file (ISO 14496-12 `track_ID`, never 0).
    pub id: u32,
    /// Codec string as WebCodecs and RFC 6381 write it, for instance `avc1.4d401f` or `mp4a.40.2`.
    pub codec: String,
    /// Ticks per second of [`Frame::dts`] and [`Frame::pts`]; never 0.
    pub timescale: u32,
    /// Picture size or sound layout.
    pub format: Format,
    /// Decoder configuration as WebCodecs calls its `description`: the body of `avcC`, `hvcC`, `av1C`, `vpcC`, the
    /// AudioSpecificConfig of AAC, an OpusHead. Empty where the stream itself carries it.
    pub config: Bytes,
    /// The MP4 sample entry box as read, so that muxing gives back every box of it. Empty: built from the rest.
    pub sample_entry: Bytes,
    /// Ticks that the edit list added to every timestamp (negative: priming or reordering delay was cut off).
    pub shift: i64,
    /// Bits per second where the source says so.
    pub bitrate: Option<u64>,
}

impl TrackInfo {
    /// Video or audio.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.format {
            Format::Video { .. } => Kind::Video,
            Format::Audio { .. } => Kind::Audio,
        }
    }

    /// Whether frames may be shown in another order than they are decoded in. True unless the codec rules it out.
    #[must_use]
    pub fn may_reorder(&self) -> bool {
        // Constrained Baseline and Baseline (profile 0x42) have no B slices; VP8, VP9 and AV1 show one frame per unit.
        let in_order = ["avc1.42", "avc3.42", "vp8", "vp08", "vp09", "av01"];
        self.kind() == Kind::Video && !in_order.iter().any(|p| self.codec.starts_with(p))
    }
}

/// One coded frame (an access unit or an audio packet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Index of its track.
    pub track: usize,
    /// Decode time in ticks of the track.
    pub dts: i64,
    /// Presentation time in ticks of the track.
    pub pts: i64,
    /// Duration in ticks; 0 where the source does not say.
    pub duration: u32,
    /// Decoding may start here.
    pub keyframe: bool,
    /// The coded bytes: length-prefixed NAL units, OBUs, a raw AAC frame, ...
    pub data: Bytes,
}

/// Ticks to add to each track's timestamps so that none is negative: edit lists cut priming and reordering delay off,
/// the wire and `tfdt` know no time before 0. One span of time for all tracks, at least `least`.
pub(crate) fn leads<'a>(tracks: impl Iterator<Item = &'a TrackInfo> + Clone, least: Duration) -> Vec<i64> {
    let least = i64::try_from(least.as_nanos()).unwrap_or(i64::MAX);
    let needed = tracks.clone().map(|t| rescale_up(t.shift.saturating_neg(), t.timescale, NANOS));
    let lead = needed.max().unwrap_or(0).max(least);
    tracks.map(|t| rescale_up(lead, NANOS, t.timescale)).collect()
}

/// `ticks` of timescale `from` in units of timescale `to`, rounded down; saturates.
#[must_use]
pub(crate) fn rescale(ticks: i64, from: u32, to: u32) -> i64 {
    if from == to {
        return ticks;
    }
    let scaled = (i128::from(ticks) * i128::from(to)).div_euclid(i128::from(from.max(1)));
    i64::try_from(scaled).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX })
}

/// As [`rescale`], rounded to the nearest unit.
#[must_use]
pub(crate) fn rescale_nearest(ticks: i64, from: u32, to: u32) -> i64 {
    if from == to {
        return ticks;
    }
    let from = i128::from(from.max(1));
    let scaled = (i128::from(ticks) * i128::from(to) * 2 + from).div_euclid(2 * from);
    i64::try_from(scaled).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX })
}

/// As [`rescale`], rounded up.
#[must_use]
pub(crate) fn rescale_up(ticks: i64, from: u32, to: u32) -> i64 {
    rescale(ticks.saturating_neg(), from, to).saturating_neg()
}

/// `ticks` as a duration; negative ones are zero.
#[must_use]
pub(crate) fn to_duration(ticks: i64, timescale: u32) -> Duration {
    let nanos = u128::from(ticks.max(0).unsigned_abs()) * 1_000_000_000 / u128::from(timescale.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Nanoseconds of `ticks`, to compare tracks of different timescales.
#[must_use]
pub(crate) fn to_nanos(ticks: i64, timescale: u32) -> i64 {
    rescale(ticks, timescale, NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_rounds_as_named() {
        assert_eq!(rescale(1, 48_000, 1_000_000), 20);
        assert_eq!(rescale_nearest(1, 48_000, 1_000_000), 21);
        assert_eq!(rescale_up(1, 48_000, 1_000_000), 21);
        assert_eq!(rescale(-1, 48_000, 1_000_000), -21);
        assert_eq!(rescale(i64::MAX, 1, 1_000_000), i64::MAX);
        assert_eq!(to_duration(-5, 90_000), Duration::ZERO);
        assert_eq!(to_duration(90_000, 90_000), Duration::from_secs(1));
    }
}
