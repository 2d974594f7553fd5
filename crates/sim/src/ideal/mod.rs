//! The ideal world: pure nodes over links that delay, limit and lose, under a transport that is perfect but for that.
//!
//! ```text
//! Schedule ──due──> World ──handle_*──> Actor (relay, publisher, viewer)
//!    ^                ^                    │ poll_output: Wake, Dial, Close
//!    └── Link <─ Frame ── Sink <──select───┘
//! ```
//!
//! What QUIC does with packets is left out: a frame of any size is one packet, a lost one is sent again after a round
//! trip and a quarter, nothing is encrypted. What is kept is what nodes can see: handshakes of one and a half round
//! trips, streams that are ordered each and overtake each other, windows, stream limits, idle timeouts, resets after
//! a restart.

mod carry;
mod connect;
mod faults;
mod host;
mod run;
mod schedule;
mod sink;
mod wire;
mod world;

pub use run::{RunError, run};
pub use world::{Options, World};
