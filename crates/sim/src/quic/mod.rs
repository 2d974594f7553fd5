//! The World over real QUIC: the shard loop of the daemon, on virtual sockets and a virtual clock.
//!
//! ```text
//! Plan -> World -> Engine (clock, due times) -> Shard (crates/net) x hosts -> VirtualSocket -> Net (links) -> ...
//! ```
//!
//! Everything runs in one thread. Time moves to the next arrival of a packet or the next timer of a shard; what is due
//! at one instant happens in the order of host numbers. Certificates, connection ids, transport randomness and link
//! impairments follow from the seed, so that a run replays packet for packet.

mod certs;
mod engine;
mod net;
pub mod pair;
mod process;
mod setup;
mod world;

pub use certs::CertError;
pub use engine::EngineError;
pub use world::World;

use crate::actor::PlanError;
use sluice_net::ShardError;
use sluice_net::tls::TlsError;

/// A plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// The plan is wrong.
    #[error(transparent)]
    Plan(#[from] PlanError),
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
}

#[cfg(test)]
mod tests;
