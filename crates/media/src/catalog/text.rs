//! Bytes in JSON: hexadecimal (hang's `description`) and base64 (init segments, MSF).

use std::fmt::Write as _;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Either case; `None` unless every pair of characters is a byte.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Standard alphabet with padding (RFC 4648 4).
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().skip(1).zip(chunk) {
            *to = *from;
        }
        let word = u32::from_be_bytes(word);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let sextet = usize::try_from(word >> shift & 0x3F).unwrap_or(0);
            let symbol = ALPHABET.get(sextet).copied().unwrap_or(b'=');
            out.push(char::from(if index > chunk.len() { b'=' } else { symbol }));
        }
    }
    out
}

/// Standard or URL alphabet, padding optional; `None` for anything else.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    if text.len() % 4 == 1 {
        return None;
    }
    let sextet = |c: u8| match c {
        b'-' => Some(62),
        b'_' => Some(63),
        _ => ALPHABET.iter().position(|a| *a == c).and_then(|at| u32::try_from(at).ok()),
    };
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        let mut word = 0u32;
        for index in 0..4 {
            let bits = chunk.get(index).map_or(Some(0), |c| sextet(*c))?;
            word = word << 6 | bits;
        }
        let bytes = word.to_be_bytes();
        out.extend_from_slice(bytes.get(1..chunk.len())?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_vectors_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(to_base64(plain.as_bytes()), coded);
            assert_eq!(from_base64(coded).as_deref(), Some(plain.as_bytes()));
            assert_eq!(from_base64(coded.trim_end_matches('=')).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(from_base64("_-8").as_deref(), Some(&[0xFF, 0xEF][..]));
        assert_eq!(from_base64("Zm9v!"), None);
        assert_eq!(from_base64("Z"), None);
    }

    #[test]
    fn hexadecimal_both_ways() {
        assert_eq!(to_hex(&[0, 0x4D, 0xFF]), "004dff");
        assert_eq!(from_hex("004DfF"), Some(vec![0, 0x4D, 0xFF]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("é"), None);
    }
}
