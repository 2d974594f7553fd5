//! Why a file is refused, in words that name the box, the place and the way out.

use super::boxes::Code;

/// How a user of ffmpeg gets a file that can be read while it grows.
const FIX: &str = "ffmpeg: add `-f mp4 -movflags cmaf+frag_keyframe+empty_moov`";

/// Why MP4 bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DemuxError {
    /// The bytes are not made of boxes.
    #[error("not an MP4: byte {offset} starts no box; {FIX}")]
    NotMp4 {
        /// Byte of the input.
        offset: u64,
    },
    /// A box or table is larger than the limit.
    #[error("box `{code}` at byte {offset} needs {size} {unit}, the limit is {limit}")]
    TooLarge {
        /// Which box.
        code: Code,
        /// Where it starts.
        offset: u64,
        /// How much it needs.
        size: u64,
        /// Of what.
        unit: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// A box contradicts the format.
    #[error(
        "box `{code}` at byte {offset} is broken: {cause}; write the file again, for instance with `ffmpeg -i IN -c copy OUT`"
    )]
    Broken {
        /// Which box.
        code: Code,
        /// Where its parent at top level starts.
        offset: u64,
        /// What is wrong.
        cause: String,
    },
    /// Fragments come before the `moov` that describes them.
    #[error(
        "box `{code}` at byte {offset} comes before `moov`: the start of the stream is missing; restart the encoder, or {FIX}"
    )]
    NoInit {
        /// Which box.
        code: Code,
        /// Where it starts.
        offset: u64,
    },
    /// The `moov` is missing at the end of the input, or lies behind too much data.
    #[error("no `moov` in the first {offset} bytes; {FIX}")]
    NoMoov {
        /// How many bytes were read.
        offset: u64,
    },
    /// No track can be used.
    #[error("`moov` has no usable audio or video track{}", if .skipped.is_empty() { String::new() } else { format!(" (left out: {})", .skipped.join(", ")) })]
    NoTracks {
        /// Sample entries that are not supported.
        skipped: Vec<String>,
    },
    /// Decode time does not grow.
    #[error(
        "track {track}: decode time {dts} at byte {offset} does not advance past {previous}; \
         ffmpeg repeats one with `frag_every_frame` on audio and video: use `-frag_duration` or `frag_keyframe`"
    )]
    TimeWentBack {
        /// Track id.
        track: u32,
        /// The offending decode time in ticks.
        dts: i64,
        /// The one before.
        previous: i64,
        /// Where the fragment starts.
        offset: u64,
    },
    /// The input ends within a frame or box.
    #[error("the input ends at byte {offset}, {missing} bytes before the end of `{code}`; the last frames are lost")]
    Truncated {
        /// Which box is cut.
        code: Code,
        /// Bytes that were read.
        offset: u64,
        /// Bytes that are missing.
        missing: u64,
    },
}

/// Why frames cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// There is nothing to write.
    #[error("no tracks to write")]
    NoTracks,
    /// The codec has no MP4 sample entry here, or lacks its configuration.
    #[error("codec `{codec}` cannot be written as MP4: {cause}")]
    Codec {
        /// Codec string.
        codec: String,
        /// What is missing.
        cause: &'static str,
    },
    /// A frame of a track that was not announced.
    #[error("frame of track {0}, which was not announced")]
    UnknownTrack(usize),
    /// Decode time does not grow, or is negative.
    #[error("track {track}: decode time {dts} does not advance past {previous}")]
    Time {
        /// Index of the track.
        track: usize,
        /// The offending decode time in ticks.
        dts: i64,
        /// The one before.
        previous: i64,
    },
    /// Frame or fragment exceeds what the boxes can say.
    #[error("a fragment of {0} bytes exceeds the format")]
    TooLarge(usize),
}
