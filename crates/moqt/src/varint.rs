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
    let Some(&first) = buf.chunk().first() else {
        return Err(Incomplete { missing: 1 });
    };
    let follow = first.leading_ones();
    let missing = (follow as usize).saturating_add(1).saturating_sub(buf.remaining());
    if missing > 0 {
        return Err(Incomplete { missing });
    }
    buf.advance(1);
    if follow == 0 {
        return Ok(u64::from(first));
    }
    // The value bits of the first byte; none from 7 following bytes on.
    let high = u64::from(first) & 0x7F_u64.wrapping_shr(follow);
    let low = buf.get_uint(follow as usize);
    Ok(high.checked_shl(follow.saturating_mul(8)).unwrap_or(0) | low)
}

/// Appends `value` in its shortest encoding.
pub fn encode(value: u64, out: &mut impl BufMut) {
    match len(value) {
        1 => out.put_uint(value, 1),
        MAX_LEN => {
            out.put_u8(0xFF);
            out.put_u64(value);
        }
        bytes => {
            // `bytes - 1` leading ones in the highest of `bytes` bytes.
            let ones = !(u64::MAX >> bytes.saturating_sub(1));
            let prefix = ones >> bytes.saturating_mul(8).abs_diff(64);
            out.put_uint(value | prefix, bytes);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(mut bytes: &[u8]) -> Result<u64, Incomplete> {
        decode(&mut bytes)
    }

    fn written(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    /// draft-18 1.4.1, "Example Integer Encodings".
    const EXAMPLES: [(&[u8], u64); 8] = [
        (&[0x25], 37),
        (&[0x80, 0x25], 37),
        (&[0xBB, 0xBD], 15_293),
        (&[0xED, 0x7F, 0x3E, 0x7D], 226_442_877),
        (&[0xFA, 0xA1, 0xA0, 0xE4, 0x03, 0xD8], 2_893_212_287_960),
        (&[0xFC, 0x89, 0x98, 0xAB, 0xC6, 0x6B, 0xC0], 151_288_809_941_952),
        (&[0xFE, 0xFA, 0x31, 0x8F, 0xA8, 0xE3, 0xCA, 0x11], 70_423_237_261_249_041),
        (&[0xFF; 9], u64::MAX),
    ];

    #[test]
    fn decodes_the_examples_of_the_draft() {
        for (bytes, value) in EXAMPLES {
            assert_eq!(read(bytes), Ok(value), "{bytes:02x?}");
        }
    }

    #[test]
    fn encodes_the_minimal_examples_of_the_draft() {
        for (bytes, value) in EXAMPLES {
            if bytes != [0x80, 0x25] {
                assert_eq!(written(value), bytes, "{value}");
            }
        }
    }

    #[test]
    fn any_encoding_length_that_can_represent_the_value_is_valid() {
        for follow in 1..=8_usize {
            let prefix = !0xFF_u8.checked_shr(u32::try_from(follow).unwrap()).unwrap_or(0);
            let bytes = [&[prefix][..], &vec![0; follow - 1], &[37]].concat();
            assert_eq!(read(&bytes), Ok(37), "{bytes:02x?}");
        }
    }

    #[test]
    fn lengths_change_at_the_powers_of_the_table() {
        for bytes in 1..=8_u32 {
            let last = (1_u64 << (7 * bytes)) - 1;
            assert_eq!(len(last), bytes as usize);
            assert_eq!(len(last + 1), bytes as usize + 1);
            assert_eq!(written(last).len(), bytes as usize);
            assert_eq!(written(last + 1).len(), bytes as usize + 1);
        }
    }

    #[test]
    fn an_incomplete_integer_says_how_many_bytes_are_missing_and_consumes_none() {
        assert_eq!(read(&[]), Err(Incomplete { missing: 1 }));
        let mut bytes: &[u8] = &[0xFF, 1, 2];
        assert_eq!(decode(&mut bytes), Err(Incomplete { missing: 6 }));
        assert_eq!(bytes.len(), 3);
    }

    #[test]
    fn decodes_across_the_chunks_of_a_buffer() {
        let mut chained = Buf::chain(&[0xED_u8, 0x7F][..], &[0x3E_u8, 0x7D][..]);
        assert_eq!(decode(&mut chained), Ok(226_442_877));
    }

    proptest! {
        #[test]
        fn round_trips(value: u64, shift in 0..64_u32) {
            let value = value >> shift;
            let bytes = written(value);
            prop_assert_eq!(bytes.len(), len(value));
            prop_assert_eq!(read(&bytes), Ok(value));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}
