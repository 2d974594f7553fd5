//! Which packets get lost.

use super::draw::{Choice, Draws};
use super::{GilbertElliott, Loss, Ratio};

/// The state of a loss model.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chain {
    state: Weather,
}

/// The two states of a Gilbert-Elliott chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Weather {
    #[default]
    Good,
    Bad,
}

impl Chain {
    /// Whether packet number `packet` is lost. Called once per packet that gets this far, in order.
    pub(super) fn loses(&mut self, loss: &Loss, draws: Draws, packet: u64) -> bool {
        match loss {
            Loss::None => false,
            Loss::Random(ratio) => draws.happens(packet, Choice::Loss, *ratio),
            Loss::GilbertElliott(chain) => {
                self.state = self.step(chain, draws, packet);
                draws.happens(packet, Choice::Loss, self.share(chain))
            }
        }
    }

    fn step(self, chain: &GilbertElliott, draws: Draws, packet: u64) -> Weather {
        let changes = |probability| draws.happens(packet, Choice::Transition, probability);
        match self.state {
            Weather::Good if changes(chain.p) => Weather::Bad,
            Weather::Bad if changes(chain.r) => Weather::Good,
            Weather::Good | Weather::Bad => self.state,
        }
    }

    const fn share(self, chain: &GilbertElliott) -> Ratio {
        match self.state {
            Weather::Good => chain.good,
            Weather::Bad => chain.bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Way};

    const PACKETS: u64 = 200_000;

    fn losses(loss: Loss, seed: u64) -> Vec<bool> {
        let draws = Draws::new(Key::new(seed, 0, Way::Forward));
        let mut chain = Chain::default();
        (0..PACKETS).map(|packet| chain.loses(&loss, draws, packet)).collect()
    }

    /// Deviations between the measured share and the expected one.
    fn sigmas(loss: Loss, lost: &[bool]) -> f64 {
        let (n, mean) = (lost.len() as f64, loss.mean());
        let share = lost.iter().filter(|lost| **lost).count() as f64 / n;
        (share - mean).abs() / (mean * (1.0 - mean) * loss.correlation() / n).sqrt()
    }

    fn mean_burst(lost: &[bool]) -> f64 {
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        lost.iter().filter(|lost| **lost).count() as f64 / bursts as f64
    }

    #[test]
    fn random_loss_is_as_told() {
        for (seed, share) in [(1, 0.001), (2, 0.01), (3, 0.05), (4, 0.2), (5, 0.5)] {
            let loss = Loss::Random(Ratio::new(share).unwrap());
            let lost = losses(loss, seed);
            assert!(sigmas(loss, &lost) < 3.0, "{share}");
            let burst = mean_burst(&lost);
            assert!((burst - 1.0 / (1.0 - share)).abs() < 0.05, "losses are independent: {burst}");
        }
    }

    #[test]
    fn bursts_have_their_mean_and_length() {
        for (seed, p, r) in [(1, 0.01, 0.25), (2, 0.001, 0.05), (3, 0.1, 0.5)] {
            let chain = GilbertElliott::bursts(Ratio::new(p).unwrap(), Ratio::new(r).unwrap());
            let loss = Loss::GilbertElliott(chain);
            let lost = losses(loss, seed);
            assert!((loss.mean() - p / (p + r)).abs() < 1e-12);
            assert!(sigmas(loss, &lost) < 3.0, "p {p} r {r}");
            let (burst, bursts) = (mean_burst(&lost), PACKETS as f64 * loss.mean() * r);
            // Burst lengths are geometric: deviation sqrt(1 - r) / r of each, divided among all of them.
            let sigma = (1.0 - r).sqrt() / r / bursts.sqrt();
            assert!((burst - 1.0 / r).abs() < 3.0 * sigma, "{burst} is not {}", 1.0 / r);
        }
    }

    #[test]
    fn states_may_lose_a_share() {
        let ratio = |percent| Ratio::percent(percent);
        let chain = GilbertElliott { p: ratio(2), r: ratio(20), bad: ratio(50), good: ratio(1) };
        let loss = Loss::GilbertElliott(chain);
        assert!((loss.mean() - (0.5 / 11.0 + 0.01 * 10.0 / 11.0)).abs() < 1e-12);
        assert!(sigmas(loss, &losses(loss, 9)) < 3.0);
    }

    #[test]
    fn the_extremes_hold() {
        assert!(losses(Loss::Random(Ratio::ONE), 1).iter().all(|lost| *lost));
        assert!(losses(Loss::Random(Ratio::ZERO), 1).iter().all(|lost| !lost));
        let never = Loss::GilbertElliott(GilbertElliott::bursts(Ratio::ZERO, Ratio::ZERO));
        assert!(losses(never, 1).iter().all(|lost| !lost));
    }
}
