//! Live frames over paths whose delay varies, with the link model of `sluice-netem`.

use super::cases::percentile;
use sluice_net::TransportProfile;
use sluice_netem::model::{Capacity, Direction, Loss, Queue, Rate, Ratio, Reorder, Span, State};
use sluice_sim::quic::pair::{Flow, Load, Pair};
use std::fmt;
use std::time::Duration;

/// 4 Mbit/s at 25 frames per second, a stream per second.
const SOURCE: Load = Load::Frames { bytes: 20_000, every: Duration::from_millis(40), per_stream: 25 };
const LENGTH: Duration = Duration::from_secs(60);
/// Start-up is no part of the figures.
const WARM: Duration = Duration::from_secs(3);
/// What is born last may be on its way at the end.
const TAIL: Duration = Duration::from_secs(2);

/// A path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// One way, ms.
    delay: u64,
    jitter: u64,
    reorder: Reorder,
    /// Percent.
    loss: u8,
    /// Mbit/s.
    rate: u64,
    /// Down from 20 s to 22 s.
    cut: bool,
}

const EVEN: Case = Case { delay: 25, jitter: 15, reorder: Reorder::Keep, loss: 0, rate: 50, cut: false };

/// Those of the table.
pub(crate) const CASES: [Case; 8] = [
    EVEN,
    Case { reorder: Reorder::Allow, ..EVEN },
    Case { delay: 55, jitter: 46, ..EVEN },
    Case { delay: 55, jitter: 46, cut: true, ..EVEN },
    Case { reorder: Reorder::Allow, cut: true, ..EVEN },
    Case { delay: 55, jitter: 46, rate: 6, ..EVEN },
    Case { loss: 2, ..EVEN },
    Case { delay: 55, jitter: 46, loss: 2, ..EVEN },
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.reorder {
            Reorder::Keep => "in order",
            Reorder::Allow => "reordered",
        };
        write!(f, "{} ms +- {} {order}, {} Mbit/s", self.delay, self.jitter, self.rate)?;
        if self.loss > 0 {
            write!(f, ", {} % lost", self.loss)?;
        }
        if self.cut {
            write!(f, ", cut for 2 s")?;
        }
        Ok(())
    }
}

/// The figures of a case.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Beyond the mean delay of the path, ms.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) lost: usize,
}

/// A live flow on that path; the way back has the same delay and no jitter.
pub(crate) fn run(profile: &TransportProfile, case: Case, seeds: u64) -> anyhow::Result<Seen> {
    let (mut added, mut lost) = (Vec::new(), 0);
    let delay = Span::from_millis(case.delay);
    let there = Direction {
        loss: Loss::Random(Ratio::percent(case.loss)),
        ..Direction::delayed(delay)
            .with_jitter(Span::from_millis(case.jitter), case.reorder)
            .with_bottleneck(Capacity::Rate(Rate::megabits(case.rate)), Queue::Time(Span::from_millis(500)))
    };
    for seed in 1..=seeds {
        let flow = Flow { receiver: TransportProfile::client(), ..Flow::new(profile.clone(), SOURCE) };
        let mut pair = Pair::new(seed, [there.clone(), Direction::delayed(delay)], vec![flow])?;
        if case.cut {
            pair.run_until(Duration::from_secs(20))?;
            pair.set_state(State::Down);
            pair.run_until(Duration::from_secs(22))?;
            pair.set_state(State::Up);
        }
        pair.run_until(LENGTH)?;
        let cut = Duration::from_secs(19)..Duration::from_secs(25);
        let frames = pair.frames(0).into_iter().filter(|frame| frame.due > WARM && frame.due < LENGTH - TAIL);
        for frame in frames.filter(|frame| !(case.cut && cut.contains(&frame.due))) {
            match frame.latency() {
                Some(latency) => added.push(latency.as_secs_f64() * 1e3 - case.delay as f64),
                None => lost += 1,
            }
        }
    }
    Ok(Seen { p50: percentile(&mut added, 50.0), p99: percentile(&mut added, 99.0), lost })
}
