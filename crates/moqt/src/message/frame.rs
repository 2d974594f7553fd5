//! Cuts the bytes of a control or request stream into messages (draft-18 section 9).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::DecodeError;
use crate::reader::Reader;
use bytes::{Buf, Bytes, BytesMut};

/// One message, not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Message type.
    pub kind: u64,
    /// Message payload.
    pub payload: Bytes,
}

/// Collects pieces of a stream until a message is whole. Holds at most one incomplete message (65,546 bytes) and the
/// piece pushed last; drain it with [`Framer::poll`] after each push.
#[derive(Debug, Clone, Default)]
pub struct Framer {
    /// The beginning of a message whose end has not come.
    partial: BytesMut,
    /// What was pushed and not looked at; follows `partial`.
    input: Bytes,
}

impl Framer {
    /// Adds the next piece of the stream.
    pub fn push(&mut self, data: Bytes) {
        if self.input.is_empty() {
            self.input = data;
        } else {
            let mut joined = BytesMut::from(self.input.as_ref());
            joined.extend_from_slice(&data);
            self.input = joined.freeze();
        }
    }

    /// Next whole message.
    pub fn poll(&mut self) -> Option<Frame> {
        loop {
            let in_place = self.partial.is_empty();
            let bytes = if in_place { self.input.as_ref() } else { self.partial.as_ref() };
            match scan(bytes) {
                Ok(Span { kind, header, payload }) => {
                    let whole = header.saturating_add(payload);
                    let mut message =
                        if in_place { self.input.split_to(whole) } else { self.partial.split_to(whole).freeze() };
                    message.advance(header);
                    return Some(Frame { kind, payload: message });
                }
                Err(missing) => {
                    // All of `input` belongs to this message where it is the beginning of it.
                    let taken = if in_place { self.input.len() } else { missing.min(self.input.len()) };
                    if taken == 0 {
                        return None;
                    }
                    self.partial.extend_from_slice(&self.input.split_to(taken));
                }
            }
        }
    }

    /// Whether a FIN may come here: not inside a message.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] inside a message.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.partial.is_empty() && self.input.is_empty() {
            return Ok(());
        }
        let missing = scan(&self.partial).err().unwrap_or(1);
        Err(DecodeError::Truncated { field: "control message", missing })
    }
}

struct Span {
    kind: u64,
    header: usize,
    payload: usize,
}

/// The message at the start of `bytes`, or how many bytes are missing at least.
fn scan(bytes: &[u8]) -> Result<Span, usize> {
    let mut reader = Reader::new(bytes);
    let mut header =
        || -> Result<(u64, u16), DecodeError> { Ok((reader.varint("Message Type")?, reader.u16("Message Length")?)) };
    let (kind, payload) = match header() {
        Ok((kind, payload)) => (kind, usize::from(payload)),
        Err(DecodeError::Truncated { missing, .. }) => return Err(missing),
        // The two getters know no other error.
        Err(_) => return Err(1),
    };
    match payload.saturating_sub(reader.remaining()) {
        0 => Ok(Span { kind, header: reader.position(), payload }),
        missing => Err(missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(framer: &mut Framer) -> Vec<Frame> {
        std::iter::from_fn(|| framer.poll()).collect()
    }

    fn wire(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, payload) in frames {
            crate::varint::encode(*kind, &mut out);
            out.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
            out.extend(payload);
        }
        out
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let data = Bytes::from(wire(&[(0x2F00, vec![1, 2, 3]), (7, vec![])]));
        let mut framer = Framer::default();
        framer.push(data.clone());
        let frames = drain(&mut framer);
        let [first, second] = frames.as_slice() else {
            panic!("two messages");
        };
        assert_eq!(first.payload.as_ptr(), data.slice(4..).as_ptr());
        assert!(second.payload.is_empty());
        assert_eq!(framer.finish(), Ok(()));
    }

    #[test]
    fn a_fin_inside_a_message_is_noticed_at_every_byte() {
        let data = wire(&[(0x2F00, vec![1, 2, 3])]);
        for cut in 1..data.len() {
            let mut framer = Framer::default();
            framer.push(Bytes::copy_from_slice(data.split_at(cut).0));
            assert_eq!(framer.poll(), None);
            assert!(matches!(framer.finish(), Err(DecodeError::Truncated { .. })), "{cut}");
        }
    }

    #[test]
    fn buffers_no_more_than_one_message() {
        let mut framer = Framer::default();
        let mut data = vec![0xFF; 9];
        data.extend([0xFF; 2]);
        data.extend(vec![0; 65_534]);
        framer.push(data.into());
        assert_eq!(framer.poll(), None);
        assert_eq!(framer.partial.len(), 65_545);
        framer.push(Bytes::from(vec![0; 100_000]));
        assert_eq!(framer.poll().map(|frame| frame.payload.len()), Some(65_535));
        assert!(framer.partial.is_empty());
    }

    #[test]
    fn two_pushes_without_a_poll_lose_nothing() {
        let mut framer = Framer::default();
        for frame in [(3, vec![1]), (4, vec![2])] {
            framer.push(wire(&[frame]).into());
        }
        assert_eq!(drain(&mut framer).len(), 2);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            frames in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
            cuts in prop::collection::vec(1..30_usize, 1..40),
        ) {
            let data = wire(&frames);
            let mut framer = Framer::default();
            let mut seen = Vec::new();
            let mut rest = data.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                framer.push(Bytes::copy_from_slice(piece));
                seen.extend(drain(&mut framer).into_iter().map(|f| (f.kind, f.payload.to_vec())));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert_eq!(framer.finish(), Ok(()));
        }

        #[test]
        fn never_panics(pieces: Vec<Vec<u8>>) {
            let mut framer = Framer::default();
            for piece in pieces {
                framer.push(piece.into());
                drain(&mut framer);
            }
            let _ = framer.finish();
        }
    }
}
