//! Sharing a queue with a flow that fills it: RFC 9438 (CUBIC), one step per round.

use std::time::{Duration, Instant};

/// RFC 9438 4.6 and 4.1.2.
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Most growth per round (RFC 9438 4.4).
const MOST: f64 = 1.5;

/// The window as CUBIC would have it.
#[derive(Debug, Clone)]
pub(super) struct Cubic {
    /// Bytes.
    window: f64,
    /// Window before the last reduction, bytes; `None` before the first.
    top: Option<f64>,
    /// Window by the Reno rule (RFC 9438 4.3), bytes.
    reno: f64,
    /// Time in which the window was in use since the last reduction.
    grown: Duration,
    /// End of the last round.
    last: Instant,
}

impl Cubic {
    pub(super) const fn new(now: Instant, window: f64) -> Self {
        Self { window, top: None, reno: window, grown: Duration::ZERO, last: now }
    }

    pub(super) const fn window(&self) -> f64 {
        self.window
    }

    /// A round without loss; the window grows only if it was in use (RFC 9438 5.8).
    pub(super) fn on_round(&mut self, now: Instant, mtu: f64, used: Used) {
        let round = now.saturating_duration_since(self.last);
        self.last = now;
        if used == Used::Partly {
            return;
        }
        let Some(top) = self.top else {
            // Slow start (RFC 9438 4.10), at half its pace: the queue stands already.
            self.window *= MOST;
            return;
        };
        self.grown += round;
        // RFC 9438 4.2, in packets: W(t) = C (t - K)^3 + W_max.
        let top = top / mtu;
        let k = (top * (1.0 - BETA) / C).cbrt();
        let cubic = (C * (self.grown.as_secs_f64() - k).powi(3) + top) * mtu;
        self.reno += 3.0 * (1.0 - BETA) / (1.0 + BETA) * mtu;
        self.window = cubic.max(self.reno).clamp(self.window, self.window * MOST);
    }

    /// A round with loss or marks.
    pub(super) fn on_loss(&mut self, now: Instant) {
        self.last = now;
        self.grown = Duration::ZERO;
        // RFC 9438 4.7: whoever loses again below the last top makes room for others.
        let lower = self.top.is_some_and(|top| self.window < top);
        self.top = Some(if lower { self.window * (1.0 + BETA) / 2.0 } else { self.window });
        self.window *= BETA;
        self.reno = self.window;
    }
}

/// How much of the window the sender has filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    /// It was the limit.
    Fully,
    /// The application was.
    Partly,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const MTU: f64 = 1200.0;

    #[test]
    fn comes_back_to_its_top_after_k_and_stays_while_the_application_limits() {
        let start = SystemClock.now();
        let mut cubic = Cubic::new(start, 600.0 * MTU);
        cubic.on_loss(start);
        assert!((cubic.window() - 420.0 * MTU).abs() < 1.0);
        let mut now = start;
        for _ in 0..20 {
            now += Duration::from_millis(100);
            cubic.on_round(now, MTU, Used::Partly);
        }
        assert!((cubic.window() - 420.0 * MTU).abs() < 1.0);
        // K = cbrt(600 * 0.3 / 0.4) = 7.66 s.
        for _ in 0..76 {
            now += Duration::from_millis(100);
            cubic.on_round(now, MTU, Used::Fully);
        }
        let packets = cubic.window() / MTU;
        assert!((590.0..=601.0).contains(&packets), "{packets}");
    }

    #[test]
    fn gives_way_after_a_second_loss_below_the_top() {
        let start = SystemClock.now();
        let mut cubic = Cubic::new(start, 600.0 * MTU);
        cubic.on_loss(start);
        cubic.on_loss(start);
        assert!((cubic.top.expect("it has lost") - 420.0 * 0.85 * MTU).abs() < 1.0);
    }
}
