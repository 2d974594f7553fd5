//! Random choices that depend on nothing but their name.
//!
//! A choice is `f(seed, link, direction, packet number, what is chosen)`. No generator is advanced, so the traffic of
//! another link, another packet's fate and the order of calls change nothing: a scenario replays, and a change to one
//! impairment leaves the choices of the others alone.

use super::{Ratio, Way};
use std::time::Duration;

/// Names one direction of one link of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the link in the scenario.
    pub link: u32,
    /// Which of its directions.
    pub way: Way,
}

impl Key {
    /// The direction `way` of link number `link` in a run with `seed`.
    #[must_use]
    pub const fn new(seed: u64, link: u32, way: Way) -> Self {
        Self { seed, link, way }
    }
}

/// What is chosen for a packet; the values are part of what a seed means and never change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    /// Whether the packet is lost.
    Loss = 0,
    /// Whether the loss model changes state before the packet.
    Transition = 1,
    /// Whether the packet is duplicated.
    Duplicate = 2,
    /// How far the packet's delay is from the mean.
    Jitter = 3,
    /// The same of its copy.
    CopyJitter = 4,
}

/// Choices reserved for a packet.
const CHOICES: u64 = 8;
/// The golden ratio in 64 bits: the increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// All choices of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    base: u64,
}

impl Draws {
    pub(crate) fn new(key: Key) -> Self {
        let way = match key.way {
            Way::Forward => 0,
            Way::Reverse => 1,
        };
        let place = (u64::from(key.link) << 1) | way;
        // Mixing twice puts the sequences of neighbouring seeds and links at unrelated places of one long cycle.
        Self { base: mix(mix(key.seed.wrapping_add(GOLDEN)) ^ mix(place.wrapping_mul(GOLDEN).wrapping_add(1))) }
    }

    /// A number in `0.0..1.0`, the same at each call.
    pub(crate) fn unit(self, packet: u64, choice: Choice) -> f64 {
        let index = packet.wrapping_mul(CHOICES).wrapping_add(choice as u64);
        to_unit(mix(self.base.wrapping_add(index.wrapping_mul(GOLDEN))))
    }

    /// Whether something of probability `ratio` happens.
    pub(crate) fn happens(self, packet: u64, choice: Choice, ratio: Ratio) -> bool {
        self.unit(packet, choice) < ratio.get()
    }

    /// A time in `0..=2 * spread`, uniformly: added to a delay less `spread` it is symmetric about the delay.
    pub(crate) fn spread(self, packet: u64, choice: Choice, spread: Duration) -> Duration {
        spread.mul_f64(2.0 * self.unit(packet, choice))
    }
}

/// A sequence of random numbers for generators, where each number follows from the one before.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    state: u64,
}

impl Sequence {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(GOLDEN);
        to_unit(mix(self.state))
    }

    /// A normally distributed number with mean 0 and deviation 1 (Box and Muller's method).
    pub(crate) fn normal(&mut self) -> f64 {
        // The logarithm needs a number above zero.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// An exponentially distributed number with the given mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014).
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The upper 53 bits as a fraction: every value is exact in a double, so all machines agree.
fn to_unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, link: u32, way: Way) -> Vec<f64> {
        let draws = Draws::new(Key::new(seed, link, way));
        (0..20_000).map(|packet| draws.unit(packet, Choice::Loss)).collect()
    }

    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let n = a.len().min(b.len());
        let sum: f64 = a.iter().zip(b).map(|(x, y)| (x - 0.5) * (y - 0.5)).sum();
        sum / n as f64 * 12.0
    }

    #[test]
    fn choices_are_uniform_and_unrelated() {
        let base = draws(7, 0, Way::Forward);
        let mean = base.iter().sum::<f64>() / base.len() as f64;
        // 4 sigma of the mean of 20,000 uniform numbers.
        assert!((mean - 0.5).abs() < 0.0082, "{mean}");
        for other in [draws(8, 0, Way::Forward), draws(7, 1, Way::Forward), draws(7, 0, Way::Reverse)] {
            assert!(correlation(&base, &other).abs() < 0.03);
        }
        assert!(correlation(&base, &base[1..]).abs() < 0.03, "neighbouring packets");
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // Scenarios in the wild are replayed by these numbers: a change here is a change of every seed.
        let draws = Draws::new(Key::new(7, 3, Way::Reverse));
        let first =
            [draws.unit(0, Choice::Loss), draws.unit(0, Choice::Jitter), draws.unit(1, Choice::Loss)].map(f64::to_bits);
        // 0.264.., 0.192.., 0.259.., worked out by another implementation of the same definition.
        assert_eq!(first, [0x3fd0_e58d_0d5e_f212, 0x3fc8_9cd7_ac18_0ae8, 0x3fd0_9c5e_4318_6a20]);
    }

    #[test]
    fn sequences_have_their_moments() {
        let mut sequence = Sequence::new(1);
        let normal: Vec<f64> = (0..20_000).map(|_| sequence.normal()).collect();
        let exponential: f64 = (0..20_000).map(|_| sequence.exponential(3.0)).sum::<f64>() / 20_000.0;
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / normal.len() as f64;
        assert!((variance - 1.0).abs() < 0.04 && (exponential - 3.0).abs() < 0.09, "{variance} {exponential}");
    }
}
