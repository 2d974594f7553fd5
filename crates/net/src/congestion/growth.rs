//! How the window opens while the path shows no queue.

use super::round::Summary;
use std::time::Duration;

/// Largest window, in multiples of the largest burst.
const REACH: u64 = 8;
/// Packets by which the window opens first after a reduction.
const FIRST_STEP: u64 = 2;
/// Most packets per step while packets are being lost: what a shallow buffer drops looks like random loss.
const LOSSY_STEP: u64 = 16;
/// Above this share of loss, growth is careful.
const LOSSY: f64 = 0.01;
/// A sender under this much pressure for a whole round shows by its rate what the path carries.
const FULL: f64 = 0.9;
/// Windows of fewer packets are not tried by steps of a quarter: their rounds are too short to tell such rates apart.
const TRIED: u64 = 64;
/// On a narrow path a window has to prove that one so many times as large carries so many times as much. Where a packet is
/// a wait as long as jitter, and the queue a few packets long, nothing else shows that the path is full.
const LARGER: f64 = 1.4;
const CARRIES: f64 = 1.15;
/// A path is narrow when a packet takes so long: below 480 kbit/s.
pub(super) const NARROW: Duration = Duration::from_millis(20);
/// What a step of a quarter must add to the rate to count, and the rounds until it shows.
const WORTH: f64 = 1.08;
const TRIAL_ROUNDS: u8 = 1;
/// Rounds between a step in vain and the next.
const REST: u8 = 8;

/// Steps that double while they go well (Copa's velocity, NSDI 2018, 2.1), and trials where loss makes the absence
/// of a queue a weak sign.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    step: u64,
    trial: Option<Trial>,
    proof: Option<Proof>,
    rest: u8,
}

/// What a small window carried, and whether the rate of a larger one is on its way.
#[derive(Debug, Clone)]
struct Proof {
    window: u64,
    rate: u64,
    awaited: bool,
}

/// A step whose worth is not known yet.
#[derive(Debug, Clone)]
struct Trial {
    window: u64,
    rate: u64,
    rounds: u8,
}

impl Growth {
    pub(super) const fn new() -> Self {
        Self { step: 0, trial: None, proof: None, rest: 0 }
    }

    /// After a start that was cut short: at this window the path carries so much.
    pub(super) const fn from_proof(window: u64, rate: u64) -> Self {
        Self { step: 0, trial: None, proof: Some(Proof { window, rate, awaited: false }), rest: 0 }
    }

    /// The window after a round without a standing queue.
    pub(super) fn next(&mut self, window: u64, round: &Summary, mtu: u64) -> u64 {
        if !holds_back(window, round) {
            return window;
        }
        let lossy = round.loss > LOSSY;
        if lossy && is_full(round) && window >= TRIED * mtu {
            return self.try_out(window, round);
        }
        self.trial = None;
        if is_narrow(round, mtu) {
            if let Some(window) = self.prove(window, round) {
                return window;
            }
        } else if !is_slow(round, mtu) {
            self.proof = None;
        } else if self.proof.is_some() {
            // Only a full window tells what it carries.
            return window;
        }
        let most = if lossy { (window / 8).max(LOSSY_STEP * mtu) } else { (window / 4).max(FIRST_STEP * mtu) };
        self.step = (self.step * 2).clamp(FIRST_STEP * mtu, most);
        window + self.step
    }

    /// The window to stay at, or to go back to; `None` where it may grow.
    fn prove(&mut self, window: u64, round: &Summary) -> Option<u64> {
        if self.rest > 0 {
            self.rest -= 1;
            return Some(window);
        }
        let Some(proof) = &mut self.proof else {
            self.proof = Some(Proof { window, rate: round.rate, awaited: false });
            return None;
        };
        if !grew(proof.window, window, LARGER) {
            return None;
        }
        // A round tells of what was sent in the one before.
        if !proof.awaited {
            proof.awaited = true;
            return Some(window);
        }
        let before = proof.window;
        if grew(proof.rate, round.rate, CARRIES) {
            self.proof = Some(Proof { window, rate: round.rate, awaited: false });
            return None;
        }
        *self = Self { rest: REST, ..Self::new() };
        Some(before)
    }

    fn try_out(&mut self, window: u64, round: &Summary) -> u64 {
        if self.rest > 0 {
            self.rest -= 1;
            return window;
        }
        if let Some(trial) = &mut self.trial {
            if trial.rounds > 0 {
                trial.rounds -= 1;
                return window;
            }
            if !grew(trial.rate, round.rate, WORTH) {
                self.rest = REST;
                let before = trial.window;
                self.trial = None;
                return before;
            }
        }
        self.trial = Some(Trial { window, rate: round.rate, rounds: TRIAL_ROUNDS });
        window + window / 4
    }
}

/// Whether the window was needed: RFC 7661 and 9002 7.8 let only such a window grow.
pub(super) fn in_use(window: u64, round: &Summary) -> bool {
    round.pressure > 0.0 && round.peak_flight >= window / 2
}

/// Whether the window held something back, if only through the pacer: that lets 2 ms of a window per round trip go at
/// once, so that a frame of a few packets leaves in one batch only under a window of many times its size. The bound
/// keeps the window in proportion to the largest burst that the application has sent.
pub(super) fn holds_back(window: u64, round: &Summary) -> bool {
    round.pressure > 0.0 && round.peak_flight >= window / REACH
}

/// Whether the window or the pacer was the limit all the time.
pub(super) fn is_full(round: &Summary) -> bool {
    round.pressure >= FULL
}

/// Whether a packet takes long at the rate that came through; whether that is the path's or the source's, a full window
/// shows.
pub(super) fn is_slow(round: &Summary, mtu: u64) -> bool {
    time(mtu, round.rate) >= NARROW
}

/// Whether the path, as far as a full window shows it, takes long for a single packet.
pub(super) fn is_narrow(round: &Summary, mtu: u64) -> bool {
    is_full(round) && is_slow(round, mtu)
}

/// How long so many bytes take at so many per second.
pub(super) fn time(bytes: u64, rate: u64) -> Duration {
    Duration::from_secs(bytes).checked_div(u32::try_from(rate.max(1)).unwrap_or(u32::MAX)).unwrap_or_default()
}

/// Whether `after` is at least `factor` times `before`.
pub(super) fn grew(before: u64, after: u64, factor: f64) -> bool {
    after as f64 >= before as f64 * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1200;

    fn round(window: u64, pressure: f64, loss: f64) -> Summary {
        Summary {
            least_rtt: Duration::from_millis(50),
            smoothed: Duration::from_millis(50),
            rate: window * 20,
            carried: 0,
            peak_flight: window,
            pressure,
            loss,
            newest_lost: None,
            seen: window,
            marked: false,
        }
    }

    #[test]
    fn steps_double_while_the_window_is_in_use() {
        let mut growth = Growth::new();
        let mut window = 100 * MTU;
        for packets in [102, 106, 114, 130, 162, 202] {
            window = growth.next(window, &round(window, 0.2, 0.0), MTU);
            assert_eq!(window / MTU, packets);
        }
        let idle = Summary { peak_flight: window / 9, ..round(window, 0.2, 0.0) };
        assert_eq!(growth.next(window, &idle, MTU), window);
        assert_eq!(growth.next(window, &round(window, 0.0, 0.0), MTU), window);
    }

    #[test]
    fn after_a_start_that_was_cut_short_only_a_full_window_is_left() {
        let window = 4 * MTU;
        let slow = |pressure| Summary { rate: 15_000, ..round(window, pressure, 0.0) };
        let mut growth = Growth::from_proof(window, 15_000);
        assert_eq!(growth.next(window, &slow(0.3), MTU), window);
        let tried = growth.next(window, &slow(1.0), MTU);
        assert_eq!(tried, 6 * MTU);
        assert_eq!(growth.next(tried, &slow(1.0), MTU), tried, "its rate is on its way");
        assert_eq!(growth.next(tried, &slow(1.0), MTU), window, "it carries no more");
    }

    #[test]
    fn under_loss_a_step_that_brings_no_rate_is_taken_back() {
        let mut growth = Growth::new();
        let start = 800 * MTU;
        let at_capacity = |window: u64| Summary { rate: start * 20, ..round(window, 1.0, 0.1) };
        let mut windows = vec![start];
        for _ in 0..12 {
            let window = *windows.last().expect("it begins with one");
            windows.push(growth.next(window, &at_capacity(window), MTU));
        }
        assert_eq!(windows.iter().filter(|window| **window == 1000 * MTU).count(), 3, "{windows:?}");
        assert!(windows.iter().all(|window| *window <= 1000 * MTU));
        let mut growth = Growth::new();
        let window = (0..20).fold(start, |window, _| growth.next(window, &round(window, 1.0, 0.2), MTU));
        assert!(window > 2 * start, "random loss leaves the rate in proportion: {window}");
    }
}
