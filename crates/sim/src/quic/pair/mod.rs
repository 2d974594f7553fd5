//! Two hosts and a link: how transport profiles and congestion controllers behave at one bottleneck.
//!
//! ```text
//! sender 0 ──┐                     ┌── receiver 0
//! sender 1 ──┴── one shared link ──┴── receiver 1
//! ```
//!
//! Each flow is a pair of shards as the daemon runs them, with real QUIC between them; all flows share the two
//! directions of one link. A flow sends frames at their times, as a live source does, or as much as it can.
//!
//! ```
//! use sluice_net::TransportProfile;
//! use sluice_netem::model::Direction;
//! use sluice_sim::quic::pair::{Flow, Load, Pair};
//! use std::time::Duration;
//!
//! let live = Load::Frames { bytes: 10_000, every: Duration::from_millis(40), per_stream: 25 };
//! let mut pair = Pair::new(7, [Direction::default(), Direction::default()], vec![Flow::new(TransportProfile::trunk_control(), live)])?;
//! pair.run_until(Duration::from_secs(2))?;
//! assert!(pair.frames(0).iter().filter(|frame| frame.delivered.is_some()).count() > 40);
//! # Ok::<(), sluice_sim::quic::pair::PairError>(())
//! ```

mod app;

use super::certs::{Authority, CertError};
use super::engine::{Engine, EngineError};
use super::net::{HostId, WireId};
use crate::plan::UNIX_START;
use app::{ALPN, End, Receiver, Sender};
use sluice_moqt::transport::{CloseReason, PathStats};
use sluice_net::tls::{ClientTls, ServerTls, TlsError};
use sluice_net::{Clock, NodeKey, PortConfig, Shard, ShardConfig, ShardError, TransportProfile};
use sluice_netem::model::{Counters, Direction, Key, State, Way};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Time between two samples of queue and paths.
const SAMPLE: Duration = Duration::from_millis(10);
/// Where receivers listen.
const PORT: u16 = 4444;
/// The name that receivers prove.
const NAME: &str = "receiver.test";

/// A pair cannot be set up or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// Certificates.
    #[error(transparent)]
    Cert(#[from] CertError),
    /// TLS.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] TlsError),
    /// A shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// More flows than addresses.
    #[error("{0} flows are too many: at most 100")]
    TooMany(usize),
}

/// What a flow sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Frames of one size, each at its time, whether the ones before have left or not.
    Frames {
        /// Bytes of a frame.
        bytes: usize,
        /// Time between two frames.
        every: Duration,
        /// Frames that share a stream, and so wait for each other's retransmissions; 1 for a stream each.
        per_stream: u64,
    },
    /// As much as the transport takes.
    Greedy,
}

/// One sender and its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// How the sender's connection is run.
    pub sender: TransportProfile,
    /// How the receiver's is run.
    pub receiver: TransportProfile,
    /// What it sends.
    pub load: Load,
    /// When it dials.
    pub starts: Duration,
}

impl Flow {
    /// A flow with the same profile at both ends, from the start.
    #[must_use]
    pub fn new(profile: TransportProfile, load: Load) -> Self {
        Self { sender: profile.clone(), receiver: profile, load, starts: Duration::ZERO }
    }

    /// Another start.
    #[must_use]
    pub const fn starting(mut self, at: Duration) -> Self {
        self.starts = at;
        self
    }
}

/// One frame's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// When the source had it.
    pub due: Duration,
    /// When its last byte, and all before it on its stream, were at the receiving app.
    pub delivered: Option<Duration>,
}

impl Frame {
    /// From source to receiving app.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        Some(self.delivered?.saturating_sub(self.due))
    }
}

/// The bottleneck at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Duration,
    /// How long a packet from a sender would wait behind others.
    pub queue: Duration,
    /// Bytes delivered to each receiving app so far.
    pub received: Vec<u64>,
    /// What each sender says of its path, once connected.
    pub paths: Vec<Option<PathStats>>,
}

/// Flows over a shared bottleneck.
#[derive(Debug)]
pub struct Pair {
    engine: Engine<End>,
    flows: Vec<Ends>,
    /// From senders to receivers, and back.
    wires: [WireId; 2],
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Ends {
    sender: HostId,
    receiver: HostId,
}

impl Pair {
    /// Flows over a link with these conditions from senders to receivers, and back.
    ///
    /// # Errors
    /// See [`PairError`].
    pub fn new(seed: u64, link: [Direction; 2], flows: Vec<Flow>) -> Result<Self, PairError> {
        if flows.len() > 100 {
            return Err(PairError::TooMany(flows.len()));
        }
        let engine = Engine::new(UNIX_START);
        let [there, back] = link;
        let wires = [(Way::Forward, there), (Way::Reverse, back)]
            .map(|(way, config)| engine.net().add_wire(Key::new(seed, 0, way), config));
        let mut pair = Self { engine, flows: Vec::new(), wires, samples: Vec::new() };
        let mut authority = Authority::new(seed)?;
        for (index, flow) in (0_u8..).zip(flows) {
            pair.add(seed, index, flow, &mut authority)?;
        }
        Ok(pair)
    }

    fn add(&mut self, seed: u64, index: u8, flow: Flow, authority: &mut Authority) -> Result<(), PairError> {
        let engine = &mut self.engine;
        let ip = |side| IpAddr::V4(Ipv4Addr::new(10, 0, index, side));
        let (sender, receiver) = (engine.add_host(ip(1)), engine.add_host(ip(2)));
        engine.net().route(sender, receiver, self.wires[0]);
        engine.net().route(receiver, sender, self.wires[1]);

        let clock: Arc<dyn Clock> = Arc::new(engine.clock(receiver).clone());
        let tls = ServerTls::open(&authority.server(NAME)?, &[ALPN], Arc::clone(&clock))?;
        let listen = SocketAddr::new(ip(2), PORT);
        let port = PortConfig::server(engine.net().bind(receiver, listen), tls, flow.receiver);
        let app = End::Receiver(Receiver::new(flow.load));
        let shard = Shard::new(config(seed, index * 2), vec![port], clock, app)?;
        engine.start(receiver, shard);

        let clock: Arc<dyn Clock> = Arc::new(engine.clock(sender).clone());
        let tls = ClientTls::verified(&authority.roots()?, ALPN, Arc::clone(&clock))?;
        let port = PortConfig::client(engine.net().bind(sender, SocketAddr::new(ip(1), PORT)), tls, flow.sender);
        let app = End::Sender(Sender::new(engine.instant(flow.starts), flow.load, (listen, NAME)));
        let shard = Shard::new(config(seed, index * 2 + 1), vec![port], clock, app)?;
        engine.start(sender, shard);
        self.flows.push(Ends { sender, receiver });
        Ok(())
    }

    /// Cuts or restores the link in both directions.
    pub fn set_state(&mut self, state: State) {
        for wire in self.wires {
            self.engine.net().set_state(wire, state);
        }
    }

    /// Runs until `end` of virtual time, and samples every 10 ms.
    ///
    /// # Errors
    /// See [`PairError`].
    pub fn run_until(&mut self, end: Duration) -> Result<(), PairError> {
        while self.engine.now() < end {
            let next = (self.engine.now() + SAMPLE).min(end);
            self.engine.run_until(next)?;
            let sample = self.sample();
            self.samples.push(sample);
        }
        Ok(())
    }

    fn sample(&self) -> Sample {
        Sample {
            at: self.engine.now(),
            queue: self.engine.net().backlog(self.wires[0]),
            received: self.flows.iter().map(|ends| self.receiver(ends).map_or(0, Receiver::bytes)).collect(),
            paths: self.flows.iter().map(|ends| self.sender(ends).and_then(Sender::path)).collect(),
        }
    }

    /// Virtual time so far.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.engine.now()
    }

    /// The bottleneck over time.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Every frame of a flow that was due so far, in order; none of a greedy flow.
    #[must_use]
    pub fn frames(&self, flow: usize) -> Vec<Frame> {
        let Some(ends) = self.flows.get(flow) else { return Vec::new() };
        let (Some(sender), Some(receiver)) = (self.sender(ends), self.receiver(ends)) else { return Vec::new() };
        let frames = sender.due().iter().zip(receiver.delivered().chain(std::iter::repeat(None)));
        let frames = frames.map(|(due, delivered)| Frame {
            due: self.engine.since_start(*due),
            delivered: delivered.map(|at| self.engine.since_start(at)),
        });
        frames.collect()
    }

    /// Bytes that a flow's receiving app has got.
    #[must_use]
    pub fn received(&self, flow: usize) -> u64 {
        self.flows.get(flow).and_then(|ends| self.receiver(ends)).map_or(0, Receiver::bytes)
    }

    /// Why a flow's connection ended or could not be made; it is not dialled again.
    #[must_use]
    pub fn failure(&self, flow: usize) -> Option<&CloseReason> {
        self.flows.get(flow).and_then(|ends| self.sender(ends)).and_then(Sender::failure)
    }

    /// What the link has counted, from senders to receivers and back.
    #[must_use]
    pub fn counters(&self) -> [Counters; 2] {
        self.wires.map(|wire| self.engine.net().counters(wire))
    }

    /// One number for everything that happened on the link: equal for equal seeds.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.engine.net().trace().value()
    }

    fn sender(&self, ends: &Ends) -> Option<&Sender> {
        match self.engine.shard(ends.sender)?.app() {
            End::Sender(sender) => Some(sender),
            End::Receiver(_) => None,
        }
    }

    fn receiver(&self, ends: &Ends) -> Option<&Receiver> {
        match self.engine.shard(ends.receiver)?.app() {
            End::Receiver(receiver) => Some(receiver),
            End::Sender(_) => None,
        }
    }
}

fn config(seed: u64, host: u8) -> ShardConfig {
    let seed = seed ^ (u64::from(host) + 1) << 32;
    ShardConfig { seed: Some(seed), ..ShardConfig::single(NodeKey::from_bytes([host; 32])) }
}

#[cfg(test)]
mod tests;
