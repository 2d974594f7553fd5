//! Finds frames in the bytes of a stream.

use super::tally::Tally;
use crate::support::pattern::{HEADER_BYTES, Header};

/// Frames laid end to end in one stream.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    raw: [u8; HEADER_BYTES],
    /// Bytes of the current frame read so far, header included.
    read: usize,
    /// Bytes of the current frame that are to come; known once the header is complete.
    left: usize,
}

impl FrameReader {
    /// Takes in-order bytes; returns the frames that they completed.
    pub(super) fn push(&mut self, mut bytes: &[u8], tally: &mut Tally) -> usize {
        let mut completed = 0;
        while !bytes.is_empty() {
            let taken = if self.read < HEADER_BYTES { self.header(bytes) } else { self.body(bytes) };
            bytes = &bytes[taken..];
            if self.read >= HEADER_BYTES && self.left == 0 {
                tally.frame(Header::decode(self.raw));
                *self = Self::default();
                completed += 1;
            }
        }
        completed
    }

    fn header(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(HEADER_BYTES - self.read);
        self.raw[self.read..self.read + taken].copy_from_slice(&bytes[..taken]);
        self.read += taken;
        if self.read == HEADER_BYTES {
            self.left = Header::decode(self.raw).bytes.saturating_sub(HEADER_BYTES);
        }
        taken
    }

    fn body(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        taken
    }
}
