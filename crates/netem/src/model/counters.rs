//! What links count.

use super::Reason;
use serde::Serialize;

/// What a link has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// What came.
    pub offered: Tally,
    /// What arrived, copies included.
    pub delivered: Tally,
    /// Copies made.
    pub copies: u64,
    /// Packets that did not arrive.
    pub dropped: Dropped,
    /// Longest wait before the bottleneck, in microseconds.
    pub queued_max_us: u64,
}

/// Packets and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// How many.
    pub packets: u64,
    /// How large together.
    pub bytes: u64,
}

impl Tally {
    pub(super) const fn add(&mut self, bytes: u64) {
        self.absorb(Self { packets: 1, bytes });
    }

    const fn absorb(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// Packets dropped, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Dropped {
    /// See [`Reason::Down`].
    pub down: u64,
    /// See [`Reason::Mtu`].
    pub mtu: u64,
    /// See [`Reason::Loss`].
    pub loss: u64,
    /// See [`Reason::Queue`].
    pub queue: u64,
    /// See [`Reason::Cut`]; counts copies too.
    pub cut: u64,
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.down + self.mtu + self.loss + self.queue + self.cut
    }

    const fn absorb(&mut self, other: &Self) {
        self.down += other.down;
        self.mtu += other.mtu;
        self.loss += other.loss;
        self.queue += other.queue;
        self.cut += other.cut;
    }

    pub(super) const fn add(&mut self, reason: Reason) {
        let counter = match reason {
            Reason::Down => &mut self.down,
            Reason::Mtu => &mut self.mtu,
            Reason::Loss => &mut self.loss,
            Reason::Queue => &mut self.queue,
            Reason::Cut => &mut self.cut,
        };
        *counter += 1;
    }
}

impl Counters {
    /// Adds what another link has counted.
    pub const fn absorb(&mut self, other: &Self) {
        self.offered.absorb(other.offered);
        self.delivered.absorb(other.delivered);
        self.copies += other.copies;
        self.dropped.absorb(&other.dropped);
        if other.queued_max_us > self.queued_max_us {
            self.queued_max_us = other.queued_max_us;
        }
    }

    /// Packets and copies under way: neither arrived nor dropped.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        (self.offered.packets + self.copies).saturating_sub(self.delivered.packets + self.dropped.total())
    }
}
