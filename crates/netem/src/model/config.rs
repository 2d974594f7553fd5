//! What one direction of a link does to packets.

use super::{Numbers, Queue, Rate, Ratio, Span, Trace};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which way a packet goes over a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// From the link's first end to its second; at a proxy from the clients to the server.
    Forward,
    /// Back.
    Reverse,
}

impl Way {
    /// Both ways, in order.
    pub const BOTH: [Self; 2] = [Self::Forward, Self::Reverse];

    /// The other one.
    #[must_use]
    pub const fn back(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }
}

/// Whether a link carries anything at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It carries packets.
    Up,
    /// It swallows them.
    Down,
}

/// What happens to packets in one direction of a link. The default is a perfect wire.
///
/// A packet passes, in this order: MTU, drop list, loss, bottleneck (queue, then transmission), delay with jitter, duplication.
/// A lost packet takes no room at the bottleneck, as with the kernel's netem.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Direction {
    /// Time that every packet takes.
    pub delay: Span,
    /// What varies about that.
    pub jitter: Jitter,
    /// What gets lost.
    pub loss: Loss,
    /// Packets that get lost in any case, by their numbers since the beginning of the link.
    pub drop: Numbers,
    /// Share of packets that arrive twice; the copy has a jitter of its own and takes no room at the bottleneck.
    pub duplicate: Ratio,
    /// What limits the rate.
    pub bottleneck: Option<Bottleneck>,
    /// Largest packet in bytes, IP header included; larger ones are dropped.
    pub mtu: Option<u32>,
}

impl Direction {
    /// A wire that only delays.
    #[must_use]
    pub fn delayed(delay: Span) -> Self {
        Self { delay, ..Self::default() }
    }

    /// The same with `loss`.
    #[must_use]
    pub fn with_loss(self, loss: Loss) -> Self {
        Self { loss, ..self }
    }

    /// The same with `jitter`.
    #[must_use]
    pub fn with_jitter(self, spread: Span, reorder: Reorder) -> Self {
        Self { jitter: Jitter { spread, reorder }, ..self }
    }

    /// The same with `capacity`, before which `queue` waits.
    #[must_use]
    pub fn with_bottleneck(self, capacity: Capacity, queue: Queue) -> Self {
        Self { bottleneck: Some(Bottleneck { capacity, queue }), ..self }
    }
}

/// Variation of the delay: uniform in `delay - spread ..= delay + spread`, never below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Jitter {
    /// Largest deviation from the delay.
    pub spread: Span,
    /// Whether one packet may overtake another.
    pub reorder: Reorder,
}

/// Whether jitter may change the order of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reorder {
    /// A packet never arrives before one that was sent earlier, as on one radio link or one path. Where packets follow
    /// each other faster than the jitter, each waits for the most delayed one before it: delays stay within the bounds
    /// but gather at the upper one.
    #[default]
    Keep,
    /// Each packet takes its own time, as over several paths: packets 1 ms apart with 10 ms of jitter are reordered in
    /// most cases. The kernel's netem does this.
    Allow,
}

/// Which packets get lost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each packet with this probability, independent of the others.
    Random(Ratio),
    /// Bursts.
    GilbertElliott(GilbertElliott),
}

/// Losses in bursts: a chain of two states, good and bad, that may change before each packet.
///
/// Written `{ ge = { p = "1%", r = "25%" } }`. With the loss of the states as by default, the share lost is
/// `p / (p + r)` and bursts have `1 / r` packets on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GilbertElliott {
    /// Probability to go from good to bad.
    pub p: Ratio,
    /// Probability to go from bad to good.
    pub r: Ratio,
    /// Share lost in the bad state.
    #[serde(default = "all")]
    pub bad: Ratio,
    /// Share lost in the good state.
    #[serde(default)]
    pub good: Ratio,
}

const fn all() -> Ratio {
    Ratio::ONE
}

impl GilbertElliott {
    /// Everything is lost in the bad state and nothing in the good one.
    #[must_use]
    pub const fn bursts(p: Ratio, r: Ratio) -> Self {
        Self { p, r, bad: Ratio::ONE, good: Ratio::ZERO }
    }

    /// Share of packets lost in the long run.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        let (p, r) = (self.p.get(), self.r.get());
        // A chain that never leaves its first state is good for ever.
        let bad = if p > 0.0 { p / (p + r) } else { 0.0 };
        bad.mul_add(self.bad.get(), (1.0 - bad) * self.good.get())
    }
}

impl Loss {
    /// Share of packets lost in the long run.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Random(ratio) => ratio.get(),
            Self::GilbertElliott(chain) => chain.mean_loss(),
        }
    }

    /// Packets that have as much to say about the share lost as one independent packet: 1 for random loss, more where
    /// losses come in bursts. The deviation of a measured share is `sqrt(mean * (1 - mean) * correlation / packets)`.
    #[must_use]
    pub fn correlation(&self) -> f64 {
        match self {
            Self::None | Self::Random(_) => 1.0,
            Self::GilbertElliott(chain) => {
                // A chain's states are correlated by (1 - p - r) from packet to packet; a losing share inside the
                // states only dilutes that, so this is an upper bound.
                let change = chain.p.get() + chain.r.get();
                if change > 0.0 { ((2.0 - change) / change).max(1.0) } else { 1.0 }
            }
        }
    }
}

/// A point that sends no faster than its capacity; what is offered faster waits in its queue, then is dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Bottleneck {
    /// How fast it sends.
    pub capacity: Capacity,
    /// How much waits before it.
    pub queue: Queue,
}

/// How fast a bottleneck sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Capacity {
    /// At a constant rate.
    Rate(Rate),
    /// At the times of a recorded or generated trace, over and over.
    Trace(Arc<Trace>),
}
