//! QUIC's integer (RFC 9000 16), which hang's containers use inside payloads whatever the draft outside.

/// Largest value.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// Reads one integer and what follows it.
pub(crate) fn decode(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = 1usize << (bytes.first()? >> 6);
    let (integer, rest) = bytes.split_at_checked(len)?;
    let value = integer.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    // The two length bits stand above the value.
    Some((value & (u64::MAX >> (66 - 8 * len)), rest))
}

/// Appends `value` in its shortest form; values above [`MAX`] are cut to it.
pub(crate) fn encode(value: u64, out: &mut Vec<u8>) {
    let value = value.min(MAX);
    let (bits, len) = match value {
        0..=0x3F => (0, 1),
        0x40..=0x3FFF => (1, 2),
        0x4000..=0x3FFF_FFFF => (2, 4),
        _ => (3u64, 8usize),
    };
    let tagged = value | bits << (8 * len - 2);
    out.extend_from_slice(tagged.to_be_bytes().get(8 - len..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_rfc_9000() {
        let cases: [(u64, &[u8]); 4] = [
            (37, &[0x25]),
            (15_293, &[0x7B, 0xBD]),
            (494_878_333, &[0x9D, 0x7F, 0x3E, 0x7D]),
            (151_288_809_941_952_652, &[0xC2, 0x19, 0x7C, 0x5E, 0xFF, 0x14, 0xE8, 0x8C]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            encode(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(decode(bytes), Some((value, &[][..])));
            assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        }
        let mut out = Vec::new();
        encode(u64::MAX, &mut out);
        assert_eq!(decode(&out), Some((MAX, &[][..])));
    }
}
