//! Cuts the bytes of a control or request stream into messages (draft-18 section 9).

use crate::error::DecodeError;
use bytes::{Bytes, BytesMut};

/// One message, not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Message type.
    pub kind: u64,
    /// Message payload.
    pub payload: Bytes,
}

/// Collects pieces of a stream until a message is whole. Holds at most one incomplete message (65,547 bytes) and the
/// piece pushed last; drain it with [`Framer::poll`] after each push.
#[derive(Debug, Clone, Default)]
pub struct Framer {
    partial: BytesMut,
    input: Bytes,
}

impl Framer {
    /// Adds the next piece of the stream.
    pub fn push(&mut self, data: Bytes) {
        let _ = data;
        todo!()
    }

    /// Next whole message.
    pub fn poll(&mut self) -> Option<Frame> {
        let _ = (&mut self.partial, &mut self.input);
        todo!()
    }

    /// Whether a FIN may come here: not inside a message.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] inside a message.
    pub fn finish(&self) -> Result<(), DecodeError> {
        todo!()
    }
}
