//! A coarse timer wheel: 1 ms slots, one entry per key, lazily moved.
//!
//! Connections push their deadlines back with every ACK. Keeping an ordered set in step costs 0.6 us per visit;
//! here an entry stays where it is when its deadline moves later, and is put back when it comes up early. Beyond
//! the horizon deadlines are clamped to it, so an idle connection is looked at once per horizon.

use std::time::{Duration, Instant};

const SLOTS: usize = 4096;
const SLOT_MASK: u64 = SLOTS as u64 - 1;
const GRANULARITY: Duration = Duration::from_millis(1);

/// Where a key stands in the wheel; kept by the owner of the key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Armed(Option<u64>);

/// The wheel. Ticks count from `base`.
#[derive(Debug)]
pub(crate) struct Wheel {
    base: Instant,
    /// First tick not yet processed.
    cursor: u64,
    slots: Vec<Vec<u32>>,
    /// One bit per slot that holds an entry.
    occupied: [u64; SLOTS / 64],
}

impl Wheel {
    pub(crate) fn new(base: Instant) -> Self {
        Self { base, cursor: 0, slots: vec![Vec::new(); SLOTS], occupied: [0; SLOTS / 64] }
    }

    /// Sees to it that `key` comes up no earlier than its deadline `at` or at the horizon, rounded up to a tick.
    pub(crate) fn arm(&mut self, key: u32, at: Instant, armed: &mut Armed) {
        let tick = self.tick_ceil(at).clamp(self.cursor, self.cursor + SLOT_MASK);
        if armed.0.is_some_and(|current| current <= tick) {
            return;
        }
        armed.0 = Some(tick);
        let slot = slot_of(tick);
        self.slots[slot].push(key);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Moves on to `now` and appends the entries that came up, with the tick each was armed for.
    pub(crate) fn advance(&mut self, now: Instant, due: &mut Vec<(u32, Armed)>) {
        let end = self.tick_floor(now) + 1;
        // A loop that slept past the whole horizon sees every slot once.
        while let Some(tick) = self.next_tick().filter(|tick| *tick < end) {
            let slot = slot_of(tick);
            due.extend(self.slots[slot].drain(..).map(|key| (key, Armed(Some(tick)))));
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            self.cursor = tick + 1;
        }
        self.cursor = self.cursor.max(end);
    }

    /// When the next entry comes up.
    pub(crate) fn next(&self) -> Option<Instant> {
        let tick = u32::try_from(self.next_tick()?).unwrap_or(u32::MAX);
        Some(self.base + GRANULARITY * tick)
    }

    fn next_tick(&self) -> Option<u64> {
        let start = slot_of(self.cursor);
        let words = self.occupied.len();
        // The start word is looked at twice: its upper bits first, its lower bits after a full round.
        for step in 0..=words {
            let index = (start / 64 + step) % words;
            let mut word = self.occupied[index];
            if step == 0 {
                word &= u64::MAX << (start % 64);
            } else if step == words {
                word &= !(u64::MAX << (start % 64));
            }
            if word != 0 {
                let slot = index * 64 + word.trailing_zeros() as usize;
                let ahead = (slot + SLOTS - start) % SLOTS;
                return Some(self.cursor + ahead as u64);
            }
        }
        None
    }

    fn tick_floor(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.base).as_nanos() / GRANULARITY.as_nanos();
        u64::try_from(elapsed).unwrap_or(u64::MAX / 2)
    }

    fn tick_ceil(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.base).as_nanos().div_ceil(GRANULARITY.as_nanos());
        u64::try_from(elapsed).unwrap_or(u64::MAX / 2)
    }
}

const fn slot_of(tick: u64) -> usize {
    (tick & SLOT_MASK) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    fn wheel() -> (Wheel, Instant) {
        let base = ManualClock::new(Duration::ZERO).now();
        (Wheel::new(base), base)
    }

    fn due(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn entries_come_up_at_their_tick_rounded_up() {
        let (mut wheel, base) = wheel();
        wheel.arm(1, base + Duration::from_micros(2500), &mut Armed::default());
        wheel.arm(2, base + Duration::from_millis(1), &mut Armed::default());
        assert_eq!(wheel.next(), Some(base + Duration::from_millis(1)));
        assert_eq!(due(&mut wheel, base + Duration::from_millis(2)), [2]);
        assert_eq!(wheel.next(), Some(base + Duration::from_millis(3)));
        assert_eq!(due(&mut wheel, base + Duration::from_millis(3)), [1]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn later_deadlines_leave_the_entry_and_earlier_ones_add_one() {
        let (mut wheel, base) = wheel();
        let mut armed = Armed::default();
        wheel.arm(1, base + Duration::from_millis(10), &mut armed);
        let first = armed;
        wheel.arm(1, base + Duration::from_millis(20), &mut armed);
        assert_eq!(armed, first);
        wheel.arm(1, base + Duration::from_millis(5), &mut armed);
        assert_ne!(armed, first);
        let mut all = Vec::new();
        wheel.advance(base + Duration::from_millis(30), &mut all);
        assert_eq!(all, [(1, armed), (1, first)]);
    }

    #[test]
    fn deadlines_beyond_the_horizon_come_up_at_the_horizon() {
        let (mut wheel, base) = wheel();
        wheel.arm(1, base + Duration::from_secs(60), &mut Armed::default());
        assert_eq!(wheel.next(), Some(base + Duration::from_millis(4095)));
        assert_eq!(due(&mut wheel, base + Duration::from_secs(100)), [1]);
        // The wheel goes on after a sleep longer than its horizon.
        wheel.arm(2, base + Duration::from_millis(100_001), &mut Armed::default());
        assert_eq!(wheel.next(), Some(base + Duration::from_millis(100_001)));
        assert_eq!(due(&mut wheel, base + Duration::from_millis(100_001)), [2]);
    }

    #[test]
    fn every_slot_is_found_from_every_cursor() {
        let (mut wheel, base) = wheel();
        let mut now = 0;
        for step in [1, 63, 64, 65, 1000, 4000, 4094, 4095, 3] {
            let at = base + Duration::from_millis(now + step);
            wheel.arm(9, at, &mut Armed::default());
            assert_eq!(wheel.next(), Some(at), "step {step}");
            assert_eq!(due(&mut wheel, at), [9]);
            now += step;
        }
    }
}
