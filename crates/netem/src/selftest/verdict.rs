//! The bounds within which a self-test says that a machine is good enough.

use super::{RATE, SelfTest};
use serde::Serialize;
use std::fmt;

/// Half of the packets may be this much later than told, in microseconds.
const DELAY_P50_US: f64 = 200.0;
/// 99 % of them may.
const DELAY_P99_US: f64 = 1000.0;
/// Standard deviations that a share lost may be off.
const SIGMAS: f64 = 3.0;
/// Share by which a rate may be off.
const RATE_ERROR: f64 = 0.01;
/// What a link carries at least, in bit/s.
const THROUGHPUT: f64 = 1e9;
/// Share of a core that this may take.
const CORE: f64 = 0.4;

/// One bound, and whether it was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was measured.
    pub what: &'static str,
    /// The result, with its unit.
    pub measured: String,
    /// What it may be, with its unit.
    pub bound: String,
    /// Whether it is.
    pub is_met: bool,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_met { "ok" } else { "MISSED" };
        write!(f, "{verdict:<7} {:<36} {:>14}  ({})", self.what, self.measured, self.bound)
    }
}

impl SelfTest {
    /// Each bound, in order.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let at_most = |what, value: f64, most: f64, unit: &str| Check {
            what,
            measured: format!("{value:.0} {unit}"),
            bound: format!("at most {most:.0} {unit}"),
            is_met: value <= most,
        };
        let sigmas = (self.loss.measured - self.loss.expected).abs() / self.loss.sigma;
        let rate = self.rate / RATE as f64 - 1.0;
        let carried = self.throughput.delivered;
        vec![
            // A packet that is too early is as wrong as one that is too late.
            at_most("delay of 50 ms: half are off by", self.delay.p50_us.abs(), DELAY_P50_US, "us"),
            at_most("delay of 50 ms: 1 % are later by", self.delay.p99_us, DELAY_P99_US, "us"),
            Check {
                what: "loss of 5 %",
                measured: format!("{:.2} %", 100.0 * self.loss.measured),
                bound: format!("{sigmas:.1} of at most {SIGMAS} standard deviations off"),
                is_met: sigmas <= SIGMAS,
            },
            Check {
                what: "rate of 50 Mbit/s",
                measured: format!("{:.2} Mbit/s", self.rate / 1e6),
                bound: format!("{:.1} % of at most {:.0} % off", 100.0 * rate, 100.0 * RATE_ERROR),
                is_met: rate.abs() <= RATE_ERROR,
            },
            Check {
                what: "1 Gbit/s of 1,200-byte packets",
                measured: format!("{:.0} Mbit/s", carried / 1e6),
                bound: format!("at least {:.0} Mbit/s", THROUGHPUT / 1e6),
                is_met: carried >= THROUGHPUT,
            },
            at_most("1 Gbit/s: the engine's core", 100.0 * self.throughput.core, 100.0 * CORE, "%"),
        ]
    }

    /// Whether all bounds were kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.checks().iter().all(|check| check.is_met)
    }
}
