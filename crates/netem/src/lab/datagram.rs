//! Runs of datagrams that the kernel takes and gives as one packet, and the header that it says so in. Pure.
//!
//! A run is what `UDP_SEGMENT` makes of one send call, and what a network card would make of many packets that follow
//! each other: one IPv4 and UDP header, then the payloads, of one size but for the last.

use std::iter;

/// Bytes of `struct virtio_net_hdr`, which precedes every packet of a device that carries runs.
pub(super) const PREFIX: usize = 10;
/// Payloads in one run: what every kernel takes that knows runs.
pub(super) const RUN_MAX: usize = 64;
/// Bytes of one run with its headers, the length that its IPv4 header can tell.
pub(super) const RUN_BYTES_MAX: usize = 65_535;
/// Bytes of an IPv4 header without options, and of one of UDP.
pub(super) const HEADERS: usize = IP + UDP;

const IP: usize = 20;
const UDP: usize = 8;
/// Where the checksum of UDP is.
const CHECKSUM: usize = IP + 6;
/// IPv4 with a header of five words: no options.
const PLAIN: u8 = 0x45;
const UDP_PROTOCOL: u8 = 17;
/// In the flags of the prefix: the checksum is to be finished by who needs it.
const NEEDS_CHECKSUM: u8 = 1;
/// Kinds of packets in the prefix: single ones, and runs of UDP.
const SINGLE: u8 = 0;
const RUN: u8 = 5;
/// More fragments, and the place of a fragment.
const FRAGMENT: u16 = 0x3fff;

/// A UDP datagram of an IPv4 packet that may be part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datagram {
    /// All that datagrams of one run have in common.
    flow: [u8; 16],
    /// Bytes of its payload.
    pub(super) payload: usize,
}

impl Datagram {
    /// The datagram that an IPv4 packet is, unless it has options, is a fragment, or tells another length than it has.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let headers: &[u8; HEADERS] = packet.first_chunk()?;
        let is_whole = word(headers, 6) & FRAGMENT == 0 && usize::from(word(headers, 2)) == packet.len();
        let payload = packet.len() - HEADERS;
        let tells_it = usize::from(word(headers, IP + 4)) == UDP + payload;
        if headers[0] != PLAIN || headers[9] != UDP_PROTOCOL || !is_whole || !tells_it || payload == 0 {
            return None;
        }
        let mut flow = [0; 16];
        flow[0] = headers[1];
        flow[1..4].copy_from_slice(&headers[6..9]);
        flow[4..16].copy_from_slice(&headers[12..24]);
        Some(Self { flow, payload })
    }

    /// Whether both go between the same two sockets, with the same marks.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.flow == other.flow
    }
}

/// What precedes the payloads of a run of `payloads` bytes, `segment` of them in each but the last: prefix and headers,
/// made from the headers of the first.
pub(super) fn run_headers(first: &[u8; HEADERS], payloads: usize, segment: usize) -> [u8; PREFIX + HEADERS] {
    let mut all = [0; PREFIX + HEADERS];
    all[..PREFIX].copy_from_slice(&prefix(RUN, segment));
    all[PREFIX..].copy_from_slice(&headers(first, payloads, word(first, 4)));
    all
}

/// Whether the kernel gave a run; `Err`: something that was not asked for.
pub(super) fn is_run(prefix: &[u8; PREFIX]) -> Result<bool, u8> {
    match prefix[1] {
        SINGLE => Ok(false),
        RUN => Ok(true),
        other => Err(other),
    }
}

/// The datagrams of a run that the kernel gave: for each what precedes its payload, and the payload. None of what is no
/// run.
pub(super) fn split(before: [u8; PREFIX], packet: &[u8]) -> impl Iterator<Item = ([u8; PREFIX + HEADERS], &[u8])> {
    let segment = usize::from(u16::from_ne_bytes([before[4], before[5]])).max(1);
    let headed = packet.first_chunk::<HEADERS>().filter(|_| Datagram::of(packet).is_some());
    let payloads = headed.and_then(|_| packet.get(HEADERS..)).unwrap_or_default().chunks(segment);
    let first = headed.copied().unwrap_or([0; HEADERS]);
    let alone = prefix(SINGLE, 0);
    iter::zip(0.., payloads).map(move |(number, payload)| {
        let mut all = [0; PREFIX + HEADERS];
        all[..PREFIX].copy_from_slice(&alone);
        all[PREFIX..].copy_from_slice(&headers(&first, payload.len(), word(&first, 4).wrapping_add(number)));
        (all, payload)
    })
}

/// `struct virtio_net_hdr`: flags, kind, bytes of the headers, bytes of a payload, where the checksum starts and lies.
fn prefix(kind: u8, segment: usize) -> [u8; PREFIX] {
    let of = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let numbers = [HEADERS, segment, IP, CHECKSUM - IP].map(|number| of(number).to_ne_bytes());
    let mut prefix = [0; PREFIX];
    (prefix[0], prefix[1]) = (NEEDS_CHECKSUM, kind);
    prefix[2..].copy_from_slice(numbers.as_flattened());
    prefix
}

/// `first` for `payload` bytes and with the identification `id`. The UDP checksum is left to be finished.
fn headers(first: &[u8; HEADERS], payload: usize, id: u16) -> [u8; HEADERS] {
    let mut headers = *first;
    let datagram = u16::try_from(UDP + payload).unwrap_or(u16::MAX);
    let mut put = |at: usize, value: u16| headers[at..at + 2].copy_from_slice(&value.to_be_bytes());
    put(2, u16::try_from(HEADERS + payload).unwrap_or(u16::MAX));
    put(4, id);
    put(10, 0);
    put(IP + 4, datagram);
    let whole = !sum(&headers[..IP], 0);
    let addresses = sum(&headers[12..IP], u32::from(UDP_PROTOCOL) + u32::from(datagram));
    headers[10..12].copy_from_slice(&whole.to_be_bytes());
    headers[CHECKSUM..].copy_from_slice(&addresses.to_be_bytes());
    headers
}

/// The sum that internet checksums are the complement of (RFC 1071).
fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum = start + words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    // Two folds are enough for as few words.
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

fn word(headers: &[u8; HEADERS], at: usize) -> u16 {
    u16::from_be_bytes([headers[at], headers[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From 10.78.0.2:5000 to 10.78.0.3:443, with the checksum of its IPv4 header.
    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut first = [0; HEADERS];
        first[..IP].copy_from_slice(&[
            PLAIN,
            2,
            0,
            0,
            0,
            7,
            0x40,
            0,
            64,
            UDP_PROTOCOL,
            0,
            0,
            10,
            78,
            0,
            2,
            10,
            78,
            0,
            3,
        ]);
        first[IP..].copy_from_slice(&[0x13, 0x88, 0x01, 0xbb, 0, 0, 0, 0]);
        [&headers(&first, payload.len(), 7)[..], payload].concat()
    }

    fn first(packet: &[u8]) -> &[u8; HEADERS] {
        packet.first_chunk().expect("it has headers")
    }

    #[test]
    fn a_run_splits_into_what_it_was_made_of() {
        let packets: Vec<_> = [[1; 100].as_slice(), &[2; 100], &[3; 40]].map(packet).into();
        let before = run_headers(first(&packets[0]), 240, 100);
        let payloads: Vec<u8> = packets.iter().flat_map(|packet| &packet[HEADERS..]).copied().collect();
        let run = [&before[PREFIX..], &payloads].concat();
        let prefix: &[u8; PREFIX] = before.first_chunk().expect("it has one");
        assert_eq!((is_run(prefix), run.len()), (Ok(true), HEADERS + 240));
        let split: Vec<_> = split(*prefix, &run).collect();
        assert_eq!(split.len(), 3);
        for (number, ((before, payload), packet)) in iter::zip(7.., iter::zip(&split, &packets)) {
            let whole = [&before[PREFIX..], payload].concat();
            assert_eq!(whole, [&headers(first(packet), payload.len(), number), *payload].concat());
            assert_eq!(sum(&whole[..IP], 0), u16::MAX, "the checksum of its own header");
            let prefix: &[u8; PREFIX] = before.first_chunk().expect("it has one");
            assert_eq!((is_run(prefix), prefix[0]), (Ok(false), NEEDS_CHECKSUM));
        }
    }

    #[test]
    fn only_whole_datagrams_of_one_flow_are_alike() {
        let of = |packet: &[u8]| Datagram::of(packet);
        let [a, b] = [&[1; 100][..], &[2; 60]].map(|payload| of(&packet(payload)).expect("it is one"));
        assert!(a.is_like(&b));
        assert_eq!((a.payload, b.payload), (100, 60));
        let changed = |at: usize, to: u8| {
            let mut packet = packet(&[1; 100]);
            packet[at] = to;
            packet
        };
        for at in [1, 8, 12, 16, 20, 22] {
            assert!(!of(&changed(at, 99)).expect("it is one").is_like(&a), "byte {at}");
        }
        for (at, to) in [(0, 0x46), (0, 0x65), (6, 0x20), (7, 1), (9, 6), (3, 1), (IP + 5, 1)] {
            assert_eq!(of(&changed(at, to)), None, "byte {at}");
        }
        assert_eq!([of(&[]), of(&packet(&[]))], [None; 2]);
    }

    #[test]
    fn what_is_no_run_splits_into_nothing() {
        assert_eq!(is_run(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(1));
        assert_eq!(split([0; PREFIX], &[]).count(), 0);
        assert_eq!(split(prefix(RUN, 100), &[0; 200]).count(), 0);
    }
}
