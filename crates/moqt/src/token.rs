//! Bytes of an authorization token (draft-18 9.2.2).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::DecodeError;
use crate::message::Token;
use crate::reader::Reader;
use crate::varint;
use bytes::{BufMut, Bytes};

const FIELD: &str = "AUTHORIZATION TOKEN";

const DELETE: u64 = 0x0;
const REGISTER: u64 = 0x1;
const USE_ALIAS: u64 = 0x2;
const USE_VALUE: u64 = 0x3;

impl Token {
    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Delete { alias } => {
                varint::encode(DELETE, out);
                varint::encode(*alias, out);
            }
            Self::Register { alias, kind, value } => {
                varint::encode(REGISTER, out);
                varint::encode(*alias, out);
                varint::encode(*kind, out);
                out.put_slice(value);
            }
            Self::UseAlias { alias } => {
                varint::encode(USE_ALIAS, out);
                varint::encode(*alias, out);
            }
            Self::UseValue { kind, value } => {
                varint::encode(USE_VALUE, out);
                varint::encode(*kind, out);
                out.put_slice(value);
            }
        }
    }

    /// "If the Token structure cannot be decoded, the receiver MUST close the Session with
    /// `KEY_VALUE_FORMATTING_ERROR`": every failure is [`DecodeError::Formatting`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(Reader::new(bytes)).map_err(|_| DecodeError::Formatting { field: FIELD })
    }

    fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let token = match reader.varint(FIELD)? {
            DELETE => Self::Delete { alias: reader.varint(FIELD)? },
            REGISTER => Self::Register {
                alias: reader.varint(FIELD)?,
                kind: reader.varint(FIELD)?,
                value: Bytes::copy_from_slice(reader.take_rest()),
            },
            USE_ALIAS => Self::UseAlias { alias: reader.varint(FIELD)? },
            USE_VALUE => {
                Self::UseValue { kind: reader.varint(FIELD)?, value: Bytes::copy_from_slice(reader.take_rest()) }
            }
            value => return Err(DecodeError::Undefined { field: FIELD, value }),
        };
        reader.finish(FIELD)?;
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_each_alias_type() {
        let value = Bytes::from_static(b"tk");
        let cases = [
            (Token::Delete { alias: 5 }, &[0, 5][..]),
            (Token::Register { alias: 5, kind: 300, value: value.clone() }, &[1, 5, 0x81, 0x2C, b't', b'k']),
            (Token::UseAlias { alias: 5 }, &[2, 5]),
            (Token::UseValue { kind: 0, value }, &[3, 0, b't', b'k']),
        ];
        for (token, bytes) in cases {
            let mut out = Vec::new();
            token.encode(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(Token::decode(bytes), Ok(token));
        }
    }

    #[test]
    fn a_token_that_cannot_be_decoded_is_a_key_value_formatting_error() {
        for bytes in [&[][..], &[0], &[0, 5, 1], &[1, 5], &[2], &[3], &[4, 0], &[0xC0]] {
            assert_eq!(Token::decode(bytes), Err(DecodeError::Formatting { field: FIELD }), "{bytes:02x?}");
        }
    }
}
