//! How long the idle timer of a connection waits, which quinn-proto does not tell.

use quinn_proto::Connection;
use std::time::Duration;

/// RFC 9000 18.2: `max_idle_timeout`, in milliseconds; absent or zero for none.
const MAX_IDLE_TIMEOUT: u64 = 1;

/// The smaller of `ours` and what the peer has announced, if it has announced one (RFC 9000 10.1).
pub(crate) fn idle_timeout(quic: &Connection, ours: Duration) -> Duration {
    let Ok(Some(peer)) = quic.crypto_session().transport_parameters() else { return ours };
    let mut encoded = Vec::new();
    peer.write(&mut encoded);
    announced(&encoded).map_or(ours, |theirs| theirs.min(ours))
}

fn announced(mut params: &[u8]) -> Option<Duration> {
    loop {
        let id = varint(&mut params)?;
        let len = usize::try_from(varint(&mut params)?).ok()?;
        let (mut value, rest) = params.split_at_checked(len)?;
        params = rest;
        if id == MAX_IDLE_TIMEOUT {
            return varint(&mut value).filter(|millis| *millis > 0).map(Duration::from_millis);
        }
    }
}

/// RFC 9000 16.
fn varint(from: &mut &[u8]) -> Option<u64> {
    let len = 1 << (from.first()? >> 6);
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(value & (u64::MAX >> (64 - len * 8) >> 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idle_timeout_is_found_among_others() {
        // initial_max_streams_bidi 100, max_idle_timeout 10 s, an unknown one.
        let params = [8, 2, 0x40, 100, 1, 2, 0x67, 0x10, 0x40, 0x60, 1, 7];
        assert_eq!(announced(&params), Some(Duration::from_millis(10_000)));
        assert_eq!(announced(&params[..4]), None);
        assert_eq!(announced(&[1, 1, 0]), None);
        assert_eq!(announced(&[1, 4, 0x80]), None, "cut off");
    }

    #[test]
    fn varints_of_all_lengths() {
        // RFC 9000 A.1.
        let read = |mut bytes: &[u8]| varint(&mut bytes);
        assert_eq!(read(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]), Some(151_288_809_941_952_652));
        assert_eq!(read(&[0x9d, 0x7f, 0x3e, 0x7d]), Some(494_878_333));
        assert_eq!(read(&[0x7b, 0xbd]), Some(15_293));
        assert_eq!(read(&[0x25]), Some(37));
        assert_eq!(read(&[]), None);
    }
}
