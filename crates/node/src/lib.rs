//! One relay node without IO: sessions x tracks x trunks.
//!
//! ```text
//! publisher --moqt--> Session --Object, Payload--> Log --Cursor--> Session --moqt--> viewers
//!                                                     \--Cursor--> Session --trunk--> next relay
//! trunk control connections: directory (who has which namespace), probes, drain
//! ```
//!
//! [`Node`] is an [`App`](sluice_moqt::transport::App): the host feeds it connections, streams and time, drains its
//! outputs, and visits woken sessions with a sink. The node reads no clock, spawns nothing and locks nothing.

mod audit;
mod auth;
mod backfill;
mod config;
mod directory;
mod discovery;
mod downstream;
mod effects;
mod events;
mod fetch;
mod incident;
mod ingest;
mod local;
mod memory;
mod metrics;
mod namespaces;
mod node;
mod parents;
mod publish;
mod reroute;
mod route;
mod session;
mod sessions;
mod shards;
mod tell;
mod timeouts;
mod tracks;
mod trunk;
mod upstream;
mod visit;

pub use audit::{Audit, Origin, SourceAudit, TrackAudit};
pub use auth::{Action, AuthRequest, Verdict};
pub use config::{Config, Homing, Ingest, Limits, PeerConfig, PublisherPolicy, Role, Shard};
pub use incident::Incident;
pub use local::{LocalObject, LocalTrack, PublishError};
pub use memory::MemoryLevel;
pub use metrics::{LinkBytes, MediaMetrics, MemoryMetrics, Metrics, Snapshot, TrackStatus, TrunkMetrics};
pub use node::Node;
pub use trunk::wire::{CONTROL_ALPN, MEDIA_ALPN};
pub use upstream::EndReason;

/// ALPN of users over raw QUIC: draft-ietf-moq-transport-18.
pub const USER_ALPN: &[u8] = b"moqt-18";
