//! H.264 whose parameter sets travel within the stream (`avc3`, Annex B start codes) to the form that MP4 wants.

use bytes::Bytes;

const SPS: u8 = 7;
const PPS: u8 = 8;

/// NAL units of a frame, delimited by start codes or by 4-byte lengths.
///
/// A frame that begins with a start code cannot be length-prefixed: its first unit would have one byte.
pub(crate) fn units(frame: &[u8]) -> Vec<&[u8]> {
    if is_annex_b(frame) { by_start_code(frame) } else { by_length(frame) }
}

/// Whether start codes delimit the units.
pub(crate) fn is_annex_b(frame: &[u8]) -> bool {
    frame.starts_with(&[0, 0, 0, 1]) || frame.starts_with(&[0, 0, 1])
}

fn by_start_code(frame: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    // What stands before the first start code is not a unit; it is empty for every frame that comes here.
    let mut rest = frame;
    while let Some(at) = rest.windows(3).position(|w| w == [0, 0, 1]) {
        units.extend(rest.get(..at));
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    units.push(rest);
    // Zero bytes before a start code belong to it (or are trailing_zero_8bits), never to a unit.
    let trimmed = units.into_iter().map(|u| u.get(..=u.iter().rposition(|b| *b != 0)?));
    trimmed.flatten().collect()
}

fn by_length(frame: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut rest = frame;
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        let Some((unit, tail)) = tail.split_at_checked(len) else { break };
        units.push(unit);
        rest = tail;
    }
    units
}

/// The frame with 4-byte lengths before its units.
pub(crate) fn to_length_prefixed(frame: &Bytes) -> Bytes {
    if !is_annex_b(frame) {
        return frame.clone();
    }
    let mut out = Vec::with_capacity(frame.len() + 8);
    for unit in by_start_code(frame) {
        out.extend_from_slice(&u32::try_from(unit.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(unit);
    }
    out.into()
}

/// The decoder configuration (`avcC` body, ISO 14496-15 5.3.3.1) from the parameter sets in a keyframe.
pub(crate) fn avcc(keyframe: &[u8]) -> Option<Bytes> {
    let of = |kind: u8| {
        let mut found: Vec<&[u8]> = Vec::new();
        for unit in units(keyframe) {
            if unit.first().is_some_and(|b| b & 0x1F == kind) && !found.contains(&unit) {
                found.push(unit);
            }
        }
        found
    };
    let (sps, pps) = (of(SPS), of(PPS));
    let [_, profile, constraints, level, ..] = sps.first()? else { return None };
    let mut out = vec![1, *profile, *constraints, *level, 0xFF];
    for (sets, marker) in [(&sps, 0xE0u8), (&pps, 0)] {
        let count = u8::try_from(sets.len()).ok().filter(|n| *n > 0 && *n < 32)?;
        out.push(marker | count);
        for set in sets {
            out.extend_from_slice(&u16::try_from(set.len()).ok()?.to_be_bytes());
            out.extend_from_slice(set);
        }
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = &[
        0, 0, 0, 1, 0x67, 0x42, 0xC0, 0x1E, 9, // SPS
        0, 0, 0, 1, 0x68, 0xCE, // PPS
        0, 0, 1, 0x65, 1, 2, 0, 0, 3, 4, 0, // slice with an emulation prevention byte, trailing zero
    ];

    #[test]
    fn start_codes_become_lengths() {
        let out = to_length_prefixed(&Bytes::from_static(FRAME));
        assert_eq!(units(&out), units(FRAME));
        assert_eq!(units(FRAME), [&[0x67, 0x42, 0xC0, 0x1E, 9][..], &[0x68, 0xCE], &[0x65, 1, 2, 0, 0, 3, 4]]);
        assert_eq!(to_length_prefixed(&out), out);
    }

    #[test]
    fn parameter_sets_become_the_decoder_configuration() {
        let expected = [1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 5, 0x67, 0x42, 0xC0, 0x1E, 9, 1, 0, 2, 0x68, 0xCE];
        assert_eq!(avcc(FRAME).as_deref(), Some(&expected[..]));
        assert_eq!(avcc(&FRAME[15..]), None);
    }
}
