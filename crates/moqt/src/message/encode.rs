//! Messages to bytes.

use super::Message;
use crate::error::EncodeError;
use crate::types::Draft;
use bytes::BytesMut;

impl Message {
    /// Appends the whole message: type, length, payload. `out` stays as it was on an error.
    ///
    /// # Errors
    /// See [`EncodeError`]; all are local faults.
    pub fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let _ = (draft, out);
        todo!()
    }

    /// Message type on the wire.
    #[must_use]
    pub const fn kind(&self) -> u64 {
        todo!()
    }

    /// Name as in the draft.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        todo!()
    }
}
