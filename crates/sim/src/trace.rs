//! What happened on every link, as one number: equal for two runs that moved the same packets in the same way.

use std::time::Duration;

/// What became of a packet that was offered to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Handed to the receiver.
    Delivered,
    /// Lost on the link, or for want of one.
    Lost,
    /// Nobody listens at its address.
    Unheard,
    /// The receiver's buffer was full.
    Overflow,
}

/// A running hash over (time, link, size, outcome); the number of a link says its direction.
///
/// Not cryptographic: xor, multiply and rotate over whole words, as quick as the packets that it describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceHash {
    state: u64,
    packets: u64,
}

impl Default for TraceHash {
    fn default() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, packets: 0 }
    }
}

impl TraceHash {
    /// Adds one packet.
    pub fn add(&mut self, at: Duration, link: u64, bytes: usize, outcome: Outcome) {
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        for word in [nanos, link << 34 | (bytes as u64) << 2 | outcome as u64] {
            self.state = (self.state ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
        }
        self.packets += 1;
    }

    /// The hash so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.state ^ self.packets
    }

    /// Packets so far.
    #[must_use]
    pub const fn packets(self) -> u64 {
        self.packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let of = |at, link, bytes, outcome| {
            let mut hash = TraceHash::default();
            hash.add(Duration::from_nanos(at), link, bytes, outcome);
            hash.value()
        };
        let base = of(1, 2, 3, Outcome::Delivered);
        assert_eq!(base, of(1, 2, 3, Outcome::Delivered));
        let others = [
            of(2, 2, 3, Outcome::Delivered),
            of(1, 3, 3, Outcome::Delivered),
            of(1, 2, 4, Outcome::Delivered),
            of(1, 2, 3, Outcome::Lost),
        ];
        assert!(others.iter().all(|other| *other != base));
    }
}
