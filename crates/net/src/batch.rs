//! Sending: one hot buffer for all connections of a shard, and batches that the kernel put off.
//!
//! One shared buffer is worth as much as half of the gain over a task per connection: raising the batch size
//! with a cold 93-KB buffer each gains nothing.

use crate::socket::{EcnCodepoint, Socket, Transmit};
use crate::stats::Stats;
use std::io;

/// Largest UDP payload over IPv4. A GSO batch above it fails with EMSGSIZE, which looks like a lost MTU probe.
const MAX_UDP_PAYLOAD: usize = 65_507;
/// Linux takes no more segments in one send (UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: usize = 64;

/// Segments of `mtu` bytes that the next batch may hold.
pub(crate) fn max_segments(gso: usize, mtu: u16) -> usize {
    (MAX_UDP_PAYLOAD / usize::from(mtu.max(1))).min(MAX_SEGMENTS).min(gso).max(1)
}

/// An encoded batch. Its packet numbers are spent, so a batch that the kernel put off is kept and sent first.
#[derive(Debug)]
pub(crate) struct Blocked {
    transmit: quinn_proto::Transmit,
    contents: Vec<u8>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is out, or lost like any datagram may be.
    Done,
    /// Nothing went out; keep it.
    Blocked,
}

impl Blocked {
    pub(crate) const fn new(transmit: quinn_proto::Transmit, contents: Vec<u8>) -> Self {
        Self { transmit, contents }
    }

    pub(crate) fn retry<S: Socket>(&self, socket: &mut S, stats: &mut Stats) -> Sent {
        send(socket, &self.transmit, &self.contents, stats)
    }
}

/// Sends the first `transmit.size` bytes of `buffer`.
pub(crate) fn send<S: Socket>(
    socket: &mut S,
    transmit: &quinn_proto::Transmit,
    buffer: &[u8],
    stats: &mut Stats,
) -> Sent {
    let contents = &buffer[..transmit.size.min(buffer.len())];
    let segment = transmit.segment_size.unwrap_or(contents.len()).max(1);
    match socket.send(&to_udp(transmit, contents)) {
        Ok(()) => {
            stats.udp.tx_bytes += contents.len() as u64;
            stats.udp.tx_datagrams += contents.len().div_ceil(segment) as u64;
            stats.udp.tx_batches += 1;
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            stats.udp.tx_blocked += 1;
            return Sent::Blocked;
        }
        // Path MTU probes are meant to be too long sometimes; quinn-proto sees them as lost.
        Err(error) if quinn_udp::is_msg_size_err(&error) => stats.drop.too_long += 1,
        Err(_) if segment < contents.len() && socket.max_gso_segments() == 1 => {
            // The kernel has just refused GSO for good: this batch goes out by the piece.
            for piece in contents.chunks(segment) {
                let single = quinn_proto::Transmit {
                    size: piece.len(),
                    segment_size: None,
                    destination: transmit.destination,
                    ecn: transmit.ecn,
                    src_ip: transmit.src_ip,
                };
                if send(socket, &single, piece, stats) == Sent::Blocked {
                    stats.drop.send_error += 1;
                }
            }
        }
        Err(_) => stats.drop.send_error += 1,
    }
    Sent::Done
}

fn to_udp<'a>(transmit: &quinn_proto::Transmit, contents: &'a [u8]) -> Transmit<'a> {
    Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
        contents,
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fit_one_udp_payload() {
        assert_eq!(max_segments(64, 1452), 45);
        assert_eq!(max_segments(64, 1200), 54);
        assert_eq!(max_segments(64, 1000), 64);
        assert_eq!(max_segments(1, 1200), 1);
        assert_eq!(max_segments(64, 65_535), 1);
        for mtu in 1200..=1500_u16 {
            assert!(max_segments(usize::MAX, mtu) * usize::from(mtu) <= MAX_UDP_PAYLOAD);
        }
    }
}
