//! The variable-length integer of the draft (vi64, draft-18 1.4.1): the leading 1 bits of the first byte count the
//! bytes that follow it. This is not QUIC's varint: all 64 bits fit.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bytes::{Buf, BufMut};

/// Most bytes of one integer.
pub const MAX_LEN: usize = 9;

/// The integer goes on beyond the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the integer lacks {missing} bytes")]
pub struct Incomplete {
    /// How many bytes are missing.
    pub missing: usize,
}

/// Reads one integer; `buf` stays as it was when the integer is incomplete. Longer encodings than needed are valid
/// ("any encoding length that can represent the value is valid").
///
/// # Errors
/// The integer goes on beyond the input.
pub fn decode(buf: &mut impl Buf) -> Result<u64, Incomplete> {
    if !buf.has_remaining() {
        return Err(Incomplete { missing: 1 });
    }
    let first = buf.chunk().first().copied().unwrap_or_default();
    let follow = first.leading_ones() as usize;
    let missing = follow.saturating_add(1).saturating_sub(buf.remaining());
    if missing > 0 {
        return Err(Incomplete { missing });
    }
    buf.advance(1);
    // 9 bytes carry 64 bits after the first; below, the first byte's rest are the highest bits.
    let high = if follow >= 7 { 0 } else { u64::from(first & (0x7F >> follow)) };
    let low = buf.get_uint(follow);
    Ok(high.checked_shl(8 * u32::from(first.leading_ones())).unwrap_or(0) | low)
}

/// Appends `value` in its shortest encoding.
pub fn encode(value: u64, out: &mut impl BufMut) {
    let follow = len(value).saturating_sub(1);
    let _ = (value, follow, out);
    todo!()
}

/// Bytes of the shortest encoding of `value`.
#[must_use]
pub const fn len(value: u64) -> usize {
    let bits = u64::BITS.saturating_sub(value.leading_zeros());
    match bits {
        0..=7 => 1,
        57.. => MAX_LEN,
        _ => bits.div_ceil(7) as usize,
    }
}
