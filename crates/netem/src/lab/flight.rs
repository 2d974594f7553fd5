//! Packets between their two interfaces: their bytes in a pool, their times in order.

use crate::due::Due;
use std::time::Duration;

/// Bytes kept of a packet: an interface of the lab sends no longer one.
pub(super) const PACKET_MAX: usize = 2048;
/// Packets of a whole lab that are under way at once, in 128 MiB: 600 ms at 1 Gbit/s of 1,200 bytes.
pub(super) const IN_FLIGHT_MAX: usize = 65_536;

/// Packets that there is room for from the start, in 8 MiB: memory that is touched for the first time makes what is due
/// late, on virtual machines by milliseconds.
const READY: usize = 4096;

/// Where the bytes of a packet are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

/// A packet that is due some time.
#[derive(Debug)]
pub(super) struct Packet<T> {
    /// When it is to arrive.
    pub(super) at: Duration,
    /// The interface that it leaves through.
    pub(super) port: usize,
    /// Where its bytes are.
    pub(super) slot: Slot,
    /// How many they are.
    pub(super) length: usize,
    /// What the model knows it by.
    pub(super) token: T,
}

/// Packets under way. Allocates while it grows to its largest size, and not afterwards.
#[derive(Debug)]
pub(super) struct Flight<T> {
    due: Due<Packet<T>>,
    #[expect(
        clippy::vec_box,
        reason = "growing moves pointers; moving 128 MiB of packets would make all of them late"
    )]
    slots: Vec<Box<[u8; PACKET_MAX]>>,
    free: Vec<Slot>,
}

impl<T> Flight<T> {
    pub(super) fn new() -> Self {
        // Other bytes than zero: room that nobody has written to is none yet.
        let slots = (0..READY).map(|_| Box::new([1; PACKET_MAX])).collect();
        let free = (0..READY).rev().filter_map(|number| u32::try_from(number).ok()).map(Slot).collect();
        Self { due: Due::with_capacity(READY), slots, free }
    }

    /// Room for a packet, unless too many are under way.
    pub(super) fn room(&mut self) -> Option<Slot> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let number = u32::try_from(self.slots.len()).ok().filter(|_| self.slots.len() < IN_FLIGHT_MAX)?;
        self.slots.push(Box::new([0; PACKET_MAX]));
        Some(Slot(number))
    }

    pub(super) fn bytes(&self, slot: Slot) -> &[u8; PACKET_MAX] {
        &self.slots[slot.0 as usize]
    }

    pub(super) fn bytes_mut(&mut self, slot: Slot) -> &mut [u8; PACKET_MAX] {
        &mut self.slots[slot.0 as usize]
    }

    /// The same bytes once more, unless too many are under way.
    pub(super) fn copy(&mut self, slot: Slot) -> Option<Slot> {
        let copy = self.room()?;
        let bytes = *self.bytes(slot);
        *self.bytes_mut(copy) = bytes;
        Some(copy)
    }

    /// Gives room back.
    pub(super) fn release(&mut self, slot: Slot) {
        self.free.push(slot);
    }

    pub(super) fn launch(&mut self, packet: Packet<T>) {
        self.due.push(packet.at, packet);
    }

    /// The time at which the next packet is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.next()
    }

    /// The next packet if it is due. Its room is the caller's to give back.
    pub(super) fn land(&mut self, now: Duration) -> Option<Packet<T>> {
        self.due.pop(now).map(|(_, packet)| packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn launch(flight: &mut Flight<u8>, at: Duration, token: u8) {
        let slot = flight.room().expect("there is room");
        flight.launch(Packet { at, port: 0, slot, length: 0, token });
    }

    #[test]
    fn packets_land_when_due_and_in_order() {
        let mut flight = Flight::new();
        for (at, token) in [(3 * MS, 1), (MS, 2), (3 * MS, 3), (2 * MS, 4)] {
            launch(&mut flight, at, token);
        }
        assert!(flight.land(Duration::ZERO).is_none());
        let mut landed = Vec::new();
        while let Some(packet) = flight.land(3 * MS) {
            landed.push(packet.token);
            flight.release(packet.slot);
        }
        assert_eq!(landed, [2, 4, 1, 3]);
        assert_eq!(flight.slots.len(), READY, "there was room from the start");
    }

    #[test]
    fn room_is_used_again_and_limited() {
        let mut flight: Flight<u8> = Flight::new();
        let slots: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| flight.room().expect("below the limit")).collect();
        assert!(flight.room().is_none());
        assert!(flight.copy(slots[0]).is_none());
        flight.bytes_mut(slots[0])[0] = 7;
        flight.release(slots[1]);
        assert_eq!(flight.copy(slots[0]), Some(slots[1]));
        assert_eq!(flight.bytes(slots[1])[0], 7);
    }
}
