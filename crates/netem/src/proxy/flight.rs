//! Packets under way: their bytes in a pool, their times in order.

use super::clients::ClientId;
use crate::due::Due;
use crate::model::{Ticket, Way};
use quinn_udp::EcnCodepoint;
use std::time::Duration;

/// Bytes under way at once: 2 s at 1 Gbit/s. What comes on top is dropped and counted as overflow.
pub(super) const BYTES_MAX: usize = 256 << 20;
/// Packets under way at once.
pub(super) const PACKETS_MAX: usize = 1 << 19;
/// Room that a slot keeps for its next packet: that of an ordinary one. Larger ones, rare beyond loopback, give theirs
/// back, or the pool would come to hold the largest packet in every slot.
const KEPT_MAX: usize = 4096;
/// Packets that there is room for from the start, 40 ms at 1 Gbit/s: memory that is touched for the first time makes what
/// is due late, on virtual machines by milliseconds.
const READY: usize = 4096;
/// Room made ready for each of them: an Ethernet frame's.
const READY_BYTES: usize = 1536;

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
#[derive(Debug)]
pub(super) struct Flight {
    due: Due<(Ticket, Leg, u32)>,
    slots: Vec<Vec<u8>>,
    free: Vec<u32>,
    bytes: usize,
}

/// Too much is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

impl Flight {
    pub(super) fn new() -> Self {
        // Written to and then emptied: room that nobody has written to is none yet.
        let slot = |_| {
            let mut bytes = vec![1; READY_BYTES];
            bytes.clear();
            bytes
        };
        let free = (0..READY).rev().filter_map(|number| u32::try_from(number).ok()).collect();
        Self { due: Due::with_capacity(READY), slots: (0..READY).map(slot).collect(), free, bytes: 0 }
    }

    pub(super) fn launch(&mut self, packet: Packet, bytes: &[u8]) -> Result<(), Overflow> {
        if self.bytes + bytes.len() > BYTES_MAX {
            return Err(Overflow);
        }
        let number = match self.free.pop() {
            Some(number) => {
                let slot = &mut self.slots[number as usize];
                slot.clear();
                slot.extend_from_slice(bytes);
                number
            }
            None if self.slots.len() >= PACKETS_MAX => return Err(Overflow),
            None => {
                let number = u32::try_from(self.slots.len()).map_err(|_| Overflow)?;
                self.slots.push(bytes.to_vec());
                number
            }
        };
        self.bytes += bytes.len();
        self.due.push(packet.at, (packet.ticket, packet.leg, number));
        Ok(())
    }

    /// The time at which the next packet is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.next()
    }

    /// Hands the next packet to `land` if it is due, and says whether there was one.
    pub(super) fn land(&mut self, now: Duration, land: impl FnOnce(Packet, &[u8])) -> bool {
        let Some((at, (ticket, leg, number))) = self.due.pop(now) else { return false };
        let slot = &mut self.slots[number as usize];
        self.bytes -= slot.len();
        self.free.push(number);
        land(Packet { at, ticket, leg }, slot);
        if slot.capacity() > KEPT_MAX {
            *slot = Vec::new();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Direction, Key, Lanes, Sharing};

    fn ticket() -> Ticket {
        let key = Key::new(0, 0, Way::Forward);
        let mut lanes = Lanes::new(key, Direction::default(), Sharing::All);
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
        let mut flight = Flight::new();
        for (at, bytes) in [(3, b"a"), (1, b"b"), (3, b"c"), (2, b"d")] {
            flight.launch(packet(at), bytes).unwrap();
        }
        assert!(landed(&mut flight, 0).is_empty());
        assert_eq!(landed(&mut flight, 2), [b"b", b"d"]);
        flight.launch(packet(1), b"again").unwrap();
        assert_eq!(landed(&mut flight, 9), [&b"again"[..], b"a", b"c"]);
        assert_eq!((flight.slots.len(), flight.free.len(), flight.bytes), (READY, READY, 0), "room is used again");
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let mut flight = Flight::new();
        let megabyte = vec![0; 1 << 20];
        let launched = (0..400).filter(|_| flight.launch(packet(1), &megabyte).is_ok()).count();
        assert_eq!(launched, BYTES_MAX >> 20);
        assert!(flight.land(Duration::from_secs(1), |_, _| ()));
        assert_eq!(flight.launch(packet(1), &megabyte), Ok(()));
        assert_eq!(flight.launch(packet(1), b"x"), Err(Overflow));
    }
}
