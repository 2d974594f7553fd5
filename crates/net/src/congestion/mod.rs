//! Congestion control for live media, chosen by measurement: see docs/reliability.md.
//!
//! A live flow is limited by its application: it sends a frame, waits, and once a second sends a keyframe that is
//! several times as large. Controllers made for bulk transfer either take every loss for congestion (CUBIC: 2.7 of
//! 50 Mbit/s at 1 % random loss) or learn a rate that is the average of the application. [`Live`] looks at three
//! things per round trip instead:
//! - **Is there a standing queue?** The least round-trip time of half a round, less the least of the last 10 s to
//!   20 s. A burst raises most samples, a standing queue all of them (Copa, NSDI 2018, takes the same view). What
//!   samples differ from one to the next is jitter, not queue, and is allowed for. The rate that arrived *is* then what
//!   the path gives, whether the application limits it or not, and the window is cut towards what the empty path holds
//!   at that rate, by half at most.
//! - **Was the window needed?** Only then does it grow (RFC 9002 7.8), in steps that double, so that it ends at a few
//!   times the largest burst. An idle second forgets nothing. There is no padding: quinn-proto gives a controller no
//!   way to send any, and the keyframes are the probes.
//! - **Whose queue is it?** Ours shrinks when the window does. A queue that does not follow two cuts is the path's own
//!   jitter or belongs to a flow that fills queues: the window comes back as it was, as long a wait is no reason to
//!   cut again for a while, and as long as it lasts the window follows CUBIC (RFC 9438).
//!
//! Loss alone means little: a round that loses more than 40 %, or any loss while we alone fill the path, lowers the
//! window. The price is that a *greedy* flow takes more than its share of a buffer too shallow to show a queue.
//!
//! quinn-proto paces at 1.25 windows per smoothed round trip, so the window is the rate too. No random numbers, no
//! allocation: a few additions per acknowledged packet, the rest once per round trip.

mod base;
mod growth;
mod live;
mod noise;
mod rival;
mod round;
#[cfg(test)]
mod tests;
mod train;

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory};
use round::{Ack, Demand};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

/// Builds [`Live`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct LiveConfig {
    /// Bytes per second that the first window is good for.
    pub(crate) first_rate: u64,
}

impl ControllerFactory for LiveConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Live(live::Live::new(now, u64::from(current_mtu), self.first_rate), u64::from(current_mtu)))
    }
}

/// The controller as quinn-proto sees it, with the MTU that it began with.
#[derive(Debug, Clone)]
struct Live(live::Live, u64);

impl Controller for Live {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        let demand = if app_limited { Demand::Met } else { Demand::More };
        self.0.on_ack(&Ack { now, sent, bytes, demand, smoothed: rtt.get() });
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, _app_limited: bool, _largest_acked: Option<u64>) {
        self.0.end_batch(now, in_flight);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        if is_persistent_congestion {
            self.0.on_blackout(now);
        } else if lost_bytes == 0 {
            // quinn-proto's way to say ECN.
            self.0.on_mark();
        } else {
            self.0.on_lost(sent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.set_mtu(u64::from(new_mtu));
    }

    fn window(&self) -> u64 {
        self.0.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        live::INITIAL_PACKETS * self.1
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
