//! Connection ids that name their shard: `shard ^ mask | nonce (5) | tag (4)`.
//!
//! With SO_REUSEPORT the kernel picks a socket by four-tuple, so after a rebinding a packet reaches another
//! shard, which would answer it with a *valid* stateless reset. The first byte tells the right shard, masked by
//! the second so that ids of one shard share no prefix. The tag is a truncated HMAC: forged ids are told from
//! ours without state, and after a restart with the same key old ids still validate and get their reset.

use aws_lc_rs::hmac;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use std::time::Duration;

/// Length of every id that we issue.
pub(crate) const CID_LEN: usize = 10;
const TAG_AT: usize = 6;

/// Which shard issued an id, if we did.
#[derive(Debug, Clone)]
pub(crate) struct CidReader {
    key: hmac::Key,
    mask: u8,
}

impl CidReader {
    pub(crate) fn new(key: hmac::Key) -> Self {
        let mask = hmac::sign(&key, b"mask").as_ref()[0];
        Self { key, mask }
    }

    /// The shard named by `cid`, whether or not its tag is right.
    fn shard(&self, cid: &[u8; CID_LEN]) -> u8 {
        cid[0] ^ cid[1] ^ self.mask
    }

    fn tag_is_right(&self, cid: &[u8; CID_LEN]) -> bool {
        // Truncated, and not constant-time: a forged id gains nothing but a reset that ends no connection.
        hmac::sign(&self.key, &cid[..TAG_AT]).as_ref()[..CID_LEN - TAG_AT] == cid[TAG_AT..]
    }

    /// The other shard that must get this datagram; `None` when it is `own`'s or not ours to judge.
    pub(crate) fn foreign(&self, datagram: &[u8], own: u8) -> Option<u8> {
        let cid = destination(datagram)?;
        let shard = self.shard(cid);
        // The tag costs 300 ns, so it is looked at only where the byte already disagrees.
        (shard != own && self.tag_is_right(cid)).then_some(shard)
    }
}

/// The destination id of a datagram's first packet where it has our length (RFC 9000 17.2, 17.3).
fn destination(datagram: &[u8]) -> Option<&[u8; CID_LEN]> {
    let (first, rest) = datagram.split_first()?;
    let id = if first & 0x80 == 0 {
        rest
    } else {
        let (len, id) = rest.get(4..)?.split_first()?;
        (usize::from(*len) == CID_LEN).then_some(id)?
    };
    id.first_chunk()
}

/// Issues ids of one shard. Nonces are an HMAC of a counter: unpredictable without the key, and replayable from
/// the seed.
pub(crate) struct CidGenerator {
    reader: CidReader,
    shard: u8,
    seed: u64,
    counter: u64,
}

impl CidGenerator {
    pub(crate) const fn new(reader: CidReader, shard: u8, seed: u64) -> Self {
        Self { reader, shard, seed, counter: 0 }
    }
}

impl ConnectionIdGenerator for CidGenerator {
    fn generate_cid(&mut self) -> ConnectionId {
        self.counter += 1;
        let mut input = [0; 16];
        input[..8].copy_from_slice(&self.seed.to_le_bytes());
        input[8..].copy_from_slice(&self.counter.to_le_bytes());
        let nonce = hmac::sign(&self.reader.key, &input);
        let mut cid = [0; CID_LEN];
        cid[1..TAG_AT].copy_from_slice(&nonce.as_ref()[..TAG_AT - 1]);
        cid[0] = self.shard ^ cid[1] ^ self.reader.mask;
        let tag = hmac::sign(&self.reader.key, &cid[..TAG_AT]);
        cid[TAG_AT..].copy_from_slice(&tag.as_ref()[..CID_LEN - TAG_AT]);
        ConnectionId::new(&cid)
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        let cid: &[u8; CID_LEN] = (**cid).try_into().map_err(|_| InvalidCid)?;
        if self.reader.tag_is_right(cid) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::NodeKey;

    fn generator(shard: u8, seed: u64) -> CidGenerator {
        CidGenerator::new(CidReader::new(NodeKey::from_bytes([1; 32]).cid_key()), shard, seed)
    }

    fn short_header(cid: &ConnectionId) -> Vec<u8> {
        [&[0x40][..], cid, &[0; 20]].concat()
    }

    #[test]
    fn ids_name_their_shard_and_nothing_else_does() {
        let mut own = generator(3, 7);
        let cid = own.generate_cid();
        assert!(own.validate(&cid).is_ok());
        let reader = CidReader::new(NodeKey::from_bytes([1; 32]).cid_key());
        assert_eq!(reader.foreign(&short_header(&cid), 3), None);
        assert_eq!(reader.foreign(&short_header(&cid), 0), Some(3));
        let mut forged = cid.to_vec();
        forged[9] ^= 1;
        assert!(own.validate(&ConnectionId::new(&forged)).is_err());
        assert_eq!(reader.foreign(&short_header(&ConnectionId::new(&forged)), 0), None);
        assert_eq!(reader.foreign(&[0x40], 0), None);
    }

    #[test]
    fn long_headers_are_read_by_their_length_byte() {
        let cid = generator(2, 7).generate_cid();
        let reader = CidReader::new(NodeKey::from_bytes([1; 32]).cid_key());
        let handshake = [&[0xe0, 0, 0, 0, 1, 10][..], &cid, &[0; 20]].concat();
        assert_eq!(reader.foreign(&handshake, 0), Some(2));
        let other_length = [&[0xe0, 0, 0, 0, 1, 8][..], &cid, &[0; 20]].concat();
        assert_eq!(reader.foreign(&other_length, 0), None);
    }

    #[test]
    fn seeds_replay_and_keys_validate_across_restarts() {
        let first = generator(0, 7).generate_cid();
        assert_eq!(first, generator(0, 7).generate_cid());
        assert_ne!(first, generator(0, 8).generate_cid());
        assert!(generator(0, 99).validate(&first).is_ok());
    }

    #[test]
    fn ids_of_a_shard_do_not_share_their_first_byte() {
        let mut own = generator(0, 7);
        let mut seen: Vec<u8> = (0..64).map(|_| own.generate_cid()[0]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 32, "{}", seen.len());
    }
}
