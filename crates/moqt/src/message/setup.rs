//! SETUP and its options (draft-18 9.3).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Setup, Token, kind};
use crate::error::{DecodeError, EncodeError, ParamFault};
use crate::kvp::{MAX_VALUE_BYTES, Pair, PairWriter, Pairs, Value};
use bytes::BufMut;

const PATH: u64 = 0x01;
const AUTHORIZATION_TOKEN: u64 = 0x03;
const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
const AUTHORITY: u64 = 0x05;
const MOQT_IMPLEMENTATION: u64 = 0x07;

pub(super) fn encode(setup: &Setup, out: &mut impl BufMut) -> Result<(), EncodeError> {
    let mut writer = PairWriter::default();
    if let Some(path) = &setup.path {
        writer.bytes(PATH, within(path.as_bytes(), "PATH")?, out);
    }
    for token in &setup.tokens {
        let mut value = Vec::new();
        token.encode(&mut value);
        writer.bytes(AUTHORIZATION_TOKEN, within(&value, "AUTHORIZATION TOKEN")?, out);
    }
    if setup.max_auth_token_cache > 0 {
        writer.int(MAX_AUTH_TOKEN_CACHE_SIZE, setup.max_auth_token_cache, out);
    }
    if let Some(authority) = &setup.authority {
        writer.bytes(AUTHORITY, within(authority.as_bytes(), "AUTHORITY")?, out);
    }
    if let Some(implementation) = &setup.implementation {
        writer.bytes(MOQT_IMPLEMENTATION, within(implementation.as_bytes(), "MOQT_IMPLEMENTATION")?, out);
    }
    Ok(())
}

fn within<'a>(value: &'a [u8], field: &'static str) -> Result<&'a [u8], EncodeError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(EncodeError::OverLimit { field, value: value.len() as u64, limit: MAX_VALUE_BYTES as u64 });
    }
    Ok(value)
}

pub(super) fn decode(options: &[u8]) -> Result<Setup, DecodeError> {
    let mut setup = Setup::default();
    let mut cache_size = None;
    for pair in Pairs::new(options) {
        let Pair { kind, value } = pair?;
        let known_before = match (kind, value) {
            (PATH, Value::Bytes(bytes)) => setup.path.replace(path(bytes)?).is_some(),
            (AUTHORITY, Value::Bytes(bytes)) => setup.authority.replace(authority(bytes)?).is_some(),
            (MAX_AUTH_TOKEN_CACHE_SIZE, Value::Int(size)) => cache_size.replace(size).is_some(),
            (MOQT_IMPLEMENTATION, Value::Bytes(bytes)) => {
                // "This SHOULD be a UTF-8 encoded string": for logs only, so repaired.
                setup.implementation.replace(String::from_utf8_lossy(bytes).into_owned()).is_some()
            }
            (AUTHORIZATION_TOKEN, Value::Bytes(bytes)) => {
                setup.tokens.push(Token::decode(bytes)?);
                false
            }
            // "Receivers MUST ignore unrecognized Setup Options" and "allow duplicates" of them.
            (_, Value::Int(_) | Value::Bytes(_)) => false,
        };
        if known_before {
            let message = kind::name(kind::SETUP);
            return Err(DecodeError::Parameter { message, kind, fault: ParamFault::Duplicate });
        }
    }
    setup.max_auth_token_cache = cache_size.unwrap_or(0);
    Ok(setup)
}

/// RFC 3986 `path-abempty`, then perhaps `?` and a `query`.
fn path(bytes: &[u8]) -> Result<String, DecodeError> {
    let mut parts = bytes.splitn(2, |byte| *byte == b'?');
    let path = parts.next().unwrap_or_default();
    let query = parts.next().unwrap_or_default();
    let begins_well = path.is_empty() || path.starts_with(b"/");
    if begins_well && is_uri_text(path, b":@/") && is_uri_text(query, b":@/?") {
        text(bytes).ok_or(DecodeError::MalformedPath)
    } else {
        Err(DecodeError::MalformedPath)
    }
}

/// RFC 3986 `authority`: `[userinfo@]host[:port]`.
fn authority(bytes: &[u8]) -> Result<String, DecodeError> {
    let userinfo_len = bytes.iter().position(|byte| *byte == b'@');
    let (userinfo, rest) = match userinfo_len.and_then(|at| bytes.split_at_checked(at)) {
        Some((userinfo, rest)) => (userinfo, rest.strip_prefix(b"@").unwrap_or(rest)),
        None => (&[][..], bytes),
    };
    if is_uri_text(userinfo, b":") && is_host_and_port(rest) {
        text(bytes).ok_or(DecodeError::MalformedAuthority)
    } else {
        Err(DecodeError::MalformedAuthority)
    }
}

fn is_host_and_port(bytes: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if let Some(literal) = bytes.strip_prefix(b"[") {
        let mut parts = literal.splitn(2, |byte| *byte == b']');
        let (Some(address), Some(rest)) = (parts.next(), parts.next()) else {
            return false;
        };
        let is_address = !address.is_empty() && is_uri_text(address, b":");
        return is_address && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port));
    }
    let mut parts = bytes.splitn(2, |byte| *byte == b':');
    is_uri_text(parts.next().unwrap_or_default(), b"") && is_port(parts.next().unwrap_or_default())
}

/// Whether `bytes` are RFC 3986 `unreserved`, `sub-delims`, `pct-encoded`, or one of `more`.
fn is_uri_text(mut bytes: &[u8], more: &[u8]) -> bool {
    while let [byte, rest @ ..] = bytes {
        bytes = match (byte, rest) {
            (b'%', [high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9', _) => rest,
            (b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')', _) => rest,
            (b'*' | b'+' | b',' | b';' | b'=', _) => rest,
            (byte, _) if more.contains(byte) => rest,
            _ => return false,
        };
    }
    true
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).map(str::to_owned).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SessionCode;
    use bytes::Bytes;

    fn code(options: &[u8]) -> SessionCode {
        decode(options).expect_err("must be refused").session_code()
    }

    fn one(kind: u64, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        PairWriter::default().bytes(kind, value, &mut out);
        out
    }

    #[test]
    fn bytes_of_all_options() {
        let setup = Setup {
            path: Some("/a".into()),
            authority: Some("h:1".into()),
            max_auth_token_cache: 5,
            tokens: vec![Token::UseAlias { alias: 1 }, Token::UseValue { kind: 0, value: Bytes::from_static(b"t") }],
            implementation: Some("s".into()),
        };
        let bytes = [1, 2, b'/', b'a', 2, 2, 2, 1, 0, 3, 3, 0, b't', 1, 5, 1, 3, b'h', b':', b'1', 2, 1, b's'];
        let mut out = Vec::new();
        encode(&setup, &mut out).expect("valid");
        assert_eq!(out, bytes);
        assert_eq!(decode(&bytes), Ok(setup));
    }

    #[test]
    fn receivers_must_ignore_unrecognized_options_and_allow_their_duplicates() {
        // The first grease value 0x9D twice, then 0x9E, then 0x11C.
        let bytes = [0x80, 0x9D, 1, 7, 0, 0, 1, 9, 0x7E, 0];
        assert_eq!(decode(&bytes), Ok(Setup::default()));
    }

    #[test]
    fn duplicates_of_known_options_are_refused() {
        for twice in [&[1, 0, 0, 0][..], &[4, 1, 0, 1], &[5, 0, 0, 0], &[7, 0, 0, 0]] {
            assert_eq!(code(twice), SessionCode::ProtocolViolation, "{twice:?}");
        }
    }

    #[test]
    fn a_value_that_does_not_match_its_type_is_a_key_value_formatting_error() {
        assert_eq!(code(&one(AUTHORIZATION_TOKEN, &[9])), SessionCode::KeyValueFormattingError);
    }

    #[test]
    fn a_path_that_does_not_conform_must_close_with_malformed_path() {
        for bad in ["a", "/a b", "/%4", "/%zz", "/\u{e4}", "/a#b", "?"] {
            let accepted = bad == "?";
            assert_eq!(decode(&one(PATH, bad.as_bytes())).is_ok(), accepted, "{bad}");
        }
        assert_eq!(code(&one(PATH, &[b'/', 0xFF])), SessionCode::MalformedPath);
        for good in ["", "/", "/a/b", "//", "/a?x=/?&y", "/%c3%A4:@!$&'()*+,;=-._~"] {
            assert_eq!(decode(&one(PATH, good.as_bytes())).expect(good).path.as_deref(), Some(good));
        }
    }

    #[test]
    fn an_authority_that_does_not_conform_must_close_with_malformed_authority() {
        for bad in ["a b", "h:1x", "[::1", "[]", "[::1]x", "a@b@c", "h/p"] {
            assert_eq!(code(&one(AUTHORITY, bad.as_bytes())), SessionCode::MalformedAuthority, "{bad}");
        }
        for good in ["h", "h:443", "h:", "[::1]", "[::1]:443", "u:p@h:1", "127.0.0.1:4443"] {
            assert_eq!(decode(&one(AUTHORITY, good.as_bytes())).expect(good).authority.as_deref(), Some(good));
        }
    }

    #[test]
    fn an_implementation_that_is_not_utf8_is_repaired() {
        let setup = decode(&one(MOQT_IMPLEMENTATION, &[b'a', 0xFF])).expect("only a SHOULD");
        assert_eq!(setup.implementation.as_deref(), Some("a\u{FFFD}"));
    }
}
