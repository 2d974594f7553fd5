//! The World: relays, origins, publishers and viewers in one thread and virtual time.
//!
//! ```text
//! seed ─────┐                ┌─> ideal: pure nodes over ideal links ─┐
//!           ├─> plan::Plan ──┤                                       ├─> invariants, trace hash, result
//! scenario ─┘                └─> quic: the shard loop, real QUIC ────┘
//! ```

pub mod plan;

pub use plan::Plan;
