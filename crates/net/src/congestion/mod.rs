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
mod flight;
mod growth;
mod live;
mod noise;
mod reorder;
mod rival;
mod round;
#[cfg(test)]
mod tests;
mod train;

pub(crate) use flight::{Flight, News};
use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory};
use reorder::Reorder;
pub(crate) use reorder::{MOST, Wait};
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
        let mtu = u64::from(current_mtu);
        Box::new(Live {
            live: live::Live::new(now, mtu, self.first_rate),
            flight: Flight::default(),
            reorder: Reorder::new(now),
            first_mtu: mtu,
            mtu,
        })
    }
}

/// The controller as quinn-proto sees it.
#[derive(Debug, Clone)]
struct Live {
    live: live::Live,
    flight: Flight,
    reorder: Reorder,
    first_mtu: u64,
    mtu: u64,
}

/// The controller of a connection, if it is [`Live`]: a copy, since quinn-proto shows its controller as any.
fn copy_of(controller: &dyn Controller) -> Option<Live> {
    controller.clone_box().into_any().downcast().ok().map(|live| *live)
}

/// What is in flight; `None` with another controller than [`Live`].
pub(crate) fn flight(controller: &dyn Controller) -> Option<Flight> {
    copy_of(controller).map(|live| live.flight)
}

/// How long to wait for what was overtaken; `None` with another controller than [`Live`].
pub(crate) fn wait(controller: &dyn Controller) -> Option<Wait> {
    copy_of(controller).map(|live| live.reorder.wait())
}

/// Lets one packet pass although the window may be full, as a probe does (RFC 9002 7.5). Nothing with another
/// controller than [`Live`].
pub(crate) fn lend(controller: &dyn Controller) {
    if let Some(live) = copy_of(controller) {
        live.flight.lend(live.live.window(), live.mtu);
    }
}

impl Controller for Live {
    fn on_sent(&mut self, _now: Instant, bytes: u64, _last_packet_number: u64) {
        self.flight.on_sent(bytes);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        let demand = if app_limited { Demand::Met } else { Demand::More };
        self.live.on_ack(&Ack { now, sent, bytes, demand, smoothed: rtt.get() });
        self.reorder.on_ack(sent, || rtt.conservative());
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, _app_limited: bool, largest_acked: Option<u64>) {
        self.reorder.end_batch(now, largest_acked.unwrap_or_default());
        self.flight.on_acks(now, in_flight);
        self.live.end_batch(now, in_flight);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.flight.on_lost(lost_bytes);
        if is_persistent_congestion {
            self.live.on_blackout(now);
        } else if lost_bytes == 0 {
            // quinn-proto's way to say ECN.
            self.live.on_mark();
        } else {
            self.live.on_lost(sent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = u64::from(new_mtu);
        self.live.set_mtu(self.mtu);
    }

    fn window(&self) -> u64 {
        self.live.window() + self.flight.loan()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        live::INITIAL_PACKETS * self.first_mtu
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
