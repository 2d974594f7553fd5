//! Links whose delay and loss vary rather than their rate.

use crate::model::{Change, Direction, GilbertElliott, Loss, Program, Ratio, Reorder, Sequence, Span, Step};
use std::time::Duration;

/// Starlink assigns satellites anew this often.
pub const HANDOVER: Duration = Duration::from_secs(15);

/// How long a handover disturbs.
const DISTURBANCE: Duration = Duration::from_millis(200);
/// Half of the published median round trip.
const ONE_WAY_MS: f64 = 28.8;
/// Deviation of a satellite's delay from that.
const SATELLITE_MS: f64 = 4.0;
/// Mean of what a handover adds for its duration: two of these make the published worst round trips.
const SPIKE_MS: f64 = 60.0;
/// Loss of a good slot at most, and mean loss of a bad one; half of the slots are bad.
const GOOD_LOSS: f64 = 0.004;
const BAD_LOSS: f64 = 0.05;

/// Starlink on the road, one direction, without a limit of rate: every 15 s another delay and another loss, each change
/// begun by 200 ms of higher delay.
///
/// Fitted to 1190 series of 250 pings while driving (Starlink-on-the-Road, 2024): loss mean 2.7 %, p95 11.6 %; round
/// trip median 57.6 ms, worst of a series at the 95th percentile 349 ms. The figures for both directions together are
/// halved, loss excepted: nearly all of it is on the radio's way up, but no figure says so, and whoever runs the two
/// directions of this has lost a packet with either.
#[must_use]
pub fn starlink(seed: u64, length: Span) -> Program {
    let mut sequence = Sequence::new(seed);
    let slots = length.get().as_secs().div_ceil(HANDOVER.as_secs()).max(1);
    let steps = (0..slots).flat_map(|slot| {
        let satellite = Slot::draw(&mut sequence);
        let start = HANDOVER.saturating_mul(u32::try_from(slot).unwrap_or(u32::MAX));
        let step = |at, change| Step { at: Span::saturating(at), change: Change::Set(change) };
        [step(start, satellite.disturbed()), step(start + DISTURBANCE, satellite.settled())]
    });
    let period = HANDOVER.saturating_mul(u32::try_from(slots).unwrap_or(u32::MAX));
    Program::repeated(steps.collect(), Span::saturating(period))
}

/// What one satellite gives.
struct Slot {
    delay_ms: f64,
    spike_ms: f64,
    loss: f64,
}

impl Slot {
    fn draw(sequence: &mut Sequence) -> Self {
        let delay_ms = SATELLITE_MS.mul_add(sequence.normal(), ONE_WAY_MS).max(18.0);
        let spike_ms = sequence.exponential(SPIKE_MS);
        let is_good = sequence.unit() < 0.5;
        let loss = if is_good { sequence.unit() * GOOD_LOSS } else { sequence.exponential(BAD_LOSS).min(1.0) };
        Self { delay_ms, spike_ms, loss }
    }

    fn settled(&self) -> Direction {
        let loss = Loss::Random(Ratio::new(self.loss).unwrap_or_default());
        Direction::delayed(millis(self.delay_ms)).with_loss(loss).with_jitter(Span::from_millis(6), Reorder::Keep)
    }

    fn disturbed(&self) -> Direction {
        Direction { delay: millis(self.delay_ms + self.spike_ms), ..self.settled() }
    }
}

fn millis(millis: f64) -> Span {
    Span::saturating(Duration::from_secs_f64(millis.max(0.0) / 1e3))
}

/// Wi-Fi under interference: bursts of 4 packets, 3.8 % of all, and jitter in order (one radio, retries in line).
///
/// A chain with p 1 % and r 25 %: the figures at which the emulation engines were compared. A choice, not a fit.
#[must_use]
pub fn wifi() -> Direction {
    let bursts = GilbertElliott::bursts(Ratio::percent(1), Ratio::percent(25));
    Direction::delayed(Span::from_millis(4))
        .with_loss(Loss::GilbertElliott(bursts))
        .with_jitter(Span::from_millis(4), Reorder::Keep)
}

/// A conference venue, as in the common test cases for interactive media: 2 % random loss, 30 ms with 15 ms of jitter.
#[must_use]
pub fn conference() -> Direction {
    Direction::delayed(Span::from_millis(30))
        .with_loss(Loss::Random(Ratio::percent(2)))
        .with_jitter(Span::from_millis(15), Reorder::Keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Link, Verdict, Way};

    fn quantile(values: &mut [f64], percent: usize) -> f64 {
        values.sort_by(f64::total_cmp);
        values[(values.len() - 1) * percent / 100]
    }

    #[test]
    fn starlink_matches_its_figures() {
        let length = Span::from_millis(1190 * 15_000);
        let (there, back) = (starlink(1, length), starlink(2, length));
        let delay = |step: &Step| match &step.change {
            Change::Set(config) => config.delay.get().as_secs_f64() * 1e3,
            Change::State(_) => panic!("a handover takes nothing down"),
        };
        let round_trips = there.steps().iter().zip(back.steps()).map(|(a, b)| delay(a) + delay(b));
        let (mut worst, mut usual): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for (number, round_trip) in round_trips.enumerate() {
            if number % 2 == 0 { &mut worst } else { &mut usual }.push(round_trip);
        }
        assert_eq!(usual.len(), 1190);
        let median = quantile(&mut usual, 50);
        assert!((median - 57.6).abs() < 1.0, "median round trip {median}");
        let worst = quantile(&mut worst, 95);
        assert!((worst - 349.0).abs() < 35.0, "worst round trip p95 {worst}");
        let mut losses: Vec<_> = there
            .steps()
            .iter()
            .skip(1)
            .step_by(2)
            .map(|step| match &step.change {
                Change::Set(config) => config.loss.mean(),
                Change::State(_) => 0.0,
            })
            .collect();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        assert!((mean - 0.027).abs() < 0.003, "mean loss {mean}");
        let p95 = quantile(&mut losses, 95);
        assert!((p95 - 0.116).abs() < 0.02, "loss p95 {p95}");
    }

    #[test]
    fn a_link_follows_the_satellites() {
        let mut link = Link::new(Key::new(1, 0, Way::Forward), Direction::default());
        link.run_program(Duration::ZERO, starlink(1, Span::from_millis(60_000)));
        let delays: Vec<_> = (0..120_u64)
            .filter_map(|second| match link.offer(Duration::from_millis(second * 1000 + 900), 1200) {
                Verdict::Deliver { at, .. } => Some(at - Duration::from_millis(second * 1000 + 900)),
                Verdict::Drop(_) => None,
            })
            .collect();
        assert!(delays.len() > 100 && delays.iter().all(|delay| (10..60).contains(&delay.as_millis())), "{delays:?}");
        assert!(delays.iter().max() > delays.iter().min());
    }

    #[test]
    fn the_simple_ones_lose_what_they_say() {
        assert!((wifi().loss.mean() - 0.0385).abs() < 0.0001);
        assert!((conference().loss.mean() - 0.02).abs() < 1e-9);
    }
}
