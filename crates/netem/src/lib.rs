//! Delay, loss and faults: one impairment model and the engines that apply it to real packets.
//!
//! ```text
//!  scenario ──> model::Direction, Program ──> model::Link   (pure: what becomes of each packet, and when)
//!                                                 │
//!                 simulator (another crate) ──────┤
//!                 lab: namespaces and TUN   ──────┤  engines: they hold the packets and the clock
//!                 proxy: UDP on loopback    ──────┘
//! ```
//!
//! **Contract.** A link is asked about packets in the order in which they come. The same key, conditions and packets give
//! the same answers, whatever happens on other links. Engines record how late they were themselves; what they
//! measured counts only where that is small.
//!
//! **Why the model is our own.** `str0m-netem` (0.4.0, looked at first) draws from one generator in sequence, so that a
//! packet's fate depends on which branches earlier packets took, and starts it anew whenever conditions change; its
//! buffer counts what is in flight over the delay as queued; it has no MTU, no traces, no queue in time, no cut, and
//! owns the packets, which the engines need to keep in buffers of their own.
//!
//! ```
//! use sluice_netem::model::{Direction, Key, Link, Loss, Ratio, Span, Way};
//! use std::time::Duration;
//!
//! let conditions = Direction::delayed(Span::from_millis(50)).with_loss(Loss::Random(Ratio::percent(3)));
//! let mut link = Link::new(Key::new(7, 0, Way::Forward), conditions);
//! for millis in 0..10_000 {
//!     link.offer(Duration::from_millis(millis), 1200);
//! }
//! let share = link.counters().dropped.loss as f64 / 10_000.0;
//! assert!((share - 0.03).abs() < 0.006);
//! ```

mod clock;
pub mod doctor;
mod due;
pub mod generate;
#[cfg(target_os = "linux")]
pub mod lab;
mod lateness;
pub mod model;
mod priority;
pub mod proxy;
pub mod result;
pub mod scenario;
pub mod selftest;
pub mod timeline;

pub use priority::Priority;
