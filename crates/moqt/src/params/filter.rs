//! Subscription filters (draft-18 5.1.2).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::types::Filter;
use crate::varint;
use bytes::BufMut;

const FIELD: &str = "SUBSCRIPTION_FILTER";

const NEXT_GROUP_START: u64 = 0x1;
const LARGEST_OBJECT: u64 = 0x2;
const ABSOLUTE_START: u64 = 0x3;
const ABSOLUTE_RANGE: u64 = 0x4;

pub(super) fn encode(filter: &Filter, out: &mut impl BufMut) -> Result<(), EncodeError> {
    match *filter {
        Filter::NextGroupStart => varint::encode(NEXT_GROUP_START, out),
        Filter::LargestObject => varint::encode(LARGEST_OBJECT, out),
        Filter::AbsoluteStart { start } => {
            varint::encode(ABSOLUTE_START, out);
            varint::encode(start.group, out);
            varint::encode(start.object, out);
        }
        Filter::AbsoluteRange { start, end_group } => {
            let delta = end_group.checked_sub(start.group).ok_or(EncodeError::OutOfOrder {
                field: "end group of a filter",
                value: end_group,
                previous: start.group,
            })?;
            varint::encode(ABSOLUTE_RANGE, out);
            varint::encode(start.group, out);
            varint::encode(start.object, out);
            varint::encode(delta, out);
        }
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Filter, DecodeError> {
    let mut reader = Reader::new(bytes);
    let filter = match reader.varint(FIELD)? {
        NEXT_GROUP_START => Filter::NextGroupStart,
        LARGEST_OBJECT => Filter::LargestObject,
        ABSOLUTE_START => Filter::AbsoluteStart { start: reader.location(FIELD)? },
        ABSOLUTE_RANGE => {
            let start = reader.location(FIELD)?;
            let delta = reader.varint("End Group Delta")?;
            let end_group =
                start.group.checked_add(delta).ok_or(DecodeError::OutOfRange { field: "End Group Delta" })?;
            Filter::AbsoluteRange { start, end_group }
        }
        value => return Err(DecodeError::Undefined { field: FIELD, value }),
    };
    reader.finish(FIELD)?;
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SessionCode;
    use crate::types::Location;

    #[test]
    fn bytes_of_each_filter() {
        let start = Location::new(5, 6);
        let cases = [
            (Filter::NextGroupStart, &[1][..]),
            (Filter::LargestObject, &[2]),
            (Filter::AbsoluteStart { start }, &[3, 5, 6]),
            (Filter::AbsoluteRange { start, end_group: 7 }, &[4, 5, 6, 2]),
        ];
        for (filter, bytes) in cases {
            let mut out = Vec::new();
            encode(&filter, &mut out).expect("valid");
            assert_eq!(out, bytes);
            assert_eq!(decode(bytes), Ok(filter));
        }
    }

    #[test]
    fn another_filter_type_must_close_the_session() {
        for bytes in [&[0][..], &[5, 0, 0]] {
            let error = decode(bytes).expect_err("undefined");
            assert!(matches!(error, DecodeError::Undefined { field: FIELD, .. }));
            assert_eq!(error.session_code(), SessionCode::ProtocolViolation);
        }
    }

    #[test]
    fn an_end_group_above_64_bits_must_close_the_session() {
        let mut bytes = vec![4, 1, 0];
        bytes.extend([0xFF; 9]);
        let error = decode(&bytes).expect_err("overflow");
        assert_eq!(error, DecodeError::OutOfRange { field: "End Group Delta" });
        assert_eq!(error.session_code(), SessionCode::ProtocolViolation);
    }

    #[test]
    fn bytes_after_the_filter_are_refused() {
        assert_eq!(decode(&[1, 0]), Err(DecodeError::Trailing { message: FIELD, count: 1 }));
    }

    #[test]
    fn a_range_that_ends_before_it_starts_cannot_be_written() {
        let filter = Filter::AbsoluteRange { start: Location::new(5, 0), end_group: 4 };
        assert!(encode(&filter, &mut Vec::new()).is_err());
    }
}
