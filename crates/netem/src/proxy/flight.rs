//! Packets under way: their bytes in a pool, their times in a heap.

use super::clients::ClientId;
use crate::model::{Ticket, Way};
use quinn_udp::EcnCodepoint;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Bytes under way at once: 2 s at 1 Gbit/s. What comes on top is dropped and counted as overflow.
pub(super) const BYTES_MAX: usize = 256 << 20;
/// Packets under way at once.
pub(super) const PACKETS_MAX: usize = 1 << 19;
/// Room that a slot keeps for its next packet: that of an ordinary one. Larger ones, rare beyond loopback, give theirs
/// back, or the pool would come to hold the largest packet in every slot.
const KEPT_MAX: usize = 4096;

/// A packet that is due some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    /// When it is to arrive.
    pub(super) at: Duration,
    /// What the model knows it by.
    pub(super) ticket: Ticket,
    pub(super) leg: Leg,
}

/// Which way a packet goes, for whom, and what is marked on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) way: Way,
    pub(super) client: ClientId,
    pub(super) ecn: Option<EcnCodepoint>,
}

/// Packets under way. Allocates while it grows to its largest size, and not afterwards.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Time, order of coming, slot: what is due at one time leaves in the order in which it came.
    due: BinaryHeap<Reverse<(Duration, u64, u32)>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    launched: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    packet: Packet,
    bytes: Vec<u8>,
}

/// Too much is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

impl Flight {
    pub(super) fn launch(&mut self, packet: Packet, bytes: &[u8]) -> Result<(), Overflow> {
        if self.bytes + bytes.len() > BYTES_MAX {
            return Err(Overflow);
        }
        let number = match self.free.pop() {
            Some(number) => {
                let slot = &mut self.slots[number as usize];
                slot.packet = packet;
                slot.bytes.clear();
                slot.bytes.extend_from_slice(bytes);
                number
            }
            None if self.slots.len() >= PACKETS_MAX => return Err(Overflow),
            None => {
                let number = u32::try_from(self.slots.len()).map_err(|_| Overflow)?;
                self.slots.push(Slot { packet, bytes: bytes.to_vec() });
                number
            }
        };
        self.bytes += bytes.len();
        self.due.push(Reverse((packet.at, self.launched, number)));
        self.launched += 1;
        Ok(())
    }

    /// The time at which the next packet is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Hands the next packet to `land` if it is due, and says whether there was one.
    pub(super) fn land(&mut self, now: Duration, land: impl FnOnce(Packet, &[u8])) -> bool {
        if self.next().is_none_or(|at| at > now) {
            return false;
        }
        let Some(Reverse((_, _, number))) = self.due.pop() else { return false };
        let slot = &mut self.slots[number as usize];
        self.bytes -= slot.bytes.len();
        self.free.push(number);
        land(slot.packet, &slot.bytes);
        if slot.bytes.capacity() > KEPT_MAX {
            slot.bytes = Vec::new();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Direction, Key, Lanes, Link, Sharing};

    fn ticket() -> Ticket {
        let key = Key::new(0, 0, Way::Forward);
        let mut lanes = Lanes::new(key, Link::new(key, Direction::default()), Sharing::All);
        lanes.offer(Duration::ZERO, &[], 1).expect("a perfect wire").ticket
    }

    fn packet(millis: u64) -> Packet {
        let leg = Leg { way: Way::Forward, client: ClientId::NONE, ecn: None };
        Packet { at: Duration::from_millis(millis), ticket: ticket(), leg }
    }

    fn landed(flight: &mut Flight, millis: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while flight.land(Duration::from_millis(millis), |_, bytes| all.push(bytes.to_vec())) {}
        all
    }

    #[test]
    fn packets_land_when_due_and_in_order() {
        let mut flight = Flight::default();
        for (at, bytes) in [(3, b"a"), (1, b"b"), (3, b"c"), (2, b"d")] {
            flight.launch(packet(at), bytes).unwrap();
        }
        assert!(landed(&mut flight, 0).is_empty());
        assert_eq!(landed(&mut flight, 2), [b"b", b"d"]);
        flight.launch(packet(1), b"again").unwrap();
        assert_eq!(landed(&mut flight, 9), [&b"again"[..], b"a", b"c"]);
        assert_eq!((flight.slots.len(), flight.bytes), (4, 0), "room is used again");
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let mut flight = Flight::default();
        let megabyte = vec![0; 1 << 20];
        let launched = (0..400).filter(|_| flight.launch(packet(1), &megabyte).is_ok()).count();
        assert_eq!(launched, BYTES_MAX >> 20);
        assert!(flight.land(Duration::from_secs(1), |_, _| ()));
        assert_eq!(flight.launch(packet(1), &megabyte), Ok(()));
        assert_eq!(flight.launch(packet(1), b"x"), Err(Overflow));
    }
}
