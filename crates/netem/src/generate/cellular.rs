//! Cellular links: a rate that wanders, delivered in bursts.

use crate::model::{OPPORTUNITY_BYTES, Sequence, Span, Trace};

/// How a cellular link's rate varies, second by second.
///
/// A hidden level follows a first-order Markov process (Gaussian, with a memory per second), and the distribution of
/// the rate is a line through given quantiles. So both the figures that measurements publish (mean, 5th and 95th
/// percentile, seconds without any delivery) and the persistence of good and bad spells can be met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Points of the distribution: share of seconds, rate in Mbit/s; ascending, from 0 to 1.
    quantiles: &'static [(f64, f64)],
    /// Correlation of the level with that of the second before.
    memory: f64,
}

/// LTE downlink in a car. Fitted to Mahimahi's ATT-LTE-driving-2016.down: mean 4.57, p5 0.59, p95 11.2 Mbit/s.
pub const LTE_DOWN: Rates = Rates {
    quantiles: &[(0.0, 0.1), (0.05, 0.59), (0.25, 1.9), (0.5, 3.6), (0.75, 5.9), (0.95, 11.2), (1.0, 18.0)],
    memory: 0.65,
};

/// LTE uplink in a car. Fitted to ATT-LTE-driving-2016.up: mean 1.92 Mbit/s, 4 seconds of 120 without delivery.
pub const LTE_UP: Rates = Rates {
    quantiles: &[
        (0.0, 0.0),
        (0.033, 0.0),
        (0.035, 0.02),
        (0.05, 0.03),
        (0.25, 0.75),
        (0.5, 1.55),
        (0.75, 2.5),
        (0.95, 4.8),
        (1.0, 8.5),
    ],
    memory: 0.5,
};

/// A faster LTE downlink. Fitted to Mahimahi's TMobile-LTE-short.down: mean 16.8, p5 4.1, p95 37 Mbit/s.
pub const LTE_FAST_DOWN: Rates = Rates {
    quantiles: &[(0.0, 1.0), (0.05, 4.1), (0.25, 9.0), (0.5, 14.0), (0.75, 21.5), (0.95, 37.0), (1.0, 54.0)],
    memory: 0.65,
};

/// UMTS downlink in a car. Fitted to Mahimahi's TMobile-UMTS-driving.down: mean 2.0, p95 5.3 Mbit/s, 32 seconds of 928
/// without delivery, in spells of 2 s on average.
pub const UMTS_DOWN: Rates = Rates {
    quantiles: &[
        (0.0, 0.0),
        (0.034, 0.0),
        (0.036, 0.02),
        (0.05, 0.03),
        (0.25, 0.6),
        (0.5, 1.85),
        (0.75, 2.6),
        (0.95, 5.3),
        (1.0, 7.1),
    ],
    memory: 0.88,
};

/// UMTS uplink: the downlink's dead zones at a quarter of its rate. An assumption; no figures were at hand.
pub const UMTS_UP: Rates = Rates {
    quantiles: &[
        (0.0, 0.0),
        (0.034, 0.0),
        (0.036, 0.02),
        (0.05, 0.03),
        (0.25, 0.15),
        (0.5, 0.46),
        (0.75, 0.65),
        (0.95, 1.3),
        (1.0, 1.8),
    ],
    memory: 0.88,
};

impl Rates {
    /// A trace of `length` (at least a second, in whole seconds), the same for the same seed.
    #[must_use]
    pub fn trace(&self, seed: u64, length: Span) -> Trace {
        let mut sequence = Sequence::new(seed);
        let mut level = sequence.normal();
        let mut times = Vec::new();
        let seconds = u32::try_from(length.get().as_secs()).unwrap_or(u32::MAX).max(1);
        let mut credit = 0.0;
        for second in 0..seconds {
            let per_ms = self.rate_at(normal_share(level)) * 1e6 / 8.0 / 1e3;
            for ms in 1..=1000 {
                // Schedulers serve a device in turns: the bytes of a millisecond vary, their mean does not.
                credit += sequence.exponential(per_ms);
                while credit >= OPPORTUNITY_BYTES as f64 {
                    credit -= OPPORTUNITY_BYTES as f64;
                    times.push(second * 1000 + ms);
                }
            }
            level = self.memory * level + (1.0 - self.memory * self.memory).sqrt() * sequence.normal();
        }
        if times.is_empty() {
            // A trace of a dead zone alone would never deliver anything; one packet at its end makes it one.
            times.push(seconds * 1000);
        }
        Trace::with_period(times, seconds * 1000).expect("it has a line, in order, and lasts at least a second")
    }

    /// The rate that so large a `share` of all seconds stays below.
    fn rate_at(&self, share: f64) -> f64 {
        let above = self.quantiles.windows(2).find(|pair| share <= pair[1].0);
        let Some([(from, low), (to, high)]) = above else { return 0.0 };
        low + (high - low) * ((share - from) / (to - from)).clamp(0.0, 1.0)
    }
}

/// The share of a standard normal distribution below `x` (Abramowitz and Stegun 26.2.17, error below 1e-7).
fn normal_share(x: f64) -> f64 {
    const TERMS: [f64; 5] = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let t = 1.0 / 0.231_641_9_f64.mul_add(x.abs(), 1.0);
    let polynomial = TERMS.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    let tail = polynomial * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    if x > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Figures {
        mean: f64,
        p5: f64,
        p95: f64,
        zero_share: f64,
        zero_spell: f64,
    }

    /// What measurements publish, over 2 hours: good and bad spells last, so that shorter runs wander.
    fn figures(rates: &Rates, seed: u64) -> Figures {
        let trace = rates.trace(seed, Span::from_millis(2 * 3_600_000));
        let mut seconds: Vec<f64> = trace.bits_per_second().iter().map(|bits| *bits as f64 / 1e6).collect();
        let zero = |rate: f64| rate == 0.0;
        let zeros = seconds.iter().filter(|rate| zero(**rate)).count() as f64;
        let spells = seconds.windows(2).filter(|pair| zero(pair[1]) && !zero(pair[0])).count() as f64;
        let n = seconds.len() as f64;
        let mean = seconds.iter().sum::<f64>() / n;
        seconds.sort_by(f64::total_cmp);
        let quantile = |percent: usize| seconds[(seconds.len() - 1) * percent / 100];
        Figures { mean, p5: quantile(5), p95: quantile(95), zero_share: zeros / n, zero_spell: zeros / spells.max(1.0) }
    }

    fn near(what: &str, got: f64, published: f64, tolerance: f64) {
        assert!((got - published).abs() <= tolerance, "{what} is {got:.3}, published {published}");
    }

    #[test]
    fn lte_matches_its_figures() {
        for (rates, mean, p5, p95) in [(LTE_DOWN, 4.57, 0.59, 11.2), (LTE_FAST_DOWN, 16.8, 4.1, 37.0)] {
            let got = figures(&rates, 3);
            near("mean", got.mean, mean, mean * 0.06);
            near("p5", got.p5, p5, p5 * 0.15);
            near("p95", got.p95, p95, p95 * 0.07);
            near("share of seconds without delivery", got.zero_share, 0.0, 0.001);
        }
        let up = figures(&LTE_UP, 3);
        near("mean", up.mean, 1.92, 0.1);
        near("share of seconds without delivery", up.zero_share, 4.0 / 120.0, 0.01);
    }

    #[test]
    fn umts_has_its_dead_zones() {
        let got = figures(&UMTS_DOWN, 5);
        near("mean", got.mean, 2.0, 0.15);
        near("p5", got.p5, 0.01, 0.05);
        near("p95", got.p95, 5.3, 0.4);
        near("share of seconds without delivery", got.zero_share, 32.0 / 928.0, 0.01);
        near("seconds of a dead zone", got.zero_spell, 32.0 / 17.0, 0.7);
    }

    #[test]
    fn a_dead_second_is_still_a_trace() {
        const DEAD: Rates = Rates { quantiles: &[(0.0, 0.0), (1.0, 0.0)], memory: 0.0 };
        assert_eq!(DEAD.trace(1, Span::ZERO).to_text(), "1000\n");
    }

    #[test]
    fn shares_of_the_normal_distribution() {
        for (x, share) in [(0.0, 0.5), (1.0, 0.841_345), (-1.644_854, 0.05), (3.0, 0.998_650)] {
            assert!((normal_share(x) - share).abs() < 1e-6, "{x}");
        }
    }
}
