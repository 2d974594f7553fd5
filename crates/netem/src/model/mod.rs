//! The impairment model: pure, seeded, shared by all engines.
//!
//! A [`Link`] is one direction of a link under the conditions of a [`Direction`]. It is asked about each packet and
//! answers with a [`Verdict`]; who asks keeps the packets and the clock. All random choices are functions of the
//! [`Key`] and the packet's number.

mod bottleneck;
mod config;
mod counters;
mod draw;
mod lanes;
mod line;
mod link;
mod loss;
mod numbers;
mod program;
mod trace;
mod units;

pub use config::{Bottleneck, Capacity, Direction, GilbertElliott, Jitter, Loss, Reorder, State, Way};
pub use counters::{Counters, Dropped, Tally};
pub use draw::Key;
pub(crate) use draw::Sequence;
pub use lanes::Sharing;
pub(crate) use lanes::{Delivery, Lanes, Ticket};
pub use link::{Link, Reason, Token, Verdict};
pub use numbers::{Numbers, NumbersError};
pub use program::{Change, Program, Step};
pub use trace::{OPPORTUNITIES_MAX, OPPORTUNITY_BYTES, Trace, TraceError};
pub use units::{Queue, Rate, Ratio, Span, UnitError};

use std::net::SocketAddr;

/// Bytes of an IP packet that carries `payload` bytes of UDP to or from `peer`: what a link counts.
#[must_use]
pub const fn packet_bytes(payload: usize, peer: &SocketAddr) -> usize {
    const UDP_HEADER: usize = 8;
    match peer {
        // A socket for both families names IPv4 peers by mapped addresses.
        SocketAddr::V6(peer) if peer.ip().to_ipv4_mapped().is_none() => payload + 40 + UDP_HEADER,
        SocketAddr::V4(_) | SocketAddr::V6(_) => payload + 20 + UDP_HEADER,
    }
}
