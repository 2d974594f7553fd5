//! FLV, which is RTMP's media messages in a file.

use bytes::{BufMut as _, Bytes, BytesMut};

/// File header that promises sound and pictures, so that a reader knows when it has found both.
pub(super) const HEADER: [u8; 13] = *b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00";

/// Prefix of metadata that is meant for the server and is no part of the data (AMF0 text).
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// A media or metadata message as a tag.
pub(super) fn tag(kind: u8, timestamp: u32, payload: &Bytes) -> Bytes {
    let payload = payload.strip_prefix(SET_DATA_FRAME).unwrap_or(payload);
    let mut out = BytesMut::with_capacity(payload.len() + 15);
    let [high, rest @ ..] = timestamp.to_be_bytes();
    out.put_u8(kind);
    out.put_uint(payload.len() as u64, 3);
    out.put_slice(&rest);
    out.put_u8(high);
    out.put_uint(0, 3);
    out.put_slice(payload);
    // A message is shorter than 2^24.
    out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX).saturating_add(11));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_carry_their_time_and_length() {
        let tag = tag(9, 0x0102_0304, &Bytes::from_static(b"xyz"));
        assert_eq!(&tag[..], b"\x09\x00\x00\x03\x02\x03\x04\x01\x00\x00\x00xyz\x00\x00\x00\x0e");
    }

    #[test]
    fn metadata_loses_its_prefix() {
        let message = [SET_DATA_FRAME, b"\x02\x00\x0aonMetaData"].concat();
        let tag = tag(18, 0, &Bytes::from(message));
        assert!(tag[11..].starts_with(b"\x02\x00\x0aonMetaData"));
    }
}
