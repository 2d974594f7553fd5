//! The traffic of every case: 30 frames a second in groups of one second, an I-frame of 12.4 % of the group first.

use bytes::Bytes;

/// Frames per second, and per group: a group lasts one second.
pub(crate) const FRAMES_PER_GROUP: u64 = 30;

/// Nanoseconds from one group to the next.
pub(crate) const GROUP_NS: u64 = 1_000_000_000;

/// Bytes before a frame's filler: length, sequence number, stamp.
pub(crate) const HEADER_BYTES: usize = 16;

/// Bit rate of one viewer, and the frame sizes that follow from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern {
    i_frame: u32,
    p_frame: u32,
}

impl Pattern {
    /// The pattern of `megabits` per second: at 4, an I-frame of 62,013 bytes and P-frames of 15,103.
    pub(crate) const fn new(megabits: u32) -> Self {
        let group = megabits * 125_000;
        let p_frame = (group - group / 1_000 * 124) / 29;
        Self { i_frame: group - p_frame * 29, p_frame }
    }

    /// Size of frame `seq` in bytes, header included.
    pub(crate) const fn frame_bytes(self, seq: u64) -> usize {
        let bytes = if seq.is_multiple_of(FRAMES_PER_GROUP) { self.i_frame } else { self.p_frame };
        bytes as usize
    }

    /// Builds frame `seq`, stamped with the wall clock `stamp_ns`.
    pub(crate) fn frame(self, seq: u64, stamp_ns: u64) -> Bytes {
        let bytes = self.frame_bytes(seq);
        let mut frame = vec![0x5a; bytes];
        let header = Header { bytes, seq, stamp_ns };
        frame[..HEADER_BYTES].copy_from_slice(&header.encode());
        frame.into()
    }
}

/// When frames are due: an exact grid, so that every window of whole seconds holds the same number of frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Wall clock of frame 0.
    pub(crate) epoch_ns: u64,
}

impl Schedule {
    /// Wall clock at which frame `seq` is due. Frames are stamped with this, so that a late source counts as latency.
    pub(crate) const fn due_ns(self, seq: u64) -> u64 {
        self.epoch_ns + seq * GROUP_NS / FRAMES_PER_GROUP
    }

    /// The first group edge at or after `wall_ns`, moved back by half a frame: no frame is under way there.
    pub(crate) const fn quiet_edge_ns(self, wall_ns: u64) -> u64 {
        let groups = wall_ns.saturating_sub(self.epoch_ns) / GROUP_NS + 1;
        self.epoch_ns + groups * GROUP_NS - GROUP_NS / FRAMES_PER_GROUP / 2
    }
}

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whole frame, header included.
    pub(crate) bytes: usize,
    /// Number of the frame since the source began.
    pub(crate) seq: u64,
    /// Wall clock at which it was due.
    pub(crate) stamp_ns: u64,
}

impl Header {
    /// Reads a header.
    pub(crate) fn decode(raw: [u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, l3, s0, s1, s2, s3, stamp @ ..] = raw;
        Self {
            bytes: u32::from_be_bytes([l0, l1, l2, l3]) as usize,
            seq: u64::from(u32::from_be_bytes([s0, s1, s2, s3])),
            stamp_ns: u64::from_be_bytes(stamp),
        }
    }

    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut raw = [0; HEADER_BYTES];
        raw[..4].copy_from_slice(&u32::try_from(self.bytes).unwrap_or(u32::MAX).to_be_bytes());
        raw[4..8].copy_from_slice(&u32::try_from(self.seq).unwrap_or(u32::MAX).to_be_bytes());
        raw[8..].copy_from_slice(&self.stamp_ns.to_be_bytes());
        raw
    }
}
