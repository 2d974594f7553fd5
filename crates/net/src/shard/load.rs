//! How busy the loop is, and how long it may therefore rest between two turns.
//!
//! A loop with little to do answers every packet at once. A busy one gains by doing more per turn: a wake-up for each
//! ACK or piece of a frame costs as much as the work that it brings, and whatever comes within the tick is dealt with
//! in one visit per connection.

use std::time::Duration;

/// Memory of the average.
const WINDOW: Duration = Duration::from_millis(100);
/// From this share of the core on the whole tick is used.
const BUSY: f64 = 0.2;

/// Share of its core that the loop works, averaged.
#[derive(Debug, Default)]
pub(super) struct Load {
    share: f64,
    /// What the latest turn took.
    worked: Duration,
}

impl Load {
    /// A turn is over that took `worked`.
    pub(super) const fn on_worked(&mut self, worked: Duration) {
        self.worked = worked;
    }

    /// The next turn begins, `interval` after the beginning of the one before.
    pub(super) fn on_turn(&mut self, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        let share = (self.worked.as_secs_f64() / interval.as_secs_f64()).min(1.0);
        let weight = (interval.as_secs_f64() / WINDOW.as_secs_f64()).min(1.0);
        self.share += (share - self.share) * weight;
    }

    /// Shortest time from one turn to the next: none where the loop idles, `tick` where it is busy.
    pub(super) fn rest(&self, tick: Duration) -> Duration {
        tick.mul_f64((self.share / BUSY).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(2);
    const MS: Duration = Duration::from_millis(1);

    fn turn(load: &mut Load, worked: Duration, interval: Duration) {
        load.on_worked(worked);
        load.on_turn(interval);
    }

    #[test]
    fn an_idle_loop_does_not_rest() {
        let mut load = Load::default();
        for _ in 0..100 {
            turn(&mut load, Duration::from_micros(10), 10 * MS);
        }
        assert!(load.rest(TICK) < Duration::from_micros(20), "{load:?}");
    }

    #[test]
    fn a_busy_loop_rests_for_the_whole_tick() {
        let mut load = Load::default();
        for _ in 0..100 {
            turn(&mut load, MS, 2 * MS);
        }
        assert_eq!(load.rest(TICK), TICK);
    }

    #[test]
    fn one_long_turn_is_forgotten_within_the_window() {
        let mut load = Load::default();
        turn(&mut load, 50 * MS, 50 * MS);
        assert_eq!(load.rest(TICK), TICK);
        turn(&mut load, Duration::ZERO, WINDOW);
        assert_eq!(load.rest(TICK), Duration::ZERO);
    }

    #[test]
    fn turns_of_no_time_change_nothing() {
        let mut load = Load::default();
        turn(&mut load, Duration::ZERO, Duration::ZERO);
        assert_eq!(load.rest(TICK), Duration::ZERO);
    }
}
